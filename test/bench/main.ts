import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { missingPeers } from '../interop/peers.js';
import { Corpus } from './corpus.js';
import { ContentDiffers } from './equal.js';
import { imgconvWords, measure, repeated, resultOf, type Result, type Sample } from './measure.js';
import { within, type Bounds, type Contest, type Outputs, type Row, type Run, type Verdict } from './row.js';
import { archiveRows } from './rows-archive.js';
import { registryRows } from './rows-registry.js';
import { bigRows, startRows } from './rows-small.js';
import { storeRows } from './rows-store.js';

const ROWS: readonly Row[] = [...storeRows, ...registryRows, ...archiveRows, ...startRows, ...bigRows];
const RUNS = 5;
/** What `--short` multiplies the sizes of corpora by. */
const SHORT_SCALE = '0.3';

const USAGE = `npm run bench -- [ROW…] [--runs N] [--short] [--profile FOLDER]

Each row runs imgconv and a peer in turn, ${RUNS} times each unless --runs says otherwise (rows without a peer once), and prints
the medians. The exit status is 1 when a row misses its target or the two sides made different things.
--short runs some rows on a smaller corpus (BENCH_SCALE=${SHORT_SCALE}) and holds them to bounds that a row misses when it takes
about twice as long as it should; a row that misses is run once more. --profile runs imgconv alone, under node --cpu-prof.
BENCH_DIR names a folder for corpora, which are then kept; BENCH_SCALE, a number, multiplies their sizes.
Rows: ${ROWS.map(({ name }) => name).join(' ')}
Rows of --short: ${ROWS.flatMap(({ name, short }) => (short === undefined ? [] : [name])).join(' ')}
`;

function oursRun({ ours, times = 1 }: Contest, out: string, profile?: string): Run {
  const words = imgconvWords(ours(out), profile);
  return { words: times > 1 ? repeated(times, words) : words };
}

async function timed(run: Run, log: string): Promise<Sample> {
  try {
    return await measure(run.words, log);
  } finally {
    await run.stop?.();
  }
}

function outputsIn(folder: string): Outputs {
  mkdirSync(folder, { recursive: true });
  const at = (file: string) => join(folder, file);
  return { ours: at('ours'), oursLog: at('ours.log'), peer: at('peer'), peerLog: at('peer.log') };
}

/** Alternates between the two sides; the first outputs are compared. */
async function contend(contest: Contest, targets: Contest['targets'], folder: string, runs: number) {
  const { peer, peerShare = 1, before, check } = contest;
  const samples: { ours: Sample[]; peer: Sample[] } = { ours: [], peer: [] };
  let more: readonly Verdict[] = [];
  for (let i = 0; i < runs; i++) {
    const outputs = outputsIn(join(folder, String(i)));
    await before?.(outputs.ours);
    samples.ours.push(await timed(oursRun(contest, outputs.ours), outputs.oursLog));
    if (peer === undefined) continue;
    const { seconds, cpuSeconds, peakBytes } = await timed(await peer(outputs.peer), outputs.peerLog);
    samples.peer.push({ seconds: seconds / peerShare, cpuSeconds: cpuSeconds / peerShare, peakBytes });
    if (i === 0) more = (await check?.(outputs)) ?? [];
  }
  const ours = resultOf(samples.ours);
  const theirs = resultOf(peer === undefined ? samples.ours : samples.peer);
  return {
    ours,
    peer: theirs,
    verdicts: [...targets.map((target) => target(ours, theirs)), ...more],
  };
}

function sideText({ seconds, cpuSeconds, peakBytes, spread }: Result): string {
  const digits = seconds < 1 ? 3 : 2;
  return [
    `${seconds.toFixed(digits)} s`.padStart(9),
    `±${Math.round(spread * 50)}%`.padStart(5),
    `${cpuSeconds.toFixed(2)} cpu`.padStart(10),
    `${Math.round(peakBytes / 1e6)} MB`.padStart(7),
  ].join(' ');
}

const NAME = 18;
const SIDE = 35;
const AGAINST = 31;

/** Prints a line; false when the row misses a target. */
async function runRow(row: Row, corpus: Corpus, runs: number, bounds?: Bounds): Promise<boolean> {
  const say = (text: string) => process.stdout.write(`${row.name.padEnd(NAME)} ${text}\n`);
  const missing = missingPeers('time', ...row.peers);
  if (missing !== false) {
    say(`skipped: ${missing}`);
    return true;
  }
  const contest = await row.prepare(corpus);
  const alone = contest.peer === undefined;
  const folder = mkdtempSync(join(corpus.outputs, `${row.name}-`));
  const targets = bounds === undefined ? contest.targets : within(bounds);
  try {
    const { ours, peer, verdicts } = await contend(contest, targets, folder, alone ? 1 : runs);
    const ratio = alone ? '-' : (ours.seconds / peer.seconds).toFixed(3);
    const reached = verdicts.every(({ ok }) => ok);
    const numbers = verdicts.map(({ text, ok }) => (ok ? text : `${text} (missed)`)).join('; ');
    const theirs = (alone ? '' : sideText(peer)).padEnd(SIDE);
    say(
      `${sideText(ours)} | ${theirs} | ${ratio.padStart(6)} | ${reached ? 'ok    ' : 'MISSES'} | ${row.against.padEnd(AGAINST)} ${numbers}`,
    );
    return reached;
  } catch (error) {
    if (!(error instanceof ContentDiffers)) throw error;
    say(`THE RESULTS DIFFER: ${error.message}`);
    return false;
  } finally {
    await contest.after?.();
    if (alone) rmSync(folder, { recursive: true, force: true });
  }
}

async function profileRow(row: Row, corpus: Corpus, profiles: string): Promise<void> {
  const contest = await row.prepare(corpus);
  const { ours, oursLog } = outputsIn(join(corpus.outputs, row.name));
  await contest.before?.(ours);
  const into = join(resolve(profiles), row.name);
  await measure(oursRun({ ...contest, times: 1 }, ours, into).words, oursLog);
  await contest.after?.();
  process.stdout.write(`${row.name.padEnd(NAME)} ${into}\n`);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    short: { type: 'boolean', default: false },
    profile: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  },
});
const runs = Number(values.runs ?? RUNS);
const unknown = positionals.filter((name) => !ROWS.some((row) => row.name === name));
if (values.help || unknown.length > 0 || !(runs >= 1)) process.stdout.write(USAGE);
else {
  if (values.short) process.env['BENCH_SCALE'] ??= SHORT_SCALE;
  using corpus = new Corpus();
  const heading = ['imgconv: median, spread, CPU, RSS', 'peer', 'ratio', 'target'];
  if (values.profile === undefined)
    process.stdout.write(
      `${''.padEnd(NAME)} ${heading[0]?.padEnd(SIDE - 1) ?? ''} | ${heading[1]?.padEnd(SIDE) ?? ''} |  ${heading[2] ?? ''} | ${heading[3] ?? ''}\n`,
    );
  for (const row of ROWS) {
    if (positionals.length > 0 && !positionals.includes(row.name)) continue;
    if (values.short && row.short === undefined) continue;
    const bounds = values.short ? row.short : undefined;
    if (values.profile === undefined) {
      const reached =
        (await runRow(row, corpus, runs, bounds)) ||
        (bounds !== undefined && (await runRow(row, corpus, runs, bounds)));
      if (!reached) process.exitCode = 1;
    } else await profileRow(row, corpus, values.profile);
  }
}
