import type { SourceImage } from '../formats/format.js';
import { isDigest, type Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { referenceText, splitReference, type Reference } from '../model/reference.js';

/** A digest that an image is to get: the one by which it is known elsewhere. */
export interface ExpectedImage {
  /** The image's name in the source or in the target, with its tag or without. */
  readonly name: string;
  readonly digest: Digest;
}

/** `known`: the digests that the source remembers, such as a data root of Docker's; an image that gets none of them keeps its own. */
export type Expectation = ExpectedImage | 'known';

/** @throws ImgconvError USAGE for what is neither `NAME@DIGEST` nor `known` */
export function parseExpectation(text: string): Expectation {
  if (text === 'known') return text;
  const at = text.lastIndexOf('@');
  const [name, digest] = [text.slice(0, at), text.slice(at + 1)];
  if (at > 0 && isDigest(digest)) return { name, digest };
  throw new ImgconvError('USAGE', `--expect ${text}: no name and digest`, {
    hint: 'NAME@sha256:… as docker images --digests shows it, or known for what the source remembers',
  });
}

export interface ExpectedDigests {
  /** The image is to get one of them; none if the source was to remember some and does not. */
  readonly digests: readonly Digest[];
  /** The image fails if it gets none of these digests. */
  readonly isRequired: boolean;
}

/** The expectations of a run. */
export class Expectations {
  readonly #named: readonly ExpectedImage[];
  readonly #known: boolean;
  readonly #met = new Set<ExpectedImage>();

  constructor(all: readonly Expectation[]) {
    this.#named = all.filter((one) => one !== 'known');
    this.#known = all.includes('known');
  }

  of({ name: from, knownAs = [] }: SourceImage, target: Reference): ExpectedDigests | undefined {
    const texts = [from ?? '', referenceText(target)];
    const names = new Set(texts.flatMap((text) => [text, splitReference(text).name]));
    const own = this.#named.filter(({ name }) => names.has(name));
    for (const one of own) this.#met.add(one);
    if (own.length > 0) return { digests: own.map(({ digest }) => digest), isRequired: true };
    if (!this.#known) return undefined;
    const digests = knownAs.map((text) => text.slice(text.lastIndexOf('@') + 1)).filter(isDigest);
    return { digests, isRequired: false };
  }

  /** Those that no image was found for. */
  unmet(): ImgconvError[] {
    return this.#named
      .filter((one) => !this.#met.has(one))
      .map(
        ({ name, digest }) =>
          new ImgconvError('NOT_FOUND', `--expect ${name}@${digest}: no such image is converted`, {
            hint: 'the name is that of the source or of the target, as imgconv ls shows it',
          }),
      );
  }
}
