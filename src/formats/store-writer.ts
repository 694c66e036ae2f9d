import { isDigest, parseDigest, type Digest } from '../model/digest.js';
import { referenceText, type Reference } from '../model/reference.js';
import { BlobWriter, type BlobKeys } from '../storage/blob-writer.js';
import { foldersIn, type Storage, type StorageTransaction } from '../storage/driver.js';
import { signaturesNote, type ImageToWrite, type ImageWriter, type WriteContext } from './format.js';
import { untitledImage, type KeptManifests } from './kept-manifests.js';

/** How a format names images whose blobs all lie in one folder: reg by links, oci by the entries of index.json. */
export interface StoreMapping extends BlobKeys {
  /** Folders between that of an algorithm and those of its blobs. */
  readonly spread: 'pairs' | 'none';
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

  get kept(): KeptManifests {
    return keptIn(this.#store.storage, this.#mapping);
  }

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

/** Every blob may be a manifest. */
function keptIn(storage: Storage, mapping: StoreMapping): KeptManifests {
  const { blobsFolder } = mapping;
  const imageOf = (digest: Digest) => {
    const key = mapping.blobKey(digest);
    return untitledImage(digest, storage.nameOf(key), (wanted) =>
      storage.bytes(mapping.blobKey(wanted.digest)),
    );
  };
  const digestIn = (folder: string, name: string) =>
    `${folder.slice(blobsFolder.length + 1).split('/')[0] ?? ''}:${name}`;
  return {
    storage,
    async *folders() {
      for (const algorithm of await foldersIn(storage, blobsFolder)) {
        const own = `${blobsFolder}/${algorithm}`;
        const all = mapping.spread === 'none' ? [''] : await foldersIn(storage, own);
        for (const pair of all) {
          const key = pair === '' ? own : `${own}/${pair}`;
          yield { key, changed: (await storage.stat(key))?.changed ?? 0 };
        }
      }
    },
    async filesIn(folder) {
      return (await storage.list(folder)).flatMap(({ name }) => {
        const digest = digestIn(folder, name);
        return isDigest(digest) ? { name, key: mapping.blobKey(digest), digest } : [];
      });
    },
    blobKey: (_, digest) => mapping.blobKey(digest),
    image: (folder, name) => Promise.resolve(imageOf(parseDigest(digestIn(folder, name), folder))),
    async named(name) {
      const digest = await mapping.tagged(name, storage);
      return digest && imageOf(digest);
    },
  };
}
