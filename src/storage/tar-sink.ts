import { fsyncSync, ftruncateSync, openSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';
import { asImgconvError, ImgconvError, naming } from '../model/errors.js';
import { resolved } from '../bytes/files.js';
import { compress } from '../threads/compress.js';
import type { Content } from '../bytes/content.js';
import { writeFully } from '../bytes/output.js';
import type { Pool } from '../threads/pool.js';
import { closeFile } from '../bytes/open-file.js';
import { beginMember, tarHead } from '../codecs/tar-head.js';
import { BLOCK, paddedSize } from '../codecs/tar-header.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import { WriteBack } from '../bytes/write-back.js';

/** A blob, and what it is called in the archive. */
export interface NamedBlob {
  readonly name: string;
  readonly blob: VerifiedBlob;
}

/** An archive under construction; only what is proved stays in it. */
export interface TarSink {
  /** Adds blobs, all or none of them. */
  addBlobs(blobs: readonly NamedBlob[]): Promise<void>;
  addContent(name: string, content: Content): Promise<void>;
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

  async addBlobs(blobs: readonly NamedBlob[]): Promise<void> {
    const start = this.#position;
    const heads = await Promise.all(blobs.map(({ name, blob }) => tarHead(name, blob.size)));
    // Asynchronous, so that a header which cannot be written waits for the blobs that are under way.
    const writing = blobs.map(async ({ blob }, i) => {
      let untold = blob.size;
      await blob.writeInto(this.#path, this.#begin(heads[i] ?? new Uint8Array(), blob.size), (count) => {
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

  async addContent(name: string, { size, pieces }: Content): Promise<void> {
    let at = this.#begin(await tarHead(name, size), size);
    for (const piece of pieces) {
      writeFully(this.#fd, piece, at, this.#path);
      at += piece.length;
    }
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

  #expectSound(): void {
    const spoiled = this.#irrevocable ?? this.#back.failure;
    if (spoiled !== undefined) throw spoiled;
  }

  /** Writes the header and moves on to where the next one will be; returns where the content belongs. */
  #begin(head: Uint8Array, size: number): number {
    this.#expectSound();
    writeFully(this.#fd, head, this.#position, this.#path);
    const start = this.#position + head.length;
    this.#position = start + paddedSize(size);
    return start;
  }

  /** Two blocks of zeros end an archive (POSIX ustar); holes between entries read as the zeros they are padded with. */
  async end(): Promise<void> {
    await this.#back.rest();
    this.#expectSound();
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

/** Where the bytes of an archive go, one after another. */
export interface Outlet {
  write(chunk: Uint8Array): Promise<void>;
  end(): Promise<void>;
  close(): void;
}

/** A pipe or a compressed file: what was written cannot be taken back, so blobs are proved before, and again on the way. */
export class TarStream implements TarSink {
  readonly #archive = pack();
  readonly #outlet: Outlet;
  /** Settles when all is written; after a failure nothing more is, so that the reader does not take the rest for an archive. */
  readonly #written: Promise<void>;
  /** The first failure: those that follow tell only that the archive is closed. */
  #failure: ImgconvError | undefined;

  constructor(outlet: Outlet, packing: Packing, pool: Pool) {
    this.#outlet = outlet;
    const chunks = this.#archive as AsyncIterable<Uint8Array>;
    this.#written = (async () => {
      for await (const chunk of packing === 'none' ? chunks : compress(chunks, packing, pool))
        await outlet.write(chunk).catch((error: unknown) => this.#fail(error));
      await outlet.end();
    })();
    this.#written.catch((error: unknown) => {
      this.#archive.destroy(asImgconvError(error));
    });
  }

  async addBlobs(blobs: readonly NamedBlob[]): Promise<void> {
    await Promise.all(blobs.map(({ blob }) => blob.prove()));
    for (const { name, blob } of blobs) await this.#add(name, blob.size, blob.chunks());
  }

  addContent(name: string, { size, pieces }: Content): Promise<void> {
    const copies = (function* () {
      for (const piece of pieces) yield Buffer.from(piece);
    })();
    return this.#add(name, size, copies);
  }

  async #add(
    name: string,
    size: number,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> {
    try {
      const adding = pipeline(chunks, beginMember(this.#archive, name, size));
      // What ends one ends the other; why is known where it began.
      await Promise.race([adding, this.#written]);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): never {
    this.#failure ??= asImgconvError(error);
    throw this.#failure;
  }

  async end(): Promise<void> {
    this.#archive.finalize();
    await this.#written;
  }

  async close(): Promise<void> {
    this.#archive.destroy();
    await this.#written.catch(() => undefined);
    this.#outlet.close();
  }
}

/** How an archive is compressed. */
export type Packing = 'gzip' | 'zstd' | 'none';

/** An archive takes the place of a file of its name; of a folder, a device or a FIFO it must not. @throws ImgconvError USAGE */
export function expectReplaceable(path: string): void {
  const kind = resolved(path)?.kind;
  if (kind === undefined || kind === 'file') return;
  throw new ImgconvError('USAGE', `${path}: there already, and no regular file`, {
    hint: 'give the name of a file for the archive, or - for standard output',
  });
}

/** An archive on standard output. @throws ImgconvError USAGE when that is a terminal */
export function tarToStdout(packing: Packing, pool: Pool): TarSink {
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
  return new TarStream({ write, end: () => Promise.resolve(), close: () => undefined }, packing, pool);
}

/** An archive in a new file. */
export function tarToFile(path: string, packing: Packing, pool: Pool): TarSink {
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
    return Promise.resolve();
  };
  return new TarStream(
    {
      write,
      end,
      close: () => {
        closeFile(fd, path);
      },
    },
    packing,
    pool,
  );
}
