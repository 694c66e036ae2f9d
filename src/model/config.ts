import * as z from 'zod';
import { arrayOf, digestSchema, optional } from './descriptor.js';
import type { Digest } from './digest.js';
import { expectOwnCase, fieldsOf, isObject, parseJson, parseWith } from './json.js';
import type { Platform } from './platform.js';

/** The part of an image config (OCI image-spec config.md) that conversion depends on. */
export interface ImageConfig {
  readonly platform: Platform | undefined;
  /** Digests of the uncompressed layers, lowest first. */
  readonly diffIds: readonly Digest[];
  /** How many steps of its history made a layer; undefined without a history, which is optional. */
  readonly layerSteps: number | undefined;
}

const configSchema = z.object({
  os: optional(z.string()),
  architecture: optional(z.string()),
  variant: optional(z.string()),
  history: optional(arrayOf(z.object({ empty_layer: optional(z.boolean()) }))).catch(undefined),
  rootfs: z.object({
    type: optional(z.literal('layers', { error: 'only rootfs of type "layers" is known' })),
    diff_ids: optional(arrayOf(digestSchema)),
  }),
});

const FIELDS = fieldsOf('os', 'architecture', 'variant', 'rootfs', 'diff_ids', 'type');

/** As `parseConfig`; undefined for a config that only has an image config's media type, as some artifacts' do. */
export function tryConfig(bytes: Uint8Array): ImageConfig | undefined {
  try {
    return parseConfig(bytes, 'config');
  } catch {
    return undefined;
  }
}

/** @throws ImgconvError MANIFEST_INVALID when the config is not an object with a rootfs, as `docker load` asks for. */
export function parseConfig(bytes: Uint8Array, where: string): ImageConfig {
  const raw = parseJson(bytes, where);
  expectOwnCase(raw, FIELDS, where);
  if (isObject(raw)) expectOwnCase(raw['rootfs'], FIELDS, `${where}: rootfs`);
  const { os, architecture, variant, history, rootfs } = parseWith(configSchema, raw, where);
  return {
    platform: os && architecture ? { os, architecture, variant: variant || undefined } : undefined,
    diffIds: rootfs.diff_ids ?? [],
    layerSteps: history?.length ? history.filter((step) => step.empty_layer !== true).length : undefined,
  };
}
