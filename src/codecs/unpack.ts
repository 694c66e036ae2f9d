import type { Algorithm, Digest } from '../model/digest.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { dropBytes, notePassing } from '../bytes/buffers.js';
import type { FileId } from '../bytes/file-id.js';
import { createHasher, type Expected, type Hasher } from '../bytes/hash.js';
import { Output, type Target } from '../bytes/output.js';
import { openRegular, type OpenFile } from '../bytes/open-file.js';
import type { FileBytes } from '../bytes/region.js';
import { decompress } from './decompress.js';

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

export interface UnpackResult {
  readonly digest: Digest;
  readonly unpacked: Expected;
  /** The state of the file that was written. */
  readonly written: FileId | undefined;
}

/** What is read at once: some times as much comes out. */
const PIECE = 256 * 1024;

/**
 * zlib works on a thread of its own meanwhile; hashing and writing are the caller's.
 * @throws ImgconvError DIGEST_MISMATCH for bytes that cannot be unpacked; SOURCE_CHANGED
 */
export async function unpack(job: UnpackJob, onBytes?: (count: number) => void): Promise<UnpackResult> {
  const { from, to, compression, most = Infinity } = job;
  const { path } = from;
  try {
    using file = openRegular(path);
    await using out = to && new Output(to);
    const packed = createHasher(job.algorithm);
    const unpacked = createHasher(job.unpackedAlgorithm);
    let size = 0;
    for await (const chunk of decompress(hashedPieces(file, from, packed, onBytes), compression, path)) {
      size += chunk.length;
      if (size > most)
        throw new ImgconvError('DIGEST_MISMATCH', `${path}: unpacks to more than ${most} bytes`);
      unpacked.update(chunk);
      out?.write(chunk);
      if (chunk.length === chunk.buffer.byteLength) dropBytes(chunk);
    }
    file.expectUnchanged();
    await out?.end();
    return {
      digest: packed.digest(),
      unpacked: { digest: unpacked.digest(), size },
      written: out?.state(),
    };
  } catch (error) {
    throw asImgconvError(error, path);
  }
}

async function* hashedPieces(
  file: OpenFile,
  { offset, size }: FileBytes,
  hasher: Hasher,
  onBytes?: (count: number) => void,
): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < size;) {
    const piece = new Uint8Array(Math.min(PIECE, size - done));
    file.fill(piece, offset + done);
    hasher.update(piece);
    done += piece.length;
    onBytes?.(piece.length);
    await Promise.resolve();
    yield piece;
    notePassing(piece.length);
  }
}
