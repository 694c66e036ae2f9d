import { sizeOf } from '../bytes/chunks.js';
import { stateOf } from '../bytes/file-id.js';
import { createHasher, expectDigest } from '../bytes/hash.js';
import type { Bytes } from '../bytes/region.js';
import { TarCheck } from '../codecs/tar-check.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { asImgconvError, type ImgconvError } from '../model/errors.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import type { Count } from '../transfer/report.js';

/**
 * Proves blobs of a place, each content once, however many images name it and under however many names it lies there.
 * Undefined means that the bytes are right, an error says what is wrong.
 */
export class Proofs {
  readonly #pool: Pool;
  readonly #onBytes: ((count: number) => void) | undefined;
  readonly #done = new Map<string, Promise<ImgconvError | undefined>>();
  /** Blobs that were downloaded: that is done once, whichever repositories have them. */
  readonly #downloaded = new Set<Digest>();
  readonly #inMemory = new WeakMap<Uint8Array, number>();
  #count = 0;
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
    return this.#once(`${digest} ${size ?? ''}`, at, async () => {
      const expected = { digest, size: size ?? (await sizeOf(at)) };
      await VerifiedBlob.at(at, expected, this.#pool, { onBytes: this.#onBytes }).prove();
      if (at.kind === 'remote' && this.#downloaded.has(digest)) return;
      if (at.kind === 'remote') this.#downloaded.add(digest);
      this.#blobs++;
      this.#bytes += expected.size;
    });
  }

  /** That a layer unpacks to this diffID, and that what it unpacks to is a tar. */
  async ofLayer(at: Bytes, digest: Digest, size: number, diffId: Digest): Promise<ImgconvError | undefined> {
    return this.#once(`${digest} ${diffId}`, at, async () => {
      const where = `${at.path}: unpacked`;
      const hasher = createHasher(algorithmOf(diffId));
      const tar = new TarCheck(where, { layer: true });
      let unpacked = 0;
      let malformed: unknown;
      const blob = VerifiedBlob.at(at, { digest, size }, this.#pool, { onBytes: this.#onBytes });
      for await (const chunk of blob.uncompressed()) {
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

  /** Tells one content from another that took its place. */
  #contentOf(at: Bytes): string {
    if (at.kind === 'file') return `${at.offset} ${stateOf(at.path)}`;
    if (at.kind !== 'memory') return at.path;
    const number = this.#inMemory.get(at.bytes) ?? this.#count++;
    this.#inMemory.set(at.bytes, number);
    return `${number} ${at.path}`;
  }

  #once(what: string, at: Bytes, work: () => Promise<void>): Promise<ImgconvError | undefined> {
    const key = `${what} ${this.#contentOf(at)}`;
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
