import { renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isErrno } from '../model/errors.js';
import { assemble, type AssembleJob } from './jobs.js';
import type { Pool } from './pool.js';
import { isThere } from './region.js';
import type { Staging } from './staging.js';

/** Tags come after all that they need is on the disk. */
export type Step = 'content' | 'tag';

/** So many files are work enough for a message to a thread. */
const LOT = 256;
/** Each is lost only when another writer was quicker. */
const TRIES = 100;

interface Lot {
  readonly folders: Set<string>;
  readonly files: [string, string | Uint8Array][];
  readonly moves: [string, string][];
}

/**
 * A tree in the staging folder of files that are to go into a root: as whole folders where the root has none of that
 * name. It is made by other threads while more is added; a file is made in the folder that it stays in, since file
 * systems look for room for all files of one folder in one place, and search long where many were made.
 */
export class Mirror {
  readonly #staging: Staging;
  readonly #pool: Pool | undefined;
  /** What all paths below the root begin with. */
  readonly #prefix: string;
  /** Once there is something in it. */
  #folder: string | undefined;
  #lot = newLot();
  readonly #made: Promise<void>[] = [];
  /** By folders: what is in them and not in its place yet, in the order in which it was added. All are places below the root. */
  readonly #entries = new Map<string, Set<string>>();
  /** Files that are tags, and folders with such files. */
  readonly #tagged = new Set<string>();
  /** Folders with tags that are there already: what is in them is put into its place one by one. */
  readonly #open = new Set<string>();
  /** Folders that take the place of what is there, and the files in them. */
  readonly #units = new Map<string, readonly string[]>();

  constructor(staging: Staging, pool: Pool | undefined) {
    this.#staging = staging;
    this.#pool = pool;
    this.#prefix = join(staging.root, '_').slice(0, -1);
  }

  write(path: string, bytes: Uint8Array | string, step: Step): void {
    this.#lot.files.push([this.#add(path, step), bytes]);
    this.#send(LOT);
  }

  move(staged: string, path: string, step: Step): void {
    this.#lot.moves.push([staged, this.#add(path, step)]);
    this.#send(LOT);
  }

  /** A folder with files of these names in it, that takes the place of the one at `path`. */
  moveFolder(staged: string, path: string, files: readonly string[]): void {
    this.move(staged, path, 'content');
    this.#units.set(this.#placeOf(path), files);
  }

  #root(): string {
    return (this.#folder ??= this.#staging.path());
  }

  #placeOf(path: string): string {
    if (!path.startsWith(this.#prefix)) throw new TypeError(`${path} is not in ${this.#staging.root}`);
    return path.slice(this.#prefix.length);
  }

  #add(path: string, step: Step): string {
    const place = this.#placeOf(path);
    this.#addEntry(place);
    for (let at = place; step === 'tag' && !this.#tagged.has(at); at = dirname(at)) this.#tagged.add(at);
    return place;
  }

  #addEntry(place: string): void {
    const folder = dirname(place);
    if (!this.#lot.folders.has(folder)) {
      if (folder !== '.') this.#addEntry(folder);
      this.#lot.folders.add(folder);
    }
    const entries = this.#entries.get(folder);
    if (entries === undefined) this.#entries.set(folder, new Set([place]));
    else entries.add(place);
  }

  #send(atLeast: number): void {
    const { folders, files, moves } = this.#lot;
    if (files.length + moves.length < atLeast) return;
    this.#lot = newLot();
    const job: AssembleJob = { kind: 'assemble', root: this.#root(), folders: [...folders], files, moves };
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
  }

  /** All that was made, to be flushed. */
  *paths(): Generator<string> {
    if (this.#folder === undefined) return;
    for (const [folder, entries] of this.#entries) {
      yield `${this.#folder}/${folder}`;
      for (const place of entries) if (!this.#entries.has(place)) yield `${this.#folder}/${place}`;
    }
    for (const [unit, files] of this.#units)
      for (const file of files) yield `${this.#folder}/${unit}/${file}`;
  }

  /** True when all that was added is in its place. */
  get isEmpty(): boolean {
    return (this.#entries.get('.')?.size ?? 0) === 0;
  }

  #clear(): void {
    this.#folder = undefined;
    for (const known of [this.#entries, this.#tagged, this.#open, this.#units]) known.clear();
  }

  /**
   * Renames what is of a step into its place, in the order in which it was added, and gives the folders that changed.
   * A new folder with tags in it is all of the last step. What could not be put in place as a whole, since another
   * writer was quicker, is left for one more round of both steps.
   */
  merge(step: Step): Set<string> {
    const changed = new Set<string>();
    this.#mergeFolder('.', step, changed);
    if (this.isEmpty) this.#clear();
    return changed;
  }

  /** True when all in it is in its place. */
  #mergeFolder(folder: string, step: Step, changed: Set<string>): boolean {
    const entries = this.#entries.get(folder) ?? new Set();
    for (const place of entries) if (this.#put(place, step, changed)) entries.delete(place);
    return entries.size === 0;
  }

  #put(place: string, step: Step, changed: Set<string>): boolean {
    const path = this.#prefix + place;
    const isFolder = this.#entries.has(place);
    const hasTags = this.#tagged.has(place);
    if (step === 'content' && hasTags) {
      if (!isFolder || !isThere(path)) return false;
      this.#open.add(place);
    }
    if (this.#open.has(place)) return this.#mergeFolder(place, step, changed);
    for (let left = TRIES; ; left--) {
      try {
        renameSync(`${this.#root()}/${place}`, path);
        changed.add(dirname(path));
        return true;
      } catch (error) {
        if (left === 0 || !isThere(path)) throw error;
        // The content in it comes first.
        if (isFolder && hasTags) return false;
        if (isFolder) return this.#mergeFolder(place, step, changed);
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

async function assembleHere(job: AssembleJob): Promise<void> {
  await Promise.resolve();
  assemble(job);
}

function newLot(): Lot {
  return { folders: new Set(), files: [], moves: [] };
}
