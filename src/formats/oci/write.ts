import { basename, resolve } from 'node:path';
import { annotationsSchema } from '../../model/descriptor.js';
import {
  blobName,
  CONTAINERD_NAME,
  LAYOUT_CONTENT,
  LAYOUT_FILE,
  layoutEntry,
  layoutName,
} from '../../model/oci-layout.js';
import { isDigest, type Digest } from '../../model/digest.js';
import { familiarText, referenceText, type Reference } from '../../model/reference.js';
import type { Storage } from '../../storage/driver.js';
import type { ImageToWrite, ImageWriter, WriteContext } from '../format.js';
import { createStore, type Store, type StoreMapping } from '../store-writer.js';
import { changeIndex, readIndex, type LayoutIndex } from './index-file.js';
import { BLOBS } from './paths.js';

export function createLayout(storage: Storage, context: WriteContext): Promise<ImageWriter> {
  return createStore(storage, new LayoutMapping(basename(resolve(storage.name))), context);
}

type LayoutEntry = ReturnType<typeof layoutEntry>;

class LayoutMapping implements StoreMapping {
  readonly blobsFolder = BLOBS;
  readonly blobKey = blobName;
  readonly spread = 'none';
  /** The repository of entries that have only a tag. */
  readonly #ownName: string;
  #entries: LayoutEntry[] = [];
  /** What index.json named when it was last read. */
  #there: Promise<ReadonlySet<string>> | undefined;
  /** By name, what index.json named then. */
  #tagged: Promise<ReadonlyMap<string, unknown>> | undefined;

  constructor(ownName: string) {
    this.#ownName = ownName;
  }

  async name({ name, root }: ImageToWrite, { storage }: Store) {
    const own = { ...root.descriptor, mediaType: root.manifest.mediaType };
    const entry = layoutEntry(name, own, this.#ownName);
    this.#there ??= readIndex(storage).then((index) => this.#namesIn(index));
    const there = await this.#there;
    this.#entries.push(entry);
    return { changed: !there.has(this.#keyOf(entry)), notes: [] };
  }

  async tagged(name: Reference, storage: Storage): Promise<Digest | undefined> {
    this.#tagged ??= readIndex(storage).then(
      ({ manifests }) => new Map(manifests.map((one) => [this.#nameOf(one) ?? '', one['digest']])),
    );
    const digest = (await this.#tagged).get(familiarText(referenceText(name)));
    return typeof digest === 'string' && isDigest(digest) ? digest : undefined;
  }

  /** An entry's name as the reader has it, in one form for all that means the same: `app:1`, `docker.io/library/app:1`. */
  #nameOf(entry: Record<string, unknown>): string | undefined {
    const annotations = annotationsSchema.safeParse(entry['annotations']).data;
    const name = layoutName({ annotations }, this.#ownName);
    return name === undefined ? undefined : familiarText(name);
  }

  #keyOf(entry: Record<string, unknown>): string {
    return `${this.#nameOf(entry) ?? ''} ${String(entry['digest'])}`;
  }

  #namesIn({ manifests }: LayoutIndex): ReadonlySet<string> {
    return new Set(manifests.map((one) => this.#keyOf(one)));
  }

  async commit({ storage, transaction }: Store): Promise<void> {
    const entries = this.#entries.splice(0);
    if (entries.length === 0) return;
    this.#there = undefined;
    this.#tagged = undefined;
    await changeIndex(storage, transaction, async (index) => {
      const there = this.#namesIn(index);
      const fresh = entries
        .filter((entry) => !there.has(this.#keyOf(entry)))
        .sort((a, b) => (a.annotations[CONTAINERD_NAME] < b.annotations[CONTAINERD_NAME] ? -1 : 1));
      const isLayout = (await storage.bytes(LAYOUT_FILE)) !== undefined;
      if (isLayout && fresh.length === 0) return undefined;
      if (!isLayout) transaction.put(LAYOUT_FILE, LAYOUT_CONTENT);
      const renamed = new Set(fresh.map((entry) => this.#nameOf(entry)));
      const isReplaced = (name: string | undefined) => name !== undefined && renamed.has(name);
      const kept = index.manifests.filter((one) => !isReplaced(this.#nameOf(one)));
      return { ...index, manifests: [...kept, ...fresh] };
    });
  }
}
