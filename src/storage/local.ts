import type { Content } from '../bytes/content.js';
import { linkSync, mkdirSync, renameSync, rmSync, statSync, type Stats } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Descent, placeBelow, prefixBelow, removeBelow } from '../bytes/below.js';
import { entriesIn } from '../bytes/folder.js';
import { readFully } from '../bytes/open-file.js';
import type { FileBytes } from '../bytes/region.js';
import { isThere, lookAt, openThere, wholeFile } from '../bytes/there.js';
import type { TreePart } from '../bytes/tree.js';
import { DigestMap } from '../model/digest-map.js';
import { ImgconvError, isErrno } from '../model/errors.js';
import { OncePerDigest } from '../proof/once.js';
import type { LinkMode, Placement } from '../proof/linking.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import { writeNew } from '../bytes/assemble.js';
import type { Pool } from '../threads/pool.js';
import type {
  Deletion,
  Entry,
  FolderContents,
  FolderJob,
  Kind,
  Stat,
  Step,
  Storage,
  StorageTransaction,
} from './driver.js';
import { changedAt, changedOf, expectFolder, there } from './file-system.js';
import { withLock } from './lock.js';
import { claimsOn, deadWork, gatePath, Staging } from './staging.js';
import { syncFileSystem, Transaction } from './transaction.js';

/** A folder of this machine. No symbolic link below it is ever followed; the folder itself may be reached through one. */
export class LocalStorage implements Storage {
  readonly name: string;
  readonly links = true;
  readonly #prefix: string;
  /** The folder that the user gave: this one, or one above it. */
  readonly #given: string;

  constructor(root: string, given = root) {
    this.name = root;
    this.#given = given;
    this.#prefix = prefixBelow(root);
  }

  nameOf(key: string): string {
    return key === '' ? this.name : this.#prefix + key;
  }

  below(key: string): LocalStorage {
    return key === '' ? this : new LocalStorage(join(this.name, key), this.#given);
  }

  stat(key: string): Promise<Stat | undefined> {
    return settled(() => {
      const stat = key === '' ? there(this.name, statSync) : this.#lookAt(key);
      return stat && { kind: kindOf(stat), size: stat.size, changed: changedOf(stat), links: stat.nlink };
    });
  }

  times(keys: readonly string[]): Promise<readonly number[]> {
    return settled(() => keys.map((key) => changedAt(this.nameOf(key))));
  }

  #lookAt(key: string): Stats | undefined {
    try {
      return lookAt(this.nameOf(key), this.name);
    } catch (error) {
      if (isErrno(error, 'ENOTDIR')) return undefined; // Nothing lies below a file.
      throw error;
    }
  }

  list(key: string): Promise<readonly Entry[]> {
    return settled(() =>
      entriesIn(this.nameOf(key), this.name).map((entry) => ({ name: entry.name, kind: kindOf(entry) })),
    );
  }

  tree(job: FolderJob, pool: Pool): Promise<TreePart> {
    return pool.tree({ kind: 'tree', root: this.name, ...job });
  }

  bytes(key: string): Promise<FileBytes | undefined> {
    return settled(() => wholeFile(this.nameOf(key), this.name));
  }

  read(key: string, limit: number): Promise<Uint8Array | undefined> {
    return settled(() => {
      const path = this.nameOf(key);
      const opened = openThere(path, this.name);
      if (opened === undefined) return undefined;
      using file = opened;
      // The size that it was opened with: another process may just have replaced it.
      const content = new Uint8Array(Math.min(limit, Number(file.id.size)));
      return content.subarray(0, readFully(file.fd, content, 0, path));
    });
  }

  begin(pool?: Pool): StorageTransaction {
    expectFolder(this.#given);
    return new LocalTransaction(this, pool);
  }

  exclusively<T>(key: string, work: () => Promise<T>): Promise<T> {
    return withLock(this.nameOf(key), work);
  }

  rename(from: string, to: string): Promise<void> {
    return settled(() => {
      using places = new Descent(this.name);
      using others = new Descent(this.name);
      renameSync(places.path(from), others.path(to, true));
    });
  }

  withoutWriters<T>(patience: number, work: (deletion: Deletion) => Promise<T>): Promise<T> {
    return withLock(gatePath(this.name), async () => {
      await this.#expectNoWriter(patience);
      using descent = new Descent(this.name);
      return await work({
        file: (key, withFolder) => settled(() => deleteFile(descent, key, withFolder)),
        folder: (key) =>
          settled(() => {
            descent.remove(key);
          }),
        flush: async () => {
          await syncFileSystem(this.name);
        },
      });
    });
  }

  /** The gate is closed, so that no imgconv begins to write: those that have begun are waited for. */
  async #expectNoWriter(patience: number): Promise<void> {
    const begun = Date.now();
    for (let claims = claimsOn(this.name); claims.length > 0; claims = claimsOn(this.name)) {
      if (Date.now() - begun >= patience)
        throw new ImgconvError('IO', `${this.name}: another imgconv is writing there: ${claims.join(', ')}`, {
          hint: 'nothing was deleted; try again when it has ended, or delete that folder if no imgconv is at work there',
        });
      await sleep(20);
    }
  }

