import { crc32 } from 'node:zlib';
import { WASM } from './go-deflate-wasm.js';

/** The most bytes of one call of `write`. */
export const MOST = 1024 * 1024;

/** What go-deflate/index.ts exports. */
interface Exports {
  readonly memory: WebAssembly.Memory;
  start(level: number): void;
  room(): number;
  inputAt(): number;
  take(size: number): void;
  cut(): void;
  end(crc: number, size: number): void;
  outputAt(): number;
  takeOutput(): number;
}

/**
 * An encoder of gzip that makes the bytes that `compress/gzip` of Go 1.19 makes, in 3 MiB of memory, and all Go before
 * 1.27: what `docker push` (level 6) and go-containerregistry (level 1) upload. The output does not depend on how the input is cut into
 * calls of `write`: it is that of one call of Go's Write, or of `io.Copy`.
 */
export class GoGzip {
  readonly #wasm: Exports;
  #crc = 0;
  #size = 0;

  /** A level from -2 (HuffmanOnly) to 9, as in Go: -1 is 6. @throws RangeError for another */
  constructor(level: number) {
    const module = new WebAssembly.Module(Buffer.from(WASM, 'base64'));
    this.#wasm = new WebAssembly.Instance(module).exports as unknown as Exports;
    this.start(level);
  }

  /** Begins another member; one that was not ended is dropped. @throws RangeError as the constructor does */
  start(level: number): void {
    if (!Number.isInteger(level) || level < -2 || level > 9)
      throw new RangeError(`compress/gzip has no level ${level}`);
    this.#wasm.start(level === -1 ? 6 : level);
    this.#crc = 0;
    this.#size = 0;
  }

  /**
   * The output so far. It lies in the encoder's memory, is good until the next call, and may be empty.
   * @throws RangeError for more than `MOST` bytes
   */
  write(bytes: Uint8Array): Uint8Array {
    if (bytes.length > MOST) throw new RangeError(`${bytes.length} bytes do not fit`);
    const memory = new Uint8Array(this.#wasm.memory.buffer);
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + this.#wasm.room());
      memory.set(part, this.#wasm.inputAt());
      this.#wasm.take(part.length);
      at += part.length;
    }
    this.#crc = crc32(bytes, this.#crc);
    this.#size = (this.#size + bytes.length) >>> 0;
    return this.#output();
  }

  /**
   * Tells that a call of Go's Write ends here, where the writes of the program whose output is wanted are known. At levels 2
   * to 9, a call that ends within the last 261 bytes of a 32 KiB step can make Go slide its window one position earlier,
   * and so lose a match; this is rare. Writes of 32 KiB, as of `io.Copy`, never have an effect.
   */
  cut(): void {
    this.#wasm.cut();
  }

  /** The rest of the output, as `write` gives it. `start` comes next. */
  end(): Uint8Array {
    this.#wasm.end(this.#crc, this.#size);
    return this.#output();
  }

  #output(): Uint8Array {
    const at = this.#wasm.outputAt();
    return new Uint8Array(this.#wasm.memory.buffer, at, this.#wasm.takeOutput());
  }
}
