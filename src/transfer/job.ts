import type { SourceImage } from '../formats/format.js';
import type { Digest } from '../model/digest.js';
import type { ImgconvError } from '../model/errors.js';
import type { Reference } from '../model/reference.js';
import type { LayerCompression } from './compression.js';
import type { ExpectedDigests } from './expectations.js';
import type { Closure } from './closure.js';

/** An image that is found, named and known to be all there. */
export interface Job {
  readonly source: SourceImage;
  readonly name: Reference;
  /** The name as text: jobs are in the order of these. */
  readonly key: string;
  /** Of its root: as it was found, and once it is written as it is there. */
  readonly digest: Digest;
  /** Of all its blobs. */
  readonly bytes: number;
  /** Undefined for one that is found again when it is needed: those of a hundred thousand images would take gigabytes. */
  readonly closure: Closure | undefined;
  readonly compression: LayerCompression;
  /** The digests that it is to get. */
  readonly expected?: ExpectedDigests | undefined;
  readonly signatures: SourceImage['signatures'];
  readonly notes: readonly string[];
  /** How the target calls it, and what it had under this name before: known when the image is written or planned. */
  readonly reference?: string | undefined;
  readonly previous?: Digest | undefined;
}

const NO_NOTES: readonly string[] = [];

/** One list for all images without notes: most have none. */
export function joinNotes(...some: readonly (readonly string[])[]): readonly string[] {
  const notes = some.flat();
  return notes.length === 0 ? NO_NOTES : notes;
}

export interface Failure {
  readonly source: string;
  readonly choice?: string | undefined;
  readonly sourceDigest?: string | undefined;
  readonly name?: Reference | undefined;
  readonly error: ImgconvError;
}

/** What is to be done. */
export interface Prepared {
  /** By name, so that what is written does not depend on the order in which the source has it. The caller's own. */
  readonly jobs: Job[];
  readonly failures: readonly Failure[];
  /** Sources that were not looked at any more. */
  readonly skipped: readonly string[];
  readonly untaggedLeftOut: number;
  /** The closure of a job, found again if it was not held. */
  readonly closureOf: (job: Job) => Promise<Closure>;
}
