import { dirname, join, resolve } from 'node:path';
import { readText } from '../bytes/files.js';
import { lookAt } from '../bytes/there.js';
import type { SourceImage, UnreadableImage } from './format.js';

/** The store that is meant when another folder of its machine was given; a hint, if there is one. */
export function nearRoot(
  given: string,
  below: string,
  recognises: (path: string) => boolean,
): string | undefined {
  const near = [join(given, below), dirname(resolve(given)), dirname(dirname(resolve(given)))];
  const found = near.find((path) => path !== '/' && recognises(path));
  return found === undefined ? undefined : `did you mean ${found}?`;
}

const LOCKS = '/proc/locks';

/**
 * True when a program holds a lock on one of these files below `root`, as engines do on their databases while they run.
 * Of a file system that another machine has mounted, too, this cannot be told.
 */
function isLocked(root: string, files: readonly string[]): boolean {
  const inodes = new Set(files.map((file) => lookAt(`${root}/${file}`, root)?.ino));
  try {
    // `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF` (proc(5))
    const held = readText(LOCKS).matchAll(/:(\d+) \d+ (?:\d+|EOF)$/gm);
    return [...held].some(([, inode]) => inodes.has(Number(inode)));
  } catch {
    return false; // Other systems have no such list.
  }
}

/** The images of a store, with a warning when the engine runs. `databases`: files that it locks then. */
export async function* warnedOf(
  images: AsyncIterable<SourceImage | UnreadableImage>,
  root: string,
  databases: readonly string[],
): AsyncGenerator<SourceImage | UnreadableImage> {
  const placeWarning = isLocked(root, databases)
    ? `an engine is running on ${root}: what it changes at this time may be missed`
    : undefined;
  for await (const image of images)
    yield placeWarning === undefined || 'error' in image ? image : { ...image, placeWarning };
}
