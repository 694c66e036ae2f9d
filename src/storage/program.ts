import { accessSync, constants, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';

/** What a shell takes when the variable is not set. */
const USUAL = '/usr/local/bin:/usr/bin:/bin';

/**
 * The absolute path of a program. Relative and empty entries of the search path are ignored: they name the current
 * folder, where anybody's files may lie.
 */
export function findProgram(name: string, searchPath = process.env['PATH']): string | undefined {
  return absoluteEntries(searchPath)
    .map((folder) => join(folder, name))
    .find(isProgram);
}

/** The search path that a child process gets. */
export function absoluteEntries(searchPath = USUAL): string[] {
  return searchPath.split(':').filter(isAbsolute);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // The next entry may have it.
  }
}
