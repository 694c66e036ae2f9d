import { sameFile } from '../bytes/file-id.js';
import { changedFile, openRegular, type OpenFile } from '../bytes/open-file.js';
import type { FileBytes } from '../bytes/region.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import type { Backend, ServedBlob } from './backend.js';
import { SILENCE_TIMEOUT, type Exchange } from './exchange.js';
import { Refusal } from './refusal.js';

/** What is read and sent at once: less where many are sent to, so that all of it together stays small. */
const CHUNK = 512 * 1024;
const SMALL_CHUNK = 128 * 1024;
const CROWD = 32;
/** Files that were proved, at most so many. */
const REMEMBERED = 100_000;

/**
 * Sends blobs. The bytes are hashed on their way the first time that a file is sent, and its last bytes are held back until
 * its digest was right: a client never gets a damaged blob whole. A file that did not change since is not hashed again.
 */
export class BlobSender {
  readonly #pool: Pool;
  readonly #proved = new Set<string>();
  /** By file: many may ask for one at once. */
  readonly #proofs = new Map<string, Promise<void>>();
  /** Answers under way. */
  #sending = 0;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  async send(exchange: Exchange, backend: Backend, repository: string, digest: Digest): Promise<void> {
    const blob = await backend.blob(repository, digest);
    if (blob === undefined) {
      const there = await backend.manifest(repository, digest);
      // A manifest is a blob too, and some clients ask for it so.
      if (there === undefined) throw new Refusal('BLOB_UNKNOWN', `${digest} is not in ${repository}`);
      exchange.send(200, 'application/octet-stream', there.bytes, { 'Docker-Content-Digest': digest });
      return;
    }
    const headers = {
      'Content-Type': 'application/octet-stream',
      'Docker-Content-Digest': digest,
      'Accept-Ranges': 'bytes',
      'Cache-Control': 'max-age=31536000, immutable',
      ETag: `"${digest}"`,
    };
    if (exchange.header('if-none-match') === headers.ETag) {
      exchange.empty(304, { ETag: headers.ETag });
      return;
    }
    const range = rangeOf(exchange, blob.size);
    const [from, to] = range ?? [0, blob.size];
    exchange.response.writeHead(range === undefined ? 200 : 206, {
      ...headers,
      'Content-Length': String(to - from),
      ...(range !== undefined && { 'Content-Range': `bytes ${from}-${to - 1}/${blob.size}` }),
    });
    if (exchange.isHead) exchange.response.end();
    else await this.#stream(exchange, digest, blob, from, to);
  }

  async #stream(
    exchange: Exchange,
    digest: Digest,
    blob: ServedBlob,
    from: number,
    to: number,
  ): Promise<void> {
    const { at, size } = blob;
    if (at.kind === 'file') await this.#streamFile(exchange, digest, at, from, to);
    else {
      let position = 0;
      // The last one waits for the proof, which comes at the end of the chunks.
      let held: Buffer | undefined;
      for await (const chunk of VerifiedBlob.at(at, { digest, size }, this.#pool).chunks()) {
        const part = chunk.subarray(Math.max(0, from - position), Math.max(0, to - position));
        position += chunk.length;
        if (part.length === 0) continue;
        if (held !== undefined) await written(exchange, held);
        held = Buffer.from(part);
      }
      if (held !== undefined) await written(exchange, held);
    }
    exchange.response.end();
  }

  async #streamFile(
    exchange: Exchange,
    digest: Digest,
    at: FileBytes,
    from: number,
    to: number,
  ): Promise<void> {
    using file = openRegular(at.path);
    const key = `${digest} ${at.offset} ${Object.values(file.id).join(' ')}`;
    const hasEnd = to === at.size;
    // Another thread hashes what this one sends.
    const proof = hasEnd && !this.#proved.has(key) ? this.#proofOf(digest, at, file, key) : undefined;
    this.#sending++;
    try {
      const size = Math.min(this.#sending > CROWD ? SMALL_CHUNK : CHUNK, to - from);
      const buffers = [Buffer.allocUnsafe(size), Buffer.allocUnsafe(size)];
      let position = from;
      for (let turn = 0; position < to; turn++) {
        const part = (buffers[turn % 2] ?? Buffer.alloc(0)).subarray(0, to - position);
        await file.fillLater(part, at.offset + position);
        position += part.length;
        if (position === to) await proof;
        await written(exchange, part);
      }
      await proof;
    } finally {
      this.#sending--;
    }
  }

  #proofOf(digest: Digest, at: FileBytes, file: OpenFile, key: string): Promise<void> {
    const known = this.#proofs.get(key);
    if (known !== undefined) return known;
    const proof = this.#prove(digest, at, file, key);
    this.#proofs.set(key, proof);
    proof.catch(() => undefined).finally(() => this.#proofs.delete(key));
    return proof;
  }

  async #prove(digest: Digest, at: FileBytes, file: OpenFile, key: string): Promise<void> {
    const found = await this.#pool.scan({ kind: 'scan', from: at, algorithm: algorithmOf(digest) });
    if (found.digest !== digest)
      throw new ImgconvError(
        'DIGEST_MISMATCH',
        `${at.path}: expected ${digest}, found ${found.digest}: not sent to its end`,
      );
    if (!sameFile(found.id, file.id)) throw changedFile(at.path);
    if (this.#proved.size >= REMEMBERED) this.#proved.clear();
    this.#proved.add(key);
  }
}

/** Settles when the bytes may be written over. @throws when the client is gone */
export function written({ response }: Exchange, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    if (response.destroyed) reject(new Gone());
    else {
      // One that does not read for so long is gone.
      response.socket?.setTimeout(SILENCE_TIMEOUT);
      const gone = () => {
        reject(new Gone());
      };
      response.once('close', gone);
      response.write(bytes, (error) => {
        response.off('close', gone);
        if (error) reject(new Gone());
        else resolve();
      });
    }
  });
}

/** The client ended the connection. */
export class Gone extends Error {
  override readonly name = 'Gone';
}

/** The first byte and the one after the last; undefined for all, and for what is no single range (RFC 9110, 14.2). @throws Refusal RANGE_INVALID */
function rangeOf(exchange: Exchange, size: number): readonly [number, number] | undefined {
  const match = /^bytes=([0-9]*)-([0-9]*)$/.exec(exchange.header('range') ?? '');
  const [, first = '', last = ''] = match ?? [];
  if (match === null || (first === '' && last === '')) return undefined;
  const from = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const to = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  if (from < to && from < size) return [from, to];
  throw new Refusal('RANGE_INVALID', `the blob has ${size} bytes`, {
    headers: { 'Content-Range': `bytes */${size}` },
  });
}
