import { createReadStream, realpathSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { ImgconvError } from '../model/errors.js';
import { closeFile, openRegular, readFully } from './open-file.js';

/** All bytes of a file, as a stream. */
export function streamOf(path: string): Readable {
  return createReadStream(path, { highWaterMark: 1024 * 1024 });
}

/** A regular file that is read here and there; where `path` is a symbolic link, the file that it leads to. */
export class FileReader {
  /** Without symbolic links. */
  readonly path: string;
  readonly size: number;
  readonly #fd: number;

  /** @throws the system's error, ImgconvError IO for what is no regular file */
  constructor(path: string) {
    this.path = realpathSync(path);
    let opened: ReturnType<typeof openRegular>;
    try {
      opened = openRegular(this.path);
    } catch (error) {
      // The path that was given is what its user knows.
      if (!(error instanceof ImgconvError)) throw error;
      const { code, message, hint } = error;
      const shown = message.replace(this.path, () => path);
      throw new ImgconvError(code, shown, { cause: error, ...(hint !== undefined && { hint }) });
    }
    const { fd, id } = opened;
    this.#fd = fd;
    this.size = Number(id.size);
  }

  /** `count` bytes from `position`, fewer at the end of the file. */
  read(position: number, count: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, Math.min(count, this.size - position)));
    return bytes.subarray(0, readFully(this.#fd, bytes, position, this.path));
  }

  close(): void {
    closeFile(this.#fd, this.path);
  }
}
