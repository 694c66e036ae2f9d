import type { Job } from './job.js';

/** So many small images go together, so that their files are many to a message. */
export const BUNDLE = { images: 8, bytes: 1024 * 1024 };

/**
 * In their order, each of so many images, or as soon as it has so many bytes. They are taken out of `jobs`: one that is
 * done need not be held while others are written.
 */
export function* bundlesOf(jobs: Job[], most: typeof BUNDLE): Generator<Job[]> {
  let bundle: Job[] = [];
  let bytes = 0;
  jobs.reverse();
  for (let job = jobs.pop(); job !== undefined; job = jobs.pop()) {
    bundle.push(job);
    bytes += job.bytes;
    if (bundle.length < most.images && bytes < most.bytes) continue;
    yield bundle;
    bundle = [];
    bytes = 0;
  }
  if (bundle.length > 0) yield bundle;
}
