import { removeBelow } from '../bytes/below.js';
import type { Expected } from '../bytes/hash.js';
import type { FileBytes, MemoryBytes } from '../bytes/region.js';
import type { Digest } from '../model/digest.js';
import type { Pool } from '../threads/pool.js';
import { Download, type Origin } from './download.js';
import { PartialDownloads, type Claimed } from './partial-downloads.js';
import type { Staging } from './staging.js';

/** Fetches blobs of other machines, each once a run however many images name it. */
export interface Downloads {
  fetch(blob: Expected, origin: Origin, onBytes?: (count: number) => void): Promise<FileBytes | MemoryBytes>;
}

/** Keeps downloads in a folder of the destination until their blobs are in place. Unfinished ones are resumed by the next run. */
export class StagedDownloads implements Downloads {
  readonly #staging: Staging;
  readonly #pool: Pool;
  readonly #partial: PartialDownloads | undefined;
  readonly #fetched = new Map<Digest, Promise<FileBytes>>();
  readonly #claimed = new Map<Digest, Claimed>();

  /** `lasting`: the staging's root is there for the next run too. */
  constructor(staging: Staging, pool: Pool, lasting: boolean) {
    this.#staging = staging;
    this.#pool = pool;
    this.#partial = lasting ? new PartialDownloads(staging.root) : undefined;
  }

  async fetch(blob: Expected, origin: Origin, onBytes?: (count: number) => void): Promise<FileBytes> {
    const known = this.#fetched.get(blob.digest);
    if (known !== undefined) return known;
    const fetching = this.#fetch(blob, origin, onBytes);
    this.#fetched.set(blob.digest, fetching);
    try {
      return await fetching;
    } catch (error) {
      this.#fetched.delete(blob.digest);
      throw error;
    }
  }

  async #fetch(blob: Expected, origin: Origin, onBytes?: (count: number) => void): Promise<FileBytes> {
    const path = this.#pathFor(blob.digest);
    await using download = new Download(path, this.#staging.root, blob, this.#pool, onBytes);
    return await download.complete(origin);
  }

  /** In the folder that lasts if it can be used, else in the run's own. */
  #pathFor(digest: Digest): string {
    const claimed = this.#claimed.get(digest) ?? this.#partial?.claim(digest);
    if (claimed === undefined) return this.#staging.path();
    this.#claimed.set(digest, claimed);
    return claimed.path;
  }

  /** Deletes the downloads of these blobs, of this run or an earlier one: the blobs are in place. */
  release(digests: Iterable<Digest>): void {
    for (const digest of digests) {
      const claimed = this.#claimed.get(digest) ?? this.#partial?.claimEarlier(digest);
      if (claimed === undefined) continue;
      removeBelow(this.#staging.root, claimed.path);
      claimed.unlock();
      this.#claimed.delete(digest);
    }
  }

  /** The folder with downloads that the next run resumes, and their size; undefined when there are none. */
  kept(): { readonly folder: string; readonly bytes: number } | undefined {
    return this.#partial?.kept();
  }

  releaseAll(): void {
    this.release([...this.#claimed.keys()]);
  }

  [Symbol.dispose](): void {
    for (const { unlock } of this.#claimed.values()) unlock();
    this.#partial?.[Symbol.dispose]();
  }
}
