import type { Digest } from '../model/digest.js';
import { referenceText, type Reference } from '../model/reference.js';
import { BlobWriter, type BlobKeys } from '../storage/blob-writer.js';
import type { Storage, StorageTransaction } from '../storage/driver.js';
import { signaturesNote, type ImageToWrite, type ImageWriter, type WriteContext } from './format.js';

/** How a format names images whose blobs all lie in one folder: reg by links, oci by the entries of index.json. */
export interface StoreMapping extends BlobKeys {
  /** Puts the documents of an image whose blobs are there or staged, all or none. `changed`: one was not there. */
  name(image: ImageToWrite, store: Store): Promise<{ readonly changed: boolean; readonly notes: string[] }>;
  /** What the tag of a name stands for now. */
  tagged(name: Reference, storage: Storage): Promise<Digest | undefined>;
  /** Puts what names all images together, now that their blobs are there. */
  commit(store: Store): Promise<void>;
}

export interface Store {
  readonly storage: Storage;
  readonly transaction: StorageTransaction;
  readonly blobs: BlobWriter;
  readonly context: WriteContext;
}

export async function createStore(
  storage: Storage,
  mapping: StoreMapping,
  context: WriteContext,
): Promise<ImageWriter> {
  const transaction = storage.begin(context.pool);
  const blobs = await BlobWriter.create(storage, mapping, transaction, context);
  return new StoreWriter({ storage, transaction, blobs, context }, mapping);
}

class StoreWriter implements ImageWriter {
  readonly staging;
  readonly links;
  readonly inPlace = false;
  readonly host = undefined;
  readonly #store: Store;
  readonly #mapping: StoreMapping;

  constructor(store: Store, mapping: StoreMapping) {
    this.#store = store;
    this.#mapping = mapping;
    this.staging = store.transaction.staging;
    this.links = store.storage.links;
  }

  readonly find = (digest: Digest) => this.#store.blobs.find(digest);

  async holds(_name: Reference, { digest, size }: { digest: Digest; size: number }): Promise<boolean> {
    return (await this.find(digest))?.size === size;
  }

  tagged(name: Reference): Promise<Digest | undefined> {
    return this.#mapping.tagged(name, this.#store.storage);
  }

  referenceOf(name: Reference): string {
    return referenceText(name);
  }

  claim(signal?: AbortSignal): Promise<void> {
    return this.#store.transaction.claim(signal);
  }

  async write(image: ImageToWrite) {
    const { blobs } = this.#store;
    const puts = await Promise.all([...image.blobs.values()].map((blob) => blobs.put(blob)));
    const { changed, notes } = await this.#mapping.name(image, this.#store);
    for (const digest of image.blobs.keys()) blobs.keep(digest);
    return {
      changed: changed || puts.some((how) => how !== 'present'),
      notes: [...notes, ...signaturesNote(image.signatures)],
    };
  }

  async publish(): Promise<void> {
    await this.#store.blobs.commit();
    await this.#mapping.commit(this.#store);
  }

  async finish(): Promise<boolean> {
    await this.publish();
    return true;
  }

  close(): Promise<void> {
    this.#store.transaction.close();
    return Promise.resolve();
  }
}
