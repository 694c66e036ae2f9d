import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  statSync,
  type Stats,
  type BigIntStats,
} from 'node:fs';
import type { Digest } from '../model/digest.js';
import { asImgconvError, ImgconvError, isErrno, naming } from '../model/errors.js';
import { expectOpened, expectPlain, notPlain } from './below.js';

/** Where bytes lie. `path` also names them in messages. Readers hand these out; only `VerifiedBlob` reads them. */
export type Bytes = LocalBytes | RemoteBytes | PackedBytes;
export type LocalBytes = FileBytes | MemoryBytes | DroppedBytes;

/** `size` bytes of a file from `offset`; `whole` when that is all of it, so that the file itself can be linked. */
export interface FileBytes {
  readonly kind: 'file';
  readonly path: string;
  readonly offset: number;
  readonly size: number;
  readonly whole: boolean;
  /** Of the file system that it lies in. */
  readonly device?: number | undefined;
  /** What messages call it, if not by its path: a member of an archive that was staged as it passed. */
  readonly shown?: string | undefined;
  /** Ours: written by this run to a staging folder and hashed on its way. */
  readonly staged?: Known | undefined;
  /** What the whole file was when this run read it. */
  readonly known?: Known | undefined;
}

/** The digest of a file in one state of it. */
export interface Known {
  readonly digest: Digest;
  readonly id: FileId;
}

/**
 * What passed by in a stream and was not kept as it was: it can be named and compared, and read if it was kept in
 * another form.
 */
export interface DroppedBytes {
  readonly kind: 'dropped';
  readonly path: string;
  readonly size: number;
  readonly head: Uint8Array;
  readonly digest: Digest;
  /** A compressed form of just these bytes, in a staging folder. */
  readonly form?: DroppedForm | undefined;
  /** What xz or bzip2 unpacked to as it passed; undefined for other bytes, and for damaged ones. */
  readonly unpacked?: { readonly digest: Digest; readonly size: number } | undefined;
}

export interface DroppedForm {
  readonly file: FileBytes;
  /** The bytes again, as a file beside it; made once. */
  unpack(): Promise<FileBytes>;
}

export interface MemoryBytes {
  readonly kind: 'memory';
  readonly path: string;
  readonly size: number;
  readonly bytes: Uint8Array;
}

/** What another machine has. Nothing of it is fetched before it is needed; what the destination has already never is. */
export interface RemoteBytes {
  readonly kind: 'remote';
  readonly path: string;
  /** As the descriptor says that names it. */
  readonly size: number;
  /** The repository that has them. */
  readonly holder?: { readonly host: string; readonly repository: string } | undefined;
  /** Fetches the bytes, proved, once a run: further calls get the same file. `onBytes` hears of bytes as they arrive. */
  stage(onBytes?: (count: number) => void): Promise<FileBytes | MemoryBytes>;
}

/** Where a job writes, from `position` of a file; with `flush`, what is written is on the disk when the job is done. */
export interface Target {
  readonly path: string;
  readonly position: number;
  readonly flags: 'wx' | 'r+';
  readonly flush: boolean;
}

/** What some other bytes unpack to, before that is done. The proof is its maker's. */
export interface PackedBytes {
  readonly kind: 'packed';
  readonly path: string;
  /** As what is packed says; `unpackInto` and `stage` fail if it is another. */
  readonly size: number;
  unpackInto(to: Target, onBytes?: (count: number) => void): Promise<void>;
  /** As a file of its own, in a staging folder. */
  stage(onBytes?: (count: number) => void): Promise<FileBytes>;
}

/** True for bytes that no file or memory of this machine has yet. */
export function isElsewhere(at: Bytes): at is RemoteBytes | PackedBytes {
  return at.kind === 'remote' || at.kind === 'packed';
}

/** What messages call it. */
export function shownName(at: Bytes): string {
  return (at.kind === 'file' ? at.shown : undefined) ?? at.path;
}

/** Tells one state of one file from any other. Link counts change the ctime, so it has no part in it. */
export interface FileId {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

export function fileIdOf(stat: BigIntStats): FileId {
  return { dev: stat.dev, ino: stat.ino, size: stat.size, mtimeNs: stat.mtimeNs };
}

/** Of the open file of this path. */
export function fileIdAt(fd: number, path: string): FileId {
  return fileIdOf(naming(path, () => fstatSync(fd, { bigint: true })));
}

export function sameFile(a: FileId, b: FileId): boolean {
  return a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs;
}

/**
 * True when something is at `path`; `existsSync` also says no when it cannot tell, and what is there would then be
 * passed over or written anew. With `root`, of a place that it lies in, no link is followed.
 * @throws the system's error when it cannot be told; ImgconvError IO for a link below the root
 */
export function isThere(path: string, root?: string): boolean {
  if (root !== undefined) {
    const stat = lookAt(path, root);
    if (stat?.isSymbolicLink() === true) throw notPlain(path, stat, root, 'file');
    return stat !== undefined;
  }
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    if (isErrno(error, 'ENOTDIR')) return false; // Nothing lies below a file.
    throw error;
  }
}

