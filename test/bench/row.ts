import type { Corpus } from './corpus.js';
import type { Result } from './measure.js';

/** A command to time, and what has to be ended after it. */
export interface Run {
  readonly words: readonly string[];
  readonly stop?: () => Promise<void>;
}

/** Holds the medians of both sides to a bound. */
export type Target = (ours: Result, peer: Result) => Verdict;

/** One side of a comparison: what to run so that its output is in the new folder `out`. */
export type Side = (out: string) => Run | Promise<Run>;

/** A number that a row reaches or misses. */
export interface Verdict {
  readonly text: string;
  readonly bound: string;
  readonly ok: boolean;
}

/** Where both sides' outputs and logs are; `log` holds stdout. */
export interface Outputs {
  readonly ours: string;
  readonly oursLog: string;
  readonly peer: string;
  readonly peerLog: string;
}

export interface Contest {
  /** imgconv's arguments; the words that go before them are the bench's. */
  readonly ours: (out: string) => readonly string[];
  /** What has to be there before `ours` runs; not timed. */
  readonly before?: (out: string) => void | Promise<void>;
  /** Ends what the row started. */
  readonly after?: () => Promise<void>;
  /** So many runs of `ours` are one measurement. */
  readonly times?: number;
  readonly peer?: Side;
  /** The peer does so small a part of the work; its time is divided by it. */
  readonly peerShare?: number;
  readonly targets: readonly Target[];
  /** @throws ContentDiffers */
  readonly check?: (outputs: Outputs) => Promise<readonly Verdict[]>;
}

/**
 * How many times the peer's time imgconv takes at most in a short run: about 1.8 times what was measured on two
 * cores. The cost of a process differs by half from one machine to the next, and with it what a peer takes.
 */
export interface Bounds {
  readonly cpu: number;
  readonly wall: number;
}

/** A line of the table. */
export interface Row {
  readonly name: string;
  /** What is done, and by whom it is done too. */
  readonly work: string;
  readonly against: string;
  /** For the rows of a short run. */
  readonly short?: Bounds;
  /** Programs that have to be there. */
  readonly peers: readonly string[];
  prepare(corpus: Corpus): Promise<Contest>;
}

/** Takes a bound so many times as wide: at a small size a start weighs more, and what others do on the machine too. */
let slack = 1;
export function setSlack(factor: number): void {
  slack = factor;
}

function verdict(what: string, value: number, most: number, unit = ''): Verdict {
  const limit = most * slack;
  const digits = limit < 1 ? 3 : limit < 10 ? 2 : 0;
  const bound = `${what} ≤ ${rounded(limit)}${unit}`;
  return {
    text: `${what} ${value.toFixed(digits)}${unit} ≤ ${rounded(limit)}${unit}`,
    bound,
    ok: value <= limit,
  };
}

function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

export function wallBelow(limit: number): Target {
  return (ours, peer) => verdict('wall', ours.seconds / peer.seconds, limit, '×');
}

export function cpuBelow(limit: number): Target {
  return (ours, peer) => verdict('cpu', ours.cpuSeconds / peer.cpuSeconds, limit, '×');
}

/** For a short run: the least of all runs on both sides, which is steadier than their medians. */
export function within({ cpu, wall }: Bounds): Target[] {
  return [
    ({ least }, peer) => verdict('least cpu', least.cpuSeconds / peer.least.cpuSeconds, cpu, '×'),
    ({ least }, peer) => verdict('wall', least.seconds / peer.least.seconds, wall, '×'),
  ];
}

/** At most so many times the peer's time, and some seconds. */
export function secondsBelow(factor: number, more: number): Target {
  return (ours, peer) => {
    const limit = (peer.seconds * factor + more) * slack;
    const bound = `${factor}× + ${more} s`;
    return {
      text: `${ours.seconds.toFixed(2)} s ≤ ${bound} = ${limit.toFixed(2)} s`,
      bound: `wall ≤ ${more === 0 ? `${factor}×` : bound}`,
      ok: ours.seconds <= limit,
    };
  };
}

export function millisecondsEach(count: number, limit: number): Target {
  return (ours) => verdict('each', (ours.seconds / count) * 1000, limit, ' ms');
}

export function fasterBy(limit: number): Target {
  return (ours, peer) => {
    const value = peer.seconds / ours.seconds;
    const least = rounded(limit / slack);
    return { text: `${value.toFixed(1)}× faster ≥ ${least}×`, bound: `${least}× faster`, ok: value >= least };
  };
}

export function peakBelow(megabytes: number): Target {
  return (ours) => verdict('rss', ours.peakBytes / 1e6, megabytes, ' MB');
}

export function bytesBelow(what: string, ours: number, peers: number): Verdict {
  return {
    text: `${what} ${(ours / 1e6).toFixed(1)} MB ≤ ${(peers / 1e6).toFixed(1)} MB`,
    bound: `${what} no larger`,
    ok: ours <= peers,
  };
}
