import { crc32 } from 'node:zlib';
import { ImgconvError } from '../model/errors.js';
import { BUFFER_SIZE, giveBuffer, WINDOW } from '../bytes/buffers.js';
import type { PieceResult } from '../codecs/pieces.js';
import type { Pool } from './pool.js';

/** Fixed, so that the output depends on the input alone, never on how it was chunked or on the number of threads. */
const PIECE = { gzip: BUFFER_SIZE, zstd: 4 * BUFFER_SIZE };
/** gzip: our own encoder's; zstd: its own default. */
const DEFAULT_LEVEL = { gzip: 1, zstd: 3 };

/** RFC 1952: magic, deflate, no flags, no time, no extra flags, unknown system. */
const HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff);

/** A piece in the memory that it is compressed in. */
interface Piece {
  readonly memory: SharedArrayBuffer;
  readonly dictionary: number;
  readonly length: number;
  readonly last: boolean;
}

/**
 * Cuts a stream into pieces of exactly `size` bytes, each after the end of the one before it; the last is shorter, and
 * an empty stream gives one empty piece. `take` gives memory for each.
 */
async function* piecesOf(
  source: AsyncIterable<Uint8Array>,
  size: number,
  take: () => SharedArrayBuffer,
): AsyncGenerator<Piece> {
  let memory = take();
  let dictionary = 0;
  let length = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length;) {
      if (length === size) {
        // What follows is prepared first: the piece is overwritten as soon as it is handed on.
        const next = take();
        new Uint8Array(next, 0, WINDOW).set(new Uint8Array(memory, size, WINDOW));
        yield { memory, dictionary, length, last: false };
        memory = next;
        dictionary = WINDOW;
        length = 0;
      }
      const part = chunk.subarray(at, at + size - length);
      new Uint8Array(memory, WINDOW + length).set(part);
      length += part.length;
      at += part.length;
    }
    if (chunk.length === chunk.buffer.byteLength) giveBuffer(chunk.buffer);
  }
  yield { memory, dictionary, length, last: true };
}

/**
 * The stream in compressed form, made in pieces on all threads; the same bytes for the same input and level. gzip is
 * one ordinary member; zstd is a frame a piece, which decoders read one after another (RFC 8878, 3.1). Chunks lie in
 * memory that is used again: each is good until the next one is asked for. The source may not use a chunk again that it gave.
 */
export async function* compress(
  source: AsyncIterable<Uint8Array>,
  format: 'gzip' | 'zstd',
  pool: Pool,
  level = DEFAULT_LEVEL[format],
): AsyncGenerator<Uint8Array> {
  const free: SharedArrayBuffer[] = [];
  const take = () => free.pop() ?? new SharedArrayBuffer(WINDOW + PIECE[format]);
  const waiting: { memory: SharedArrayBuffer; made: Promise<PieceResult> }[] = [];
  async function* first(): AsyncGenerator<Uint8Array> {
    const oldest = waiting.shift();
    if (oldest === undefined) return;
    const { compressed } = await oldest.made;
    yield new Uint8Array(oldest.memory, 0, compressed);
    free.push(oldest.memory);
  }
  let crc = 0;
  let size = 0;
  if (format === 'gzip') yield HEADER;
  try {
    for await (const piece of piecesOf(source, PIECE[format], take)) {
      size += piece.length;
      if (format === 'gzip') crc = crc32(new Uint8Array(piece.memory, WINDOW, piece.length), crc);
      const made = pool.compress({ kind: format, level, ...piece });
      made.catch(() => undefined); // Its turn to be awaited may never come.
      waiting.push({ memory: piece.memory, made });
      if (waiting.length > pool.threads) yield* first();
    }
    while (waiting.length > 0) yield* first();
  } finally {
    await Promise.allSettled(waiting.map(({ made }) => made));
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
