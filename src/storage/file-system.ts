import { statfsSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isThere } from '../bytes/there.js';

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
