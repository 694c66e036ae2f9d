import { closeSync, constants, fstatSync, openSync, read, readSync } from 'node:fs';
import { promisify } from 'node:util';
import { asImgconvError, ImgconvError, isErrno, naming } from '../model/errors.js';
import { expectOpened, expectOpenedAt, expectPlain } from './below.js';
import { fileIdAt, fileIdOf, sameFile, type FileId } from './file-id.js';

/** Reading does not change the source's access times, where the file is this user's own or the user is root (open(2)). */
let noAccessTime = constants.O_NOATIME;

function openPlainly(path: string | Buffer): number {
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

const readLater = promisify(read);

/** A regular file that is open for reading. */
export class OpenFile {
  readonly path: string;
  readonly fd: number;
  /** Its state when it was opened. */
  readonly id: FileId;

  constructor(path: string, fd: number, id: FileId) {
    this.path = path;
    this.fd = fd;
    this.id = id;
  }

  /** Fills `into` from `position`. @throws ImgconvError SOURCE_CHANGED when the file ends before that is done */
  fill(into: Uint8Array, position: number): void {
    if (readFully(this.fd, into, position, this.path) < into.length) throw changedFile(this.path);
  }

  /** Fills `into` from `position`, as `fill`, while this thread does other things. @throws ImgconvError SOURCE_CHANGED */
  async fillLater(into: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < into.length;) {
      const { bytesRead } = await readLater(this.fd, into, done, into.length - done, position + done);
      if (bytesRead === 0) throw changedFile(this.path);
      done += bytesRead;
    }
  }

  /** @throws ImgconvError SOURCE_CHANGED when it was written to since it was opened */
  expectUnchanged(): void {
    if (!sameFile(this.id, fileIdAt(this.fd, this.path))) throw changedFile(this.path);
  }

  [Symbol.dispose](): void {
    closeFile(this.fd, this.path);
  }
}

/**
 * Opens a regular file for reading: itself no link, and never waiting for a FIFO's writer. What it holds is proved, or
 * whoever found it has just looked at the folders on the way; with `root` no link below that is followed.
 */
export function openRegular(path: string, root?: string): OpenFile {
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
    return new OpenFile(path, fd, fileIdOf(stat));
  } catch (error) {
    closeFile(fd, path);
    throw error;
  }
}

/**
 * As `openRegular`, for a path in bytes that has no link on the way; `shown` is what messages call it.
 * @throws ImgconvError NOT_FOUND, IO
 */
export function openExactly(path: Buffer, shown: string): OpenFile {
  let fd: number;
  try {
    fd = openPlainly(path);
  } catch (error) {
    if (isErrno(error, 'ELOOP')) throw isLink(shown);
    throw asImgconvError(
      Object.assign(error instanceof Error ? error : new Error(String(error)), { path: shown }),
    );
  }
  try {
    const stat = naming(shown, () => fstatSync(fd, { bigint: true }));
    if (!stat.isFile()) throw new ImgconvError('IO', `${shown}: not a regular file`);
    expectOpenedAt(fd, path, shown);
    return new OpenFile(shown, fd, fileIdOf(stat));
  } catch (error) {
    closeFile(fd, shown);
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

export function changedFile(path: string): ImgconvError {
  return new ImgconvError('SOURCE_CHANGED', `${path}: changed or shrank while it was read`);
}
