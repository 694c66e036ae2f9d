import type { Corpus } from './corpus.js';
import type { Result } from './measure.js';

/** A command to time, and what has to be ended after it. */
export interface Run {
  readonly words: readonly string[];
  readonly stop?: () => Promise<void>;
}

/** One side of a comparison: what to run so that its output is in the new folder `out`. */
export type Side = (out: string) => Run | Promise<Run>;

/** A number that a row reaches or misses. */
export interface Verdict {
  readonly text: string;
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
  readonly targets: readonly ((ours: Result, peer: Result) => Verdict)[];
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
  readonly against: string;
  /** For the rows of a short run. */
  readonly short?: Bounds;
  /** Programs that have to be there. */
  readonly peers: readonly string[];
  prepare(corpus: Corpus): Promise<Contest>;
}

function verdict(what: string, value: number, limit: number, unit = ''): Verdict {
  const digits = limit < 1 ? 3 : limit < 10 ? 2 : 0;
  return { text: `${what} ${value.toFixed(digits)}${unit} ≤ ${limit}${unit}`, ok: value <= limit };
}

export function wallBelow(limit: number) {
  return (ours: Result, peer: Result) => verdict('wall', ours.seconds / peer.seconds, limit, '×');
}

export function cpuBelow(limit: number) {
  return (ours: Result, peer: Result) => verdict('cpu', ours.cpuSeconds / peer.cpuSeconds, limit, '×');
}

/** For a short run: the least of all runs on both sides, which is steadier than their medians. */
export function within({ cpu, wall }: Bounds) {
  return [
    ({ least }: Result, peer: Result) =>
      verdict('least cpu', least.cpuSeconds / peer.least.cpuSeconds, cpu, '×'),
    ({ least }: Result, peer: Result) => verdict('wall', least.seconds / peer.least.seconds, wall, '×'),
  ];
}

/** At most so many times the peer's time, and some seconds. */
export function secondsBelow(factor: number, more: number) {
  return (ours: Result, peer: Result) => {
    const limit = peer.seconds * factor + more;
    return {
      text: `${ours.seconds.toFixed(2)} s ≤ ${factor}× + ${more} s = ${limit.toFixed(2)} s`,
      ok: ours.seconds <= limit,
    };
  };
}

export function millisecondsEach(count: number, limit: number) {
  return (ours: Result) => verdict('each', (ours.seconds / count) * 1000, limit, ' ms');
}

export function fasterBy(limit: number) {
  return (ours: Result, peer: Result) => {
    const value = peer.seconds / ours.seconds;
    return { text: `${value.toFixed(1)}× faster ≥ ${limit}×`, ok: value >= limit };
  };
}

export function peakBelow(megabytes: number) {
  return (ours: Result) => verdict('rss', ours.peakBytes / 1e6, megabytes, ' MB');
}

export function bytesBelow(what: string, ours: number, peers: number): Verdict {
  return {
    text: `${what} ${(ours / 1e6).toFixed(1)} MB ≤ ${(peers / 1e6).toFixed(1)} MB`,
    ok: ours <= peers,
  };
}
