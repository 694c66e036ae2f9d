import { isDigest, type Digest } from './digest.js';
import { isObject } from './json.js';
import { isImageConfig, layerCompressionOf, type Compression } from './media-type.js';

/** What a document says of layers, as far as it seems to be a manifest, a config or an index. */
export type LayerFacts =
  | { readonly config: Digest; readonly layers: readonly LayerFact[] }
  | { readonly diffIds: readonly Digest[] }
  | { readonly members: readonly Digest[] };

export interface LayerFact {
  readonly digest: Digest;
  /** Undefined for what is no file system. */
  readonly compression: Compression | undefined;
}

/**
 * Looks into a document of a place. Tens of thousands are looked into to find a few, and those are then read as all
 * are, with every check: here nothing more is looked at than is needed to find them.
 */
export function layerFactsOf(document: Uint8Array): LayerFacts | undefined {
  const raw = parsed(document);
  if (!isObject(raw)) return undefined;
  const { config, layers, manifests, rootfs } = raw;
  if (Array.isArray(layers)) {
    const isImage = isObject(config) && isImageConfig(textOf(config['mediaType']));
    const digest = isImage ? textOf(config['digest']) : '';
    return isDigest(digest) ? { config: digest, layers: layers.flatMap(layerOf) } : undefined;
  }
  if (Array.isArray(manifests))
    return { members: manifests.map((one) => (isObject(one) ? textOf(one['digest']) : '')).filter(isDigest) };
  const diffIds: unknown = isObject(rootfs) ? rootfs['diff_ids'] : undefined;
  return Array.isArray(diffIds) ? { diffIds: diffIds.map(textOf).filter(isDigest) } : undefined;
}

function layerOf(layer: unknown): LayerFact[] {
  const digest = isObject(layer) ? textOf(layer['digest']) : '';
  if (!isObject(layer) || !isDigest(digest)) return [];
  return [{ digest, compression: layerCompressionOf(textOf(layer['mediaType'])) }];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function parsed(document: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(document.buffer, document.byteOffset, document.length).toString());
  } catch {
    return undefined;
  }
}
