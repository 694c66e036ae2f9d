import { isThere } from '../bytes/there.js';
import type { SourceImage } from '../formats/format.js';
import { openPlace } from '../formats/open.js';
import type { Place } from '../formats/table.js';
import type { Digest } from '../model/digest.js';
import { isContainerImage } from '../model/manifest.js';
import { referenceText } from '../model/reference.js';
import { manifestsOf } from '../model/tree.js';
import { layerCompressionOf } from '../model/media-type.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import { MemoryDownloads } from '../storage/memory-downloads.js';
import { PeekSpool } from '../storage/spool.js';
import type { Pool } from '../threads/pool.js';
import { changedLayers, type LayerCompression } from './compression.js';
import { layersWithDiffIds, readConfigOf } from './configs.js';
import type { Job } from './job.js';
import type { FormsThere } from './recompress.js';
import { readSharedTree } from './tree.js';

/**
 * Layers that the destination holds compressed: its own manifests and configs, each proved by its digest, say which
 * blob unpacks to which diffID. The blobs are not read yet; images that cannot be read are passed over.
 */
export async function knownForms(
  place: Place,
  images: readonly Pick<Job, 'name' | 'closure' | 'compression'>[],
  options: LayerCompression,
  pool: Pool,
): Promise<FormsThere> {
  const wanted = new Set(
    images
      .flatMap(({ closure, compression }) => changedLayers(closure.root, compression))
      .map(({ digest }) => digest),
  );
  const forms = new Map<Digest, VerifiedBlob[]>();
  const isRecognised = () => isThere(place.path) && place.format.recognises(place.path);
  if (wanted.size === 0 || (place.storage === undefined && !isRecognised())) return forms;
  const reader = await openPlace(place, {
    pool,
    spool: new PeekSpool(),
    downloads: new MemoryDownloads(),
    access: {},
  });
  const seen = new Set<Digest>();
  const isNew = (digest: Digest) => !seen.has(digest) && seen.add(digest);
  const addLayersOf = async (image: SourceImage) => {
    for (const node of manifestsOf(await readSharedTree(image, pool))) {
      if (!isContainerImage(node) || !isNew(node.manifest.config.digest)) continue;
      const config = await readConfigOf(image, node, pool);
      for (const { layer, diffId } of (config && layersWithDiffIds(node.manifest, config)) ?? []) {
        if (!wanted.has(diffId) || layerCompressionOf(layer.mediaType) !== options.compression) continue;
        const known = forms.get(diffId) ?? [];
        if (known.some(({ digest }) => digest === layer.digest)) continue;
        const at = await image.locate(layer, 'blob');
        if (at !== undefined && (at.size ?? layer.size) === layer.size)
          forms.set(diffId, [...known, VerifiedBlob.at(at, layer, pool)]);
      }
    }
  };
  try {
    // First those that are written again: their layers stay what they were, whatever else came since.
    const again = new Set(images.map(({ name }) => referenceText(name)));
    const others: SourceImage[] = [];
    const add = async (image: SourceImage) => {
      if (isNew(image.digest)) await addLayersOf(image).catch(() => undefined);
    };
    for await (const image of reader.images({ untagged: false })) {
      if ('error' in image) continue;
      if (again.has(image.name ?? '')) await add(image);
      else others.push(image);
    }
    for (const image of others) await add(image);
  } finally {
    await reader.close();
  }
  return forms;
}
