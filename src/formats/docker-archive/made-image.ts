import { MAGIC_LENGTH, sniffPacking } from '../../codecs/decompress.js';
import { headOf } from '../../bytes/region.js';
import { counted, ImgconvError } from '../../model/errors.js';
import type { SourceImage } from '../format.js';
import { madeImage, type MadeLayer } from '../made-image.js';
import type { Described } from './configs.js';
import type { Layers } from './layers.js';

/**
 * An image with a manifest of the layers as they lie in the archive. Layers in bzip2 and xz, which engines unpack and no
 * media type stands for, are in it as tars.
 */
export async function makeImage(known: Layers, described: Described, where: string): Promise<SourceImage> {
  const { config, configDigest, configAt } = described;
  const found = described.layers.map((layer) => ({ layer, at: known.at(layer) }));
  const missing = found.filter(({ at }) => at === undefined).map(({ layer }) => layer);
  if (missing.length > 0)
    throw new ImgconvError('BLOB_MISSING', `${where}: not in the archive: ${missing.join(', ')}`);
  const layers: MadeLayer[] = [];
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
    layers.push({ compression, digest, at });
  }
  return madeImage({
    config: { at: configAt, digest: configDigest },
    layers,
    where,
    warnings: [...described.warnings, ...noteOf(packings)],
  });
}

function noteOf(packings: readonly string[]): string[] {
  return [...new Set(packings)].sort().map((packing) => {
    const count = packings.filter((one) => one === packing).length;
    return `${counted(count, 'layer')} in ${packing}, which no media type stands for: unpacked`;
  });
}
