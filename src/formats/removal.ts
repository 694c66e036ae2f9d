import type { Digest } from '../model/digest.js';
import type { RegistryAccess } from './access.js';

/** Takes images out of a place. Blobs that no image needs then are garbage (upkeep/gc.ts). What has settled is on the disk. */
export interface Removal {
  /** Removes a name; the manifest stays. False for what is not there. @throws ImgconvError */
  tag(repository: string, tag: string): Promise<boolean>;
  /** Removes a manifest, with all tags that name it. False for what is not there. @throws ImgconvError */
  manifest(repository: string, digest: Digest): Promise<boolean>;
  close(): Promise<void>;
}

/** How registries are spoken to, and what ends that. */
export interface RemovalContext {
  readonly access: RegistryAccess;
  readonly signal: AbortSignal;
}

/** Other writers of a storage are waited for, in milliseconds. */
export const PATIENCE = 60_000;
