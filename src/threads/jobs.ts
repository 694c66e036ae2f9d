import { linkSync, lstatSync, renameSync, rmSync, writeFileSync, type BigIntStats } from 'node:fs';
import zlib from 'node:zlib';
import type { Algorithm, Digest } from '../model/digest.js';
import { asImgconvError, ImgconvError, naming } from '../model/errors.js';
import { dropBytes, notePassing, WINDOW } from '../bytes/buffers.js';
import { decompress } from '../codecs/decompress.js';
import { makeFolderOf } from '../bytes/folder.js';
import { createHasher, type Expected, type Hasher } from '../bytes/hash.js';
import {
  changedFile,
  closeFile,
  fileIdAt,
  fileIdOf,
  openRegular,
  readFully,
  sameFile,
  type FileBytes,
  type FileId,
  type Target,
} from '../bytes/region.js';
import { Output } from '../bytes/output.js';

/** Reads a region once, hashing it and, with `to`, writing it there; with `link` the whole file is then linked there. */
export interface ScanJob {
  readonly kind: 'scan';
  readonly from: FileBytes;
  readonly algorithm: Algorithm;
  readonly to?: Target | undefined;
  readonly link?: string | undefined;
}
export interface ScanResult {
  readonly digest: Digest;
  readonly id: FileId;
  /** Why there is no link. */
  readonly unlinked?: Unlinked | undefined;
}

/** The system's answer to link(2). */
export interface Unlinked {
  readonly code: string;
  readonly message: string;
}

/** Links a file that was hashed before. */
export interface LinkJob {
  readonly kind: 'link';
  readonly path: string;
  readonly proven: FileId;
  readonly to: string;
}

/** What small files are asked for, many to a message. */
export type SmallJob = ScanJob | LinkJob;
export interface SmallJobs {
  readonly kind: 'small';
  readonly jobs: readonly SmallJob[];
}
export type SmallResult = ScanResult | Unlinked | undefined;

/** Reads a compressed region once, hashing it and what it unpacks to, and with `to` writing that there. */
export interface UnpackJob {
  readonly kind: 'unpack';
  readonly from: FileBytes;
  readonly compression: 'gzip' | 'zstd';
  readonly algorithm: Algorithm;
  readonly unpackedAlgorithm: Algorithm;
  readonly to?: Target | undefined;
  /** More bytes than these it must not unpack to: what follows in the file is not its own. */
  readonly most?: number | undefined;
}
export interface UnpackResult extends ScanResult {
  readonly unpacked: Expected;
  /** The state of the file that was written. */
  readonly written: FileId | undefined;
}

/**
 * One piece of a compressed stream: gzip's is raw deflate primed with the 32 KiB before it (`pigz`'s method). All of it
 * lies in memory that threads share and that is used again: V8 would let 64 MB of what passes become garbage in each.
 */
export interface PieceJob {
  readonly kind: 'gzip' | 'zstd';
  /** `WINDOW` bytes of room, whose end is the dictionary, then the piece. The result replaces both, from the start. */
  readonly memory: SharedArrayBuffer;
  readonly dictionary: number;
  readonly length: number;
  readonly level: number;
  readonly last: boolean;
}
export interface PieceResult {
  /** So many bytes of the memory are the compressed piece. */
  readonly compressed: number;
}

/** Makes small files and renames staged ones, and makes the folders on the way; all but those are relative to `root`. */
export interface AssembleJob {
  readonly kind: 'assemble';
  readonly root: string;
  readonly files: readonly (readonly [path: string, content: string | Uint8Array])[];
  readonly moves: readonly (readonly [from: string, path: string])[];
}

/** What is read and hashed at once: it is still in the core's own cache when it is hashed, and when it is written. */
const SCAN_PIECE = 128 * 1024;
/** So much is hashed in a few milliseconds. */
const BREATH = 8 * 1024 * 1024;
let buffer: Uint8Array | undefined;
/** What is read of a compressed region at once: some times as much comes out. */
const UNPACK_PIECE = 256 * 1024;

