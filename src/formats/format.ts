import type { Put } from '../storage/blob-writer.js';
import type { Outlet } from '../storage/tar-sink.js';
import type { Storage } from '../storage/driver.js';
import type { Downloads } from '../storage/downloads.js';
import type { Pool } from '../threads/pool.js';
import type { Bytes, LocalBytes } from '../bytes/region.js';
import type { PassingTar } from '../codecs/open-tar.js';
import type { Spool } from '../codecs/tar-pipe.js';
import type { Staging } from '../storage/staging.js';
import type { LinkMode } from '../proof/linking.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import type { Digest } from '../model/digest.js';
import type { ManifestNode } from '../model/tree.js';
import type { Platform } from '../model/platform.js';
import type { Reference } from '../model/reference.js';
import type { RegistryAccess } from './access.js';
import type { Audit } from './audit.js';
import type { Signature, SourceImage, UnreadableImage } from './image.js';
import type { BlobStore } from './blob-store.js';
import type { KeptManifests } from './kept-manifests.js';
import type { Removal, RemovalContext } from './removal.js';

export {
  choiceText,
  signaturesNote,
  type Located,
  type Signature,
  type SourceImage,
  type UnreadableImage,
} from './image.js';

/** A way in which images are kept. What differs between formats is here and in their folders; all else is written once, over these. */
export interface Format {
  /** Before a path: `reg:./store`. */
  readonly prefix: string;
  /** In commands: `dir2reg`. A format without one is converted from and to with `copy`. */
  readonly short?: string;
  readonly title: string;
  /** What its path is called in help texts. */
  readonly operand: string;
  /** True when this existing path is of this format. Cheap: looks at names and the first bytes. */
  recognises(path: string): boolean;
  /** Absent if the format cannot be read. Call `openPlace`, which says so. */
  readonly open?: (path: string, context: ReadContext) => Promise<ImageReader>;
  /** Absent if the format cannot be written. Call `createPlace`, which says so. */
  readonly create?: (path: string, context: WriteContext) => Promise<ImageWriter>;
  /** How places with parts are written: what follows the prefix, cut apart; absent where it is a path. */
  readonly split?: (text: string) => PlaceText;
  /** How places in registries are written; absent if its places are not in registries. */
  readonly registry?: RegistryNames;
  /** How garbage is collected; undefined where no blob is shared by images, or none can be deleted. */
  readonly blobStore: ((storage: Storage) => Promise<BlobStore>) | undefined;
  /** How images are taken out; undefined for what is one file. */
  readonly remove:
    ((path: string, context: RemovalContext, storage?: Storage) => Promise<Removal>) | undefined;
  readonly traits: Traits;
}

/** What follows a prefix, cut apart. */
export interface PlaceText {
  readonly path: string;
  /** What of the path is meant: a namespace of containerd, a driver of podman's storage. */
  readonly part?: string | undefined;
  readonly reference?: string | undefined;
}

/** What a registry's place and its options need to know of the names in it. */
export interface RegistryNames {
  /** What follows `PREFIX://`, as a path and the image that it names. */
  split(text: string): { readonly path: string; readonly reference?: string };
  /** The hosts that are asked for these references of a place, sorted. */
  hostsOf(path: string, wanted: readonly string[]): string[];
}

export interface Traits {
  /** Names are repository paths of their own: a registry's host has no place in them unless `--scoped` keeps it. */
  readonly dropsHost: boolean;
  /** May a kept host have a port? The grammar of a repository path has no colon. */
  readonly takesPort: boolean;
  /** Carries skopeo's `signature-N` files. */
  readonly holdsSignatures: boolean;
  /** Its layers come as engines unpack them, and it may have no manifests that name them. */
  readonly uncompressedByNature: boolean;
  /** Layers of an archive's image without a manifest are compressed on the way in unless it is asked otherwise, as `docker push` does. */
  readonly compressesSaved: boolean;
  /** One file that images are appended to, in their order. */
  readonly sequential: boolean;
  /** A store of an engine: people know its images by their IDs. */
  readonly isEngine?: boolean;
  /** Its places are not paths in this machine's file system. */
  readonly remote: boolean;
  /** May hold an index some of whose members are absent. */
  readonly takesSparse: boolean;
}

export interface ReadContext {
  /** What of the path is meant, where it has parts (`PlaceText`). */
  readonly part?: string | undefined;
  /** Where the files are, if not in this machine's file system. */
  readonly storage?: Storage | undefined;
  /** An archive that is read as it passes, in place of a file. */
  readonly passing?: PassingTar | undefined;
  readonly pool: Pool;
  /** Takes what can be read only once. */
  readonly spool: Spool;
  /** Fetches what another machine has. */
  readonly downloads: Downloads;
  /** Manifests that the target has, proved, which need not be fetched; undefined where it has none that can be found so. */
  readonly held?: ((digest: Digest) => Promise<Uint8Array | undefined>) | undefined;
  /** Where else a blob is that the place lacks: in the places that blobs may be taken from. */
  readonly elsewhere?: ((digest: Digest) => Promise<Bytes | undefined>) | undefined;
  /** Layers that an engine deleted after unpacking them are made anew of the unpacked files. */
  readonly rebuild?: boolean | undefined;
  readonly access: RegistryAccess;
}

