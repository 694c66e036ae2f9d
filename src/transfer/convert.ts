import { choiceText, type ImageReader, type ImageWriter, type ReadContext } from '../formats/format.js';
import type { RegistryAccess } from '../formats/access.js';
import { createPlace, openPlace } from '../formats/open.js';
import { isStream, type Place } from '../formats/table.js';
import { expectLevel } from '../threads/compress.js';
import { Pool } from '../threads/pool.js';
import { StagedDownloads } from '../storage/downloads.js';
import { MemoryDownloads } from '../storage/memory-downloads.js';
import { digestOf } from '../bytes/hash.js';
import { headOf } from '../bytes/region.js';
import { PeekSpool, StagingSpool } from '../storage/spool.js';
import type { LinkMode } from '../proof/verified-blob.js';
import { algorithmOf } from '../model/digest.js';
import { asImgconvError, counted, ImgconvError } from '../model/errors.js';
import { MAX_MANIFEST } from '../model/json.js';
import { manifestsOf } from '../model/tree.js';
import { ownPlatform, type Platform } from '../model/platform.js';
import { referenceText, type Reference } from '../model/reference.js';
import { knownForms } from './known-forms.js';
import type { MissingMode } from './missing.js';
import type { NameOptions } from './names.js';
import { expectSpace, planOf } from './plan.js';
import { prepare, type Failure, type Job } from './prepare.js';
import { Recompressor, type CompressionOptions } from './recompress.js';
import { Counter, type ImageReport, type Plan, type Report } from './report.js';
import type { Closure } from './closure.js';
import type { Selector } from './select.js';