/**
 * Reads and writes without waiting, so that a worker thread spends its time in OpenSSL and the kernel, with one reused
 * buffer; only the disk is waited for, while the thread does other jobs. A thread that has more to do than jobs is let
 * go now and then by `breathe`.
 * @throws ImgconvError SOURCE_CHANGED when the file was written to or cut while it was read
 */
export async function scan(
  job: ScanJob,
  onBytes?: (count: number) => void,
  breathe?: () => Promise<void>,
): Promise<ScanResult> {
  const { from, to } = job;
  const { fd, id } = openRegular(from.path);
  let out: Output | undefined;
  try {
    if (to !== undefined) out = new Output(to);
    const hasher = createHasher(job.algorithm);
    const room = from.size < SCAN_PIECE ? new Uint8Array(from.size) : (buffer ??= new Uint8Array(SCAN_PIECE));
    for (let done = 0; done < from.size;) {
      const want = room.subarray(0, Math.min(room.length, from.size - done));
      const chunk = want.subarray(0, readFully(fd, want, from.offset + done, from.path));
      if (chunk.length < want.length) throw changedFile(from.path);
      hasher.update(chunk);
      const isDue = out?.write(chunk);
      done += chunk.length;
      onBytes?.(chunk.length);
      if (isDue === true) await new Promise(setImmediate);
      if (breathe !== undefined && done % BREATH === 0) await breathe();
    }
    if (!sameFile(id, fileIdAt(fd, from.path))) throw changedFile(from.path);
    if (from.whole && id.size !== BigInt(from.size)) throw changedFile(from.path);
    await out?.end();
    const unlinked =
      job.link === undefined
        ? undefined
        : linkProven({ kind: 'link', path: from.path, proven: id, to: job.link });
    return { digest: hasher.digest(), id, unlinked };
  } catch (error) {
    throw asImgconvError(error, from.path);
  } finally {
    closeFile(fd, from.path);
    await out?.close();
  }
}

/** In place of the system's answer, for a file whose owner or mode must not get into a place. */
export const NOT_ORDINARY = 'NOT_ORDINARY';

/**
 * A link has the owner and mode of its file. They are ordinary when nobody but this user and root may change the file:
 * it is owned by one of them, others may not write to it, nor a group but this user's own, and it has no set-user-ID,
 * set-group-ID or sticky bit.
 */
function isOrdinary({ uid, gid, mode }: BigIntStats): boolean {
  const [own, group] = [BigInt(process.geteuid?.() ?? 0), BigInt(process.getegid?.() ?? 0)];
  const groupMay = (mode & 0o020n) === 0n || gid === group || gid === 0n;
  return (uid === own || uid === 0n) && (mode & 0o7002n) === 0n && groupMay;
}

/** Links the file that was hashed, and no other. @throws ImgconvError SOURCE_CHANGED */
export function linkProven({ path, proven, to }: LinkJob): Unlinked | undefined {
  makeFolderOf(to);
  try {
    linkSync(path, to);
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    return { code: String(error.code), message: error.message };
  }
  const stat = lstatSync(to, { bigint: true });
  const isSame = sameFile(proven, fileIdOf(stat));
  if (isSame && isOrdinary(stat)) return undefined;
  rmSync(to);
  if (isSame) return { code: NOT_ORDINARY, message: `${path}: its owner or mode is not to be linked` };
  throw new ImgconvError('SOURCE_CHANGED', `${path}: replaced or written to after it was verified`);
}

/**
 * zlib works on a thread of its own meanwhile; hashing and writing are the caller's.
 * @throws ImgconvError DIGEST_MISMATCH for bytes that cannot be unpacked; SOURCE_CHANGED
 */
