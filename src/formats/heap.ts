import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { namesIn } from '../io/folder.js';
import type { LocalBytes } from '../io/region.js';
import type { Digest } from '../model/digest.js';

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

/** Manifests that speak of one another by digest: a repository of a registry, or all of a layout. */
export interface Repository {
  readonly name: string;
  tags(): Iterable<{ readonly tag: string; readonly digest: Digest; readonly path: string }>;
  /** Revisions are manifests that can be asked for without a tag. */
  links(): Iterable<Link>;
}

/** A place whose blobs are shared by its images, so that some may belong to none. */
export interface Heap {
  /** Where its writers have their staging folders. */
  readonly root: string;
  /** @throws ImgconvError for a link that cannot be read: what it names is unknown then */
  repositories(): Iterable<Repository>;
  locate(digest: Digest): LocalBytes | undefined;
  /** Everything where blobs lie that is called like one, in a fixed order. */
  blobs(): Iterable<StoredBlob>;
  /** Folders of pushes that were not finished. */
  uploads(): Iterable<StoredFile>;
  /** Takes links back; they are flushed to the disk when this settles. */
  unlink(repository: Repository, links: readonly Link[]): Promise<void>;
  deleteBlob(blob: StoredBlob): void;
}

/** Undefined when nothing, or nothing that is a file, is there. */
export function storedFile(path: string): StoredFile | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat?.isFile() !== true) return undefined;
  const changed = Math.floor(Math.max(stat.mtimeMs, stat.ctimeMs));
  return { path, size: stat.size, changed, links: stat.nlink };
}

/** A file, or all files of a folder and of those in it; symbolic links are not followed. */
export function* filesBelow(path: string): Generator<StoredFile> {
  const file = storedFile(path);
  if (file !== undefined) yield file;
  else if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
    for (const name of namesIn(path)) yield* filesBelow(join(path, name));
}
