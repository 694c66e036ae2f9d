import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { imgconvWords, measure, repeated, resultOf, type Result, type Sample } from './measure.js';
import type { Contest, Outputs, Run, Target, Verdict } from './row.js';

/** What a row came to. */
export interface Outcome {
  readonly ours: Result;
  /** For a row without a peer the same as `ours`. */
  readonly peer: Result;
  /** What the outputs of the first run take on the disk; absent where there are none. */
  readonly bytes: { readonly ours: number | undefined; readonly peer: number | undefined };
  readonly verdicts: readonly Verdict[];
}

function oursRun({ ours, times = 1 }: Contest, out: string, profile?: string, checkout?: string): Run {
  const words = imgconvWords(ours(out), profile, checkout);
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

function bytesAt(path: string): number | undefined {
  if (!existsSync(path)) return undefined;
  return Number(execFileSync('du', ['-sb', path], { encoding: 'utf8' }).split('\t')[0]);
}

/** Alternates between the two sides; the first outputs are compared. @throws ContentDiffers */
export async function contend(
  contest: Contest,
  targets: readonly Target[],
  folder: string,
  runs: number,
): Promise<Outcome> {
  const { peer, peerShare = 1, before, check } = contest;
  const samples: { ours: Sample[]; peer: Sample[] } = { ours: [], peer: [] };
  let more: readonly Verdict[] = [];
  let bytes: Outcome['bytes'] = { ours: undefined, peer: undefined };
  for (let i = 0; i < runs; i++) {
    const outputs = outputsIn(join(folder, String(i)));
    await before?.(outputs.ours);
    samples.ours.push(await timed(oursRun(contest, outputs.ours), outputs.oursLog));
    if (peer === undefined) continue;
    const { seconds, cpuSeconds, peakBytes } = await timed(await peer(outputs.peer), outputs.peerLog);
    samples.peer.push({ seconds: seconds / peerShare, cpuSeconds: cpuSeconds / peerShare, peakBytes });
    if (i > 0) continue;
    bytes = { ours: bytesAt(outputs.ours), peer: bytesAt(outputs.peer) };
    more = (await check?.(outputs)) ?? [];
  }
  const ours = resultOf(samples.ours);
  const theirs = resultOf(peer === undefined ? samples.ours : samples.peer);
  return {
    ours,
    peer: theirs,
    bytes,
    verdicts: [...targets.map((target) => target(ours, theirs)), ...more],
  };
}

/** The same contest with the imgconv of another checkout as the peer. */
export function against(contest: Contest, checkout: string): Contest {
  const { check: _, ...rest } = contest;
  const { before } = contest;
  return {
    ...rest,
    peerShare: 1,
    peer: async (out) => {
      await before?.(out);
      return oursRun(contest, out, undefined, checkout);
    },
  };
}

/** One run of imgconv under Node's CPU profiler. */
export async function profiled(contest: Contest, folder: string, into: string): Promise<void> {
  const { ours, oursLog } = outputsIn(folder);
  await contest.before?.(ours);
  await measure(oursRun({ ...contest, times: 1 }, ours, into).words, oursLog);
  await contest.after?.();
}
