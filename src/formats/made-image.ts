import { digestOf } from '../bytes/hash.js';
import type { Bytes } from '../bytes/region.js';
import type { Digest } from '../model/digest.js';
import {
  DOCKER_CONFIG,
  DOCKER_LAYER,
  DOCKER_MANIFEST,
  OCI_CONFIG,
  OCI_LAYER,
  OCI_MANIFEST,
  withCompression,
  type Compression,
} from '../model/media-type.js';
import { ImgconvError } from '../model/errors.js';
import type { ReadContext, SourceImage } from './format.js';

/** Bytes whose size is known. */
export type SizedBytes = Bytes & { readonly size: number };

export interface MadeLayer {
  readonly digest: Digest;
  readonly compression: Compression;
  readonly at: SizedBytes;
}

/** What a manifest is made of. */
export interface MadeFrom {
  readonly config: { readonly digest: Digest; readonly at: SizedBytes };
  /** Lowest first. */
  readonly layers: readonly MadeLayer[];
  /** For messages. */
  readonly where: string;
  readonly warnings: readonly string[];
}

/**
 * An image whose place keeps no manifest of it: Docker's schema 2 manifest of the layers as they lie, as `docker push`
 * would write it (OCI's when a layer is zstd, which Docker has no media type for). The same layers always give the same
 * bytes.
 */
export function madeImage({ config, layers, where, warnings }: MadeFrom): SourceImage {
  const located = new Map<Digest, Bytes>([[config.digest, config.at]]);
  for (const { digest, at } of layers) located.set(digest, at);
  const oci = layers.some(({ compression }) => compression === 'zstd');
  const manifest = {
    schemaVersion: 2,
    mediaType: oci ? OCI_MANIFEST : DOCKER_MANIFEST,
    config: { mediaType: oci ? OCI_CONFIG : DOCKER_CONFIG, size: config.at.size, digest: config.digest },
    layers: layers.map(({ compression, digest, at }) => ({
      mediaType: withCompression(oci ? OCI_LAYER : DOCKER_LAYER, compression),
      size: at.size,
      digest,
    })),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = digestOf(bytes);
  located.set(digest, { kind: 'memory', path: `${where}: manifest`, size: bytes.length, bytes });
  return {
    name: undefined,
    where,
    digest,
    imageId: config.digest,
    locate: ({ digest: wanted }) => located.get(wanted),
    provesDiffIds: true,
    isMade: true,
    signatures: [],
    warnings,
  };
}

/** What names a stack of layers (OCI image-spec config.md, "Layer ChainID"). */
export function chainIdOf(below: Digest | undefined, diffId: Digest): Digest {
  return below === undefined ? diffId : digestOf(Buffer.from(`${below} ${diffId}`));
}

/** A layer of a store, or where else it is under its diffID if the store has lost it. @throws ImgconvError why it is lost */
export async function orElsewhere(
  layer: Promise<SizedBytes>,
  diffId: Digest,
  elsewhere: ReadContext['elsewhere'],
): Promise<SizedBytes> {
  try {
    return await layer;
  } catch (error) {
    const isLost = error instanceof ImgconvError && ['BLOB_MISSING', 'ARCHIVE_INVALID'].includes(error.code);
    const at = isLost ? await elsewhere?.(diffId) : undefined;
    if (at?.size === undefined) throw error;
    return { ...at, size: at.size };
  }
}
