import type { SourceImage } from '../formats/format.js';
import type { Place } from '../formats/table.js';
import type { Descriptor } from '../model/descriptor.js';
import { counted, ImgconvError } from '../model/errors.js';
import { manifestsOf, type ManifestNode } from '../model/tree.js';
import { isContainerImage } from '../model/manifest.js';
import { layerCompressionOf, withCompression, type Compression } from '../model/media-type.js';
import { expectLevel } from '../threads/compress.js';
import { isPushedBy, type PushedBy } from './pushed.js';

/** What layers become. */
export interface LayerCompression {
  /** `keep` leaves each layer as it is. */
  readonly compression: 'keep' | Compression;
  readonly level?: number | undefined;
  /** Also layers that are compressed already: their digests change though nothing asks for it. */
  readonly recompress?: boolean | undefined;
  /** gzip, and the manifest, as `docker push` makes them: with the same digests. */
  readonly pushedBy?: PushedBy | undefined;
  /** Only in images whose manifests the reader made: those of the others name layers as they are. */
  readonly onlyMade?: boolean | undefined;
}

/** What the user asks for. */
export interface AskedCompression {
  readonly compression?: LayerCompression['compression'] | PushedBy | undefined;
  readonly level?: number | undefined;
  readonly recompress?: boolean | undefined;
}

/**
 * As `docker push` does by default: layers that an engine saved unpacked are compressed where they are stored. An image
 * that came with its manifest keeps it, and its layers with it.
 * @throws ImgconvError USAGE for a level that does not fit
 */
export function compressionOf(
  { format: from }: Place,
  { format: to }: Place,
  asked: AskedCompression,
): LayerCompression {
  const fallback = from.traits.uncompressedByNature && to.traits.compressesSaved ? 'gzip' : 'keep';
  const { compression: wanted = fallback, level, recompress } = asked;
  const pushedBy = isPushedBy(wanted) ? wanted : undefined;
  const compression = isPushedBy(wanted) ? 'gzip' : wanted;
  if (pushedBy !== undefined && level !== undefined)
    throw new ImgconvError('USAGE', `--compression-level ${level}: ${pushedBy} has a level of its own`, {
      hint: 'leave it out, or use --compression gzip',
    });
  if (compression === 'gzip' || compression === 'zstd') expectLevel(compression, level);
  else if (level !== undefined)
    throw new ImgconvError(
      'USAGE',
      `--compression-level ${level}: with --compression ${compression} nothing is compressed`,
      { hint: 'did you mean --compression gzip, or zstd? otherwise leave it out' },
    );
  return { compression, level, recompress, pushedBy, onlyMade: asked.compression === undefined };
}

const KEEP: LayerCompression = { compression: 'keep' };

/** What layers of this image become. */
export function compressionFor({ isMade }: SourceImage, asked: LayerCompression): LayerCompression {
  return asked.onlyMade === true && isMade !== true ? KEEP : asked;
}

/** True for layers that would change. Only container images' layers are file systems. */
export function changesLayer(layer: Descriptor, { compression, recompress }: LayerCompression): boolean {
  const now = layerCompressionOf(layer.mediaType);
  if (compression === 'keep' || now === undefined || now === compression) return false;
  return now === 'none' || recompress === true;
}

/** The layers that a conversion of this tree would change. */
export function changedLayers(root: ManifestNode, asked: LayerCompression): Descriptor[] {
  if (asked.compression === 'keep') return [];
  return manifestsOf(root)
    .filter(isContainerImage)
    .flatMap(({ manifest }) => manifest.layers)
    .filter((layer) => changesLayer(layer, asked));
}

/** What the digest of an image waits for that is only planned. */
export function changesNote(root: ManifestNode, asked: LayerCompression): string | undefined {
  const { length } = changedLayers(root, asked);
  const what = `${counted(length, 'layer')} will be ${asked.compression === 'none' ? 'uncompressed' : asked.compression}`;
  return length === 0 ? undefined : `${what}, so the digest is known only after a conversion`;
}

/** For a compression that was asked for and that layers compressed otherwise do not get. */
export function keptNote(
  root: ManifestNode,
  { compression, recompress, onlyMade }: LayerCompression,
): string[] {
  if (compression === 'keep' || recompress === true || onlyMade === true) return [];
  const kept = changedLayers(root, { compression, recompress: true }).map(({ mediaType }) =>
    layerCompressionOf(mediaType),
  );
  const now = kept.find((one) => one !== undefined && one !== 'none');
  if (now === undefined) return [];
  const [are, them] = kept.length === 1 ? ['is', 'it'] : ['are', 'them'];
  const wanted = compression === 'none' ? 'uncompressed' : compression;
  return [
    `${counted(kept.length, 'layer')} ${are} ${now} already: add --recompress to make ${them} ${wanted}`,
  ];
}

/**
 * Docker's schema 2 has no zstd, and a manifest is not turned into OCI's unasked.
 * @throws ImgconvError FORMAT_UNSUPPORTED
 */
export function expectForm(mediaType: string, to: Compression): void {
  if (withCompression(mediaType, to) !== undefined) return;
  throw new ImgconvError('FORMAT_UNSUPPORTED', `no ${to} form of ${mediaType} is registered`, {
    hint: '--compression gzip has one',
  });
}