export interface ConvertOptions extends NameOptions {
  /** None means all that the source has. */
  readonly selectors?: readonly Selector[] | undefined;
  /** Names the one image that is converted. */
  readonly tag?: string | undefined;
  readonly link?: LinkMode | undefined;
  /** None means all platforms. */
  readonly platforms?: readonly Platform[] | undefined;
  /**
   * Takes `platforms` as skopeo takes its machine's: of an index the images alone, without attestations; of images that
   * no index holds each, whatever its platform is.
   */
  readonly systemImages?: boolean | undefined;
  readonly missing?: MissingMode | undefined;
  /**
   * Signatures, attestations and other referrers go with their images unless this is false; `listed` are those that the
   * source lists as images of their own, and none is looked for.
   */
  readonly extras?: boolean | 'listed' | undefined;
  /** Without selectors: also takes images without a tag. If it is undefined, the report counts those left out. */
  readonly untagged?: boolean | undefined;
  /** Undefined: gzip for an archive's images without manifests into dir, reg and registries, else keep. */
  readonly compression?: CompressionOptions['compression'] | undefined;
  readonly level?: number | undefined;
  readonly recompress?: boolean | undefined;
  readonly archiveCompression?: 'gzip' | 'zstd' | 'none' | undefined;
  /** How registries are spoken to, when the source or the target is one. */
  readonly sourceAccess?: RegistryAccess | undefined;
  readonly targetAccess?: RegistryAccess | undefined;
  readonly dryRun?: boolean | undefined;
  readonly failFast?: boolean | undefined;
  /** Threads that hash and compress, the machine's cores by default; connections to one registry. */
  readonly jobs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

/** Hears how far a run is; the sizes are of unique blobs. */
export interface Progress {
  planned?(plan: Plan): void;
  bytes?(count: number): void;
  image?(report: ImageReport): void;
}

/** An image that is staged. */
interface Outcome {
  readonly job: Job;
  readonly closure: Closure;
  readonly changed: boolean;
  readonly notes: readonly string[];
}

/** So many images or bytes become visible together: syncing once for many is what makes many cheap. */
const BATCH_IMAGES = 1024;
const BATCH_BYTES = 2 * 1024 ** 3;
/** Bundles of images under way at once: enough to keep the threads busy while others wait for the disk. */
const BUNDLES_AT_ONCE = 8;
/** So many small images go together, so that their files are many to a message. */
const BUNDLE_IMAGES = 8;
const BUNDLE_BYTES = 1024 * 1024;

/**
 * Converts images from one place into another. One bad image does not stop the others: the report names each.
 * @throws ImgconvError when nothing can be converted: an unreadable source, NAME_CONFLICT, NO_SPACE, INTERRUPTED
 */
export async function convert(from: Place, to: Place, options: ConvertOptions = {}): Promise<Report> {
  const compression = compressionOf(from, to, options);
  if (options.missing === 'sparse' && !to.format.traits.takesSparse) {
    throw new ImgconvError(
      'USAGE',
      `--missing sparse: ${to.format.prefix}: cannot hold an incomplete index`,
      {
        hint: '--missing prune makes a new index of what is complete',
      },
    );
  }
  await using pool = new Pool(options.jobs);
  const abort = () => {
    pool.abort(interrupted());
  };
  options.signal?.addEventListener('abort', abort);
  const counter = new Counter();
  const { link = 'auto', platforms = [] } = options;
  const writer = await createPlace(to, {
    pool,
    link,
    platforms: platforms.length > 0 ? platforms : [ownPlatform()],
    archiveCompression: options.archiveCompression,
    access: { connections: options.jobs, ...options.targetAccess },
    onPut: (how, size) => {
      counter.add(how, size);
    },
  });
  let failure: ImgconvError | undefined;
  try {
    const { compression: format, level, onlyMade: exceptBlobs = false } = compression;
    const passing = format === 'gzip' || format === 'zstd' ? { format, level, exceptBlobs } : undefined;
    const spool = new StagingSpool(writer.staging, pool, passing);
    // What a registry or a pipe is written to is gone with this run: there is no next one to go on.
    using downloads = new StagedDownloads(writer.staging, pool, !isStream(to) && !to.format.traits.remote);
    const reader = await openPlace(from, {
      pool,
      spool: options.dryRun ? new PeekSpool() : spool,
      held: heldBy(writer),
      downloads: options.dryRun ? new MemoryDownloads() : downloads,
      access: { connections: options.jobs, ...options.sourceAccess },
    });
    try {
      return await new Conversion(from.path, to, compression, counter, pool, downloads, options).run(
        reader,
        writer,
      );
    } finally {
      await reader.close();
    }
  } catch (error) {
    // Whatever an interruption made fail, it is the interruption that counts.
    failure = options.signal?.aborted === true ? interrupted() : asImgconvError(error, from.path);
    throw failure;
  } finally {
    // Nobody writes into what is cleared away.
    await pool.close();
    // What cannot be cleared away now, the next run clears: it must not hide what went wrong.
    try {
      await writer.close();
    } catch (error) {
      if (failure === undefined) throw asImgconvError(error, to.path);
    }
    options.signal?.removeEventListener('abort', abort);
  }
}

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

function interrupted(): ImgconvError {
  return new ImgconvError('INTERRUPTED', 'interrupted: what was finished stays, the rest was cleared away');
}

/**
 * As `docker push` does by default: layers that an engine saved unpacked are compressed where they are stored. An image
 * that came with its manifest keeps it, and its layers with it.
 */
function compressionOf(
  { format: from }: Place,
  { format: to }: Place,
  options: ConvertOptions,
): CompressionOptions {
  const fallback = from.traits.uncompressedByNature && to.traits.compressesSaved ? 'gzip' : 'keep';
  const { compression = fallback, level, recompress } = options;
  const onlyMade = options.compression === undefined;
  if (compression === 'gzip' || compression === 'zstd') expectLevel(compression, level);
  else if (level !== undefined)
    throw new ImgconvError(
      'USAGE',
      `--compression-level ${level}: with --compression ${compression} nothing is compressed`,
      {
        hint: 'did you mean --compression gzip, or zstd? otherwise leave it out',
      },
    );
  return { compression, level, recompress, onlyMade };
}

class Conversion {
  /** The source, for messages. */
  readonly #where: string;
  readonly #to: Place;
  readonly #compression: CompressionOptions;
  readonly #counter: Counter;
  readonly #pool: Pool;
  readonly #downloads: StagedDownloads;
  readonly #options: ConvertOptions;
  readonly #reports: ImageReport[] = [];

