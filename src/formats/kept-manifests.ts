import type { Digest } from '../model/digest.js';
import type { Reference } from '../model/reference.js';
import type { Storage } from '../storage/driver.js';
import type { SourceImage } from './image.js';

/** The key of a folder that stands for what `related` gives. */
export const RELATED = 'related';

/** A folder that manifests lie in. */
export interface ManifestFolder {
  readonly key: string;
  /** As `Stat.changed`: while it stays, so do the manifests in the folder. 0 where nothing says that. */
  readonly changed: number;
}

/** A file of such a folder: a manifest, or what else may be there. */
export interface ManifestFile {
  /** Without blanks. Another file has another one, and so has this one with another content. */
  readonly id: string;
  readonly key: string;
  /** Of its content, where its name says so. */
  readonly digest: Digest | undefined;
}

/** Where a place keeps its manifests, so that it can be told which of them came since it was looked at last. */
export interface KeptManifests {
  readonly storage: Storage;
  /** In a fixed order. */
  folders(): AsyncIterable<ManifestFolder>;
  /** All that may be manifests, in a fixed order. */
  filesIn(folder: string): Promise<readonly ManifestFile[]>;
  /** Where a blob lies that the manifest in this file names. */
  blobKey(folder: string, id: string, digest: Digest): string;
  /** Where a member lies of the index in this file; undefined for one that is such a file itself. */
  memberKey(folder: string, id: string, digest: Digest): string | undefined;
  /** The image whose manifest is in this file. */
  image(folder: string, id: string): Promise<SourceImage>;
  /** Of a repository, those of tags first, where that takes less than to list all. Some may come twice. */
  related?(repository: string): AsyncIterable<ManifestFile>;
  /** What the place has under this name now. */
  named(name: Reference): Promise<SourceImage | undefined>;
}
