import type { Stats } from 'node:fs';
import { join } from 'node:path';
import type { Descent } from '../bytes/below.js';
import { entriesIn } from '../bytes/folder.js';
import { lookAt, type LocalBytes } from '../bytes/region.js';
import type { Digest } from '../model/digest.js';

/** What a place lists: all at once, or as it is read. */
export type Listing<T> = Iterable<T> | AsyncIterable<T>;

/** A file of a place whose blobs are shared by its images. */
export interface StoredFile {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** When it was last written, or linked or renamed, in whole milliseconds: a hard link keeps the time of its content. */
  readonly changed: number;
  /** Names that the file has; while another is left, deleting one frees nothing. */
  readonly links: number;
}

export interface StoredBlob extends StoredFile {
  readonly digest: Digest;
}

/** What says that a repository has a manifest or a layer, and can be taken back. */
export interface Link {
  readonly kind: 'revision' | 'layer' | 'tag index';
  readonly digest: Digest;
  readonly path: string;
  readonly changed: number;
}

/** Manifests that refer to each other by digest: a repository of a registry, or all of a layout. */
export interface Repository {
  readonly name: string;
  tags(): Listing<{ readonly tag: string; readonly digest: Digest; readonly path: string }>;
  /** Revisions are manifests that can be asked for without a tag. */
  links(): Listing<Link>;
}

/** A place whose blobs are shared by its images, so that some may belong to none. */
export interface Heap {
  /** Where its writers have their staging folders. */
  readonly root: string;
  /** @throws ImgconvError for a link that cannot be read: what it names is unknown then */
  repositories(): Listing<Repository>;
  locate(digest: Digest): LocalBytes | undefined | Promise<LocalBytes | undefined>;
  /** Everything where blobs lie that is called like one, in a fixed order. */
  blobs(): Listing<StoredBlob>;
  /** Folders of pushes that were not finished. */
  uploads(): Listing<StoredFile>;
  /** Takes links back; they are flushed to the disk when this settles. `descent` is into the root. */
  unlink(repository: Repository, links: readonly Link[], descent: Descent): Promise<void>;
  deleteBlob(blob: StoredBlob, descent: Descent): void;
}

/** Of a path below `root`; undefined when nothing, or nothing that is a file, is there. @throws ImgconvError IO for a link on the way */
export function storedFile(path: string, root: string): StoredFile | undefined {
  return storedFileOf(path, lookAt(path, root));
}

function storedFileOf(path: string, stat: Stats | undefined): StoredFile | undefined {
  if (stat?.isFile() !== true) return undefined;
  const changed = Math.floor(Math.max(stat.mtimeMs, stat.ctimeMs));
  return { path, size: stat.size, changed, links: stat.nlink };
}

/** A file, or all files of a folder of `root` and of those in it; symbolic links are not followed. */
export function* filesBelow(path: string, root: string): Generator<StoredFile> {
  for (const { file } of allBelow(path, root)) if (file !== undefined) yield file;
}

/** `file` is undefined for links, FIFOs, devices and sockets. */
interface Entry {
  readonly path: string;
  readonly isLink: boolean;
  readonly file: StoredFile | undefined;
}

/** All that is no folder, at a path or below it. */
export function* allBelow(path: string, root: string): Generator<Entry> {
  const stat = path === root ? undefined : lookAt(path, root);
  if (path === root || stat?.isDirectory() === true) yield* allIn(path, root);
  else if (stat !== undefined) yield { path, isLink: stat.isSymbolicLink(), file: storedFileOf(path, stat) };
}

function* allIn(folder: string, root: string): Generator<Entry> {
  // It is a folder and no link, as who listed it saw.
  for (const entry of entriesIn(folder, folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* allIn(path, root);
    else
      yield {
        path,
        isLink: entry.isSymbolicLink(),
        file: entry.isFile() ? storedFile(path, root) : undefined,
      };
  }
}
