import { renameSync, rmSync } from 'node:fs';
import type { Digest } from '../model/digest.js';
import { isThere, wholeFile, type FileBytes } from '../bytes/region.js';
import { OncePerDigest } from '../proof/once.js';
import type { Pool } from '../threads/pool.js';
import type { Transaction } from './transaction.js';
import { VerifiedBlob, type LinkMode, type Placement } from '../proof/verified-blob.js';

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
  readonly #root: string;
  readonly #folder: string;
  /** Was a blob to be found when it was last looked? In a new place none need be looked for. */
  #hasAny: boolean;
  readonly #pathOf: (digest: Digest) => string;
  readonly #transaction: Transaction;
  readonly #context: ShelfContext;
  readonly #once = new OncePerDigest<Put>();
  readonly #puts: Promise<Put>[] = [];
  /** Where in the transaction's tree blobs are to lie that no finished image names yet. */
  readonly #reserved = new Map<Digest, string>();
  /** Those that no finished image named when the transaction was committed. */
  readonly #staged = new Map<Digest, string>();

  /** `folder`, below the place's root: all blobs lie in it or below. */
  constructor(
    root: string,
    folder: string,
    pathOf: (digest: Digest) => string,
    transaction: Transaction,
    context: ShelfContext,
  ) {
    this.#root = root;
    this.#folder = folder;
    this.#hasAny = isThere(folder, root);
    this.#pathOf = pathOf;
    this.#transaction = transaction;
    this.#context = context;
  }

  /** Where a blob lies, as far as its name says. */
  find(digest: Digest): FileBytes | undefined {
    return this.#hasAny ? wholeFile(this.#pathOf(digest), this.#root) : undefined;
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

  /** Makes a staged blob part of the transaction: what only failed images name never becomes visible. */
  keep(digest: Digest): void {
    const staged = this.#staged.get(digest);
    if (staged !== undefined) this.#transaction.move(staged, this.#pathOf(digest));
    else if (this.#reserved.has(digest)) this.#transaction.keep(this.#pathOf(digest));
    this.#staged.delete(digest);
    this.#reserved.delete(digest);
  }

  /** Commits the transaction with all that was kept. */
  async publish(): Promise<void> {
    // Also those of images that failed by another blob.
    await Promise.allSettled(this.#puts.splice(0));
    for (const [digest, path] of this.#reserved) {
      const staged = this.#transaction.staging.path();
      renameSync(path, staged);
      this.#staged.set(digest, staged);
      this.#transaction.drop(this.#pathOf(digest));
    }
    this.#reserved.clear();
    await this.#transaction.commit();
    this.#hasAny ||= isThere(this.#folder, this.#root);
  }

  async #stage(blob: VerifiedBlob): Promise<Put> {
    const path = this.#pathOf(blob.digest);
    if (blob.path === path) {
      await blob.prove();
      return 'present';
    }
    if (this.#hasAny && (await isIntact(path, this.#root, blob, this.#context.pool))) return 'present';
    const reserved = this.#transaction.reserve(path);
    try {
      const how = await blob.place(reserved, this.#context.link);
      this.#reserved.set(blob.digest, reserved);
      return how;
    } catch (error) {
      // Another source may have to lie there.
      rmSync(reserved, { force: true });
      this.#transaction.drop(path);
      throw error;
    }
  }
}

/** True when `path`, below the place's root, holds the blob already: what is there is hashed, not assumed. */
export async function isIntact(
  path: string,
  root: string,
  blob: { digest: Digest; size: number },
  pool: Pool,
): Promise<boolean> {
  const there = wholeFile(path, root);
  if (there?.size !== blob.size) return false;
  return VerifiedBlob.at(there, blob, pool)
    .prove()
    .then(
      () => true,
      () => false,
    );
}
