import { choiceText } from '../formats/format.js';
import { referenceText, type Reference } from '../model/reference.js';
import type { Failure, Job } from './job.js';
import type { ImageReport } from './report.js';

/** The digest is undefined where it is known only when the image is written. */
type Done = Omit<Job, 'digest'> & { readonly digest: Job['digest'] | undefined };

/** What became of the images of a run, in the order in which they were done. */
export class Account {
  readonly images: ImageReport[] = [];
  hasFailures = false;
  readonly #hear: ((report: ImageReport) => void) | undefined;

  constructor(hear: ((report: ImageReport) => void) | undefined) {
    this.#hear = hear;
  }

  done(report: ImageReport): void {
    this.images.push(report);
    this.#hear?.(report);
  }

  /** Of an image whose digest is known only when it is written. */
  plannedAnew(job: Job, note: string): void {
    this.done(reportOf({ ...job, digest: undefined, notes: [...job.notes, note] }, 'planned'));
  }

  failed({ name, ...failure }: Failure): void {
    this.hasFailures = true;
    this.#add({ ...failure, name: name && referenceText(name), status: 'failed' });
  }

  skipped(source: string, name?: Reference): void {
    this.#add({ source, name: name && referenceText(name), status: 'skipped' });
  }

  /** Jobs that nothing was said of. */
  skipRest(jobs: readonly Job[]): void {
    const told = new Set(this.images.map(({ name }) => name));
    for (const { source, name, key } of jobs)
      if (!told.has(key)) this.skipped(source.name ?? source.where, name);
  }

  #add({ source, choice, name, sourceDigest, status, error }: Partial<ImageReport> & Told): void {
    this.done({
      source,
      choice,
      name,
      reference: undefined,
      sourceDigest,
      digest: undefined,
      previousDigest: undefined,
      status,
      notes: [],
      error,
    });
  }
}

type Told = Pick<ImageReport, 'source' | 'status'>;

/** Of an image that is written, or would be. */
export function reportOf(
  { source, name, key, digest, notes, reference, previous }: Done,
  status: 'written' | 'unchanged' | 'planned',
): ImageReport {
  const previousDigest = previous === digest ? undefined : previous;
  // Made without spreads, for which V8 has a class of each object, of five times its size.
  return {
    source: same(key, source.name) ?? source.where,
    choice: source.name === undefined ? choiceText(source) : undefined,
    name: same(key, referenceText(name)),
    reference: same(key, reference),
    sourceDigest: source.digest,
    digest,
    previousDigest,
    status: status === 'written' && previousDigest !== undefined ? 'updated' : status,
    notes,
    error: undefined,
  };
}

/** The one of two equal texts that is held anyhow. */
function same(held: string, text: string | undefined): string | undefined {
  return text === held ? held : text;
}
