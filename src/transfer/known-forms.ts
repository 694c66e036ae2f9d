import { openPlace } from '../formats/open.js';
import type { Place } from '../formats/table.js';
import type { Pool } from '../threads/pool.js';
import { MemoryDownloads } from '../storage/downloads.js';
import { isThere } from '../bytes/region.js';
import { PeekSpool } from '../storage/spool.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import { parseConfig } from '../model/config.js';
import type { Digest } from '../model/digest.js';
import { MAX_CONFIG } from '../model/json.js';
import { isContainerImage, manifestsOf } from '../model/manifest.js';
import { layerCompressionOf } from '../model/media-type.js';
import type { Job } from './prepare.js';
import { changedLayers, type CompressionOptions, type FormsThere } from './recompress.js';
import { readSharedTree } from './resolve.js';

/**
 * Layers that the destination holds compressed: its own manifests and configs, each proved by its digest, say which
 * blob unpacks to which diffID. The blobs are not read yet; what cannot be read of the rest is passed over.
 */
export async function knownForms(
  place: Place,
  images: readonly Pick<Job, 'closure' | 'compression'>[],
  options: CompressionOptions,
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
  try {
    for await (const image of reader.images({ untagged: false })) {
      if ('error' in image || seen.has(image.digest)) continue;
      seen.add(image.digest);
      try {
        for (const { manifest } of manifestsOf(await readSharedTree(image, pool)).filter(isContainerImage)) {
          if (manifest.kind !== 'image' || seen.has(manifest.config.digest)) continue;
          seen.add(manifest.config.digest);
          const at = await image.locate(manifest.config, 'blob');
          if (at === undefined) continue;
          const config = await VerifiedBlob.at(at, manifest.config, pool).read(MAX_CONFIG);
          const { diffIds } = parseConfig(config, at.path);
          if (diffIds.length !== manifest.layers.length) continue;
          for (const [i, descriptor] of manifest.layers.entries()) {
            const diffId = diffIds[i];
            if (diffId === undefined || !wanted.has(diffId)) continue;
            if (layerCompressionOf(descriptor.mediaType) !== options.compression) continue;
            const known = forms.get(diffId) ?? [];
            if (known.some(({ digest }) => digest === descriptor.digest)) continue;
            const layer = await image.locate(descriptor, 'blob');
            if (layer?.size !== descriptor.size) continue;
            forms.set(diffId, [...known, VerifiedBlob.at(layer, descriptor, pool)]);
          }
        }
      } catch {
        // An image that cannot be read says nothing of layers.
      }
    }
  } finally {
    await reader.close();
  }
  return forms;
}
