import { spawn } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { asImgconvError, isErrno } from '../model/errors.js';
import { writeNew } from './jobs.js';
import { isThere } from './region.js';
import type { Staging } from './staging.js';

/** From so many files on, one sync of the file system costs less than one of each file. */
const SYNC_FILESYSTEM_FROM = 128;
/** The file system joins what is asked for at once into one commit of its journal. */
const SYNCS_AT_ONCE = 8;
/** Each is lost only when another writer was quicker. */
const TRIES = 100;

/** Tags come after all that they need is on the disk. */
export type Step = 'content' | 'tag';

interface Rename {
  readonly staged: string;
  readonly path: string;
  readonly replace: boolean;
}

/**
 * A set of files that become visible together: written beside their places, flushed, renamed in; contents first, in
 * the order they were added, then tags. Killed at any moment, what is visible is whole and no tag lacks its content.
 */
export class Transaction {
  readonly staging: Staging;
  readonly #renames: Record<Step, Rename[]> = { content: [], tag: [] };
  #unflushed: string[] = [];
  readonly #folders = new Set<string>();

  constructor(staging: Staging) {
    this.staging = staging;
  }

  /** A small file of its own content. */
  write(path: string, bytes: Uint8Array | string, step: Step = 'content'): void {
    const staged = this.staging.path();
    writeNew(staged, bytes);
    this.move(staged, path, step);
  }

  /** A file that was staged already. */
  move(staged: string, path: string, step: Step = 'content'): void {
    this.#unflushed.push(staged);
    this.#renames[step].push({ staged, path, replace: false });
  }

  /** A folder that was staged with these files in it; what is at `path` is moved aside first. */
  moveFolder(staged: string, path: string, files: readonly string[]): void {
    this.#unflushed.push(...files, staged);
    this.#renames.content.push({ staged, path, replace: true });
  }

  async commit(): Promise<void> {
    // Also when there is nothing to do: what a killed run left goes with the next one.
    this.staging.sweep();
    const changed = new Set<string>();
    await this.#flush(this.#unflushed.splice(0));
    for (const step of ['content', 'tag'] as const) {
      for (const rename of this.#renames[step].splice(0)) {
        this.#put(rename, changed);
      }
      await this.#flush([...changed]);
      if (changed.size > 0) this.staging.keepFolders();
      changed.clear();
    }
  }

  /** Renames one into its place, beside others who put theirs into the same places at the same time. */
  #put({ staged, path, replace }: Rename, changed: Set<string>): void {
    for (let left = TRIES; ; left--) {
      try {
        this.#makeFolder(dirname(path), changed);
        renameSync(staged, path);
        changed.add(dirname(path));
        return;
      } catch (error) {
        if (left === 0) throw error;
        if (replace && isErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR')) this.#displace(path);
        // A run that failed clears away folders that are empty still.
        else if (isErrno(error, 'ENOENT')) this.#folders.clear();
        else throw error;
      }
    }
  }

  #displace(path: string): void {
    try {
      this.staging.displace(path);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error; // Another writer moved it.
    }
  }

  /** Each folder is made or found once, from the top: one system call each. */
  #makeFolder(folder: string, changed: Set<string>): void {
    if (this.#folders.has(folder)) return;
    const above = dirname(folder);
    if (above !== folder) this.#makeFolder(above, changed);
    try {
      mkdirSync(folder);
      this.staging.madeFolder(folder);
      changed.add(above);
    } catch (error) {
      if (!isErrno(error, 'EEXIST', 'EISDIR', 'EPERM', 'EACCES', 'EROFS') || !isThere(folder)) throw error;
    }
    this.#folders.add(folder);
  }

  async #flush(paths: readonly string[]): Promise<void> {
    const first = paths[0];
    if (first === undefined) return;
    if (paths.length >= SYNC_FILESYSTEM_FROM && (await syncFileSystem(first))) return;
    const left = [...paths];
    const work = async () => {
      for (let path = left.pop(); path !== undefined; path = left.pop()) {
        try {
          await flush(path);
        } catch (error) {
          throw asImgconvError(error, path);
        }
      }
    };
    // All of them have to be done before the staging folder may go.
    const flushed = await Promise.allSettled(Array.from({ length: SYNCS_AT_ONCE }, work));
    for (const one of flushed) if (one.status === 'rejected') throw one.reason;
  }
}

async function flush(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** `sync -f` is syncfs(2) of coreutils 8.24 and later; Node has no call for it. False where it cannot be run. */
export function syncFileSystem(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn('sync', ['-f', path], { stdio: 'ignore' });
    child.on('error', () => {
      resolve(false);
    });
    child.on('exit', (code) => {
      resolve(code === 0);
    });
  });
}
