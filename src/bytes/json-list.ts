import { closeSync, openSync, readSync } from 'node:fs';
import { ImgconvError, naming } from '../model/errors.js';
import { writeFully } from './output.js';

/** So much is held. */
const PART = 1024 * 1024;
/** So much is read at once. */
const PIECE = 256 * 1024;

/** Bytes that need not be in memory at once. */
export interface Content {
  readonly size: number;
  readonly pieces: Iterable<Uint8Array>;
}

export function inMemory(bytes: Uint8Array): Content {
  return { size: bytes.length, pieces: [bytes] };
}

/** A list that grows to many entries, as the bytes of its JSON; what is more than a mebibyte goes into a file. */
export class JsonList {
  readonly #newPath: () => string;
  readonly #held = Buffer.allocUnsafeSlow(PART);
  #used = 0;
  #length = 0;
  #file: { readonly path: string; readonly fd: number; size: number } | undefined;

  /** `newPath` gives the name of a new file, which is the caller's to delete. */
  constructor(newPath: () => string) {
    this.#newPath = newPath;
  }

  get length(): number {
    return this.#length;
  }

  /** @throws ImgconvError IO, NO_SPACE */
  add(entry: object): void {
    const bytes = Buffer.from(`${this.#length === 0 ? '' : ','}${JSON.stringify(entry)}`);
    if (this.#used + bytes.length > PART) this.#spill();
    if (bytes.length > PART) this.#write(bytes);
    else this.#used += bytes.copy(this.#held, this.#used);
    this.#length++;
  }

  #spill(): void {
    this.#write(this.#held.subarray(0, this.#used));
    this.#used = 0;
  }

  #write(bytes: Uint8Array): void {
    if (this.#file === undefined) {
      const path = this.#newPath();
      this.#file = { path, fd: naming(path, () => openSync(path, 'wx+', 0o600)), size: 0 };
    }
    writeFully(this.#file.fd, bytes, this.#file.size, this.#file.path);
    this.#file.size += bytes.length;
  }

  /** The list, between what a document has before and after it. Nothing is added once its pieces are read. */
  content(before = '', after = ''): Content {
    const [start, end] = [Buffer.from(`${before}[`), Buffer.from(`]${after}`)];
    const size = start.length + (this.#file?.size ?? 0) + this.#used + end.length;
    const between = () => this.#pieces();
    return {
      size,
      pieces: (function* () {
        yield start;
        yield* between();
        yield end;
      })(),
    };
  }

  *#pieces(): Generator<Uint8Array> {
    const { path, fd, size } = this.#file ?? { path: '', fd: -1, size: 0 };
    for (let at = 0; at < size;) {
      const piece = Buffer.allocUnsafeSlow(Math.min(PIECE, size - at));
      const position = at;
      const read = naming(path, () => readSync(fd, piece, 0, piece.length, position));
      if (read === 0) throw new ImgconvError('IO', `${path}: became shorter`);
      yield piece.subarray(0, read);
      at += read;
    }
    yield this.#held.subarray(0, this.#used);
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd);
    this.#file = undefined;
  }
}
