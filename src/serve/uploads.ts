import { randomUUID } from 'node:crypto';
import { createHasher, type Hasher } from '../bytes/hash.js';
import type { FileId } from '../bytes/file-id.js';
import { Output } from '../bytes/output.js';
import { removeFile } from '../bytes/link.js';
import type { FileBytes } from '../bytes/region.js';
import { algorithmOf, type Algorithm, type Digest } from '../model/digest.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import type { Exchange } from './exchange.js';
import { Refusal } from './refusal.js';

/** A blob that arrives. */
export class Upload {
  readonly id = randomUUID();
  readonly repository: string;
  readonly algorithm: Algorithm;
  readonly #newPath: () => string;
  readonly #hasher: Hasher;
  #path: string | undefined;
  #written: Written | undefined;
  /** Bytes that are in the file. */
  size = 0;
  /** When a request for it ended last. */
  touched = Date.now();
  /** Nothing more is written to it. */
  #isClosed = false;
  /** The request that writes to it. */
  #writer: { readonly exchange: Exchange; readonly done: Promise<unknown> } | undefined;

  constructor(repository: string, algorithm: Algorithm, newPath: () => string) {
    this.repository = repository;
    this.algorithm = algorithm;
    this.#newPath = newPath;
    this.#hasher = createHasher(algorithm);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get isBusy(): boolean {
    return this.#writer !== undefined;
  }

  /**
   * One request writes at a time: a client that begins another one gave the former up. What arrived of a body that broke
   * off stays, and the client can go on after it.
   * @throws Refusal BLOB_UPLOAD_UNKNOWN when the former one was the last
   */
  async take(exchange: Exchange, limit: number, isLast = false): Promise<void> {
    while (this.#writer !== undefined) {
      this.#writer.exchange.request.destroy();
      await this.#writer.done.catch(() => undefined);
    }
    if (this.#isClosed) throw unknownUpload(this.repository, this.id);
    const done = this.#write(exchange, limit);
    this.#writer = { exchange, done };
    try {
      await done;
      // At once: another request may wait for this one, and the file is going to be a blob.
      if (isLast) this.#isClosed = true;
    } finally {
      this.#writer = undefined;
      this.touched = Date.now();
    }
  }

  async #write(exchange: Exchange, limit: number): Promise<void> {
    let output: Output | undefined;
    try {
      for await (const chunk of exchange.body(limit - this.size)) {
        output ??= this.#open();
        output.write(chunk);
        this.#hasher.update(chunk);
        this.size += chunk.length;
      }
      await output?.end();
    } finally {
      if (output !== undefined) await this.#close(output);
    }
  }

  async #close(output: Output): Promise<void> {
    this.#written = { path: this.#path ?? '', id: output.state() };
    await output.close();
  }

  #open(): Output {
    const position = this.size;
    const flags = this.#path === undefined ? 'wx' : 'r+';
    this.#path ??= this.#newPath();
    return new Output({ path: this.#path, position, flags, flush: true });
  }

  /** The blob, which is what the client says it is. @throws Refusal DIGEST_INVALID */
  async finish(digest: Digest, pool: Pool): Promise<VerifiedBlob> {
    const { path, id } = this.#written ?? (await this.#empty());
    const file: FileBytes = { kind: 'file', path, offset: 0, size: this.size, whole: true };
    const found =
      this.algorithm === algorithmOf(digest)
        ? { digest: this.#hasher.digest(), id }
        : await pool.scan({ kind: 'scan', from: file, algorithm: algorithmOf(digest) });
    if (found.digest !== digest)
      throw new Refusal('DIGEST_INVALID', `what was sent has the digest ${found.digest}, not ${digest}`);
    return VerifiedBlob.staged({ ...file, staged: found }, pool);
  }

  async #empty(): Promise<Written> {
    await this.#close(this.#open());
    if (this.#written === undefined) throw new TypeError('the file of an upload was not closed');
    return this.#written;
  }

  discard(): void {
    this.#writer?.exchange.request.destroy();
    if (this.#path !== undefined) removeFile(this.#path);
  }
}

/** The file of an upload, as it was after the last request. */
interface Written {
  readonly path: string;
  readonly id: FileId;
}

function unknownUpload(repository: string, id: string): Refusal {
  const why = 'it ended, or the registry was started anew';
  return new Refusal('BLOB_UPLOAD_UNKNOWN', `no upload ${id} to ${repository}: ${why}`);
}

/** Uploads that are open at once. One that a client holds costs memory alone until bytes come. */
const MAX_OPEN = 10_000;
/** Milliseconds after which an upload that nobody goes on with is deleted; when too many are open, the second one. */
const ABANDONED = 60 * 60_000;
const SPARED = 60_000;

/** All uploads that are open. */
export class Uploads {
  readonly #open = new Map<string, Upload>();

  get count(): number {
    return this.#open.size;
  }

  /** @throws Refusal TOOMANYREQUESTS */
  begin(repository: string, algorithm: Algorithm, newPath: () => string): Upload {
    this.clear(ABANDONED);
    if (this.#open.size >= MAX_OPEN) this.clear(SPARED);
    if (this.#open.size >= MAX_OPEN)
      throw new Refusal('TOOMANYREQUESTS', `${MAX_OPEN} uploads are open`, {
        headers: { 'Retry-After': '60' },
      });
    const upload = new Upload(repository, algorithm, newPath);
    this.#open.set(upload.id, upload);
    return upload;
  }

  /** @throws Refusal BLOB_UPLOAD_UNKNOWN */
  get(repository: string, id: string): Upload {
    const upload = this.#open.get(id);
    if (upload?.repository === repository && !upload.isClosed) return upload;
    throw unknownUpload(repository, id);
  }

  end(upload: Upload): void {
    this.#open.delete(upload.id);
    upload.discard();
  }

  /** Deletes those that nobody went on with for so many milliseconds. */
  clear(idle = ABANDONED): void {
    const before = Date.now() - idle;
    // They lie in the order in which they were begun.
    for (const upload of this.#open.values()) if (!upload.isBusy && upload.touched < before) this.end(upload);
  }

  close(): void {
    for (const upload of [...this.#open.values()]) this.end(upload);
  }
}
