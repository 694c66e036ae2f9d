import { closeSync, fsyncSync, ftruncateSync, openSync } from 'node:fs';
import { writeFully } from './jobs.js';
import { BLOCK, encodeTarHeader, paddedSize } from './tar-header.js';
import type { VerifiedBlob } from './verified-blob.js';

/** An archive under construction in a file; only what is proved stays in it. */
export class TarFile {
  readonly #path: string;
  readonly #fd: number;
  #position = 0;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, 'wx');
  }

  get position(): number {
    return this.#position;
  }

  async addBlob(name: string, blob: VerifiedBlob): Promise<void> {
    const start = this.#begin(name, blob.size);
    await blob.writeInto(this.#path, start);
  }

  addBytes(name: string, bytes: Uint8Array): void {
    writeFully(this.#fd, bytes, this.#begin(name, bytes.length));
  }

  /** Writes the header and moves on to where the next one will be; returns where the content belongs. */
  #begin(name: string, size: number): number {
    const header = encodeTarHeader(name, size);
    writeFully(this.#fd, header, this.#position);
    const start = this.#position + header.length;
    this.#position = start + paddedSize(size);
    return start;
  }

  /** Takes back what was added after `position`. */
  truncate(position: number): void {
    ftruncateSync(this.#fd, position);
    this.#position = position;
  }

  /** Two blocks of zeros end an archive (POSIX ustar); holes between entries read as the zeros they are padded with. */
  end(): void {
    ftruncateSync(this.#fd, this.#position + 2 * BLOCK);
    fsyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }
}
