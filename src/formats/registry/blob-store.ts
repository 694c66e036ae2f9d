import { isDigest, type Digest } from '../../model/digest.js';
import type { Digests } from '../../model/digest-map.js';
import { filesBelow, foldersIn, storedFile, type Storage, type StoredFile } from '../../storage/driver.js';
import type { BlobStore, Link, Repository, StoredBlob } from '../blob-store.js';
import {
  BLOBS,
  blobPath,
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
import { digestsIn, readLink, repositories } from './walk.js';

export async function registryBlobStore(storage: Storage): Promise<BlobStore> {
  return blobStoreAt(await rootOf(storage));
}

export function blobStoreAt(root: Storage): BlobStore {
  return {
    storage: root,
    async *repositories() {
      for await (const name of repositories(root)) yield repositoryAt(root, name);
    },
    locate: (digest) => root.bytes(blobPath(digest)),
    blobs: (except) => storedBlobs(root, except),
    async *uploads() {
      for await (const repository of repositories(root)) yield* unfinished(root, uploadsPath(repository));
    },
    unlink: async (_, links, deletion) => {
      for (const { key } of links) await deletion.file(key, true);
      await deletion.flush();
    },
    deleteBlob: ({ key }, deletion) => deletion.file(key, true),
  };
}

function repositoryAt(root: Storage, name: string): Repository {
  async function* linksOf(
    kind: Link['kind'],
    digests: AsyncIterable<Digest>,
    keyOf: (digest: Digest) => string,
  ): AsyncGenerator<Link> {
    for await (const digest of digests) {
      const file = await storedFile(root, keyOf(digest));
      if (file !== undefined) yield { kind, digest, key: file.key, path: file.path, changed: file.changed };
    }
  }
  return {
    name,
    async *tags() {
      for (const { name: tag } of await root.list(tagsPath(name))) {
        const key = tagLink(name, tag);
        const digest = await readLink(root, key);
        if (digest !== undefined) yield { tag, digest, path: root.nameOf(key) };
      }
    },
    async *links() {
      const revisions = digestsIn(root, revisionsPath(name));
      yield* linksOf('revision', revisions, (digest) => revisionLink(name, digest));
      yield* linksOf('layer', digestsIn(root, layersPath(name)), (digest) => layerLink(name, digest));
      for (const { name: tag } of await root.list(tagsPath(name))) {
        const index = digestsIn(root, tagIndexPath(name, tag));
        yield* linksOf('tag index', index, (digest) => tagIndexLink(name, tag, digest));
      }
    },
  };
}

async function* storedBlobs(root: Storage, except?: Digests): AsyncGenerator<StoredBlob> {
  for (const algorithm of await foldersIn(root, BLOBS)) {
    for (const pair of await foldersIn(root, `${BLOBS}/${algorithm}`)) {
      for (const hex of await foldersIn(root, `${BLOBS}/${algorithm}/${pair}`)) {
        const digest = `${algorithm}:${hex}`;
        if (isDigest(digest) && except?.has(digest) === true) continue;
        const file = isDigest(digest) ? await storedFile(root, blobPath(digest)) : undefined;
        if (file !== undefined && isDigest(digest)) yield { ...file, digest };
      }
    }
  }
}

/** The folders of uploads, each with all that it holds. */
async function* unfinished(root: Storage, folder: string): AsyncGenerator<StoredFile> {
  for (const { name } of await root.list(folder)) {
    const key = `${folder}/${name}`;
    const stat = await root.stat(key);
    if (stat === undefined) continue;
    let { changed } = stat;
    let size = 0;
    for await (const file of filesBelow(root, key)) {
      size += file.size;
      changed = Math.max(changed, file.changed);
    }
    yield { key, path: root.nameOf(key), kind: stat.kind, size, changed, links: 1 };
  }
}
