import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { isErrno } from '../model/errors.js';
import { isDeadOwner, ownerName } from './owner.js';

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
      mkdirSync(this.folder, { recursive: true });
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

  [Symbol.dispose](): void {
    if (this.#made) remove(this.#root, this.folder);
  }
}

function clearDead(root: string): void {
  if (!existsSync(root)) return;
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
  for (const record of readdirSync(folder)) {
    if (!record.endsWith('.displaced')) continue;
    const path = join(root, readFileSync(join(folder, record), 'utf8'));
    if (!isPlainlyBelow(root, path)) continue;
    const aside = join(folder, record.slice(0, -'.displaced'.length));
    if (!existsSync(aside) || existsSync(path)) continue;
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
