import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import type { Compression } from '../model/media-type.js';
import { ImgconvError } from '../model/errors.js';

/** Node's default of 16 KiB bounces every piece between threads. */
const CHUNK = 512 * 1024;

/** How these bytes are compressed, by their magic numbers (RFC 1952, RFC 8878). */
export function sniffCompression(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  if (head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd) return 'zstd';
  return 'none';
}

/** The decompressed bytes. @throws ImgconvError DIGEST_MISMATCH when they are not the compression they seem */
export async function* inflate(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  where: string,
): AsyncGenerator<Uint8Array> {
  if (compression === 'none') {
    yield* source;
    return;
  }
  if (compression === 'zstd') {
    throw new ImgconvError('FORMAT_UNSUPPORTED', `${where}: zstd layers cannot be decompressed yet`);
  }
  const decoder = createGunzip({ chunkSize: CHUNK });
  const fed = pipeline(source, decoder);
  fed.catch(() => undefined); // Reported by the loop below, which sees the same error.
  try {
    for await (const chunk of decoder) yield chunk as Uint8Array;
    await fed;
  } catch (cause) {
    if (cause instanceof ImgconvError) throw cause;
    throw new ImgconvError('DIGEST_MISMATCH', `${where}: damaged ${compression} data: ${String(cause)}`, {
      cause,
    });
  } finally {
    decoder.destroy();
  }
}
