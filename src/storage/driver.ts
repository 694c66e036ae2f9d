import type { Content } from '../bytes/content.js';
import type { LocalBytes } from '../bytes/region.js';
import type { TreeFile, TreeJob, TreePart, TreeWants } from '../bytes/tree.js';
import { ImgconvError } from '../model/errors.js';
import type { LinkMode, Placement } from '../proof/linking.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import type { Staging } from './staging.js';

/*
 * Where the files of a registry storage, an OCI layout or a tree of skopeo directories are kept. Files have keys: names
 * joined by `/`, none of them empty, `.` or `..`; the root's key is ''. The formats decide which keys there are, and a
 * driver decides what a key is: a path below a folder (local.ts), an object that is kept whole (objects.ts).
 */

export type Kind = 'file' | 'folder' | 'link' | 'other';

export interface Entry {
  readonly name: string;
  /** A link is never followed; `other` is a FIFO, a device or a socket. */
  readonly kind: Kind;
}

export interface Stat {
  readonly kind: Kind;
  /** In bytes. */
  readonly size: number;
  /** When it was last written, or linked or renamed, in whole milliseconds: a hard link keeps the time of its content. */
  readonly changed: number;
  /** Names that the file has: while another one is left, deleting one frees no space. */
  readonly links: number;
}

/** The order in which files become visible: an index after its members, a tag after what it names. */
export const STEPS = ['content', 'index', 'tag'] as const;
export type Step = (typeof STEPS)[number];

/** The files of a folder, by name: blobs, and documents that are made here. */
export interface FolderContents {
  readonly blobs: ReadonlyMap<string, VerifiedBlob>;
  readonly documents: ReadonlyMap<string, Uint8Array>;
}

/**
 * Files that become visible together: contents first, then indexes, then tags. If the process is killed, what is visible is
 * whole and no tag lacks its content. After a commit the transaction can be filled and committed again.
 */
export interface StorageTransaction {
  /** Scratch space on this machine, in the storage's own file system if it has one. */
  readonly staging: Staging;
  /**
   * To be called before a file that is there is relied on: until `close`, no garbage is collected. Waits while it is.
   * @throws ImgconvError IO when that takes too long, INTERRUPTED
   */
  claim(signal?: AbortSignal): Promise<void>;
  /** The pieces of a content are read before this returns. */
  put(key: string, content: Uint8Array | string | Content, step?: Step): void;
  /** Puts a proved blob beside its place, to be kept or left out. @throws as `VerifiedBlob.place` */
  stage(key: string, blob: VerifiedBlob, link: LinkMode): Promise<Placement>;
  /** Makes a staged blob part of the next commit: one that only failed images need never becomes visible. */
  keep(key: string): void;
  /** Replaces a folder and all that is in it. `onPut` is called once a transaction for each blob. */
  replaceFolder(
    key: string,
    contents: FolderContents,
    link: LinkMode,
    onPut: (blob: VerifiedBlob, how: Placement) => void,
  ): Promise<void>;
  commit(): Promise<void>;
  /** Clears away what was not committed. */
  close(): void;
}

/** Deletes while no writer relies on what is there. */
export interface Deletion {
  /** False when it was gone already. `withFolder`: also the folder that it lies in, if that is empty then. */
  file(key: string, withFolder?: boolean): Promise<boolean>;
  /** With all that is in it. */
  folder(key: string): Promise<void>;
  /** What was deleted so far stays deleted after a power failure. */
  flush(): Promise<void>;
}

/** Folders whose files are wanted, by their keys. */
export type FolderJob = Pick<TreeJob, 'folders' | 'most' | 'wants'>;

