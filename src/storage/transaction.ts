import { closeSync, constants, fsync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { writePieces, type Content } from '../bytes/content.js';
import { asImgconvError } from '../model/errors.js';
import { STEPS, type Step } from './driver.js';
import { StagedTree } from './staged-tree.js';
import type { Pool } from '../threads/pool.js';
import { findProgram } from './program.js';
import type { Staging } from './staging.js';

/** From so many files on, one sync of the file system costs less than one of each file. */
const SYNC_FILESYSTEM_FROM = 128;
/** The file system joins what is asked for at once into one commit of its journal. */
const SYNCS_AT_ONCE = 8;

/**
 * A set of files that become visible together: written beside their places, flushed, renamed in; contents first, then
 * indexes, then tags. Killed at any moment, what is visible is whole and no tag lacks its content.
 */
export class Transaction {
  readonly staging: Staging;
  readonly #tree: StagedTree;

  /** Without a `pool` all is done by this thread. */
  constructor(staging: Staging, pool?: Pool) {
    this.staging = staging;
    this.#tree = new StagedTree(staging, pool);
  }

  /** A file of its own content: a small one, or one in pieces. */
  write(path: string, content: Uint8Array | string | Content, step: Step = 'content'): void {
    if (typeof content === 'string' || content instanceof Uint8Array) this.#tree.write(path, content, step);
    else {
      const staged = this.staging.path();
      writePieces(staged, content);
      this.#tree.move(staged, path, step);
    }
  }

  /** A file that was staged already. */
  move(staged: string, path: string, step: Step = 'content'): void {
    this.#tree.move(staged, path, step);
  }

  /** Where `VerifiedBlob.place` may put what may go to `path`: it has to be kept or dropped before the commit. */
  reserve(path: string): string {
    return this.#tree.reserve(path);
  }

  /** The file is there, and is part of this. */
  keep(path: string, step: Step = 'content'): void {
    this.#tree.keep(path, step);
  }

  drop(path: string): void {
    this.#tree.drop(path);
  }

  /** A folder that was staged; what is at `path` is moved aside first. */
  moveFolder(staged: string, path: string): void {
    this.#tree.moveFolder(staged, path);
  }

  async commit(): Promise<void> {
    // Also when there is nothing to do: what a killed run left goes with the next one.
    this.staging.sweep();
    await this.#tree.assembled();
    await this.#flush(this.#tree.paths());
    while (!this.#tree.isEmpty) {
      for (const step of STEPS) {
        const changed = this.#tree.merge(step);
        await this.#flush(changed);
        if (changed.size > 0) this.staging.keepFolders();
      }
    }
  }

  async #flush(paths: Iterable<string>): Promise<void> {
    const all = paths[Symbol.iterator]();
    const left: string[] = [];
    for (let next = all.next(); next.done !== true; next = all.next()) {
      left.push(next.value);
      if (left.length === SYNC_FILESYSTEM_FROM && (await syncFileSystem(next.value))) return;
    }
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
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    await promisify(fsync)(fd);
  } finally {
    closeSync(fd);
  }
}

/** `sync -f` is syncfs(2) of coreutils 8.24 and later; Node has no call for it. False where it cannot be run. */
export async function syncFileSystem(path: string): Promise<boolean> {
  const program = findProgram('sync');
  if (program === undefined) return false;
  const { spawn } = await import('node:child_process');
  return new Promise((settle) => {
    const child = spawn(program, ['-f', '--', resolve(path)], { stdio: 'ignore', env: {} });
    child.on('error', () => {
      settle(false);
    });
    child.on('exit', (code) => {
      settle(code === 0);
    });
  });
}
