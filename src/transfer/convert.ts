import type { Format, ImageReader, ImageWriter, SourceImage, Traits } from '../formats/format.js';
import type { Place } from '../formats/table.js';
import { Pool } from '../io/pool.js';
import type { LinkMode } from '../io/verified-blob.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { ownPlatform, type Platform } from '../model/platform.js';
import { referenceText, type Reference } from '../model/reference.js';
import { knownForms } from './known-forms.js';
import { targetName, type NameOptions } from './names.js';
import { expectSpace, planOf } from './plan.js';
import { choosePlatforms } from './platforms.js';
import { Recompressor, type CompressionOptions } from './recompress.js';
import { Counter, type ImageReport, type Plan, type Report } from './report.js';
import { findClosure, readTree, type Closure } from './resolve.js';
import { select, wantsUntagged, type Selected, type Selector } from './select.js';

export interface ConvertOptions extends NameOptions {
  /** None means all that have a name. */
  readonly selectors?: readonly Selector[] | undefined;
  /** Names the one image that is converted. */
  readonly tag?: string | undefined;
  readonly link?: LinkMode | undefined;
  /** None means all platforms. */
  readonly platforms?: readonly Platform[] | undefined;
  /** Undefined: gzip from an engine's archive into dir and reg, else keep. */
  readonly compression?: CompressionOptions['compression'] | undefined;
  readonly level?: number | undefined;
  readonly recompress?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
  readonly failFast?: boolean | undefined;
  /** Threads that hash and compress; the machine's cores by default. */
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

/** An image on its way. */
interface Job {
  readonly source: SourceImage;
  readonly name: Reference;
  readonly closure: Closure;
  readonly notes: readonly string[];
}

/** An image that is staged. */
interface Outcome {
  readonly job: Job;
  readonly closure: Closure;
  readonly changed: boolean;
  readonly notes: readonly string[];
}

/** So many images or bytes become visible together: syncing once for many is what makes many cheap. */
const BATCH_IMAGES = 256;
const BATCH_BYTES = 2 * 1024 ** 3;
/** Images under way at once: enough to keep the threads busy while others wait for the disk. */
const IMAGES_AT_ONCE = 8;

/**
 * Converts images from one place into another. One bad image does not stop the others: the report names each.
 * @throws ImgconvError when nothing can be converted: an unreadable source, NAME_CONFLICT, NO_SPACE, INTERRUPTED
 */
export async function convert(from: Place, to: Place, options: ConvertOptions = {}): Promise<Report> {
  await using pool = new Pool(options.jobs);
  const abort = () => {
    pool.abort(
      new ImgconvError('INTERRUPTED', 'interrupted: what was finished stays, the rest was cleared away'),
    );
  };
  options.signal?.addEventListener('abort', abort);
  const reader = await from.format.open(from.path, { pool });
  try {
    return await new Conversion(from, to, reader, pool, options).run();
  } finally {
    options.signal?.removeEventListener('abort', abort);
    await reader.close();
  }
}

class Conversion {
  readonly #from: Place;
  readonly #to: Place;
  readonly #reader: ImageReader;
  readonly #pool: Pool;
  readonly #options: ConvertOptions;
  readonly #compression: CompressionOptions;
  readonly #counter = new Counter();
  readonly #reports: ImageReport[] = [];

  constructor(from: Place, to: Place, reader: ImageReader, pool: Pool, options: ConvertOptions) {
    this.#from = from;
    this.#to = to;
    this.#reader = reader;
    this.#pool = pool;
    this.#options = options;
    this.#compression = {
      compression: options.compression ?? defaultCompression(from.format.traits, to.format),
      level: options.level,
      recompress: options.recompress,
    };
  }

