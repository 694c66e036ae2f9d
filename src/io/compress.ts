import { crc32 } from 'node:zlib';
import { ImgconvError } from '../model/errors.js';
import { BUFFER_SIZE, giveBuffer, takeBuffer } from './buffers.js';
import type { PieceResult } from './jobs.js';
import type { Pool } from './pool.js';

/** Fixed, so that the output depends on the input alone, never on how it was chunked or on the number of threads. */
const PIECE = { gzip: BUFFER_SIZE, zstd: 4 * BUFFER_SIZE };
/** Deflate's window (RFC 1951): all that a piece can refer back to. */
const WINDOW = 32 * 1024;
/** gzip: what is not larger than skopeo 1.9's on the corpus of test/bench, at no more CPU; zstd: its own default. */
const DEFAULT_LEVEL = { gzip: 2, zstd: 3 };

/** RFC 1952: magic, deflate, no flags, no time, no extra flags, unknown system. */
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff);

/**
 * Cuts a stream into pieces of exactly `size` bytes, the last one shorter; an empty stream gives one empty piece. A
 * chunk that is a piece already is passed on as it is: the stream must not keep what it gave.
 */
async function* piecesOf(
  source: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<{ piece: Uint8Array<ArrayBuffer>; last: boolean }> {
  let piece = new Uint8Array(0);
  let filled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length;) {
      if (filled === size) {
        yield { piece, last: false };
        filled = 0;
      }
      const { buffer } = chunk;
      if (
        filled === 0 &&
        chunk.length === size &&
        buffer.byteLength === size &&
        buffer instanceof ArrayBuffer
      ) {
        piece = new Uint8Array(buffer);
        filled = size;
        break;
      }
      if (filled === 0) piece = new Uint8Array(size === BUFFER_SIZE ? takeBuffer() : new ArrayBuffer(size));
      const part = chunk.subarray(at, at + size - filled);
      piece.set(part, filled);
      filled += part.length;
      at += part.length;
    }
  }
  yield { piece: piece.subarray(0, filled), last: true };
}

/**
 * The stream in compressed form, made in pieces on all threads; the same bytes for the same input and level. gzip is
 * one ordinary member; zstd is a frame a piece, which decoders read one after another (RFC 8878, 3.1).
 */
export async function* compress(
  source: AsyncIterable<Uint8Array>,
  format: 'gzip' | 'zstd',
  pool: Pool,
  level = DEFAULT_LEVEL[format],
): AsyncGenerator<Uint8Array> {
  const waiting: Promise<PieceResult>[] = [];
  const take = async (oldest: Promise<PieceResult>) => {
    const { compressed, piece } = await oldest;
    giveBuffer(piece.buffer);
    return compressed;
  };
  let dictionary = new Uint8Array(0);
  let crc = 0;
  let size = 0;
  if (format === 'gzip') yield HEADER;
  try {
    for await (const { piece, last } of piecesOf(source, PIECE[format])) {
      size += piece.length;
      const before = dictionary;
      if (format === 'gzip') {
        crc = crc32(piece, crc);
        dictionary = piece.slice(-WINDOW);
      }
      const made = pool.compress({ kind: format, piece, dictionary: before, level, last });
      made.catch(() => undefined); // Its turn to be awaited may never come.
      waiting.push(made);
      const oldest = waiting.length > pool.threads ? waiting.shift() : undefined;
      if (oldest !== undefined) yield await take(oldest);
    }
    for (let oldest = waiting.shift(); oldest !== undefined; oldest = waiting.shift()) {
      yield await take(oldest);
    }
  } finally {
    await Promise.allSettled(waiting);
  }
  if (format === 'zstd') return;
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc, 0);
  trailer.writeUInt32LE(size % 2 ** 32, 4);
  yield trailer;
}

/** Levels that a format has. @throws ImgconvError USAGE */
export function expectLevel(format: 'gzip' | 'zstd', level: number | undefined): void {
  const most = format === 'gzip' ? 9 : 19;
  if (level !== undefined && (level < 1 || level > most))
    throw new ImgconvError('USAGE', `--compression-level ${level}: ${format} has levels 1 to ${most}`);
}
