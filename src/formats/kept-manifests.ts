import type { Digest } from '../model/digest.js';
import type { Reference } from '../model/reference.js';
import type { Storage } from '../storage/driver.js';
import type { SourceImage } from './image.js';

/** A folder that manifests lie in. */
export interface ManifestFolder {
  readonly key: string;
  /** As `Stat.changed`, of what a new manifest in the folder changes. */
  readonly changed: number;
}

/** A file of such a folder: a manifest, or what else may be there. */
export interface ManifestFile {
  readonly name: string;
  readonly key: string;
  /** Of its content, where its name says so: what has been read under this name need not be read again. */
  readonly digest: Digest | undefined;
}

/** Where a place keeps its manifests, so that it can be told which of them came since it was looked at last. */
export interface KeptManifests {
  readonly storage: Storage;
  /** In a fixed order. */
  folders(): AsyncIterable<ManifestFolder>;
  /** All that may be manifests, by name. */
  filesIn(folder: string): Promise<readonly ManifestFile[]>;
  /** Where the blobs lie that a manifest in this folder names. */
  blobKey(folder: string, digest: Digest): string;
  /** The image of a manifest: its own, or that of an index that has it as a member. */
  image(folder: string, name: string): Promise<SourceImage>;
  /** What the place has under this name now. */
  named(name: Reference): Promise<SourceImage | undefined>;
}

/** A manifest in a place that finds blobs by their digests, whatever names it. */
export function untitledImage(digest: Digest, where: string, locate: SourceImage['locate']): SourceImage {
  return { name: undefined, where, digest, locate, provesDiffIds: false, signatures: [], warnings: [] };
}
