import { lstatSync } from 'node:fs';
import { createHasher, expectDigest } from '../bytes/hash.js';
import { TarCheck } from '../codecs/tar-check.js';
import type { Pool } from '../threads/pool.js';
import type { Bytes } from '../bytes/region.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { asImgconvError, type ImgconvError } from '../model/errors.js';
import type { Count } from '../transfer/report.js';

/**
 * Proves blobs of a place, each content once, however many images name it and under however many names it lies there.
 * Undefined stands for a proof, an error for what speaks against it.
 */
export class Proofs {
  readonly #pool: Pool;
  readonly #onBytes: ((count: number) => void) | undefined;
  readonly #done = new Map<string, Promise<ImgconvError | undefined>>();
  #blobs = 0;
  #bytes = 0;

  constructor(pool: Pool, onBytes?: (count: number) => void) {
    this.#pool = pool;
    this.#onBytes = onBytes;
  }

  /** What was read. */
  get count(): Count {
    return { blobs: this.#blobs, bytes: this.#bytes };
  }

  /** That these bytes have this digest and size; where nothing says the size, it is that of the file. */
  async ofBlob(at: Bytes, digest: Digest, size: number | undefined): Promise<ImgconvError | undefined> {
    return this.#once(`${digest} ${size ?? ''} ${stateOf(at)}`, at, async () => {
      const onBytes = this.#onBytes;
      const blob = VerifiedBlob.at(at, { digest, size: size ?? at.size }, this.#pool, { onBytes });
      await blob.prove();
      this.#blobs++;
      this.#bytes += blob.size;
    });
  }

  /** That a layer unpacks to this diffID, and that what it unpacks to is a tar. */
  async ofLayer(at: Bytes, digest: Digest, size: number, diffId: Digest): Promise<ImgconvError | undefined> {
    return this.#once(`${digest} ${diffId} ${stateOf(at)}`, at, async () => {
      const where = `${at.path}: unpacked`;
      const hasher = createHasher(algorithmOf(diffId));
      const tar = new TarCheck(where, { layer: true });
      let unpacked = 0;
      let malformed: unknown;
      for await (const chunk of VerifiedBlob.at(at, { digest, size }, this.#pool).uncompressed()) {
        hasher.update(chunk);
        unpacked += chunk.length;
        try {
          if (malformed === undefined) tar.push(chunk);
        } catch (error) {
          malformed = error;
        }
      }
      expectDigest({ digest: diffId, size: unpacked }, { digest: hasher.digest(), size: unpacked }, where);
      if (malformed !== undefined) throw asImgconvError(malformed, where);
      tar.end();
    });
  }

  #once(key: string, at: Bytes, work: () => Promise<void>): Promise<ImgconvError | undefined> {
    const known = this.#done.get(key);
    if (known !== undefined) return known;
    const outcome = work().then(
      () => undefined,
      (error: unknown) => {
        const known = asImgconvError(error, at.path);
        if (known.code === 'INTERRUPTED') throw known;
        return known;
      },
    );
    this.#done.set(key, outcome);
    return outcome;
  }
}

/** Tells one state of some bytes from any other; a file of several names is one. */
function stateOf(at: Bytes): string {
  if (at.kind !== 'file') return at.path;
  const stat = lstatSync(at.path, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined) return at.path;
  return `${at.offset} ${stat.dev} ${stat.ino} ${stat.mtimeNs} ${stat.size}`;
}
