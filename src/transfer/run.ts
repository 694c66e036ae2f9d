import type { ImageReader, ImageWriter } from '../formats/format.js';
import { isStream, type Place } from '../formats/table.js';
import { isAttachedTag } from '../model/attached.js';
import { asImgconvError, counted, ImgconvError } from '../model/errors.js';
import { manifestsOf, type ManifestNode } from '../model/tree.js';
import { referenceText, type Reference } from '../model/reference.js';
import type { StagedDownloads } from '../storage/downloads.js';
import type { Pool } from '../threads/pool.js';
import { Account, reportOf } from './account.js';
import { BUNDLE, bundlesOf } from './bundles.js';
import type { Closure } from './closure.js';
import { changesNote, keptNote, type LayerCompression } from './compression.js';
import { joinNotes, type Job, type Prepared } from './job.js';
import { changedDigest } from './mistakes.js';
import { interrupted, type SoFar } from './interrupted.js';
import { knownForms } from './known-forms.js';
import type { ConvertOptions } from './options.js';
import { expectSpace, Planner } from './plan.js';
import { expectWritable } from '../storage/file-system.js';
import { Preparation } from './prepare.js';
import { Publishing, type Outcome } from './publishing.js';
import { Recompressor } from './recompress.js';
import type { Counter, ImageReport, Report } from './report.js';

/** Both ends of a conversion, open, and what they share. */
export interface Ends {
  readonly from: Place;
  readonly reader: ImageReader;
  readonly to: Place;
  readonly writer: ImageWriter;
  readonly pool: Pool;
  readonly downloads: StagedDownloads;
  readonly compression: LayerCompression;
  readonly counter: Counter;
}

/** Bundles of images under way at once: enough to keep the threads busy while others wait for the disk. */
const BUNDLES_AT_ONCE = 8;

/** Prepares images, plans, writes them and reports. */
export class Run {
  readonly #ends: Ends;
  readonly #options: ConvertOptions;
  readonly #account: Account;
  /** That are to be written; undefined until they are found. */
  #images: number | undefined;

  constructor(ends: Ends, options: ConvertOptions) {
    this.#ends = ends;
    this.#options = options;
    this.#account = new Account((report) => options.progress?.image?.(report));
  }

  async run(): Promise<Report> {
    const { to, writer, counter } = this.#ends;
    const { progress, link = 'auto', dryRun = false } = this.#options;
    const planner = new Planner(writer, link);
    const { jobs, failures, skipped, untaggedLeftOut, closureOf } = await this.#prepare(planner);
    for (const failure of failures) this.#account.failed(failure);
    for (const source of skipped) this.#account.skipped(source);
    const plan = planner.plan();
    this.#images = jobs.length;
    progress?.planned?.(plan);
    const { link: links, copy, fetch, compress } = plan;
    const writes = [links, copy, fetch, compress].some(({ blobs }) => blobs > 0);
    if (writes && !isStream(to) && !to.format.traits.remote) expectWritable(writer.staging.root);
    if (dryRun) for (const job of jobs) await this.#planOne(job, closureOf);
    else if (!this.#stops) {
      if (!isStream(to)) expectSpace(plan, plan.toRegistry ? writer.staging.root : to.path);
      await this.#write(jobs, closureOf);
    }
    return { images: this.#account.images, tally: counter.tally(), untaggedLeftOut, plan };
  }

  /** How far it is, once it is interrupted. */
  soFar(): SoFar {
    const { to, downloads } = this.#ends;
    const complete = this.#account.images.filter(({ status }) =>
      ['written', 'updated', 'unchanged'].includes(status),
    );
    return { to, complete: complete.length, images: this.#images, downloads: downloads.kept() };
  }

  #prepare(planner: Planner) {
    const { from, reader, to, pool, compression } = this.#ends;
    const { progress } = this.#options;
    const options = {
      ...this.#options,
      where: from.path,
      selectors: this.#options.selectors ?? [],
      tag: this.#options.tag,
      platforms: this.#options.platforms ?? [],
      systemImages: this.#options.systemImages ?? false,
      missing: this.#options.missing ?? 'refuse',
      extras: this.#options.extras ?? true,
      compression,
      expect: this.#options.expect ?? [],
      alone: this.#options.single ?? false,
      failFast: this.#options.failFast ?? false,
      dryRun: this.#options.dryRun ?? false,
      onBytes: progress?.bytes && ((count: number) => progress.bytes?.(count)),
      holds: this.#isFetched,
      onFound: (job: Job, closure: Closure) => planner.add(job, closure),
    };
    return new Preparation(reader, to.format.traits, options, pool).run();
  }

