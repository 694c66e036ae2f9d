import type { Format } from '../formats/format.js';
import type { LinkMode } from '../proof/linking.js';
import type { RegistryArguments } from './registry-options.js';
import { FLAG, REPEATABLE, VALUE, type OptionTable } from './syntax.js';

export interface ConversionArguments extends RegistryArguments {
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
  readonly compression?: 'keep' | 'gzip' | 'zstd' | 'none';
  readonly recompress?: boolean;
  readonly archiveCompression?: 'gzip' | 'zstd' | 'none';
  readonly missing?: 'refuse' | 'prune' | 'sparse';
  readonly extras?: boolean;
  readonly untagged?: boolean;
  readonly compressionLevel?: string;
  readonly layers?: 'keep' | 'uncompressed';
  readonly dryRun?: boolean;
  readonly jobs?: string;
  readonly failFast?: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

/** Options of every conversion; help leaves out those that mean nothing for `to`, which `expectFitting` refuses. */
export function conversionOptions(to?: Format) {
  return {
    'images-file': {
      ...REPEATABLE,
      describe: 'references to convert, one a line; "SOURCE TARGET" renames; - is stdin',
    },
    tag: { ...VALUE, alias: 't', describe: 'name a single image: NAME:TAG' },
    'strip-prefix': { ...VALUE, describe: 'leave out the first components of repositories' },
    'add-prefix': { ...VALUE, describe: 'put components before repositories' },
    rename: { ...REPEATABLE, describe: 'FROM=TO for repositories' },
    scoped: { ...FLAG, describe: "keep the registry's host in names" },
    platform: { ...REPEATABLE, describe: 'os/arch[/variant] to take from indexes' },
    all: { ...FLAG, describe: 'all platforms, the default' },
    compression: {
      choices: ['keep', 'gzip', 'zstd', 'none'],
      describe:
        'what becomes of uncompressed layers (default: gzip for images without a manifest, else keep)',
    },
    'compression-level': { ...VALUE, describe: '1 (fast) to 9 (small); zstd: to 19' },
    recompress: { ...FLAG, describe: 'also layers that are compressed: their digests change' },
    missing: {
      choices: ['refuse', 'prune', 'sparse'],
      describe: 'an index with absent members: an error, a new index of the rest, or kept as it is',
    },
    extras: {
      ...FLAG,
      default: true,
      describe: 'signatures, attestations and other attached artifacts; --no-extras leaves them out',
    },
    untagged: { ...FLAG, describe: 'also images without a tag, which are otherwise left out' },
    'dry-run': { ...FLAG, describe: 'say what would be done' },
    jobs: { ...VALUE, alias: 'j', describe: "threads (default: the machine's cores)" },
    'fail-fast': { ...FLAG, describe: 'stop at the first image that fails' },
    quiet: { ...FLAG, alias: 'q', describe: 'only errors' },
    json: { ...FLAG, describe: 'a machine-readable report on stdout' },
    link: {
      choices: ['auto', 'hard', 'reflink', 'copy'],
      hidden: to?.traits.sequential === true,
      describe: 'how files get in place (default: auto: hard link, else reflink, else copy)',
    },
    'archive-compression': {
      choices: ['gzip', 'zstd', 'none'],
      hidden: to?.traits.sequential === false,
      describe: 'of the archive file (default: by its name, .gz or .zst)',
    },
    layers: {
      choices: ['keep', 'uncompressed'],
      hidden: to?.traits.uncompressedByNature === false,
      describe: 'write plain layer tars',
    },
  } satisfies OptionTable;
}
