import { localOf } from '../bytes/region.js';
import type { RegistryAccess } from '../formats/access.js';
import type { SourceImage } from '../formats/format.js';
import type { Place } from '../formats/table.js';
import type { Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { isContainerImage } from '../model/manifest.js';
import { MAX_CONFIG } from '../model/json.js';
import type { Platform } from '../model/platform.js';
import type { ManifestNode } from '../model/tree.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import { choosePlatforms } from '../transfer/platforms.js';
import { listOptions, select, type Selector } from '../transfer/select.js';
import { readSharedTree } from '../transfer/tree.js';
import { collect, withReader } from './list.js';

/** An image that was chosen in a place that is open. */
export interface ChosenImage {
  readonly image: SourceImage;
  readonly pool: Pool;
}

/** The images that selectors choose, all without any; the place is open until the last was taken. @throws ImgconvError for one that is not there or cannot be read */
export function chosenImages(
  place: Place,
  selectors: readonly Selector[],
  access: RegistryAccess = {},
): AsyncGenerator<ChosenImage> {
  return withReader(place, access, async function* (reader, pool) {
    const { selected, unmatched } = select(await collect(reader.images(listOptions(selectors))), selectors);
    if (unmatched[0] !== undefined) throw unmatched[0].error;
    for (const { image } of selected) {
      if ('error' in image) throw image.error;
      yield { image, pool };
    }
  });
}

/** Which manifest of an image is meant: with a platform that of it, else the image's own. */
export interface Wanted {
  readonly platform?: Platform | undefined;
}

/** The digest of an image, or of its manifest for a platform. @throws ImgconvError PLATFORM_MISSING */
export async function digestOf({ image, pool }: ChosenImage, { platform }: Wanted): Promise<Digest> {
  if (platform === undefined) return image.digest;
  return (await manifestFor(image, platform, pool)).descriptor.digest;
}

/** The manifest or index as it is, byte for byte. @throws ImgconvError */
export async function rawManifest({ image, pool }: ChosenImage, { platform }: Wanted): Promise<Uint8Array> {
  const root = await readSharedTree(image, pool);
  return (platform === undefined ? root : await manifestFor(image, platform, pool)).bytes;
}

/** The config of an image as it is, byte for byte. @throws ImgconvError BLOB_MISSING; USAGE for what has none */
export async function rawConfig({ image, pool }: ChosenImage, platform: Platform): Promise<Uint8Array> {
  const root = await readSharedTree(image, pool);
  const node = root.manifest.kind === 'index' ? await manifestFor(image, platform, pool) : root;
  if (node.manifest.kind !== 'image')
    throw new ImgconvError('USAGE', `${image.where}: its manifest has no config`);
  const { config } = node.manifest;
  const at = await image.locate(config, 'blob');
  if (at === undefined)
    throw new ImgconvError('BLOB_MISSING', `${image.where}: its config ${config.digest} is not there`);
  if (!isContainerImage(node) && config.size === 0) return new Uint8Array();
  const here = at.kind === 'rebuilt' ? at : await localOf(at);
  return VerifiedBlob.at(here, config, pool).read(MAX_CONFIG);
}

/** @throws ImgconvError PLATFORM_MISSING; USAGE when several fit */
async function manifestFor(image: SourceImage, platform: Platform, pool: Pool): Promise<ManifestNode> {
  const { root } = await choosePlatforms(image, await readSharedTree(image, pool), [platform], pool);
  if (root.manifest.kind !== 'index') return root;
  const members = root.children.filter(isContainerImage);
  const [only, ...others] = members;
  if (only !== undefined && others.length === 0) return only;
  throw new ImgconvError('USAGE', `${image.where}: ${members.length} images are for this platform`, {
    hint: 'name the variant too: --platform linux/arm/v7',
  });
}
