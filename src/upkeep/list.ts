import { choiceText, type ImageReader, type SourceImage, type UnreadableImage } from '../formats/format.js';
import type { RegistryAccess } from '../formats/access.js';
import { openPlace } from '../formats/open.js';
import type { Place } from '../formats/table.js';
import { Pool } from '../threads/pool.js';
import { MemoryDownloads } from '../storage/memory-downloads.js';
import { PeekSpool } from '../storage/spool.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Digest } from '../model/digest.js';
import { asImgconvError, type ImgconvError } from '../model/errors.js';
import { isObject, MAX_CONFIG, parseJson } from '../model/json.js';
import { blobsOf } from '../model/graph.js';
import { isContainerImage } from '../model/manifest.js';
import { manifestsOf, type ManifestNode } from '../model/tree.js';
import { isEngineLayer } from '../model/media-type.js';
import { platformText } from '../model/platform.js';
import { platformOf } from '../transfer/configs.js';
import { listOptions, select, type Selector } from '../transfer/select.js';
import { readSharedTree } from '../transfer/tree.js';

/** One image as `ls` shows it. */
export interface ListedImage {
  readonly name: string | undefined;
  /** What chooses an image that has no name: `@N` or its digest. */
  readonly choice?: string | undefined;
  readonly digest: Digest | undefined;
  /** As engines have it, in stores of engines: the digest of its config. */
  readonly imageId?: Digest | undefined;
  /** `NAME@DIGEST` as it was pulled or pushed, in stores of engines. */
  readonly repoDigests?: readonly string[] | undefined;
  /** `artifact`: a manifest that is no container image's, such as a Helm chart or a signature. */
  readonly kind: 'image' | 'index' | 'artifact' | 'schema1' | undefined;
  readonly platforms: readonly string[];
  /** Of all its blobs as its manifests say, each counted once, in bytes. */
  readonly size: number | undefined;
  readonly error: ImgconvError | undefined;
}

/** Lists a place, manifests proved, other blobs not read. What cannot be read has an `error`. */
export function listImages(
  place: Place,
  selectors: readonly Selector[] = [],
  access: RegistryAccess = {},
): AsyncGenerator<ListedImage> {
  return withReader(place, access, async function* (reader, pool) {
    const images = reader.images({ ...listOptions(selectors), summary: true });
    const { selected, unmatched } =
      selectors.length === 0 ? { selected: images, unmatched: [] } : select(await collect(images), selectors);
    for (const { error, selector } of unmatched)
      yield unlisted({ name: selector.text, where: selector.text, error });
    for await (const one of selected) {
      const image = 'image' in one ? one.image : one;
      yield 'error' in image ? unlisted(image) : await listed(image, pool);
    }
  });
}

/** All names of tags in a place; nothing of the images is read. */
export async function listNames(place: Place): Promise<string[]> {
  const images = await collect(withReader(place, {}, (reader) => reader.images(listOptions([]))));
  return images.flatMap(({ name }) => name ?? []);
}

/** Those of `wanted` that choose an image of a place. */
export async function namesAmong(
  place: Place,
  wanted: readonly string[],
  access: RegistryAccess = {},
): Promise<string[]> {
  const selectors = wanted.map((text) => ({ text, rename: undefined, where: place.path }));
  const images = await collect(withReader(place, access, (reader) => reader.images(listOptions(selectors))));
  const missing = new Set(select(images, selectors).unmatched.map(({ selector }) => selector.text));
  return wanted.filter((text) => !missing.has(text));
}

