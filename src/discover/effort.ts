import { ImgconvError } from '../model/errors.js';

/** Steps that any run may take: about a second. */
const AT_LEAST = 2_000_000;
/** More for each character that was read. */
const PER_CHARACTER = 8;

/**
 * Counts the steps of a run, such as the values of aliases. Work that grows faster than the text of the files is stopped:
 * a few files that name each other many times must not keep a run busy for years.
 */
export class Effort {
  #left = AT_LEAST;

  get left(): number {
    return this.#left;
  }

  /** For text that was not read before. */
  allow(characters: number): void {
    this.#left += PER_CHARACTER * characters;
  }

  /** @throws ImgconvError DOCUMENT_INVALID naming `where`, when there is nothing left */
  spend(steps: number, where: string): void {
    if (steps > this.#left) {
      this.#left = 0;
      throw new ImgconvError(
        'DOCUMENT_INVALID',
        `${where}: resolving it takes too many steps: more than ${AT_LEAST} and ${PER_CHARACTER} for each character of the files`,
      );
    }
    this.#left -= steps;
  }
}
