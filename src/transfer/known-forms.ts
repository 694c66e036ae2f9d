import { isThere } from '../bytes/there.js';
import type { SourceImage } from '../formats/format.js';
import type { KeptManifests } from '../formats/kept-manifests.js';
import { openPlace } from '../formats/open.js';
import type { Place } from '../formats/table.js';
import type { Digest } from '../model/digest.js';
import { isContainerImage } from '../model/manifest.js';
import { layerCompressionOf, type Compression } from '../model/media-type.js';
import { referenceText, type Reference } from '../model/reference.js';
import { manifestsOf } from '../model/tree.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import { MemoryDownloads } from '../storage/memory-downloads.js';
import { PeekSpool } from '../storage/spool.js';
import type { Pool } from '../threads/pool.js';
import { changedLayers, type LayerCompression } from './compression.js';
import { layersWithDiffIds, readConfigOf } from './configs.js';
import type { Job } from './job.js';
import { LayerIndex, type LookOptions } from './layer-index.js';
import { shortOf } from './layer-look.js';
import type { FormsThere } from './recompress.js';
import { readSharedTree } from './tree.js';

/** Layers in a compression, as the images of a place name them. */
interface Search {
  readonly compression: Compression;
  readonly pool: Pool;
  /** How far the place is looked into. */
  readonly look: LookOptions;
}

/** A manifest or config is read in the time in which about so many bytes are compressed, which also takes space. */
const BYTES_PER_FILE = 1024;
/** So many files are read whatever is to be compressed: in about a tenth of a second. */
const LEAST_FILES = 4096;

/**
 * Layers that the destination holds compressed: its own manifests and configs, each proved by its digest, say which
 * blob unpacks to which diffID. The blobs are not read yet; images that cannot be read are passed over. `kept`: where
 * the destination has its manifests, if it has them in files.
 */
export async function knownForms(
  place: Place,
  kept: KeptManifests | undefined,
  jobs: readonly Pick<Job, 'name' | 'closure' | 'compression'>[],
  { compression, pushedBy }: LayerCompression,
  pool: Pool,
): Promise<FormsThere> {
  // Those with layers that change are held.
  const changing = jobs.map((job) => ({
    name: job.name,
    layers: job.closure ? changedLayers(job.closure.root, job.compression) : [],
  }));
  const wanted = new Map(changing.flatMap(({ layers }) => layers.map(({ digest, size }) => [digest, size])));
  const forms = new Map<Digest, VerifiedBlob[]>();
  // Whether a program like the wanted one made what is there, nobody knows.
  if (pushedBy !== undefined || wanted.size === 0 || compression === 'keep')
    return new Forms(forms, undefined);
  const names = changing.filter(({ layers }) => layers.length > 0).map(({ name }) => name);
  const bytes = [...wanted.values()].reduce((sum, size) => sum + size, 0);
  const look = { most: Math.max(LEAST_FILES, bytes / BYTES_PER_FILE), names };
  const search = { compression, pool, look };
  // First those that are written again: their layers stay what they were, whatever else came since.
  const images = kept === undefined ? allIn(place, names, pool) : namedIn(kept, names);
  const seen = new Set<Digest>();
  for await (const image of images) {
    if (seen.has(image.digest)) continue;
    seen.add(image.digest);
    for (const { diffId, blob } of await formsIn(image, search))
      if (wanted.has(diffId)) forms.set(diffId, [...(forms.get(diffId) ?? []), blob]);
  }
  return new Forms(forms, kept && new Others(kept, search));
}

/** Forms of images that are written again, then those that all others have. */
class Forms implements FormsThere {
  readonly #first: ReadonlyMap<Digest, readonly VerifiedBlob[]>;
  readonly #others: Others | undefined;

  constructor(first: ReadonlyMap<Digest, readonly VerifiedBlob[]>, others: Others | undefined) {
    this.#first = first;
    this.#others = others;
  }

  async *of(diffId: Digest): AsyncGenerator<VerifiedBlob> {
    const told = new Set<Digest>();
    for (const blob of this.#first.get(diffId) ?? []) {
      if (!told.has(blob.digest)) yield blob;
      told.add(blob.digest);
    }
    if (this.#others !== undefined) yield* this.#others.of(diffId, told);
  }
}

/** Forms that any image of a place has, found by an index of its manifests. */
class Others {
  readonly #kept: KeptManifests;
  readonly #search: Search;
  #index: Promise<LayerIndex> | undefined;

  constructor(kept: KeptManifests, search: Search) {
    this.#kept = kept;
    this.#search = search;
  }

  async *of(diffId: Digest, told: Set<Digest>): AsyncGenerator<VerifiedBlob> {
    const index = await (this.#index ??= LayerIndex.of(this.#kept, this.#search.pool, this.#search.look));
    const isTold = (layer: string) => [...told].some((digest) => shortOf(digest) === layer);
    for (const { folder, id, layer } of index.holders(diffId, this.#search.compression)) {
      if (isTold(layer)) continue;
      const image = await this.#kept.image(folder, id).catch(() => undefined);
      for (const form of image === undefined ? [] : await formsIn(image, this.#search)) {
        if (form.diffId !== diffId || told.has(form.blob.digest)) continue;
        told.add(form.blob.digest);
        yield form.blob;
      }
    }
  }
}

/** What an image's manifests and configs say, each of them proved; nothing where one cannot be read. */
async function formsIn(image: SourceImage, { compression, pool }: Search) {
  const forms: { readonly diffId: Digest; readonly blob: VerifiedBlob }[] = [];
  try {
    for (const node of manifestsOf(await readSharedTree(image, pool))) {
      if (!isContainerImage(node)) continue;
      const config = await readConfigOf(image, node, pool);
      for (const { layer, diffId } of (config && layersWithDiffIds(node.manifest, config)) ?? []) {
        if (layerCompressionOf(layer.mediaType) !== compression) continue;
        const at = await image.locate(layer, 'blob');
        if (at !== undefined && (at.size ?? layer.size) === layer.size)
          forms.push({ diffId, blob: VerifiedBlob.at(at, layer, pool) });
      }
    }
  } catch {
    pool.expectRunning();
  }
  return forms;
}

async function* namedIn(kept: KeptManifests, names: readonly Reference[]): AsyncGenerator<SourceImage> {
  for (const name of names) {
    const image = await kept.named(name).catch(() => undefined);
    if (image !== undefined) yield image;
  }
}

/** All images of a place that can be read whole or not at all, such as an archive that is written anew. */
async function* allIn(place: Place, names: readonly Reference[], pool: Pool): AsyncGenerator<SourceImage> {
  if (!isThere(place.path) || !place.format.recognises(place.path)) return;
  const reader = await openPlace(place, {
    pool,
    spool: new PeekSpool(),
    downloads: new MemoryDownloads(),
    access: {},
  });
  try {
    const again = new Set(names.map(referenceText));
    const others: SourceImage[] = [];
    for await (const image of reader.images({ untagged: false })) {
      if ('error' in image) continue;
      if (again.has(image.name ?? '')) yield image;
      else others.push(image);
    }
    yield* others;
  } finally {
    await reader.close();
  }
}
