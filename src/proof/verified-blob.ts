import { cloneFile, removeFile, type Unlinked } from '../bytes/link.js';
import { isStill, type FileId } from '../bytes/file-id.js';
import { makeFolderOf } from '../bytes/folder.js';
import { expectDigest, expectSize, type Expected } from '../bytes/hash.js';
import type { Target } from '../bytes/output.js';
import { localOf, shownName, type Bytes, type FileBytes, type RemoteBytes } from '../bytes/region.js';
import { gzipSize } from '../codecs/decompress.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import type { Pool } from '../threads/pool.js';
import { expectCopies, expectOtherWay, type LinkMode, type Placement } from './linking.js';
import { alsoCalling, encodeTar, packedFileOf, provedChunks, scan, uncompressed, unpack } from './reading.js';
import type { BlobOptions, Encoding, Here, ProofContext } from './reading.js';

/**
 * A blob that cannot be reached but through its proof: each method hashes the bytes on their way, or has hashed the
 * very inode that it links, and fails before anything is visible. Writers are given these and nothing else.
 */
export class VerifiedBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly #at: Bytes;
  readonly #context: ProofContext;
  readonly #options: BlobOptions;
  readonly #diffId: Digest | undefined;
  #here: Promise<Here> | undefined;
  #proof: Promise<FileId | undefined> | undefined;

  private constructor(at: Bytes, { digest, size }: Expected, pool: Pool, options: BlobOptions) {
    this.digest = digest;
    this.size = size;
    this.#at = at;
    this.#context = { pool, onBytes: options.onBytes };
    this.#options = options;
    this.#diffId = options.diffId === digest ? undefined : options.diffId;
  }

  /** The blob that `at` is said to hold. Nothing is read yet; only the size is compared. */
  static at(at: Bytes, expected: Expected, pool: Pool, options: BlobOptions = {}): VerifiedBlob {
    if (at.size !== undefined) expectSize(expected, at.size, shownName(at));
    return new VerifiedBlob(at, expected, pool, options);
  }

  /** Bytes made here and held in memory. */
  static of(bytes: Uint8Array, digest: Digest, pool: Pool, path: string): VerifiedBlob {
    const { length: size } = bytes;
    return VerifiedBlob.at({ kind: 'memory', path, size, bytes }, { digest, size }, pool, { isMade: true });
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
    const { what } = this.#options;
    return `${shownName(this.#at)}${what === undefined ? '' : ` (${what})`}`;
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
    if (this.isRemote) return 'fetched';
    return this.#options.isMade === true && this.#at.kind !== 'memory' ? 'moved' : 'copied';
  }

  /** True when the bytes are a file of their own that can be linked on this device, as far as that is known. */
  isFileOn(device: number): boolean {
    const at = this.#at;
    return at.kind === 'file' && at.whole && (at.staged !== undefined || at.device === device);
  }

  /** Where the bytes can be read on this machine. @throws ImgconvError when they cannot be fetched */
  #local(): Promise<Here> {
    return (this.#here ??= this.#bring());
  }

  async #bring(): Promise<Here> {
    if (this.#at.kind === 'rebuilt') return this.#at;
    const here = await localOf(this.#at, this.#context.onBytes);
    expectSize(this, here.size, this.#at.path);
    return here;
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
    return VerifiedBlob.staged(at.form.file, this.#context.pool);
  }

  /** Hashes the bytes where they lie, once. Gives the state of their file, if they are in one. @throws ImgconvError DIGEST_MISMATCH */
  prove(): Promise<FileId | undefined> {
    return (this.#proof ??= this.#hash());
  }

  async #hash(): Promise<FileId | undefined> {
    // What passed in a stream was hashed then.
    if (this.#at.kind === 'dropped' && this.#at.digest === this.digest && this.#diffId === undefined)
      return undefined;
    const at = await this.#local();
    const known = this.#knownState(at);
    return known !== undefined && isStill(at.path, known) ? known : this.#scan(at);
  }

  /** The state of the file when this run wrote or read it, and hashed it on the way. */
  #knownState(at: Here): FileId | undefined {
    const known = at.kind === 'file' && this.#diffId === undefined ? (at.staged ?? at.known) : undefined;
    return known?.digest === this.digest ? known.id : undefined;
  }

  /** Compressed layers of archives are also proved as what they unpack to. */
  async #scan(at: Here, to?: Target, context = this.#context): Promise<FileId | undefined> {
    const id = await scan(at, this, context, to);
    if (this.#diffId !== undefined) {
      const { unpacked } = await unpack(at, this, this.#diffId, context);
      const expected = { digest: this.#diffId, size: unpacked.size };
      expectDigest(expected, unpacked, `${this.where}: decompressed layer`);
    }
    return id;
  }

  /**
   * The layer's tar, said to be this. It is unpacked when its bytes are asked for, to where they are asked for, and is
   * proved then.
   */
  async unpacked(tar: Expected): Promise<VerifiedBlob> {
    const at = await this.#local();
    const packed = await packedFileOf(at, this.digest);
    const path = `${this.where}: uncompressed layer`;
    const open = () => this.uncompressed();
    const onBytes = packed && this.#context.onBytes;
    const rebuilt = { kind: 'rebuilt', path, size: tar.size, open, packed } as const;
    return VerifiedBlob.at(rebuilt, tar, this.#context.pool, { isMade: true, onBytes });
  }

  /** What the layer's tar seems to have, in bytes; undefined when nothing says so. The proof is in the unpacking. */
  async unpackedSize(): Promise<number | undefined> {
    const at = await this.#local();
    return at.kind === 'rebuilt' ? undefined : gzipSize(at);
  }

  /**
   * The layer's tar as a file of its own at `path`, a staged name; without `diffId`, whatever the layer unpacks to.
   * @throws ImgconvError DIGEST_MISMATCH
   */
  async unpackTo(path: string, diffId: Digest | undefined): Promise<FileBytes> {
    return this.#creating(path, async () => {
      const [at, to] = [await this.#local(), { path, position: 0, flags: 'wx', flush: false } as const];
      const { unpacked, written } = await unpack(at, this, diffId ?? this.digest, this.#context, to);
      const { digest, size } = unpacked;
      expectDigest({ digest: diffId ?? digest, size }, unpacked, `${this.where}: uncompressed layer`);
      const staged = written && { digest, id: written };
      return { kind: 'file', path, offset: 0, size, whole: true, staged };
    });
  }

  /** The layer's tar in a file: this blob, or a copy of its own at `path`, a staged name. */
  async tarInFile(path: string, diffId: Digest): Promise<VerifiedBlob> {
    const at = await this.#local();
    const isTar = at.kind === 'file' && (await packedFileOf(at, this.digest)) === undefined;
    return isTar ? this : VerifiedBlob.staged(await this.unpackTo(path, diffId), this.#context.pool);
  }

  /** What a program makes of the layer's tar, which lies in a file: see `encodeTar`. */
  async encoded(how: Encoding): ReturnType<typeof encodeTar> {
    return encodeTar(await this.#local(), this, how, this.#context);
  }

  /** Removes the file at `path` when `work`, which makes it, fails. */
  async #creating<T>(path: string, work: () => Promise<T>): Promise<T> {
    return work().catch((error: unknown) => {
      removeFile(path);
      throw error;
    });
  }

  /**
   * Puts the blob at `path`, which must not exist and must be a staged name: it is renamed into its place later. Folders
   * on the way there are made.
   * @throws ImgconvError DIGEST_MISMATCH, SOURCE_CHANGED; IO when `mode` asks for a link that cannot be made
   */
  async place(path: string, mode: LinkMode): Promise<Placement> {
    const at = await this.#local();
    const how = at.kind === 'file' ? await this.#placeFile(at, path, mode) : undefined;
    if (how !== undefined) return how;
    if (at.kind !== 'file' && !this.isRemote && this.#options.isMade !== true) expectCopies(mode, this.where);
    // Staging folders that were cleared away stay so.
    this.#context.pool.expectRunning();
    makeFolderOf(path);
    const to = { path, position: 0, flags: 'wx', flush: true } as const;
    await this.#creating(path, () => this.#scan(at, to));
    return this.putAs;
  }

  async #placeFile(at: FileBytes, path: string, mode: LinkMode): Promise<Placement | undefined> {
    if (at.staged !== undefined && (await this.#link(at, path, 'auto'))) return this.putAs;
    if (!at.whole || mode === 'copy' || this.isRemote) return undefined;
    if (mode !== 'reflink' && (await this.#link(at, path, mode))) return 'linked';
    if (mode !== 'hard' && (await this.#reflink(at, path, mode))) return 'reflinked';
    return undefined;
  }

  async #link(at: FileBytes, path: string, mode: LinkMode): Promise<boolean> {
    const unlinked = await this.#proveAndLink(at, path);
    if (unlinked !== undefined) expectOtherWay(unlinked, 'hard', mode, at.path);
    return unlinked === undefined;
  }

  async #proveAndLink(at: FileBytes, path: string): Promise<Unlinked | undefined> {
    const { pool, onBytes } = this.#context;
    const known = this.#knownState(at);
    if (known !== undefined || this.#proof !== undefined || this.#diffId !== undefined) {
      // A file that is another by now will not be linked.
      const proven = known ?? (await this.prove());
      if (proven === undefined) throw new TypeError(`${at.path}: proved without its file's state`);
      return pool.link({ kind: 'link', path: at.path, proven, to: path });
    }
    const algorithm = algorithmOf(this.digest);
    const scanned = pool.scan({ kind: 'scan', from: at, algorithm, link: path }, onBytes);
    const proof = (this.#proof = scanned.then(({ digest, id }) => {
      expectDigest(this, { digest, size: at.size }, this.where);
      return id;
    }));
    await this.#creating(path, () => proof);
    return (await scanned).unlinked;
  }

  async #reflink(at: FileBytes, path: string, mode: LinkMode): Promise<boolean> {
    this.#context.pool.expectRunning();
    const unlinked = cloneFile(at.path, path);
    if (unlinked !== undefined) expectOtherWay(unlinked, 'reflink', mode, at.path);
    else await this.#creating(path, () => this.#scan({ ...at, path }));
    return unlinked === undefined;
  }

  /**
   * Writes the bytes into an open-ended file from `position`; they must not be made visible if this fails. `onBytes`
   * hears of what was read.
   */
  async writeInto(path: string, position: number, onBytes?: (count: number) => void): Promise<void> {
    const to = { path, position, flags: 'r+', flush: false } as const;
    await this.#scan(await this.#local(), to, alsoCalling(this.#context, onBytes));
  }

  /** The bytes as a stream that throws at its end, or when left early, unless all of them were right. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    yield* provedChunks(await this.#local(), this, this.#context);
  }

  /** The layer's tar, decompressed if it is compressed; what `chunks` promises holds for what it is made of. */
  async *uncompressed(): AsyncGenerator<Uint8Array> {
    yield* uncompressed(await this.#local(), this, this.#context);
  }

  /** The digest of the layer's tar, whatever it is. */
  async diffId(): Promise<Digest> {
    return (await unpack(await this.#local(), this, this.digest, this.#context)).unpacked.digest;
  }

  /** All bytes at once. @throws ImgconvError MANIFEST_INVALID when there are more than `limit` */
  async read(limit: number): Promise<Uint8Array> {
    const text = `${this.where}: ${this.size} bytes, more than ${limit} are not read`;
    if (this.size > limit) throw new ImgconvError('MANIFEST_INVALID', text);
    const parts: Uint8Array[] = [];
    for await (const chunk of this.chunks()) parts.push(chunk);
    return Buffer.concat(parts);
  }
}
