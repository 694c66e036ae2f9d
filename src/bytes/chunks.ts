import { BUFFER_SIZE, takeBuffer } from './buffers.js';
import { openRegular } from './open-file.js';
import type { Bytes, FileBytes, MemoryBytes, RebuiltBytes } from './region.js';

/** Bytes that can be read from their beginning as often as they are needed. */
export type ReadableBytes = FileBytes | MemoryBytes | RebuiltBytes;

/** The reader of a chunk may use its memory again when the chunk is a whole buffer: those given here never are. */
const PIECE = BUFFER_SIZE / 2;

/** All bytes, in chunks that are not written to again. */
export function chunksOf(at: ReadableBytes): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  switch (at.kind) {
    case 'file':
      return fileChunks(at);
    case 'memory':
      return piecesOf(at.bytes);
    case 'rebuilt':
      return rebuiltChunks(at);
  }
}

function* fileChunks({ path, offset, size }: FileBytes): Generator<Uint8Array> {
  using file = openRegular(path);
  for (let done = 0; done < size;) {
    const left = size - done;
    const chunk = new Uint8Array(left < BUFFER_SIZE ? new ArrayBuffer(left) : takeBuffer());
    file.fill(chunk, offset + done);
    yield chunk;
    done += chunk.length;
  }
}

function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE);
}

async function* rebuiltChunks(at: RebuiltBytes): AsyncGenerator<Uint8Array> {
  for await (const chunk of at.open()) yield* piecesOf(chunk);
}

/** The first bytes of rebuilt ones, at most `count`. */
export async function firstOf(at: RebuiltBytes, count: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const chunks = at.open()[Symbol.asyncIterator]();
  try {
    for (let have = 0; have < count;) {
      const next = await chunks.next();
      if (next.done === true) break;
      parts.push(next.value);
      have += next.value.length;
    }
  } finally {
    // It may say that it was left before its end, as is meant here.
    await chunks.return?.().catch(() => undefined);
  }
  return Buffer.concat(parts).subarray(0, count);
}

/** The size of bytes that nothing gives a size of: all of them are read for it. */
export async function sizeOf(at: Bytes): Promise<number> {
  if (at.kind !== 'rebuilt') return at.size;
  if (at.size !== undefined) return at.size;
  let size = 0;
  for await (const chunk of at.open()) size += chunk.length;
  return size;
}