export async function unpack(job: UnpackJob, onBytes?: (count: number) => void): Promise<UnpackResult> {
  const { from, to, compression, most = Infinity } = job;
  const { fd, id } = openRegular(from.path);
  let out: Output | undefined;
  try {
    if (to !== undefined) out = new Output(to);
    const packed = createHasher(job.algorithm);
    const unpacked = createHasher(job.unpackedAlgorithm);
    let size = 0;
    for await (const chunk of decompress(hashedPieces(fd, from, packed, onBytes), compression, from.path)) {
      if (size + chunk.length > most) throw tooLong(from.path, most);
      unpacked.update(chunk);
      out?.write(chunk);
      size += chunk.length;
      if (chunk.length === chunk.buffer.byteLength) dropBytes(chunk);
    }
    if (!sameFile(id, fileIdAt(fd, from.path))) throw changedFile(from.path);
    await out?.end();
    const written = out?.state();
    return { digest: packed.digest(), id, unpacked: { digest: unpacked.digest(), size }, written };
  } catch (error) {
    throw asImgconvError(error, from.path);
  } finally {
    closeFile(fd, from.path);
    await out?.close();
  }
}

async function* hashedPieces(
  fd: number,
  from: FileBytes,
  hasher: Hasher,
  onBytes?: (count: number) => void,
): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < from.size;) {
    const piece = new Uint8Array(Math.min(UNPACK_PIECE, from.size - done));
    if (readFully(fd, piece, from.offset + done, from.path) < piece.length) throw changedFile(from.path);
    hasher.update(piece);
    done += piece.length;
    onBytes?.(piece.length);
    await Promise.resolve();
    yield piece;
    notePassing(piece.length);
  }
}

function tooLong(path: string, most: number): ImgconvError {
  return new ImgconvError('DIGEST_MISMATCH', `${path}: unpacks to more than ${most} bytes`);
}

/** A new file of these bytes. @throws ImgconvError IO, NO_SPACE */
export function writeNew(path: string, bytes: Uint8Array | string): void {
  naming(path, () => {
    writeFileSync(path, bytes, { flag: 'wx' });
  });
}

/** @throws ImgconvError IO, NO_SPACE */
export function assemble({ root, files, moves }: AssembleJob): void {
  const known = new Set<string>();
  for (const [place, content] of files) {
    const path = `${root}/${place}`;
    makeFolderOf(path, known);
    writeNew(path, content);
  }
  for (const [from, place] of moves) {
    const path = `${root}/${place}`;
    makeFolderOf(path, known);
    naming(from, () => {
      renameSync(from, path);
    });
  }
}

export async function compressPiece(job: PieceJob): Promise<PieceResult> {
  const { kind, memory, length } = job;
  const piece = new Uint8Array(memory, WINDOW, length);
  const compressed = kind === 'gzip' ? deflatePiece(piece, job) : await zstdPiece(piece, job.level);
  // There is room: zlib adds 5 bytes to 16 KB that it cannot compress (deflateBound), zstd 1/256 (ZSTD_compressBound).
  new Uint8Array(memory).set(compressed);
  const result = { compressed: compressed.length };
  dropBytes(compressed);
  return result;
}

/** All pieces but the last end in an empty stored block (Z_SYNC_FLUSH), so that they can be put one after another. */
function deflatePiece(piece: Uint8Array, { memory, dictionary, level, last }: PieceJob): Uint8Array {
  return zlib.deflateRawSync(piece, {
    level,
    memLevel: 9,
    ...(dictionary > 0 && { dictionary: new Uint8Array(memory, WINDOW - dictionary, dictionary) }),
    finishFlush: last ? zlib.constants.Z_FINISH : zlib.constants.Z_SYNC_FLUSH,
    chunkSize: piece.length + 1024,
  });
}

/** Node has zstd since 22.15; before that, the reference implementation as WebAssembly does it. */
async function zstdPiece(piece: Uint8Array, level: number): Promise<Uint8Array> {
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
