import type { LocalBytes } from '../bytes/region.js';
import type { Digest } from '../model/digest.js';
import { OncePerDigest } from '../proof/once.js';
import type { LinkMode, Placement } from '../proof/linking.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import type { Storage, StorageTransaction } from './driver.js';

/** What became of a blob, for the report; `present`: it was in its place and intact; a registry mounts what another repository has. */
export type Put = Placement | 'present' | 'uploaded' | 'mounted';

interface BlobContext {
  readonly pool: Pool;
  readonly link: LinkMode;
  /** Hears of each blob once. */
  readonly onPut: (how: Put, size: number) => void;
}

/** Blobs that all images of a storage share, one file each, put there once a run however many images name them. */
export class BlobWriter {
  readonly #storage: Storage;
  readonly #keyOf: (digest: Digest) => string;
  readonly #transaction: StorageTransaction;
  readonly #context: BlobContext;
  readonly #folder: string;
  /** Was any blob there when it was last asked? In a new storage none need be looked for. */
  #hasAny: boolean;
  readonly #once = new OncePerDigest<Put>();
  readonly #puts: Promise<Put>[] = [];

  private constructor(
    storage: Storage,
    folder: string,
    keyOf: (digest: Digest) => string,
    transaction: StorageTransaction,
    context: BlobContext,
    hasAny: boolean,
  ) {
    this.#storage = storage;
    this.#folder = folder;
    this.#keyOf = keyOf;
    this.#transaction = transaction;
    this.#context = context;
    this.#hasAny = hasAny;
  }

  /** `folder`: all blobs lie in it or below. */
  static async create(
    storage: Storage,
    folder: string,
    keyOf: (digest: Digest) => string,
    transaction: StorageTransaction,
    context: BlobContext,
  ): Promise<BlobWriter> {
    const kind = (await storage.stat(folder))?.kind;
    // Listing it tells that it is a link: once, and not for each blob.
    if (kind === 'link') await storage.list(folder);
    const hasAny = kind !== undefined;
    return new BlobWriter(storage, folder, keyOf, transaction, context, hasAny);
  }

  /** Where a blob is, as far as its name says. */
  async find(digest: Digest): Promise<LocalBytes | undefined> {
    return this.#hasAny ? this.#storage.bytes(this.#keyOf(digest)) : undefined;
  }

  /** Stages the blob unless it is there. */
  put(blob: VerifiedBlob): Promise<Put> {
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
    this.#transaction.keep(this.#keyOf(digest));
  }

  /** Commits the transaction with all that was kept. */
  async commit(): Promise<void> {
    // Also those of images that failed by another blob.
    await Promise.allSettled(this.#puts.splice(0));
    await this.#transaction.commit();
    this.#hasAny ||= (await this.#storage.stat(this.#folder)) !== undefined;
  }

  async #stage(blob: VerifiedBlob): Promise<Put> {
    const key = this.#keyOf(blob.digest);
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
