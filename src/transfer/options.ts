import type { Retry } from '../bytes/retry.js';
import type { Place } from '../formats/table.js';
import type { RegistryAccess, Waiting } from '../formats/access.js';
import type { Platform } from '../model/platform.js';
import type { LinkMode } from '../proof/linking.js';
import type { AskedCompression } from './compression.js';
import type { Expectation } from './expectations.js';
import type { MissingMode } from './missing.js';
import type { NameOptions } from './names.js';
import type { ImageReport, Plan } from './report.js';
import type { Selector } from './select.js';

export interface ConvertOptions extends NameOptions {
  /** None means all that the source has. */
  readonly selectors?: readonly Selector[] | undefined;
  /** Names the one image that is converted. */
  readonly tag?: string | undefined;
  readonly link?: LinkMode | undefined;
  /** None means all platforms. */
  readonly platforms?: readonly Platform[] | undefined;
  /**
   * Takes `platforms` as skopeo takes its machine's: of an index the images alone, without attestations; of images that
   * no index holds each, whatever its platform is.
   */
  readonly systemImages?: boolean | undefined;
  readonly missing?: MissingMode | undefined;
  /** Where blobs that the source lacks are taken from, by their digests. */
  readonly blobsFrom?: readonly Place[] | undefined;
  /** Layers that containerd deleted after unpacking them are made anew of the unpacked files: a new image, which says so. */
  readonly rebuild?: boolean | undefined;
  /**
   * Signatures, attestations and other referrers go with their images unless this is false; `listed` are those that the
   * source lists as images of their own, and none is looked for.
   */
  readonly extras?: boolean | 'listed' | undefined;
  /** Without selectors: also takes images without a tag. If it is undefined, the report counts those left out. */
  readonly untagged?: boolean | undefined;
  /** Undefined: gzip for an archive's images without manifests into dir, reg and registries, else keep. */
  readonly compression?: AskedCompression['compression'];
  readonly level?: number | undefined;
  readonly recompress?: boolean | undefined;
  /** Digests that images are to get, by which they are known elsewhere. */
  readonly expect?: readonly Expectation[] | undefined;
  readonly archiveCompression?: 'gzip' | 'zstd' | 'none' | undefined;
  /** How registries are spoken to, when the source or the target is one. */
  readonly sourceAccess?: RegistryAccess | undefined;
  readonly targetAccess?: RegistryAccess | undefined;
  /** False: an image fails if its name stands for another one in the target. */
  readonly overwrite?: boolean | undefined;
  /** An image fails if its digest would be another one than in the source. */
  readonly preserveDigests?: boolean | undefined;
  /** One image is converted, and a target of `dir` is its own directory, not a tree. */
  readonly single?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
  readonly failFast?: boolean | undefined;
  /** Threads that hash and compress, the machine's cores by default; connections to one registry. */
  readonly jobs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

/**
 * Hears of a conversion as it goes. A method is called when the thing happens, and the conversion does not wait for it.
 * `imgconv --json=lines` prints the same as events.
 */
export interface Progress {
  /** What is going to be done, once all images are found and before anything is written. */
  planned?(plan: Plan): void;
  /** So many more bytes of blobs were read or downloaded. A blob that several images share counts once. */
  bytes?(count: number): void;
  /** Work on an image begins or ends; several are at work at once. `name`: in the target. */
  started?(name: string): void;
  ended?(name: string): void;
  /** An image has reached its final status: it is visible in the target, or has failed. */
  image?(report: ImageReport): void;
  /** A request to a registry failed in a way that may pass, and is going to be repeated. */
  retry?(retry: Retry): void;
  /** A registry that was asked for something has sent nothing for some time; called again every ten seconds. */
  waiting?(waiting: Waiting): void;
}

/** The same access; `progress` hears of what happens on the way to registries, if it wants to. */
export function heardBy(
  progress: Pick<Progress, 'retry' | 'waiting'> | undefined,
  access: RegistryAccess = {},
): RegistryAccess {
  return {
    ...access,
    ...(progress?.retry && { onRetry: (retry: Retry) => progress.retry?.(retry) }),
    ...(progress?.waiting && { onWaiting: (waiting: Waiting) => progress.waiting?.(waiting) }),
  };
}