  leftovers(): Promise<readonly string[]> {
    return settled(() => deadWork(this.name).map((path) => placeBelow(this.name, path)));
  }

  sweep(): Promise<void> {
    return settled(() => {
      new Staging(this.name).sweep();
    });
  }
}

/** For reading. @throws ImgconvError NOT_FOUND where nothing is */
export function existingStorage(path: string): LocalStorage {
  if (isThere(path)) return new LocalStorage(path);
  throw new ImgconvError('NOT_FOUND', `${path}: no such file or folder`, {
    hint: 'check the spelling of the path',
  });
}

class LocalTransaction implements StorageTransaction {
  readonly staging: Staging;
  readonly #storage: Storage;
  readonly #files: Transaction;
  /** Blobs in the staged tree, at the places that they are to have, which are not kept yet. */
  readonly #reserved = new Map<string, string>();
  /** Those that were not kept when the transaction was committed: they lie outside of the tree now. */
  readonly #aside = new Map<string, string>();
  /** A file of each blob in the staging folder, for replaced folders to link to. */
  readonly #anchors = new OncePerDigest<string>();
  /** Of blobs that are committed: their numbers there. */
  readonly #anchored = new DigestMap();

  constructor(storage: Storage, pool: Pool | undefined) {
    this.#storage = storage;
    this.staging = new Staging(storage.name);
    this.#files = new Transaction(this.staging, pool);
  }

  claim(signal?: AbortSignal): Promise<void> {
    return this.staging.claim(signal);
  }

  put(key: string, content: Uint8Array | string | Content, step?: Step): void {
    this.#files.write(this.#storage.nameOf(key), content, step);
  }

  async stage(key: string, blob: VerifiedBlob, link: LinkMode): Promise<Placement> {
    const path = this.#storage.nameOf(key);
    const reserved = this.#files.reserve(path);
    try {
      const how = await blob.place(reserved, link);
      this.#reserved.set(key, reserved);
      return how;
    } catch (error) {
      // Another source may have to lie there.
      rmSync(reserved, { force: true });
      this.#files.drop(path);
      throw error;
    }
  }

  keep(key: string): void {
    const aside = this.#aside.get(key);
    if (aside !== undefined) this.#files.move(aside, this.#storage.nameOf(key));
    else if (this.#reserved.has(key)) this.#files.keep(this.#storage.nameOf(key));
    this.#aside.delete(key);
    this.#reserved.delete(key);
  }

  async replaceFolder(
    key: string,
    { blobs, documents }: FolderContents,
    link: LinkMode,
    onPut: (blob: VerifiedBlob, how: Placement) => void,
  ): Promise<void> {
    const folder = this.staging.path();
    mkdirSync(folder);
    try {
      await Promise.all([...blobs].map(([name, blob]) => this.#into(`${folder}/${name}`, blob, link, onPut)));
    } catch (error) {
      removeBelow(this.#storage.name, folder);
      throw error;
    }
    for (const [name, content] of documents) writeNew(`${folder}/${name}`, content);
    this.#files.moveFolder(folder, this.#storage.nameOf(key));
  }

  async #into(
    path: string,
    blob: VerifiedBlob,
    link: LinkMode,
    onPut: (blob: VerifiedBlob, how: Placement) => void,
  ): Promise<void> {
    const number = this.#anchored.get(blob.digest);
    const make = async () => {
      const anchor = this.staging.path();
      onPut(blob, await blob.place(anchor, link));
      return anchor;
    };
    const anchor = number === undefined ? await this.#anchors.run(blob, make) : this.staging.pathOf(number);
    try {
      linkSync(anchor, path);
    } catch (error) {
      if (!isErrno(error, 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP')) throw error;
      await blob.place(path, 'copy');
    }
  }

  async commit(): Promise<void> {
    for (const [key, path] of this.#reserved) {
      const aside = this.staging.path();
      renameSync(path, aside);
      this.#aside.set(key, aside);
      this.#files.drop(this.#storage.nameOf(key));
    }
    this.#reserved.clear();
    await this.#files.commit();
    await this.#anchors.handOver((digest, anchor) => {
      this.#anchored.set(digest, Number(basename(anchor)));
    });
  }

  close(): void {
    this.staging[Symbol.dispose]();
  }
}

/** What this thread does at once, as a promise, whatever becomes of it. */
function settled<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(work());
  });
}

function kindOf(one: Pick<Stats, 'isFile' | 'isDirectory' | 'isSymbolicLink'>): Kind {
  if (one.isFile()) return 'file';
  if (one.isDirectory()) return 'folder';
  return one.isSymbolicLink() ? 'link' : 'other';
}

function deleteFile(descent: Descent, key: string, withFolder = false): boolean {
  try {
    descent.unlink(key);
    if (withFolder) descent.rmdir(dirname(key));
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOTEMPTY', 'EEXIST')) return true;
    if (!isErrno(error, 'ENOENT')) throw error;
    return false;
  }
}
