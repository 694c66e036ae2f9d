import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { registry } from '../formats/registry/index.js';
import { dockerArchive } from '../formats/docker-archive/index.js';
import { findPlace, FORMATS, isPrefixed, parsePlace, STREAM, type Place } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import { isGlob, isHostName, splitReference } from '../model/reference.js';

/** Files of these names are archives for `docker load`. */
const ARCHIVE = /\.(?:tar|tar\.gz|tgz|tar\.zst|tar\.zstd)$/;

export function isArchiveName(text: string): boolean {
  return ARCHIVE.test(text);
}

/** `HOST/…` with a dot, a port or `localhost`, where there is no such path: nothing but a registry can be meant. */
export function isRegistryText(text: string): boolean {
  const [host = '', ...rest] = text.split('/');
  if (isPrefixed(text) || existsSync(text) || !isHostName(host)) return false;
  return /^localhost(?::\d+)?$|:\d+$/.test(host) || (rest.length > 0 && host !== '.' && host.includes('.'));
}

/** A source: with its prefix, or a path or a registry that is recognised. @throws ImgconvError USAGE, NOT_FOUND, FORMAT_UNKNOWN */
export function sourcePlace(text: string): Place {
  if (/^[a-z-]+:/.test(text) && !existsSync(text) && !isRegistryText(text)) return parsePlace(text);
  return isRegistryText(text) ? parsePlace(`docker://${text}`) : findPlace(text);
}

/**
 * A target: with its prefix, or a path that is there, a name of an archive, a registry, or else what `otherwise` makes of
 * a new path. @throws ImgconvError USAGE, FORMAT_UNKNOWN
 */
export function targetPlace(text: string, otherwise: (path: string) => Place): Place {
  if (isPrefixed(text) && !existsSync(text)) return parsePlace(text);
  if (ARCHIVE.test(text) || text === STREAM) return { format: dockerArchive, path: text };
  if (isRegistryText(text)) return parsePlace(`docker://${text}`);
  const found = existsSync(text)
    ? FORMATS.find((format) => !format.traits.remote && format.recognises(text))
    : undefined;
  return found === undefined ? otherwise(text) : { format: found, path: text };
}

/** A new path is registry storage. @throws ImgconvError USAGE for what begins as if with a prefix */
export function newStore(path: string): Place {
  return /^[a-z][a-z-]*:/.test(path) ? parsePlace(path) : { format: registry, path };
}

/**
 * A source of `copy`, as skopeo has it: a repository of a registry without a tag is its `latest`. With `all` it is all of
 * its tags.
 */
export function copySource(text: string, all: boolean): Place {
  const place = sourcePlace(text);
  const repository = repositoryOf(place);
  if (all && repository === undefined && place.reference === undefined)
    throw new ImgconvError('USAGE', `--all-tags: ${text} is not a repository`, {
      hint: 'for example imgconv copy --all-tags docker://quay.io/org/app reg:store',
    });
  if (all && place.reference !== undefined)
    throw new ImgconvError('USAGE', `--all-tags: ${text} names a tag`, { hint: 'leave out one of the two' });
  return repository === undefined || all
    ? place
    : { ...place, path: hostOf(place), reference: `${repository}:latest` };
}

/** `HOST/REPOSITORY` of a place in a registry that names a repository and no image of it. */
export function repositoryOf({ format, path, reference }: Place): string | undefined {
  if (format.registry === undefined || reference !== undefined) return undefined;
  return path.includes('/') && !path.endsWith('/') ? path : undefined;
}

function hostOf({ path }: Place): string {
  return path.split('/')[0] ?? '';
}

/** True when the place itself names one image. */
export function namesOne({ format, path, reference }: Place): boolean {
  if (reference !== undefined) return !isGlob(reference);
  return format.prefix === 'dir' && existsSync(join(path, 'manifest.json'));
}

/**
 * The target of one image, as skopeo has it: a repository of a registry gets the tag `latest`. Of several images it is an
 * error, since a repository is the name of one. @throws ImgconvError USAGE
 */
export function copyTarget(text: string, one: boolean): Place {
  const place = targetPlace(text, newStore);
  const repository = repositoryOf(place);
  if (repository === undefined) return place;
  if (!one)
    throw new ImgconvError('USAGE', `${text}: the name of one image, and several are copied`, {
      hint: `did you mean docker://${repository}/, below which each keeps its name?`,
    });
  return { ...place, path: hostOf(place), reference: `${repository}:latest` };
}

/** The name without its tag, of a reference that has one. */
export function withoutTag(reference: string): string {
  return splitReference(reference).name;
}
