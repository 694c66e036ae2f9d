import type { Place } from '../formats/table.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { parsePlatform } from '../model/platform.js';
import { convert, type ConvertOptions } from '../transfer/convert.js';
import { expectNames } from '../transfer/names.js';
import { failedImages, type ImageReport, type Plan, type Report } from '../transfer/report.js';
import { readImagesFile, type Selector } from '../transfer/select.js';
import { errorText, hintOf, printable, printableJson } from './exit.js';
import { commandFor, tellingMistakes, type Meant } from './mistaken.js';
import { NearNames } from './near-names.js';
import { parseCount, type ConversionArguments } from './options.js';
import { startProgress } from './progress.js';
import { accessOf } from './registry-options.js';
import { expectFitting } from './rules.js';
import { sizeText } from './size.js';

/** 128 and the signal's number, as shells have it. */
const SIGTERM_STATUS = 143;

/** What a command has to add to the options that it was given. */
interface More {
  readonly options?: Partial<ConvertOptions>;
  /** Hears of the report before it is printed. */
  readonly done?: (report: Report) => void;
  /** What was to be said for a source of another format, if not the command of the pair. */
  readonly meant?: Meant;
}

/** One conversion: options, progress on stderr, results on stdout. Gives the exit status. */
export async function convertCommand(
  from: Place,
  to: Place,
  args: ConversionArguments,
  more: More = {},
): Promise<number> {
  expectFitting(args, from, to);
  // Lists are read once: one of them may be stdin.
  const selectors = more.options?.selectors ?? selectorsOf(args, from.reference);
  const options: ConvertOptions = {
    ...optionsOf(args, to.reference),
    sourceAccess: accessOf(args, 'src', from, selectors),
    targetAccess: accessOf(args, 'dest', to),
    ...more.options,
    selectors,
  };
  expectNames(options);
  const quiet = args.quiet === true || args.json === true;
  const progress = startProgress(process.stderr, quiet);
  const interrupt = new AbortController();
  let signal: NodeJS.Signals | undefined;
  const stop = (name: NodeJS.Signals) => {
    signal = name;
    interrupt.abort();
    process.stdin.destroy(); // It may be what is waited for.
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  // Where the archive goes to stdout, nothing else does.
  const results = to.path === '-' ? process.stderr : process.stdout;
  let report: Report;
  try {
    report = await tellingMistakes(from, more.meant ?? commandFor(to, args.REF ?? []), () =>
      convert(from, to, { ...options, signal: interrupt.signal, progress }),
    );
    report = { ...report, images: await withHints(from, to, report.images) };
  } catch (error) {
    if (args.json === true)
      results.write(`${printableJson({ error: errorJson(asImgconvError(error)) }, 2)}\n`);
    if (signal === 'SIGTERM') {
      process.stderr.write(`imgconv: ${errorText(asImgconvError(error), args.debug)}`);
      return SIGTERM_STATUS;
    }
    throw error;
  } finally {
    progress.stop();
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
  more.done?.(report);
  if (args.json === true) results.write(`${printableJson(reportJson(report), 2)}\n`);
  else if (args.dryRun === true && report.plan !== undefined) results.write(planText(report, report.plan));
  else if (!quiet) results.write(reportText(report));
  for (const { source, error } of failedImages(report)) {
    if (error === undefined) continue;
    const name = error.message.startsWith(source) ? '' : `${printable(source)}: `;
    process.stderr.write(`imgconv: ${name}${errorText(error, args.debug)}`);
  }
  return failedImages(report).length > 0 ? 1 : 0;
}

/** What is asked for on the command line and in lists; `source` is a reference that followed the source's path. */
export function selectorsOf({ REF = [], imagesFile = [] }: ConversionArguments, source?: string): Selector[] {
  const selectors: Selector[] = [
    ...[...REF, ...(source === undefined ? [] : [source])].map((text) => ({
      text,
      rename: undefined,
      where: 'the command line',
    })),
    ...imagesFile.flatMap(readImagesFile),
  ];
  if (imagesFile.length > 0 && selectors.length === 0)
    throw new ImgconvError('USAGE', `--images-file ${imagesFile.join(', ')}: no references in it`);
  return selectors;
}

/** `target`: a reference that followed the target's path, `PREFIX:PATH:REFERENCE`. */
function optionsOf(args: ConversionArguments, target: string | undefined): ConvertOptions {
  const uncompressed = args.layers === 'uncompressed';
  return {
    tag: args.tag ?? target,
    stripPrefix: args.stripPrefix,
    addPrefix: args.addPrefix,
    rename: args.rename,
    scoped: args.scoped,
    link: args.link,
    platforms: args.platform?.map(parsePlatform),
    compression: uncompressed ? 'none' : args.compression,
    recompress: uncompressed || args.recompress === true,
    archiveCompression: args.archiveCompression,
    missing: args.missing,
    extras: args.extras,
    untagged: args.untagged,
    level: parseCount('compression-level', args.compressionLevel, 19),
    dryRun: args.dryRun,
    failFast: args.failFast,
    jobs: parseCount('jobs', args.jobs, 256),
  };
}

/** What is not there may be spelt otherwise; what has no name can be given one. */
async function withHints(
  from: Place,
  to: Place,
  images: readonly ImageReport[],
): Promise<readonly ImageReport[]> {
  const near = new NearNames(from);
  const hinted: ImageReport[] = [];
  for (const image of images) {
    const { source, error } = image;
    hinted.push(error === undefined ? image : { ...image, error: await near.hinted(error, source) });
  }
  if (!hinted.some(({ error }) => error?.code === 'NAME_MISSING')) return hinted;
  const { withNamingCommands } = await import('./unnamed.js');
  return withNamingCommands(from, to, hinted);
}

function imageLine({ name, source, status, digest, sourceDigest, notes }: ImageReport): string {
  const was =
    digest !== undefined && sourceDigest !== undefined && digest !== sourceDigest
      ? ` (was ${sourceDigest})`
      : '';
  const line = `${status.padEnd(9)} ${printable(name ?? source)} ${digest ?? ''}${was}`.trimEnd();
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

function reportText(report: Report): string {
  const { images, tally } = report;
  const count = (status: ImageReport['status']) => images.filter((image) => image.status === status).length;
  const parts = (['written', 'unchanged', 'failed', 'skipped'] as const)
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
  const lines = images.map(imageLine).join('');
  return `${lines}${images.length} image${images.length === 1 ? '' : 's'}: ${parts.join(', ')}; blobs: ${blobs.join(', ') || 'none'}\n${leftOutText(report)}`;
}

function planText(report: Report, plan: Plan): string {
  const { images } = report;
  const blobs = (
    [
      ['link', 'to link'],
      ['copy', 'to copy'],
      ['fetch', 'to fetch'],
      ['compress', 'to compress'],
      ['present', 'already there'],
    ] as const
  )
    .filter(([kind]) => plan[kind].blobs > 0)
    .map(([kind, said]) => `${plan[kind].blobs} ${said} (${sizeText(plan[kind].bytes)})`);
  return (
    images.map(imageLine).join('') +
    `${plan.images} image${plan.images === 1 ? '' : 's'}; blobs: ${blobs.join(', ') || 'none'}\n` +
    `needs about ${sizeText(plan.bytesNeeded)}, ${sizeText(plan.bytesFree)} free; nothing was written\n` +
    leftOutText(report)
  );
}

function errorJson(error: ImgconvError): unknown {
  return { code: error.code, message: error.message, hint: hintOf(error) };
}

function reportJson({ images, tally, untaggedLeftOut, plan }: Report): unknown {
  return {
    images: images.map((image) => ({ ...image, error: image.error && errorJson(image.error) })),
    blobs: tally,
    untaggedLeftOut,
    plan,
  };
}
