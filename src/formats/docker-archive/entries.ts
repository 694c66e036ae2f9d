import * as z from 'zod';
import type { TarIndex } from '../../codecs/tar-index.js';
import { arrayOf, optional } from '../../model/descriptor.js';
import { ImgconvError } from '../../model/errors.js';
import { fieldsOf, inOwnCase, MAX_CONFIG, parseJson, parseWith } from '../../model/json.js';
import { MANIFEST } from '../../model/oci-layout.js';
import { readDocument } from '../layout.js';

/** Names that manifest.json gives. */
const MAX_NAMES = 100_000;

const entriesSchema = arrayOf(
  z.object({
    Config: z.string().min(1),
    RepoTags: optional(arrayOf(z.string())),
    Layers: optional(arrayOf(z.string())),
  }),
);
/** Docker and skopeo read it in Go, which takes keys in any case; jib's own has them in lower case. */
const ENTRY_FIELDS = fieldsOf('Config', 'RepoTags', 'Layers');

/** An entry of manifest.json. */
export type Entry = z.infer<typeof entriesSchema>[number];

/** What manifest.json says. */
export async function readEntries(index: TarIndex): Promise<readonly Entry[]> {
  const where = `${index.path}: ${MANIFEST}`;
  const raw = parseJson((await readDocument(index, MANIFEST, MAX_CONFIG)) ?? new Uint8Array(), where);
  const inCase = Array.isArray(raw)
    ? raw.map((entry, i) => inOwnCase(entry, ENTRY_FIELDS, `${where}: ${i}`))
    : raw;
  const entries = parseWith(entriesSchema, inCase, where);
  const names = entries.reduce((sum, { RepoTags }) => sum + Math.max(RepoTags?.length ?? 0, 1), 0);
  if (names > MAX_NAMES)
    throw new ImgconvError('ARCHIVE_INVALID', `${where}: ${names} images, more than ${MAX_NAMES}`);
  return entries;
}
