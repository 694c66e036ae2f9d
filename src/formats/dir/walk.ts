import { statSync } from 'node:fs';
import { join } from 'node:path';
import { entriesIn } from '../../bytes/folder.js';
import { headOf, isThere, wholeFile } from '../../bytes/region.js';
import { STAGING_PREFIX } from '../../storage/staging.js';
import { below, MANIFEST } from './paths.js';

/** A repository path has 255 characters at most, so half as many components. */
const MAX_DEPTH = 130;

/** Also when it cannot be looked at: reading it will say why, and of this image alone. */
function hasManifest(folder: string, tree: string): boolean {
  try {
    return isThere(below(folder, MANIFEST), tree);
  } catch {
    return true;
  }
}

/** True when the folder is an image's, or one is found by going down first folder after first folder. */
export function recognisesDir(path: string): boolean {
  if (!statSync(path).isDirectory()) return false;
  for (const { place, isLink } of walk(path, '', 0))
    if (!isLink) return place !== '' || !isEngines(join(path, MANIFEST), path);
  return false;
}

/** The manifest.json of an engine's archive, unpacked, is a list. */
function isEngines(path: string, tree: string): boolean {
  try {
    const file = wholeFile(path, tree);
    return file !== undefined && headOf(file, 1)[0] === '['.charCodeAt(0);
  } catch {
    return false; // Reading it will say why.
  }
}

/**
 * Folders with a manifest.json, as paths below the tree, in sorted order; '' is the tree itself. Symbolic links are not
 * followed: that they are there is said, since an image's folder may have been meant.
 */
export function* walk(
  tree: string,
  place: string,
  depth: number,
): Generator<{ readonly place: string; readonly isLink: boolean }> {
  const folder = join(tree, place);
  if (hasManifest(folder, tree)) {
    yield { place, isLink: false };
    return;
  }
  if (depth > MAX_DEPTH) return;
  for (const entry of entriesIn(folder, folder)) {
    if (entry.name.startsWith(STAGING_PREFIX)) continue;
    const within = below(place, entry.name);
    if (entry.isDirectory()) yield* walk(tree, within, depth + 1);
    else if (entry.isSymbolicLink()) yield { place: within, isLink: true };
  }
}
