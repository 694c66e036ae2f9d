import { readdirSync, type Dirent } from 'node:fs';
import { isErrno } from '../model/errors.js';

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