export interface ListOptions {
  /** For a list: images may have a `summary` in place of manifests that would have to be fetched. */
  readonly summary?: boolean | undefined;
  /** Also revisions that no tag names, as `repository@digest`. */
  readonly untagged: boolean;
  /** What is asked for, as references, globs or choices without a name (`choiceOf`): images that none of them can mean may be left out. Undefined: all. */
  readonly wanted?: readonly string[] | undefined;
}

export interface Attached {
  readonly images: readonly (SourceImage | UnreadableImage)[];
  /** For the report of the image that they are attached to: where could not be looked. */
  readonly notes: readonly string[];
}

export interface ImageReader {
  /** In a fixed order. */
  images(options: ListOptions): AsyncIterable<SourceImage | UnreadableImage>;
  /**
   * The referrers of these manifests of `image`, tagged first; those of the referrers have to be asked for in turn.
   * To be called when all images have been listed, with those that have no tag. What cannot be read may be a referrer
   * of any image of its repository, and is given for each.
   */
  attached(image: SourceImage, digests: ReadonlySet<Digest>): Promise<Attached>;
  /** Says that `attached` is not called any more: what is held for it can go. */
  forgetAttached?(): void;
  readonly audit: Audit;
  close(): Promise<void>;
}

export interface WriteContext {
  /** Where the files are to be, if not in this machine's file system. */
  readonly storage?: Storage | undefined;
  readonly pool: Pool;
  readonly link: LinkMode;
  /** Takes an archive as it is written, in place of a file. */
  readonly outlet?: Outlet | undefined;
  /** Blobs of an image that whoever takes the archive has: its layers are not sent. For archives of engines alone. */
  readonly omits?: ((image: ImageToWrite) => Promise<ReadonlySet<Digest>>) | undefined;
  /** For which platforms an engine's view of an index is made, best first. */
  readonly platforms: readonly Platform[];
  /** One image is written: the path is its own, where a format has a path for each image. */
  readonly single?: boolean | undefined;
  /** For archives; by the name of the file when it is not said. */
  readonly archiveCompression?: 'gzip' | 'zstd' | 'none' | undefined;
  readonly access: RegistryAccess;
  /** Hears of each blob once, when it is in place or staged. */
  readonly onPut: (how: Put, size: number) => void;
}

/** An image whose every manifest was proved and whose every blob can only be read as proved. */
export interface ImageToWrite {
  readonly name: Reference;
  readonly root: ManifestNode;
  /** Manifests, configs and layers; foreign layers may be missing. */
  readonly blobs: ReadonlyMap<Digest, VerifiedBlob>;
  readonly signatures: readonly Signature[];
}

export interface Written {
  /** False when the place held just this already. */
  readonly changed: boolean;
  /** What the user should know: what could not be kept, which member an engine will see. */
  readonly notes: readonly string[];
}

export interface ImageWriter {
  /** For unfinished work of the transfer itself, in the destination's file system. */
  readonly staging: Staging;
  /** True when blobs are files of their own, which may be links. */
  readonly links: boolean;
  /** True when blobs are parts of one file, which are written into their places there. */
  readonly inPlace: boolean;
  /** The registry that images go to, as names have it; undefined where they go to files. */
  readonly host: string | undefined;
  /** Where a blob with this digest lies, whichever image it is of; undefined when the place does not keep them by digest, or has none. */
  readonly find: ((digest: Digest) => Promise<LocalBytes | undefined>) | undefined;
  /** What the place held before, where it is files in folders. */
  readonly kept: KeptManifests | undefined;
  /**
   * To be called before what the place holds is relied on: until `close`, no garbage is collected there.
   * @throws ImgconvError IO when garbage is being collected and that does not end, INTERRUPTED
   */
  claim(signal?: AbortSignal): Promise<void>;
  /** True when this blob seems to be there (by its size): for plans, never for proof. */
  holds(
    name: Reference,
    blob: { digest: Digest; size: number },
    as: 'manifest' | 'blob',
  ): boolean | Promise<boolean>;
  /**
   * What the place has under this name now; undefined where nothing, or where the place is written anew. `root`: what is
   * to get the name.
   */
  tagged(name: Reference, root: ManifestNode): Promise<Digest | undefined>;
  /** How engines and people call the image once it is there. */
  referenceOf(name: Reference): string;
  /** Stages an image, or completes it where each is a commit of its own. Nothing of it is visible if this throws. */
  write(image: ImageToWrite): Promise<Written>;
  /** Makes what was written visible, if the place can grow image by image. */
  publish(): Promise<void>;
  /** Completes the place. False when it held just this already and was left alone. */
  finish(): Promise<boolean>;
  /** Clears unfinished work away; after `finish` there is none. */
  close(): Promise<void>;
}
