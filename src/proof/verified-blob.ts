import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  lstatSync,
  openSync,
  rmSync,
} from 'node:fs';
import { algorithmOf, type Digest } from '../model/digest.js';
import { ImgconvError, isErrno } from '../model/errors.js';
import type { Compression } from '../model/media-type.js';
import { createHasher, digestOf, expectDigest, expectSize, type Expected } from '../bytes/hash.js';
import { BUFFER_SIZE, takeBuffer } from '../bytes/buffers.js';
import { decompress, gzipSize, MAGIC_LENGTH, sniffCompression } from '../codecs/decompress.js';
import { Output } from '../bytes/output.js';
import { makeFolderOf } from '../bytes/folder.js';
import { NOT_ORDINARY, type ScanJob, type Unlinked, type UnpackResult } from '../threads/jobs.js';
import type { Pool } from '../threads/pool.js';
import {
  closeFile,
  fileIdOf,
  headOf,
  isElsewhere,
  openRegular,
  readFully,
  sameFile,
  shownName,
  type Bytes,
  type DroppedBytes,
  type DroppedForm,
  type FileBytes,
  type FileId,
  type LocalBytes,
  type PackedBytes,
  type RemoteBytes,
  type Target,
} from '../bytes/region.js';

/** How a blob that is a file of its own gets into its place: `auto` tries the three in this order. */
export type LinkMode = 'auto' | 'hard' | 'reflink' | 'copy';
export type Placement = 'linked' | 'reflinked' | 'copied' | 'moved' | 'fetched';

/** A file system or mount that cannot link or clone here; EMLINK: an inode has all the links it can have. */
const CANNOT_LINK = ['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL', 'EACCES'];

/**
 * A blob that cannot be reached but through its proof: each method hashes the bytes on their way, or has hashed the
 * very inode that it links, and fails before anything is visible. Writers are given these and nothing else.
 */
