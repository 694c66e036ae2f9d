import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { against, contend, profiled, type Outcome } from './contest.js';
import { Corpora, type Corpus } from './corpus.js';
import { ContentDiffers } from './equal.js';
import type { Result } from './measure.js';
import { missingInBench, peerVersions } from './peers.js';
import { setSlack, wallBelow, within, type Row, type Target } from './row.js';
import { README_ROWS, ROWS } from './rows.js';
import { savedRow, tableOf, type SavedRow } from './table.js';

const RUNS = 5;
/** What the sizes of corpora are multiplied by: in a short run, and in a whole one, which does each row at two sizes. */
const SHORT_SCALE = 0.3;
const SCALES = [0.2, 1];
/** The bounds of rows are meant for the whole size. */
const SMALL_SLACK = 1.5;

const USAGE = `npm run bench -- [ROW…] [--runs N] [--short] [--pair CHECKOUT] [--save FILE] [--profile FOLDER]

Each row runs imgconv and a peer in turn, ${RUNS} times each unless --runs says otherwise (rows without a peer once), and prints
the medians. The exit status is 1 when a row misses its target or the two sides made different things. Each row runs with
images of a fifth of the size too, where the bounds are ${SMALL_SLACK} times as wide; BENCH_SCALE, a number, chooses one size.
--short runs some rows on a smaller corpus (BENCH_SCALE=${SHORT_SCALE}) and holds them to bounds that a row misses when it takes
about twice as long as it should; a row that misses is run once more. --profile runs imgconv alone, under node --cpu-prof.
--pair compares with the imgconv of another checkout, which has to be built, and allows 1.1 times its time.
--save writes the results to a file, out of which the tables of the documents are made.
BENCH_PEERS names the root folder of a newer Debian (debootstrap) whose skopeo and crane are compared with.
BENCH_DIR names a folder for corpora, which are then kept.
Rows: ${ROWS.map(({ name }) => name).join(' ')}
Rows of --short: ${ROWS.flatMap(({ name, short }) => (short === undefined ? [] : [name])).join(' ')}
`;

const NAME = 18;
const SIDE = 44;
const AGAINST = 31;

function sideText({ seconds, cpuSeconds, peakBytes, spread }: Result, bytes: number | undefined): string {
  const digits = seconds < 1 ? 3 : 2;
  return [
    `${seconds.toFixed(digits)} s`.padStart(9),
    `±${Math.round(spread * 50)}%`.padStart(5),
    `${cpuSeconds.toFixed(2)} cpu`.padStart(10),
    `${Math.round(peakBytes / 1e6)} MB`.padStart(7),
    (bytes === undefined ? '' : (bytes / 1e6).toFixed(1)).padStart(8),
  ].join(' ');
}

function lineOf({ against }: Row, isAlone: boolean, { ours, peer, bytes, verdicts }: Outcome): string {
  const reached = verdicts.every(({ ok }) => ok) ? 'ok    ' : 'MISSES';
  return [
    sideText(ours, bytes.ours),
    (isAlone ? '' : sideText(peer, bytes.peer)).padEnd(SIDE),
    (isAlone ? '-' : (ours.seconds / peer.seconds).toFixed(3)).padStart(6),
    reached,
    `${against.padEnd(AGAINST)} ${verdicts.map(({ text, ok }) => (ok ? text : `${text} (missed)`)).join('; ')}`,
  ].join(' | ');
}

interface Wanted {
  readonly runs: number;
  readonly isShort: boolean;
  readonly pair: string | undefined;
}

/** Prints a line. @returns undefined for a row that is left out, or whose two sides made different things */
async function runRow(
  row: Row,
  corpus: Corpus,
  { runs, isShort, pair }: Wanted,
): Promise<SavedRow | undefined> {
  const say = (text: string) => process.stdout.write(`${row.name.padEnd(NAME)} ${text}\n`);
  const missing = missingInBench('time', ...row.peers);
  if (missing !== false) {
    say(`skipped: ${missing}`);
    return undefined;
  }
  const own = await row.prepare(corpus);
  const contest = pair === undefined ? own : against(own, pair);
  const isAlone = contest.peer === undefined;
  const folder = mkdtempSync(join(corpus.outputs, `${row.name}-`));
  const targets: readonly Target[] =
    pair !== undefined ? [wallBelow(1.1)] : isShort && row.short ? within(row.short) : contest.targets;
  try {
    const outcome = await contend(contest, targets, folder, isAlone ? 1 : runs);
    say(lineOf(row, isAlone, outcome));
    return savedRow(row, corpus.scale, isAlone, outcome);
  } catch (error) {
    if (!(error instanceof ContentDiffers)) throw error;
    say(`THE RESULTS DIFFER: ${error.message}`);
    process.exitCode = 1;
    return undefined;
  } finally {
    await contest.after?.();
    if (isAlone) rmSync(folder, { recursive: true, force: true });
  }
}

/** A row of a short run that misses is run once more before it counts. */
async function settledRow(row: Row, corpus: Corpus, wanted: Wanted): Promise<SavedRow | undefined> {
  const first = await runRow(row, corpus, wanted);
  const last = wanted.isShort && first?.isReached === false ? await runRow(row, corpus, wanted) : first;
  if (last?.isReached === false) process.exitCode = 1;
  return last;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    short: { type: 'boolean', default: false },
    pair: { type: 'string' },
    save: { type: 'string' },
    profile: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  },
});

async function main(): Promise<void> {
  const { short: isShort, profile, save } = values;
  const wanted: Wanted = {
    runs: Number(values.runs ?? RUNS),
    isShort,
    pair: values.pair && resolve(values.pair),
  };
  const named = process.env['BENCH_SCALE'];
  const scales = named !== undefined ? [Number(named)] : isShort ? [SHORT_SCALE] : SCALES;
  const unknown = positionals.some((name) => !ROWS.some((row) => row.name === name));
  if (values.help || unknown || !(wanted.runs >= 1) || !scales.every((scale) => scale > 0)) {
    process.stdout.write(USAGE);
    return;
  }
  const versions = [`Node ${process.versions.node}`, ...(await peerVersions())];
  const cores = availableParallelism();
  process.stdout.write(`${cores} cores; ${versions.join(', ')}\n`);
  const heading = ['imgconv: median, spread, CPU, RSS, output in MB'.padEnd(SIDE), 'peer'.padEnd(SIDE)];
  const saved: SavedRow[] = [];
  const run = { versions, cores, rows: saved };
  using corpora = new Corpora();
  for (const scale of scales) {
    const corpus = corpora.of(scale);
    setSlack(!isShort && scale < 1 ? SMALL_SLACK : 1);
    process.stdout.write(`\n${`size × ${scale}`.padEnd(NAME)} ${heading.join(' | ')} |  ratio | target\n`);
    for (const row of ROWS) {
      if (positionals.length > 0 && !positionals.includes(row.name)) continue;
      if (isShort && row.short === undefined) continue;
      if (profile !== undefined) {
        const into = join(resolve(profile), row.name);
        await profiled(await row.prepare(corpus), join(corpus.outputs, row.name), into);
        process.stdout.write(`${row.name.padEnd(NAME)} ${into}\n`);
      } else saved.push(...[await settledRow(row, corpus, wanted)].filter((one) => one !== undefined));
      if (save !== undefined) writeFileSync(save, `${JSON.stringify(run, null, 2)}\n`);
    }
  }
  if (saved.some(({ scale }) => scale === 1))
    process.stdout.write(`\n${tableOf(run, ROWS)}\n${tableOf(run, ROWS, README_ROWS)}`);
}

await main();
