import { basename, join, resolve } from 'node:path';
import * as z from 'zod';
import { placeBelow } from '../../bytes/below.js';
import { foldersIn, namesIn } from '../../bytes/folder.js';
import { withLock } from '../../storage/lock.js';
import { readWhole, wholeFile } from '../../bytes/region.js';
import { Staging } from '../../storage/staging.js';
import { Transaction } from '../../storage/transaction.js';
import { listOf, type Descriptor } from '../../model/descriptor.js';
import { isDigest } from '../../model/digest.js';
import { parseJson, parseWith } from '../../model/json.js';
import { splitReference } from '../../model/reference.js';
import { layoutName, REF_NAME } from '../../model/oci-layout.js';
import { storedFile, type Heap, type Link, type Repository, type StoredBlob } from '../heap.js';
import { readLayout } from '../layout.js';
import { blobPath, blobsPath, filesOf, indexFile, lockPath } from './paths.js';

/** All entries of index.json are one repository: what has no tag there is a revision. */
export function layoutHeap(layout: string): Heap {
  return {
    root: layout,
    async *repositories() {
      yield await entriesOf(layout);
    },
    locate: (digest) => wholeFile(blobPath(layout, digest), layout),
    blobs: () => storedBlobs(layout),
    uploads: () => [],
    unlink: (_, links) => dropEntries(layout, links),
    deleteBlob: ({ path }, descent) => {
      descent.unlink(placeBelow(layout, path));
    },
  };
}

async function entriesOf(layout: string) {
  const path = indexFile(layout);
  const changed = storedFile(path, layout)?.changed ?? 0;
  const entries = (await readLayout(filesOf(layout))).map(({ digest, annotations }) => ({
    digest,
    tag: tagOf(annotations, basename(resolve(layout))),
  }));
  return {
    name: '',
    *tags() {
      for (const { tag, digest } of entries) if (tag !== undefined) yield { tag, digest, path };
    },
    *links() {
      for (const { tag, digest } of entries)
        if (tag === undefined) yield { kind: 'revision', digest, path, changed };
    },
  } satisfies Repository;
}

/** An entry that has but a tag has it also where the folder's name is no repository's. */
function tagOf(annotations: Descriptor['annotations'], ownName: string): string | undefined {
  const name = layoutName({ annotations }, ownName) ?? annotations?.[REF_NAME];
  if (name === undefined) return undefined;
  const { tag, digest } = splitReference(name);
  return tag ?? (digest === undefined ? name : undefined);
}

export function* storedBlobs(layout: string): Generator<StoredBlob> {
  for (const algorithm of foldersIn(blobsPath(layout), layout)) {
    for (const hex of namesIn(join(blobsPath(layout), algorithm), layout)) {
      const digest = `${algorithm}:${hex}`;
      if (!isDigest(digest)) continue;
      const file = storedFile(blobPath(layout, digest), layout);
      if (file !== undefined) yield { ...file, digest };
    }
  }
}

/** What is not understood stays as it was. */
const indexSchema = z.looseObject({ manifests: listOf(z.looseObject({ digest: z.string() })) });

async function dropEntries(layout: string, links: readonly Link[]): Promise<void> {
  if (links.length === 0) return;
  const dropped = new Set<string>(links.map(({ digest }) => digest));
  using staging = new Staging(layout);
  const transaction = new Transaction(staging);
  await withLock(lockPath(layout), async () => {
    const path = indexFile(layout);
    const file = wholeFile(path, layout);
    if (file === undefined) return;
    const index = parseWith(indexSchema, parseJson(readWhole(file).bytes, path), path);
    const named = await entriesOf(layout);
    const tagged = new Set<string>([...named.tags()].map(({ digest }) => digest));
    const manifests = index.manifests.filter(({ digest }) => tagged.has(digest) || !dropped.has(digest));
    transaction.write(path, JSON.stringify({ ...index, manifests }));
    await transaction.commit();
  });
}
