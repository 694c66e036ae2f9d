import { MAGIC_LENGTH, sniffPacking } from '../../codecs/decompress.js';
import { digestOf } from '../../bytes/hash.js';
import { headOf, type LocalBytes } from '../../bytes/region.js';
import type { Digest } from '../../model/digest.js';
import { counted, ImgconvError } from '../../model/errors.js';
import {
  DOCKER_CONFIG,
  DOCKER_LAYER,
  DOCKER_MANIFEST,
  OCI_CONFIG,
  OCI_MANIFEST,
  withCompression,
} from '../../model/media-type.js';
import type { SourceImage } from '../format.js';
import type { Described } from './configs.js';
import type { Layers } from './layers.js';

const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';

/**
 * Docker's schema 2 manifest of the layers as they lie, as `docker push` would write it (OCI's when a layer is zstd,
 * which Docker has no media type for). Layers in bzip2 and xz, which engines unpack and no media type stands for, are in
 * it as tars. The same archive always gives the same bytes.
 */
export async function makeImage(known: Layers, described: Described, where: string): Promise<SourceImage> {
  const { config, configDigest, configAt } = described;
  const located = new Map<Digest, LocalBytes>([[configDigest, configAt]]);
  const found = described.layers.map((layer) => ({ layer, at: known.at(layer) }));
  const missing = found.filter(({ at }) => at === undefined).map(({ layer }) => layer);
  if (missing.length > 0)
    throw new ImgconvError('BLOB_MISSING', `${where}: not in the archive: ${missing.join(', ')}`);
  const layers = [];
  const packings: string[] = [];
  for (const [i, diffId] of config.diffIds.entries()) {
    const packed = found[i]?.at;
    if (packed === undefined) continue;
    const packing = sniffPacking(headOf(packed, MAGIC_LENGTH));
    const isTar = packing === 'xz' || packing === 'bzip2';
    const at = isTar ? await known.unpacked(packed, packing) : packed;
    if (isTar) packings.push(packing);
    const compression = isTar ? 'none' : packing;
    const digest = compression === 'none' ? diffId : await known.digestOf(at);
    located.set(digest, at);
    layers.push({ compression, size: at.size, digest });
  }
  const oci = layers.some(({ compression }) => compression === 'zstd');
  const manifest = {
    schemaVersion: 2,
    mediaType: oci ? OCI_MANIFEST : DOCKER_MANIFEST,
    config: { mediaType: oci ? OCI_CONFIG : DOCKER_CONFIG, size: configAt.size, digest: configDigest },
    layers: layers.map(({ compression, size, digest }) => ({
      mediaType: withCompression(oci ? OCI_LAYER : DOCKER_LAYER, compression),
      size,
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
    locate: ({ digest: wanted }) => located.get(wanted),
    provesDiffIds: true,
    isMade: true,
    signatures: [],
    warnings: [...described.warnings, ...noteOf(packings)],
  };
}

function noteOf(packings: readonly string[]): string[] {
  return [...new Set(packings)].sort().map((packing) => {
    const count = packings.filter((one) => one === packing).length;
    return `${counted(count, 'layer')} in ${packing}, which no media type stands for: unpacked`;
  });
}
