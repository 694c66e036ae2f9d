import type { RegistryAccess } from '../formats/access.js';
import { type ImageReader, type SourceImage } from '../formats/format.js';
import type { Place } from '../formats/table.js';
import type { Digest } from '../model/digest.js';
import { isObject, MAX_CONFIG, parseJson } from '../model/json.js';
import { blobsOf } from '../model/graph.js';
import { isContainerImage } from '../model/manifest.js';
import { platformText } from '../model/platform.js';
import { manifestsOf, type ManifestNode } from '../model/tree.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import { platformOf } from '../transfer/configs.js';
import { select, type Selector } from '../transfer/select.js';
import { readSharedTree } from '../transfer/tree.js';
import { collect, withReader } from './list.js';

/** A manifest with all below it. */
export interface TreeNode {
  readonly digest: Digest;
  readonly kind: 'image' | 'index' | 'artifact' | 'schema1';
  readonly mediaType: string;
  readonly platform: string | undefined;
  /** In bytes: the manifest, its config and layers, and all members, each blob once. */
  readonly size: number;
  readonly layers: readonly TreeLayer[];
  readonly members: readonly TreeNode[];
  /** Members that the place lacks. */
  readonly absent: readonly { readonly digest: Digest; readonly platform: string | undefined }[];
}

export interface TreeLayer {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
  /** Manifests of the place that have it, this one too. */
  readonly sharedBy: number;
  /** The command that made it, as the config's history has it. */
  readonly createdBy: string | undefined;
}

export interface ImageTree extends TreeNode {
  readonly name: string | undefined;
  /** What is attached to it, such as signatures and SBOMs. */
  readonly referrers: readonly { readonly name: string | undefined; readonly digest: Digest }[];
}

/** The trees of the images that are chosen. Layers are not read. @throws ImgconvError for one that is not there or cannot be read */
export function imageTrees(
  place: Place,
  selectors: readonly Selector[],
  access: RegistryAccess = {},
): AsyncGenerator<ImageTree> {
  return withReader(place, access, async function* (reader, pool) {
    // In a registry only what is asked for is fetched.
    const wanted =
      place.format.traits.remote && selectors.length > 0 ? selectors.map(({ text }) => text) : undefined;
    const images = await collect(reader.images({ untagged: true, wanted }));
    const { selected, unmatched } = select(images, selectors);
    if (unmatched[0] !== undefined) throw unmatched[0].error;
    const users = await layerUsers(
      images.flatMap((image) => ('error' in image ? [] : image)),
      pool,
    );
    for (const { image } of selected) {
      if ('error' in image) throw image.error;
      const root = await readSharedTree(image, pool);
      yield {
        name: image.name,
        ...(await nodeOf(image, root, pool, users)),
        referrers: await referrersOf(reader, image, root),
      };
    }
  });
}

/** How many manifests have each layer. */
async function layerUsers(images: readonly SourceImage[], pool: Pool): Promise<ReadonlyMap<Digest, number>> {
  const users = new Map<Digest, number>();
  const seen = new Set<Digest>();
  for (const image of images) {
    const root = await readSharedTree(image, pool).catch(() => undefined);
    for (const { descriptor, manifest } of root === undefined ? [] : manifestsOf(root)) {
      if (seen.has(descriptor.digest)) continue;
      seen.add(descriptor.digest);
      const layers = new Set(
        blobsOf(manifest).flatMap(({ role, target }) => (role === 'config' ? [] : target.digest)),
      );
      for (const digest of layers) users.set(digest, (users.get(digest) ?? 0) + 1);
    }
  }
  return users;
}

async function nodeOf(
  image: SourceImage,
  node: ManifestNode,
  pool: Pool,
  users: ReadonlyMap<Digest, number>,
): Promise<TreeNode> {
  const { descriptor, manifest } = node;
  const platform = await platformOf(image, node, pool).catch(() => undefined);
  const commands = await commandsOf(image, node, pool);
  const layers = blobsOf(manifest)
    .filter(({ role }) => role !== 'config')
    .map(({ target: { digest, mediaType = '', size = 0 } }, i) => {
      return { digest, mediaType, size, sharedBy: users.get(digest) ?? 1, createdBy: commands?.[i] };
    });
  return {
    digest: descriptor.digest,
    kind: manifest.kind === 'image' && !isContainerImage(node) ? 'artifact' : manifest.kind,
    mediaType: manifest.mediaType,
    platform: platform && platform.os !== 'unknown' ? platformText(platform) : undefined,
    size: sizeOf(node),
    layers,
    members: await Promise.all(node.children.map((child) => nodeOf(image, child, pool, users))),
    absent: node.absent.map((one) => ({
      digest: one.digest,
      platform: one.platform && platformText(one.platform),
    })),
  };
}

function sizeOf(root: ManifestNode): number {
  const sizes = new Map<Digest, number>();
  for (const { descriptor, manifest } of manifestsOf(root)) {
    sizes.set(descriptor.digest, descriptor.size);
    for (const { target } of blobsOf(manifest)) sizes.set(target.digest, target.size ?? 0);
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

/** By layer, the step of the config's history that made it; undefined where there is no such history. */
async function commandsOf(
  image: SourceImage,
  node: ManifestNode,
  pool: Pool,
): Promise<readonly (string | undefined)[] | undefined> {
  if (!isContainerImage(node)) return undefined;
  const { config, layers } = node.manifest;
  try {
    const at = await image.locate(config, 'blob');
    if (at === undefined) return undefined;
    const parsed = parseJson(await VerifiedBlob.at(at, config, pool).read(MAX_CONFIG), at.path);
    const history =
      isObject(parsed) && Array.isArray(parsed['history']) ? (parsed['history'] as unknown[]) : [];
    const steps = history.filter(isObject).filter((step) => step['empty_layer'] !== true);
    if (steps.length !== layers.length) return undefined;
    return steps.map((step) => (typeof step['created_by'] === 'string' ? step['created_by'] : undefined));
  } catch {
    // Whatever is wrong with the config, `verify` tells.
    return undefined;
  }
}

async function referrersOf(reader: ImageReader, image: SourceImage, root: ManifestNode) {
  const digests = new Set(manifestsOf(root).map(({ descriptor }) => descriptor.digest));
  const { images } = await reader.attached(image, digests);
  return images.flatMap((one) => ('error' in one ? [] : [{ name: one.name, digest: one.digest }]));
}
