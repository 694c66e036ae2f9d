import { constants, fstatSync, openSync, readlinkSync, readSync } from 'node:fs';
import { closeFile } from '../bytes/region.js';
import { asImgconvError, ImgconvError, naming } from '../model/errors.js';
import { MAX_FILE } from './yaml.js';

const decoder = new TextDecoder('utf-8', { fatal: true });
const PIECE = 1024 * 1024;

/** @throws ImgconvError DOCUMENT_INVALID when the bytes are not UTF-8 */
export function textOf(bytes: Uint8Array, file: string): string {
  try {
    return decoder.decode(bytes);
  } catch {
    // The decoder's error says nothing more.
    throw new ImgconvError('DOCUMENT_INVALID', `${file}: not UTF-8 text`);
  }
}

/** What a user names: also a pipe. No more is read than `parseYaml` takes. */
export function readText(file: string): string {
  return textFrom(file, () => openSync(file, 'r'));
}

/** All of stdin, of which no more is read than `parseYaml` takes. */
export function readStdin(): string {
  return naming('stdin', () => textOf(bytesOf(0, 'stdin'), 'stdin'));
}

/** A file that somebody else named: see `openRegular`. */
export function readRegular(real: string, file: string): string {
  return textFrom(file, () => openRegular(real, file));
}

/**
 * Only a regular file is opened: opening a pipe waits for its other end, and a device may do anything. `real` has no
 * links in it; none is followed that has taken its place since.
 */
export function openRegular(real: string, file: string): number {
  const fd = openSync(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  if (fstatSync(fd).isFile() && pathOf(fd, real) === real) return fd;
  closeFile(fd, file);
  throw new ImgconvError('DOCUMENT_INVALID', `${file}: not a regular file, or replaced while it was read`);
}

/** Where an open file lies: a folder on the way to it may have been replaced by a link. */
function pathOf(fd: number, otherwise: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return otherwise; // There is no /proc.
  }
}

function textFrom(file: string, open: () => number): string {
  let fd: number | undefined;
  try {
    fd = open();
    return textOf(bytesOf(fd, file), file);
  } catch (error) {
    throw asImgconvError(error, file);
  } finally {
    if (fd !== undefined) closeFile(fd, file);
  }
}

function bytesOf(fd: number, file: string): Buffer {
  const pieces: Buffer[] = [];
  for (let size = 0; ;) {
    const piece = Buffer.allocUnsafe(size === 0 ? 65_536 : PIECE);
    const count = readSync(fd, piece);
    if (count === 0) return Buffer.concat(pieces);
    if ((size += count) > MAX_FILE)
      throw new ImgconvError(
        'DOCUMENT_INVALID',
        `${file}: too large to be read: more than ${MAX_FILE / 1024 / 1024} MiB`,
      );
    pieces.push(piece.subarray(0, count));
  }
}
