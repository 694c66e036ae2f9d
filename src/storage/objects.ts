import type { Content } from '../bytes/content.js';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LocalBytes } from '../bytes/region.js';
import { ImgconvError } from '../model/errors.js';
import type { Placement } from '../proof/linking.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import {
  STEPS,
  type Deletion,
  type Entry,
  type FolderContents,
  type Stat,
  type Step,
  type Storage,
  type StorageTransaction,
} from './driver.js';
import { Staging } from './staging.js';

/** What a driver without folders, links and locks has to do: it keeps whole objects by key. */
export interface Objects {
  /** All whose key begins with this. */
  list(prefix: string): Promise<readonly { readonly key: string; readonly size: number }[]>;
  /** `changed` in milliseconds. */
  stat(key: string): Promise<{ readonly size: number; readonly changed: number } | undefined>;
  read(key: string): Promise<Uint8Array | undefined>;
  put(key: string, bytes: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
}

/** Objects in this process's memory. */
export class MemoryObjects implements Objects {
  readonly #all = new Map<string, { readonly bytes: Uint8Array; readonly changed: number }>();

  list(prefix: string) {
    const found = [...this.#all].filter(([key]) => key.startsWith(prefix));
    return Promise.resolve(found.map(([key, { bytes }]) => ({ key, size: bytes.length })));
  }

  stat(key: string) {
    const found = this.#all.get(key);
    return Promise.resolve(found && { size: found.bytes.length, changed: found.changed });
  }

  read(key: string) {
    return Promise.resolve(this.#all.get(key)?.bytes);
  }

  put(key: string, bytes: Uint8Array, changed = Date.now()) {
    this.#all.set(key, { bytes, changed });
    return Promise.resolve();
  }

  delete(key: string) {
    this.#all.delete(key);
    return Promise.resolve();
  }
}

/** Claims and locks of all views of one storage. Other processes do not see them. */
class Coordination {
  /** Transactions that rely on what is there. */
  readonly claims = new Set<StorageTransaction>();
  readonly locks = new Map<string, Promise<unknown>>();
}

/** A storage of whole objects: nothing in it is a link, and a folder is there while an object is in it. */
export class ObjectStorage implements Storage {
  readonly name: string;
  readonly links = false;
  readonly #objects: Objects;
  readonly #prefix: string;
  readonly #shared: Coordination;

  constructor(objects: Objects, name: string, prefix = '', shared = new Coordination()) {
    this.name = name;
    this.#objects = objects;
    this.#prefix = prefix;
    this.#shared = shared;
  }

  nameOf(key: string): string {
    return key === '' ? this.name : `${this.name}/${key}`;
  }

  below(key: string): Storage {
    if (key === '') return this;
    return new ObjectStorage(this.#objects, this.nameOf(key), `${this.#prefix}${key}/`, this.#shared);
  }

  #folder(key: string): string {
    return this.#prefix + (key === '' ? '' : `${key}/`);
  }

  async stat(key: string): Promise<Stat | undefined> {
    const found = await this.#objects.stat(this.#prefix + key);
    if (found !== undefined) return { kind: 'file', ...found, links: 1 };
    const below = await this.#objects.list(this.#folder(key));
    return below.length > 0 ? { kind: 'folder', size: 0, changed: 0, links: 1 } : undefined;
  }

  times(keys: readonly string[]): Promise<readonly number[]> {
    return Promise.all(keys.map(async (key) => (await this.stat(key))?.changed ?? 0));
  }

  async list(folder: string): Promise<readonly Entry[]> {
    const prefix = this.#folder(folder);
    const entries = new Map<string, Entry>();
    for (const { key } of await this.#objects.list(prefix)) {
      const [name = '', ...rest] = key.slice(prefix.length).split('/');
      entries.set(name, { name, kind: rest.length > 0 ? 'folder' : 'file' });
    }
    if (entries.size === 0 && (await this.#objects.stat(this.#prefix + folder)) !== undefined)
      throw new ImgconvError('IO', `${this.nameOf(folder)}: not a folder`);
    return [...entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async bytes(key: string): Promise<LocalBytes | undefined> {
    const bytes = await this.#objects.read(this.#prefix + key);
    if (bytes !== undefined) return { kind: 'memory', path: this.nameOf(key), size: bytes.length, bytes };
    if ((await this.stat(key)) === undefined) return undefined;
    throw new ImgconvError('IO', `${this.nameOf(key)}: not a regular file`);
  }

  async read(key: string, limit: number): Promise<Uint8Array | undefined> {
    return (await this.#objects.read(this.#prefix + key))?.subarray(0, limit);
  }

  begin(): StorageTransaction {
    return new ObjectTransaction(this.#objects, this.#prefix, this.#shared);
  }

  exclusively<T>(key: string, work: () => Promise<T>): Promise<T> {
    const lock = this.#prefix + key;
    const before = this.#shared.locks.get(lock) ?? Promise.resolve(undefined);
    const done = before.then(work);
    this.#shared.locks.set(
      lock,
      done.catch(() => undefined),
    );
    return done;
  }

  async rename(from: string, to: string): Promise<void> {
    const bytes = await this.#objects.read(this.#prefix + from);
    if (bytes === undefined) throw new ImgconvError('NOT_FOUND', `${this.nameOf(from)}: no such file`);
    await this.#objects.put(this.#prefix + to, bytes);
    await this.#objects.delete(this.#prefix + from);
  }

  withoutWriters<T>(patience: number, work: (deletion: Deletion) => Promise<T>): Promise<T> {
    return this.exclusively('', async () => {
      const since = Date.now();
      while (this.#shared.claims.size > 0) {
        if (Date.now() - since >= patience)
          throw new ImgconvError('IO', `${this.name}: another writer is at work there`);
        await sleep(5);
      }
      return work({
        file: async (key) => {
          const isThere = (await this.#objects.stat(this.#prefix + key)) !== undefined;
          await this.#objects.delete(this.#prefix + key);
          return isThere;
        },
        folder: async (folder) => {
          for (const { key } of await this.#objects.list(this.#folder(folder)))
            await this.#objects.delete(key);
        },
        flush: () => Promise.resolve(),
      });
    });
  }

  leftovers(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  sweep(): Promise<void> {
    return Promise.resolve();
  }
}

class ObjectTransaction implements StorageTransaction {
  readonly staging = new Staging(tmpdir());
  readonly #objects: Objects;
  readonly #prefix: string;
  readonly #shared: Coordination;
  readonly #staged = new Map<string, Uint8Array>();
  readonly #steps: Record<Step, Map<string, Uint8Array>> = {
    content: new Map(),
    index: new Map(),
    tag: new Map(),
  };
  readonly #replaced = new Set<string>();
  readonly #told = new Set<string>();
  #isClosed = false;

  constructor(objects: Objects, prefix: string, shared: Coordination) {
    this.#objects = objects;
    this.#prefix = prefix;
    this.#shared = shared;
  }

  async claim(): Promise<void> {
    await this.#shared.locks.get(this.#prefix);
    if (!this.#isClosed) this.#shared.claims.add(this);
  }

  put(key: string, content: Uint8Array | string | Content, step: Step = 'content'): void {
    const isWhole = typeof content === 'string' || content instanceof Uint8Array;
    const bytes = isWhole
      ? Buffer.from(content)
      : Buffer.concat(Array.from(content.pieces, (piece) => Buffer.from(piece)));
    this.#steps[step].set(this.#prefix + key, bytes);
  }

  async stage(key: string, blob: VerifiedBlob): Promise<Placement> {
    this.#staged.set(key, await bytesOf(blob));
    return blob.putAs;
  }

  keep(key: string): void {
    const bytes = this.#staged.get(key);
    if (bytes !== undefined) this.put(key, bytes);
    this.#staged.delete(key);
  }

  async replaceFolder(
    folder: string,
    { blobs, documents }: FolderContents,
    _: unknown,
    onPut: (blob: VerifiedBlob, how: Placement) => void,
  ): Promise<void> {
    const files = new Map(documents);
    for (const [name, blob] of blobs) {
      files.set(name, await bytesOf(blob));
      if (!this.#told.has(blob.digest)) onPut(blob, blob.putAs);
      this.#told.add(blob.digest);
    }
    this.#replaced.add(`${this.#prefix}${folder}/`);
    for (const [name, bytes] of files) this.put(`${folder}/${name}`, bytes);
  }

  async commit(): Promise<void> {
    const kept = new Set(this.#steps.content.keys());
    for (const step of STEPS) {
      for (const [key, bytes] of this.#steps[step]) await this.#objects.put(key, bytes);
      this.#steps[step].clear();
    }
    for (const folder of this.#replaced)
      for (const { key } of await this.#objects.list(folder))
        if (!kept.has(key)) await this.#objects.delete(key);
    this.#replaced.clear();
  }

  close(): void {
    this.#isClosed = true;
    this.#shared.claims.delete(this);
    this.staging[Symbol.dispose]();
  }
}

async function bytesOf(blob: VerifiedBlob): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of blob.chunks()) parts.push(Buffer.from(chunk));
  return Buffer.concat(parts);
}
