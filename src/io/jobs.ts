import { closeSync, fdatasyncSync, fstatSync, openSync, writeSync } from 'node:fs';
import zlib from 'node:zlib';
import type { Algorithm, Digest } from '../model/digest.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { BUFFER_SIZE } from './buffers.js';
import { createHasher } from './hash.js';
import { fileIdOf, openRegular, readFully, sameFile, type FileBytes, type FileId } from './region.js';

/** Reads a region once, hashing it and, with `to`, writing it from `position` of a file. */
export interface ScanJob {
  readonly kind: 'scan';
  readonly from: FileBytes;
  readonly algorithm: Algorithm;
  readonly to?: { readonly path: string; readonly position: number; readonly flags: 'wx' | 'r+' } | undefined;
}
export interface ScanResult {
  readonly digest: Digest;
  readonly id: FileId;
}

/** One piece of a compressed stream: gzip's is raw deflate primed with the 32 KiB before it (`pigz`'s method). */
export interface PieceJob {
  readonly kind: 'gzip' | 'zstd';
  readonly piece: Uint8Array<ArrayBuffer>;
  readonly dictionary: Uint8Array<ArrayBuffer>;
  readonly level: number;
  readonly last: boolean;
}
export interface PieceResult {
  readonly compressed: Uint8Array<ArrayBuffer>;
  /** The memory of the piece, to be used again. */
  readonly piece: Uint8Array<ArrayBuffer>;
}

/** Well above `Buffer.poolSize`. */
const POOLED = 64 * 1024;
let buffer: Uint8Array | undefined;

/**
 * Synchronous, so that a worker thread spends its time in OpenSSL and the kernel, with one reused buffer.
 * @throws ImgconvError SOURCE_CHANGED when the file was written to or cut while it was read
 */
export function scan(job: ScanJob, onBytes?: (count: number) => void): ScanResult {
  const { from, to } = job;
  const { fd, id } = openRegular(from.path);
  let out: number | undefined;
  try {
    if (to !== undefined) out = openSync(to.path, to.flags, 0o644);
    const hasher = createHasher(job.algorithm);
    const room =
      from.size < BUFFER_SIZE ? new Uint8Array(from.size) : (buffer ??= new Uint8Array(BUFFER_SIZE));
    for (let done = 0; done < from.size;) {
      const want = room.subarray(0, Math.min(room.length, from.size - done));
      const chunk = want.subarray(0, readFully(fd, want, from.offset + done));
      if (chunk.length < want.length) throw changed(from.path);
      hasher.update(chunk);
      if (out !== undefined && to !== undefined) writeFully(out, chunk, to.position + done);
      done += chunk.length;
      onBytes?.(chunk.length);
    }
    if (!sameFile(id, fileIdOf(fstatSync(fd, { bigint: true })))) throw changed(from.path);
    if (from.whole && id.size !== BigInt(from.size)) throw changed(from.path);
    if (out !== undefined && to?.flags === 'wx' && from.size >= BUFFER_SIZE) fdatasyncSync(out);
    return { digest: hasher.digest(), id };
  } catch (error) {
    throw asImgconvError(error, out === undefined ? from.path : (to?.path ?? from.path));
  } finally {
    closeSync(fd);
    if (out !== undefined) closeSync(out);
  }
}

function changed(path: string): ImgconvError {
  return new ImgconvError('SOURCE_CHANGED', `${path}: changed or shrank while it was read`);
}

export function writeFully(fd: number, bytes: Uint8Array, position: number | null): void {
  for (let done = 0; done < bytes.length;) {
    done += writeSync(fd, bytes, done, bytes.length - done, position === null ? null : position + done);
  }
}

export async function compressPiece(job: PieceJob): Promise<PieceResult> {
  const compressed = job.kind === 'gzip' ? deflatePiece(job) : await zstdPiece(job);
  const { buffer, byteOffset, byteLength } = compressed;
  // zlib's result has memory of its own, which can be handed over, unless it is small and lies in Node's buffer pool.
  const own =
    job.kind === 'gzip' && byteOffset === 0 && buffer.byteLength > POOLED && buffer instanceof ArrayBuffer;
  const { piece } = job;
  return { compressed: own ? new Uint8Array(buffer, 0, byteLength) : new Uint8Array(compressed), piece };
}

/** All pieces but the last end in an empty stored block (Z_SYNC_FLUSH), so that they can be put one after another. */
function deflatePiece({ piece, dictionary, level, last }: PieceJob): Uint8Array {
  return zlib.deflateRawSync(piece, {
    level,
    memLevel: 9,
    ...(dictionary.length > 0 && { dictionary }),
    finishFlush: last ? zlib.constants.Z_FINISH : zlib.constants.Z_SYNC_FLUSH,
    chunkSize: piece.length + 1024,
  });
}

/** Node has zstd since 22.15; before that, the reference implementation as WebAssembly does it. */
async function zstdPiece({ piece, level }: PieceJob): Promise<Uint8Array> {
  if ('zstdCompressSync' in zlib) {
    const node = zlib as unknown as NodeZstd;
    return node.zstdCompressSync(piece, { params: { [node.constants.ZSTD_c_compressionLevel]: level } });
  }
  const { default: zstd } = await import('@bokuweb/zstd-wasm');
  await (zstdReady ??= zstd.init());
  return zstd.compress(piece, level);
}
let zstdReady: Promise<void> | undefined;

/** The part of Node 22.15's zlib that the types of Node 20 lack. */
interface NodeZstd {
  zstdCompressSync(piece: Uint8Array, options: { params: Record<number, number> }): Uint8Array;
  readonly constants: { readonly ZSTD_c_compressionLevel: number };
}
