import type { ImageReport, Plan, Report } from '../transfer/report.js';
import { errorJson, printable } from './exit.js';
import { sizeText } from '../model/size.js';

export function imageLine(image: ImageReport): string {
  const { name, reference, source, status, digest, sourceDigest, previousDigest, notes } = image;
  const from =
    digest !== undefined && sourceDigest !== undefined && digest !== sourceDigest
      ? ` (from ${sourceDigest})`
      : '';
  // Without its digest it is not known whether the image changes.
  const has = digest === undefined ? 'the target has' : 'was';
  const was = previousDigest === undefined ? '' : ` (${has} ${previousDigest})`;
  const shown = printable(reference ?? name ?? source);
  const line = `${status.padEnd(9)} ${shown}${digest === undefined ? '' : ` ${digest}`}${from}${was}`;
  return [line, ...notes.map((note) => `          note: ${printable(note)}`)]
    .map((text) => `${text}\n`)
    .join('');
}

/** A whole store is not all of it: who relies on that should hear of what is left out. */
function leftOutText({ untaggedLeftOut: count }: Report): string {
  if (count === 0) return '';
  return count === 1
    ? '1 untagged image was left out: --untagged takes it\n'
    : `${count} untagged images were left out: --untagged takes them\n`;
}

/** What became of all images together; a line of each was printed before. */
export function reportText(report: Report): string {
  const { images, tally } = report;
  const count = (status: ImageReport['status']) => images.filter((image) => image.status === status).length;
  const parts = (['written', 'updated', 'unchanged', 'failed', 'skipped'] as const)
    .filter((status) => status === 'written' || count(status) > 0)
    .map((status) => `${count(status)} ${status}`);
  const said = {
    linked: 'linked',
    reflinked: 'cloned',
    copied: 'copied',
    fetched: 'fetched',
    uploaded: 'uploaded',
    mounted: 'mounted',
    compressed: 'compressed',
    decompressed: 'decompressed',
    reused: 'reused compressed',
    present: 'already there',
  } as const;
  const blobs = (Object.keys(said) as (keyof typeof said)[])
    .filter((kind) => tally[kind].blobs > 0)
    .map((kind) => `${tally[kind].blobs} ${said[kind]} (${sizeText(tally[kind].bytes)})`);
  return `${images.length} image${images.length === 1 ? '' : 's'}: ${parts.join(', ')}; blobs: ${blobs.join(', ') || 'none'}\n${leftOutText(report)}`;
}

export function planText(report: Report, plan: Plan): string {
  const blobs = (
    [
      ['upload', 'to upload'],
      ['mount', 'to mount'],
      ['link', 'to link'],
      ['copy', 'to copy'],
      ['fetch', 'to fetch'],
      ['compress', 'to compress'],
      ['present', 'already there'],
    ] as const
  )
    .filter(([kind]) => plan[kind].blobs > 0)
    .map(([kind, said]) => `${plan[kind].blobs} ${said} (${sizeText(plan[kind].bytes)})`);
  const space = plan.toRegistry
    ? 'nothing was sent'
    : `needs about ${sizeText(plan.bytesNeeded)}, ${sizeText(plan.bytesFree)} free; nothing was written`;
  return (
    `${plan.images} image${plan.images === 1 ? '' : 's'}; blobs: ${blobs.join(', ') || 'none'}\n` +
    `${space}\n` +
    leftOutText(report)
  );
}

export function imageJson(image: ImageReport): object {
  return { ...image, error: image.error && errorJson(image.error) };
}

export function reportJson({ images, tally, untaggedLeftOut, plan }: Report): object {
  return { images: images.map(imageJson), blobs: tally, untaggedLeftOut, plan };
}

/** The report with counts of images by status in place of the images. */
export function summaryJson(report: Report): object {
  const counts: Partial<Record<ImageReport['status'], number>> = {};
  for (const { status } of report.images) counts[status] = (counts[status] ?? 0) + 1;
  return { ...reportJson(report), images: counts };
}
