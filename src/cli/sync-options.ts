import { conversionOptions, type ConversionArguments } from './options.js';
import { registryOptions } from './registry-options.js';
import { FLAG, VALUE, type OptionTable } from './syntax.js';

/** skopeo sync's options, and those of conversions that go with them. */
export interface SyncArguments extends ConversionArguments {
  readonly SRC: string;
  readonly DST: string;
  readonly src?: string;
  readonly dest?: string;
  readonly appendSuffix?: string;
  readonly keepGoing?: boolean;
  readonly digestfile?: string;
}

/** In skopeo sync's words where it has them. */
export function syncOptions(): OptionTable {
  const { all, platform, scoped, rename, link, jobs, quiet, json, 'dry-run': dryRun } = conversionOptions();
  return {
    src: { ...VALUE, alias: 's', describe: 'what SRC is: docker, dir, reg, oci, …, yaml, list' },
    dest: { ...VALUE, alias: 'd', describe: 'what DST is: docker, dir, reg, oci, …' },
    all: {
      ...all,
      alias: 'a',
      describe: "indexes with all their platforms (default: this machine's platform of each)",
    },
    platform,
    scoped: {
      ...scoped,
      describe: 'keep host and path in names (default: their last component alone)',
    },
    rename: { ...rename, describe: 'FROM=TO for repositories, which then keep their paths' },
    'append-suffix': { ...VALUE, describe: 'put this after tags' },
    extras: {
      ...FLAG,
      describe:
        'also look for signatures and other attached artifacts; --no-extras leaves out those that are listed',
    },
    'keep-going': { ...FLAG, describe: 'go on after an image that fails' },
    'dry-run': dryRun,
    digestfile: { ...VALUE, describe: 'write the digests and names of what was synced to this file' },
    link,
    jobs,
    quiet,
    json,
    ...registryOptions(['src', 'dest']),
  };
}