  /** Blobs may come from another machine. */
  get #isFetched(): boolean {
    const places = [this.#ends.from, ...(this.#options.blobsFrom ?? [])];
    return places.some(({ format }) => format.traits.remote);
  }

  get #stops(): boolean {
    return this.#options.failFast === true && this.#account.hasFailures;
  }

  async #write(jobs: Job[], closureOf: Prepared['closureOf']): Promise<void> {
    const { to, writer, downloads } = this.#ends;
    const { sequential, remote } = to.format.traits;
    if (jobs.length > 0 && !isStream(to)) await writer.claim(this.#options.signal);
    const recompressor = await this.#recompressorFor(jobs);
    const all = this.#options.failFast === true ? [...jobs] : [];
    const publishing = new Publishing(writer, (done) => {
      this.#tell(done);
    });
    /** An archive says at its end whether it changed. */
    const pending: ImageReport[] = [];
    const onStaged = async (outcome: Outcome) => {
      if (sequential) pending.push(outcome.report);
      else if (remote) this.#tell([outcome]);
      else await publishing.add(outcome);
    };
    try {
      await this.#writeAll(jobs, async (job) => {
        const stage = () => this.#stage(job, closureOf, recompressor, publishing);
        const outcome = await this.#writeOne(job, stage, recompressor);
        if (outcome !== undefined) await onStaged(outcome);
      });
      await publishing.publish();
    } finally {
      publishing.close();
    }
    if (this.#stops) {
      this.#account.skipRest(all);
      return;
    }
    const changed = await writer.finish();
    for (const report of pending) this.#account.done(changed ? report : { ...report, status: 'unchanged' });
    // An archive is written anew by the next run, which then needs all of it again.
    if (!this.#account.hasFailures) downloads.releaseAll();
  }

  async #recompressorFor(jobs: readonly Job[]): Promise<Recompressor> {
    const { to, writer, pool, compression, counter } = this.#ends;
    const there = await knownForms(to, writer.kept, jobs, compression, pool);
    const context = {
      pool,
      staging: writer.staging,
      asFiles: writer.links,
      intoOne: writer.inPlace,
      onDone: (kind: 'compressed' | 'decompressed' | 'reused', size: number) => {
        counter.add(kind, size);
      },
    };
    return new Recompressor(compression, context, there);
  }

  #tell(outcomes: readonly Outcome[]): void {
    for (const { report, fetched } of outcomes) {
      this.#ends.downloads.release(fetched);
      this.#account.done(report);
    }
  }

  /** Writes images side by side where the target takes that, small ones in bundles. */
  async #writeAll(jobs: Job[], write: (job: Job) => Promise<void>): Promise<void> {
    const { sequential } = this.#ends.to.format.traits;
    const alone = sequential || this.#options.failFast === true;
    const bundles = bundlesOf(jobs, alone ? { ...BUNDLE, images: 1 } : BUNDLE);
    const work = async () => {
      for (const bundle of bundles) {
        if (this.#stops) return;
        await Promise.all(bundle.map(write));
      }
    };
    await Promise.all(Array.from({ length: sequential ? 1 : BUNDLES_AT_ONCE }, work));
  }

  async #writeOne(
    job: Job,
    stage: () => Promise<Outcome>,
    recompressor: Recompressor,
  ): Promise<Outcome | undefined> {
    const { source, name } = job;
    const { progress } = this.#options;
    const text = referenceText(name);
    progress?.started?.(text);
    try {
      return await stage().catch((error: unknown) => {
        const isDamage = error instanceof ImgconvError && error.code === 'DIGEST_MISMATCH';
        if (isDamage && recompressor.relyLess()) return stage();
        throw error;
      });
    } catch (cause) {
      if (this.#options.signal?.aborted === true) throw interrupted();
      const error = asImgconvError(cause, source.where);
      if (error.code === 'INTERRUPTED') throw error;
      this.#failed(job, error);
      return undefined;
    } finally {
      progress?.ended?.(text);
    }
  }

  async #stage(
    job: Job,
    closureOf: Prepared['closureOf'],
    recompressor: Recompressor,
    publishing: Publishing,
  ): Promise<Outcome> {
    const { writer } = this.#ends;
    const found = await closureOf(job);
    const closure = await recompressor.apply(found, job.compression, job.expected);
    const digests = new Set(manifestsOf(closure.root).map(({ descriptor }) => descriptor.digest));
    const signatures = job.signatures.filter(({ of }) => digests.has(of));
    const stale = job.signatures.length - signatures.length;
    const { digest } = closure.root.descriptor;
    // A name that is a digest is that of what is written.
    const name = job.name.tag === undefined ? { ...job.name, digest } : job.name;
    const known = await this.#knownTo(job, name, closure.root);
    await this.#fetch(name, closure);
    const { changed, notes } = await publishing.write(() => writer.write({ ...closure, name, signatures }));
    const made = closure.notes.filter((note) => !found.notes.includes(note));
    const left = `${counted(stale, 'signature file')} left out: made for a digest that the image no longer has`;
    const kept = keptNote(closure.root, job.compression);
    const all = joinNotes(job.notes, made, stale === 0 ? [] : [left], notes, kept);
    const report = reportOf({ ...known, name, digest, notes: all }, changed ? 'written' : 'unchanged');
    const fetched = this.#isFetched ? [...closure.blobs.keys()] : [];
    return { key: job.key, bytes: job.bytes, report, fetched };
  }

  async #planOne(job: Job, closureOf: Prepared['closureOf']): Promise<void> {
    try {
      const { root } = await closureOf(job);
      const note = changesNote(root, job.compression);
      const known = await this.#knownTo(job, job.name, root, note === undefined);
      if (note === undefined) this.#account.done(reportOf(known, 'planned'));
      else if (this.#options.preserveDigests !== true) this.#account.plannedAnew(known, note);
      else throw changedDigest(known.reference ?? known.key, job.source.digest, `: ${note}`);
    } catch (cause) {
      this.#failed(job, asImgconvError(cause, job.source.where));
    }
  }

  #failed({ source, name }: Job, error: ImgconvError): void {
    this.#account.failed({ source: source.name ?? source.where, sourceDigest: source.digest, name, error });
  }

  /** With what the target has under this name; `isFinal`: `root` is what is written. @throws ImgconvError NAME_CONFLICT */
  async #knownTo(job: Job, name: Reference, root: ManifestNode, isFinal = true): Promise<Job> {
    const { writer } = this.#ends;
    const reference = writer.referenceOf(name);
    const previous = await writer.tagged(name, root);
    if (!isFinal) return { ...job, reference, previous };
    // The tag of attached artifacts grows with each of them.
    const isKept = this.#options.overwrite === false && !isAttachedTag(name.tag);
    if (isKept && previous !== undefined && previous !== root.descriptor.digest)
      throw new ImgconvError(
        'NAME_CONFLICT',
        `${reference}: the target has another image of this name, ${previous}`,
        { hint: 'give it another name with --tag or --rename, or leave out --no-overwrite' },
      );
    if (this.#options.preserveDigests === true && root.descriptor.digest !== job.source.digest)
      throw changedDigest(reference, job.source.digest, ` to ${root.descriptor.digest}`);
    return { ...job, reference, previous };
  }

  /** Downloads what the target lacks before the image is written, so that others are published meanwhile. */
  async #fetch(name: Reference, { blobs }: Closure): Promise<void> {
    const { to, writer } = this.#ends;
    if (to.format.traits.remote || to.format.traits.sequential) return;
    await Promise.all(
      [...blobs.values()].map(async (blob) => {
        // Writing the image says what is wrong.
        if (blob.isRemote && !(await writer.holds(name, blob, 'blob')))
          await blob.prove().catch(() => undefined);
      }),
    );
  }
}
