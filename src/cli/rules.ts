import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { FORMATS, isPrefixed, isStream, prefixOf, STREAM, type Place } from '../formats/table.js';
import { looksLike } from '../formats/unrecognised.js';
import { ImgconvError } from '../model/errors.js';
import type { ConversionArguments } from './options.js';
import { strayRegistryOption } from './registry-options.js';
import { shellText } from './shell.js';

/** What is wrong with these options for this conversion, and what to say instead; undefined when they go together. */
type Rule = (
  args: ConversionArguments,
  from: Place,
  to: Place,
) => readonly [what: string, hint: string] | undefined;

function prefixesWhere(fits: (traits: Place['format']['traits']) => boolean): string {
  return FORMATS.filter(({ traits }) => fits(traits))
    .map(prefixOf)
    .join(' ');
}

/** A path that is there is a path, however it begins. */
function hasPrefix({ path }: Place): boolean {
  return isPrefixed(path) && !existsSync(path);
}

/** Paths that begin as those of `copy` do. */
const OF_PATHS: readonly Rule[] = [
  ({ REF = [] }, from, to) => {
    const prefixed = [from, to].filter(hasPrefix).map(({ path }) => path);
    const places = [from, to].map((place) =>
      hasPrefix(place) ? place.path : `${prefixOf(place.format)}${place.path}`,
    );
    return prefixed.length > 0
      ? [
          `${prefixed.join(', ')}: prefixes are for imgconv copy, and there is no such path`,
          `imgconv copy ${shellText([...places, ...REF])}`,
        ]
      : undefined;
  },
];

/** A folder with all that one format keeps is no place for another's. */
const OF_TARGETS: readonly Rule[] = [
  (_, { format: from, path: source }, { format, path }) => {
    if (format.traits.remote || format.traits.sequential || !existsSync(path)) return undefined;
    const there = SHARED.find((one) => one !== format && looksLike(one, path));
    if (there === undefined || looksLike(format, path)) return undefined;
    return [
      `${path}: there is ${there.title} already`,
      from.short === undefined || there.short === undefined
        ? `give another folder, or ${prefixOf(there)}${path}`
        : `give another folder, or did you mean imgconv ${from.short}2${there.short} ${shellText([source, path])}?`,
    ];
  },
  (_, { format: from, path: source }, { format, path }) =>
    from !== format && !from.traits.remote && !format.traits.remote && isSameFolder(source, path)
      ? [`${path}: the source and the target are one folder`, 'give another folder for the target']
      : undefined,
];

