import { ImgconvError } from '../model/errors.js';
import { decodeTar, type TarEntry, type TarStep } from './tar-decode.js';
import { cutOff, within } from './tar-errors.js';
import { paddedSize } from './tar-header.js';

/** Checks the headers of a tar as it passes by; keeps one header at most. */
export class TarCheck {
  readonly #where: string;
  readonly #isLayer: boolean;
  readonly #decoder: Generator<TarStep, void, Uint8Array>;
  /** Of what the decoder asks for: what came, and how many bytes are still to come. */
  #gathered: Uint8Array[] = [];
  #left = 0;
  /** Between entries, or before the first. */
  #isBetween = true;
  #headerAt = 0;
  #entry: TarEntry | undefined;
  #position = 0;
  #hasEnded = false;

  /** `layer`: as `decodeTar`. */
  constructor(where: string, { layer = false } = {}) {
    this.#where = where;
    this.#isLayer = layer;
    this.#decoder = decodeTar(where, { layer });
    this.#advance(new Uint8Array());
  }

  /** Bytes so far, to the first block of the end mark. */
  get position(): number {
    return this.#position;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /**
   * Gives how many bytes of the chunk belong to the archive: those that follow the first block of the end mark do not.
   * @throws ImgconvError ARCHIVE_INVALID
   */
  push(chunk: Uint8Array): number {
    let taken = 0;
    while (taken < chunk.length && !this.#hasEnded) {
      const some = chunk.subarray(taken, taken + this.#left);
      taken += some.length;
      this.#position += some.length;
      this.#left -= some.length;
      this.#isBetween = false;
      if (this.#entry !== undefined) {
        if (this.#left === 0) this.#advance(some);
      } else if (this.#left === 0)
        this.#advance(this.#gathered.length === 0 ? some : Buffer.concat([...this.#gathered, some]));
      // What is kept must not change with the buffer that it came in.
      else this.#gathered.push(new Uint8Array(some));
    }
    return taken;
  }

  /** Goes on to what the decoder asks for next. */
  #advance(bytes: Uint8Array): void {
    this.#gathered = [];
    this.#entry = undefined;
    const { done, value } = this.#decoder.next(bytes);
    if (done === true) this.#hasEnded = true;
    else if ('entry' in value) {
      this.#entry = value.entry;
      this.#left = paddedSize(value.entry.size);
      if (this.#left === 0) this.#advance(bytes);
    } else {
      this.#left = value.bytes;
      this.#headerAt = value.at;
      this.#isBetween = value.at === this.#position;
    }
  }

  /**
   * An archive may lack its end mark, as for Go's archive/tar, but does not end within an entry.
   * @throws ImgconvError ARCHIVE_INVALID
   */
  end(): void {
    if (this.#hasEnded || this.#isBetween) return;
    const place = this.#entry === undefined ? `in the header at byte ${this.#headerAt}` : within(this.#entry);
    if (!this.#isLayer) throw cutOff(this.#where, this.#position, place);
    throw new ImgconvError('ARCHIVE_INVALID', `${this.#where}: ends after ${this.#position} bytes, ${place}`);
  }
}
