import type { Findings } from '../discover/findings.js';
import type { FillOptions } from '../requests/fill.js';
import { asImgconvError, counted } from '../model/errors.js';
import { parsePlatform } from '../model/platform.js';
import { failedImages } from '../transfer/report.js';
import { EVERYWHERE } from '../requests/save-images.js';
import { errorJson, errorText, EXIT, failureTexts, printable, printableJson } from './exit.js';
import { Interrupt } from './interrupt.js';
import { sourcePlace } from './places.js';
import { ProgressDisplay } from './progress.js';
import { parseCount } from './quantity.js';
import { accessOf, type RegistryArguments } from './registry-options.js';
import { Results, resultsMode } from './results.js';

export interface FillArguments extends RegistryArguments {
  readonly ROOTFS: string;
  readonly platform?: readonly string[];
  readonly from?: readonly string[];
  readonly chartsAs?: string;
  readonly check?: boolean;
  readonly dryRun?: boolean;
  readonly jobs?: string;
  readonly quiet?: boolean;
  readonly json?: boolean | 'lines';
  readonly debug?: boolean;
}

/** 128 and the signal's number, as shells have it. */
const SIGTERM_STATUS = 143;

/** The storage in a cluster image's root folder, out of all that its files name. Gives the exit status. */
export async function fillCommand(args: FillArguments): Promise<number> {
  const { ROOTFS: rootfs, check = false, dryRun = false, debug } = args;
  const { readClusterImage } = await import('../requests/cluster-image.js');
  const { fill, needsOf } = await import('../requests/fill.js');
  const image = await readClusterImage(rootfs, process.env);
  const needs = await needsOf(image);
  const failed = tell(image.findings, image.notes, debug);
  const platforms = args.platform?.map(parsePlatform) ?? [];
  if (check) return Math.max(failed, await checkCommand(rootfs, needs, image.findings, platforms, args));
  const from = (args.from ?? []).map(sourcePlace);
  const wanted = needs.references.map(({ whole }) => ({ text: whole }));
  const mode = resultsMode(args.json, args.quiet);
  const display = new ProgressDisplay(process.stderr, {
    quiet: args.quiet === true || mode === 'lines',
    shown: mode === 'text',
  });
  const results = new Results(display, process.stdout, mode);
  using interrupt = new Interrupt();
  const options: FillOptions = {
    platforms: platforms.length > 0 ? platforms : undefined,
    from,
    chartsAs: args.chartsAs,
    access: accessOf(args, 'src', EVERYWHERE, wanted),
    fromAccess: accessOf(args, 'src', from),
    dryRun,
    jobs: parseCount('jobs', args.jobs, 256),
    signal: interrupt.signal,
    progress: results,
  };
  try {
    const report = await fill(rootfs, image, needs, options);
    results.stop();
    results.report(report, false);
    const lost = failedImages(report);
    for (const text of failureTexts(lost, debug)) process.stderr.write(`imgconv: ${text}`);
    return lost.length > 0 ? 1 : failed;
  } catch (error) {
    const known = asImgconvError(error);
    results.error(known);
    process.stderr.write(`imgconv: ${errorText(known, debug)}`);
    return interrupt.by === 'SIGTERM' ? SIGTERM_STATUS : EXIT[known.code];
  } finally {
    results.stop();
  }
}

/** What could not be determined goes to stderr, and leaves the exit status; what failed makes it 1. */
function tell(findings: Findings, notes: readonly string[], debug: boolean | undefined): number {
  for (const note of notes) process.stderr.write(`imgconv: ${printable(note)}\n`);
  for (const { reason, file, line, field } of findings.unknowns) {
    const spot = `${file}${line === undefined ? '' : `:${line}`}${field === '' ? '' : ` ${field}`}`;
    process.stderr.write(`imgconv: not determined: ${printable(`${spot}: ${reason}`)}\n`);
  }
  for (const error of findings.failures) process.stderr.write(`imgconv: ${errorText(error, debug)}`);
  return findings.failures.length > 0 ? 1 : 0;
}

async function checkCommand(
  rootfs: string,
  needs: Awaited<ReturnType<typeof import('../requests/fill.js').needsOf>>,
  findings: Findings,
  platforms: readonly ReturnType<typeof parsePlatform>[],
  { json }: FillArguments,
): Promise<number> {
  const { checkFilled } = await import('../requests/fill-check.js');
  const differences = await checkFilled(rootfs, needs, findings, platforms);
  if (json !== undefined && json !== false) {
    const document = { differences, unknown: findings.unknowns, errors: findings.failures.map(errorJson) };
    process.stdout.write(`${printableJson(document, 2)}\n`);
  } else {
    for (const { kind, name, what } of differences)
      process.stdout.write(`${kind.padEnd(9)} ${printable(name)}: ${printable(what)}\n`);
    const count = needs.local.length + needs.references.length;
    process.stdout.write(`${counted(count, 'image')} named, ${counted(differences.length, 'difference')}\n`);
  }
  return differences.length > 0 ? 1 : 0;
}
