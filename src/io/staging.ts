import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
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
    const folder = join(root, name);
    if (!name.startsWith(STAGING_PREFIX) || !isDeadOwner(name.slice(STAGING_PREFIX.length), folder)) continue;
    try {
      remove(root, folder);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error; // Another process clears the same one.
    }
  }
}

function remove(root: string, folder: string): void {
  for (const record of readdirSync(folder)) {
    if (!record.endsWith('.displaced')) continue;
    const path = join(root, readFileSync(join(folder, record), 'utf8'));
    if (relative(root, path).startsWith('..')) continue;
    const aside = join(folder, record.slice(0, -'.displaced'.length));
    if (!existsSync(aside) || existsSync(path)) continue;
    mkdirSync(dirname(path), { recursive: true });
    renameSync(aside, path);
  }
  rmSync(folder, { recursive: true, force: true });
}
