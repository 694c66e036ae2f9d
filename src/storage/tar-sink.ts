import { fsyncSync, ftruncateSync, openSync } from 'node:fs';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { asImgconvError, ImgconvError, naming } from '../model/errors.js';
import { compress } from '../threads/compress.js';
import { writeFully } from '../bytes/output.js';
import type { Pool } from '../threads/pool.js';
import { closeFile } from '../bytes/region.js';
import { BLOCK, encodeTarHeader, paddedSize } from '../codecs/tar-header.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import { WriteBack } from '../bytes/write-back.js';

/** An archive under construction; only what is proved stays in it. */
export interface TarSink {
  /** Adds blobs, all or none of them. */
  addBlobs(blobs: readonly { readonly name: string; readonly blob: VerifiedBlob }[]): Promise<void>;
  addBytes(name: string, bytes: Uint8Array): Promise<void>;
  /** Writes the end of the archive. */
  end(): Promise<void>;
  close(): Promise<void>;
}

/** A plain file: blobs are written at their places by the threads that hash them, and taken back if one fails. */
export class TarFile implements TarSink {
  readonly #path: string;
  readonly #fd: number;
  #position = 0;
  /** The disk writes while more is hashed; a flush that failed spoils the archive for good. */
  readonly #back: WriteBack;
  #irrevocable: ImgconvError | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, 'wx');
    this.#back = new WriteBack(this.#fd, path);
  }

  get #spoiled(): ImgconvError | undefined {
    return this.#irrevocable ?? this.#back.failure;
  }

  async addBlobs(blobs: readonly { readonly name: string; readonly blob: VerifiedBlob }[]): Promise<void> {
    const start = this.#position;
    // Asynchronous, so that a header which cannot be written waits for the blobs that are under way.
    const writing = blobs.map(async ({ name, blob }) => {
      let untold = blob.size;
      await blob.writeInto(this.#path, this.#begin(name, blob.size), (count) => {
        untold -= count;
        this.#back.wrote(count);
      });
      this.#back.wrote(Math.max(0, untold));
    });
    const failed = (await Promise.allSettled(writing)).find((result) => result.status === 'rejected');
    if (failed === undefined) return;
    this.#truncate(start);
    this.#position = start;
    throw failed.reason;
  }

  addBytes(name: string, bytes: Uint8Array): Promise<void> {
    writeFully(this.#fd, bytes, this.#begin(name, bytes.length), this.#path);
    return Promise.resolve();
  }

  /** What cannot be taken back spoils the archive: nothing more is added then, nor is it ever ended. */
  #truncate(length: number): void {
    try {
      naming(this.#path, () => {
        ftruncateSync(this.#fd, length);
      });
    } catch (error) {
      this.#irrevocable = asImgconvError(error);
      throw error;
    }
  }

  /** Writes the header and moves on to where the next one will be; returns where the content belongs. */
  #begin(name: string, size: number): number {
    if (this.#spoiled !== undefined) throw this.#spoiled;
    const header = encodeTarHeader(name, size);
    writeFully(this.#fd, header, this.#position, this.#path);
    const start = this.#position + header.length;
    this.#position = start + paddedSize(size);
    return start;
  }

  /** Two blocks of zeros end an archive (POSIX ustar); holes between entries read as the zeros they are padded with. */
  async end(): Promise<void> {
    await this.#back.rest();
    if (this.#spoiled !== undefined) throw this.#spoiled;
    this.#truncate(this.#position + 2 * BLOCK);
    naming(this.#path, () => {
      fsyncSync(this.#fd);
    });
  }

  async close(): Promise<void> {
    await this.#back.rest();
    closeFile(this.#fd, this.#path);
  }
}

/** A pipe or a compressed file: what was written cannot be taken back, so blobs are proved before, and again on the way. */
export class TarStream implements TarSink {
  readonly #write: (chunk: Uint8Array) => Promise<void>;
  readonly #end: () => Promise<void>;
  #broken: Error | undefined;

  constructor(write: (chunk: Uint8Array) => Promise<void>, end: () => Promise<void>) {
    this.#write = write;
    this.#end = end;
  }

  async addBlobs(blobs: readonly { readonly name: string; readonly blob: VerifiedBlob }[]): Promise<void> {
    await Promise.all(blobs.map(({ blob }) => blob.prove()));
    await this.#whole(async () => {
      for (const { name, blob } of blobs) await this.#add(name, blob.size, blob.chunks());
    });
  }

  addBytes(name: string, bytes: Uint8Array): Promise<void> {
    return this.#whole(() => this.#add(name, bytes.length, [bytes]));
  }

  async #add(
    name: string,
    size: number,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    await this.#write(encodeTarHeader(name, size));
    for await (const chunk of chunks) await this.#write(chunk);
    await this.#write(new Uint8Array(paddedSize(size) - size));
  }

  /** After a failure in the middle nothing more is written: the reader must not take the rest for an archive. */
  async #whole(work: () => Promise<void>): Promise<void> {
    if (this.#broken !== undefined) throw this.#broken;
    try {
      await work();
    } catch (error) {
      this.#broken = asImgconvError(error);
      throw error;
    }
  }

  end(): Promise<void> {
    return this.#whole(async () => {
      await this.#write(new Uint8Array(2 * BLOCK));
      await this.#end();
    });
  }

  close(): Promise<void> {
    // Nothing is held that `end` does not let go of.
    return Promise.resolve();
  }
}

