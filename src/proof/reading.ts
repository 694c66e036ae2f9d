import { algorithmOf, type Digest } from '../model/digest.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import type { Compression } from '../model/media-type.js';
import { BUFFER_SIZE } from '../bytes/buffers.js';
import { chunksOf, firstOf } from '../bytes/chunks.js';
import type { FileId } from '../bytes/file-id.js';
import { createHasher, expectDigest, type Expected } from '../bytes/hash.js';
import { removeFile } from '../bytes/link.js';
import { Output, type Target } from '../bytes/output.js';
import { headOf, shownName } from '../bytes/region.js';
import type { DroppedBytes, LocalBytes, PackedFile, RebuiltBytes } from '../bytes/region.js';
import { decompress, MAGIC_LENGTH, sniffCompression } from '../codecs/decompress.js';
import type { EncodeResult } from '../codecs/encode.js';
import type { EncoderName } from '../codecs/encoders.js';
import type { UnpackResult } from '../codecs/unpack.js';
import type { Pool } from '../threads/pool.js';

/** Bytes that this machine has, or can rebuild. */
export type Here = LocalBytes | RebuiltBytes;

/** What is read: what it is said to be, and what messages call it. */
export interface Claim extends Expected {
  readonly where: string;
}

/** The threads that read, and what is called with the number of bytes as they are read. */
export interface ProofContext {
  readonly pool: Pool;
  readonly onBytes: ((count: number) => void) | undefined;
}

/** Also calls `second` with the number of bytes. */
export function alsoCalling(
  { pool, onBytes: first }: ProofContext,
  second: ProofContext['onBytes'],
): ProofContext {
  const onBytes = (count: number) => {
    first?.(count);
    second?.(count);
  };
  return { pool, onBytes };
}

/** What is known of a blob besides its digest and size. */
export interface BlobOptions {
  /** What the blob must unpack to, where the source says so. */
  readonly diffId?: Digest | undefined;
  /** What it is of its image, for messages: `layer 2 of 4`. */
  readonly what?: string | undefined;
  readonly onBytes?: ((count: number) => void) | undefined;
  /** True for what is no blob of the source. */
  readonly isMade?: boolean | undefined;
}

export type Unpacked = Pick<UnpackResult, 'unpacked' | 'written'>;

/**
 * Reads all bytes once and, with `to`, writes them there. Gives the state of the file that they are in, if they are in one.
 * @throws ImgconvError DIGEST_MISMATCH
 */
export async function scan(
  at: Here,
  claim: Claim,
  context: ProofContext,
  to?: Target,
): Promise<FileId | undefined> {
  if (at.kind === 'file') {
    const algorithm = algorithmOf(claim.digest);
    const { digest, id } = await context.pool.scan(
      { kind: 'scan', from: at, algorithm, to },
      context.onBytes,
    );
    expectDigest(claim, { digest, size: at.size }, claim.where);
    return id;
  }
  if (at.kind === 'rebuilt' && at.packed !== undefined) {
    const { unpacked } = await unpackFile(at.packed, claim.digest, context, to, claim.size);
    expectDigest(claim, unpacked, claim.where);
  } else await drain(provedChunks(at, claim, context), to);
  return undefined;
}

/** The bytes as a stream that throws at its end, or when left early, unless all of them were right. */
export async function* provedChunks(
  at: Here,
  claim: Claim,
  context: ProofContext,
): AsyncGenerator<Uint8Array> {
  if (at.kind === 'dropped') throw notKept(at, claim);
  const { digest, size, where } = claim;
  const hasher = createHasher(algorithmOf(digest));
  let done = 0;
  let sinceBreath = 0;
  let failed = false;
  try {
    for await (const chunk of chunksOf(at)) {
      context.pool.expectRunning();
      done += chunk.length;
      if (done > size)
        throw new ImgconvError('DIGEST_MISMATCH', `${where}: ${digest} has ${size} bytes, and more came`);
      hasher.update(chunk);
      context.onBytes?.(chunk.length);
      yield chunk;
      // Files are read synchronously: let timers, signals and the other streams have their turn.
      if ((sinceBreath += chunk.length) < BUFFER_SIZE) continue;
      sinceBreath = 0;
      await new Promise(setImmediate);
    }
  } catch (error) {
    failed = true;
    throw asImgconvError(error, where);
  } finally {
    // A disk that fails, or an interruption, is not a damaged file.
    if (!failed) await expectRight(at, claim, { digest: hasher.digest(), size: done });
  }
}

/** @throws ImgconvError DIGEST_MISMATCH, which of rebuilt bytes names the part that is wrong */
async function expectRight(at: Here, claim: Claim, actual: Expected): Promise<void> {
  const blame = at.kind === 'rebuilt' ? at.blame : undefined;
  try {
    expectDigest(claim, actual, claim.where);
  } catch (error) {
    // A consumer that left early has not read all of it: no part needs to be wrong.
    if (blame === undefined || actual.size !== claim.size) throw error;
    throw await blame();
  }
}

