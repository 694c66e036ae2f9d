import { ImgconvError } from '../model/errors.js';
import { cutOff, within } from './tar-errors.js';
import { TarDecoder, type TarEntry } from './tar-decode.js';
import { BLOCK, paddedSize } from './tar-header.js';

/** GNU's old sparse entries: bytes of the header, and of the blocks that follow it, that say that one more follows. */
const SPARSE_MORE = 482;
const SPARSE_MORE_STILL = 504;

/** Checks the headers of a tar as it passes by; keeps one header at most. */
export class TarCheck {
  readonly #where: string;
  readonly #isLayer: boolean;
  readonly #decoder: TarDecoder;
  /** A header or an extended header, so far. */
  #gathered: Uint8Array[] = [];
  #have = 0;
  #want = BLOCK;
  #state: 'header' | 'extension' | 'sparse' | 'content' | 'end' = 'header';
  /** Of an extended header or an entry's content: the bytes that are still to come. */
  #left = 0;
  #position = 0;
  #headerAt = 0;
  #entry: TarEntry | undefined;

  /** `layer`: as `TarDecoder`; entries may be sparse, too. */
  constructor(where: string, { layer = false } = {}) {
    this.#where = where;
    this.#isLayer = layer;
    this.#decoder = new TarDecoder(where, { layer });
  }

  /** Bytes so far, to the first block of the end mark. */
  get position(): number {
    return this.#position;
  }

  get hasEnded(): boolean {
    return this.#state === 'end';
  }

  /**
   * Gives how many bytes of the chunk belong to the archive: those that follow the first block of the end mark do not.
   * @throws ImgconvError ARCHIVE_INVALID
   */
  push(chunk: Uint8Array): number {
    const start = this.#position;
    for (let rest = chunk; rest.length > 0 && !this.hasEnded;) {
      const count = Math.min(rest.length, this.#state === 'content' ? this.#left : this.#want - this.#have);
      const some = rest.subarray(0, count);
      rest = rest.subarray(count);
      this.#position += count;
      if (this.#state === 'content') {
        this.#left -= count;
        if (this.#left === 0) this.#begin('header');
        continue;
      }
      this.#have += count;
      const isWhole = this.#have === this.#want;
      if (isWhole && count === this.#want) this.#gather(some);
      else {
        // What is kept must not change with the buffer that it came in.
        this.#gathered.push(new Uint8Array(some));
        if (isWhole) this.#gather(Buffer.concat(this.#gathered));
      }
    }
    return this.#position - start;
  }

  /**
   * An archive may lack its end mark, as for Go's archive/tar, but does not end within an entry.
   * @throws ImgconvError ARCHIVE_INVALID
   */
  end(): void {
    if (this.#state === 'end' || (this.#state === 'header' && this.#have === 0)) return;
    const place = this.#entry === undefined ? `in the header at byte ${this.#headerAt}` : within(this.#entry);
    if (!this.#isLayer) throw cutOff(this.#where, this.#position, place);
    throw new ImgconvError('ARCHIVE_INVALID', `${this.#where}: ends after ${this.#position} bytes, ${place}`);
  }

  #begin(state: 'header' | 'extension' | 'sparse', want = BLOCK): void {
    this.#state = state;
    this.#gathered = [];
    this.#have = 0;
    this.#want = want;
    if (state !== 'header') return;
    this.#headerAt = this.#position;
    this.#entry = undefined;
  }

  #gather(block: Uint8Array): void {
    if (this.#state === 'extension') {
      this.#decoder.extension(block.subarray(0, this.#left));
      this.#begin('header');
    } else if (this.#state === 'sparse') this.#enter(block[SPARSE_MORE_STILL] === 1);
    else this.#header(block);
  }

  #header(block: Uint8Array): void {
    const step = this.#decoder.block(block, this.#headerAt);
    if (step.kind === 'end') {
      this.#state = 'end';
      return;
    }
    if (step.kind === 'extension') {
      this.#left = step.size;
      if (step.size > 0) this.#begin('extension', paddedSize(step.size));
      else this.#begin('header');
      return;
    }
    this.#entry = step.entry;
    this.#left = paddedSize(step.entry.size);
    this.#enter(String.fromCharCode(block[156] ?? 0) === 'S' && block[SPARSE_MORE] === 1);
  }

  /** The content of the entry at hand, or first more of its map. */
  #enter(more: boolean): void {
    if (more) this.#begin('sparse');
    else if (this.#left > 0) this.#state = 'content';
    else this.#begin('header');
  }
}
