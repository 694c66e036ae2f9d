import type { SourceImage } from '../formats/format.js';
import { tryConfig, type ImageConfig } from '../model/config.js';
import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import { counted, ImgconvError } from '../model/errors.js';
import { isContainerImage, type ImageManifest } from '../model/manifest.js';
import { manifestsOf, type ManifestNode } from '../model/tree.js';
import { MAX_CONFIG } from '../model/json.js';
import { layerCompressionOf } from '../model/media-type.js';
import type { Platform } from '../model/platform.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import { Cache } from './cache.js';

const configs = new Cache<ImageConfig | undefined>(64);

/** As `tryConfig`, once for all names and all members of indexes that have this config. @throws ImgconvError DIGEST_MISMATCH */
export function readConfig(blob: VerifiedBlob, pool: Pool): Promise<ImageConfig | undefined> {
  return configs.get(pool, `${blob.digest} ${blob.origin}`, async () =>
    tryConfig(await blob.read(MAX_CONFIG)),
  );
}

/** The config of an image in a place; undefined for artifacts and where it is missing. */
export async function readConfigOf(
  source: SourceImage,
  node: Pick<ManifestNode, 'manifest'>,
  pool: Pool,
): Promise<ImageConfig | undefined> {
  if (!isContainerImage(node)) return undefined;
  const { config } = node.manifest;
  const at = await source.locate(config, 'blob');
  return at && readConfig(VerifiedBlob.at(at, config, pool), pool);
}

/** The platform of an image by its descriptor, else by its config. */
export async function platformOf(
  source: SourceImage,
  node: ManifestNode,
  pool: Pool,
): Promise<Platform | undefined> {
  return node.descriptor.platform ?? (await readConfigOf(source, node, pool))?.platform;
}

export interface LayerWithDiffId {
  readonly layer: Descriptor;
  readonly diffId: Digest;
}

/** Each layer that is a file system, with its diffID; undefined where the config has not as many as the manifest. */
export function layersWithDiffIds(
  { layers }: ImageManifest,
  { diffIds }: ImageConfig,
): LayerWithDiffId[] | undefined {
  if (layers.length !== diffIds.length) return undefined;
  return layers.flatMap((layer, i) => {
    const diffId = diffIds[i];
    return diffId === undefined || layerCompressionOf(layer.mediaType) === undefined ? [] : { layer, diffId };
  });
}

/**
 * What each layer has to unpack to, by the images' configs. Where a config and its manifest do not have as many layers,
 * nobody knows which diffID is whose. Docker and containerd refuse such an image; skopeo and registries carry it, and
 * so does imgconv as long as its layers stay as they are: `uneven` is `skip` then.
 * @throws ImgconvError MANIFEST_INVALID when they do not have as many and `uneven` is `refuse`, or when one layer is to
 * unpack to two different tars
 */
export async function readDiffIds(
  root: ManifestNode,
  blobs: ReadonlyMap<Digest, VerifiedBlob>,
  pool: Pool,
  uneven: 'skip' | 'refuse',
): Promise<Map<Digest, Digest>> {
  const diffIds = new Map<Digest, Digest>();
  for (const { manifest } of manifestsOf(root).filter(isContainerImage)) {
    const blob = blobs.get(manifest.config.digest);
    const config = blob && (await readConfig(blob, pool));
    if (blob === undefined || config === undefined) continue;
    const layers = layersWithDiffIds(manifest, config);
    if (layers === undefined && uneven === 'refuse')
      throw new ImgconvError(
        'MANIFEST_INVALID',
        `${blob.where}: config ${blob.digest} has ${counted(config.diffIds.length, 'diffID')}, its manifest ${counted(manifest.layers.length, 'layer')}`,
        { hint: '--compression keep carries it as it is; Docker and containerd do not run it' },
      );
    for (const { layer, diffId } of layers ?? []) {
      const other = diffIds.get(layer.digest) ?? diffId;
      if (other !== diffId)
        throw new ImgconvError(
          'MANIFEST_INVALID',
          `${blob.where}: layer ${layer.digest} has two diffIDs, ${other} and ${diffId}`,
        );
      diffIds.set(layer.digest, diffId);
    }
  }
  return diffIds;
}
