import { mkdirSync, readdirSync, type Dirent } from 'node:fs';
import { isErrno, naming } from '../model/errors.js';

/** What a folder holds, by name; nothing where there is none. */
export function entriesIn(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}

export function namesIn(folder: string): string[] {
  return entriesIn(folder).map(({ name }) => name);
}

/** Makes the folder that a file is to lie in, and those on the way; `known` are there. @throws ImgconvError IO, NO_SPACE */
export function makeFolderOf(path: string, known?: Set<string>): void {
  const folder = path.slice(0, path.lastIndexOf('/'));
  if (known?.has(folder) === true) return;
  naming(folder, () => mkdirSync(folder, { recursive: true }));
  known?.add(folder);
}
