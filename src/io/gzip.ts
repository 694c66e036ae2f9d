import { crc32 } from 'node:zlib';
import type { DeflateResult } from './jobs.js';
import type { Pool } from './pool.js';

/** Fixed, so that the output depends on the input alone, never on how it was chunked or on the number of threads. */
const PIECE = 1024 * 1024;
/** Deflate's window (RFC 1951): all that a piece can refer back to. */
const WINDOW = 32 * 1024;
/** The least that is not larger than what skopeo 1.9 writes; measured in test/bench. */
export const DEFAULT_LEVEL = 2;

/** RFC 1952: magic, deflate, no flags, no time, no extra flags, unknown system. */
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff);

/** Cuts a stream into pieces of exactly `PIECE` bytes, the last one shorter; an empty stream gives one empty piece. */
async function* piecesOf(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ piece: Uint8Array<ArrayBuffer>; last: boolean }> {
  let piece = new Uint8Array(PIECE);
  let filled = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length;) {
      if (filled === PIECE) {
        yield { piece, last: false };
        piece = new Uint8Array(PIECE);
        filled = 0;
      }
      const part = chunk.subarray(at, at + PIECE - filled);
      piece.set(part, filled);
      filled += part.length;
      at += part.length;
    }
  }
  yield { piece: piece.slice(0, filled), last: true };
}

/** One ordinary gzip member, deflated in pieces on all threads; the same bytes for the same input and level. */
export async function* gzip(
  source: AsyncIterable<Uint8Array>,
  pool: Pool,
  level = DEFAULT_LEVEL,
): AsyncGenerator<Uint8Array> {
  const waiting: Promise<DeflateResult>[] = [];
  let dictionary = new Uint8Array(0);
  let crc = 0;
  let size = 0;
  yield HEADER;
  try {
    for await (const { piece, last } of piecesOf(source)) {
      crc = crc32(piece, crc);
      size += piece.length;
      const next = piece.slice(-WINDOW);
      waiting.push(pool.deflate({ kind: 'deflate', piece, dictionary, level, last }));
      dictionary = next;
      const oldest = waiting.length > pool.threads * 2 ? waiting.shift() : undefined;
      if (oldest !== undefined) yield (await oldest).deflated;
    }
    for (let oldest = waiting.shift(); oldest !== undefined; oldest = waiting.shift()) {
      yield (await oldest).deflated;
    }
  } finally {
    await Promise.allSettled(waiting);
  }
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc, 0);
  trailer.writeUInt32LE(size % 2 ** 32, 4);
  yield trailer;
}
