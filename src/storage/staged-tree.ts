import { lstatSync, mkdirSync, statSync, type Dirent } from 'node:fs';
import { dirname } from 'node:path';
import { ImgconvError, isErrno, naming } from '../model/errors.js';
import { Descent, placeBelow, prefixBelow } from '../bytes/below.js';
import { entriesIn } from '../bytes/folder.js';
import { assemble, type AssembleJob } from '../bytes/assemble.js';
import type { Pool } from '../threads/pool.js';
import { STEPS, type Step } from './driver.js';
import type { Staging } from './staging.js';

/** So many files are work enough for a message to a thread. */
const LOT = 256;
/** Each is lost only when another writer was quicker. */
const TRIES = 100;

interface Later {
  /** That of the last step of what is in it. */
  readonly rank: number;
  readonly order: number;
}

/** One step of putting all in its place. */
interface Merge {
  readonly tree: Descent;
  readonly descent: Descent;
  readonly rank: number;
  /** Folders that changed. */
  readonly changed: Set<string>;
}

interface Lot {
  readonly files: [string, string | Uint8Array][];
  readonly moves: [string, string][];
}

/**
 * A tree in the staging folder of files that are to go into a root: as whole folders where the root has none of that
 * name. It is made by other threads while more is added; a file is made in the folder that it stays in, since file
 * systems look for room for all files of one folder in one place, and search long where many were made. What is in the
 * tree is not noted besides: tens of thousands of names would be, and a new folder is moved as a whole.
 */
export class StagedTree {
  readonly #staging: Staging;
  readonly #pool: Pool | undefined;
  /** What all paths below the root begin with. */
  readonly #prefix: string;
  /** The tree's own, once there is something in it. */
  #folder: string | undefined;
  #inode: bigint | undefined;
  #lot: Lot = { files: [], moves: [] };
  readonly #made: Promise<void>[] = [];
  /** Files that are not of the first step, and folders with such files. Places below the root, as all that follow. */
  readonly #later = new Map<string, Later>();
  /** Such folders that are there already: what is in them is put into its place one by one. */
  readonly #open = new Set<string>();
  /** Folders that take the place of what is there. */
  readonly #units = new Set<string>();
  /** Files that were to be made and go nowhere. */
  readonly #dropped = new Set<string>();

  constructor(staging: Staging, pool: Pool | undefined) {
    this.#staging = staging;
    this.#pool = pool;
    this.#prefix = prefixBelow(staging.root);
  }

  write(path: string, bytes: Uint8Array | string, step: Step): void {
    this.#lot.files.push([this.#add(path, step), bytes]);
    this.#send(LOT);
  }

  move(staged: string, path: string, step: Step): void {
    this.#lot.moves.push([staged, this.#add(path, step)]);
    this.#send(LOT);
  }

  /** A folder that takes the place of the one at `path`. */
  moveFolder(staged: string, path: string): void {
    this.#units.add(this.#placeOf(path));
    this.move(staged, path, 'content');
  }

  /**
   * Where in the tree the caller is to make a file that may go to `path`, and the folders on the way to it. It has to be
   * kept or dropped before the tree is assembled.
   */
  reserve(path: string): string {
    return `${this.#root()}/${this.#placeOf(path)}`;
  }

  keep(path: string, step: Step): void {
    this.#dropped.delete(this.#add(path, step));
  }

  /** If the file is there, it is removed. */
  drop(path: string): void {
    this.#dropped.add(this.#placeOf(path));
  }

