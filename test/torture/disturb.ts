import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { tempFolder } from '../support/temp.js';
import { Bench, CONVERSIONS, type Conversion } from './bench.js';
import { STORES, type Kind } from './corpus.js';
import { failEach } from './faults.js';
import { canMount, fillUp } from './full-disk.js';
import { kill, killEach } from './kill.js';
import { ACTIONS } from './plan.js';
import { here } from './run-here.js';
import { inProcess } from './run-process.js';
import { write, type Keeper } from './writers.js';

/*
 * The long runs: `npm run test:disturb -- kill --seed 7 --first 100 --count 50`. Every problem says by which seed and
 * number it comes again. Ends with 1 if there was any.
 */
/** Two layers of it are more than is hashed without threads. */
const LARGE = '4600000';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: process.env['TORTURE_SEED'] ?? String(Date.now()) },
    first: { type: 'string', default: '1' },
    count: { type: 'string' },
    step: { type: 'string', default: '1' },
    from: { type: 'string', default: 'dir,reg,tar,oci,ocitar,pipe' },
    to: { type: 'string', default: 'dir,reg,tar,oci,ocitar,pipe' },
    before: { type: 'string', default: 'nothing,older images' },
    actions: {
      type: 'string',
      default: 'EIO,EACCES,EROFS,ENOSPC,EDQUOT,EMFILE,EXDEV,short,shrink,grow,flip,swap,SIGINT,SIGTERM',
    },
    size: { type: 'string', default: LARGE },
    lasting: { type: 'boolean', default: false },
  },
});
const { seed } = values;
const [first, step] = [Number(values.first), Number(values.step)];
const count = (otherwise: number) => Number(values.count ?? otherwise);
const chosen = CONVERSIONS.filter(
  ({ from, to, before }) =>
    values.from.split(',').includes(from) &&
    values.to.split(',').includes(to) &&
    values.before.split(',').includes(before),
);
const SMALL = 3000;
let problems = 0;

function tell(what: string, counts: string, found: readonly string[]): void {
  process.stdout.write(`${what}: ${counts}, ${found.length} problems\n`);
  for (const problem of found) process.stdout.write(`  ${problem}\n`);
  problems += found.length;
}

/** What else may be at work in places that are written to. */
const KEEPERS: readonly Keeper[] = [
  { words: ['gc', '--older-than', '0', '--untagged'], of: ['reg', 'oci'] },
  { words: ['verify'], of: ['dir', 'reg', 'oci'] },
];
const isWanted = (kind: Kind) => values.to.split(',').includes(kind);
const titled = ({ from, to, before }: Conversion) => `${from} to ${to}, ${before}`;
const BENCHES: Readonly<Record<string, () => Promise<void>>> = {
  kill: async () => {
    const folder = tempFolder();
    const bench = await Bench.in(folder, Number(values.size));
    const result = await kill(bench, inProcess(folder), { seed, first, step, count: count(500) });
    tell('kill', `${result.kills} kills from ${first}, ${result.missed} came too late`, result.problems);
  },
  'kill-each': async () => {
    const folder = tempFolder();
    const bench = await Bench.in(folder, SMALL, true);
    for (const conversion of chosen) {
      const { kills, problems: found } = await killEach(bench, inProcess(folder), conversion, {
        first,
        step,
      });
      tell(`kill at each operation, ${titled(conversion)}`, `${kills} kills`, found);
    }
  },
  faults: async () => {
    const bench = await Bench.in(tempFolder(), SMALL, true);
    for (const conversion of chosen) {
      for (const action of ACTIONS.filter((one) => values.actions.split(',').includes(one))) {
        const sample = { first, step };
        const { runs, problems: found } = await failEach(
          bench,
          conversion,
          { action, sticky: values.lasting },
          sample,
        );
        tell(`${action}${values.lasting ? ' for ever' : ''}, ${titled(conversion)}`, `${runs} runs`, found);
      }
    }
  },
  full: async () => {
    const folder = tempFolder();
    if (!canMount(join(folder, 'mount'))) {
      process.stdout.write('full disk: skipped, file systems cannot be mounted here\n');
      return;
    }
    mkdirSync(join(folder, 'bench'));
    const bench = await Bench.in(join(folder, 'bench'), SMALL * 10, true);
    for (const conversion of chosen.filter(({ to }) => to !== 'pipe')) {
      const { runs, problems: found } = await fillUp(bench, here, conversion);
      tell(`full disk, ${titled(conversion)}`, `${runs} runs`, found);
    }
  },
  writers: async () => {
    const folder = tempFolder();
    const run = (writer: number) => {
      mkdirSync(join(folder, `writer-${writer}`), { recursive: true });
      return inProcess(join(folder, `writer-${writer}`));
    };
    const result = await write(folder, run, {
      seed,
      rounds: count(20),
      targets: STORES.filter(isWanted),
      keepers: KEEPERS,
    });
    tell('many writers', `${result.commands} commands`, result.problems);
  },
};

const wanted = positionals.length > 0 ? positionals : Object.keys(BENCHES);
for (const name of wanted) {
  const bench = BENCHES[name];
  if (bench === undefined) throw new Error(`no bench ${name}; there are ${Object.keys(BENCHES).join(', ')}`);
  process.stdout.write(`${name}, --seed ${seed}\n`);
  await bench();
}
process.exitCode = problems > 0 ? 1 : 0;
