import { basename, resolve } from 'node:path';
import { pathExists } from '../bytes/files.js';
import { isThere } from '../bytes/there.js';
import { ImgconvError, naming } from '../model/errors.js';
import { nearest } from '../model/nearest.js';
import { ownNameOf } from '../model/oci-layout.js';
import { dir } from './dir/index.js';
import { containerd } from './containerd/index.js';
import { containersStorage } from './containers-storage/index.js';
import { docker } from './docker/index.js';
import { dockerArchive } from './docker-archive/index.js';
import { dockerDaemon } from './docker-daemon/index.js';
import { dockerRoot } from './docker-root/index.js';
import type { Format, RegistryNames } from './format.js';
import { ociArchive } from './oci-archive/index.js';
import { oci } from './oci/index.js';
import { registry } from './registry/index.js';
import type { Storage } from '../storage/driver.js';
import { looksLike, unrecognised } from './unrecognised.js';

/** All formats. Commands, help and the tests over all pairs come from here; plain paths are recognised in this order. */
export const FORMATS: readonly Format[] = [
  registry,
  oci,
  dir,
  dockerRoot,
  containerd,
  containersStorage,
  dockerArchive,
  ociArchive,
  docker,
  dockerDaemon(dockerArchive),
];

/** Those that are paths of this machine. */
const LOCAL = FORMATS.filter(({ traits }) => !traits.remote);

/** As it is written before a place. */
export function prefixOf({ prefix, registry }: Format): string {
  return registry === undefined ? `${prefix}:` : `${prefix}://`;
}

/** True for a text that begins with a format's prefix. */
export function isPrefixed(text: string): boolean {
  return FORMATS.some(({ prefix }) => text.startsWith(`${prefix}:`));
}

/** True for a path of this machine with its prefix, as opposed to `oci://HOST/CHART`. */
export function isPrefixedPath(text: string): boolean {
  return LOCAL.some(({ prefix }) => text.startsWith(`${prefix}:`) && !text.startsWith(`${prefix}://`));
}

export interface Place {
  readonly format: Format;
  /** Where the files are, if not in this machine's file system: `path` is then their name in messages. */
  readonly storage?: Storage | undefined;
  /** In the file system, or `-`; of a registry the host, and what follows it. */
  readonly path: string;
  /** What of the path is meant, where it has parts (`PlaceText`). */
  readonly part?: string | undefined;
  /** What follows a path as skopeo writes it: the image meant, or the name that it is to get. */
  readonly reference?: string | undefined;
}

/** Stands for stdin or stdout on command lines. */
export const STREAM = '-';

/** True for an archive that is read from stdin or written to stdout. */
export function isStream({ format, path }: Place): boolean {
  return path === STREAM && format.traits.sequential;
}

/** `PREFIX:PATH`; undefined without a known prefix. */
function parsePrefixed(text: string): Place | undefined {
  for (const format of FORMATS) {
    if (!text.startsWith(`${format.prefix}:`)) continue;
    const rest = text.slice(format.prefix.length + 1);
    if (format.registry !== undefined) return registryPlace(format, format.registry, rest);
    if (format.split !== undefined) return { format, ...format.split(rest) };
    if (format.traits.remote) return { format, path: rest };
    const place = withReference(format, rest);
    const { reference } = place;
    if (reference === undefined || /[:/@]/.test(reference)) return place;
    // A tag alone is of the repository that the layout's own name is.
    return { ...place, reference: `${ownNameOf(basename(resolve(place.path)))}:${reference}` };
  }
  return undefined;
}

/** @throws ImgconvError USAGE without the two slashes */
function registryPlace(format: Format, registry: RegistryNames, rest: string): Place {
  if (rest.startsWith('//')) return { format, ...registry.split(rest.slice(2)) };
  throw new ImgconvError(
    'USAGE',
    `${format.prefix}:${rest}: a registry is written ${prefixOf(format)}HOST/REPOSITORY`,
  );
}

/**
 * skopeo's `PATH:REFERENCE`: a path that exists is a path, whatever colons it has; then the longest part before a
 * colon that exists; then, where nothing exists yet and images are named in the file itself, what is before the first.
 */
function withReference(format: Format, text: string): Place {
  if (pathExists(text) || text === STREAM || text === '') return { format, path: text };
  const colons = [...text.matchAll(/:/g)].map(({ index }) => index);
  for (const at of colons.reverse()) {
    if (pathExists(text.slice(0, at)))
      return { format, path: text.slice(0, at), reference: text.slice(at + 1) };
  }
  const first = colons.at(-1);
  if (first === undefined || format.traits.dropsHost) return { format, path: text };
  return { format, path: text.slice(0, first), reference: text.slice(first + 1) };
}

/** @throws ImgconvError USAGE without a known prefix */
export function parsePlace(text: string): Place {
  const place = parsePrefixed(text);
  if (place !== undefined && (place.path !== '' || place.format.traits.remote)) return place;
  throw new ImgconvError('USAGE', `${text}: a prefix and a path are expected`, {
    hint: hintFor(text),
  });
}

function hintFor(text: string): string {
  const [, word, rest = ''] = /^([a-z-]+):(.*)$/s.exec(text) ?? [];
  const found = LOCAL.find((format) => pathExists(text) && looksLike(format, text));
  if (found !== undefined) return `did you mean ${prefixOf(found)}${text}?`;
  if (word === 'http' || word === 'https') return `did you mean docker:${rest}?`;
  const near = nearest(
    word ?? '',
    FORMATS.map(({ prefix }) => prefix),
  );
  const meant = FORMATS.find(({ short }) => short === word) ?? FORMATS.find(({ prefix }) => prefix === near);
  if (meant !== undefined && rest !== '') return `did you mean ${prefixOf(meant)}${rest}?`;
  return `prefixes: ${FORMATS.map(prefixOf).join(' ')}`;
}

/** A prefixed path, or a plain one whose format is recognised. @throws ImgconvError NOT_FOUND, FORMAT_UNKNOWN */
export function findPlace(text: string): Place {
  if (text === STREAM) return { format: dockerArchive, path: text };
  if (FORMATS.some(({ prefix, traits }) => traits.remote && text.startsWith(`${prefix}:`)))
    return parsePlace(text);
  if (!pathExists(text)) {
    const place = parsePrefixed(text);
    if (place !== undefined && (pathExists(place.path) || isStream(place))) return place;
    const path = place?.path ?? text;
    naming(path, () => isThere(path)); // A folder on the way may not be open to us.
    throw new ImgconvError('NOT_FOUND', `${path}: no such file or folder`);
  }
  const format = LOCAL.find((one) => one.recognises(text));
  if (format !== undefined) return { format, path: text };
  throw unrecognised(text, LOCAL);
}
