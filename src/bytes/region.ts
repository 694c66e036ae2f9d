import type { Digest } from '../model/digest.js';
import type { ImgconvError } from '../model/errors.js';
import type { FileId } from './file-id.js';
import { changedFile, openRegular, readFully } from './open-file.js';

/** Where bytes lie. `path` also names them in messages. Readers hand these out; only `VerifiedBlob` reads them. */
export type Bytes = LocalBytes | RemoteBytes | RebuiltBytes;
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

/** What is put together from parts, as often as it is read: a layer out of its files, or out of its compressed form. */
export interface RebuiltBytes {
  readonly kind: 'rebuilt';
  readonly path: string;
  /** Undefined when it is not known before they are read. The descriptor's size is what is expected. */
  readonly size: number | undefined;
  /** All of them from the beginning, in chunks that are not written to again; large ones are quicker. */
  open(): AsyncIterable<Uint8Array>;
  /** What they are the unpacked form of, where that is so: a thread then unpacks it to where they are asked for. */
  readonly packed?: PackedFile | undefined;
  /** Called when the bytes were not what they should be: finds the part that is wrong. */
  readonly blame?: (() => Promise<ImgconvError>) | undefined;
}

/** A compressed part of a file, said to have this digest. */
export interface PackedFile {
  readonly from: FileBytes;
  readonly digest: Digest;
  readonly compression: 'gzip' | 'zstd';
}

/** What messages call it. */
export function shownName(at: Bytes): string {
  return (at.kind === 'file' ? at.shown : undefined) ?? at.path;
}

/** All bytes of a whole file, and the state that it had from the first to the last. @throws ImgconvError SOURCE_CHANGED */
export function readWhole({ path, size }: FileBytes): { bytes: Uint8Array; id: FileId } {
  using file = openRegular(path);
  const bytes = new Uint8Array(size);
  file.fill(bytes, 0);
  file.expectUnchanged();
  if (file.id.size !== BigInt(size)) throw changedFile(path);
  return { bytes, id: file.id };
}

/** Where the bytes can be read on this machine: remote ones are fetched, which `onBytes` hears of. */
export async function localOf(
  at: LocalBytes | RemoteBytes,
  onBytes?: (count: number) => void,
): Promise<LocalBytes> {
  if (at.kind === 'remote') return at.stage(onBytes);
  return at.kind === 'dropped' && at.form !== undefined ? at.form.unpack() : at;
}

/** The first bytes of a blob, at most `count`: to look at, not to keep. */
export function headOf(at: LocalBytes, count: number): Uint8Array {
  if (at.kind === 'memory') return at.bytes.subarray(0, count);
  if (at.kind === 'dropped') return at.head.subarray(0, count);
  return partOf(at, 0, count);
}

/** The last bytes of a blob, as `headOf`; none of what was not kept. */
export function tailOf(at: LocalBytes, count: number): Uint8Array {
  if (at.kind === 'memory') return at.bytes.subarray(-count);
  if (at.kind === 'dropped') return new Uint8Array();
  return partOf(at, Math.max(0, at.size - count), count);
}

function partOf({ path, offset, size }: FileBytes, from: number, count: number): Uint8Array {
  using file = openRegular(path);
  const part = new Uint8Array(Math.min(count, size - from));
  return part.subarray(0, readFully(file.fd, part, offset + from, path));
}
