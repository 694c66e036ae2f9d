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

  done(
    { source, name, key, digest, notes, reference, previous }: Done,
    status: 'written' | 'unchanged' | 'planned',
  ): void {
    const choice = source.name === undefined ? choiceText(source) : undefined;
    const [from, sourceDigest] = [same(key, source.name) ?? source.where, source.digest];
    const previousDigest = previous === digest ? undefined : previous;
    const isUpdated = status === 'written' && previousDigest !== undefined;
    this.#add({
      ...{ source: from, choice, name: same(key, referenceText(name)), reference, sourceDigest, digest },
      ...{ previousDigest, status: isUpdated ? 'updated' : status, notes },
    });
  }

  /** Of an image whose digest is known only when it is written. */
  plannedAnew(job: Job, note: string): void {
    this.done({ ...job, digest: undefined, notes: [...job.notes, note] }, 'planned');
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

  #add({
    source,
    choice,
    name,
    reference,
    sourceDigest,
    digest,
    previousDigest,
    status,
    notes = [],
    error,
  }: Partial<ImageReport> & Pick<ImageReport, 'source' | 'status'>): void {
    const report = {
      ...{ source, choice, name, reference, sourceDigest, digest },
      ...{ previousDigest, status, notes, error },
    };
    this.images.push(report);
    this.#hear?.(report);
  }
}

/** The one of two equal texts that is held anyhow. */
function same(held: string, text: string | undefined): string | undefined {
  return text === held ? held : text;
}
