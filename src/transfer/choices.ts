import type { SourceImage, UnreadableImage } from '../formats/format.js';
import { ImgconvError } from '../model/errors.js';
import { choiceOf } from '../model/reference.js';

/** What a user asks for: a reference, a glob, a digest or a number (`choiceOf`), and the name it is to get. */
export interface Selector {
  readonly text: string;
  readonly rename: string | undefined;
  /** For messages, the line of a file that says it; absent for an argument. */
  readonly where?: string | undefined;
}

/** What messages add of where it was said. */
export function saidIn({ where }: Selector): string {
  return where === undefined ? '' : ` (${where})`;
}

type Listed = SourceImage | UnreadableImage;

/** The images of a place by what chooses them without a name: the number of an entry, or the beginning of a digest. */
export class Choices {
  readonly #byNumber = new Map<number, Listed[]>();
  readonly #byDigest = new Map<string, Listed[]>();
  /** Sorted. */
  readonly #digests: readonly string[];

  constructor(images: readonly Listed[]) {
    for (const image of images) {
      for (const number of image.entries ?? []) addTo(this.#byNumber, number, image);
      if (!('digest' in image)) continue;
      for (const digest of new Set([image.digest, image.imageId ?? image.digest]))
        addTo(this.#byDigest, digest, image);
    }
    this.#digests = [...this.#byDigest.keys()].sort();
  }

  /** One with a tag before the same one without. @throws ImgconvError NOT_FOUND, USAGE */
  of(selector: Selector): readonly Listed[] {
    const { text } = selector;
    const choice = choiceOf(text);
    if (choice?.kind === 'number') {
      const found = this.#byNumber.get(choice.number);
      if (found !== undefined) return found;
      throw new ImgconvError(
        'NOT_FOUND',
        `${text}: no image with this number in the source${saidIn(selector)}`,
        {
          hint: 'imgconv ls shows images without a name by their number, the first is @0; names and digests choose any image',
        },
      );
    }
    const digests = this.#digestsFrom(text);
    if (digests.length > 1)
      throw new ImgconvError(
        'USAGE',
        `${text}: ${digests.length} digests begin with this: ${digests.slice(0, 3).join(', ')}${saidIn(selector)}`,
        { hint: 'give more of the digest' },
      );
    const found = this.#byDigest.get(digests[0] ?? '') ?? [];
    const tagged = found.filter(({ untagged }) => !untagged);
    if (found.length > 0) return tagged.length > 0 ? tagged : found;
    throw new ImgconvError(
      'NOT_FOUND',
      `${text}: no image with this digest in the source${saidIn(selector)}`,
      {
        hint: 'imgconv ls shows the digests; in a registry an image is chosen by NAME@DIGEST',
      },
    );
  }

  #digestsFrom(start: string): readonly string[] {
    let [low, high] = [0, this.#digests.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#digests[middle] ?? '') < start) low = middle + 1;
      else high = middle;
    }
    let end = low;
    while (this.#digests[end]?.startsWith(start) === true) end++;
    return this.#digests.slice(low, end);
  }
}

function addTo<K>(lists: Map<K, Listed[]>, key: K, image: Listed): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [image]);
  else list.push(image);
}
