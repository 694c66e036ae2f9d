/** The sizes in which every stream is tried: a stream that is right for all of them depends on none. */
export const CHUNK_SIZES = [1, 3, 64] as const;

/** Bytes as a stream of pieces of this size. */
export async function* chunksOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    await Promise.resolve();
    yield bytes.subarray(at, at + size);
  }
}

/** As `chunksOf` for a thousand bytes before and after `boundary`, in whole pieces elsewhere, which is much faster. */
export async function* chunksAround(
  bytes: Uint8Array,
  boundary: number,
  size: number,
): AsyncGenerator<Uint8Array> {
  yield bytes.subarray(0, boundary - 1000);
  yield* chunksOf(bytes.subarray(boundary - 1000, boundary + 1000), size);
  yield bytes.subarray(boundary + 1000);
}

export async function concat(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  // Copied: a stream may use a chunk's memory again.
  for await (const chunk of chunks) all.push(Buffer.from(chunk));
  return Buffer.concat(all);
}
