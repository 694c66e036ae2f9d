import type { Expected } from '../bytes/hash.js';
import type { MemoryBytes } from '../bytes/region.js';
import { Attempts } from '../bytes/retry.js';
import type { Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { MAX_CONFIG } from '../model/json.js';
import type { Origin } from './download.js';
import type { Downloads } from './downloads.js';

/** Fetches configs into memory, for commands that write nothing. */
export class MemoryDownloads implements Downloads {
  readonly #fetched = new Map<Digest, Promise<MemoryBytes>>();

  fetch(blob: Expected, origin: Origin): Promise<MemoryBytes> {
    const known = this.#fetched.get(blob.digest) ?? this.#fetch(blob, origin);
    this.#fetched.set(blob.digest, known);
    return known;
  }

  async #fetch({ digest, size }: Expected, { where, retry, open }: Origin): Promise<MemoryBytes> {
    if (size > MAX_CONFIG)
      throw new ImgconvError(
        'MANIFEST_INVALID',
        `${where}: ${size} bytes, more than ${MAX_CONFIG} are not read`,
      );
    const attempts = new Attempts(retry);
    for (;;) {
      try {
        const parts: Uint8Array[] = [];
        let done = 0;
        const { pour } = await open(0);
        await pour((chunk) => {
          done += chunk.length;
          if (done > size)
            throw new ImgconvError('DIGEST_MISMATCH', `${where}: ${digest} has ${size} bytes, and more came`);
          parts.push(new Uint8Array(chunk));
        });
        // VerifiedBlob proves what is in memory when it reads it.
        return { kind: 'memory', path: where, size: done, bytes: Buffer.concat(parts) };
      } catch (failure) {
        await attempts.afterFailure(failure);
      }
    }
  }
}
