import { openSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { MAX_CONFIG } from '../model/json.js';
import { notePassing } from './buffers.js';
import { compress } from './compress.js';
import { MAGIC_LENGTH, sniffPacking } from './decompress.js';
import { createHasher } from './hash.js';
import { writeFully } from './jobs.js';
import { peek } from './peek.js';
import type { Pool } from './pool.js';
import { closeFile, fileIdAt, type LocalBytes, type FileBytes } from './region.js';
import type { Staging } from './staging.js';
import { VerifiedBlob } from './verified-blob.js';

/** Takes members of an archive that passes as a stream; says where they can be read later. */
export interface Spool {
  /** `size` is what the archive says that there is of them, in bytes. */
  add(path: string, chunks: AsyncIterable<Uint8Array>, size: number): Promise<LocalBytes>;
}

/** Writes a stream to a new file, hashing it on the way; messages call it `shown`. */
export async function stageFile(
  chunks: AsyncIterable<Uint8Array>,
  path: string,
  pool: Pool,
  shown?: string,
): Promise<FileBytes> {
  const hasher = createHasher('sha256');
  const fd = openSync(path, 'wx', 0o644);
  try {
    let size = 0;
    for await (const chunk of chunks) {
      pool.expectRunning();
      notePassing(chunk.length);
      hasher.update(chunk);
      writeFully(fd, chunk, null, path);
      size += chunk.length;
    }
    const id = fileIdAt(fd, path);
    return {
      kind: 'file',
      path,
      shown,
      offset: 0,
      size,
      whole: true,
      staged: { digest: hasher.digest(), id },
    };
  } finally {
    closeFile(fd, path);
  }
}

const HEAD = 512;

/** A small archive may unpack to more than any disk holds: what says so itself is not begun. */
function expectRoom(size: number, folder: string, what: string): void {
  if (size < MAX_CONFIG) return;
  const { bavail, bsize } = statfsSync(folder);
  if (size > bavail * bsize)
    throw new ImgconvError('NO_SPACE', `${what}: ${size} bytes needed, ${bavail * bsize} free`);
}

/** A tar has its magic in its first header (POSIX ustar; GNU's begins the same). */
function looksLikeTar(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(257, 262)).toString('latin1') === 'ustar';
}

/**
 * Keeps members as files in a staging folder. With `format`, plain layers are compressed as they pass and kept in
 * that form alone: `forms` then says what each became, and the layer itself can no longer be read.
 */
export class StagingSpool implements Spool {
  readonly forms = new Map<Digest, VerifiedBlob>();
  readonly #staging: Staging;
  readonly #pool: Pool;
  readonly #format: 'gzip' | 'zstd' | undefined;
  readonly #level: number | undefined;

  constructor(staging: Staging, pool: Pool, format?: 'gzip' | 'zstd', level?: number) {
    this.#staging = staging;
    this.#pool = pool;
    this.#format = format;
    this.#level = level;
  }

  async add(path: string, chunks: AsyncIterable<Uint8Array>, declared: number): Promise<LocalBytes> {
    const { head, whole } = await peek(chunks, HEAD);
    if (this.#format === undefined || !looksLikeTar(head)) {
      const staged = this.#staging.path();
      expectRoom(declared, dirname(staged), path);
      return stageFile(whole, staged, this.#pool, path);
    }
    const hasher = createHasher('sha256');
    let size = 0;
    async function* hashed() {
      for await (const chunk of whole) {
        hasher.update(chunk);
        size += chunk.length;
        notePassing(chunk.length);
        yield chunk;
      }
    }
    const staged = await stageFile(
      compress(hashed(), this.#format, this.#pool, this.#level),
      this.#staging.path(),
      this.#pool,
    );
    const digest = hasher.digest();
    this.forms.set(digest, VerifiedBlob.staged(staged, this.#pool));
    return { kind: 'dropped', path, size, head: head.subarray(0, HEAD), digest };
  }
}

/** Keeps what may be a document, hashes and forgets the rest: for looking at a stream. */
export class PeekSpool implements Spool {
  /** All documents of an archive together. */
  #room = 64 * 1024 * 1024;

  async add(path: string, chunks: AsyncIterable<Uint8Array>): Promise<LocalBytes> {
    const { head, whole } = await peek(chunks, HEAD);
    const isDocument = !looksLikeTar(head) && sniffPacking(head.subarray(0, MAGIC_LENGTH)) === 'none';
    const hasher = createHasher('sha256');
    let kept: Uint8Array[] | undefined = isDocument ? [] : undefined;
    let size = 0;
    for await (const chunk of whole) {
      hasher.update(chunk);
      size += chunk.length;
      if (size > Math.min(MAX_CONFIG, this.#room)) kept = undefined;
      kept?.push(new Uint8Array(chunk));
    }
    if (kept === undefined)
      return { kind: 'dropped', path, size, head: head.subarray(0, HEAD), digest: hasher.digest() };
    this.#room -= size;
    return { kind: 'memory', path, size, bytes: Buffer.concat(kept) };
  }
}
