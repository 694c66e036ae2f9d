import type { LocalBytes } from '../bytes/region.js';
import type { Digest } from '../model/digest.js';
import type { Digests } from '../model/digest-map.js';
import type { Deletion, Storage, StoredFile } from '../storage/driver.js';

/** What is listed: at once, or as a storage gives it. */
export type Listing<T> = Iterable<T> | AsyncIterable<T>;

export interface StoredBlob extends Omit<StoredFile, 'kind'> {
  readonly digest: Digest;
}

/** A link file of a repository, or an entry of index.json: it makes a manifest or a layer part of the repository. */
export interface Link {
  readonly kind: 'revision' | 'layer' | 'tag index';
  readonly digest: Digest;
  readonly key: string;
  /** What messages call it. */
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

/** Blobs that the images of a storage share, so that some may belong to none. */
export interface BlobStore {
  readonly storage: Storage;
  /** @throws ImgconvError for a link that cannot be read: what it names is unknown then */
  repositories(): AsyncIterable<Repository>;
  locate(digest: Digest): Promise<LocalBytes | undefined>;
  /** Everything where blobs lie that is called like one, in a fixed order, but for those of `except`. */
  blobs(except?: Digests): AsyncIterable<StoredBlob>;
  /** Folders of pushes that were not finished. */
  uploads(): Listing<StoredFile>;
  /** Takes links back; they are flushed to the disk when this settles. */
  unlink(repository: Repository, links: readonly Link[], deletion: Deletion): Promise<void>;
  deleteBlob(blob: StoredBlob, deletion: Deletion): Promise<boolean>;
}
