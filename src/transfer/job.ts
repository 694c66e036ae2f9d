import type { SourceImage } from '../formats/format.js';
import type { Digest } from '../model/digest.js';
import type { ImgconvError } from '../model/errors.js';
import type { Reference } from '../model/reference.js';
import type { LayerCompression } from './compression.js';
import type { Wanted } from './expected.js';
import type { Closure } from './closure.js';

/** An image that is found, named and known to be all there. */
export interface Job {
  readonly source: SourceImage;
  readonly name: Reference;
  readonly closure: Closure;
  readonly compression: LayerCompression;
  /** The digests that it is to get. */
  readonly expected?: Wanted | undefined;
  readonly signatures: SourceImage['signatures'];
  readonly notes: readonly string[];
  /** How the target calls it, and what it had under this name before: known when the image is written or planned. */
  readonly reference?: string | undefined;
  readonly previous?: Digest | undefined;
}

export interface Failure {
  readonly source: string;
  readonly choice?: string | undefined;
  readonly sourceDigest?: string | undefined;
  readonly name?: Reference | undefined;
  readonly error: ImgconvError;
}