  #root(): string {
    if (this.#folder === undefined) {
      this.#folder = this.#staging.path();
      const folder = this.#folder;
      naming(folder, () => {
        mkdirSync(folder);
      });
      this.#inode = inodeOf(this.#folder);
    }
    return this.#folder;
  }

  /**
   * Opens the tree's folder and keeps it open, so that files are renamed and deleted in the folder that was made, even if
   * another one takes its name later.
   * @throws ImgconvError IO when the folder was replaced: content may be lost with it, so no tag may follow
   */
  #openTree(): Descent {
    const tree = new Descent(this.#staging.root);
    if (this.#folder === undefined) return tree;
    try {
      if (statSync(tree.folder(this.#inTree('')), { bigint: true }).ino === this.#inode) return tree;
    } catch (error) {
      if (!(error instanceof ImgconvError) && !isErrno(error, 'ENOENT')) throw error;
    }
    tree[Symbol.dispose]();
    throw new ImgconvError('IO', `${this.#folder}: was removed while it was in use`);
  }

  /** The path below the root of a file in the tree. */
  #inTree(place: string): string {
    const tree = this.#placeOf(this.#root());
    return place === '' ? tree : `${tree}/${place}`;
  }

  #placeOf(path: string): string {
    return placeBelow(this.#staging.root, path);
  }

  #add(path: string, step: Step): string {
    const place = this.#placeOf(path);
    const rank = STEPS.indexOf(step);
    for (let at = place; this.#rankOf(at) < rank; at = dirname(at))
      this.#later.set(at, { rank, order: this.#later.get(at)?.order ?? this.#later.size });
    return place;
  }

  #rankOf(place: string): number {
    return this.#later.get(place)?.rank ?? 0;
  }

  #send(atLeast: number): void {
    const { files, moves } = this.#lot;
    if (files.length + moves.length < atLeast) return;
    this.#lot = { files: [], moves: [] };
    const job: AssembleJob = { kind: 'assemble', root: this.#root(), files, moves };
    const pool = atLeast < LOT ? undefined : this.#pool;
    const made = pool === undefined ? assembleHere(job) : pool.assemble(job);
    made.catch(() => undefined); // Heard by `assembled`.
    this.#made.push(made);
  }

  /** Resolves when all that was added is made. */
  async assembled(): Promise<void> {
    this.#send(1);
    // None is at work any more when one of them failed.
    for (const one of await Promise.allSettled(this.#made.splice(0)))
      if (one.status === 'rejected') throw one.reason;
    using tree = this.#openTree();
    for (const place of this.#dropped) this.#remove(place, tree);
    this.#dropped.clear();
  }

  #remove(place: string, tree: Descent): void {
    tree.remove(this.#inTree(place));
    for (let folder = dirname(place); folder !== '.'; folder = dirname(folder)) {
      try {
        tree.rmdir(this.#inTree(folder));
      } catch (error) {
        if (isErrno(error, 'ENOTEMPTY')) return;
        if (!isErrno(error, 'ENOENT')) throw error;
      }
    }
  }

  /** All that was made, to be flushed. */
  *paths(): Generator<string> {
    if (this.#folder !== undefined) yield* allIn(this.#folder);
  }

  /** True when all that was added is in its place. */
  get isEmpty(): boolean {
    return this.#folder === undefined;
  }

  #clear(): void {
    this.#folder = undefined;
    for (const known of [this.#later, this.#open, this.#units]) known.clear();
  }

  /**
   * Renames what is of a step into its place, content by name, the rest in the order in which it was added, and gives the
   * folders that changed. A new folder is all of the last step of what is in it. What could not be put in place as a
   * whole, since another writer was quicker, is left for one more round of all steps.
   */
  merge(step: Step): Set<string> {
    const changed = new Set<string>();
    using tree = this.#openTree();
    using descent = new Descent(this.#staging.root);
    const rank = STEPS.indexOf(step);
    if (this.#folder !== undefined && this.#mergeFolder('', { tree, descent, rank, changed })) this.#clear();
    return changed;
  }

  /** `folder` is empty, or ends with a slash. True when all in it is in its place. */
  #mergeFolder(folder: string, merge: Merge): boolean {
    let done = true;
    const order = ({ name }: Dirent) => this.#later.get(`${folder}${name}`)?.order ?? -1;
    const from = merge.tree.folder(this.#inTree(folder.slice(0, -1)));
    for (const entry of entriesIn(from, from).sort((a, b) => order(a) - order(b))) {
      const place = `${folder}${entry.name}`;
      const isFolder = entry.isDirectory() && !this.#units.has(place);
      if (!this.#put(place, isFolder, merge)) done = false;
    }
    return done;
  }

  /** As `#mergeFolder`, for a folder that is there. */
  #mergeInto(place: string, merge: Merge): boolean {
    if (!this.#mergeFolder(`${place}/`, merge)) return false;
    // A name of the very file that is there already stays when it is renamed to that (rename(2)).
    merge.tree.remove(this.#inTree(place));
    return true;
  }

  #put(place: string, isFolder: boolean, merge: Merge): boolean {
    const path = this.#prefix + place;
    const last = this.#rankOf(place);
    if (last > merge.rank) {
      if (!isFolder || !isThere(path)) return false;
      this.#open.add(place);
    }
    if (this.#open.has(place)) return this.#mergeInto(place, merge);
    for (let left = TRIES; ; left--) {
      try {
        merge.descent.rename(merge.tree.path(this.#inTree(place)), place);
        merge.changed.add(dirname(path));
        return true;
      } catch (error) {
        if (left === 0 || error instanceof ImgconvError || !isThere(path)) throw error;
        // The content in it comes first.
        if (isFolder && last > 0) return false;
        if (isFolder) return this.#mergeInto(place, merge);
        if (!this.#units.has(place) || !isErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR')) throw error;
        this.#displace(path);
      }
    }
  }

  #displace(path: string): void {
    try {
      this.#staging.displace(path);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error; // Another writer moved it.
    }
  }
}

function inodeOf(path: string): bigint | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
}

/** Follows no link. */
function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** A folder and all that is in it. */
function* allIn(folder: string): Generator<string> {
  for (const entry of entriesIn(folder, folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* allIn(path);
    else yield path;
  }
  yield folder;
}

async function assembleHere(job: AssembleJob): Promise<void> {
  await Promise.resolve();
  assemble(job);
}
