import { linkSync, lstatSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeNew } from '../bytes/assemble.js';
import { makeFolder } from '../bytes/folder.js';
import { ImgconvError, isErrno } from '../model/errors.js';
import { Descent, placeBelow, removeBelow } from '../bytes/below.js';
import { isDeadOwner, ownerName } from './owner.js';
import { closeFile, openRegular, readFully } from '../bytes/open-file.js';

/** A lock is held for as long as it takes to rewrite one small file. */
const PATIENCE_MS = 60_000;

/**
 * Runs `work` while holding a lock file, which names its owner: one that a dead process left is taken over.
 * @throws ImgconvError IO when another process keeps it for a minute
 */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  makeFolder(dirname(path));
  const own = `${path}-${ownerName()}`;
  try {
    writeNew(own, ownerName());
    const since = Date.now();
    while (!take(own, path)) {
      if (Date.now() - since > PATIENCE_MS) {
        throw new ImgconvError('IO', `${path}: another process holds this lock`, {
          hint: 'if no imgconv is at work there, delete the file',
        });
      }
      await sleep(5 + Math.random() * 20);
    }
    try {
      return await work();
    } finally {
      rmSync(path, { force: true });
    }
  } finally {
    rmSync(own, { force: true });
  }
}

/** How long a run waits for garbage to be collected; that deletes files and reads the links of a store. */
const GATE_PATIENCE_MS = 15 * 60_000;

/**
 * False when nobody holds the lock. Else steps back by `withdraw` and waits until it is free, then true: somebody may
 * have taken it again.
 * @throws ImgconvError IO when it is held for a quarter of an hour
 */
export async function released(path: string, withdraw: () => void, signal?: AbortSignal): Promise<boolean> {
  if (!isLocked(path)) return false;
  withdraw();
  const since = Date.now();
  while (isLocked(path)) {
    if (Date.now() - since > GATE_PATIENCE_MS) {
      throw new ImgconvError('IO', `${path}: garbage is being collected here, and does not come to an end`, {
        hint: 'if no imgconv is at work there, delete the file',
      });
    }
    await sleep(5 + Math.random() * 20, undefined, { signal });
  }
  return true;
}

/**
 * Takes a lock below `root` that lasts until it is given back, or until this process ends.
 * Undefined when another live holder has it, or where files cannot be linked.
 */
export function tryLock(path: string, root: string): (() => void) | undefined {
  using folder = new Descent(root);
  const at = folder.path(placeBelow(root, path));
  const own = `${at}-${ownerName()}`;
  writeFileSync(own, ownerName(), { flag: 'wx' });
  try {
    // One that a dead process left is out of the way at the second try.
    if (!take(own, at, path) && !take(own, at, path)) return undefined;
  } catch (error) {
    if (isErrno(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP')) return undefined;
    throw error;
  } finally {
    rmSync(own, { force: true });
  }
  return () => {
    removeBelow(root, path);
  };
}

/** True when a live process holds the lock. */
export function isLocked(path: string): boolean {
  const owner = read(path);
  return owner !== undefined && !isDeadOwner(owner, path);
}

/** A link is made whole or not at all, with the owner's name already in it. `shown`: the path for messages. */
function take(own: string, path: string, shown = path): boolean {
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  }
  clearDead(own, path, shown);
  return false;
}

/** Moves a dead owner's lock out of the way; one that a live process took in between is put back. */
function clearDead(own: string, path: string, shown: string): void {
  const owner = read(path, shown);
  if (owner === undefined || !isDeadOwner(owner, path)) return;
  const aside = `${own}.dead`;
  try {
    renameSync(path, aside);
    if (read(aside) !== owner) linkSync(aside, path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'EEXIST')) throw error;
  }
  rmSync(aside, { force: true });
}

/** An owner's name is shorter. */
const MAX_OWNER = 256;

/** @throws ImgconvError IO for what is no file: a planted FIFO is not waited for, and no link is followed */
function read(path: string, shown = path): string | undefined {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
  try {
    const { fd } = openRegular(path);
    try {
      const text = Buffer.alloc(MAX_OWNER);
      return text.toString('utf8', 0, readFully(fd, text, 0, path));
    } finally {
      closeFile(fd, path);
    }
  } catch (error) {
    if (!(error instanceof ImgconvError)) throw error;
    if (error.code === 'NOT_FOUND') return undefined;
    throw new ImgconvError(
      'IO',
      error.message.replace(path, () => shown),
      {
        cause: error,
        hint: 'it is to be a lock of imgconv: if no imgconv is at work there, delete it',
      },
    );
  }
}
