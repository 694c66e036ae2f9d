import { existsSync, mkdirSync, readdirSync, type Dirent } from 'node:fs';
import { dirname } from 'node:path';
import { isErrno, naming } from '../model/errors.js';
import { expectPlain, rememberPlain } from './below.js';

/** What a folder below `root`, or the root itself, holds, by name; nothing where there is none. @throws ImgconvError IO for a link */
export function entriesIn(folder: string, root: string): Dirent[] {
  if (folder !== root) expectPlain(root, `${folder}/`);
  try {
    const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
    if (folder !== root) rememberPlain(root, folder, entries);
    return entries;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}

export function namesIn(folder: string, root: string): string[] {
  return entriesIn(folder, root).map(({ name }) => name);
}

/** The folders in a folder, by name, where only folders belong; files are passed over. @throws ImgconvError IO for a link */
export function foldersIn(folder: string, root: string): string[] {
  return entriesIn(folder, root)
    .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
    .map((entry) => {
      if (entry.isSymbolicLink()) expectPlain(root, `${folder}/${entry.name}/`);
      return entry.name;
    });
}

/** Makes the folder that a file is to lie in, and those on the way; `known` are there. @throws ImgconvError IO, NO_SPACE */
export function makeFolderOf(path: string, known?: Set<string>): void {
  const folder = path.slice(0, path.lastIndexOf('/'));
  if (known?.has(folder) === true) return;
  naming(folder, () => makeFolder(folder));
  known?.add(folder);
}

/**
 * Makes a folder and those on the way to it; gives the first that it made, if any.
 * @throws the system's error. On a read-only file system Node's own recursive mkdir says ENOENT, so the folder that
 * cannot be made is made once more by itself: that gives EROFS, with the folder that it was to lie in.
 */
export function makeFolder(folder: string): string | undefined {
  try {
    return mkdirSync(folder, { recursive: true });
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    let missing = folder;
    while (!existsSync(dirname(missing)) && dirname(missing) !== missing) missing = dirname(missing);
    try {
      mkdirSync(missing);
    } catch (cause) {
      if (isErrno(cause, 'EROFS')) throw Object.assign(cause, { path: dirname(missing) });
      if (!isErrno(cause, 'EEXIST')) throw cause;
    }
    return mkdirSync(folder, { recursive: true });
  }
}
