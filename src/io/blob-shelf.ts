import type { Digest } from '../model/digest.js';
import { wholeFile } from './region.js';
import { OncePerDigest } from './once.js';
import type { Pool } from './pool.js';
import type { Transaction } from './transaction.js';
import { VerifiedBlob, type LinkMode, type Placement } from './verified-blob.js';

/** What became of a blob, for the report; `present`: it was in its place and intact; a registry mounts what another repository has. */
export type Put = Placement | 'present' | 'uploaded' | 'mounted';

interface ShelfContext {
  readonly pool: Pool;
  readonly link: LinkMode;
  /** Hears of each blob once. */
  readonly onPut: (how: Put, size: number) => void;
}

/** Blobs of a destination, one file each, put there once a run however many images name them. */
export class BlobShelf {
  readonly #pathOf: (digest: Digest) => string;
  readonly #transaction: Transaction;
  readonly #context: ShelfContext;
  readonly #once = new OncePerDigest<Put>();
  readonly #staged = new Map<Digest, string>();

  constructor(pathOf: (digest: Digest) => string, transaction: Transaction, context: ShelfContext) {
    this.#pathOf = pathOf;
    this.#transaction = transaction;
    this.#context = context;
  }

  /** Stages the blob unless it is there. */
  put(blob: VerifiedBlob): Promise<Put> {
    return this.#once.run(blob, async () => {
      const how = await this.#stage(blob);
      this.#context.onPut(how, blob.size);
      return how;
    });
  }

  /** Makes a staged blob part of the transaction: what only failed images name never becomes visible. */
  keep(digest: Digest): void {
    const staged = this.#staged.get(digest);
    if (staged !== undefined) this.#transaction.move(staged, this.#pathOf(digest));
    this.#staged.delete(digest);
  }

  async #stage(blob: VerifiedBlob): Promise<Put> {
    const path = this.#pathOf(blob.digest);
    if (blob.path === path) {
      await blob.prove();
      return 'present';
    }
    if (await isIntact(path, blob, this.#context.pool)) return 'present';
    const staged = this.#transaction.staging.path();
    const how = await blob.place(staged, this.#context.link);
    this.#staged.set(blob.digest, staged);
    return how;
  }
}

/** True when `path` holds the blob already: what is there is hashed, not assumed. */
export async function isIntact(
  path: string,
  blob: { digest: Digest; size: number },
  pool: Pool,
): Promise<boolean> {
  const there = wholeFile(path);
  if (there?.size !== blob.size) return false;
  return VerifiedBlob.at(there, blob, pool)
    .prove()
    .then(
      () => true,
      () => false,
    );
}