/** True for a folder. With `root`, in which it lies, no link is followed. @throws ImgconvError IO for a link below the root */
export function isFolder(path: string, root?: string): boolean {
  if (root === undefined) return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  const stat = lookAt(path, root);
  if (stat?.isSymbolicLink() === true) throw notPlain(path, stat, root, 'folder');
  return stat?.isDirectory() === true;
}

/** What is at a path below `root`; a link itself. @throws ImgconvError IO for a link on the way */
export function lookAt(path: string, root: string): Stats | undefined {
  expectPlain(root, path);
  return lstatSync(path, { throwIfNoEntry: false });
}

/** The whole of a regular file below `root`; undefined when there is none. Links, devices and the like are refused, never followed. */
export function wholeFile(path: string, root: string): FileBytes | undefined {
  const stat = lookAt(path, root);
  if (stat === undefined) return undefined;
  if (!stat.isFile()) throw notPlain(path, stat, root, 'file');
  return { kind: 'file', path, offset: 0, size: stat.size, whole: true, device: stat.dev };
}

/** Reading does not change the source's access times, where the file is this user's own or the user is root (open(2)). */
let noAccessTime = constants.O_NOATIME;

function openPlainly(path: string): number {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  try {
    return openSync(path, flags | noAccessTime);
  } catch (error) {
    if (noAccessTime === 0 || !isErrno(error, 'EPERM')) throw error;
    noAccessTime = 0;
    return openSync(path, flags);
  }
}

function isLink(path: string): ImgconvError {
  return new ImgconvError('IO', `${path}: a symbolic link, not a regular file`, {
    hint: 'symbolic links are not followed: copy the folder with cp -rL, and give the copy',
  });
}

/**
 * Opens a regular file for reading: itself no link, and never waiting for a FIFO's writer. What it holds is proved, or
 * whoever found it has just looked at the folders on the way; with `root` no link below that is followed.
 */
export function openRegular(path: string, root?: string): { fd: number; id: FileId } {
  let fd: number;
  try {
    fd = openPlainly(path);
  } catch (error) {
    // Behind a link that leads nowhere it is not known to be absent.
    if (root !== undefined) expectPlain(root, path);
    if (isErrno(error, 'ELOOP')) throw isLink(path);
    throw asImgconvError(error);
  }
  try {
    const stat = naming(path, () => fstatSync(fd, { bigint: true }));
    if (!stat.isFile()) throw new ImgconvError('IO', `${path}: not a regular file`);
    if (root !== undefined) expectOpened(fd, root, path);
    return { fd, id: fileIdOf(stat) };
  } catch (error) {
    closeFile(fd, path);
    throw error;
  }
}

/** Fills `into` from `position` of the open file of this path; returns how many bytes there were before the end of the file. */
export function readFully(fd: number, into: Uint8Array, position: number, path: string): number {
  return naming(path, () => {
    let done = 0;
    while (done < into.length) {
      const count = readSync(fd, into, done, into.length - done, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  });
}

/** What a file system could not write before, it may say now (close(2)). */
export function closeFile(fd: number, path: string): void {
  naming(path, () => {
    closeSync(fd);
  });
}

/** Where the bytes can be read on this machine: remote ones are fetched. */
export async function localOf(at: Bytes): Promise<LocalBytes> {
  if (isElsewhere(at)) return at.stage();
  return at.kind === 'dropped' && at.form !== undefined ? at.form.unpack() : at;
}

/** The first bytes of a blob, at most `count`: to look at, not to keep. */
export function headOf(at: LocalBytes, count: number): Uint8Array {
  if (at.kind === 'memory') return at.bytes.subarray(0, count);
  if (at.kind === 'dropped') return at.head.subarray(0, count);
  return partOf(at, 0, count);
}

/** All bytes of a whole file, and the state that it had from the first to the last. @throws ImgconvError SOURCE_CHANGED */
export function readWhole({ path, size }: FileBytes): { bytes: Uint8Array; id: FileId } {
  const { fd, id } = openRegular(path);
  try {
    const bytes = new Uint8Array(size);
    const count = readFully(fd, bytes, 0, path);
    if (count < size || id.size !== BigInt(size) || !sameFile(id, fileIdAt(fd, path)))
      throw changedFile(path);
    return { bytes, id };
  } finally {
    closeFile(fd, path);
  }
}

export function changedFile(path: string): ImgconvError {
  return new ImgconvError('SOURCE_CHANGED', `${path}: changed or shrank while it was read`);
}

/** The last bytes of a blob, as `headOf`; none of what was not kept. */
export function tailOf(at: LocalBytes, count: number): Uint8Array {
  if (at.kind === 'memory') return at.bytes.subarray(-count);
  if (at.kind === 'dropped') return new Uint8Array();
  return partOf(at, Math.max(0, at.size - count), count);
}

function partOf({ path, offset, size }: FileBytes, from: number, count: number): Uint8Array {
  const { fd } = openRegular(path);
  try {
    const part = new Uint8Array(Math.min(count, size - from));
    return part.subarray(0, readFully(fd, part, offset + from, path));
  } finally {
    closeFile(fd, path);
  }
}
