import { lstatSync, statSync, type Stats } from 'node:fs';
import { ImgconvError, isErrno } from '../model/errors.js';
import { expectPlain, notPlain } from './below.js';
import { openRegular, type OpenFile } from './open-file.js';
import type { FileBytes } from './region.js';

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
  return wholeOf(path, stat);
}

/**
 * A regular file below `root`, opened; undefined when there is none. Looking at it and at each folder on the way would cost more
 * than asking where the open file lies. @throws ImgconvError IO, as `wholeFile`
 */
export function openThere(path: string, root: string): OpenFile | undefined {
  try {
    return openRegular(path, root);
  } catch (error) {
    const stat = lookAt(path, root);
    // It may have been made since.
    if (stat === undefined || (error instanceof ImgconvError && error.code === 'NOT_FOUND')) return undefined;
    throw stat.isFile() ? error : notPlain(path, stat, root, 'file');
  }
}

/** The whole of a regular file; undefined for whatever else is there. */
export function regularFile(path: string): FileBytes | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat?.isFile() === true ? wholeOf(path, stat) : undefined;
}

function wholeOf(path: string, { size, dev }: Stats): FileBytes {
  return { kind: 'file', path, offset: 0, size, whole: true, device: dev };
}
