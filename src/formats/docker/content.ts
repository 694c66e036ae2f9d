import { HttpError, type Framing } from './message.js';

/** Takes content; the memory is used again after the call. */
export type Take = (chunk: Uint8Array) => void;

/** Finds the content of an answer among the bytes of its connection. */
export interface Content {
  readonly isComplete: boolean;
  /** Gives what follows of the content to `take`, and the number of bytes that belong to the answer. */
  decode(bytes: Uint8Array, take: Take): number;
}

export function contentOf(framing: Framing): Content {
  return framing === 'chunked' ? new Chunked() : new Counted(framing === 'open' ? Infinity : framing.length);
}

class Counted implements Content {
  #left: number;

  constructor(length: number) {
    this.#left = length;
  }

  get isComplete(): boolean {
    return this.#left === 0;
  }

  decode(bytes: Uint8Array, take: Take): number {
    const content = bytes.length <= this.#left ? bytes : bytes.subarray(0, this.#left);
    this.#left -= content.length;
    if (content.length > 0) take(content);
    return content.length;
  }
}

/** A chunk's size with its extensions, and each trailer. */
const LONGEST_LINE = 4096;
/** Of all trailers. */
const MOST_TRAILERS = 64 * 1024;
const LF = 0x0a;

/** RFC 9112, 7.1: chunks, each after its size, and trailers, which are passed over. */
class Chunked implements Content {
  #state: 'size' | 'data' | 'end' | 'trailers' | 'complete' = 'size';
  #left = 0;
  #line = '';
  #trailers = 0;

  get isComplete(): boolean {
    return this.#state === 'complete';
  }

  decode(bytes: Uint8Array, take: Take): number {
    let at = 0;
    while (at < bytes.length && this.#state !== 'complete') {
      if (this.#state === 'data') {
        const content = bytes.subarray(at, at + this.#left);
        at += content.length;
        this.#left -= content.length;
        if (this.#left === 0) this.#state = 'end';
        take(content);
      } else at = this.#readLine(bytes, at);
    }
    return at;
  }

  #readLine(bytes: Uint8Array, from: number): number {
    const end = bytes.indexOf(LF, from);
    const to = end === -1 ? bytes.length : end + 1;
    this.#line += Buffer.from(bytes.subarray(from, Math.min(to, from + LONGEST_LINE + 1))).toString('latin1');
    if (this.#line.length > LONGEST_LINE)
      throw new HttpError('HTTP_INVALID', 'a chunk of the answer is malformed');
    if (end !== -1) {
      if (!this.#line.endsWith('\r\n'))
        throw new HttpError('HTTP_INVALID', 'a chunk of the answer is malformed');
      this.#endLine(this.#line.slice(0, -2));
      this.#line = '';
    }
    return to;
  }

  #endLine(line: string): void {
    if (this.#state === 'size') {
      const [, size] = /^([0-9a-f]{1,12})[ \t]*(?:;.*)?$/i.exec(line) ?? [];
      if (size === undefined)
        throw new HttpError('HTTP_INVALID', 'the size of a chunk of the answer is malformed');
      this.#left = parseInt(size, 16);
      this.#state = this.#left === 0 ? 'trailers' : 'data';
    } else if (this.#state === 'end') {
      if (line !== '') throw new HttpError('HTTP_INVALID', 'a chunk of the answer is longer than its size');
      this.#state = 'size';
    } else if (line === '') this.#state = 'complete';
    else if ((this.#trailers += line.length) > MOST_TRAILERS)
      throw new HttpError('HTTP_INVALID', 'the answer has too many trailers');
  }
}
