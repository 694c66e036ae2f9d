import { pipeline } from 'node:stream/promises';
import { setImmediate as breathe } from 'node:timers/promises';
import type { Duplex } from 'node:stream';
import zlib from 'node:zlib';
import { ImgconvError, isErrno, type ErrorCode } from '../model/errors.js';
import type { Compression } from '../model/media-type.js';
import { bunzip2 } from './bunzip2.js';
import { headOf, tailOf, type LocalBytes } from '../bytes/region.js';
import { ZstdFrames } from './zstd-frames.js';

/** What an archive file may be packed in; layers are gzip or zstd at most. */
export type Packing = Compression | 'xz' | 'bzip2';

/** Node's default of 16 KiB bounces every piece between threads. */
const CHUNK = 512 * 1024;
/** Room for what is unpacked while the last of it is hashed and written; Node's own is less than one chunk. */
const AHEAD = { chunkSize: CHUNK, readableHighWaterMark: 2 * CHUNK };
/** A decoder in JavaScript keeps its thread for so long at most: interruptions are heard in between. */
const BUSY_MS = 50;
/** xz and zstd may ask for windows of gigabytes; what `zstd` itself takes without a flag is 128 MiB (RFC 8878 asks for 8). */
const MAX_WINDOW_LOG = 27;

const MAGIC: readonly (readonly [Packing, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]], // RFC 1952
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]], // RFC 8878
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]], // xz file format 1.2.1, "Stream Header"
  ['bzip2', [0x42, 0x5a, 0x68]], // "BZh"
];
/** Enough to tell any packing. */
export const MAGIC_LENGTH = 6;

/** How these bytes are packed, by their first ones. */
export function sniffPacking(head: Uint8Array): Packing {
  return MAGIC.find(([, magic]) => magic.every((byte, i) => head[i] === byte))?.[0] ?? 'none';
}

/** The last field of a gzip member (RFC 1952): the length of what it unpacks to, modulo 2^32. */
const TRAILER = 4;

/**
 * What a gzip layer says that it unpacks to, in bytes, which need not be so: it may be of several members or more than
 * 4 GiB. Undefined for what is not gzip, and for what claims to be longer packed than unpacked, which is such a case.
 */
export function gzipSize(at: LocalBytes): number | undefined {
  if (sniffPacking(headOf(at, MAGIC_LENGTH)) !== 'gzip') return undefined;
  const trailer = Buffer.from(tailOf(at, TRAILER));
  const size = trailer.length < TRAILER ? 0 : trailer.readUInt32LE();
  return size < at.size ? undefined : size;
}

/** As `sniffPacking`, for layers. */
export function sniffCompression(head: Uint8Array): Compression {
  const packing = sniffPacking(head);
  return packing === 'gzip' || packing === 'zstd' ? packing : 'none';
}

/**
 * The unpacked bytes, as a stream that holds no more than a window and some pieces.
 * @throws ImgconvError with `code` when they are cut off, damaged, or not what they seem
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  packing: Packing,
  where: string,
  code: ErrorCode = 'DIGEST_MISMATCH',
): AsyncGenerator<Uint8Array> {
  try {
    let since = Date.now();
    for await (const chunk of unpack(source, packing)) {
      yield chunk;
      if (Date.now() - since < BUSY_MS) continue;
      await breathe();
      since = Date.now();
    }
  } catch (cause) {
    if (cause instanceof ImgconvError) throw cause;
    if (isErrno(cause, 'ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND'))
      throw moduleMissing(packing, where, cause);
    throw new ImgconvError(code, `${where}: cut off, or damaged ${packing} data${saidBy(cause)}`, { cause });
  }
}

/** imgconv's bundle runs without the packages that rare archives need. */
function moduleMissing(packing: Packing, where: string, cause: Error): ImgconvError {
  const name = packing === 'xz' ? 'xz-decompress' : 'fzstd';
  return new ImgconvError(
    'FORMAT_UNSUPPORTED',
    `${where}: reading ${packing} needs the npm module ${name}, which is not installed`,
    {
      cause,
      hint: `npm install ${name} in the folder of imgconv${packing === 'zstd' ? ', or use Node 22.15 or newer' : ', or unpack the archive first: xz -d'}`,
    },
  );
}

