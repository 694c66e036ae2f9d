import { openSync, writeSync } from 'node:fs';
import { naming } from '../model/errors.js';
import { fileIdAt, type FileId } from './file-id.js';
import { closeFile } from './open-file.js';
import { WriteBack } from './write-back.js';

/** Where a job writes, from `position` of a file; with `flush`, what is written is on the disk when the job is done. */
export interface Target {
  readonly path: string;
  readonly position: number;
  readonly flags: 'wx' | 'r+';
  readonly flush: boolean;
}

/** `path` is that of the open file. @throws ImgconvError IO, NO_SPACE */
export function writeFully(fd: number, bytes: Uint8Array, position: number | null, path: string): void {
  naming(path, () => {
    for (let done = 0; done < bytes.length;)
      done += writeSync(fd, bytes, done, bytes.length - done, position === null ? null : position + done);
  });
}

/** A file that bytes are written to one after another. */
export class Output {
  readonly #to: Target;
  readonly #fd: number;
  readonly #back: WriteBack | undefined;
  #written = 0;

  constructor(to: Target) {
    this.#to = to;
    this.#fd = openSync(to.path, to.flags, 0o644);
    this.#back = to.flush ? new WriteBack(this.#fd, to.path) : undefined;
  }

  /** True while a flush is due or under way. */
  write(chunk: Uint8Array): boolean {
    writeFully(this.#fd, chunk, this.#to.position + this.#written, this.#to.path);
    this.#written += chunk.length;
    return this.#back?.wrote(chunk.length) === true;
  }

  state(): FileId {
    return fileIdAt(this.#fd, this.#to.path);
  }

  /** @throws ImgconvError what could not be flushed, of what was to be */
  async end(): Promise<void> {
    await this.#back?.end();
  }

  async close(): Promise<void> {
    await this.#back?.rest();
    closeFile(this.#fd, this.#to.path);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
