import type { RegistryAccess } from '../formats/access.js';
import type { Platform } from '../model/platform.js';
import type { LinkMode } from '../proof/linking.js';
import type { LayerCompression } from './compression.js';
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
  /**
   * Signatures, attestations and other referrers go with their images unless this is false; `listed` are those that the
   * source lists as images of their own, and none is looked for.
   */
  readonly extras?: boolean | 'listed' | undefined;
  /** Without selectors: also takes images without a tag. If it is undefined, the report counts those left out. */
  readonly untagged?: boolean | undefined;
  /** Undefined: gzip for an archive's images without manifests into dir, reg and registries, else keep. */
  readonly compression?: LayerCompression['compression'] | undefined;
  readonly level?: number | undefined;
  readonly recompress?: boolean | undefined;
  readonly archiveCompression?: 'gzip' | 'zstd' | 'none' | undefined;
  /** How registries are spoken to, when the source or the target is one. */
  readonly sourceAccess?: RegistryAccess | undefined;
  readonly targetAccess?: RegistryAccess | undefined;
  readonly dryRun?: boolean | undefined;
  readonly failFast?: boolean | undefined;
  /** Threads that hash and compress, the machine's cores by default; connections to one registry. */
  readonly jobs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

/** Hears how far a run is; the sizes are of unique blobs. */
export interface Progress {
  planned?(plan: Plan): void;
  bytes?(count: number): void;
  image?(report: ImageReport): void;
}
