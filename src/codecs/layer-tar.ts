import { ImgconvError } from '../model/errors.js';
import { TarDecoder } from './tar-decode.js';
import { BLOCK, paddedSize } from './tar-header.js';

/** GNU's old sparse entries: bytes of the header, and of the blocks that follow it, that say that one more follows. */
const SPARSE_MORE = 482;
const SPARSE_MORE_STILL = 504;

/** Follows a layer's tar from header to header as it passes by, keeping no more than one header. */
export class LayerTar {
  readonly #where: string;
  readonly #decoder: TarDecoder;
  /** A header or an extended header, so far. */
  #gathered: Uint8Array[] = [];
  #have = 0;
  #want = BLOCK;
  #state: 'header' | 'extension' | 'sparse' | 'content' | 'end' = 'header';
  /** Of the content of an entry, in bytes that are still to come. */
  #left = 0;
  #position = 0;

  constructor(where: string) {
    this.#where = where;
    this.#decoder = new TarDecoder(where, { sparse: true });
  }

  /** @throws ImgconvError ARCHIVE_INVALID */
  push(chunk: Uint8Array): void {
    for (let rest = chunk; rest.length > 0 && this.#state !== 'end';) {
      const count = Math.min(rest.length, this.#state === 'content' ? this.#left : this.#want - this.#have);
      const some = rest.subarray(0, count);
      rest = rest.subarray(count);
      this.#position += count;
      if (this.#state === 'content') {
        this.#left -= count;
        if (this.#left === 0) this.#begin('header');
        continue;
      }
      // What is kept must not change with the buffer that it came in.
      this.#gathered.push(new Uint8Array(some));
      this.#have += count;
      if (this.#have === this.#want) this.#gather(Buffer.concat(this.#gathered));
    }
  }

  /** An archive may lack its end mark, as for Go's archive/tar, but does not end within an entry. */
  end(): void {
    if (this.#state === 'end' || (this.#state === 'header' && this.#have === 0)) return;
    throw new ImgconvError(
      'ARCHIVE_INVALID',
      `${this.#where}: ends after ${this.#position} bytes, within an entry`,
    );
  }

  #begin(state: 'header' | 'extension' | 'sparse', want = BLOCK): void {
    this.#state = state;
    this.#gathered = [];
    this.#have = 0;
    this.#want = want;
  }

  #gather(block: Uint8Array): void {
    if (this.#state === 'extension') {
      this.#decoder.extension(block.subarray(0, this.#left));
      this.#begin('header');
    } else if (this.#state === 'sparse') this.#enter(block[SPARSE_MORE_STILL] === 1);
    else this.#header(block);
  }

  #header(block: Uint8Array): void {
    const step = this.#decoder.block(block, this.#position - BLOCK);
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
