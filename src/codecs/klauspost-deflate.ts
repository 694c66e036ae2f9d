import { crc32 } from 'node:zlib';
import { WASM } from './klauspost-deflate-wasm.js';

/** What klauspost-deflate/index.ts exports. */
interface Exports {
  readonly memory: WebAssembly.Memory;
  inputAt(): number;
  outputAt(): number;
  start(level: number, headers: number, skipped: number, isCautious: boolean): void;
  addDictionary(size: number): void;
  compress(): number;
  flush(size: number): number;
  finish(size: number): number;
}

/** What differs between versions: see `start` in klauspost-deflate/index.ts. */
interface Variant {
  /** Of the header of a block whose codes the next one may use: all code lengths, those used, or those used, its end included. */
  readonly headers: 0 | 1 | 2;
  readonly skipped: 0 | 2;
  readonly isCautious: boolean;
  /** Of 1, 5 and 6, the levels that programs use: those at which all these releases have the same output. */
  readonly levels: readonly number[];
}

/**
 * The first of the releases of github.com/klauspost/compress whose output is alike, up to the next one here; `go1.27` is
 * Go's own compress/flate from 1.27 on, which was made of klauspost's. By Go on amd64: releases before 1.20 estimate sizes in
 * floating point, with other roundings where a processor multiplies and adds at once (arm64).
 */
const VERSIONS = {
  '1.14.3': { headers: 0, skipped: 0, isCautious: true, levels: [5, 6] },
  '1.15.0': { headers: 0, skipped: 0, isCautious: false, levels: [5, 6] },
  '1.15.11': { headers: 0, skipped: 2, isCautious: false, levels: [1, 5, 6] },
  '1.18.1': { headers: 1, skipped: 2, isCautious: false, levels: [1, 5, 6] },
  '1.18.2': { headers: 2, skipped: 2, isCautious: false, levels: [1, 5, 6] },
  'go1.27': { headers: 2, skipped: 2, isCautious: false, levels: [1, 5, 6] },
} as const satisfies Readonly<Record<string, Variant>>;

export type FlateVersion = keyof typeof VERSIONS;

export const FLATE_VERSIONS = Object.keys(VERSIONS) as readonly FlateVersion[];

/** The levels of a version that there are here, from the fastest on. */
export function flateLevels(version: FlateVersion): readonly number[] {
  return VERSIONS[version].levels;
}

/** The window of the encoder: it compresses when it is full and more comes. */
const WINDOW = 65535;

/** What pgzip gives to an encoder at once. */
export const PGZIP_BLOCK = 1024 * 1024;
/** What pgzip takes of the block before as dictionary. */
export const PGZIP_TAIL = 16 * 1024;

/** -1 is the default level. */
function levelOf(version: FlateVersion, level: number): number {
  const own = level === -1 ? (version === 'go1.27' ? 6 : 5) : level;
  if (!flateLevels(version).includes(own))
    throw new RangeError(`level ${level} of ${version} is not supported`);
  return own;
}

/** Once for all streams. */
let compiled: WebAssembly.Module | undefined;

/** The raw deflate of one stream, as flate.Writer. */
class FlateWriter {
  readonly #wasm: Exports;
  readonly #memory: Uint8Array;
  readonly #level: number;
  readonly #variant: Variant;
  #waiting = 0;

  constructor(version: FlateVersion, level: number) {
    compiled ??= new WebAssembly.Module(Buffer.from(WASM, 'base64'));
    this.#wasm = new WebAssembly.Instance(compiled).exports as unknown as Exports;
    this.#memory = new Uint8Array(this.#wasm.memory.buffer);
    this.#variant = VERSIONS[version];
    this.#level = levelOf(version, level);
    this.#start();
  }

  /** flate.Writer's ResetDict. */
  reset(dictionary: Uint8Array): void {
    this.#start();
    this.#waiting = 0;
    this.#memory.set(dictionary, this.#wasm.inputAt());
    this.#wasm.addDictionary(dictionary.length);
  }

  write(bytes: Uint8Array, parts: Uint8Array[]): void {
    const at = this.#wasm.inputAt();
    for (let from = 0; from < bytes.length;) {
      if (this.#waiting === WINDOW) {
        this.#take(this.#wasm.compress(), parts);
        this.#waiting = 0;
      }
      const part = bytes.subarray(from, from + WINDOW - this.#waiting);
      this.#memory.set(part, at + this.#waiting);
      this.#waiting += part.length;
      from += part.length;
    }
  }

  flush(parts: Uint8Array[]): void {
    this.#take(this.#wasm.flush(this.#waiting), parts);
    this.#waiting = 0;
  }

  finish(parts: Uint8Array[]): void {
    this.#take(this.#wasm.finish(this.#waiting), parts);
    this.#waiting = 0;
  }

  #start(): void {
    const { headers, skipped, isCautious } = this.#variant;
    this.#wasm.start(this.#level, headers, skipped, isCautious);
  }

  #take(size: number, parts: Uint8Array[]): void {
    const at = this.#wasm.outputAt();
    if (size > 0) parts.push(this.#memory.slice(at, at + size));
  }
}

