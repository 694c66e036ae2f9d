import { basename, resolve } from 'node:path';
import * as z from 'zod';
import { BlobShelf } from '../../storage/blob-shelf.js';
import { withLock } from '../../storage/lock.js';
import { isThere, readWhole, wholeFile } from '../../bytes/region.js';
import { Staging } from '../../storage/staging.js';
import { Transaction } from '../../storage/transaction.js';
import type { Digest } from '../../model/digest.js';
import { annotationsSchema, listOf } from '../../model/descriptor.js';
import { parseJson, parseWith } from '../../model/json.js';
import {
  CONTAINERD_NAME,
  INDEX_TEMPLATE,
  LAYOUT_CONTENT,
  layoutEntry,
  layoutName,
} from '../../model/oci-layout.js';
import { familiarText, type Reference } from '../../model/reference.js';
import {
  signaturesNote,
  type ImageToWrite,
  type ImageWriter,
  type WriteContext,
  type Written,
} from '../format.js';
import { expectFolder } from '../target.js';
import { blobPath, blobsPath, indexFile, layoutFile, lockPath } from './paths.js';

export function createLayout(path: string, context: WriteContext): Promise<ImageWriter> {
  expectFolder(path);
  return Promise.resolve(new LayoutWriter(path, context));
}

/** What this writer does not know stays as it was. */
const indexSchema = z.looseObject({ manifests: listOf(z.looseObject({})) });

class LayoutWriter implements ImageWriter {
  readonly staging: Staging;
  readonly links = true;
  readonly #layout: string;
  readonly #transaction: Transaction;
  readonly #shelf: BlobShelf;
  #entries: ReturnType<typeof layoutEntry>[] = [];

  constructor(layout: string, context: WriteContext) {
    this.#layout = layout;
    this.staging = new Staging(layout);
    this.#transaction = new Transaction(this.staging, context.pool);
    const pathOf = (digest: Digest) => blobPath(layout, digest);
    this.#shelf = new BlobShelf(layout, blobsPath(layout), pathOf, this.#transaction, context);
  }

  readonly find = (digest: Digest) => this.#shelf.find(digest);

  holds(_name: Reference, { digest, size }: { digest: Digest; size: number }): boolean {
    return this.find(digest)?.size === size;
  }

  async write({ name, root, blobs, signatures }: ImageToWrite): Promise<Written> {
    const puts = await Promise.all([...blobs.values()].map((blob) => this.#shelf.put(blob)));
    for (const digest of blobs.keys()) this.#shelf.keep(digest);
    const own = { ...root.descriptor, mediaType: root.manifest.mediaType };
    const entry = layoutEntry(name, own, basename(resolve(this.#layout)));
    this.#entries.push(entry);
    const there = this.#readIndex().manifests.some((one) => this.#isSame(one, entry));
    return { changed: !there || puts.some((how) => how !== 'present'), notes: signaturesNote(signatures) };
  }

  /** An entry's name as the reader has it. */
  #nameOf(entry: Record<string, unknown>): string | undefined {
    const annotations = annotationsSchema.safeParse(entry['annotations']).data;
    return layoutName({ annotations }, basename(resolve(this.#layout)));
  }

  #isSame(one: Record<string, unknown>, entry: ReturnType<typeof layoutEntry>): boolean {
    return one['digest'] === entry.digest && sameName(this.#nameOf(one), this.#nameOf(entry));
  }

  #readIndex(): z.infer<typeof indexSchema> {
    const path = indexFile(this.#layout);
    const file = wholeFile(path, this.#layout);
    if (file === undefined) return { ...INDEX_TEMPLATE, manifests: [] };
    return parseWith(indexSchema, parseJson(readWhole(file).bytes, path), path);
  }

  /** Blobs first; then index.json is read, changed and replaced under a lock, so that two writers lose nothing. */
  async publish(): Promise<void> {
    await this.#shelf.publish();
    const entries = this.#entries.splice(0);
    if (entries.length === 0) return;
    await withLock(lockPath(this.#layout), async () => {
      const index = this.#readIndex();
      const fresh = entries
        .filter((entry) => !index.manifests.some((one) => this.#isSame(one, entry)))
        .sort((a, b) => (a.annotations[CONTAINERD_NAME] < b.annotations[CONTAINERD_NAME] ? -1 : 1));
      if (isThere(layoutFile(this.#layout), this.#layout) && fresh.length === 0) return;
      const kept = index.manifests.filter(
        (one) => !fresh.some((entry) => sameName(this.#nameOf(one), this.#nameOf(entry))),
      );
      if (!isThere(layoutFile(this.#layout), this.#layout))
        this.#transaction.write(layoutFile(this.#layout), LAYOUT_CONTENT);
      this.#transaction.write(
        indexFile(this.#layout),
        JSON.stringify({ ...index, manifests: [...kept, ...fresh] }),
        'tag',
      );
      await this.#transaction.commit();
    });
  }

  async finish(): Promise<boolean> {
    await this.publish();
    return true;
  }

  close(): Promise<void> {
    this.staging[Symbol.dispose]();
    return Promise.resolve();
  }
}

/** One form for all that means the same: `app:1`, `docker.io/library/app:1`. */
function sameName(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && other !== undefined && familiarText(one) === familiarText(other);
}
