import * as z from 'zod';
import { isDigest, type Digest } from '../../model/digest.js';
import { isObject, MAX_CONFIG, parseJson, parseWith } from '../../model/json.js';
import { splitReference } from '../../model/reference.js';
import { readDocument, type Files } from '../layout.js';
import { repositoriesPath, type Driver } from './paths.js';

/** Names of one image. */
export interface ImageNames {
  /** `NAME:TAG`, sorted. */
  readonly tags: string[];
  /** `NAME@DIGEST`, sorted; the digest is that of a manifest or index as it was pulled or pushed. */
  readonly digests: string[];
}

const schema = z.object({ Repositories: z.record(z.string(), z.record(z.string(), z.string())) });
/** Names are few, but each counts. */
const MAX_REPOSITORIES = 8 * MAX_CONFIG;

/**
 * What repositories.json says, by image ID; nothing where there is none.
 * @throws ImgconvError ARCHIVE_INVALID, MANIFEST_INVALID
 */
export async function readRepositories(files: Files, driver: Driver): Promise<Map<Digest, ImageNames>> {
  const path = repositoriesPath(driver);
  const where = `${files.path}/${path}`;
  const bytes = await readDocument(files, path, MAX_REPOSITORIES);
  const names = new Map<Digest, ImageNames>();
  if (bytes === undefined) return names;
  const raw = parseJson(bytes, where, 'ARCHIVE_INVALID');
  // A new engine writes `{}`.
  if (isObject(raw) && !('Repositories' in raw)) return names;
  const { Repositories } = parseWith(schema, raw, where, 'ARCHIVE_INVALID');
  const references = Object.values(Repositories).flatMap((repository) => Object.entries(repository));
  for (const [reference, id] of references.sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!isDigest(id)) continue;
    const of = names.get(id) ?? { tags: [], digests: [] };
    names.set(id, of);
    (splitReference(reference).digest === undefined ? of.tags : of.digests).push(reference);
  }
  return names;
}
