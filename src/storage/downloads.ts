import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  type Stats,
} from 'node:fs';
import { basename, join } from 'node:path';
import { makeFolder } from '../bytes/folder.js';
import { algorithmOf, hexOf, isDigest, type Digest } from '../model/digest.js';
import { asImgconvError, ImgconvError, isErrno } from '../model/errors.js';
import { Descent, expectPlain, removeBelow } from '../bytes/below.js';
import { MAX_CONFIG } from '../model/json.js';
import { BUFFER_SIZE } from '../bytes/buffers.js';
import { createHasher, expectDigest, type Expected, type Hasher } from '../bytes/hash.js';
import { writeFully } from '../bytes/output.js';
import { isLocked, tryLock } from './lock.js';
import { isDeadOwner, isOwnerName } from './owner.js';
import type { Pool } from '../threads/pool.js';
import { fileIdOf, readFully, type FileBytes, type MemoryBytes } from '../bytes/region.js';
import { Patience, Transient, type RetryPolicy } from '../bytes/retry.js';
import { PARTIAL_FOLDER, type Staging } from './staging.js';

/** Where a blob can be fetched from. */
export interface Origin {
  /** For messages. */
  readonly where: string;
  readonly retry: RetryPolicy;
  /** The bytes from `offset` on, or from the beginning where the other side cannot begin elsewhere. */
  readonly open: (
    offset: number,
  ) => Promise<{ readonly offset: number; readonly chunks: AsyncIterable<Uint8Array> }>;
}

/** Fetches blobs of other machines, each once a run however many images name it. */
export interface Downloads {
  fetch(blob: Expected, origin: Origin, onBytes?: (count: number) => void): Promise<FileBytes | MemoryBytes>;
}

/** A download whose lock this run holds. */
interface Kept {
  readonly path: string;
  readonly unlock: () => void;
}

/** What no run came back for is given up after this long. */
const PARTIAL_AGE_MS = 7 * 24 * 60 * 60 * 1000;
/** So many bytes are progress: a server that cuts every connection after a few would never be done with. */
const PROGRESS = 1024 * 1024;

/**
 * Keeps downloads in a folder of the destination until their blobs are in place. What a run leaves unfinished the next
 * one goes on with, after it has hashed what is there. A file that another process is at is left to it.
 */
export class StagedDownloads implements Downloads {
  readonly #staging: Staging;
  readonly #pool: Pool;
  readonly #folder: string | undefined;
  readonly #fetched = new Map<Digest, Promise<FileBytes>>();
  readonly #kept = new Map<Digest, Kept>();
  /** Names of downloads of earlier runs; undefined until they are asked for. */
  #earlier: Set<string> | undefined;
  #made = false;

  /** `lasting`: the staging's root is there for the next run too. */
  constructor(staging: Staging, pool: Pool, lasting: boolean) {
    this.#staging = staging;
    this.#pool = pool;
    this.#folder = lasting ? join(staging.root, PARTIAL_FOLDER) : undefined;
  }

  async fetch(blob: Expected, origin: Origin, onBytes?: (count: number) => void): Promise<FileBytes> {
    const known = this.#fetched.get(blob.digest);
    if (known !== undefined) return known;
    const fetching = this.#fetch(blob, origin, onBytes);
    this.#fetched.set(blob.digest, fetching);
    try {
      return await fetching;
    } catch (error) {
      this.#fetched.delete(blob.digest);
      throw error;
    }
  }

  async #fetch(blob: Expected, origin: Origin, onBytes?: (count: number) => void): Promise<FileBytes> {
    const path = this.#pathFor(blob.digest);
    await using download = new Download(path, this.#staging.root, blob, this.#pool, onBytes);
    return await download.complete(origin);
  }

