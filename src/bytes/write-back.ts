import { fdatasync } from 'node:fs';
import { asImgconvError, type ImgconvError } from '../model/errors.js';
import { BUFFER_SIZE } from './buffers.js';

/** So much is flushed at once. */
const FLUSH_FROM = 16 * 1024 * 1024;

/**
 * Has the disk write a file while more of it is made, so that little is left to wait for at its end. A file says once
 * that it could not be written (fsync(2)): a flush that failed is not forgotten.
 */
export class WriteBack {
  readonly #fd: number;
  readonly #path: string;
  #unflushed = 0;
  #all = 0;
  #flushing: Promise<void> | undefined;
  #failure: ImgconvError | undefined;

  constructor(fd: number, path: string) {
    this.#fd = fd;
    this.#path = path;
  }

  /** What a flush failed with. */
  get failure(): ImgconvError | undefined {
    return this.#failure;
  }

  /**
   * To be told of what was written, in bytes. True while a flush is due or under way: who writes without ever waiting
   * has to let the event loop go round for the next one to begin.
   */
  wrote(bytes: number): boolean {
    this.#all += bytes;
    this.#unflushed += bytes;
    if (this.#unflushed < FLUSH_FROM) return false;
    if (this.#flushing === undefined) this.#flush();
    return true;
  }

  #flush(): void {
    this.#unflushed = 0;
    this.#flushing = new Promise((resolve) => {
      fdatasync(this.#fd, (error) => {
        if (error !== null) this.#failure ??= asImgconvError(error, this.#path);
        this.#flushing = undefined;
        resolve();
      });
    });
  }

  /** Settles when no flush is under way, which is before the file may be closed. */
  async rest(): Promise<void> {
    await this.#flushing;
  }

  /**
   * Flushes what is left, unless the file is so small that a flush with others costs less.
   * @throws ImgconvError what a flush failed with
   */
  async end(): Promise<void> {
    await this.rest();
    if (this.#unflushed > 0 && this.#all >= BUFFER_SIZE && this.#failure === undefined) this.#flush();
    await this.rest();
    if (this.#failure !== undefined) throw this.#failure;
  }
}
