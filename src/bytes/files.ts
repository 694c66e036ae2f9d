import {
  constants,
  createReadStream,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  realpathSync,
  statSync,
  type Dirent,
} from 'node:fs';
import { ImgconvError, naming } from '../model/errors.js';
import { closeFile } from './open-file.js';

/*
 * Files that belong to no image: those of the user, those that they name, and those of the system. Files come from
 * strangers, too: what they name is opened only if it is a regular file.
 */

/** No text of this size is read; bundles of CustomResourceDefinitions have 5 MB. */
export const MAX_TEXT = 32 * 1024 * 1024;
const PIECE = 1024 * 1024;
const decoder = new TextDecoder('utf-8', { fatal: true });

/** What is at a path, all links resolved. */
export interface Resolved {
  readonly kind: 'file' | 'folder' | 'other';
  readonly real: string;
}

/** Undefined for a path that cannot be reached. */
export function resolved(path: string): Resolved | undefined {
  try {
    const real = realpathSync(path);
    const stat = lstatSync(real);
    return { kind: stat.isFile() ? 'file' : stat.isDirectory() ? 'folder' : 'other', real };
  } catch {
    return undefined;
  }
}

/** When a file was last changed. @throws the system's error */
export function modifiedAt(path: string): Date {
  return statSync(path).mtime;
}

export function pathExists(path: string): boolean {
  return existsSync(path);
}

/** The entries of a folder, by name; with `deep` also those of its folders. @throws the system's error */
export function listFolder(folder: string, deep = false): Dirent[] {
  return readdirSync(folder, { withFileTypes: true, recursive: deep }).sort((a, b) =>
    a.name < b.name ? -1 : 1,
  );
}

/** @throws ImgconvError DOCUMENT_INVALID when the bytes are not UTF-8 */
export function textOf(bytes: Uint8Array, file: string): string {
  try {
    return decoder.decode(bytes);
  } catch {
    // The decoder's error says nothing more.
    throw new ImgconvError('DOCUMENT_INVALID', `${file}: not UTF-8 text`);
  }
}

/** A file that the user or the system names, also a pipe. */
export function readBytes(file: string): Buffer {
  return naming(file, () => readFileSync(file));
}

/** As `readBytes`, for UTF-8 of at most MAX_TEXT bytes. */
export function readText(file: string): string {
  return textFrom(file, () => openSync(file, 'r'));
}

/** All of stdin, at most MAX_TEXT bytes. */
export function readStdin(): string {
  return naming('stdin', () => textOf(bytesOf(0, 'stdin'), 'stdin'));
}

/** The text of a file that another file names. `real`: as `resolved` gives it; `file`: for messages. */
export function readRegularText(real: string, file: string): string {
  return textFrom(file, () => openRegular(real, file));
}

/** As `readRegularText`, for bytes of any size. */
export function streamRegular(real: string, file: string): AsyncIterable<Uint8Array> {
  return createReadStream(file, { fd: naming(file, () => openRegular(real, file)) });
}

/**
 * Only a regular file is opened: opening a pipe waits for its other end, and a device may do anything. No link is
 * followed that has replaced part of `real` since it was resolved.
 */
function openRegular(real: string, file: string): number {
  const fd = openSync(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  if (fstatSync(fd).isFile() && pathOf(fd, real) === real) return fd;
  closeFile(fd, file);
  throw new ImgconvError('DOCUMENT_INVALID', `${file}: not a regular file, or replaced while it was read`);
}

/** The path of an open file: a folder on the way to it may have been replaced by a link. */
function pathOf(fd: number, otherwise: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return otherwise; // There is no /proc.
  }
}

function textFrom(file: string, open: () => number): string {
  return naming(file, () => {
    const fd = open();
    try {
      return textOf(bytesOf(fd, file), file);
    } finally {
      closeFile(fd, file);
    }
  });
}

function bytesOf(fd: number, file: string): Buffer {
  const pieces: Buffer[] = [];
  for (let size = 0; ;) {
    const piece = Buffer.allocUnsafe(size === 0 ? 65_536 : PIECE);
    const count = readSync(fd, piece);
    if (count === 0) return Buffer.concat(pieces);
    if ((size += count) > MAX_TEXT)
      throw new ImgconvError(
        'DOCUMENT_INVALID',
        `${file}: too large to be read: more than ${MAX_TEXT / 1024 / 1024} MiB`,
      );
    pieces.push(piece.subarray(0, count));
  }
}
