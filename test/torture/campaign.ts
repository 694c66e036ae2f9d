import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Random } from '../bench/random.js';
import { peakMemory } from '../support/processes.js';

/** Cases by number, each from random numbers of its own, so that any one of them can be run again alone. */
export interface Campaign {
  readonly name: string;
  /** Of a long run. */
  readonly cases: number;
  /** No case takes longer. */
  readonly seconds: number;
  /** No process that runs cases ever has more memory, in bytes. */
  readonly memory: number;
  /** Once a process. What it gives throws for what must not be, and says in a word what became of the case. */
  prepare(): Promise<(random: Random, number: number) => Promise<string>>;
}

export interface Failed {
  readonly number: number;
  readonly why: string;
}
export interface Score {
  readonly tally: ReadonlyMap<string, number>;
  readonly failed: readonly Failed[];
  readonly peakBytes: number;
  readonly slowestMs: number;
}

/** So many cases a process: what one leaves behind in it does not go far. */
const BATCH = 500;
/** Loading and preparing. */
const START_SECONDS = 120;

interface Told {
  readonly number: number;
  readonly outcome?: string;
  readonly why?: string;
  readonly ms?: number;
}

export function randomOf(seed: string, number: number): Random {
  return new Random(`${seed} ${number}`);
}

/** Runs cases in this process, one after another, and says of each how it went. */
export async function runHere(
  campaign: Campaign,
  seed: string,
  numbers: Iterable<number>,
  tell: (told: Told) => void,
): Promise<void> {
  const run = await campaign.prepare();
  for (const number of numbers) {
    const since = Date.now();
    tell({ number });
    try {
      const outcome = await run(randomOf(seed, number), number);
      tell({ number, outcome, ms: Date.now() - since });
    } catch (error) {
      const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
      tell({ number, why, ms: Date.now() - since });
    }
  }
}

export interface Run {
  readonly from: number;
  readonly to: number;
  readonly onProgress?: (done: number) => void;
  /** Hears of a failure at once: a long run may be stopped before its end. */
  readonly onFailed?: (failed: Failed) => void;
}

/** Runs cases in child processes, which are ended when they take too long or too much memory. */
export async function runCampaign(
  campaign: Campaign,
  seed: string,
  { from, to, onProgress, onFailed }: Run,
): Promise<Score> {
  const tally = new Map<string, number>();
  const failed: Failed[] = [];
  const fail = (one: Failed) => {
    failed.push(one);
    onFailed?.(one);
  };
  let [peakBytes, slowestMs] = [0, 0];
  for (let next = from; next < to;) {
    const end = Math.min(next + BATCH, to);
    next = await new Promise<number>((resolve) => {
      const child = fork(fileURLToPath(import.meta.url), [campaign.name, seed, String(next), String(end)], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
      let at = next - 1;
      let done = at;
      let verdict: string | undefined;
      const stop = (why: string) => {
        verdict = why;
        child.kill('SIGKILL');
      };
      const late = () => {
        stop(`no end after ${campaign.seconds} seconds`);
      };
      let timer = setTimeout(late, START_SECONDS * 1000);
      child.on('message', ({ number, outcome, why, ms }: Told) => {
        clearTimeout(timer);
        timer = setTimeout(late, campaign.seconds * 1000);
        at = number;
        peakBytes = Math.max(peakBytes, peakMemory(child.pid ?? 0));
        if (ms === undefined) return;
        done = number;
        slowestMs = Math.max(slowestMs, ms);
        if (peakBytes > campaign.memory) {
          stop(`${Math.round(peakBytes / 1e6)} MB of memory, more than ${Math.round(campaign.memory / 1e6)}`);
          peakBytes = 0;
        } else if (why !== undefined) fail({ number, why });
        else if (outcome !== undefined) tally.set(outcome, (tally.get(outcome) ?? 0) + 1);
      });
      // What it said last may be read only after its exit was.
      void Promise.all([once(child, 'exit'), once(child, 'disconnect')]).then(([[code, signal]]) => {
        clearTimeout(timer);
        if (code === 0 && done === end - 1) {
          resolve(end);
          return;
        }
        const number = Math.max(at, next);
        fail({ number, why: verdict ?? `the process ended with ${String(signal ?? code)}` });
        resolve(number + 1);
      });
    });
    onProgress?.(next - from);
  }
  return { tally, failed, peakBytes, slowestMs };
}

/** The child's side. */
if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  const [name = '', seed = '', from = '', to = ''] = process.argv.slice(2);
  const { CAMPAIGNS } = await import('./campaigns.js');
  const campaign = CAMPAIGNS.find((one) => one.name === name);
  if (campaign === undefined) throw new Error(`no campaign ${name}`);
  const numbers = Array.from({ length: Number(to) - Number(from) }, (_, i) => Number(from) + i);
  await runHere(campaign, seed, numbers, (told) => process.send?.(told));
  process.disconnect();
}
