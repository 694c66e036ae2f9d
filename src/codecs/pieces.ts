import zlib from 'node:zlib';
import { dropBytes, WINDOW } from '../bytes/buffers.js';
import { Deflate } from './deflate.js';

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

export async function compressPiece(job: PieceJob): Promise<PieceResult> {
  const { kind, memory, length } = job;
  const piece = new Uint8Array(memory, WINDOW, length);
  const compressed = kind === 'gzip' ? deflatePiece(piece, job) : await zstdPiece(piece, job.level);
  // There is room: deflate adds 5 bytes to 16 KB that it cannot compress (zlib's deflateBound), zstd 1/256 (ZSTD_compressBound).
  new Uint8Array(memory).set(compressed);
  const result = { compressed: compressed.length };
  if (!isOwn(job)) dropBytes(compressed);
  return result;
}

/** gzip's level 1 is made by our own encoder, the same on every Node.js. */
function isOwn({ kind, level }: PieceJob): boolean {
  return kind === 'gzip' && level === 1;
}
/** One for each thread, made when the first piece comes. */
let own: Deflate | undefined;

/** All pieces but the last end in an empty stored block (Z_SYNC_FLUSH), so that they can be put one after another. */
function deflatePiece(piece: Uint8Array, job: PieceJob): Uint8Array {
  const { memory, level, last } = job;
  const dictionary = new Uint8Array(memory, WINDOW - job.dictionary, job.dictionary);
  if (isOwn(job)) return (own ??= new Deflate()).deflate({ dictionary, bytes: piece, isLast: last });
  return zlib.deflateRawSync(piece, {
    level,
    memLevel: 9,
    ...(dictionary.length > 0 && { dictionary }),
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
