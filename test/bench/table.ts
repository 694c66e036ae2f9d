import type { Outcome } from './contest.js';
import type { Row } from './row.js';

/** A row as it is saved: one line of the table at one size. */
export interface SavedRow {
  readonly name: string;
  /** What multiplies the sizes of the corpus. */
  readonly scale: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly megabytes: number;
  /** How many times the peer's; absent in a row without one. */
  readonly wall?: number;
  readonly cpu?: number;
  readonly memory?: number;
  readonly bytes?: number;
  readonly bounds: readonly string[];
  readonly isReached: boolean;
}

/** One run of the bench. */
export interface SavedRun {
  /** What was compared: Node and the peers with their versions. */
  readonly versions: readonly string[];
  readonly cores: number;
  readonly rows: readonly SavedRow[];
}

const rounded = (value: number, digits = 3) => Number(value.toPrecision(digits));

export function savedRow(row: Row, scale: number, isAlone: boolean, outcome: Outcome): SavedRow {
  const { ours, peer, bytes, verdicts } = outcome;
  return {
    name: row.name,
    scale,
    seconds: rounded(ours.seconds),
    cpuSeconds: rounded(ours.cpuSeconds),
    megabytes: rounded(ours.peakBytes / 1e6),
    ...(!isAlone && {
      wall: rounded(ours.seconds / peer.seconds),
      cpu: rounded(ours.cpuSeconds / peer.cpuSeconds),
      memory: rounded(ours.peakBytes / peer.peakBytes),
    }),
    ...(bytes.ours !== undefined &&
      bytes.peer !== undefined && { bytes: rounded(bytes.ours / bytes.peer, 4) }),
    bounds: verdicts.map(({ bound }) => bound),
    isReached: verdicts.every(({ ok }) => ok),
  };
}

const times = (value: number | undefined) => (value === undefined ? '' : `${Number(value.toPrecision(2))}×`);

/** The table in Markdown, of all rows or of those with these names, at size 1. */
export function tableOf({ rows: saved }: SavedRun, rows: readonly Row[], names?: readonly string[]): string {
  const lines = saved.flatMap((one) => {
    const row = rows.find(({ name }) => name === one.name);
    if (row === undefined || one.scale !== 1 || names?.includes(one.name) === false) return [];
    const small = saved.find(({ name, scale }) => name === one.name && scale < 1);
    const what = names === undefined ? [`\`${one.name}\``] : [];
    const reached = `${one.bounds.join(', ')}${one.isReached ? '' : ' (missed)'}`;
    const cells = [
      row.work,
      row.against,
      times(one.wall),
      times(small?.wall),
      times(one.cpu),
      `${one.megabytes} MB`,
    ];
    return [[...what, ...cells, ...(names === undefined ? [reached] : [])]];
  });
  const heading = ['work', 'compared with', 'time', 'at a fifth of the size', 'CPU time', 'memory'];
  const all = names === undefined ? ['row', ...heading, 'bound'] : heading;
  return [all, all.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}
