import { closeSync, constants, fstatSync, ftruncateSync, lstatSync, openSync } from 'node:fs';
import { removeBelow } from '../bytes/below.js';
import { BUFFER_SIZE } from '../bytes/buffers.js';
import { fileIdOf } from '../bytes/file-id.js';
import { createHasher, expectDigest, type Expected, type Hasher } from '../bytes/hash.js';
import { writeFully } from '../bytes/output.js';
import { readFully } from '../bytes/open-file.js';
import type { FileBytes } from '../bytes/region.js';
import { WriteBack } from '../bytes/write-back.js';
import { Attempts, Transient, type RetryPolicy } from '../bytes/retry.js';
import { algorithmOf } from '../model/digest.js';
import { asImgconvError, ImgconvError, isErrno } from '../model/errors.js';
import type { Pool } from '../threads/pool.js';
import { isOurs } from './partial-downloads.js';

/** Bytes that arrive. */
interface Arriving {
  readonly offset: number;
  /** Gives all of them to `take`, in order; the memory of a chunk is used again after the call. */
  readonly pour: (take: (chunk: Uint8Array) => void) => Promise<void>;
}

/** Where a blob can be fetched from. */
export interface Origin {
  /** For messages. */
  readonly where: string;
  readonly retry: RetryPolicy;
  /** The bytes from `offset` on, or from an earlier one if the other side can only begin there. */
  readonly open: (offset: number) => Promise<Arriving>;
}

/** Set-user-ID and the like; a folder inherits set-group-ID. */
const SPECIAL = 0o7000;
/** A server that cuts every connection after fewer bytes is not retried for ever. */
const PROGRESS = 1024 * 1024;

const ANEW = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
const AGAIN = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * The file that an earlier run of this user left at this path: a regular file without further hard links that nobody else
 * may write to. Anything else is deleted; what a link leads to stays as it is. Undefined when there is none.
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

/** A file that grows to a blob; what it holds already is hashed, not trusted. */
export class Download {
  readonly #path: string;
  readonly #root: string;
  readonly #blob: Expected;
  readonly #pool: Pool;
  readonly #onBytes: ((count: number) => void) | undefined;
  readonly #fd: number;
  /** The disk writes what came while more comes. */
  readonly #back: WriteBack;
  #hasher: Hasher;
  #done = 0;

  /** `root`: of the destination; `path` is below it. */
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
    this.#back = new WriteBack(this.#fd, path);
  }

  /** Fetches what is missing. If the digest is wrong, all is fetched once more. */
  async complete(origin: Origin): Promise<FileBytes> {
    const { size } = this.#blob;
    await this.#hashEarlier();
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
    await this.#back.end();
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
  async #hashEarlier(): Promise<void> {
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
    const attempts = new Attempts(origin.retry);
    let restored = this.#done;
    while (this.#done < this.#blob.size) {
      try {
        await this.#append(origin);
      } catch (failure) {
        if (this.#done - restored >= PROGRESS) attempts.reset();
        restored = this.#done;
        await attempts.afterFailure(failure);
      }
    }
  }

  /** Resumes at the end of the file. */
  async #append({ where, open }: Origin): Promise<void> {
    const { size, digest } = this.#blob;
    const { offset, pour } = await open(this.#done);
    if (offset > this.#done)
      throw new ImgconvError(
        'REGISTRY',
        `${where}: asked for bytes from ${this.#done}, got those from ${offset}`,
      );
    let skip = this.#done - offset;
    await pour((all) => {
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
      this.#back.wrote(chunk.length);
      this.#add(chunk);
    });
    if (this.#done < size)
      throw new Transient(
        new ImgconvError('NETWORK', `${where}: ended after ${this.#done} of ${size} bytes`),
      );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#back.rest();
    closeSync(this.#fd);
  }
}