export interface Storage {
  /** What messages call the root. */
  readonly name: string;
  /** True when a blob that is a file of this machine can become a hard link or a clone. */
  readonly links: boolean;
  /** What messages call a file. */
  nameOf(key: string): string;
  /** The same storage with another root, that lies below this one. */
  below(key: string): Storage;
  /** Undefined where nothing is. @throws ImgconvError IO for a link on the way */
  stat(key: string): Promise<Stat | undefined>;
  /**
   * `changed` of many files, 0 for what is not there or cannot be looked at. Links on the way may be followed: whoever relies on a file looks at
   * it by itself.
   */
  times(keys: readonly string[]): Promise<readonly number[]>;
  /** What a folder holds, sorted by name; nothing where there is none. @throws ImgconvError IO for a link in its place or on the way */
  list(key: string): Promise<readonly Entry[]>;
  /** Files below folders of this machine, found by a thread; absent where the files are elsewhere. */
  tree?(job: FolderJob, pool: Pool): Promise<TreePart>;
  /** Where the bytes of a whole file are; undefined where nothing is. @throws ImgconvError IO for what is no file */
  bytes(key: string): Promise<LocalBytes | undefined>;
  /** The first `limit` bytes of a small document; undefined where nothing is. @throws ImgconvError IO */
  read(key: string, limit: number): Promise<Uint8Array | undefined>;
  /** @throws ImgconvError USAGE where nothing can be written */
  begin(pool?: Pool): StorageTransaction;
  /** Runs `work` while no other process, and nothing else in this one, does so under this key. @throws ImgconvError IO */
  exclusively<T>(key: string, work: () => Promise<T>): Promise<T>;
  /** Gives a file another key that is free. @throws ImgconvError IO for a link on the way */
  rename(from: string, to: string): Promise<void>;
  /**
   * Waits for writers to end, and keeps new ones waiting while `work` deletes.
   * @throws ImgconvError IO when a writer does not end within `patience` milliseconds
   */
  withoutWriters<T>(patience: number, work: (deletion: Deletion) => Promise<T>): Promise<T>;
  /** Keys of unfinished work that interrupted processes left behind. */
  leftovers(): Promise<readonly string[]>;
  /** Deletes those. */
  sweep(): Promise<void>;
}

export interface StoredFile extends Stat {
  readonly key: string;
  /** What messages call it. */
  readonly path: string;
}

/** A regular file; undefined for anything else. @throws ImgconvError IO for a link on the way */
export async function storedFile(storage: Storage, key: string): Promise<StoredFile | undefined> {
  const stat = await storage.stat(key);
  return stat?.kind === 'file' ? { ...stat, key, path: storage.nameOf(key) } : undefined;
}

export async function foldersIn(storage: Storage, key: string): Promise<string[]> {
  const folders: string[] = [];
  for (const { name, kind } of await storage.list(key)) {
    // Listing it tells that it is a link.
    if (kind === 'link') await storage.list(join(key, name));
    if (kind === 'folder') folders.push(name);
  }
  return folders;
}

/** Folders that are read at once: at first few, for which no thread need be started. */
const FIRST = 32;
const AT_ONCE = 512;

/**
 * As `allBelow`, by a thread of the pool if the files are this machine's: it reads on while those that it found are
 * looked at. Files of one folder come before those of folders in it.
 * @throws ImgconvError at the end, for a folder that cannot be read
 */
export async function* allBelowByThread(
  storage: Storage,
  key: string,
  pool: Pool,
  wants: TreeWants,
): AsyncGenerator<TreeFile> {
  const left = [key];
  const ask = (most: number) => {
    const asked = storage.tree?.({ folders: left.splice(-most), most, wants }, pool);
    // Nobody waits for it when what comes before it fails.
    asked?.catch(() => undefined);
    return asked;
  };
  let failure: TreePart['failure'];
  let next = ask(FIRST);
  if (next === undefined) yield* allBelow(storage, key);
  while (next !== undefined) {
    const { files, folders, failure: failed } = await next;
    failure ??= failed;
    for (const folder of folders) left.push(folder);
    next = left.length === 0 ? undefined : ask(AT_ONCE);
    yield* files;
  }
  if (failure !== undefined) throw new ImgconvError(failure.code, failure.message);
}

/** All that is no folder, at a key or below it. */
export async function* allBelow(
  storage: Storage,
  key: string,
): AsyncGenerator<Pick<TreeFile, 'key' | 'kind'>> {
  const kind = key === '' ? 'folder' : (await storage.stat(key))?.kind;
  if (kind === undefined) return;
  if (kind !== 'folder') yield { key, kind };
  else yield* allIn(storage, key);
}

async function* allIn(storage: Storage, folder: string): AsyncGenerator<Pick<TreeFile, 'key' | 'kind'>> {
  for (const { name, kind } of await storage.list(folder)) {
    const key = join(folder, name);
    if (kind === 'folder') yield* allIn(storage, key);
    else yield { key, kind };
  }
}

/** The regular files at a key or below it. */
export async function* filesBelow(storage: Storage, key: string): AsyncGenerator<StoredFile> {
  for await (const one of allBelow(storage, key)) {
    const file = one.kind === 'file' ? await storedFile(storage, one.key) : undefined;
    if (file !== undefined) yield file;
  }
}

export function join(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`;
}

export function folderOf(key: string): string {
  return key.slice(0, Math.max(0, key.lastIndexOf('/')));
}

/** The key of what messages call `name`; '' for the root. */
export function keyOf(storage: Storage, name: string): string {
  const prefix = storage.nameOf('_').slice(0, -1);
  return name.startsWith(prefix) && name !== storage.name ? name.slice(prefix.length) : '';
}
