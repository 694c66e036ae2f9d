import { isDigest, parseDigest, type Digest } from '../model/digest.js';
import { referenceText, type Reference } from '../model/reference.js';
import { BlobWriter, type BlobKeys } from '../storage/blob-writer.js';
import { join, type Storage, type StorageTransaction } from '../storage/driver.js';
import {
  signaturesNote,
  type ImageToWrite,
  type ImageWriter,
  type SourceImage,
  type WriteContext,
} from './format.js';
import { RELATED, type KeptManifests } from './kept-manifests.js';

/** How a format names images whose blobs all lie in one folder: reg by links, oci by the entries of index.json. */
export interface StoreMapping extends BlobKeys {
  /** Folders between that of an algorithm and those of its blobs. */
  readonly spread: 'pairs' | 'none';
  /** Puts the documents of an image whose blobs are there or staged, all or none. `changed`: one was not there. */
  name(image: ImageToWrite, store: Store): Promise<{ readonly changed: boolean; readonly notes: string[] }>;
  /** What the tag of a name stands for now. */
  tagged(name: Reference, storage: Storage): Promise<Digest | undefined>;
  /** The manifests of a repository, those of tags first; some may come twice. */
  related(repository: string, storage: Storage): AsyncIterable<Digest>;
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

  get find(): ImageWriter['find'] {
    const { blobs } = this.#store;
    return blobs.hasAny ? (digest) => blobs.find(digest) : undefined;
  }

  get kept(): KeptManifests {
    return keptIn(this.#store.storage, this.#mapping);
  }

  async holds(_name: Reference, { digest, size }: { digest: Digest; size: number }): Promise<boolean> {
    return (await this.#store.blobs.find(digest))?.size === size;
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
  const imageOf = (digest: Digest): SourceImage => ({
    name: undefined,
    where: storage.nameOf(mapping.blobKey(digest)),
    digest,
    locate: (wanted) => storage.bytes(mapping.blobKey(wanted.digest)),
    provesDiffIds: false,
    signatures: [],
    warnings: [],
  });
  return {
    storage,
    async *folders() {
      for (const own of await foldersIn(storage, blobsFolder)) {
        const keys = mapping.spread === 'none' ? [own] : await foldersIn(storage, own);
        const times = await storage.times(keys);
        for (const [i, key] of keys.entries()) yield { key, changed: times[i] ?? 0 };
      }
    },
    async filesIn(folder) {
      const algorithm = folder.slice(blobsFolder.length + 1).split('/')[0] ?? '';
      return (await storage.list(folder)).flatMap(({ name }) => {
        const digest = `${algorithm}:${name}`;
        return isDigest(digest) ? { id: digest, key: mapping.blobKey(digest), digest } : [];
      });
    },
    blobKey: (_folder, _id, digest) => mapping.blobKey(digest),
    memberKey: (folder, _id, digest) => (folder === RELATED ? mapping.blobKey(digest) : undefined),
    image: (folder, id) => Promise.resolve(imageOf(parseDigest(id, folder))),
    async *related(repository) {
      for await (const digest of mapping.related(repository, storage))
        yield { id: digest, key: mapping.blobKey(digest), digest };
    },
    async named(name) {
      const digest = await mapping.tagged(name, storage);
      return digest && imageOf(digest);
    },
  };
}

/** Keys; what is no folder has nothing in it that could be read. */
async function foldersIn(storage: Storage, key: string): Promise<string[]> {
  const entries = await storage.list(key);
  return entries.filter(({ kind }) => kind === 'folder').map(({ name }) => join(key, name));
}
