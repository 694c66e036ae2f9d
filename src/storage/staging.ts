import { lstatSync, readdirSync, renameSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { ImgconvError, isErrno } from '../model/errors.js';
import { writeNew } from '../bytes/assemble.js';
import { Descent, placeBelow } from '../bytes/below.js';
import { makeFolder } from '../bytes/folder.js';
import { released } from './lock.js';
import { isDeadOwner, isOwnerName, ownerName } from './owner.js';
import { headOf } from '../bytes/region.js';
import { isThere, wholeFile } from '../bytes/there.js';

/** Names that begin so are imgconv's own unfinished work; readers pass over them. */
export const STAGING_PREFIX = '.imgconv-';
/** Downloads that outlive their process: the next one goes on with them (downloads.ts). */
export const PARTIAL_FOLDER = `${STAGING_PREFIX}partial`;
/** In the staging folder of a run that counts on what the place holds. */
const CLAIM = 'claim';
/** Locks that lie beside staging folders, and the names that wait for them (io/lock.ts). */
const LOCK = /^(?:lock|gc)(?:-|$)/;

/** The lock that garbage collection of a place holds while it deletes. */
export function gatePath(root: string): string {
  return join(root, `${STAGING_PREFIX}gc`);
}

/**
 * A folder for unfinished work in the file system of its destination. What a killed process left is cleared by the
 * next one that opens the same root; what it had moved aside is put back.
 */
export class Staging {
  readonly folder: string;
  readonly root: string;
  #made = false;
  #swept = false;
  #count = 0;
  /** Folders that this run made and that nothing is known to be in yet, from the top. */
  #folders: string[] = [];

  constructor(root: string) {
    this.root = root;
    this.folder = join(root, `${STAGING_PREFIX}${ownerName()}`);
  }

  /** Clears what dead processes left in the root, once. */
  sweep(): void {
    if (!this.#swept) clearDead(this.root);
    this.#swept = true;
  }

  /** A new name in the folder, which exists from now on; what dead processes left in the root does not. */
  path(): string {
    this.#make();
    return this.pathOf(this.#count++);
  }

  /** The name with this number, of those that `path` gave. */
  pathOf(number: number): string {
    return join(this.folder, String(number));
  }

  #make(): void {
    if (this.#made) return;
    this.sweep();
    const first = makeFolder(this.folder);
    if (first === undefined && lstatSync(this.folder).uid !== process.geteuid?.())
      throw new ImgconvError('IO', `${this.folder}: there already, and not of this run`);
    if (first !== undefined && first !== this.folder)
      this.#folders.push(...foldersBetween(resolve(first), resolve(this.root)));
    this.#made = true;
  }

  /**
   * To be called before this run takes anything for present: from then on, until it is disposed of, no garbage is
   * collected in the root, so that what it found there stays. Waits while garbage is collected. The claim is laid
   * first and the gate looked at then, and `claimsOn` the other way round, so that one of the two sees the other.
   * @throws ImgconvError IO when the gate stays closed
   */
  async claim(signal?: AbortSignal): Promise<void> {
    try {
      this.#make();
      const mark = join(this.folder, CLAIM);
      do writeFileSync(mark, '');
      while (
        await released(
          gatePath(this.root),
          () => {
            rmSync(mark, { force: true });
          },
          signal,
        )
      );
    } catch (error) {
      // Without write access nothing can be added, so nothing that is there has to be protected.
      if (!isErrno(error, 'EROFS', 'EACCES', 'EPERM')) throw error;
    }
  }

  /** Moves what is at `path` aside, so that a new one can take its place; a record lets the next run put it back. */
  displace(path: string): void {
    const aside = this.path();
    const place = placeBelow(this.root, path);
    writeNew(`${aside}.displaced`, place);
    using places = new Descent(this.root);
    using staging = new Descent(this.root);
    staging.rename(places.path(place), placeBelow(this.root, aside));
  }

  /** What was made so far has its content. */
  keepFolders(): void {
    this.#folders = [];
  }

  [Symbol.dispose](): void {
    if (this.#made) removeInTwoTries(this.root, this.folder.slice(this.folder.lastIndexOf('/') + 1));
    for (const folder of this.#folders.splice(0).reverse()) removeEmpty(folder);
  }
}

/** `first`, the folders on the way down to `last`, and that; none when `first` is below it. */
function foldersBetween(first: string, last: string): string[] {
  return first.length > last.length ? [] : [...foldersBetween(first, dirname(last)), last];
}

/** Does nothing for a folder that is not empty or cannot be removed. */
function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
  }
}

function clearDead(root: string): void {
  for (const path of deadWork(root)) {
    try {
      if (mayClear(root, path)) remove(root, path.slice(path.lastIndexOf('/') + 1));
    } catch (error) {
      // Another process clears the same one, or it is another user's.
      if (!isErrno(error, 'ENOENT', 'EACCES', 'EPERM')) throw error;
    }
  }
}

/**
 * In a folder that others may write to, such as /tmp, what looks like the work of a dead process may be planted: it is
 * left to its owner. Who owns the root can do in it what he likes without that.
 */
function mayClear(root: string, path: string): boolean {
  const { uid } = lstatSync(path);
  return uid === process.geteuid?.() || uid === statSync(root).uid;
}

/** Names of this program's own in a root, and whose they are; a lock's own name says nothing of its owner. */
function ownWork(root: string): { path: string; owner: string }[] {
  if (!isThere(root)) return [];
  return readdirSync(root)
    .filter((name) => name.startsWith(STAGING_PREFIX))
    .map((name) => ({
      path: join(root, name),
      owner: name.slice(STAGING_PREFIX.length).replace(LOCK, ''),
    }))
    .filter(({ owner }) => isOwnerName(owner));
}

/** What dead processes left in a root. */
export function deadWork(root: string): string[] {
  return ownWork(root)
    .filter(({ path, owner }) => isDeadOwner(owner, path))
    .map(({ path }) => path);
}

/** Staging folders of live processes that count on what the root holds. */
export function claimsOn(root: string): string[] {
  return ownWork(root)
    .filter(({ path }) => lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
    .filter(({ path, owner }) => isClaimed(path) && !isDeadOwner(owner, path))
    .map(({ path }) => path);
}

/** True when the folder has a claim, of whatever kind of file. */
function isClaimed(folder: string): boolean {
  try {
    return lstatSync(join(folder, CLAIM), { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    if (isErrno(error, 'ENOTDIR')) return false;
    throw error;
  }
}

/** A disk that fails once while a run clears up is not to leave its folder behind. */
function removeInTwoTries(root: string, name: string): void {
  try {
    remove(root, name);
  } catch {
    remove(root, name);
  }
}

/** Deletes a folder of the root, or what else has this name, after what was moved aside into it was put back. */
function remove(root: string, name: string): void {
  using staging = new Descent(root);
  using places = new Descent(root);
  const stat = lstatSync(staging.path(name), { throwIfNoEntry: false });
  if (stat?.isDirectory() === true) {
    const records = readdirSync(staging.folder(name)).filter((one) => one.endsWith('.displaced'));
    // What was moved aside last comes first: it had taken the place of what was before.
    for (const record of records.sort((a, b) => parseInt(b, 10) - parseInt(a, 10)))
      putBack(staging.folder(name), record, places);
  }
  staging.remove(name);
}

/** A path has no more characters (PATH_MAX). */
const MAX_RECORD = 4096;

/** A record may be planted where others can write: it leads neither out of the root nor through a symbolic link. */
function putBack(folder: string, record: string, places: Descent): void {
  const aside = `${folder}/${record.slice(0, -'.displaced'.length)}`;
  if (lstatSync(`${folder}/${record}`, { throwIfNoEntry: false })?.isFile() !== true) return;
  const file = wholeFile(`${folder}/${record}`, folder);
  if (file === undefined || file.size > MAX_RECORD) return;
  const place = Buffer.from(headOf(file, file.size)).toString();
  if (place.split('/').some((part) => ['', '.', '..'].includes(part))) return;
  if (lstatSync(aside, { throwIfNoEntry: false }) === undefined) return;
  const path = pathFor(place, places);
  if (path !== undefined && lstatSync(path, { throwIfNoEntry: false }) === undefined) renameSync(aside, path);
}

/** Undefined where a link or a file is in the way. */
function pathFor(place: string, places: Descent): string | undefined {
  try {
    return places.path(place, true);
  } catch (error) {
    if (error instanceof ImgconvError) return undefined;
    throw error;
  }
}
