import { accessSync, constants, lstatSync, statfsSync, statSync, type Stats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isThere } from '../bytes/there.js';
import { ImgconvError, isErrno, naming } from '../model/errors.js';

/** The file system of a path, or that it would be made in. */
export interface FileSystem {
  readonly device: number;
  readonly bytesFree: number;
}

export function fileSystemOf(path: string): FileSystem {
  const full = resolve(path);
  if (!isThere(full)) return fileSystemOf(dirname(full));
  const { bavail, bsize } = statfsSync(full);
  return { device: statSync(full).dev, bytesFree: bavail * bsize };
}

/** Where a folder is to be made or filled. @throws the system's error where this process may not, or on a read-only file system */
export function expectWritable(path: string): void {
  const full = resolve(path);
  if (!isThere(full)) expectWritable(dirname(full));
  else
    naming(full, () => {
      accessSync(full, constants.W_OK | constants.X_OK);
    });
}

/** Undefined where there is nothing, also below what is no folder. */
export function there(path: string, stat: typeof statSync): Stats | undefined {
  try {
    return naming(path, () => stat(path, { throwIfNoEntry: false }));
  } catch (error) {
    if (error instanceof ImgconvError && isErrno(error.cause, 'ENOTDIR')) return undefined;
    throw error;
  }
}

/**
 * What is to be a folder may be there, or be made: not where something else is, and not below that.
 * @throws ImgconvError USAGE
 */
export function expectFolder(path: string): void {
  for (let at = resolve(path); ; at = dirname(at)) {
    // In this order, or what another process makes meanwhile would be taken for a link.
    if (there(at, lstatSync) === undefined) continue;
    const stat = there(at, statSync);
    if (stat?.isDirectory() === true) return;
    const what =
      stat === undefined
        ? 'a link that leads nowhere'
        : stat.isFile()
          ? 'a file'
          : 'neither a file nor a folder';
    const where = at === resolve(path) ? 'there' : `at ${at}`;
    throw new ImgconvError('USAGE', `${path}: a folder is to be made or filled, and ${where} is ${what}`, {
      hint: 'give a folder, or a name that is not taken; single files are what docker-archive: and oci-archive: write',
    });
  }
}

/** As `Stat.changed`. */
export function changedOf({ mtimeMs, ctimeMs }: Stats): number {
  return Math.floor(Math.max(mtimeMs, ctimeMs));
}

/** 0 where nothing is or can be looked at. */
export function changedAt(path: string): number {
  try {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    return stat === undefined ? 0 : changedOf(stat);
  } catch {
    return 0;
  }
}
