import { join } from 'node:path';
import { entriesIn } from '../../bytes/folder.js';
import { headOf } from '../../bytes/region.js';
import { isFolder, isThere, wholeFile } from '../../bytes/there.js';
import { join as keyIn, type Storage } from '../../storage/driver.js';
import { STAGING_PREFIX } from '../../storage/staging.js';
import { MANIFEST } from './paths.js';

/** A repository path has 255 characters at most, so half as many components. */
export const MAX_DEPTH = 130;

/** True when the folder is an image's, or one is found by going down first folder after first folder. */
export function recognisesDir(path: string): boolean {
  if (!isFolder(path)) return false;
  return hasImage(path, 0) && !isEngines(join(path, MANIFEST), path);
}

function hasImage(folder: string, depth: number): boolean {
  try {
    if (isThere(join(folder, MANIFEST), folder)) return true;
  } catch {
    return true; // Reading it will say why.
  }
  if (depth > MAX_DEPTH) return false;
  return entriesIn(folder, folder).some(
    (entry) =>
      entry.isDirectory() &&
      !entry.name.startsWith(STAGING_PREFIX) &&
      hasImage(join(folder, entry.name), depth + 1),
  );
}

/** The manifest.json of an engine's archive, unpacked, is a list. */
function isEngines(path: string, tree: string): boolean {
  try {
    const file = wholeFile(path, tree);
    return file !== undefined && headOf(file, 1)[0] === '['.charCodeAt(0);
  } catch {
    return false;
  }
}

/**
 * Keys of folders with a manifest.json, sorted; '' is the tree itself. Symbolic links are not followed: that they are
 * there is said, since an image's folder may have been meant.
 */
export async function* walk(
  tree: Storage,
  folder = '',
  depth = 0,
): AsyncGenerator<{ readonly folder: string; readonly isLink: boolean }> {
  if (await hasManifest(tree, folder)) {
    yield { folder, isLink: false };
    return;
  }
  if (depth > MAX_DEPTH) return;
  for (const { name, kind } of await tree.list(folder)) {
    if (name.startsWith(STAGING_PREFIX)) continue;
    const within = keyIn(folder, name);
    if (kind === 'folder') yield* walk(tree, within, depth + 1);
    else if (kind === 'link') yield { folder: within, isLink: true };
  }
}

/** Also when it cannot be looked at: reading it will say why, and of this image alone. */
async function hasManifest(tree: Storage, folder: string): Promise<boolean> {
  try {
    return (await tree.stat(keyIn(folder, MANIFEST))) !== undefined;
  } catch {
    return true;
  }
}
