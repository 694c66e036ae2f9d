import type { Digest } from '../model/digest.js';
import type { VerifiedBlob } from './verified-blob.js';

/**
 * Work done once for each digest of a run, however many images name it. When the bytes of one source fail, those of
 * another may serve; the same file is not tried twice.
 */
export class OncePerDigest<T> {
  readonly #done = new Map<Digest, Promise<T>>();
  readonly #failed = new Map<string, unknown>();

  /** Hands over what is done, and forgets it: whoever takes it knows it from then on. */
  async handOver(take: (digest: Digest, value: T) => void): Promise<void> {
    for (const [digest, working] of this.#done) {
      const done = await working.then(
        (value) => ({ value }),
        () => undefined,
      );
      if (done === undefined || this.#done.get(digest) !== working) continue;
      take(digest, done.value);
      this.#done.delete(digest);
    }
  }

  /** What is done for it is done anew when it is asked for again. */
  forget(digest: Digest): void {
    this.#done.delete(digest);
  }

  async run(blob: VerifiedBlob, work: () => Promise<T>): Promise<T> {
    const key = `${blob.digest} ${blob.origin}`;
    for (;;) {
      if (this.#failed.has(key)) throw this.#failed.get(key);
      const known = this.#done.get(blob.digest);
      if (known !== undefined) {
        try {
          return await known;
        } catch {
          if (this.#done.get(blob.digest) === known) this.#done.delete(blob.digest);
          continue;
        }
      }
      const working = work();
      this.#done.set(blob.digest, working);
      try {
        return await working;
      } catch (error) {
        this.#failed.set(key, error);
        if (this.#done.get(blob.digest) === working) this.#done.delete(blob.digest);
        throw error;
      }
    }
  }
}
