import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Traits } from '../formats/format.js';
import { FORMATS, isPrefixed, isStream, prefixOf, STREAM, type Place } from '../formats/table.js';
import { looksLike } from '../formats/unrecognised.js';
import { ImgconvError } from '../model/errors.js';
import type { ConversionArguments } from './options.js';
import { strayRegistryOption } from './registry-options.js';
import { shellText } from './shell.js';

/** What is wrong with these options for this conversion, and what to say instead; no array when they go together. */
type Rule = (
  args: ConversionArguments,
  from: Place,
  to: Place,
) => readonly [what: string, hint: string] | false | undefined;

function prefixesWhere(fits: (traits: Traits) => boolean): string {
  return FORMATS.filter(({ create, traits }) => create !== undefined && fits(traits))
    .map(prefixOf)
    .join(' ');
}

function holdsFiles({ sequential, remote }: Traits): boolean {
  return !sequential && !remote;
}

/** A path that is there is a path, however it begins. */
function hasPrefix({ path }: Place): boolean {
  return isPrefixed(path) && !existsSync(path);
}

function isSameFolder(one: string, other: string): boolean {
  return resolve(one) === resolve(other) && statSync(one, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Formats that keep the blobs of all images together. */
const SHARED = FORMATS.filter(({ blobStore }) => blobStore !== undefined);

const OF_PATHS: readonly Rule[] = [
  ({ REF = [] }, from, to) => {
    const prefixed = [from, to].filter(hasPrefix).map(({ path }) => path);
    const places = [from, to].map(
      (place) => `${hasPrefix(place) ? '' : prefixOf(place.format)}${place.path}`,
    );
    return (
      prefixed.length > 0 && [
        `${prefixed.join(', ')}: prefixes are for imgconv copy, and there is no such path`,
        `imgconv copy ${shellText([...places, ...REF])}`,
      ]
    );
  },
  // A folder with all that one format keeps is no place for another's.
  (_, { format: from, path: source }, { format, path }) => {
    if (!holdsFiles(format.traits) || !existsSync(path)) return undefined;
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
    from !== format &&
    !from.traits.remote &&
    !format.traits.remote &&
    isSameFolder(source, path) && [
      `${path}: the source and the target are one folder`,
      'give another folder for the target',
    ],
];

/** Options that mean nothing between two formats. */
const OF_PAIRS: readonly Rule[] = [
  (args, from, to) => strayRegistryOption(args, { src: from.format, dest: to.format }),
  ({ link }, _, { format }) =>
    link !== undefined &&
    !holdsFiles(format.traits) && [
      `--link ${link}: ${prefixOf(format)} is ${format.traits.remote ? 'no folder of this machine' : 'one file'}, into which blobs are copied`,
      `leave it out; it is for ${prefixesWhere(holdsFiles)}`,
    ],
  ({ link }, { format }) =>
    (link === 'hard' || link === 'reflink') &&
    !holdsFiles(format.traits) && [
      `--link ${link}: blobs in ${prefixOf(format)} are no files of their own and can only be copied`,
      'did you mean --link copy?',
    ],
  ({ archiveCompression: how }, _, { format }) =>
    how !== undefined &&
    !format.traits.sequential && [
      `--archive-compression ${how}: ${prefixOf(format)} is a ${format.registry === undefined ? 'folder' : 'registry'}, not an archive`,
      `did you mean --compression ${how}, which is of layers? an archive is written by ${prefixesWhere(({ sequential }) => sequential)}`,
    ],
  ({ layers }, _, { format }) =>
    layers !== undefined &&
    !format.traits.uncompressedByNature && [
      `--layers ${layers}: only for ${prefixesWhere(({ uncompressedByNature }) => uncompressedByNature)}`,
      `did you mean --compression ${layers === 'keep' ? 'keep' : 'none --recompress'}?`,
    ],
  ({ rebuild }, { format }) =>
    rebuild === true &&
    !['containerd', 'docker-root'].includes(format.prefix) && [
      `--rebuild: only for containerd: and docker-root:, not for ${prefixOf(format)}`,
      'leave it out; --blobs-from PLACE takes what is missing from elsewhere',
    ],
  ({ untagged }, { format }) =>
    untagged === true &&
    format.registry !== undefined && [
      `--untagged: ${prefixOf(format)} lists tags only`,
      'choose an image without a tag by its digest: NAME@sha256:…',
    ],
  ({ missing }, _, { format }) =>
    missing === 'sparse' &&
    !format.traits.takesSparse && [
      `--missing sparse: ${prefixOf(format)} cannot hold an incomplete index`,
      `did you mean --missing prune? sparse is for ${prefixesWhere(({ takesSparse }) => takesSparse)}`,
    ],
];

/** Options that contradict each other, or one of which leaves the other nothing to do. */
const OF_OPTIONS: readonly Rule[] = [
  ({ all, platform }) =>
    all === true &&
    platform !== undefined && [
      `--all and --platform ${platform.join(' ')} contradict each other`,
      'leave one of them out',
    ],
  ({ multiArch }) =>
    multiArch === 'index-only' && [
      '--multi-arch index-only: the target would have an index without its images',
      'use --all for all platforms, or --platform for some',
    ],
  ({ multiArch, all, platform, overrideOs, overrideArch, overrideVariant }) => {
    const one = [platform, overrideOs, overrideArch, overrideVariant].some((given) => given !== undefined);
    const isAll = all === true || multiArch === 'all';
    const isNamed = [overrideOs, overrideArch, overrideVariant].some((given) => given !== undefined);
    return (
      ((isAll && (one || multiArch === 'system')) || (isNamed && platform !== undefined)) && [
        'the options say two different things of the platforms to take',
        'leave one of them out: --all, --platform, --override-arch or --multi-arch',
      ]
    );
  },
  ({ preserveDigests, recompress }) =>
    preserveDigests === true &&
    recompress === true && [
      '--preserve-digests and --recompress contradict each other: new layers have new digests',
      'leave one of them out',
    ],
  ({ expect, dryRun }) =>
    expect !== undefined &&
    dryRun === true && [
      '--dry-run and --expect: whether an image gets its digest is known only when its layers are compressed',
      'leave out --dry-run: an image that does not get its digest is not written',
    ],
  ({ untagged, REF = [], imagesFile = [] }, { reference }) =>
    untagged === true &&
    (REF.length > 0 || imagesFile.length > 0 || reference !== undefined) && [
      '--untagged is for all images of a source, and references choose some',
      "leave one of them out; NAME@sha256:… and globs with an @ ('demo/*@*') choose images without a tag",
    ],
  ({ dryRun, quiet }) =>
    dryRun === true &&
    quiet === true && [
      '--dry-run and --quiet: the one does nothing but say what would be done, the other says nothing',
      'leave one of them out; --dry-run --json is for programs',
    ],
  ({ layers = '', compression }) => {
    const meant = layers === 'uncompressed' ? 'none' : layers;
    return (
      meant !== '' &&
      compression !== undefined &&
      compression !== meant && [
        `--layers ${layers} and --compression ${compression} contradict each other`,
        `leave one of them out; --layers ${layers} is --compression ${meant}`,
      ]
    );
  },
  ({ recompress, compression = 'keep', layers }) =>
    recompress === true &&
    compression === 'keep' &&
    layers !== 'uncompressed' && [
      '--recompress: say into what with --compression gzip, zstd or none',
      'did you mean --compression gzip --recompress?',
    ],
  ({ tag, rename, stripPrefix, addPrefix }) => {
    const [mapping] = Object.entries({ rename, 'strip-prefix': stripPrefix, 'add-prefix': addPrefix })
      .filter(([, value]) => value !== undefined)
      .map(([name]) => name);
    return (
      tag !== undefined &&
      mapping !== undefined && [
        `--tag ${tag} and --${mapping}: the one is the whole name of the image, which the other would change`,
        'leave one of them out',
      ]
    );
  },
  ({ tag }, _, { path, reference }) =>
    tag !== undefined &&
    reference !== undefined &&
    tag !== reference && [
      `--tag ${tag} and ${path}:${reference}: two names for one image`,
      'leave one of them out',
    ],
  ({ imagesFile = [] }, from) =>
    imagesFile.filter((one) => one === STREAM).length + Number(isStream(from)) > 1 && [
      '-: standard input can be read once, and is to be two things',
      'give one of them as a file: the archive, or the list of --images-file',
    ],
];

/** @throws ImgconvError USAGE for options that do not apply to this conversion, or not together */
export function expectFitting(args: ConversionArguments, from: Place, to: Place): void {
  for (const rule of [...OF_PATHS, ...OF_PAIRS, ...OF_OPTIONS]) {
    const broken = rule(args, from, to);
    if (broken) throw new ImgconvError('USAGE', broken[0], { hint: broken[1] });
  }
}
