import { join } from 'node:path';
import { FORMATS, inspectImages, listImages, type Format, type Place } from '../../src/index.js';
import { tempFolder } from './temp.js';

/** Those whose places are paths: a registry needs a server (docker.test.ts). */
export const LOCAL_FORMATS = FORMATS.filter(
  (format): format is Format & { readonly short: string } =>
    format.short !== undefined && !format.traits.remote,
);

export function formatOf(short: string): Format {
  const format = FORMATS.find((one) => (one.short ?? one.prefix) === short);
  if (format === undefined) throw new Error(`no format ${short}`);
  return format;
}

export function place(short: string, path: string): Place {
  return { format: formatOf(short), path };
}

/** Where nothing is yet. */
export function newPlace(format: Format | string): Place {
  return {
    format: typeof format === 'string' ? formatOf(format) : format,
    path: join(tempFolder(), 'place'),
  };
}

/** Names and digests of all images of a place. @throws when one cannot be read */
export async function namesOf(from: Place): Promise<Record<string, string>> {
  const names: Record<string, string> = {};
  for await (const { name, digest, error } of listImages(from)) {
    if (error !== undefined) throw error;
    names[name ?? '<none>'] = digest ?? '';
  }
  return names;
}

/** Image IDs by name: of an index, those of its members, joined. */
export async function imageIdsOf(from: Place): Promise<Record<string, string>> {
  const ids: Record<string, string> = {};
  for await (const { name, manifests } of inspectImages(from))
    ids[name ?? 'untagged'] = manifests.flatMap(({ imageId }) => imageId ?? []).join(' ');
  return ids;
}
