import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { headOf, isThere, wholeFile } from '../../io/region.js';
import { STAGING_PREFIX } from '../../io/staging.js';
import { below, MANIFEST } from './paths.js';

/** A repository path has 255 characters at most, so half as many components. */
const MAX_DEPTH = 130;

/** Also when it cannot be looked at: reading it will say why, and of this image alone. */
function hasManifest(folder: string): boolean {
  try {
    return isThere(below(folder, MANIFEST));
  } catch {
    return true;
  }
}

/** True when the folder is an image's, or one is found by going down first folder after first folder. */
export function recognisesDir(path: string): boolean {
  if (!statSync(path).isDirectory()) return false;
  for (const place of walk(path, '', 0)) return place !== '' || !isEngines(join(path, MANIFEST));
  return false;
}

/** The manifest.json of an engine's archive, unpacked, is a list. */
function isEngines(path: string): boolean {
  try {
    const file = wholeFile(path);
    return file !== undefined && headOf(file, 1)[0] === '['.charCodeAt(0);
  } catch {
    return false; // Reading it will say why.
  }
}

/** Folders with a manifest.json, as paths below the tree, in sorted order; '' is the tree itself. */
export function* walk(tree: string, place: string, depth: number): Generator<string> {
  const folder = join(tree, place);
  if (hasManifest(folder)) {
    yield place;
    return;
  }
  if (depth > MAX_DEPTH) return;
  const folders = readdirSync(folder, { withFileTypes: true }).filter(
    (entry) => entry.isDirectory() && !entry.name.startsWith(STAGING_PREFIX),
  );
  for (const { name } of folders.sort((a, b) => (a.name < b.name ? -1 : 1)))
    yield* walk(tree, below(place, name), depth + 1);
}
