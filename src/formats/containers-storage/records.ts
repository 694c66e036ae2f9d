import * as z from 'zod';
import { arrayOf, optional } from '../../model/descriptor.js';
import { ImgconvError } from '../../model/errors.js';
import { parseLenientJson, parseWith } from '../../model/json.js';
import { readDocument, type Files } from '../layout.js';
import { imagesPath, layerLists, type Driver } from './paths.js';

/** An entry of images.json. */
export interface ImageRecord {
  readonly id: string;
  /** Of the manifest that it was pulled by, or that was made last. */
  readonly digest?: string | undefined;
  readonly names: readonly string[];
  /** The top layer; empty for a manifest list. */
  readonly layer: string;
  readonly documents: readonly string[];
}

/** An entry of layers.json. */
export interface LayerRecord {
  readonly id: string;
  readonly parent: string;
  readonly diffId: string;
  readonly isIncomplete: boolean;
  /** A layer of zstd:chunked that was fetched by parts is named by its table of contents. */
  readonly tocDigest: string;
}

const MAX_LIST = 64 * 1024 * 1024;
/** They are parts of paths. */
const id = z.string().regex(/^[0-9a-f]{64}$/, 'not an ID of 64 hex digits');

const imagesSchema = arrayOf(
  z
    .object({
      id,
      digest: optional(z.string()),
      names: optional(arrayOf(z.string())),
      layer: optional(z.union([id, z.literal('')])),
      'big-data-names': optional(arrayOf(z.string())),
    })
    .transform((record): ImageRecord => {
      const { id, digest, names, layer, 'big-data-names': documents } = record;
      return { id, digest, names: names ?? [], layer: layer ?? '', documents: documents ?? [] };
    }),
);

const layersSchema = arrayOf(
  z
    .object({
      id,
      parent: optional(z.union([id, z.literal('')])),
      'diff-digest': optional(z.string()),
      'toc-digest': optional(z.string()),
      flags: optional(z.record(z.string(), z.unknown())),
    })
    .transform((record): LayerRecord => {
      const { id, parent, 'diff-digest': diffId, 'toc-digest': toc, flags } = record;
      const isIncomplete = flags?.['incomplete'] === true;
      return { id, parent: parent ?? '', diffId: diffId ?? '', isIncomplete, tocDigest: toc ?? '' };
    }),
);

async function readList<T>(files: Files, path: string, schema: z.ZodType<T[]>): Promise<T[] | undefined> {
  const bytes = await readDocument(files, path, MAX_LIST);
  if (bytes === undefined) return undefined;
  const where = `${files.path}/${path}`;
  const raw = parseLenientJson(bytes, where, 'ARCHIVE_INVALID');
  // Go writes null for a list without entries.
  return raw === null ? [] : parseWith(schema, raw, where, 'ARCHIVE_INVALID');
}

/** @throws ImgconvError NOT_FOUND, ARCHIVE_INVALID */
export async function readImageRecords(files: Files, driver: Driver): Promise<ImageRecord[]> {
  const records = await readList(files, imagesPath(driver), imagesSchema);
  if (records !== undefined) return records;
  throw new ImgconvError('NOT_FOUND', `${files.path}/${imagesPath(driver)}: not there`);
}

/** By ID; none where no layer was ever made. @throws ImgconvError ARCHIVE_INVALID */
export async function readLayerRecords(files: Files, driver: Driver): Promise<Map<string, LayerRecord>> {
  const found = new Map<string, LayerRecord>();
  for (const path of layerLists(driver))
    for (const record of (await readList(files, path, layersSchema)) ?? []) found.set(record.id, record);
  return found;
}
