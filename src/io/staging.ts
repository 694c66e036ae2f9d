import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { isErrno } from '../model/errors.js';
import { isDeadOwner, ownerName } from './owner.js';
import { isThere } from './region.js';

/** Names that begin so are imgconv's own unfinished work; readers pass over them. */
export const STAGING_PREFIX = '.imgconv-';
/**
 * A folder for unfinished work in the file system of its destination. What a killed process left is cleared by the
 * next one that opens the same root; what it had moved aside is put back.
 */
export class Staging {
  readonly folder: string;
  readonly #root: string;
  #made = false;
  #swept = false;
  #count = 0;
  /** Folders that this run made and that nothing is known to be in yet, from the top. */
  #folders: string[] = [];

  constructor(root: string) {
    this.#root = root;
    this.folder = join(root, `${STAGING_PREFIX}${ownerName()}`);
  }

  /** Clears what dead processes left in the root, once. */
  sweep(): void {
    if (!this.#swept) clearDead(this.#root);
    this.#swept = true;
  }

  /** A new name in the folder, which exists from now on; what dead processes left in the root does not. */
  path(): string {
    if (!this.#made) {
      this.sweep();
      const first = mkdirSync(this.folder, { recursive: true });
      if (first !== undefined && first !== this.folder)
        this.#folders.push(...foldersBetween(resolve(first), resolve(this.#root)));
      this.#made = true;
    }
    return join(this.folder, String(this.#count++));
  }

  /** Moves what is at `path` aside, so that a new one can take its place; a record lets the next run put it back. */
  displace(path: string): void {
    const aside = this.path();
    writeFileSync(`${aside}.displaced`, relative(this.#root, path));
    renameSync(path, aside);
  }

  /** To be told of folders that the run makes: if it fails, those that stayed empty go again. */
  madeFolder(path: string): void {
    this.#folders.push(path);
  }

  /** What was made so far has its content. */
  keepFolders(): void {
    this.#folders = [];
  }

  [Symbol.dispose](): void {
    if (this.#made) remove(this.#root, this.folder);
    for (const folder of this.#folders.splice(0).reverse()) removeEmpty(folder);
  }
}

/** `first`, the folders on the way down to `last`, and that; none when `first` is below it. */
function foldersBetween(first: string, last: string): string[] {
  return first.length > last.length ? [] : [...foldersBetween(first, dirname(last)), last];
}

/** One that is in use, by whomever, or that cannot be removed, harms nobody. */
function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
  }
}

function clearDead(root: string): void {
  if (!isThere(root)) return;
  for (const name of readdirSync(root)) {
    if (!name.startsWith(STAGING_PREFIX)) continue;
    const path = join(root, name);
    // A lock's own name says nothing of its owner (io/lock.ts takes over a dead one's); what waited for it does.
    const owner = name.slice(STAGING_PREFIX.length).replace(/^lock-/, '');
    if (owner === 'lock' || !isDeadOwner(owner, path)) continue;
    try {
      if (lstatSync(path).isDirectory()) remove(root, path);
      else rmSync(path, { force: true });
    } catch (error) {
      // Another process clears the same one, or it is another user's.
      if (!isErrno(error, 'ENOENT', 'EACCES', 'EPERM')) throw error;
    }
  }
}

function remove(root: string, folder: string): void {
  const records = readdirSync(folder).filter((name) => name.endsWith('.displaced'));
  // What was moved aside last comes first: it had taken the place of what was before.
  for (const record of records.sort((a, b) => parseInt(b, 10) - parseInt(a, 10))) {
    const path = join(root, readFileSync(join(folder, record), 'utf8'));
    if (!isPlainlyBelow(root, path)) continue;
    const aside = join(folder, record.slice(0, -'.displaced'.length));
    if (!isThere(aside) || isThere(path)) continue;
    mkdirSync(dirname(path), { recursive: true });
    renameSync(aside, path);
  }
  rmSync(folder, { recursive: true, force: true });
}

/** A record may be planted where others can write: it leads neither out of the root nor through a symbolic link. */
function isPlainlyBelow(root: string, path: string): boolean {
  const parts = relative(root, path).split(sep);
  if (parts[0] === '' || parts[0] === '..') return false;
  return parts.every((_, i) => {
    const stat = lstatSync(join(root, ...parts.slice(0, i + 1)), { throwIfNoEntry: false });
    return stat?.isSymbolicLink() !== true;
  });
}
