import type { Argv } from 'yargs';
import type { Format } from '../formats/format.js';
import { ImgconvError } from '../model/errors.js';
import type { LinkMode } from '../io/verified-blob.js';

export interface ConversionArguments {
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
  readonly compressionLevel?: string;
  readonly layers?: 'keep' | 'uncompressed';
  readonly dryRun?: boolean;
  readonly jobs?: string;
  readonly failFast?: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
  readonly debug?: boolean;
}

/** `array` with `nargs` would take a lone `-` for another option. */
const REPEATABLE = {
  type: 'string',
  requiresArg: true,
  coerce: (value: string | string[] | undefined) => (value === undefined ? undefined : [value].flat()),
} as const;

/** Options of every conversion; `to` leaves out those that mean nothing for its target. */
export function conversionOptions(y: Argv, to?: Format): Argv {
  const options = y
    .option('images-file', {
      ...REPEATABLE,
      describe: 'references to convert, one a line; "SOURCE TARGET" renames; - is stdin',
    })
    .option('tag', { type: 'string', alias: 't', describe: 'name a single image: NAME:TAG' })
    .option('strip-prefix', { type: 'string', describe: 'leave out the first components of repositories' })
    .option('add-prefix', { type: 'string', describe: 'put components before repositories' })
    .option('rename', { ...REPEATABLE, describe: 'FROM=TO for repositories' })
    .option('scoped', { type: 'boolean', describe: "keep the registry's host in names" })
    .option('platform', {
      ...REPEATABLE,
      describe: 'os/arch[/variant] to take from indexes',
    })
    .option('all', { type: 'boolean', describe: 'all platforms, the default', conflicts: 'platform' })
    .option('compression', {
      choices: ['keep', 'gzip', 'zstd', 'none'] as const,
      describe: 'what becomes of uncompressed layers (default: gzip from tar into dir and reg, else keep)',
    })
    .option('compression-level', { type: 'string', describe: '1 (fast) to 9 (small); zstd: to 19' })
    .option('recompress', {
      type: 'boolean',
      describe: 'also layers that are compressed: their digests change',
    })
    .option('missing', {
      choices: ['refuse', 'prune', 'sparse'] as const,
      describe: 'an index with absent members: an error, a new index of the rest, or kept as it is',
    })
    .option('extras', {
      type: 'boolean',
      default: true,
      describe: 'signatures, attestations and other attached artifacts; --no-extras leaves them out',
    })
    .option('dry-run', { type: 'boolean', describe: 'say what would be done' })
    .option('jobs', { type: 'string', alias: 'j', describe: "threads (default: the machine's cores)" })
    .option('fail-fast', { type: 'boolean', describe: 'stop at the first image that fails' })
    .option('quiet', { type: 'boolean', alias: 'q', describe: 'only errors' })
    .option('json', { type: 'boolean', describe: 'a machine-readable report on stdout' });
  if (to === undefined || !to.traits.sequential)
    options.option('link', {
      choices: ['auto', 'hard', 'reflink', 'copy'] as const,
      describe: 'how files get in place (default: auto: hard link, else reflink, else copy)',
    });
  if (to === undefined || to.traits.sequential)
    options.option('archive-compression', {
      choices: ['gzip', 'zstd', 'none'] as const,
      describe: 'of the archive file (default: by its name, .gz or .zst)',
    });
  if (to === undefined || to.traits.uncompressedByNature)
    options.option('layers', {
      choices: ['keep', 'uncompressed'] as const,
      describe: 'write plain layer tars',
    });
  return options;
}

/** A whole number of an option. @throws ImgconvError USAGE */
export function parseCount(option: string, text: string | undefined, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^[0-9]+$/.test(text) && value >= 1 && value <= max) return value;
  throw new ImgconvError('USAGE', `--${option} ${text}: not a number from 1 to ${max}`);
}
