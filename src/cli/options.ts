import { PUSHES, type PushedBy } from '../transfer/pushed.js';
import type { Format } from '../formats/format.js';
import type { LinkMode } from '../proof/linking.js';
import type { RegistryArguments } from './registry-options.js';
import { FLAG, grouped, JSON_FLAG, REPEATABLE, VALUE, type OptionTable } from './syntax.js';

export interface ConversionArguments extends RegistryArguments {
  readonly overwrite?: boolean;
  readonly preserveDigests?: boolean;
  readonly digestfile?: string;
  readonly overrideOs?: string;
  readonly overrideArch?: string;
  readonly overrideVariant?: string;
  readonly multiArch?: 'all' | 'system' | 'index-only';
  readonly registry?: string;
  readonly REF?: string[];
  readonly imagesFile?: string[];
  readonly tag?: string;
  readonly stripPrefix?: string;
  readonly addPrefix?: string;
  readonly rename?: string[];
  readonly scoped?: boolean;
  readonly link?: LinkMode;
  readonly platform?: string[];
  readonly all?: boolean;
  readonly compression?: 'keep' | 'gzip' | 'zstd' | 'none' | PushedBy;
  readonly recompress?: boolean;
  readonly archiveCompression?: 'gzip' | 'zstd' | 'none';
  readonly missing?: 'refuse' | 'prune' | 'sparse';
  readonly blobsFrom?: string[];
  readonly rebuild?: boolean;
  readonly extras?: boolean;
  readonly removeSignatures?: boolean;
  readonly untagged?: boolean;
  readonly compressionLevel?: string;
  readonly expect?: string[];
  readonly layers?: 'keep' | 'uncompressed';
  readonly dryRun?: boolean;
  readonly jobs?: string;
  readonly failFast?: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean | 'lines';
  readonly debug?: boolean;
}

const ABSENT = {
  'blobs-from': {
    ...REPEATABLE,
    value: 'place',
    describe: 'take blobs that the source lacks from here, by their digests',
  },
  rebuild: {
    ...FLAG,
    describe: 'of containerd: make layers that were deleted anew of their unpacked files; a new image',
  },
};

/** Options of every conversion. Help leaves out those that `expectFitting` refuses for `to`. */
export function conversionOptions(to?: Format) {
  return {
    ...grouped('Which images:', {
      'images-file': {
        ...REPEATABLE,
        value: 'file',
        describe: 'list of references, one a line; "SOURCE TARGET" renames; - is stdin',
      },
      platform: { ...REPEATABLE, value: 'os/arch', describe: 'only this platform of an index' },
      all: { ...FLAG, alias: 'a', describe: 'all platforms (the default)' },
      'multi-arch': {
        choices: ['all', 'system', 'index-only'],
        describe: "system: only this machine's platform of an index",
      },
      'override-os': { ...VALUE, value: 'os', describe: 'with --override-arch: as --platform' },
      'override-arch': { ...VALUE, value: 'arch', describe: 'only this architecture of an index' },
      'override-variant': { ...VALUE, value: 'variant', describe: 'with --override-arch: as --platform' },
      missing: {
        choices: ['refuse', 'prune', 'sparse'],
        describe:
          'if platforms of an index are absent: fail (default), make an index of the others, or keep it as it is',
      },
      ...ABSENT,
      extras: {
        ...FLAG,
        default: true,
        shown: 'no-extras',
        describe: 'leave out signatures, attestations and other attached artifacts',
      },
      'remove-signatures': { ...FLAG, hidden: true, describe: 'as --no-extras' },
      untagged: { ...FLAG, describe: 'also images without a tag' },
    }),
    ...grouped('Names in the target:', {
      tag: { ...VALUE, value: 'name:tag', alias: 't', describe: 'name of a single image' },
      'strip-prefix': { ...VALUE, value: 'path', describe: 'remove these first components of repositories' },
      'add-prefix': { ...VALUE, value: 'path', describe: 'put these components before repositories' },
      rename: { ...REPEATABLE, value: 'from=to', describe: 'replace a repository, or its first components' },
      scoped: { ...FLAG, describe: "keep the registry's host in names" },
    }),
    ...layerOptions(to),
    ...grouped('Run and report:', {
      'dry-run': { ...FLAG, describe: 'check everything and say what would be done' },
      overwrite: {
        ...FLAG,
        default: true,
        shown: 'no-overwrite',
        describe: 'fail for an image whose name another image has in the target',
      },
      'preserve-digests': { ...FLAG, describe: 'fail for an image whose digest would change' },
      digestfile: { ...VALUE, value: 'file', describe: 'write the digests of the images to this file' },
      'fail-fast': { ...FLAG, describe: 'stop at the first image that fails' },
      jobs: { ...VALUE, value: 'n', alias: 'j', describe: 'threads (default: one per core)' },
      quiet: { ...FLAG, alias: 'q', describe: 'print errors only' },
      json: { ...JSON_FLAG, describe: 'print a report for programs; lines: an event a line, as it happens' },
    }),
  } satisfies OptionTable;
}

/** Those that `copy` alone has. */
export function copyOptions() {
  return grouped('Which images:', {
    'all-tags': { ...FLAG, describe: 'all tags of a repository: docker://HOST/REPOSITORY' },
    tree: { ...FLAG, describe: 'into dir: put one image into a tree, by its name' },
    'additional-tag': { ...REPEATABLE, value: 'name:tag', describe: 'another name for the one image' },
    registry: REGISTRY,
  });
}

/** Those that `save` alone has. */
export function saveOptions() {
  return {
    ...grouped('Which images:', { registry: REGISTRY }),
    output: {
      ...VALUE,
      value: 'file',
      alias: 'o',
      group: 'Run and report:',
      describe: 'the store or archive, instead of the last operand',
    },
  };
}

const REGISTRY = {
  ...VALUE,
  value: 'host',
  describe: 'registry of references without a host (default: docker.io)',
};

function layerOptions(to?: Format) {
  return grouped('Layers and files:', {
    compression: {
      choices: ['keep', 'gzip', 'zstd', 'none', ...PUSHES],
      describe: 'for uncompressed layers (default: gzip for images without a manifest, else keep)',
    },
    'compression-level': { ...VALUE, value: 'n', describe: '1 (fast) to 9 (small); zstd: to 19' },
    expect: {
      ...REPEATABLE,
      value: 'name@digest',
      describe:
        'compress the layers so that the image gets the digest it had; known: as its engine remembers',
    },
    recompress: { ...FLAG, describe: 'also change compressed layers, and so their digests' },
    layers: {
      choices: ['keep', 'uncompressed'],
      hidden: to?.traits.uncompressedByNature === false,
      describe: 'uncompressed: plain layer tars in the archive',
    },
    'archive-compression': {
      choices: ['gzip', 'zstd', 'none'],
      hidden: to?.traits.sequential === false,
      describe: 'for the archive file (default: by its name, .gz or .zst)',
    },
    link: {
      choices: ['auto', 'hard', 'reflink', 'copy'],
      hidden: to?.traits.sequential === true,
      describe: 'how files get into the target (default auto: hard link, else reflink, else copy)',
    },
  });
}
