import type { LocalBytes } from '../bytes/region.js';
import type { Digest } from '../model/digest.js';
import { DigestMap } from '../model/digest-map.js';
import { OncePerDigest } from '../proof/once.js';
import type { LinkMode, Placement } from '../proof/linking.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import type { Storage, StorageTransaction } from './driver.js';

/** What became of a blob, for the report; `present`: it was in its place and intact; a registry mounts what another repository has. */
export type Put = Placement | 'present' | 'uploaded' | 'mounted';
const PUTS: readonly Put[] = [
  'present',
  'linked',
  'reflinked',
  'copied',
  'moved',
  'fetched',
  'uploaded',
  'mounted',
];

interface BlobContext {
  readonly pool: Pool;
  readonly link: LinkMode;
  /** Called once for each blob. */
  readonly onPut: (how: Put, size: number) => void;
}

/** The keys of blobs: all of them lie in one folder or below it. */
export interface BlobKeys {
  readonly blobsFolder: string;
  blobKey(digest: Digest): string;
}

/** Blobs that all images of a storage share, one file each, put there once a run however many images name them. */
export class BlobWriter {
  readonly #storage: Storage;
  readonly #keys: BlobKeys;
  readonly #transaction: StorageTransaction;
  readonly #context: BlobContext;
  #hasAny = false;
  readonly #once = new OncePerDigest<Put>();
  readonly #puts: Promise<Put>[] = [];
  /** What became of blobs that are committed, as places in `PUTS`. */
  readonly #committed = new DigestMap(Float32Array);

  private constructor(
    storage: Storage,
    keys: BlobKeys,
    transaction: StorageTransaction,
    context: BlobContext,
  ) {
    this.#storage = storage;
    this.#keys = keys;
    this.#transaction = transaction;
    this.#context = context;
  }

  /** @throws ImgconvError IO when the folder of blobs is a symbolic link */
  static async create(
    storage: Storage,
    keys: BlobKeys,
    transaction: StorageTransaction,
    context: BlobContext,
  ): Promise<BlobWriter> {
    const writer = new BlobWriter(storage, keys, transaction, context);
    await writer.#lookForBlobs();
    return writer;
  }

  async #lookForBlobs(): Promise<void> {
    const { blobsFolder } = this.#keys;
    const kind = (await this.#storage.stat(blobsFolder))?.kind;
    // Listing a link fails, and says why.
    if (kind === 'link') await this.#storage.list(blobsFolder);
    this.#hasAny = kind !== undefined;
  }

  /** False while the storage has no folder of blobs: then none is looked for. */
  get hasAny(): boolean {
    return this.#hasAny;
  }

  /** Where a blob is, as far as its name says. */
  async find(digest: Digest): Promise<LocalBytes | undefined> {
    return this.#hasAny ? this.#storage.bytes(this.#keys.blobKey(digest)) : undefined;
  }

  /** Stages the blob unless it is there. */
  put(blob: VerifiedBlob): Promise<Put> {
    const before = PUTS[this.#committed.get(blob.digest) ?? -1];
    if (before !== undefined) return Promise.resolve(before);
    const put = this.#once.run(blob, async () => {
      const how = await this.#stage(blob);
      this.#context.onPut(how, blob.size);
      return how;
    });
    this.#puts.push(put);
    return put;
  }

  /** Makes a staged blob part of the transaction: one that only failed images need never becomes visible. */
  keep(digest: Digest): void {
    this.#transaction.keep(this.#keys.blobKey(digest));
  }

  /** Commits the transaction with all that was kept. */
  async commit(): Promise<void> {
    // Also those of images that failed by another blob.
    await Promise.allSettled(this.#puts.splice(0));
    await this.#transaction.commit();
    await this.#once.handOver((digest, how) => {
      this.#committed.set(digest, PUTS.indexOf(how));
    });
    if (!this.#hasAny) await this.#lookForBlobs();
  }

  async #stage(blob: VerifiedBlob): Promise<Put> {
    const key = this.#keys.blobKey(blob.digest);
    if (blob.path === this.#storage.nameOf(key)) {
      await blob.prove();
      return 'present';
    }
    if (this.#hasAny && (await isIntact(this.#storage, key, blob, this.#context.pool))) return 'present';
    return this.#transaction.stage(key, blob, this.#context.link);
  }
}

/** True when the blob is there already: what is there is hashed, not assumed. */
export async function isIntact(
  storage: Storage,
  key: string,
  blob: { digest: Digest; size: number },
  pool: Pool,
): Promise<boolean> {
  const there = await storage.bytes(key);
  if (there?.size !== blob.size) return false;
  return VerifiedBlob.at(there, blob, pool)
    .prove()
    .then(
      () => true,
      () => false,
    );
}
