import { createHasher, type Expected } from '../bytes/hash.js';
import type { FileId } from '../bytes/file-id.js';
import { Output, type Target } from '../bytes/output.js';
import { openRegular } from '../bytes/open-file.js';
import type { FileBytes } from '../bytes/region.js';
import type { Algorithm, Digest } from '../model/digest.js';
import { asImgconvError } from '../model/errors.js';
import type { EncoderName } from './encoders.js';
import { GoGzip } from './go-deflate.js';
import { KlauspostGzip, Pgzip } from './klauspost-deflate.js';

/** One gzip member that is made as its input comes. */
interface GzipStream {
  /** What there is of the output so far: good until the next call, may be empty. */
  write(bytes: Uint8Array): Uint8Array;
  end(): Uint8Array;
}

const STREAMS: Readonly<Record<EncoderName, () => GzipStream>> = {
  'go-6': () => new GoGzip(6),
  'go-1': () => new GoGzip(1),
  'go-9': () => new GoGzip(9),
  'go1.27-6': () => new KlauspostGzip('go1.27', 6),
  'go1.27-1': () => new KlauspostGzip('go1.27', 1),
  'pgzip-1.14.3': () => new Pgzip('1.14.3'),
  'pgzip-1.15.0': () => new Pgzip('1.15.0'),
  'pgzip-1.15.11': () => new Pgzip('1.15.11'),
  'pgzip-1.18.1': () => new Pgzip('1.18.1'),
  'pgzip-1.18.2': () => new Pgzip('1.18.2'),
};

/** Reads a layer's tar once, hashing it, and compresses it as a program does. One stream: one thread makes it. */
export interface EncodeJob {
  readonly kind: 'encode';
  readonly from: FileBytes;
  readonly algorithm: Algorithm;
  readonly encoder: EncoderName;
  /** Undefined: what is made is only hashed. */
  readonly to: Target | undefined;
}

export interface EncodeResult {
  /** Of the tar. */
  readonly digest: Digest;
  /** What was made; its digest is sha256. */
  readonly encoded: Expected;
  readonly written: FileId | undefined;
}

/** As `io.Copy` of Go writes to an encoder: how its input is cut can matter (see `GoGzip`). */
const PIECE = 32 * 1024;

/** @throws ImgconvError SOURCE_CHANGED, IO, NO_SPACE */
export async function encode(job: EncodeJob, onBytes?: (count: number) => void): Promise<EncodeResult> {
  const { from, to, encoder } = job;
  try {
    using file = openRegular(from.path);
    await using out = to && new Output(to);
    const [plain, encoded] = [createHasher(job.algorithm), createHasher('sha256')];
    const stream = STREAMS[encoder]();
    const room = new Uint8Array(PIECE);
    let size = 0;
    const put = async (bytes: Uint8Array) => {
      if (bytes.length === 0) return;
      encoded.update(bytes);
      size += bytes.length;
      if (out?.write(bytes) === true) await new Promise(setImmediate);
    };
    for (let done = 0; done < from.size;) {
      const chunk = room.subarray(0, Math.min(PIECE, from.size - done));
      file.fill(chunk, from.offset + done);
      plain.update(chunk);
      await put(stream.write(chunk));
      done += chunk.length;
      onBytes?.(chunk.length);
    }
    await put(stream.end());
    file.expectUnchanged();
    await out?.end();
    return { digest: plain.digest(), encoded: { digest: encoded.digest(), size }, written: out?.state() };
  } catch (error) {
    throw asImgconvError(error, from.path);
  }
}