/** The layer's tar, decompressed if it is compressed; what `provedChunks` promises holds for what it is made of. */
export async function* uncompressed(
  at: Here,
  claim: Claim,
  context: ProofContext,
): AsyncGenerator<Uint8Array> {
  let state: 'left' | 'done' | 'failed' = 'left';
  try {
    yield* decompress(provedChunks(at, claim, context), await compressionOf(at), claim.where);
    state = 'done';
  } catch (error) {
    state = 'failed';
    throw error;
  } finally {
    // The decoder may not have asked for all bytes, or asked for all and told nobody of their digest.
    if (state === 'left')
      throw new ImgconvError('DIGEST_MISMATCH', `${claim.where}: left before its end was proved`);
  }
}

/** How the bytes are compressed, by their first ones. */
async function compressionOf(at: Here): Promise<Compression> {
  return sniffCompression(at.kind === 'rebuilt' ? await firstOf(at, MAGIC_LENGTH) : headOf(at, MAGIC_LENGTH));
}

/** For a thread to unpack; undefined for what is not compressed or not in a file. */
export async function packedFileOf(at: Here, digest: Digest): Promise<PackedFile | undefined> {
  if (at.kind !== 'file') return undefined;
  const compression = await compressionOf(at);
  return compression === 'none' ? undefined : { from: at, digest, compression };
}

/** Proves the bytes and gives what they unpack to, whatever that is, hashed as `like` is; with `to` it is written there. */
export async function unpack(
  at: Here,
  claim: Claim,
  like: Digest,
  context: ProofContext,
  to?: Target,
): Promise<Unpacked> {
  const packed = await packedFileOf(at, claim.digest);
  if (packed !== undefined) return unpackFile(packed, like, context, to);
  const hasher = createHasher(algorithmOf(like));
  let size = 0;
  async function* hashed() {
    for await (const chunk of uncompressed(at, claim, context)) {
      hasher.update(chunk);
      size += chunk.length;
      yield chunk;
    }
  }
  const written = await drain(hashed(), to);
  return { unpacked: { digest: hasher.digest(), size }, written };
}

/** How a layer's tar is compressed, and what it has to be. */
export interface Encoding {
  readonly encoder: EncoderName;
  readonly diffId: Digest;
  /** Undefined: what is made is only hashed. */
  readonly to?: Target | undefined;
}

/** Compresses a tar that lies in a file as a program does it. @throws ImgconvError DIGEST_MISMATCH when it is another tar */
export async function encodeTar(
  at: Here,
  { where }: Claim,
  { encoder, diffId, to }: Encoding,
  { pool, onBytes }: ProofContext,
): Promise<EncodeResult> {
  if (at.kind !== 'file') throw new TypeError(`${where}: the tar does not lie in a file`);
  const algorithm = algorithmOf(diffId);
  const { size } = at;
  try {
    const done = await pool.encode({ kind: 'encode', from: at, algorithm, encoder, to }, onBytes);
    expectDigest({ digest: diffId, size }, { digest: done.digest, size }, `${where}: uncompressed layer`);
    return done;
  } catch (error) {
    if (to !== undefined) removeFile(to.path);
    throw error;
  }
}

async function unpackFile(
  { from, digest, compression }: PackedFile,
  like: Digest,
  { pool, onBytes }: ProofContext,
  to: Target | undefined,
  most?: number,
): Promise<Unpacked> {
  const [algorithm, unpackedAlgorithm] = [algorithmOf(digest), algorithmOf(like)];
  const job = { kind: 'unpack', from, compression, algorithm, unpackedAlgorithm, to, most } as const;
  const result = await pool.unpack(job, onBytes);
  expectDigest({ digest, size: from.size }, { digest: result.digest, size: from.size }, shownName(from));
  return result;
}

async function drain(chunks: AsyncIterable<Uint8Array>, to: Target | undefined): Promise<FileId | undefined> {
  await using out = to && new Output(to);
  for await (const chunk of chunks) if (out?.write(chunk) === true) await new Promise(setImmediate);
  await out?.end();
  return out?.state();
}

/** Bytes that passed in a stream and were not kept; their digest tells whether they were the right ones. */
function notKept(at: DroppedBytes, claim: Claim): ImgconvError {
  if (algorithmOf(claim.digest) === algorithmOf(at.digest)) expectDigest(claim, at, claim.where);
  return new ImgconvError('IO', `${claim.where}: was read from a stream once and cannot be read again`, {
    hint: 'save the archive as a file, and give that',
  });
}
