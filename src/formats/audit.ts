import type { Digest } from '../model/digest.js';
import type { Digests } from '../model/digest-map.js';
import type { ManifestNode } from '../model/tree.js';
import type { SourceImage } from './image.js';
import type { Storage } from '../storage/driver.js';
import type { Pool } from '../threads/pool.js';
import type { Listing, StoredBlob } from './blob-store.js';

/** `broken`: an image cannot be read whole. `space`: something that no image needs takes up space. `cosmetic`: neither. */
export type Severity = 'broken' | 'space' | 'cosmetic';

export type FaultKind =
  | 'blob-damaged' // bytes that are not those that their digest or size names
  | 'blob-missing' // named by a manifest, and not there
  | 'manifest-damaged'
  | 'manifest-missing'
  | 'entry-wrong' // an entry of index.json that says another size or media type than its manifest has
  | 'image-unreadable' // an image or a whole place of which nothing can be told
  | 'config-mismatch' // a config and a manifest that do not have as many layers, or a layer that is not the config's
  | 'history-mismatch' // a history that does not tell of as many layers as there are
  | 'layer-invalid' // a layer that does not unpack to a tar
  | 'link-missing' // a registry does not serve what its repository has no link to
  | 'link-wrong' // a link that holds another digest than its path
  | 'link-dangling' // a link to what is not there and no image needs
  | 'file-missing'
  | 'name-invalid' // a name that no client could ask for
  | 'notice' // what converting would note of the image
  | 'unreachable' // a blob that no image needs
  | 'upload' // an unfinished push
  | 'unfinished' // what an interrupted run left behind
  | 'set-aside' // a damaged file that a repair put aside
  | 'irregular' // a symbolic link, which is not followed, a FIFO, a device or a socket
  | 'stray'; // a file that is no part of the format

/** A document that a repair writes. `needs`: the key of the file that it refers to; without that it is not written. */
export interface SmallFile {
  readonly key: string;
  readonly content: string;
  readonly needs?: string | undefined;
}

/** A blob that is to be fetched from elsewhere. */
export interface WantedBlob {
  readonly key: string;
  /** What messages call it. */
  readonly path: string;
  readonly digest: Digest;
  /** Undefined where nothing says it. */
  readonly size: number | undefined;
  readonly as: 'manifest' | 'blob';
}

export interface Fault {
  readonly severity: Severity;
  readonly kind: FaultKind;
  /** The file, member or link. */
  readonly where: string;
  /** What is wrong, without `where`. */
  readonly what: string;
  /** What a link names. */
  readonly digest?: Digest | undefined;
  /** Names of the images that it touches. */
  readonly images?: readonly string[];
  /** The space that it takes up, in bytes. */
  readonly bytes?: number | undefined;
  /** How it can be mended; neither when it cannot. */
  readonly write?: SmallFile | undefined;
  readonly fetch?: WantedBlob | undefined;
}

/** What a format alone knows of its soundness: everything that is no manifest, config or layer of an image. */
export interface Audit {
  /** How bad a name is that breaks the grammar of references: some places can be asked in other ways. */
  readonly badName: Severity;
  /** Undefined where no single file can be mended. */
  readonly mending: Mending | undefined;
  /** Called once, before images are looked at and `ofPlace` is called, which tells what was found meanwhile. */
  begin?(pool: Pool): void;
  /**
   * Of an image whose manifests could be read; those that are missing or damaged are not in the tree. `there`: the
   * blobs that were found where they belong.
   */
  ofImage(image: SourceImage, root: ManifestNode, there: ReadonlySet<Digest>): Listing<Fault>;
  /** Of the place, when all images have been looked at. */
  ofPlace(): Listing<Fault>;
  /** The common store of blobs, but for those of `except`: to find those that no image needs. */
  blobs(except?: Digests): Listing<Omit<StoredBlob, 'key'>>;
  /** The size of all blobs in bytes, where `begin` finds it. */
  bytes?(): Promise<number>;
}

export interface Mending {
  readonly storage: Storage;
  /** The key that a blob of this image is to have. */
  keyOf(image: Pick<SourceImage, 'where' | 'digest'>, digest: Digest, as: WantedBlob['as']): string;
}

/** The folder in a place where repairs put damaged files. */
export const SET_ASIDE = '.damaged';

/** For places that hold nothing but what their images name. */
export const NOTHING_OF_ITS_OWN: Audit = {
  badName: 'cosmetic',
  mending: undefined,
  ofImage: () => [],
  ofPlace: () => [],
  blobs: () => [],
};

export function stray(where: string): Fault {
  return { severity: 'cosmetic', kind: 'stray', where, what: 'no part of the format' };
}

/** What is neither a file nor a folder: other tools may follow a link, or wait for what a FIFO says. */
export function irregular(where: string, isLink: boolean): Fault {
  if (!isLink)
    return { severity: 'cosmetic', kind: 'irregular', where, what: 'a FIFO, a device or a socket' };
  const what = 'a symbolic link; imgconv follows none below the place';
  return { severity: 'broken', kind: 'irregular', where, what };
}

export function unreachable(where: string, bytes: number): Fault {
  return { severity: 'space', kind: 'unreachable', where, what: 'no image needs it', bytes };
}
