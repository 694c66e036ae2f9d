import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { tempFolder } from '../support/temp.js';
import { Bench, CONVERSIONS, type Conversion } from './bench.js';
import { STORES, type Kind } from './corpus.js';
import { failEach } from './faults.js';
import { canMount, fillUp } from './full-disk.js';
import { kill, killEach } from './kill.js';
import type { Found } from './outcome.js';
import { ACTIONS } from './plan.js';
import { here } from './run-here.js';
import { inProcess } from './run-process.js';
import { crowd, idlers, killServer } from './serve.js';
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
/** Of the operations of one conversion. */
const sample = { first, step, count: count(Infinity) };
const chosen = CONVERSIONS.filter(
  ({ from, to, before }) =>
    values.from.split(',').includes(from) &&
    values.to.split(',').includes(to) &&
    values.before.split(',').includes(before),
);
const SMALL = 3000;
let problems = 0;

/** Runs a part of a bench, and says what it finds when it finds it, and then how much it did. */
async function part(what: string, run: (tell: Found) => Promise<string>): Promise<void> {
  let found = 0;
  const counts = await run((problem) => {
    process.stdout.write(`FOUND: ${problem}\n`);
    found++;
  });
  process.stdout.write(`${what}: ${counts}, ${found} problems\n`);
  problems += found;
}

const goingOn = (next: number | undefined) =>
  next === undefined ? '' : ` from ${first}, more with --first ${next}`;

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
    await part('kill', async (tell) => {
      const kills = { seed, first, step, count: count(500) };
      const { kills: done, missed } = await kill(bench, inProcess(folder), kills, tell);
      return `${done} kills from ${first}, ${missed} came too late`;
    });
  },
  serve: async () => {
    for (const kind of ['reg', 'oci'] as const) {
      await part(`serve, ${kind}: killed`, (tell) => killServer(kind, seed, count(50), tell));
      await part(`serve, ${kind}: a crowd`, (tell) => crowd(kind, tell));
    }
    await part('serve: clients that do not end', idlers);
  },
  'kill-each': async () => {
    const folder = tempFolder();
    const bench = await Bench.in(folder, SMALL, true);
    for (const conversion of chosen)
      await part(`kill at each operation, ${titled(conversion)}`, async (tell) => {
        const { kills, next } = await killEach(bench, inProcess(folder), conversion, sample, tell);
        return `${kills} kills${goingOn(next)}`;
      });
  },
  faults: async () => {
    const bench = await Bench.in(tempFolder(), SMALL, true);
    for (const conversion of chosen) {
      for (const action of ACTIONS.filter((one) => values.actions.split(',').includes(one)))
        await part(`${action}${values.lasting ? ' for ever' : ''}, ${titled(conversion)}`, async (tell) => {
          const fault = { action, sticky: values.lasting };
          const { runs, next } = await failEach(bench, conversion, fault, sample, tell);
          return `${runs} runs${goingOn(next)}`;
        });
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
    for (const conversion of chosen.filter(({ to }) => to !== 'pipe'))
      await part(
        `full disk, ${titled(conversion)}`,
        async (tell) => `${(await fillUp(bench, here, conversion, tell)).runs} runs`,
      );
  },
  writers: async () => {
    const folder = tempFolder();
    const run = (writer: number) => {
      mkdirSync(join(folder, `writer-${writer}`), { recursive: true });
      return inProcess(join(folder, `writer-${writer}`));
    };
    const writing = { seed, rounds: count(20), targets: STORES.filter(isWanted), keepers: KEEPERS };
    await part('many writers', async (tell) => `${await write(folder, run, writing, tell)} commands`);
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