/** What `list` gives of a place, which is open until then. */
export async function* withReader<T>(
  place: Place,
  access: RegistryAccess,
  list: (reader: ImageReader, pool: Pool) => AsyncIterable<T>,
): AsyncGenerator<T> {
  await using pool = new Pool();
  const context = { pool, spool: new PeekSpool(), downloads: new MemoryDownloads(), access };
  const reader = await openPlace(place, context).catch((error: unknown) => {
    throw asImgconvError(error, place.path);
  });
  try {
    yield* list(reader, pool);
  } finally {
    await reader.close();
  }
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

function choiceOf(image: SourceImage | UnreadableImage): string | undefined {
  return image.name === undefined ? choiceText(image) : undefined;
}

function unlisted(image: UnreadableImage & { readonly digest?: Digest }): ListedImage {
  return {
    name: image.name,
    choice: choiceOf(image),
    digest: image.digest,
    kind: undefined,
    platforms: [],
    size: undefined,
    error: image.error,
  };
}

async function listed(image: SourceImage, pool: Pool): Promise<ListedImage> {
  const { name, digest, imageId, knownAs: repoDigests, summary } = image;
  const known = { name, choice: choiceOf(image), imageId, repoDigests, error: undefined };
  // An engine that was asked for no more than a list tells the ID alone.
  if (summary !== undefined) return { ...known, digest: undefined, kind: 'image', ...summary };
  try {
    const root = await readSharedTree(image, pool);
    const nodes = manifestsOf(root);
    const platforms = new Set<string>();
    for (const node of nodes) {
      const platform = await platformOf(image, node, pool).catch(() => undefined);
      if (platform !== undefined && platform.os !== 'unknown') platforms.add(platformText(platform));
    }
    for (const { platform } of nodes.flatMap(({ absent }) => absent))
      if (platform !== undefined) platforms.add(platformText(platform));
    return {
      ...known,
      digest,
      kind: kindOf(root, platforms.size > 0),
      platforms: [...platforms],
      size: sizeOf(root),
    };
  } catch (error) {
    return unlisted({
      ...image,
      name: image.name,
      where: image.where,
      error: asImgconvError(error, image.where),
    });
  }
}

function kindOf(root: ManifestNode, hasPlatform: boolean): ListedImage['kind'] {
  const { manifest } = root;
  if (manifest.kind !== 'image') return manifest.kind;
  // cosign's signatures have the config of an image for no platform.
  const isLoadable = hasPlatform || manifest.layers.every(({ mediaType }) => isEngineLayer(mediaType));
  return isContainerImage(root) && isLoadable ? 'image' : 'artifact';
}

function sizeOf(root: ManifestNode): number {
  const sizes = new Map<Digest, number>();
  for (const { descriptor, manifest } of manifestsOf(root)) {
    sizes.set(descriptor.digest, descriptor.size);
    for (const { target } of blobsOf(manifest))
      if (target.size !== undefined) sizes.set(target.digest, target.size);
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

/** All that an image's manifests and configs say, as one document. */
export interface ImageDetails {
  readonly name: string | undefined;
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
  readonly manifests: readonly ManifestDetails[];
}

interface ManifestDetails {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly platform: string | undefined;
  /** The digest of the config: what engines call the image ID. */
  readonly imageId: Digest | undefined;
  /** Of an artifact manifest its blobs. */
  readonly layers: readonly { mediaType: string; digest: Digest; size: number; present: boolean }[];
  /** The manifest as it is. */
  readonly manifest: unknown;
  /** The image config as it is; undefined for artifacts and when the place lacks it. */
  readonly config: unknown;
}

/** @throws ImgconvError for the first image that cannot be read or found */
export function inspectImages(
  place: Place,
  selectors: readonly Selector[] = [],
  access: RegistryAccess = {},
): AsyncGenerator<ImageDetails> {
  return withReader(place, access, async function* (reader, pool) {
    const { selected, unmatched } = select(await collect(reader.images(listOptions(selectors))), selectors);
    if (unmatched[0] !== undefined) throw unmatched[0].error;
    for (const { image } of selected) {
      if ('error' in image) throw image.error;
      const root = await readSharedTree(image, pool);
      const manifests: ManifestDetails[] = [];
      for (const node of manifestsOf(root)) manifests.push(await detailsOf(image, node, pool));
      const { digest, mediaType } = root.descriptor;
      yield { name: image.name, digest, mediaType, size: sizeOf(root), manifests };
    }
  });
}

async function detailsOf(image: SourceImage, node: ManifestNode, pool: Pool): Promise<ManifestDetails> {
  const { descriptor, manifest, bytes } = node;
  const platform = await platformOf(image, node, pool);
  const imageConfig = isContainerImage(node) ? node.manifest.config : undefined;
  const at = imageConfig && (await image.locate(imageConfig, 'blob'));
  const config = at && parseJson(await VerifiedBlob.at(at, imageConfig, pool).read(MAX_CONFIG), at.path);
  const blobs =
    manifest.kind === 'image' ? manifest.layers : manifest.kind === 'artifact' ? manifest.blobs : [];
  return {
    digest: descriptor.digest,
    mediaType: descriptor.mediaType,
    platform: platform && platformText(platform),
    imageId: imageConfig?.digest,
    layers: await Promise.all(
      blobs.map(async (blob) => ({
        mediaType: blob.mediaType,
        digest: blob.digest,
        size: blob.size,
        present: (await image.locate(blob, 'blob')) !== undefined,
      })),
    ),
    manifest: parseJson(bytes, image.where),
    config: isObject(config) ? config : undefined,
  };
}
