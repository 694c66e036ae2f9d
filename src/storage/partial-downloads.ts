import { lstatSync, mkdirSync, readdirSync, type Stats } from 'node:fs';
import { basename, join } from 'node:path';
import { Descent, expectPlain, removeBelow } from '../bytes/below.js';
import { makeFolder } from '../bytes/folder.js';
import { algorithmOf, hexOf, isDigest, type Digest } from '../model/digest.js';
import { isErrno } from '../model/errors.js';
import { isLocked, tryLock } from './lock.js';
import { isDeadOwner, isOwnerName } from './owner.js';
import { PARTIAL_FOLDER } from './staging.js';

/** The file of a download, locked by this process. */
export interface Claimed {
  readonly path: string;
  readonly unlock: () => void;
}

/** A download that no run resumed is deleted after this long. */
const PARTIAL_AGE_MS = 7 * 24 * 60 * 60 * 1000;

/**
 * The folder of a destination in which unfinished downloads outlive the process, to be resumed by the next run. Each is
 * locked by the process that works on it. If others can write to the folder, nothing is taken from it and nothing deleted.
 */
export class PartialDownloads {
  readonly #root: string;
  readonly #folder: string;
  /** Names of downloads of earlier runs; undefined until they are asked for. */
  #earlier: Set<string> | undefined;
  #made = false;

  constructor(root: string) {
    this.#root = root;
    this.#folder = join(root, PARTIAL_FOLDER);
  }

  /** Undefined when another process has the file, or the folder is not to be used. */
  claim(digest: Digest): Claimed | undefined {
    if (!this.#made) this.#make();
    if (!this.#isOwn()) return undefined;
    const path = this.#pathOf(digest);
    try {
      return this.#lock(path);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
      // Another run removed the folder, which was empty, as it ended.
      makeFolder(this.#folder);
      return this.#lock(path);
    }
  }

  /** As `claim`, only if an earlier run began this download. */
  claimEarlier(digest: Digest): Claimed | undefined {
    if (!this.#isOwn()) return undefined;
    this.#earlier ??= new Set(this.#names().map((name) => name.replace(/\.lock$/, '')));
    const path = this.#pathOf(digest);
    return this.#earlier.has(basename(path)) ? this.#lock(path) : undefined;
  }

  #lock(path: string): Claimed | undefined {
    const unlock = tryLock(lockOf(path), this.#root);
    return unlock && { path, unlock };
  }

  #make(): void {
    makeFolder(this.#root);
    try {
      mkdirSync(this.#folder, { mode: 0o755 });
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
    }
    expectPlain(this.#root, `${this.#folder}/`);
    if (this.#isOwn()) this.#sweep();
    this.#made = true;
  }

  #isOwn(): boolean {
    const stat = lstatSync(this.#folder, { throwIfNoEntry: false });
    return stat?.isDirectory() === true && isOurs(stat);
  }

  #pathOf(digest: Digest): string {
    return join(this.#folder, `${algorithmOf(digest)}-${hexOf(digest)}`);
  }

  /** None when the folder is not there. */
  #names(): string[] {
    try {
      return readdirSync(this.#folder);
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return [];
      throw error;
    }
  }

  /** All downloads in the folder; undefined when there are none. */
  kept(): { readonly folder: string; readonly bytes: number } | undefined {
    let bytes = 0;
    for (const name of this.#names())
      if (isDigest(name.replace('-', ':')))
        bytes += lstatSync(join(this.#folder, name), { throwIfNoEntry: false })?.size ?? 0;
    return bytes === 0 ? undefined : { folder: this.#folder, bytes };
  }

  /** Removes old downloads, locks whose download is gone, and what dead processes left of taking a lock. */
  #sweep(): void {
    for (const name of this.#names()) {
      const path = join(this.#folder, name);
      const [, owner] = /\.lock-(.+)$/.exec(name) ?? [];
      if (owner !== undefined && isOwnerName(owner) && isDeadOwner(owner, path))
        removeBelow(this.#root, path);
      const download = path.replace(/\.lock$/, '');
      const stat = lstatSync(download, { throwIfNoEntry: false });
      if (stat !== undefined && Date.now() - stat.mtimeMs < PARTIAL_AGE_MS) continue;
      if (isDigest(basename(download).replace('-', ':')) && !isLocked(lockOf(download)))
        removeBelow(this.#root, path);
    }
  }

  /** Also removes what a killed run left, and the folder if it is empty. */
  [Symbol.dispose](): void {
    if (!this.#isOwn()) return;
    try {
      this.#sweep();
      using descent = new Descent(this.#root);
      descent.rmdir(PARTIAL_FOLDER);
    } catch (error) {
      if (!isErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS'))
        throw error;
    }
  }
}

/** The rights of group and others to write. */
const WRITABLE = 0o022;

/** True for what belongs to this user and nobody else can write to. */
export function isOurs({ uid, mode }: Stats): boolean {
  return uid === process.geteuid?.() && (mode & WRITABLE) === 0;
}

function lockOf(path: string): string {
  return `${path}.lock`;
}
