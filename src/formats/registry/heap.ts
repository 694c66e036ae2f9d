import { dirname, join } from 'node:path';
import { placeBelow, type Descent } from '../../bytes/below.js';
import { foldersIn, namesIn } from '../../bytes/folder.js';
import { lookAt, wholeFile } from '../../bytes/region.js';
import { syncFileSystem } from '../../storage/transaction.js';
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
    locate: (digest) => wholeFile(blobPath(root, digest), root),
    blobs: () => storedBlobs(root),
    *uploads() {
      for (const repository of repositories(root)) yield* unfinished(uploadsPath(root, repository), root);
    },
    unlink: async (_, links, descent) => {
      for (const { path: link } of links) removeWithFolder(placeBelow(root, link), descent);
      await syncFileSystem(root);
    },
    deleteBlob: (blob, descent) => {
      removeWithFolder(placeBelow(root, blob.path), descent);
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
      const file = storedFile(path, root);
      if (file !== undefined) yield { kind, digest, path, changed: file.changed };
    }
  }
  return {
    name,
    *tags() {
      for (const tag of namesIn(tagsPath(root, name), root)) {
        const path = tagLink(root, name, tag);
        try {
          yield { tag, digest: readLink(path, root), path };
        } catch (error) {
          if (!isAbsent(error)) throw error;
        }
      }
    },
    *links() {
      yield* linksOf('revision', digestsIn(revisionsPath(root, name), root), (digest) =>
        revisionLink(root, name, digest),
      );
      yield* linksOf('layer', digestsIn(layersPath(root, name), root), (digest) =>
        layerLink(root, name, digest),
      );
      for (const tag of namesIn(tagsPath(root, name), root)) {
        yield* linksOf('tag index', digestsIn(tagIndexPath(root, name, tag), root), (digest) =>
          tagIndexLink(root, name, tag, digest),
        );
      }
    },
  };
}

function* storedBlobs(root: string): Generator<StoredBlob> {
  for (const algorithm of foldersIn(blobsPath(root), root)) {
    for (const pair of foldersIn(join(blobsPath(root), algorithm), root)) {
      for (const hex of foldersIn(join(blobsPath(root), algorithm, pair), root)) {
        const digest = `${algorithm}:${hex}`;
        const file = isDigest(digest) ? storedFile(blobPath(root, digest), root) : undefined;
        if (file !== undefined && isDigest(digest)) yield { ...file, digest };
      }
    }
  }
}

/** A folder of an upload, with all that it holds. */
function* unfinished(folder: string, root: string): Generator<StoredFile> {
  for (const name of namesIn(folder, root)) {
    const path = join(folder, name);
    const files = [...filesBelow(path, root)];
    const size = files.reduce((sum, file) => sum + file.size, 0);
    const changed = files.reduce(
      (last, file) => Math.max(last, file.changed),
      Math.floor(lookAt(path, root)?.mtimeMs ?? 0),
    );
    yield { path, size, changed, links: 1 };
  }
}

/** Deletes a file and the folder that was made for it, unless others have put something there. */
function removeWithFolder(place: string, descent: Descent): void {
  try {
    descent.unlink(place);
    descent.rmdir(dirname(place));
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST')) throw error;
  }
}
