import { existsSync, writeFileSync } from 'node:fs';
import { isStream, type Place } from '../formats/table.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { ownPlatform, parsePlatform } from '../model/platform.js';
import { convert } from '../transfer/convert.js';
import { parseExpectation } from '../transfer/expectations.js';
import { expectNames } from '../transfer/names.js';
import type { ConvertOptions } from '../transfer/options.js';
import { failedImages, type Report } from '../transfer/report.js';
import { errorText, EXIT, failureTexts } from './exit.js';
import { commandFor, tellingMistakes, withHints, type Meant } from './hints.js';
import { Interrupt } from './interrupt.js';
import type { ConversionArguments } from './options.js';
import { sourcePlace } from './places.js';
import { ProgressDisplay } from './progress.js';
import { parseCount } from './quantity.js';
import { accessOf } from './registry-options.js';
import { Results, resultsMode } from './results.js';
import { expectFitting } from './rules.js';
import { askedFor } from './selectors.js';

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
  const selectors = more.options?.selectors ?? askedFor(args, from.reference);
  const options: ConvertOptions = {
    ...optionsOf(args, to.reference),
    sourceAccess: accessOf(args, 'src', from, selectors),
    targetAccess: accessOf(args, 'dest', to),
    ...more.options,
    selectors,
  };
  expectNames(options);
  const mode = resultsMode(args.json, args.quiet);
  const display = new ProgressDisplay(process.stderr, {
    quiet: args.quiet === true || mode === 'lines',
    shown: mode === 'text',
  });
  // Where the archive goes to stdout, nothing else does.
  const results = new Results(display, isStream(to) ? process.stderr : process.stdout, mode);
  using interrupt = new Interrupt();
  let report: Report;
  try {
    report = await tellingMistakes(from, more.meant ?? commandFor(to, args.REF ?? []), () =>
      convert(from, to, { ...options, signal: interrupt.signal, progress: results }),
    );
    report = { ...report, images: await withHints(from, to, report.images) };
  } catch (error) {
    const known = asImgconvError(error);
    results.error(known);
    process.stderr.write(`imgconv: ${errorText(known, args.debug)}`);
    return interrupt.by === 'SIGTERM' ? SIGTERM_STATUS : EXIT[known.code];
  } finally {
    results.stop();
  }
  more.done?.(report);
  if (more.done === undefined && args.digestfile !== undefined && args.dryRun !== true)
    writeFileSync(args.digestfile, digestsText(report));
  results.report(report, args.dryRun === true);
  const failed = failedImages(report);
  for (const text of failureTexts(failed, args.debug)) process.stderr.write(`imgconv: ${text}`);
  return failed.length > 0 ? 1 : 0;
}

/** @throws ImgconvError NOT_FOUND */
function existingSource(text: string): Place {
  const place = sourcePlace(text);
  if (place.format.traits.remote || isStream(place) || existsSync(place.path)) return place;
  throw new ImgconvError('NOT_FOUND', `--blobs-from ${text}: no such file or folder`);
}

/** As skopeo copy writes it: the digest of the image; of several a line for each, with its name. */
function digestsText({ images }: Report): string {
  const done = images.filter(({ status }) => ['written', 'updated', 'unchanged'].includes(status));
  const [only, ...others] = done;
  if (only !== undefined && others.length === 0) return only.digest ?? '';
  return done.map(({ digest, reference }) => `${digest ?? ''} ${reference ?? ''}\n`).join('');
}

/** Of `--platform`, skopeo's `--override-…` and `--multi-arch system`; undefined for all. */
function platformsOf(args: ConversionArguments): ConvertOptions['platforms'] {
  const { platform, overrideOs, overrideArch, overrideVariant, multiArch } = args;
  if (platform !== undefined) return platform.map(parsePlatform);
  const own = ownPlatform();
  if (overrideOs === undefined && overrideArch === undefined && overrideVariant === undefined)
    return multiArch === 'system' ? [own] : undefined;
  const words = [overrideOs ?? own.os, overrideArch ?? own.architecture];
  return [parsePlatform([...words, ...(overrideVariant === undefined ? [] : [overrideVariant])].join('/'))];
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
    platforms: platformsOf(args),
    systemImages: args.multiArch === 'system',
    overwrite: args.overwrite,
    preserveDigests: args.preserveDigests,
    compression: uncompressed ? 'none' : args.compression,
    expect: args.expect?.map(parseExpectation),
    recompress: uncompressed || args.recompress === true,
    archiveCompression: args.archiveCompression,
    missing: args.missing,
    blobsFrom: args.blobsFrom?.map(existingSource),
    rebuild: args.rebuild,
    extras: args.removeSignatures === true ? false : args.extras,
    untagged: args.untagged,
    level: parseCount('compression-level', args.compressionLevel, 19),
    dryRun: args.dryRun,
    failFast: args.failFast,
    jobs: parseCount('jobs', args.jobs, 256),
  };
}