/** What a decoder says of it; one that ran off its tables only says where in its code. */
function saidBy(cause: unknown): string {
  if (!(cause instanceof Error) || cause instanceof TypeError || cause instanceof RangeError) return '';
  return `: ${cause.message}`;
}

function unpack(source: AsyncIterable<Uint8Array>, packing: Packing): AsyncIterable<Uint8Array> {
  switch (packing) {
    case 'none':
      return source;
    case 'gzip':
      return gunzip(source);
    case 'zstd':
      return unzstd(source);
    case 'xz':
      return unxz(source);
    case 'bzip2':
      return bunzip2(source);
  }
}

/**
 * Members one after another and then zeros, with which some tools fill a block: gzip(1) and Docker pass over them.
 * Node's decoder ends at the first zero after a member and says nothing of what it was not given by then, so whether
 * it takes them depends on how they come; here the rest is looked at, and anything but zeros is damage.
 */
async function* gunzip(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const decoder = zlib.createGunzip(AHEAD);
  const closed = new Promise<void>((resolve) => {
    decoder.once('end', resolve).once('close', resolve);
  });
  const feed = async () => {
    let given = 0;
    let ended = false;
    for await (const chunk of source) {
      if (decoder.destroyed && !decoder.readableEnded) return; // It failed, or who reads from it left.
      let rest = chunk;
      if (!ended) {
        const taken = new Promise<void>((resolve) => {
          decoder.write(chunk, () => {
            resolve();
          });
        });
        // What is left of a chunk after the end is never called taken.
        await Promise.race([taken, closed]);
        if (decoder.errored !== null) return;
        rest = chunk.subarray(decoder.bytesWritten - given);
        given += chunk.length;
        ended = rest.length > 0;
      }
      if (rest.some((byte) => byte !== 0)) throw new Error('other data after its end');
    }
    if (!ended) decoder.end();
  };
  const fed = feed();
  fed.catch((error: unknown) => {
    decoder.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  try {
    for await (const chunk of decoder) yield chunk as Uint8Array;
    await fed;
  } finally {
    decoder.destroy();
  }
}

async function* through(source: AsyncIterable<Uint8Array>, decoder: Duplex): AsyncGenerator<Uint8Array> {
  const fed = pipeline(source, decoder);
  fed.catch(() => undefined); // The loop below sees the same error.
  try {
    for await (const chunk of decoder) yield chunk as Uint8Array;
    await fed;
  } finally {
    decoder.destroy();
  }
}

/** Node has zstd since 22.15; before that a small decoder in JavaScript does it. */
async function* unzstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  if ('createZstdDecompress' in zlib) {
    const node = zlib as unknown as NodeZstd;
    const params = { [node.constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG };
    yield* through(frameByFrame(source), node.createZstdDecompress({ ...AHEAD, params }));
    return;
  }
  const { Decompress } = await import('fzstd');
  const out: Uint8Array[] = [];
  const state = { ended: false };
  const decoder = new Decompress((chunk, last) => {
    out.push(chunk);
    state.ended = last ?? false;
  });
  for await (const piece of frameByFrame(source)) {
    decoder.push(piece);
    yield* out.splice(0);
  }
  decoder.push(new Uint8Array(), true);
  yield* out.splice(0);
  if (!state.ended) throw new Error('unexpected end of data');
}

async function* frameByFrame(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const frames = new ZstdFrames(2 ** MAX_WINDOW_LOG);
  for await (const chunk of source) yield* frames.split(chunk);
}

/** The part of Node 22.15's zlib that the types of Node 20 lack. */
interface NodeZstd {
  createZstdDecompress(options: { chunkSize: number; params: Record<number, number> }): Duplex;
  readonly constants: { readonly ZSTD_d_windowLogMax: number };
}

/** The decoder has room for one stream at a time: one that is left has to be cancelled, or the next waits for ever. */
async function* unxz(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const {
    default: { XzReadableStream },
  } = await import('xz-decompress');
  const chunks = source[Symbol.asyncIterator]();
  const packed = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const next = await chunks.next();
      if (next.done === true) controller.close();
      else controller.enqueue(next.value);
    },
    async cancel() {
      await chunks.return?.();
    },
  });
  const reader = new XzReadableStream(packed).getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    // Of no effect at its end; after an error it gives that error again.
    await reader.cancel().catch(() => undefined);
  }
}