  constructor(
    where: string,
    to: Place,
    compression: CompressionOptions,
    counter: Counter,
    pool: Pool,
    downloads: StagedDownloads,
    options: ConvertOptions,
  ) {
    this.#where = where;
    this.#to = to;
    this.#compression = compression;
    this.#counter = counter;
    this.#pool = pool;
    this.#downloads = downloads;
    this.#options = options;
  }

  async run(reader: ImageReader, writer: ImageWriter): Promise<Report> {
    const { selectors = [], platforms = [], progress, link = 'auto' } = this.#options;
    const options = {
      ...this.#options,
      selectors,
      platforms,
      tag: this.#options.tag,
      where: this.#where,
      systemImages: this.#options.systemImages ?? false,
      missing: this.#options.missing ?? 'refuse',
      extras: this.#options.extras ?? true,
      compression: this.#compression,
      failFast: this.#options.failFast ?? false,
      dryRun: this.#options.dryRun ?? false,
      onBytes: progress?.bytes && ((count: number) => progress.bytes?.(count)),
    } as const;
    const { jobs, failures, skipped, untaggedLeftOut } = await prepare(
      reader,
      this.#to.format.traits,
      options,
      this.#pool,
    );
    for (const failure of failures) this.#fail(failure);
    for (const source of skipped) this.#skip(source, undefined);
    const plan = await planOf(jobs, writer, link);
    progress?.planned?.(plan);
    if (this.#options.dryRun) {
      for (const job of jobs) this.#add(job, job.closure, 'planned', job.notes);
    } else if (!this.#stopped()) {
      if (!isStream(this.#to)) expectSpace(plan, this.#to.path);
      await this.#write(jobs, writer);
    }
    return { images: this.#reports, tally: this.#counter.tally(), untaggedLeftOut, plan };
  }

  #stopped(): boolean {
    return this.#options.failFast === true && this.#reports.some(({ status }) => status === 'failed');
  }

  async #write(jobs: readonly Job[], writer: ImageWriter): Promise<void> {
    if (jobs.length > 0 && !isStream(this.#to)) await writer.claim(this.#options.signal);
    const there = await knownForms(this.#to, jobs, this.#compression, this.#pool);
    const { sequential } = this.#to.format.traits;
    const context = {
      pool: this.#pool,
      staging: writer.staging,
      asFiles: writer.links,
      intoOne: sequential,
      onDone: (kind: 'compressed' | 'decompressed' | 'reused', size: number) => {
        this.#counter.add(kind, size);
      },
    };
    const recompressor = new Recompressor(this.#compression, context, there);
    const tell = (outcomes: readonly Outcome[], changed: boolean) => {
      for (const { job, closure, notes, ...outcome } of outcomes)
        this.#add(job, closure, outcome.changed && changed ? 'written' : 'unchanged', notes);
    };
    const all: Outcome[] = [];
    for (const batch of batches(jobs, BATCH_IMAGES, BATCH_BYTES)) {
      const outcomes = new Map<Job, Outcome | undefined>();
      const alone = sequential || this.#options.failFast === true;
      const bundles = batches(batch, alone ? 1 : BUNDLE_IMAGES, BUNDLE_BYTES);
      const work = async () => {
        for (const bundle of bundles) {
          if (this.#stopped()) return;
          await Promise.all(
            bundle.map(async (job) => outcomes.set(job, await this.#writeOne(job, writer, recompressor))),
          );
        }
      };
      await Promise.all(Array.from({ length: sequential ? 1 : BUNDLES_AT_ONCE }, work));
      await writer.publish();
      const done = batch.map((job) => outcomes.get(job)).filter((outcome) => outcome !== undefined);
      if (!sequential) for (const { closure } of done) this.#downloads.release(closure.blobs.keys());
      if (sequential) for (const one of done) all.push(one);
      else tell(done, true);
      if (this.#stopped()) {
        const told = new Set(this.#reports.map(({ name }) => name));
        for (const { source, name } of jobs)
          if (!told.has(referenceText(name))) this.#skip(source.name ?? source.where, name);
        return;
      }
    }
    tell(all, await writer.finish());
    // An archive is written anew by the next run, which then needs all of it again.
    if (!this.#reports.some(({ status }) => status === 'failed')) this.#downloads.releaseAll();
  }

  /** Stages one image; undefined when that failed, which is then in the report. */
  async #writeOne(job: Job, writer: ImageWriter, recompressor: Recompressor): Promise<Outcome | undefined> {
    const stage = () => this.#stage(job, writer, recompressor);
    try {
      return await stage().catch((error: unknown) => {
        const isDamage = error instanceof ImgconvError && error.code === 'DIGEST_MISMATCH';
        if (isDamage && recompressor.relyLess()) return stage();
        throw error;
      });
    } catch (error) {
      const { source, name } = job;
      if (this.#options.signal?.aborted === true) throw interrupted();
      const known = asImgconvError(error, source.where);
      if (known.code === 'INTERRUPTED') throw known;
      this.#fail({ source: source.name ?? source.where, sourceDigest: source.digest, name, error: known });
      return undefined;
    }
  }

  async #stage(job: Job, writer: ImageWriter, recompressor: Recompressor): Promise<Outcome> {
    const closure = await recompressor.apply(job.closure, job.compression);
    const digests = new Set(manifestsOf(closure.root).map(({ descriptor }) => descriptor.digest));
    const signatures = job.signatures.filter(({ of }) => digests.has(of));
    const stale = job.signatures.length - signatures.length;
    const { digest } = closure.root.descriptor;
    // A name that is a digest is that of what is written.
    const name = job.name.tag === undefined ? { ...job.name, digest } : job.name;
    const { changed, notes } = await writer.write({ ...closure, name, signatures });
    const made = closure.notes.filter((note) => !job.closure.notes.includes(note));
    const left =
      stale === 0
        ? []
        : [`${counted(stale, 'signature file')} left out: made for a digest that the image no longer has`];
    return { job: { ...job, name }, closure, changed, notes: [...job.notes, ...made, ...left, ...notes] };
  }

  #add(
    { source, name }: Job,
    { root }: Closure,
    status: ImageReport['status'],
    notes: readonly string[],
  ): void {
    this.#tell({
      source: source.name ?? source.where,
      choice: source.name === undefined ? choiceText(source) : undefined,
      name: referenceText(name),
      sourceDigest: source.digest,
      digest: root.descriptor.digest,
      status,
      notes,
      error: undefined,
    });
  }

  #fail({ source, choice, sourceDigest, name, error }: Failure): void {
    this.#tell({
      source,
      choice,
      name: name === undefined ? undefined : referenceText(name),
      sourceDigest,
      digest: undefined,
      status: 'failed',
      notes: [],
      error,
    });
  }

  #skip(source: string, name: Reference | undefined): void {
    const text = name === undefined ? undefined : referenceText(name);
    this.#tell({
      source,
      name: text,
      sourceDigest: undefined,
      digest: undefined,
      status: 'skipped',
      notes: [],
      error: undefined,
    });
  }

  #tell(report: ImageReport): void {
    this.#reports.push(report);
    this.#options.progress?.image?.(report);
  }
}

/** In their order, each of so many images, or as soon as it has so many bytes. */
function* batches(jobs: readonly Job[], images: number, most: number): Generator<Job[]> {
  let batch: Job[] = [];
  let bytes = 0;
  for (const job of jobs) {
    batch.push(job);
    for (const { size } of job.closure.blobs.values()) bytes += size;
    if (batch.length < images && bytes < most) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}