function isSameFolder(one: string, other: string): boolean {
  return resolve(one) === resolve(other) && statSync(one, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Those that keep the blobs of all images together. */
const SHARED = FORMATS.filter(({ heap }) => heap !== undefined);

/** Options that mean nothing between two formats. */
const OF_PAIRS: readonly Rule[] = [
  (args, from, to) => strayRegistryOption(args, { src: from.format, dest: to.format }),
  ({ link }, _, { format }) =>
    link !== undefined && !holdsFiles(format.traits)
      ? [
          `--link ${link}: ${prefixOf(format)} is ${format.traits.remote ? 'no folder of this machine' : 'one file'}, into which blobs are copied`,
          `leave it out; it is for ${prefixesWhere(holdsFiles)}`,
        ]
      : undefined,
  ({ link }, { format }) =>
    (link === 'hard' || link === 'reflink') && !holdsFiles(format.traits)
      ? [
          `--link ${link}: blobs in ${prefixOf(format)} are no files of their own and can only be copied`,
          'did you mean --link copy?',
        ]
      : undefined,
  ({ archiveCompression: how }, _, { format }) =>
    how !== undefined && !format.traits.sequential
      ? [
          `--archive-compression ${how}: ${prefixOf(format)} is a ${format.registry === undefined ? 'folder' : 'registry'}, not an archive`,
          `did you mean --compression ${how}, which is of layers? an archive is written by ${prefixesWhere(({ sequential }) => sequential)}`,
        ]
      : undefined,
  ({ layers }, _, { format }) =>
    layers !== undefined && !format.traits.uncompressedByNature
      ? [
          `--layers ${layers}: only for ${prefixesWhere(({ uncompressedByNature }) => uncompressedByNature)}`,
          layers === 'keep'
            ? 'did you mean --compression keep?'
            : 'did you mean --compression none --recompress?',
        ]
      : undefined,
  ({ untagged }, { format }) =>
    untagged === true && format.registry !== undefined
      ? [
          `--untagged: ${prefixOf(format)} lists tags only`,
          'choose an image without a tag by its digest: NAME@sha256:…',
        ]
      : undefined,
  ({ missing }, _, { format }) =>
    missing === 'sparse' && !format.traits.takesSparse
      ? [
          `--missing sparse: ${prefixOf(format)} cannot hold an incomplete index`,
          `did you mean --missing prune? sparse is for ${prefixesWhere(({ takesSparse }) => takesSparse)}`,
        ]
      : undefined,
];

/** Options that contradict each other, or one of which leaves the other nothing to do. */
const OF_OPTIONS: readonly Rule[] = [
  ({ all, platform }) =>
    all === true && platform !== undefined
      ? [`--all and --platform ${platform.join(' ')} contradict each other`, 'leave one of them out']
      : undefined,
  ({ untagged, REF = [], imagesFile = [] }, { reference }) =>
    untagged === true && (REF.length > 0 || imagesFile.length > 0 || reference !== undefined)
      ? [
          '--untagged is for all images of a source, and references choose some',
          "leave one of them out; NAME@sha256:… and globs with an @ ('demo/*@*') choose images without a tag",
        ]
      : undefined,
  ({ dryRun, quiet }) =>
    dryRun === true && quiet === true
      ? [
          '--dry-run and --quiet: the one does nothing but say what would be done, the other says nothing',
          'leave one of them out; --dry-run --json is for programs',
        ]
      : undefined,
  ({ layers, compression }) => {
    const meant = layers === 'uncompressed' ? 'none' : layers;
    return meant !== undefined && compression !== undefined && compression !== meant
      ? [
          `--layers ${layers ?? ''} and --compression ${compression} contradict each other`,
          `leave one of them out; --layers ${layers ?? ''} is --compression ${meant}`,
        ]
      : undefined;
  },
  ({ recompress, compression = 'keep', layers }) =>
    recompress === true && compression === 'keep' && layers !== 'uncompressed'
      ? [
          '--recompress: say into what with --compression gzip, zstd or none',
          'did you mean --compression gzip --recompress?',
        ]
      : undefined,
  ({ tag, rename, stripPrefix, addPrefix }) => {
    const mapping =
      rename !== undefined
        ? 'rename'
        : stripPrefix !== undefined
          ? 'strip-prefix'
          : addPrefix !== undefined
            ? 'add-prefix'
            : undefined;
    return tag !== undefined && mapping !== undefined
      ? [
          `--tag ${tag} and --${mapping}: the one is the whole name of the image, which the other would change`,
          'leave one of them out',
        ]
      : undefined;
  },
  ({ tag }, _, { path, reference }) =>
    tag !== undefined && reference !== undefined && tag !== reference
      ? [`--tag ${tag} and ${path}:${reference}: two names for one image`, 'leave one of them out']
      : undefined,
  ({ imagesFile = [] }, from) =>
    imagesFile.filter((one) => one === STREAM).length + Number(isStream(from)) > 1
      ? [
          '-: standard input can be read once, and is to be two things',
          'give one of them as a file: the archive, or the list of --images-file',
        ]
      : undefined,
];

function holdsFiles({ sequential, remote }: Place['format']['traits']): boolean {
  return !sequential && !remote;
}

/** @throws ImgconvError USAGE for options that do not apply to this conversion, or not together */
export function expectFitting(args: ConversionArguments, from: Place, to: Place): void {
  for (const rule of [...OF_PATHS, ...OF_TARGETS, ...OF_PAIRS, ...OF_OPTIONS]) {
    const broken = rule(args, from, to);
    if (broken !== undefined) throw new ImgconvError('USAGE', broken[0], { hint: broken[1] });
  }
}