/** Passes chunks on in compressed form. */
function compressing(
  write: (chunk: Uint8Array) => Promise<void>,
  end: () => Promise<void>,
  packing: 'gzip' | 'zstd' | 'none',
  pool: Pool,
): TarStream {
  if (packing === 'none') return new TarStream(write, end);
  const pipe = new PassThrough({ highWaterMark: 4 * 1024 * 1024 });
  const done = (async () => {
    for await (const chunk of compress(pipe, packing, pool)) await write(chunk);
    await end();
  })();
  done.catch((error: unknown) => pipe.destroy(asImgconvError(error)));
  const into = async (chunk: Uint8Array) => {
    if (chunk.length > 0 && !pipe.write(chunk)) await Promise.race([once(pipe, 'drain'), done]);
  };
  return new TarStream(into, async () => {
    pipe.end();
    await done;
  });
}

/** An archive on standard output. @throws ImgconvError USAGE when that is a terminal */
export function tarToStdout(packing: 'gzip' | 'zstd' | 'none', pool: Pool): TarSink {
  const { stdout } = process;
  if (stdout.isTTY)
    throw new ImgconvError('USAGE', 'an archive is not written to a terminal', {
      hint: 'pipe it: imgconv reg2tar STORE - | docker load',
    });
  let failure: Error | undefined;
  stdout.on('error', (error) => {
    failure ??= error;
  });
  const write = (chunk: Uint8Array) =>
    Promise.race([
      pool.interrupted,
      new Promise<void>((resolve, reject) => {
        stdout.write(chunk, (error) => {
          const problem = error ?? failure;
          if (problem) reject(asImgconvError(problem, 'stdout'));
          else resolve();
        });
      }),
    ]);
  return compressing(write, () => Promise.resolve(), packing, pool);
}

/** An archive in a new file. */
export function tarToFile(path: string, packing: 'gzip' | 'zstd' | 'none', pool: Pool): TarSink {
  if (packing === 'none') return new TarFile(path);
  const fd = openSync(path, 'wx');
  const write = (chunk: Uint8Array) => {
    writeFully(fd, chunk, null, path);
    return Promise.resolve();
  };
  const end = () => {
    naming(path, () => {
      fsyncSync(fd);
    });
    closeFile(fd, path);
    return Promise.resolve();
  };
  return compressing(write, end, packing, pool);
}
