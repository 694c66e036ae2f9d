import { WINDOW } from '../bytes/buffers.js';
import { WASM } from './deflate-wasm.js';

/** The most bytes of one piece. */
export const MOST = 1024 * 1024;

/** What deflate/index.ts exports. */
interface Exports {
  readonly memory: WebAssembly.Memory;
  inputAt(): number;
  outputAt(): number;
  deflate(dictionarySize: number, size: number, isLast: boolean): number;
}

/** A piece and what comes before it. */
export interface DeflatePiece {
  /** Up to `WINDOW` bytes. */
  readonly dictionary?: Uint8Array | undefined;
  /** Up to `MOST` bytes. */
  readonly bytes: Uint8Array;
  /** The last piece ends in a final block, others in an empty stored block (zlib's Z_SYNC_FLUSH). */
  readonly isLast: boolean;
}

/**
 * An encoder of raw deflate (RFC 1951) that is fast rather than small, in 3 MiB of memory. Its output depends on nothing but
 * its input: not on the version of Node.js, not on the processor.
 */
export class Deflate {
  readonly #wasm: Exports;

  constructor() {
    const module = new WebAssembly.Module(Buffer.from(WASM, 'base64'));
    this.#wasm = new WebAssembly.Instance(module).exports as unknown as Exports;
  }

  /**
   * The piece, compressed: at most 5 bytes more for each 65,535, and 16. It lies in the encoder's memory and is good until the
   * next call. @throws RangeError for a piece or a dictionary that is too large
   */
  deflate({ dictionary = new Uint8Array(), bytes, isLast }: DeflatePiece): Uint8Array {
    if (bytes.length > MOST || dictionary.length > WINDOW)
      throw new RangeError(`a piece of ${bytes.length} bytes after ${dictionary.length} does not fit`);
    const memory = new Uint8Array(this.#wasm.memory.buffer);
    const at = this.#wasm.inputAt();
    memory.set(dictionary, at - dictionary.length);
    memory.set(bytes, at);
    const from = this.#wasm.outputAt();
    return memory.subarray(from, from + this.#wasm.deflate(dictionary.length, bytes.length, isLast));
  }
}