  /** In the folder that lasts, unless another process has the file. */
  #pathFor(digest: Digest): string {
    const kept = this.#kept.get(digest);
    if (kept !== undefined) return kept.path;
    const folder = this.#folder;
    if (folder === undefined) return this.#staging.path();
    if (!this.#made) {
      makeFolder(this.#staging.root);
      makeOwn(folder);
      expectPlain(this.#staging.root, `${folder}/`);
      if (isOwn(folder)) sweep(folder, this.#staging.root);
      this.#made = true;
    }
    if (!isOwn(folder)) return this.#staging.path();
    const path = pathOf(folder, digest);
    const unlock = lockIn(folder, path, this.#staging.root);
    if (unlock === undefined) return this.#staging.path();
    this.#kept.set(digest, { path, unlock });
    return path;
  }

  /** These blobs are where they belong: their downloads, of this run or of one that was killed, are not needed any more. */
  release(digests: Iterable<Digest>): void {
    for (const digest of digests) {
      const kept = this.#kept.get(digest) ?? this.#ofEarlier(digest);
      if (kept === undefined) continue;
      removeBelow(this.#staging.root, kept.path);
      kept.unlock();
      this.#kept.delete(digest);
    }
  }

  #ofEarlier(digest: Digest): Kept | undefined {
    if (this.#folder === undefined || !isOwn(this.#folder)) return undefined;
    this.#earlier ??= new Set(namesIn(this.#folder).map((name) => name.replace(/\.lock$/, '')));
    const path = pathOf(this.#folder, digest);
    const unlock = this.#earlier.has(basename(path)) ? tryLock(lockOf(path), this.#staging.root) : undefined;
    return unlock && { path, unlock };
  }

  /** All that was fetched is where it belongs. */
  releaseAll(): void {
    this.release([...this.#kept.keys()]);
  }

  [Symbol.dispose](): void {
    for (const { unlock } of this.#kept.values()) unlock();
    if (this.#folder === undefined || !isOwn(this.#folder)) return;
    try {
      // Also what a killed run left.
      sweep(this.#folder, this.#staging.root);
      using descent = new Descent(this.#staging.root);
      descent.rmdir(PARTIAL_FOLDER);
    } catch (error) {
      if (!isErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS'))
        throw error;
    }
  }
}

/** The rights of group and others to write. */
const WRITABLE = 0o022;
/** Set-user-ID and the like; a folder inherits set-group-ID. */
const SPECIAL = 0o7000;

function isOurs({ uid, mode }: Stats): boolean {
  return uid === process.geteuid?.() && (mode & WRITABLE) === 0;
}

/** Unless something is there. */
function makeOwn(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o755 });
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  }
}

/**
 * True for a folder that nobody else can put files into. Of another user's nothing is taken and nothing is deleted: then
 * downloads are made in the run's own folder.
 */
function isOwn(folder: string): boolean {
  const stat = lstatSync(folder, { throwIfNoEntry: false });
  return stat?.isDirectory() === true && isOurs(stat);
}

function pathOf(folder: string, digest: Digest): string {
  return join(folder, `${algorithmOf(digest)}-${hexOf(digest)}`);
}

/** None when the folder is not there. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return [];
    throw error;
  }
}

/** Another run may have removed the folder, which was empty, as it ended. */
function lockIn(folder: string, path: string, root: string): (() => void) | undefined {
  try {
    return tryLock(lockOf(path), root);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    makeFolder(folder);
    return tryLock(lockOf(path), root);
  }
}

function lockOf(path: string): string {
  return `${path}.lock`;
}

/** Removes downloads that nobody came back for, locks whose download is gone, and what dead processes left of taking one. */
function sweep(folder: string, root: string): void {
  for (const name of namesIn(folder)) {
    const path = join(folder, name);
    const [, owner] = /\.lock-(.+)$/.exec(name) ?? [];
    if (owner !== undefined && isOwnerName(owner) && isDeadOwner(owner, path)) removeBelow(root, path);
    const ofDownload = name.endsWith('.lock') ? path.slice(0, -'.lock'.length) : path;
    const stat = lstatSync(ofDownload, { throwIfNoEntry: false });
    if (stat !== undefined && Date.now() - stat.mtimeMs < PARTIAL_AGE_MS) continue;
    if (!isDigest(name.replace(/\.lock$/, '').replace('-', ':')) || isLocked(lockOf(ofDownload))) continue;
    removeBelow(root, path);
  }
}

const ANEW = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
const AGAIN = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * What an earlier run left under this name, if it was one of this user: a regular file of no other name that nobody else
 * may write to. What is anything else is deleted, and what it may be a link to stays as it is. Undefined: nothing is there.
 */
function openEarlier(path: string, root: string): number | undefined {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
  let fd: number | undefined;
  try {
    fd = openSync(path, AGAIN);
    const stat = fstatSync(fd);
    if (stat.isFile() && stat.nlink === 1 && isOurs(stat) && (stat.mode & SPECIAL) === 0) return fd;
  } catch (error) {
    if (!isErrno(error, 'ELOOP', 'ENXIO', 'EISDIR', 'EACCES', 'EPERM')) throw asImgconvError(error, path);
  }
  if (fd !== undefined) closeSync(fd);
  removeBelow(root, path);
  return undefined;
}

/** One file that grows to a blob; what is in it already is hashed, not trusted. */
class Download {
  readonly #path: string;
  readonly #root: string;
  readonly #blob: Expected;
  readonly #pool: Pool;
  readonly #onBytes: ((count: number) => void) | undefined;
  readonly #fd: number;
  #hasher: Hasher;
  #done = 0;

  /** `root`: of the place that it lies in. */
  constructor(
    path: string,
    root: string,
    blob: Expected,
    pool: Pool,
    onBytes: ((count: number) => void) | undefined,
  ) {
    this.#path = path;
    this.#root = root;
    this.#blob = blob;
    this.#pool = pool;
    this.#onBytes = onBytes;
    this.#hasher = createHasher(algorithmOf(blob.digest));
    this.#fd = openEarlier(path, root) ?? openSync(path, ANEW, 0o644);
  }

  /** Fetches what is lacking. Bytes that turn out wrong are thrown away, and all is fetched anew once. */
  async complete(origin: Origin): Promise<FileBytes> {
    const { size } = this.#blob;
    await this.#takeUp();
    for (let anew = false; ; anew = true) {
      const wasThere = this.#done;
      await this.#fetchRest(origin);
      try {
        expectDigest(this.#blob, { digest: this.#hasher.digest(), size: this.#done }, origin.where);
        break;
      } catch (error) {
        this.#restart();
        if (anew && wasThere === 0) {
          removeBelow(this.#root, this.#path);
          throw error;
        }
      }
    }
    const id = fileIdOf(fstatSync(this.#fd, { bigint: true }));
    const staged = { digest: this.#blob.digest, id };
    return { kind: 'file', path: this.#path, offset: 0, size, whole: true, staged };
  }

  #restart(): void {
    ftruncateSync(this.#fd);
    this.#hasher = createHasher(algorithmOf(this.#blob.digest));
    this.#done = 0;
  }

  /** Hashes what an earlier run left. */
  async #takeUp(): Promise<void> {
    const there = fstatSync(this.#fd).size;
    if (there > this.#blob.size) {
      this.#restart();
      return;
    }
    const buffer = new Uint8Array(Math.min(there, BUFFER_SIZE));
    while (this.#done < there) {
      const chunk = buffer.subarray(0, Math.min(buffer.length, there - this.#done));
      const count = readFully(this.#fd, chunk, this.#done, this.#path);
      if (count < chunk.length)
        throw new ImgconvError('SOURCE_CHANGED', `${this.#path}: shrank while it was read`);
      this.#add(chunk);
      await new Promise(setImmediate);
    }
  }

  #add(chunk: Uint8Array): void {
    this.#pool.expectRunning();
    this.#hasher.update(chunk);
    this.#done += chunk.length;
    this.#onBytes?.(chunk.length);
  }

  async #fetchRest(origin: Origin): Promise<void> {
    const patience = new Patience(origin.retry);
    let restored = this.#done;
    while (this.#done < this.#blob.size) {
      try {
        await this.#append(origin);
      } catch (failure) {
        if (this.#done - restored >= PROGRESS) patience.restore();
        restored = this.#done;
        await patience.afterFailure(failure);
      }
    }
  }

  /** Goes on where the file ends. */
  async #append({ where, open }: Origin): Promise<void> {
    const { size, digest } = this.#blob;
    const { offset, chunks } = await open(this.#done);
    if (offset > this.#done)
      throw new ImgconvError(
        'REGISTRY',
        `${where}: asked for bytes from ${this.#done}, got those from ${offset}`,
      );
    let skip = this.#done - offset;
    for await (const all of chunks) {
      const chunk = all.subarray(Math.min(skip, all.length));
      skip -= all.length - chunk.length;
      if (this.#done + chunk.length > size) {
        this.#restart();
        throw new ImgconvError(
          'DIGEST_MISMATCH',
          `${where}: ${digest} has ${size} bytes, and more than that came`,
        );
      }
      writeFully(this.#fd, chunk, this.#done, this.#path);
      this.#add(chunk);
    }
    if (this.#done < size)
      throw new Transient(
        new ImgconvError('NETWORK', `${where}: ended after ${this.#done} of ${size} bytes`),
      );
  }

  [Symbol.asyncDispose](): Promise<void> {
    closeSync(this.#fd);
    return Promise.resolve();
  }
}

/** Where nothing is to be written: configs are fetched into memory, for looking at a place. */
export class MemoryDownloads implements Downloads {
  readonly #fetched = new Map<Digest, Promise<MemoryBytes>>();

  fetch(blob: Expected, origin: Origin): Promise<MemoryBytes> {
    const known = this.#fetched.get(blob.digest) ?? this.#fetch(blob, origin);
    this.#fetched.set(blob.digest, known);
    return known;
  }

  async #fetch({ digest, size }: Expected, { where, retry, open }: Origin): Promise<MemoryBytes> {
    if (size > MAX_CONFIG)
      throw new ImgconvError(
        'MANIFEST_INVALID',
        `${where}: ${size} bytes, more than ${MAX_CONFIG} are not read`,
      );
    const patience = new Patience(retry);
    for (;;) {
      try {
        const parts: Uint8Array[] = [];
        let done = 0;
        for await (const chunk of (await open(0)).chunks) {
          done += chunk.length;
          if (done > size)
            throw new ImgconvError('DIGEST_MISMATCH', `${where}: ${digest} has ${size} bytes, and more came`);
          parts.push(chunk);
        }
        // VerifiedBlob proves what is in memory when it reads it.
        return { kind: 'memory', path: where, size: done, bytes: Buffer.concat(parts) };
      } catch (failure) {
        await patience.afterFailure(failure);
      }
    }
  }
}
