import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { MAX_CONFIG, mayBeJson } from '../model/json.js';
import { notePassing } from '../bytes/buffers.js';
import { compress } from '../threads/compress.js';
import { decompress, MAGIC_LENGTH, sniffPacking } from '../codecs/decompress.js';
import { createHasher } from '../bytes/hash.js';
import { Output, type Target } from '../bytes/output.js';
import { peek } from '../bytes/peek.js';
import type { Pool } from '../threads/pool.js';
import type { FileBytes, LocalBytes } from '../bytes/region.js';
import type { Spool } from '../codecs/tar-pipe.js';
import type { Staging } from './staging.js';
import { VerifiedBlob } from '../proof/verified-blob.js';

/** Writes a stream to a new file, hashing it on the way; with `flush` it is on the disk then. Messages call it `shown`. */
export async function stageFile(
  chunks: AsyncIterable<Uint8Array>,
  { path, flush }: Pick<Target, 'path' | 'flush'>,
  pool: Pool,
  shown?: string,
): Promise<FileBytes> {
  const hasher = createHasher('sha256');
  const out = new Output({ path, position: 0, flags: 'wx', flush });
  try {
    let size = 0;
    for await (const chunk of chunks) {
      pool.expectRunning();
      notePassing(chunk.length);
      hasher.update(chunk);
      out.write(chunk);
      size += chunk.length;
    }
    await out.end();
    return {
      kind: 'file',
      path,
      shown,
      offset: 0,
      size,
      whole: true,
      staged: { digest: hasher.digest(), id: out.state() },
    };
  } finally {
    await out.close();
  }
}

const HEAD = 512;
/** A blob of a layout, by the end of its path. */
const IN_BLOBS = /[ /]blobs\/[a-z0-9]+\/[0-9a-f]+$/;

/** So much is looked at of what there is no room for. */
const LOOK_AHEAD = 64 * 1024 * 1024;

/**
 * A small archive may unpack to more than any disk holds: what says so itself is not begun. If it ends soon, it is cut
 * off or lies of its size, which is then the error, as for an archive that is a file.
 */
async function expectRoom(
  size: number,
  folder: string,
  what: string,
  whole: AsyncIterable<Uint8Array>,
): Promise<void> {
  if (size < MAX_CONFIG) return;
  const { bavail, bsize } = statfsSync(folder);
  if (size <= bavail * bsize) return;
  let seen = 0;
  for await (const chunk of whole) if ((seen += chunk.length) > LOOK_AHEAD) break;
  throw new ImgconvError('NO_SPACE', `${what}: ${size} bytes needed, ${bavail * bsize} free`);
}

/** A tar has its magic in its first header (POSIX ustar; GNU's begins the same). What may be a document is none. */
function looksLikeTar(head: Uint8Array): boolean {
  return !mayBeJson(head) && Buffer.from(head.subarray(257, 262)).toString('latin1') === 'ustar';
}

/** How plain layers are compressed as they pass. */
export interface PassingForm {
  readonly format: 'gzip' | 'zstd';
  readonly level?: number | undefined;
  /** Not those in the blobs of a layout: its manifests, which may come last, are likely to name them as they are. */
  readonly exceptBlobs: boolean;
}

/**
 * Keeps members as files in a staging folder. With `form`, plain layers are compressed as they pass and kept in
 * that form alone, out of which the few are unpacked again that are needed as they were.
 */
export class StagingSpool implements Spool {
  readonly #staging: Staging;
  readonly #pool: Pool;
  readonly #form: PassingForm | undefined;

  constructor(staging: Staging, pool: Pool, form?: PassingForm) {
    this.#staging = staging;
    this.#pool = pool;
    this.#form = form;
  }

  async add(path: string, chunks: AsyncIterable<Uint8Array>, declared: number): Promise<LocalBytes> {
    const { head, whole } = await peek(chunks, HEAD);
    const form = this.#form;
    const asItIs = form === undefined || (form.exceptBlobs && IN_BLOBS.test(path));
    if (asItIs || !looksLikeTar(head)) {
      const staged = this.#staging.path();
      await expectRoom(declared, dirname(staged), path, whole);
      return stageFile(whole, { path: staged, flush: false }, this.#pool, path);
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
    const file = await stageFile(
      compress(hashed(), form.format, this.#pool, form.level),
      { path: this.#staging.path(), flush: false },
      this.#pool,
    );
    const digest = hasher.digest();
    let unpacked: Promise<FileBytes> | undefined;
    const unpack = () => (unpacked ??= this.#unpack(file, digest, path));
    return { kind: 'dropped', path, size, head: head.subarray(0, HEAD), digest, form: { file, unpack } };
  }

  async #unpack(form: FileBytes, digest: Digest, shown: string): Promise<FileBytes> {
    const blob = VerifiedBlob.staged(form, this.#pool);
    return { ...(await blob.unpackTo(this.#staging.path(), digest)), shown };
  }
}

/** Keeps what may be a document, hashes and forgets the rest: for looking at a stream. */
export class PeekSpool implements Spool {
  /** All documents of an archive together. */
  #room = 64 * 1024 * 1024;

  async add(path: string, chunks: AsyncIterable<Uint8Array>): Promise<LocalBytes> {
    const { head, whole } = await peek(chunks, HEAD);
    const packing = sniffPacking(head.subarray(0, MAGIC_LENGTH));
    // An archive's manifests name such layers by what they unpack to.
    if (packing === 'xz' || packing === 'bzip2') return unpackPassing(path, head, whole, packing);
    const isDocument = !looksLikeTar(head) && packing === 'none';
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

/** Hashes packed bytes and what they unpack to, and keeps neither. */
async function unpackPassing(
  path: string,
  head: Uint8Array,
  whole: AsyncGenerator<Uint8Array>,
  packing: 'xz' | 'bzip2',
): Promise<LocalBytes> {
  const packed = createHasher('sha256');
  let size = 0;
  // A decoder that fails leaves the rest, which the archive's reader has to be past.
  async function* passing() {
    for (let next = await whole.next(); next.done !== true; next = await whole.next()) {
      packed.update(next.value);
      size += next.value.length;
      yield next.value;
    }
  }
  const hasher = createHasher('sha256');
  let unpackedSize = 0;
  let isSound = true;
  try {
    for await (const chunk of decompress(passing(), packing, path)) {
      hasher.update(chunk);
      unpackedSize += chunk.length;
    }
  } catch {
    isSound = false;
  }
  for await (const _ of passing());
  const unpacked = isSound ? { digest: hasher.digest(), size: unpackedSize } : undefined;
  return { kind: 'dropped', path, size, head: head.subarray(0, HEAD), digest: packed.digest(), unpacked };
}
