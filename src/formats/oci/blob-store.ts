import { basename, resolve } from 'node:path';
import type { Descriptor } from '../../model/descriptor.js';
import { isDigest } from '../../model/digest.js';
import type { Digests } from '../../model/digest-map.js';
import { blobName, INDEX_FILE, layoutName, REF_NAME } from '../../model/oci-layout.js';
import { splitReference } from '../../model/reference.js';
import { foldersIn, storedFile, type Storage } from '../../storage/driver.js';
import type { BlobStore, Link, Repository, StoredBlob } from '../blob-store.js';
import { readLayout } from '../layout.js';
import { changeIndex } from './index-file.js';
import { BLOBS, filesOf } from './paths.js';

/** All entries of index.json are one repository: what has no tag there is a revision. */
export function layoutBlobStore(layout: Storage): BlobStore {
  return {
    storage: layout,
    async *repositories() {
      yield await entriesOf(layout);
    },
    locate: (digest) => layout.bytes(blobName(digest)),
    blobs: (except) => storedBlobs(layout, except),
    uploads: () => [],
    unlink: (_, links) => dropEntries(layout, links),
    deleteBlob: ({ key }, deletion) => deletion.file(key),
  };
}

async function entriesOf(layout: Storage): Promise<Repository> {
  const path = layout.nameOf(INDEX_FILE);
  const changed = (await storedFile(layout, INDEX_FILE))?.changed ?? 0;
  const entries = (await readLayout(filesOf(layout))).map(({ digest, annotations }) => ({
    digest,
    tag: tagOf(annotations, basename(resolve(layout.name))),
  }));
  return {
    name: '',
    *tags() {
      for (const { tag, digest } of entries) if (tag !== undefined) yield { tag, digest, path };
    },
    *links() {
      for (const { tag, digest } of entries)
        if (tag === undefined) yield { kind: 'revision', digest, key: INDEX_FILE, path, changed };
    },
  };
}

/** An entry that has but a tag has it also where the folder's name is no repository's. */
function tagOf(annotations: Descriptor['annotations'], ownName: string): string | undefined {
  const name = layoutName({ annotations }, ownName) ?? annotations?.[REF_NAME];
  if (name === undefined) return undefined;
  const { tag, digest } = splitReference(name);
  return tag ?? (digest === undefined ? name : undefined);
}

export async function* storedBlobs(layout: Storage, except?: Digests): AsyncGenerator<StoredBlob> {
  for (const algorithm of await foldersIn(layout, BLOBS)) {
    for (const { name: hex } of await layout.list(`${BLOBS}/${algorithm}`)) {
      const digest = `${algorithm}:${hex}`;
      if (isDigest(digest) && except?.has(digest) === true) continue;
      const file = isDigest(digest) ? await storedFile(layout, blobName(digest)) : undefined;
      if (file !== undefined && isDigest(digest)) yield { ...file, digest };
    }
  }
}

async function dropEntries(layout: Storage, links: readonly Link[]): Promise<void> {
  if (links.length === 0) return;
  const dropped = new Set<unknown>(links.map(({ digest }) => digest));
  const transaction = layout.begin();
  try {
    await changeIndex(layout, transaction, async (index) => {
      const tagged = new Set<unknown>();
      for await (const { digest } of (await entriesOf(layout)).tags()) tagged.add(digest);
      const isKept = (digest: unknown) => tagged.has(digest) || !dropped.has(digest);
      return { ...index, manifests: index.manifests.filter((entry) => isKept(entry['digest'])) };
    });
  } finally {
    transaction.close();
  }
}
