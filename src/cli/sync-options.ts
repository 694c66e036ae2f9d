import { conversionOptions, saveOptions, type ConversionArguments } from './options.js';
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
  const {
    all,
    platform,
    overwrite,
    'preserve-digests': preserveDigests,
    scoped,
    rename,
    link,
    jobs,
    quiet,
    json,
    'dry-run': dryRun,
  } = conversionOptions();
  return {
    src: {
      ...VALUE,
      value: 'kind',
      alias: 's',
      describe: 'kind of SRC: docker, dir, reg, oci, …, yaml, list',
    },
    dest: { ...VALUE, value: 'kind', alias: 'd', describe: 'kind of DST: docker, dir, reg, oci, …' },
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
    'append-suffix': { ...VALUE, value: 'text', describe: 'put this after tags' },
    extras: {
      ...FLAG,
      describe: 'also fetch attached artifacts, such as signatures; --no-extras leaves out those in the list',
    },
    'keep-going': { ...FLAG, describe: 'go on after an image that fails' },
    'dry-run': dryRun,
    overwrite,
    'preserve-digests': preserveDigests,
    registry: saveOptions().registry,
    digestfile: {
      ...VALUE,
      value: 'file',
      describe: 'write digest and name of each synced image to this file',
    },
    link,
    jobs,
    quiet,
    json,
    ...registryOptions(['src', 'dest']),
  };
}
