import { readSync } from 'node:fs';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { withFile, type Content } from './content.js';
import { writeFully } from './output.js';

/** So much is held. */
const PART = 1024 * 1024;
/** So much is read at once. */
const PIECE = 256 * 1024;

/** A list that grows to many entries, as the bytes of its JSON; what is more than a mebibyte goes into a file. */
export class JsonList {
  readonly #newPath: () => string;
  readonly #held = Buffer.allocUnsafeSlow(PART);
  #used = 0;
  #length = 0;
  #failure: ImgconvError | undefined;
  #file: { readonly path: string; size: number } | undefined;

  /** `newPath` names a new file, which is the caller's to delete. */
  constructor(newPath: () => string) {
    this.#newPath = newPath;
  }

  get length(): number {
    return this.#length;
  }

  /** @throws ImgconvError IO, NO_SPACE; then whatever is asked of the list throws the same */
  add(entry: object): void {
    this.#expectSound();
    const bytes = Buffer.from(`${this.#length === 0 ? '' : ','}${JSON.stringify(entry)}`);
    if (this.#used + bytes.length > PART) this.#spill();
    if (bytes.length > PART) this.#write(bytes);
    else this.#used += bytes.copy(this.#held, this.#used);
    this.#length++;
  }

  /** A document that lacks an entry is worse than none. */
  #expectSound(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #spill(): void {
    this.#write(this.#held.subarray(0, this.#used));
    this.#used = 0;
  }

  #write(bytes: Uint8Array): void {
    const flags = this.#file === undefined ? 'wx' : 'r+';
    const file = (this.#file ??= { path: this.#newPath(), size: 0 });
    try {
      withFile(file.path, flags, (fd) => {
        writeFully(fd, bytes, file.size, file.path);
      });
    } catch (error) {
      this.#failure = asImgconvError(error);
      throw error;
    }
    file.size += bytes.length;
  }

  /** The list, between what a document has before and after it. Nothing is added until its pieces are read. */
  content(before = '', after = ''): Content {
    this.#expectSound();
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
    const { path, size } = this.#file ?? { path: '', size: 0 };
    const piece = Buffer.allocUnsafeSlow(Math.min(PIECE, size));
    for (let at = 0; at < size;) {
      const [position, length] = [at, Math.min(PIECE, size - at)];
      const read = withFile(path, 'r', (fd) => readSync(fd, piece, 0, length, position));
      if (read === 0) throw new ImgconvError('IO', `${path}: became shorter`);
      yield piece.subarray(0, read);
      at += read;
    }
    yield this.#held.subarray(0, this.#used);
  }
}
