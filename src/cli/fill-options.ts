import { registryOptions } from './registry-options.js';
import { FLAG, grouped, JSON_FLAG, REPEATABLE, VALUE } from './syntax.js';

export function fillOptions() {
  return {
    ...grouped('Which images:', {
      platform: { ...REPEATABLE, value: 'os/arch', describe: 'only this platform of an index' },
      from: {
        ...REPEATABLE,
        value: 'place',
        describe: 'take images from this place, if it has them, before their registries',
      },
      'charts-as': {
        ...VALUE,
        value: 'repository',
        describe: 'also store packed charts of charts/ as helm push does, below this repository',
      },
    }),
    ...grouped('Run and report:', {
      check: {
        ...FLAG,
        describe: 'compare the registry folder with the files; the exit status is 1 if they differ',
      },
      'dry-run': { ...FLAG, describe: 'check everything and say what would be done' },
      jobs: { ...VALUE, value: 'n', alias: 'j', describe: 'threads (default: one per core)' },
      quiet: { ...FLAG, alias: 'q', describe: 'print errors only' },
      json: { ...JSON_FLAG, describe: 'print a report for programs; lines: an event a line, as it happens' },
    }),
    ...registryOptions(['src']),
  };
}
