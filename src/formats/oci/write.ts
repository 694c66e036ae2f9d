import { basename, resolve } from 'node:path';
import { documentAt } from '../../bytes/document.js';
import { annotationsSchema } from '../../model/descriptor.js';
import {
  blobName,
  checkLayoutVersion,
  CONTAINERD_NAME,
  LAYOUT_FILE,
  layoutEntry,
  layoutName,
} from '../../model/oci-layout.js';
import { isDigest, type Digest } from '../../model/digest.js';
import { familiarText, referenceText, repositoryKey, type Reference } from '../../model/reference.js';
import { MAX_MANIFEST } from '../../model/json.js';
import type { Storage } from '../../storage/driver.js';
import type { ImageToWrite, ImageWriter, WriteContext } from '../format.js';
import { createStore, type Store, type StoreMapping } from '../store-writer.js';
import { GrowingIndex } from './index-file.js';
import { BLOBS } from './paths.js';

/** @throws ImgconvError FORMAT_UNSUPPORTED for a layout of another version */
export async function createLayout(storage: Storage, context: WriteContext): Promise<ImageWriter> {
  const writer = await createStore(storage, new LayoutMapping(basename(resolve(storage.name))), context);
  try {
    const version = await storage.bytes(LAYOUT_FILE);
    if (version !== undefined)
      checkLayoutVersion(documentAt(version, version.path, MAX_MANIFEST), version.path);
    return writer;
  } catch (error) {
    await writer.close();
    throw error;
  }
}

type LayoutEntry = ReturnType<typeof layoutEntry>;

class LayoutMapping implements StoreMapping {
  readonly blobsFolder = BLOBS;
  readonly blobKey = blobName;
  readonly spread = 'none';
  /** The repository of entries that have only a tag. */
  readonly #ownName: string;
  #entries: LayoutEntry[] = [];
  readonly #index = new GrowingIndex((entry) => this.#nameOf(entry));

  constructor(ownName: string) {
    this.#ownName = ownName;
  }

  async name({ name, root }: ImageToWrite, { storage }: Store) {
    const own = { ...root.descriptor, mediaType: root.manifest.mediaType };
    const entry = layoutEntry(name, own, this.#ownName);
    const isThere = this.#index.has(await this.#index.names(storage), entry);
    this.#entries.push(entry);
    return { changed: !isThere, notes: [] };
  }

  async tagged(name: Reference, storage: Storage): Promise<Digest | undefined> {
    const digest = (await this.#index.names(storage)).get(familiarText(referenceText(name)))?.at(-1);
    return digest !== undefined && isDigest(digest) ? digest : undefined;
  }

  async *related(repository: string, storage: Storage): AsyncGenerator<Digest> {
    const wanted = repositoryKey(repository);
    for (const [name, digests] of await this.#index.names(storage))
      if (repositoryKey(name) === wanted) yield* digests.filter(isDigest);
  }

  /** An entry's name as the reader has it, in one form for all that means the same: `app:1`, `docker.io/library/app:1`. */
  #nameOf(entry: Readonly<Record<string, unknown>>): string | undefined {
    const annotations = annotationsSchema.safeParse(entry['annotations']).data;
    const name = layoutName({ annotations }, this.#ownName);
    return name === undefined ? undefined : familiarText(name);
  }

  async commit({ storage, transaction, context }: Store): Promise<void> {
    const entries = this.#entries.splice(0);
    if (entries.length === 0) return;
    entries.sort((a, b) => (a.annotations[CONTAINERD_NAME] < b.annotations[CONTAINERD_NAME] ? -1 : 1));
    await this.#index.add({ layout: storage, transaction, pool: context.pool }, entries);
  }
}
