import type { Place } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import { listNames } from '../upkeep/list.js';
import { alike, NOTHING_ALIKE } from '../transfer/select.js';

/** So many names that are not there are looked for among all that are: a wrong list may have thousands. */
const MOST = 10;

/** Names of a place that a name which is not there may stand for, where its reader saw only those of one repository. */
export class NearNames {
  readonly #place: Place;
  #names: Promise<readonly string[]> | undefined;
  #count = 0;

  constructor(place: Place) {
    this.#place = place;
  }

  /** The error that `text` is not there, with near names in its hint if there are some; any other error as it is. */
  async hinted(error: ImgconvError, text: string): Promise<ImgconvError> {
    const { remote, sequential } = this.#place.format.traits;
    if (error.hint !== NOTHING_ALIKE || remote || sequential || ++this.#count > MOST) return error;
    this.#names ??= listNames(this.#place).catch(() => []);
    const hint = alike(text, await this.#names);
    return hint === undefined ? error : new ImgconvError(error.code, error.message, { cause: error, hint });
  }
}
