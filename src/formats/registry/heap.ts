import { rmdirSync, statSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { namesIn } from '../../io/folder.js';
import { wholeFile } from '../../io/region.js';
import { syncFileSystem } from '../../io/transaction.js';
import { isErrno } from '../../model/errors.js';
import { isDigest, type Digest } from '../../model/digest.js';
import {
  filesBelow,
  storedFile,
  type Heap,
  type Link,
  type Repository,
  type StoredBlob,
  type StoredFile,
} from '../heap.js';
import {
  blobPath,
  blobsPath,
  layerLink,
  layersPath,
  revisionLink,
  revisionsPath,
  rootOf,
  tagIndexLink,
  tagIndexPath,
  tagLink,
  tagsPath,
  uploadsPath,
} from './paths.js';
import { digestsIn, isAbsent, readLink, repositories } from './walk.js';

export function registryHeap(path: string): Heap {
  const root = rootOf(path);
  return {
    root,
    *repositories() {
      for (const name of repositories(root)) yield repositoryAt(root, name);
    },
    locate: (digest) => wholeFile(blobPath(root, digest)),
    blobs: () => storedBlobs(root),
    *uploads() {
      for (const repository of repositories(root)) yield* unfinished(uploadsPath(root, repository));
    },
    unlink: async (_, links) => {
      for (const { path: link } of links) removeWithFolder(link);
      await syncFileSystem(root);
    },
    deleteBlob: (blob) => {
      removeWithFolder(blob.path);
    },
  };
}

function repositoryAt(root: string, name: string): Repository {
  function* linksOf(
    kind: Link['kind'],
    digests: Iterable<Digest>,
    pathOf: (digest: Digest) => string,
  ): Generator<Link> {
    for (const digest of digests) {
      const path = pathOf(digest);
      const file = storedFile(path);
      if (file !== undefined) yield { kind, digest, path, changed: file.changed };
    }
  }
  return {
    name,
    *tags() {
      for (const tag of namesIn(tagsPath(root, name))) {
        const path = tagLink(root, name, tag);
        try {
          yield { tag, digest: readLink(path), path };
        } catch (error) {
          if (!isAbsent(error)) throw error;
        }
      }
    },
    *links() {
      yield* linksOf('revision', digestsIn(revisionsPath(root, name)), (digest) =>
        revisionLink(root, name, digest),
      );
      yield* linksOf('layer', digestsIn(layersPath(root, name)), (digest) => layerLink(root, name, digest));
      for (const tag of namesIn(tagsPath(root, name))) {
        yield* linksOf('tag index', digestsIn(tagIndexPath(root, name, tag)), (digest) =>
          tagIndexLink(root, name, tag, digest),
        );
      }
    },
  };
}

function* storedBlobs(root: string): Generator<StoredBlob> {
  for (const algorithm of namesIn(blobsPath(root))) {
    for (const pair of namesIn(join(blobsPath(root), algorithm))) {
      for (const hex of namesIn(join(blobsPath(root), algorithm, pair))) {
        const digest = `${algorithm}:${hex}`;
        const file = isDigest(digest) ? storedFile(blobPath(root, digest)) : undefined;
        if (file !== undefined && isDigest(digest)) yield { ...file, digest };
      }
    }
  }
}

/** A folder of an upload, with all that it holds. */
function* unfinished(folder: string): Generator<StoredFile> {
  for (const name of namesIn(folder)) {
    const path = join(folder, name);
    const files = [...filesBelow(path)];
    const size = files.reduce((sum, file) => sum + file.size, 0);
    const changed = Math.max(Math.floor(statSync(path).mtimeMs), ...files.map((file) => file.changed));
    yield { path, size, changed, links: 1 };
  }
}

/** Deletes a file and the folder that was made for it, unless others have put something there. */
function removeWithFolder(path: string): void {
  try {
    unlinkSync(path);
    rmdirSync(dirname(path));
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST')) throw error;
  }
}
