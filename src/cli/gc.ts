import { findPlace } from '../formats/table.js';
import { collectGarbage, type GarbageReport } from '../upkeep/gc.js';
import type { Count } from '../transfer/report.js';
import { printableJson } from './exit.js';
import { parseDuration } from './quantity.js';
import { sizeText } from '../model/size.js';

export interface GarbageArguments {
  readonly STORE: string;
  readonly olderThan?: string;
  readonly untagged?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean | 'lines';
}

export async function gcCommand(args: GarbageArguments): Promise<number> {
  const report = await collectGarbage(findPlace(args.STORE), {
    olderThan: parseDuration('older-than', args.olderThan, { such: '90m, 24h or 7d; or 0' }),
    untagged: args.untagged,
    dryRun: args.dryRun,
  });
  const event = { event: 'summary', ...report };
  process.stdout.write(
    args.json === 'lines'
      ? `${printableJson(event)}\n`
      : args.json === true
        ? `${printableJson(report, 2)}\n`
        : garbageText(report),
  );
  return 0;
}

function garbageText(report: GarbageReport): string {
  const counted = (count: number, one: string, many = `${one}s`) =>
    count === 0 ? [] : [`${count} ${count === 1 ? one : many}`];
  const sized = ({ blobs, bytes }: Count, one: string) =>
    counted(blobs, one).map((text) => `${text} (${sizeText(bytes)})`);
  const parts = [
    ...sized(report.blobs, 'blob'),
    ...counted(report.revisions, 'revision'),
    ...counted(report.layerLinks, 'layer link'),
    ...counted(report.tagIndexLinks, 'entry of a tag', 'entries of tags'),
    ...sized(report.uploads, 'abandoned upload'),
    ...counted(report.unfinished, 'unfinished work of a dead imgconv', 'unfinished works of dead imgconv'),
  ];
  const notes = [
    ...sized(report.linkedElsewhere, 'blob').map(
      (text) => `${text} of these have other names on the disk: deleting them frees nothing`,
    ),
    ...sized(report.young, 'blob').map((text) => `${text} that nothing names changed recently and stay`),
  ];
  const done = report.deleted ? 'deleted' : 'would delete';
  const freed = `${sizeText(report.bytesFreed)} ${report.deleted ? 'freed' : 'would be freed; nothing was deleted'}`;
  return [`${done}: ${parts.join(', ') || 'nothing'}`, ...notes.map((note) => `  note: ${note}`), freed]
    .map((line) => `${line}\n`)
    .join('');
}