  async run(): Promise<Report> {
    const { selectors = [] } = this.#options;
    const { selected, unmatched } = await select(
      this.#reader.images({ untagged: wantsUntagged(selectors) }),
      selectors,
    );
    for (const { selector, error } of unmatched) this.#fail(selector.text, undefined, error);
    if (selected.length === 0 && unmatched.length === 0)
      throw new ImgconvError('NOT_FOUND', `${this.#from.path}: no images in it`);
    const jobs = await this.#prepare(selected);
    const { link = 'auto', platforms = [] } = this.#options;
    const writer = await this.#to.format.create(this.#to.path, {
      pool: this.#pool,
      link,
      platforms: platforms.length > 0 ? platforms : [ownPlatform()],
      onPut: (how, size) => {
        this.#counter.add(how, size);
      },
    });
    try {
      const plan = planOf(jobs, this.#to.path, writer, link, this.#compression);
      this.#options.progress?.planned?.(plan);
      if (this.#options.dryRun) {
        for (const job of jobs) this.#add(job, job.closure, 'planned', job.notes);
        return this.#report(plan);
      }
      expectSpace(plan, this.#to.path);
      if (!this.#stopped()) await this.#write(jobs, writer);
      return this.#report(plan);
    } finally {
      await writer.close();
    }
  }

  #report(plan: Plan): Report {
    return { images: this.#reports, tally: this.#counter.tally(), plan };
  }

  #stopped(): boolean {
    return this.#options.failFast === true && this.#reports.some(({ status }) => status === 'failed');
  }

  /** Names every image, finds its closure, and refuses two that would land on one name. */
  async #prepare(selected: readonly Selected[]): Promise<Job[]> {
    const named = this.#options.tag === undefined ? undefined : expectOne(selected, this.#options.tag);
    const jobs = new Map<string, Job>();
    for (const { image, rename } of selected) {
      const source = image.name ?? image.where;
      try {
        if ('error' in image) throw image.error;
        const chosen = rename ?? named;
        const name = chosen ?? image.name;
        if (name === undefined) throw unnamed(image.where);
        const target = targetName(name, chosen !== undefined, this.#options, this.#to.format.traits);
        const key = referenceText(target.reference);
        const other = jobs.get(key);
        if (other !== undefined && other.source.digest !== image.digest)
          throw conflict(key, other.source, image);
        if (other !== undefined) continue;
        const tree = await readTree(image);
        const { root, notes } = await choosePlatforms(image, tree, this.#options.platforms ?? [], this.#pool);
        const closure = await findClosure(image, root, this.#pool, (count) =>
          this.#options.progress?.bytes?.(count),
        );
        jobs.set(key, {
          source: image,
          name: target.reference,
          closure,
          notes: [...image.warnings, ...target.notes, ...notes, ...closure.notes],
        });
      } catch (error) {
        const known = asImgconvError(error, source);
        if (known.code === 'NAME_CONFLICT' || known.code === 'INTERRUPTED') throw known;
        this.#fail(source, 'digest' in image ? image.digest : undefined, known);
        if (this.#stopped()) break;
      }
    }
    return [...jobs.values()];
  }

  async #write(jobs: readonly Job[], writer: ImageWriter): Promise<void> {
    const known = await this.#knownForms(jobs);
    const recompressor = new Recompressor(
      this.#compression,
      this.#pool,
      writer.staging,
      known,
      (kind, size) => {
        this.#counter.add(kind, size);
      },
    );
    const { sequential } = this.#to.format.traits;
    const tell = (outcomes: readonly Outcome[], changed: boolean) => {
      for (const { job, closure, notes, ...outcome } of outcomes)
        this.#add(job, closure, outcome.changed && changed ? 'written' : 'unchanged', notes);
    };
    const all: Outcome[] = [];
    for (const batch of batches(jobs)) {
      const outcomes: (Outcome | undefined)[] = [];
      let next = 0;
      const work = async () => {
        for (let i = next++; i < batch.length && !this.#stopped(); i = next++) {
          const job = batch[i];
          if (job !== undefined) outcomes[i] = await this.#writeOne(job, writer, recompressor);
        }
      };
      await Promise.all(Array.from({ length: sequential ? 1 : IMAGES_AT_ONCE }, work));
      await writer.publish();
      const done = outcomes.filter((outcome) => outcome !== undefined);
      if (sequential) all.push(...done);
      else tell(done, true);
      if (this.#stopped()) return;
    }
    tell(all, await writer.finish());
  }

  /** Stages one image; undefined when that failed, which is then in the report. */
  async #writeOne(job: Job, writer: ImageWriter, recompressor: Recompressor): Promise<Outcome | undefined> {
    try {
      const closure = await recompressor.apply(job.closure);
      const { signatures } = job.source;
      const { changed, notes } = await writer.write({ ...closure, name: job.name, signatures });
      const made = closure.notes.filter((note) => !job.closure.notes.includes(note));
      return { job, closure, changed, notes: [...job.notes, ...made, ...notes] };
    } catch (error) {
      const known = asImgconvError(error, job.source.where);
      if (known.code === 'INTERRUPTED') throw known;
      this.#fail(job.source.name ?? job.source.where, job.source.digest, known, job.name);
      return undefined;
    }
  }

  /** What the destination has compressed already, if anything is to be compressed. */
  async #knownForms(jobs: readonly Job[]) {
    if (this.#compression.compression !== 'gzip') return new Map();
    return knownForms(
      this.#to,
      jobs.map(({ closure }) => closure.root),
      this.#compression,
      this.#pool,
    );
  }

  #add(
    { source, name }: Job,
    { root }: Closure,
    status: ImageReport['status'],
    notes: readonly string[],
  ): void {
    this.#tell({
      source: source.name ?? source.where,
      name: referenceText(name),
      sourceDigest: source.digest,
      digest: root.descriptor.digest,
      status,
      notes,
      error: undefined,
    });
  }

  #fail(source: string, sourceDigest: string | undefined, error: ImgconvError, name?: Reference): void {
    this.#tell({
      source,
      name: name === undefined ? undefined : referenceText(name),
      sourceDigest,
      digest: undefined,
      status: 'failed',
      notes: [],
      error,
    });
  }

  #tell(report: ImageReport): void {
    this.#reports.push(report);
    this.#options.progress?.image?.(report);
  }
}

/** As `docker push` does: layers that an engine saved unpacked are compressed where they are stored. */
function defaultCompression(from: Traits, to: Format): CompressionOptions['compression'] {
  return from.uncompressedByNature && !to.traits.uncompressedByNature ? 'gzip' : 'keep';
}

function* batches(jobs: readonly Job[]): Generator<Job[]> {
  let batch: Job[] = [];
  let bytes = 0;
  for (const job of jobs) {
    batch.push(job);
    for (const { size } of job.closure.blobs.values()) bytes += size;
    if (batch.length < BATCH_IMAGES && bytes < BATCH_BYTES) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}

function expectOne(selected: readonly Selected[], tag: string): string {
  if (selected.length === 1) return tag;
  throw new ImgconvError('USAGE', `--tag ${tag}: names one image, and there are ${selected.length}`, {
    hint: 'choose one with a reference, or rename several with --images-file, "SOURCE TARGET" on a line',
  });
}

function unnamed(where: string): ImgconvError {
  return new ImgconvError('NAME_MISSING', `${where}: the image has no name`, {
    hint: 'give it one: -t NAME:TAG',
  });
}

function conflict(name: string, one: SourceImage, other: SourceImage): ImgconvError {
  return new ImgconvError(
    'NAME_CONFLICT',
    `${name}: both ${one.name ?? one.where} (${one.digest}) and ${other.name ?? other.where} (${other.digest}) would get this name`,
    { hint: 'nothing was written; tell them apart with --rename, --scoped or an images file' },
  );
}
