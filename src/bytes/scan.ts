import type { Algorithm, Digest } from '../model/digest.js';
import { asImgconvError } from '../model/errors.js';
import type { FileId } from './file-id.js';
import { createHasher } from './hash.js';
import { linkProven, type Unlinked } from './link.js';
import { Output, type Target } from './output.js';
import { changedFile, openRegular } from './open-file.js';
import type { FileBytes } from './region.js';

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

/** What is read and hashed at once: it is still in the core's own cache when it is hashed, and when it is written. */
const PIECE = 128 * 1024;
/** So much is hashed and written in a few milliseconds. */
const BREATH = 4 * 1024 * 1024;
let buffer: Uint8Array | undefined;

/**
 * Reads and writes without waiting, so that a worker thread spends its time in OpenSSL and the kernel, with one reused
 * buffer; only the disk is waited for, while the thread does other jobs. A thread that has more to do than jobs is let
 * go now and then by `breathe`.
 * @throws ImgconvError SOURCE_CHANGED when the file was written to or cut while it was read
 */
export async function scan(
  { from, algorithm, to, link }: ScanJob,
  onBytes?: (count: number) => void,
  breathe?: () => Promise<void>,
): Promise<ScanResult> {
  const { path, offset, size, whole } = from;
  try {
    using file = openRegular(path);
    await using out = to && new Output(to);
    const hasher = createHasher(algorithm);
    const room = size < PIECE ? new Uint8Array(size) : (buffer ??= new Uint8Array(PIECE));
    for (let done = 0; done < size;) {
      const chunk = room.subarray(0, Math.min(room.length, size - done));
      file.fill(chunk, offset + done);
      hasher.update(chunk);
      const isDue = out?.write(chunk);
      done += chunk.length;
      onBytes?.(chunk.length);
      if (isDue === true) await new Promise(setImmediate);
      if (breathe !== undefined && done % BREATH === 0) await breathe();
    }
    file.expectUnchanged();
    if (whole && file.id.size !== BigInt(size)) throw changedFile(path);
    await out?.end();
    const unlinked =
      link === undefined ? undefined : linkProven({ kind: 'link', path, proven: file.id, to: link });
    return { digest: hasher.digest(), id: file.id, unlinked };
  } catch (error) {
    throw asImgconvError(error, path);
  }
}