/** The time that klauspost's gzip and pgzip write: the lowest 32 bits of Go's zero time, the year 1, in seconds since 1970. */
const ZERO_TIME = 0x886e0900;

/** RFC 1952, 2.3.1: no name, an unknown system. */
function headerOf(level: number, time: number): Buffer {
  const header = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, level === 9 ? 2 : level === 1 ? 4 : 0, 0xff]);
  header.writeUInt32LE(time, 4);
  return header;
}

function trailerOf(crc: number, size: number): Buffer {
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc, 0);
  trailer.writeUInt32LE(size % 2 ** 32, 4);
  return trailer;
}

/**
 * What compress/gzip of Go 1.27 and later writes, or klauspost's gzip, byte for byte. How the input is divided into
 * writes does not matter.
 */
export class KlauspostGzip {
  readonly #level: number;
  readonly #time: number;
  readonly #writer: FlateWriter;
  #crc = 0;
  #size = 0;
  #isOpen = false;

  constructor(version: FlateVersion, level = -1) {
    this.#level = level;
    this.#time = version === 'go1.27' ? 0 : ZERO_TIME;
    this.#writer = new FlateWriter(version, level);
  }

  /** @returns what there is of the output so far, and has not been returned */
  write(bytes: Uint8Array): Uint8Array {
    const parts = this.#opened();
    this.#crc = crc32(bytes, this.#crc);
    this.#size += bytes.length;
    this.#writer.write(bytes, parts);
    return Buffer.concat(parts);
  }

  end(): Uint8Array {
    const parts = this.#opened();
    this.#writer.finish(parts);
    parts.push(trailerOf(this.#crc, this.#size));
    return Buffer.concat(parts);
  }

  #opened(): Uint8Array[] {
    if (this.#isOpen) return [];
    this.#isOpen = true;
    return [headerOf(this.#level, this.#time)];
  }
}

/** A block and what comes before it. */
export interface PgzipPiece {
  /** The last `PGZIP_TAIL` bytes of the block before, which all blocks but the first have. */
  readonly dictionary?: Uint8Array | undefined;
  /** `PGZIP_BLOCK` bytes, and 0 to `PGZIP_BLOCK` - 1 in the last block. */
  readonly bytes: Uint8Array;
  readonly isLast: boolean;
}

/**
 * The blocks of pgzip. Each is a function of the piece alone: several threads can make them, each with an encoder of its
 * own, and one after another they are the deflate stream. There is always a last block of fewer than `PGZIP_BLOCK` bytes.
 */
export class PgzipBlocks {
  readonly #writer: FlateWriter;

  constructor(version: FlateVersion, level = -1) {
    this.#writer = new FlateWriter(version, level);
  }

  compress({ dictionary = new Uint8Array(), bytes, isLast }: PgzipPiece): Uint8Array {
    const parts: Uint8Array[] = [];
    this.#writer.reset(dictionary);
    this.#writer.write(bytes, parts);
    this.#writer.flush(parts);
    if (isLast) this.#writer.finish(parts);
    return Buffer.concat(parts);
  }
}

/**
 * What github.com/klauspost/pgzip writes, byte for byte, in blocks of 1 MiB, as skopeo, podman and buildah use it
 * (github.com/containers/image/pkg/compression): neither the number of its threads nor that of the writes matters.
 */
export class Pgzip {
  readonly #level: number;
  readonly #blocks: PgzipBlocks;
  readonly #block = new Uint8Array(PGZIP_BLOCK);
  #dictionary: Uint8Array | undefined;
  #waiting = 0;
  #crc = 0;
  #size = 0;
  #isOpen = false;

  constructor(version: FlateVersion, level = -1) {
    this.#level = level;
    this.#blocks = new PgzipBlocks(version, level);
  }

  /** @returns what there is of the output so far, and has not been returned */
  write(bytes: Uint8Array): Uint8Array {
    const parts = this.#opened();
    this.#crc = crc32(bytes, this.#crc);
    this.#size += bytes.length;
    for (let from = 0; from < bytes.length;) {
      const part = bytes.subarray(from, from + PGZIP_BLOCK - this.#waiting);
      this.#block.set(part, this.#waiting);
      this.#waiting += part.length;
      from += part.length;
      if (this.#waiting === PGZIP_BLOCK) parts.push(this.#compress(false));
    }
    return Buffer.concat(parts);
  }

  end(): Uint8Array {
    const parts = this.#opened();
    parts.push(this.#compress(true), trailerOf(this.#crc, this.#size));
    return Buffer.concat(parts);
  }

  #compress(isLast: boolean): Uint8Array {
    const bytes = this.#block.subarray(0, this.#waiting);
    const made = this.#blocks.compress({ dictionary: this.#dictionary, bytes, isLast });
    this.#dictionary = this.#block.slice(PGZIP_BLOCK - PGZIP_TAIL);
    this.#waiting = 0;
    return made;
  }

  #opened(): Uint8Array[] {
    if (this.#isOpen) return [];
    this.#isOpen = true;
    return [headerOf(this.#level, ZERO_TIME)];
  }
}
