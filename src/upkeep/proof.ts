import { sizeOf } from '../bytes/chunks.js';
import { stateOf, stateText, type FileId } from '../bytes/file-id.js';
import { createHasher, expectDigest, type Expected } from '../bytes/hash.js';
import type { Bytes, FileBytes } from '../bytes/region.js';
import { TarCheck } from '../codecs/tar-check.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { asImgconvError, type ImgconvError } from '../model/errors.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import type { Count } from '../transfer/report.js';

/** One content, and whether it is right. */
interface Proof {
  /** Tells it from another one that took its place; known when the outcome is. */
  content: string | undefined;
  readonly outcome: Promise<ImgconvError | undefined>;
}

/**
 * Proves blobs of a place, each content once, however many images name it and under however many names it lies there.
 * Undefined means that the bytes are right, an error says what is wrong.
 */
export class Proofs {
  readonly #pool: Pool;
  readonly #onBytes: ((count: number) => void) | undefined;
  /** By what was to be proved, of each content that was found for it. */
  readonly #done = new Map<string, Proof[]>();
  /** Blobs that were downloaded: that is done once, whichever repositories have them. */
  readonly #downloaded = new Set<Digest>();
  readonly #inMemory = new WeakMap<Uint8Array, number>();
  #numbered = 0;
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
    return this.#once(nameOf(digest, size), at, async () => {
      const blob = this.#blobAt(at, digest, size ?? (await sizeOf(at)));
      const id = await blob.prove();
      this.#count(at, blob);
      return id;
    });
  }

  /** As `ofBlob`, with the bytes, if they are right. @throws ImgconvError MANIFEST_INVALID when there are more than `limit` */
  async ofDocument(at: Bytes, { digest, size }: Expected, limit: number): Promise<Uint8Array | ImgconvError> {
    let bytes: Uint8Array | undefined;
    const error = await this.#once(nameOf(digest, size), at, async () => {
      const blob = this.#blobAt(at, digest, size);
      bytes = await blob.read(limit);
      this.#count(at, blob);
      return undefined;
    });
    return error ?? bytes ?? VerifiedBlob.at(at, { digest, size }, this.#pool).read(limit);
  }

  #blobAt(at: Bytes, digest: Digest, size: number): VerifiedBlob {
    return VerifiedBlob.at(at, { digest, size }, this.#pool, { onBytes: this.#onBytes });
  }

  #count({ kind }: Bytes, { digest, size }: Expected): void {
    if (kind === 'remote' && this.#downloaded.has(digest)) return;
    if (kind === 'remote') this.#downloaded.add(digest);
    this.#blobs++;
    this.#bytes += size;
  }

  /** That a layer unpacks to this diffID, and that what it unpacks to is a tar. */
  async ofLayer(at: Bytes, digest: Digest, size: number, diffId: Digest): Promise<ImgconvError | undefined> {
    return this.#once(`${digest} ${diffId}`, at, async () => {
      const where = `${at.path}: unpacked`;
      const hasher = createHasher(algorithmOf(diffId));
      const tar = new TarCheck(where, { layer: true });
      let unpacked = 0;
      let malformed: unknown;
      for await (const chunk of this.#blobAt(at, digest, size).uncompressed()) {
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
      return undefined;
    });
  }

  /** Tells one content from another that took its place. */
  #contentOf(at: Bytes): string {
    if (at.kind === 'file') return fileContent(at, stateOf(at.path));
    if (at.kind !== 'memory') return at.path;
    const number = this.#inMemory.get(at.bytes) ?? this.#numbered++;
    this.#inMemory.set(at.bytes, number);
    return `${number} ${at.path}`;
  }

  /** `work` may give the state of the file that it read. */
  async #once(
    what: string,
    at: Bytes,
    work: () => Promise<FileId | undefined>,
  ): Promise<ImgconvError | undefined> {
    const known = this.#done.get(what);
    // More may be added while one of them is waited for.
    for (const proof of known ?? []) {
      const outcome = await proof.outcome;
      if (proof.content === this.#contentOf(at)) return outcome;
    }
    const proof = this.#begin(at, work);
    if (known === undefined) this.#done.set(what, [proof]);
    else known.push(proof);
    return proof.outcome;
  }

  #begin(at: Bytes, work: () => Promise<FileId | undefined>): Proof {
    const outcome = work().then(
      (id) => {
        const isFile = at.kind === 'file' && id !== undefined;
        proof.content = isFile ? fileContent(at, stateText(id)) : this.#contentOf(at);
        return undefined;
      },
      (error: unknown) => {
        const known = asImgconvError(error, at.path);
        if (known.code === 'INTERRUPTED') throw known;
        proof.content = this.#contentOf(at);
        return known;
      },
    );
    const proof: Proof = { content: undefined, outcome };
    return proof;
  }
}

function fileContent({ offset }: FileBytes, state: string): string {
  return `${offset} ${state}`;
}

function nameOf(digest: Digest, size: number | undefined): string {
  return `${digest} ${size ?? ''}`;
}
