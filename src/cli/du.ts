import { counted } from '../model/errors.js';
import { sizeText } from '../model/size.js';
import { diskUsage } from '../upkeep/disk-usage.js';
import { printable, printableJson } from './exit.js';
import { sourceOf, type SourceArguments } from './sources.js';

export interface UsageArguments extends Omit<SourceArguments, 'REF'> {
  readonly json?: boolean | 'lines';
}

/** How much each repository takes. */
export async function duCommand(args: UsageArguments): Promise<number> {
  const { place, access } = sourceOf(args);
  const report = await diskUsage(place, access);
  if (args.json !== undefined && args.json !== false) {
    process.stdout.write(`${printableJson(report, 2)}\n`);
    return report.unreadable > 0 ? 1 : 0;
  }
  const rows = report.repositories.map(({ repository = '-', images, size, unique }) => [
    printable(repository),
    counted(images, 'image'),
    sizeText(size),
    `${sizeText(unique)} only here`,
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows)
    process.stdout.write(
      `${row
        .map((cell, column) =>
          column === 2 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd()}\n`,
    );
  const unneeded =
    report.unneeded === undefined || report.unneeded === 0
      ? ''
      : `; no image needs another ${sizeText(report.unneeded)}, which imgconv gc can free`;
  process.stdout.write(
    `${counted(rows.length, 'repository', 'repositories')}: ${sizeText(report.size)}${unneeded}\n`,
  );
  if (report.unreadable === 0) return 0;
  process.stderr.write(
    `imgconv: ${counted(report.unreadable, 'image')} not counted, as it cannot be read: imgconv verify says why\n`,
  );
  return 1;
}