export class VerifiedBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly #at: Bytes;
  readonly #pool: Pool;
  /** Remote or packed bytes, once they are here. */
  #local: Promise<LocalBytes> | undefined;
  readonly #diffId: Digest | undefined;
  readonly #what: string | undefined;
  readonly #onBytes: ((count: number) => void) | undefined;
  readonly #isMade: boolean;
  #proof: Promise<FileId | undefined> | undefined;

  private constructor(at: Bytes, expected: Expected, pool: Pool, options: BlobOptions) {
    this.digest = expected.digest;
    this.size = expected.size;
    this.#at = at;
    this.#pool = pool;
    this.#diffId = options.diffId === expected.digest ? undefined : options.diffId;
    this.#what = options.what;
    this.#onBytes = options.onBytes;
    this.#isMade = options.isMade ?? at.kind === 'packed';
    if (!isElsewhere(at)) this.#trust(at);
  }

  /** What this run hashed as it wrote or met it need not be hashed again. */
  #trust(at: LocalBytes): void {
    const known = at.kind === 'file' ? at.staged : at.kind === 'dropped' ? at : undefined;
    if (known?.digest === this.digest && this.#diffId === undefined)
      this.#proof = Promise.resolve('id' in known ? known.id : undefined);
  }

  /** Where the bytes can be read on this machine. @throws ImgconvError when they cannot be fetched */
  async #here(): Promise<LocalBytes> {
    if (isElsewhere(this.#at)) return (this.#local ??= this.#fetch(this.#at));
    if (this.#at.kind !== 'dropped' || this.#at.form === undefined) return this.#at;
    return (this.#local ??= this.#unpackForm(this.#at.form));
  }

  async #unpackForm(form: DroppedForm): Promise<FileBytes> {
    const here = await form.unpack();
    this.#trust(here);
    return here;
  }

  async #fetch(at: RemoteBytes | PackedBytes): Promise<LocalBytes> {
    const here = await at.stage(this.#onBytes);
    expectSize(this, here.size, at.path);
    this.#trust(here);
    return here;
  }

  /** The blob that `at` is said to hold. Nothing is read yet; only the size is compared. */
  static at(at: Bytes, expected: Expected, pool: Pool, options: BlobOptions = {}): VerifiedBlob {
    expectSize(expected, at.size, shownName(at));
    return new VerifiedBlob(at, expected, pool, options);
  }

  /** Bytes made here and held in memory. */
  static of(bytes: Uint8Array, digest: Digest, pool: Pool, name: string): VerifiedBlob {
    const at = { kind: 'memory', path: name, size: bytes.length, bytes } as const;
    return VerifiedBlob.at(at, { digest, size: bytes.length }, pool);
  }

  /** What this run made in a staging folder, by compressing or unpacking a layer. */
  static staged(at: FileBytes, pool: Pool): VerifiedBlob {
    if (at.staged === undefined) throw new TypeError(`${at.path} was not staged`);
    return VerifiedBlob.at(at, { digest: at.staged.digest, size: at.size }, pool, { isMade: true });
  }

  /** The file that the bytes lie in. */
  get path(): string {
    return this.#at.path;
  }

  /** Where the bytes come from, for messages. */
  get where(): string {
    return `${shownName(this.#at)}${this.#what === undefined ? '' : ` (${this.#what})`}`;
  }

  /** Tells these bytes from others, also in one archive. */
  get origin(): string {
    return this.#at.kind === 'file' ? `${this.#at.offset} ${this.#at.path}` : this.#at.path;
  }

  /** True when the bytes have to be fetched from another machine. */
  get isRemote(): boolean {
    return this.#at.kind === 'remote';
  }

  /** The repository of a registry that has the bytes, if they are remote. */
  get holder(): RemoteBytes['holder'] {
    return this.#at.kind === 'remote' ? this.#at.holder : undefined;
  }

  /** How bytes that do not become a link or a clone get into a target. */
  get putAs(): 'fetched' | 'moved' | 'copied' {
    return this.isRemote ? 'fetched' : this.#isMade ? 'moved' : 'copied';
  }

  /** True when the bytes are in a staging folder of this run, or are to be written to one. */
  get isStaged(): boolean {
    return this.#at.kind === 'packed' || (this.#at.kind === 'file' && this.#at.staged !== undefined);
  }

  /** True when the bytes are a file of their own, which could be linked. */
  get isFile(): boolean {
    return this.#at.kind === 'file' && this.#at.whole;
  }

  /** The file system that a file lies in, where it is known. */
  get device(): number | undefined {
    return this.#at.kind === 'file' ? this.#at.device : undefined;
  }

  /**
   * What a layer was compressed into while its archive passed, if it was; `diffId` is what its config says of it.
   * @throws ImgconvError DIGEST_MISMATCH when the layer in that place is another
   */
  passedForm(diffId: Digest | undefined): VerifiedBlob | undefined {
    const at = this.#at;
    if (at.kind !== 'dropped' || at.form === undefined) return undefined;
    for (const digest of [this.digest, this.#diffId, diffId]) {
      if (digest === undefined) continue;
      // Its digest as it passed is sha256. For others it is read once more.
      if (algorithmOf(digest) !== algorithmOf(at.digest)) return undefined;
      expectDigest({ digest, size: this.size }, at, this.where);
    }
    return VerifiedBlob.staged(at.form.file, this.#pool);
  }

  /** Hashes the bytes where they lie, once. @throws ImgconvError DIGEST_MISMATCH */
  async prove(): Promise<void> {
    await this.#prove();
  }

  async #prove(): Promise<FileId | undefined> {
    if (this.#at.kind === 'dropped' && this.#proof !== undefined) return this.#proof;
    const at = await this.#here();
    const known = this.#knownOf(at);
    if (known !== undefined && sameFile(known, fileIdOf(lstatSync(at.path, { bigint: true })))) return known;
    return (this.#proof ??= this.#scan());
  }

  /** Reads, hashes and with `to` writes the bytes; compressed layers of archives are also proved as what they unpack to. */
  async #scan(to?: Target, onBytes = this.#onBytes): Promise<FileId | undefined> {
    const proof = await this.#scanBytes(await this.#here(), to, onBytes);
    if (this.#diffId !== undefined) await this.#proveDiffId(this.#diffId);
    return proof;
  }

  async #scanBytes(
    at: LocalBytes,
    to: Target | undefined,
    onBytes: BlobOptions['onBytes'],
  ): Promise<FileId | undefined> {
    if (at.kind === 'memory') {
      expectDigest(this, { digest: digestOf(at.bytes, algorithmOf(this.digest)), size: at.size }, this.where);
      if (to === undefined) return undefined;
      const out = new Output(to);
      try {
        out.write(at.bytes);
        await out.end();
      } finally {
        await out.close();
      }
      return undefined;
    }
    if (at.kind === 'dropped') throw this.#dropped(at);
    const job: ScanJob = { kind: 'scan', from: at, algorithm: algorithmOf(this.digest), to };
    const { digest, id } = await this.#pool.scan(job, onBytes);
    expectDigest(this, { digest, size: at.size }, this.where);
    return id;
  }

  async #proveDiffId(diffId: Digest): Promise<void> {
    const { unpacked } = await this.#unpack(diffId);
    expectDigest({ digest: diffId, size: unpacked.size }, unpacked, `${this.where}: decompressed layer`);
  }

  /** Proves the bytes and gives what they unpack to, whatever that is; with `to` it is written there, if it is no more than `most`. */
  async #unpack(
    like: Digest,
    to?: Target,
    most = Infinity,
    onBytes = this.#onBytes,
  ): Promise<Pick<UnpackResult, 'unpacked' | 'written'>> {
    const at = await this.#here();
    const compression = await this.compression();
    if (at.kind === 'file' && compression !== 'none') {
      const [algorithm, unpackedAlgorithm] = [algorithmOf(this.digest), algorithmOf(like)];
      const job = { kind: 'unpack', from: at, compression, algorithm, unpackedAlgorithm, to, most } as const;
      const result = await this.#pool.unpack(job, onBytes);
      expectDigest(this, { digest: result.digest, size: at.size }, this.where);
      return result;
    }
    const hasher = createHasher(algorithmOf(like));
    const out = to && new Output(to);
    try {
      let size = 0;
      for await (const chunk of this.uncompressed()) {
        hasher.update(chunk);
        size += chunk.length;
        if (size > most) continue; // All of it is read, so that the bytes are proved, and the size tells.
        out?.write(chunk);
      }
      await out?.end();
      return { unpacked: { digest: hasher.digest(), size }, written: out?.state() };
    } finally {
      await out?.close();
    }
  }

  /**
   * The layer's tar, said to be this. It is unpacked when its bytes are asked for, to where they are asked for, and is
   * proved then; `path` gives a staged name for the case that they have to be a file of their own.
   */
  unpacked(tar: Expected, path: () => string): VerifiedBlob {
    const at: PackedBytes = {
      kind: 'packed',
      path: this.path,
      size: tar.size,
      unpackInto: async (to, onBytes) => {
        const { unpacked } = await this.#unpack(tar.digest, to, tar.size, (count) => {
          this.#onBytes?.(count);
          onBytes?.(count);
        });
        expectDigest(tar, unpacked, `${this.where}: uncompressed layer`);
      },
      stage: () => this.unpackTo(path(), tar.digest),
    };
    return VerifiedBlob.at(at, tar, this.#pool);
  }

  /** What the layer's tar seems to have, in bytes; undefined when nothing says so. The proof is in the unpacking. */
  async unpackedSize(): Promise<number | undefined> {
    return gzipSize(await this.#here());
  }

  /**
   * The layer's tar as a file of its own at `path`, a staged name; without `diffId`, whatever the layer unpacks to.
   * @throws ImgconvError DIGEST_MISMATCH
   */
  async unpackTo(path: string, diffId: Digest | undefined): Promise<FileBytes> {
    try {
      const to = { path, position: 0, flags: 'wx', flush: false } as const;
      const { unpacked, written } = await this.#unpack(diffId ?? this.digest, to);
      const { digest, size } = unpacked;
      expectDigest({ digest: diffId ?? digest, size }, unpacked, `${this.where}: uncompressed layer`);
      const staged = written && { digest, id: written };
      return { kind: 'file', path, offset: 0, size, whole: true, staged };
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
  }

  /**
   * Puts the blob at `path`, which must not exist and must be a staged name: it is renamed into its place later. Folders
   * on the way there are made.
   * @throws ImgconvError DIGEST_MISMATCH, SOURCE_CHANGED; IO when `mode` asks for a link that cannot be made
   */
  async place(path: string, mode: LinkMode): Promise<Placement> {
    const at = await this.#here();
    if (at.kind === 'file' && at.staged !== undefined && (await this.#link(at, path, 'auto')))
      return this.putAs;
    if (at.kind === 'file' && at.whole && mode !== 'copy' && !this.isRemote) {
      if (mode !== 'reflink' && (await this.#link(at, path, mode))) return 'linked';
      if (mode !== 'hard' && (await this.#reflink(at, path, mode))) return 'reflinked';
    }
    // Staging folders that were cleared away stay so.
    this.#pool.expectRunning();
    makeFolderOf(path);
    try {
      await this.#scan({ path, position: 0, flags: 'wx', flush: true });
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
    return this.putAs;
  }

  async #link(at: FileBytes, path: string, mode: LinkMode): Promise<boolean> {
    const unlinked = await this.#proveAndLink(at, path);
    if (unlinked === undefined) return true;
    if (unlinked.code === NOT_ORDINARY) return false;
    if (mode === 'auto' && CANNOT_LINK.includes(unlinked.code)) return false;
    throw cannotLink('hard', at.path, Object.assign(new Error(unlinked.message), { code: unlinked.code }));
  }

  /** The state of the file when this run hashed it where it lies. */
  #knownOf(at: LocalBytes): FileId | undefined {
    const known = at.kind === 'file' && this.#diffId === undefined ? at.known : undefined;
    return known?.digest === this.digest ? known.id : undefined;
  }

  async #proveAndLink(at: FileBytes, path: string): Promise<Unlinked | undefined> {
    const known = this.#knownOf(at);
    if (known !== undefined || this.#proof !== undefined || this.#diffId !== undefined) {
      // A file that is another by now will not be linked.
      const proven = known ?? (await this.#prove());
      if (proven === undefined) throw new TypeError(`${at.path}: proved without its file's state`);
      return this.#pool.link({ kind: 'link', path: at.path, proven, to: path });
    }
    const algorithm = algorithmOf(this.digest);
    const scanned = this.#pool.scan({ kind: 'scan', from: at, algorithm, link: path }, this.#onBytes);
    this.#proof = scanned.then(({ digest, id }) => {
      expectDigest(this, { digest, size: at.size }, this.where);
      return id;
    });
    try {
      await this.#proof;
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
    return (await scanned).unlinked;
  }

  async #reflink(at: FileBytes, path: string, link: LinkMode): Promise<boolean> {
    this.#pool.expectRunning();
    makeFolderOf(path);
    const mode = makeFile(path);
    try {
      copyFileSync(at.path, path, constants.COPYFILE_FICLONE_FORCE);
      // That of the source came with it.
      chmodSync(path, mode);
    } catch (error) {
      rmSync(path, { force: true });
      if (link === 'auto' && isErrno(error, ...CANNOT_LINK, 'ENOTTY')) return false;
      throw cannotLink('reflink', at.path, error);
    }
    const { digest, size } = this;
    await VerifiedBlob.at(
      { ...at, path, staged: undefined, known: undefined },
      { digest, size },
      this.#pool,
      this.#diffId ? { diffId: this.#diffId } : {},
    ).prove();
    return true;
  }

  /**
   * Writes the bytes into an open-ended file from `position`; they must not be made visible if this fails. `onBytes`
   * hears of what was read.
   */
  async writeInto(path: string, position: number, onBytes?: (count: number) => void): Promise<void> {
    const to = { path, position, flags: 'r+', flush: false } as const;
    if (this.#at.kind === 'packed') {
      await this.#at.unpackInto(to, onBytes);
      return;
    }
    await this.#scan(to, (count) => {
      this.#onBytes?.(count);
      onBytes?.(count);
    });
  }

  /** The bytes as a stream that throws at its end, or when left early, unless all of them were right. */
  async *chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const at = await this.#here();
    if (at.kind === 'dropped') throw this.#dropped(at);
    const hasher = createHasher(algorithmOf(this.digest));
    let done = 0;
    let failed = false;
    try {
      for (const chunk of at.kind === 'memory' ? [new Uint8Array(at.bytes)] : fileChunks(at)) {
        this.#pool.expectRunning();
        hasher.update(chunk);
        done += chunk.length;
        this.#onBytes?.(chunk.length);
        yield chunk;
        // Reading is synchronous: let timers, signals and the other streams have their turn.
        await new Promise(setImmediate);
      }
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      // A disk that fails, or an interruption, is not a damaged file.
      if (!failed) expectDigest(this, { digest: hasher.digest(), size: done }, this.where);
    }
  }

  /** The layer's tar, decompressed if it is compressed; what `chunks` promises holds for what it is made of. */
  async *uncompressed(): AsyncGenerator<Uint8Array> {
    let state: 'left' | 'done' | 'failed' = 'left';
    try {
      yield* decompress(this.chunks(), await this.compression(), this.where);
      state = 'done';
    } catch (error) {
      state = 'failed';
      throw error;
    } finally {
      // The decoder may not have asked for all bytes, or asked for all and told nobody of their digest.
      if (state === 'left')
        throw new ImgconvError('DIGEST_MISMATCH', `${this.where}: left before its end was proved`);
    }
  }

  /** The digest of the layer's tar, whatever it is. */
  async diffId(): Promise<Digest> {
    return (await this.#unpack(this.digest)).unpacked.digest;
  }

  /** Bytes that passed in a stream and were not kept; their digest tells whether they were the right ones. */
  #dropped(at: DroppedBytes): ImgconvError {
    if (algorithmOf(this.digest) === algorithmOf(at.digest)) expectDigest(this, at, this.where);
    return new ImgconvError('IO', `${this.where}: was read from a stream once and cannot be read again`, {
      hint: 'save the archive as a file, and give that',
    });
  }

  /** How the bytes are compressed, by their first ones. */
  async compression(): Promise<Compression> {
    const at = this.#at;
    return sniffCompression(headOf(isElsewhere(at) ? await this.#here() : at, MAGIC_LENGTH));
  }

  /** All bytes at once. @throws ImgconvError MANIFEST_INVALID when there are more than `limit` */
  async read(limit: number): Promise<Uint8Array> {
    if (this.size > limit)
      throw new ImgconvError(
        'MANIFEST_INVALID',
        `${this.where}: ${this.size} bytes, more than ${limit} are not read`,
      );
    const parts: Uint8Array[] = [];
    for await (const chunk of this.chunks()) parts.push(chunk);
    return Buffer.concat(parts);
  }
}

export interface BlobOptions {
  /** What the blob must unpack to, where the source says so. */
  readonly diffId?: Digest | undefined;
  /** What it is of its image, for messages: `layer 2 of 4`. */
  readonly what?: string | undefined;
  readonly onBytes?: ((count: number) => void) | undefined;
  /** True for what is no blob of the source. */
  readonly isMade?: boolean | undefined;
}

/** The digest of bytes that nothing names yet; what passed a spool is known already. */
export async function digestAt(at: LocalBytes, pool: Pool): Promise<Digest> {
  if (at.kind === 'memory') return digestOf(at.bytes);
  if (at.kind === 'dropped') return at.digest;
  return at.staged?.digest ?? (await pool.scan({ kind: 'scan', from: at, algorithm: 'sha256' })).digest;
}

/** The diffID of a layer that nothing names yet: the digest of its tar, decompressed if it is compressed. */
export async function diffIdAt(at: LocalBytes, pool: Pool): Promise<Digest> {
  const digest = await digestAt(at, pool);
  if (sniffCompression(headOf(at, MAGIC_LENGTH)) === 'none') return digest;
  return VerifiedBlob.at(at, { digest, size: at.size }, pool).diffId();
}

/** An empty new file; gives the mode that it has. */
function makeFile(path: string): number {
  const fd = openSync(path, 'wx', 0o644);
  try {
    return fstatSync(fd).mode & 0o777;
  } finally {
    closeSync(fd);
  }
}

function* fileChunks({ path, offset, size }: FileBytes): Generator<Uint8Array<ArrayBuffer>> {
  const { fd } = openRegular(path);
  try {
    for (let done = 0; done < size;) {
      const left = size - done;
      const chunk = new Uint8Array(left < BUFFER_SIZE ? new ArrayBuffer(left) : takeBuffer());
      const count = readFully(fd, chunk, offset + done, path);
      if (count < chunk.length)
        throw new ImgconvError('SOURCE_CHANGED', `${path}: changed or shrank while it was read`);
      yield chunk;
      done += count;
    }
  } finally {
    closeFile(fd, path);
  }
}

function cannotLink(how: string, path: string, cause: unknown): ImgconvError {
  return new ImgconvError('IO', `${path}: no ${how} link can be made: ${String(cause)}`, {
    cause,
    hint: '--link auto falls back to copying',
  });
}
