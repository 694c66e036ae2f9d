import { crc32 } from 'node:zlib';
import { ImgconvError } from '../model/errors.js';
import type { PieceResult } from './jobs.js';
import type { Pool } from './pool.js';

/** Fixed, so that the output depends on the input alone, never on how it was chunked or on the number of threads. */
const PIECE = { gzip: 1024 * 1024, zstd: 4 * 1024 * 1024 };
/** Deflate's window (RFC 1951): all that a piece can refer back to. */
const WINDOW = 32 * 1024;
/** gzip: the least that is not larger than what skopeo 1.9 writes; measured in test/bench. zstd: its own default. */
const DEFAULT_LEVEL = { gzip: 2, zstd: 3 };

/** RFC 1952: magic, deflate, no flags, no time, no extra flags, unknown system. */
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff);

/** Cuts a stream into pieces of exactly `size` bytes, the last one shorter; an empty stream gives one empty piece. */
async function* piecesOf(
  source: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<{ piece: Uint8Array<ArrayBuffer>; last: boolean }> {
  let piece = new Uint8Array(size);
  let filled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length;) {
      if (filled === size) {
        yield { piece, last: false };
        piece = new Uint8Array(size);
        filled = 0;
      }
      const part = chunk.subarray(at, at + size - filled);
      piece.set(part, filled);
      filled += part.length;
      at += part.length;
    }
  }
  yield { piece: piece.slice(0, filled), last: true };
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
      waiting.push(pool.compress({ kind: format, piece, dictionary: before, level, last }));
      const oldest = waiting.length > pool.threads * 2 ? waiting.shift() : undefined;
      if (oldest !== undefined) yield (await oldest).compressed;
    }
    for (let oldest = waiting.shift(); oldest !== undefined; oldest = waiting.shift()) {
      yield (await oldest).compressed;
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
