import type { ImageReader, ImageWriter, ReadContext } from '../formats/format.js';
import { createPlace, openPlace } from '../formats/open.js';
import { isStream, type Place } from '../formats/table.js';
import { digestOf } from '../bytes/hash.js';
import { headOf } from '../bytes/region.js';
import { algorithmOf } from '../model/digest.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { MAX_MANIFEST } from '../model/json.js';
import { ownPlatform } from '../model/platform.js';
import { StagedDownloads } from '../storage/downloads.js';
import { MemoryDownloads } from '../storage/memory-downloads.js';
import { PeekSpool, StagingSpool } from '../storage/spool.js';
import { Pool } from '../threads/pool.js';
import { compressionOf } from './compression.js';
import { Elsewhere, FilledReader } from './elsewhere.js';
import { heardBy, type ConvertOptions } from './options.js';
import { Counter, type Report } from './report.js';
import { interrupted } from './interrupted.js';
import { Run, type Ends } from './run.js';

/**
 * Converts images from one place into another. One bad image does not stop the others: the report names each.
 * @throws ImgconvError when nothing can be converted: an unreadable source, NAME_CONFLICT, NO_SPACE, INTERRUPTED
 */
export async function convert(from: Place, to: Place, options: ConvertOptions = {}): Promise<Report> {
  const compression = compressionOf(from, to, options);
  if (options.missing === 'sparse' && !to.format.traits.takesSparse)
    throw new ImgconvError(
      'USAGE',
      `--missing sparse: ${to.format.prefix}: cannot hold an incomplete index`,
      { hint: '--missing prune makes a new index of what is complete' },
    );
  await using pool = new Pool(options.jobs);
  const abort = () => {
    pool.abort(interrupted());
  };
  options.signal?.addEventListener('abort', abort);
  const counter = new Counter();
  try {
    const writer = await openTarget(to, options, pool, counter);
    return await closingAfter(writer, pool, to.path, () =>
      fromSource(from, options, { to, writer, pool, compression, counter }),
    );
  } catch (error) {
    // Whatever an interruption made fail, it is the interruption that counts.
    const known = asImgconvError(error, from.path);
    throw options.signal?.aborted === true && known.code !== 'INTERRUPTED' ? interrupted() : known;
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
}

async function openTarget(
  to: Place,
  { link = 'auto', platforms = [], archiveCompression, single, jobs, targetAccess, progress }: ConvertOptions,
  pool: Pool,
  counter: Counter,
): Promise<ImageWriter> {
  return createPlace(to, {
    pool,
    link,
    platforms: platforms.length > 0 ? platforms : [ownPlatform()],
    archiveCompression,
    single,
    access: { connections: jobs, ...heardBy(progress, targetAccess) },
    onPut: (how, size) => {
      counter.add(how, size);
    },
  }).catch((error: unknown) => {
    throw asImgconvError(error, to.path);
  });
}

/** Gives what `work` gives once all is closed. An error of `work` goes before one of closing. */
async function closingAfter<T>(
  writer: ImageWriter,
  pool: Pool,
  path: string,
  work: () => Promise<T>,
): Promise<T> {
  let done: T;
  try {
    done = await work();
  } catch (error) {
    await pool.close();
    // What cannot be cleared away now, the next run clears.
    await writer.close().catch(() => undefined);
    throw error;
  }
  // Nobody writes into what is cleared away.
  await pool.close();
  await writer.close().catch((error: unknown) => {
    throw asImgconvError(error, path);
  });
  return done;
}

async function fromSource(
  from: Place,
  options: ConvertOptions,
  target: Omit<Ends, 'from' | 'reader' | 'downloads'>,
): Promise<Report> {
  const { to, writer, pool, compression } = target;
  const { compression: format, level, pushedBy, onlyMade: exceptBlobs = false } = compression;
  const isAsked = pushedBy !== undefined || options.expect !== undefined;
  const isPassing = (format === 'gzip' || format === 'zstd') && !isAsked;
  const passing = isPassing ? { format, level, exceptBlobs } : undefined;
  // What a registry or a pipe is written to is gone with this run: there is no next one to go on.
  using downloads = new StagedDownloads(writer.staging, pool, !isStream(to) && !to.format.traits.remote);
  const context: ReadContext = {
    pool,
    spool: options.dryRun ? new PeekSpool() : new StagingSpool(writer.staging, pool, passing),
    held: heldBy(writer),
    downloads: options.dryRun ? new MemoryDownloads() : downloads,
    rebuild: options.rebuild,
    access: { connections: options.jobs, ...heardBy(options.progress, options.sourceAccess) },
  };
  const reader = await openSource(from, context, options.blobsFrom ?? []);
  const run = new Run({ ...target, from, reader, downloads }, options);
  try {
    return await run.run();
  } catch (error) {
    throw options.signal?.aborted === true ? interrupted(run.soFar()) : error;
  } finally {
    await reader.close();
  }
}

async function openSource(from: Place, context: ReadContext, others: readonly Place[]): Promise<ImageReader> {
  if (others.length === 0) return openPlace(from, context);
  const elsewhere = new Elsewhere(others, context);
  const reader = await openPlace(from, { ...context, elsewhere: (digest) => elsewhere.find(digest) });
  return new FilledReader(reader, elsewhere);
}

/** Manifests that the target has. */
function heldBy({ find }: ImageWriter): ReadContext['held'] {
  return (
    find &&
    (async (digest) => {
      const at = await find(digest);
      if (at === undefined || at.size > MAX_MANIFEST) return undefined;
      const bytes = headOf(at, at.size);
      return digestOf(bytes, algorithmOf(digest)) === digest ? bytes : undefined;
    })
  );
}
