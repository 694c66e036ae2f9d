import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from '../interop/peers.js';

/** One timed run. */
export interface Sample {
  readonly seconds: number;
  /** User and system, of the process and those it waited for. */
  readonly cpuSeconds: number;
  /** The largest of its processes at its largest. */
  readonly peakBytes: number;
}

/** The command of a checkout as a user runs it; with `profile`, a folder, under Node's CPU profiler. */
export function imgconvWords(words: readonly string[], profile?: string, checkout = projectRoot): string[] {
  const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
  return [process.execPath, ...profiling, join(checkout, 'bin/imgconv.js'), ...words];
}

/** So many runs in a row, for commands that are over before a clock has ticked. */
export function repeated(times: number, words: readonly string[]): string[] {
  return ['bash', '-c', `for ((i = 0; i < ${times}; i++)); do "$@" || exit; done`, 'bench', ...words];
}

/** Node reads this file of certificates at each start, for a tenth of a second: that is the machine's, not the command's. */
const { NODE_EXTRA_CA_CERTS: _, ...OWN } = process.env;
/** As a user has them: with what V8 compiled kept in a folder of this run (in CI nothing is). */
export const SURROUNDINGS = {
  ...OWN,
  CI: '',
  XDG_CACHE_HOME: mkdtempSync(join(tmpdir(), 'imgconv-bench-cache-')),
};
process.on('exit', () => {
  rmSync(SURROUNDINGS.XDG_CACHE_HOME, { recursive: true, force: true });
});

/** Runs a command that has to succeed; its output goes to `log`. The disk is idle when the clock starts. */
export async function measure(words: readonly string[], log: string): Promise<Sample> {
  const usage = `${log}.usage`;
  const output = openSync(log, 'w');
  execFileSync('sync');
  const start = process.hrtime.bigint();
  const child = spawn('time', ['-q', '-f', '%U %S %M', '-o', usage, ...words], {
    stdio: ['ignore', output, output],
    cwd: projectRoot,
    env: SURROUNDINGS,
  });
  const status = await new Promise((resolve, reject) => child.on('error', reject).on('exit', resolve));
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  closeSync(output);
  if (status !== 0)
    throw new Error(`exit ${String(status)}: ${words.join(' ')}\n${readFileSync(log, 'utf8')}`);
  const [user = 0, system = 0, kibibytes = 0] = readFileSync(usage, 'utf8').trim().split(' ').map(Number);
  return { seconds, cpuSeconds: user + system, peakBytes: kibibytes * 1024 };
}

/** What a number of runs have in common. */
export interface Result extends Sample {
  /** The least of any run: what others do on the machine only adds to it. */
  readonly least: { readonly seconds: number; readonly cpuSeconds: number };
  /** From the fastest to the slowest run, as a part of the median. */
  readonly spread: number;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? NaN)) / 2;
}

export function resultOf(samples: readonly Sample[]): Result {
  const seconds = samples.map((sample) => sample.seconds);
  const cpuSeconds = samples.map((sample) => sample.cpuSeconds);
  const middle = median(seconds);
  return {
    least: { seconds: Math.min(...seconds), cpuSeconds: Math.min(...cpuSeconds) },
    seconds: middle,
    cpuSeconds: median(cpuSeconds),
    peakBytes: Math.max(...samples.map((sample) => sample.peakBytes)),
    spread: (Math.max(...seconds) - Math.min(...seconds)) / middle,
  };
}
