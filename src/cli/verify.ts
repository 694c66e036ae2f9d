import { findPlace, type Place } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import { verify, type VerifyProgress, type VerifyReport } from '../upkeep/verify.js';
import type { Finding } from '../upkeep/findings.js';
import { printable, printableJson } from './exit.js';
import { accessOf, strayRegistryOption, type RegistryArguments } from './registry-options.js';
import { Interrupt } from './interrupt.js';
import { sizeText } from '../model/size.js';
import { ProgressDisplay } from './progress.js';
import { parseCount } from './quantity.js';
import { Events } from './events.js';

export interface VerifyArguments extends RegistryArguments {
  readonly SRC: string;
  readonly deep?: boolean;
  readonly repair?: string[];
  readonly json?: boolean | 'lines';
  readonly jobs?: string;
}

/** So many findings are written at a time: each tag of a large store may have one. */
const ROWS = 500;
/** So many images are named with a finding; `--json` names all. */
const NAMED = 5;

/** 0 when every image is whole, else 1. */
export async function verifyCommand(args: VerifyArguments): Promise<number> {
  using interrupt = new Interrupt();
  const place = findPlace(args.SRC);
  const repair = args.repair?.map(findPlace);
  expectRegistry(args, [place, ...(repair ?? [])]);
  const lines = args.json === 'lines';
  const display = new ProgressDisplay(process.stderr, { quiet: lines, shown: args.json === undefined });
  const events = lines ? new Events(display, process.stdout) : undefined;
  events?.start();
  let report: VerifyReport;
  try {
    report = await verify(place, {
      deep: args.deep,
      repair,
      access: accessOf(args, 'src', [place, ...(repair ?? [])]),
      jobs: parseCount('jobs', args.jobs, 256),
      signal: interrupt.signal,
      progress: progressOf(display, events),
    });
  } finally {
    events?.stop();
    display.stop();
  }
  if (events !== undefined) addReport(events, report);
  else if (args.json === true) process.stdout.write(`${printableJson(reportJson(report), 2)}\n`);
  else for (const text of reportTexts(report)) process.stdout.write(text);
  return report.findings.some(({ severity }) => severity === 'broken') ? 1 : 0;
}

function progressOf(display: ProgressDisplay, events: Events | undefined): VerifyProgress {
  return {
    total: (bytes) => (display.total = bytes),
    bytes: (count) => {
      display.bytes(count);
    },
    started: (name) => display.active.add(name),
    ended: (name) => display.active.delete(name),
    retry: (retry) => {
      display.retry(retry);
      events?.retry(retry);
    },
    waiting: (waiting) => {
      display.waiting(waiting);
      events?.add('waiting', waiting);
    },
  };
}

/** Findings are confirmed by a second check, so that they are events at the end. */
function addReport(events: Events, report: VerifyReport): void {
  const { repaired, findings, ...rest } = report;
  for (const one of repaired) events.add('repaired', one);
  for (const finding of findings) events.add('finding', findingJson(finding));
  events.add('summary', { ...rest, findings: findings.length, repaired: repaired.length });
  events.flush();
}

/** @throws ImgconvError USAGE for options of registries where neither the place nor a source of repairs is one */
function expectRegistry(args: RegistryArguments, places: readonly Place[]): void {
  const format = (places.find((place) => place.format.registry !== undefined) ?? places[0])?.format;
  const stray = format && strayRegistryOption(args, { src: format });
  if (stray !== undefined) throw new ImgconvError('USAGE', stray[0], { hint: stray[1] });
}

function findingText({ severity, where, what, bytes, images }: Finding): string {
  const size = bytes === undefined ? '' : ` (${sizeText(bytes)})`;
  const more = images.length > NAMED ? ` and ${images.length - NAMED} more` : '';
  const named = images.slice(0, NAMED).map(printable).join(', ');
  const touches = images.length === 0 ? '' : `          in ${named}${more}\n`;
  return `${severity.padEnd(9)} ${printable(`${where}: ${what}`)}${size}\n${touches}`;
}

function* reportTexts(report: VerifyReport): Generator<string> {
  const { images, brokenImages, blobs, findings, repaired, seesAll } = report;
  for (const { path, from, setAside } of repaired) {
    const source = from === undefined ? '' : ` from ${printable(from)}`;
    const aside = setAside === undefined ? '' : `          the damaged one is now ${printable(setAside)}\n`;
    yield `repaired  ${printable(path)}${source}\n${aside}`;
  }
  for (let at = 0; at < findings.length; at += ROWS)
    yield findings
      .slice(at, at + ROWS)
      .map(findingText)
      .join('');
  const count = (severity: Finding['severity']) =>
    findings.filter((finding) => finding.severity === severity).length;
  const lost = findings.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  const rest = [
    ...(count('space') > 0 ? [`${count('space')} of lost space (${sizeText(lost)})`] : []),
    ...(count('cosmetic') > 0 ? [`${count('cosmetic')} cosmetic`] : []),
    ...(seesAll ? [] : ['blobs that no image needs cannot be found until all manifests can be read']),
  ];
  yield (
    `${images} image${images === 1 ? '' : 's'} checked, ${brokenImages} broken; ` +
    `${blobs.blobs} blob${blobs.blobs === 1 ? '' : 's'} read (${sizeText(blobs.bytes)})` +
    `${rest.length > 0 ? `; ${rest.join(', ')}` : ''}\n`
  );
}

function reportJson({ findings, ...report }: VerifyReport): unknown {
  return {
    ...report,
    findings: findings.map(findingJson),
  };
}

function findingJson({ severity, kind, where, what, images, bytes, write, fetch }: Finding): object {
  const repairable = write !== undefined || fetch !== undefined;
  return { severity, kind, where, what, images, bytes, repairable };
}
