import { join } from 'node:path';
import { FileStore } from '@tus/file-store';
import { Server as TusServer } from '@tus/server';
import { removeBelow } from '../bytes/below.js';
import { makeFolder, namesIn } from '../bytes/folder.js';
import type { Exchange } from './exchange.js';
import { Refusal } from './refusal.js';

/** Archives that were uploaded and not taken are deleted after so long, in milliseconds. */
const KEPT = 24 * 60 * 60_000;
/** So many may lie there. */
const MOST = 1000;
const PATH = '/ui/uploads';

/**
 * Archives that a browser uploads in pieces (tus 1.0, https://tus.io/protocols/resumable-upload): they lie in a folder of
 * the store until they are taken, so that an upload can go on after the server was started anew.
 */
export class PageUploads {
  readonly #root: string;
  readonly #folder: string;
  readonly #maxSize: number;
  #parts: { readonly store: FileStore; readonly tus: TusServer } | undefined;

  /** `folder` lies below `root`, the store's; `maxSize` of an archive is in bytes. */
  constructor(root: string, folder: string, maxSize: number) {
    this.#root = root;
    this.#folder = folder;
    this.#maxSize = maxSize;
  }

  /** Makes the folder. */
  #started(): { readonly store: FileStore; readonly tus: TusServer } {
    // A link in its place would lead anywhere.
    this.#count();
    if (this.#parts !== undefined) return this.#parts;
    makeFolder(this.#folder);
    const store = new FileStore({ directory: this.#folder, expirationPeriodInMilliseconds: KEPT });
    const tus = new TusServer({
      path: PATH,
      datastore: store,
      maxSize: this.#maxSize,
      relativeLocation: true,
      allowedOrigins: () => false,
    });
    return (this.#parts = { store, tus });
  }

  /** @throws Refusal */
  async answer(exchange: Exchange): Promise<void> {
    const { pathname } = exchange.url;
    if (pathname !== PATH && !/^\/ui\/uploads\/[0-9a-f]{32}$/.test(pathname))
      throw new Refusal('BLOB_UPLOAD_UNKNOWN', 'no such upload');
    if (exchange.method === 'GET') throw new Refusal('UNSUPPORTED', 'uploads cannot be read');
    if (exchange.method === 'POST' && this.#count() >= MOST)
      throw new Refusal('TOOMANYREQUESTS', `${MOST} uploads wait to be taken or deleted`);
    await this.#started().tus.handle(exchange.request, exchange.response);
  }

  #count(): number {
    return namesIn(this.#folder, this.#root).length / 2;
  }

  /** The file of an upload that has ended. @throws Refusal BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID */
  async finished(id: string): Promise<string> {
    const upload = /^[0-9a-f]{32}$/.test(id)
      ? await this.#started()
          .store.getUpload(id)
          .catch(() => undefined)
      : undefined;
    if (upload === undefined) throw new Refusal('BLOB_UPLOAD_UNKNOWN', 'no such upload');
    if (upload.offset !== upload.size) throw new Refusal('BLOB_UPLOAD_INVALID', 'the upload is not complete');
    return join(this.#folder, id);
  }

  async remove(id: string): Promise<void> {
    await this.#parts?.store.remove(id).catch(() => undefined);
  }

  /** Deletes old ones. */
  async clear(): Promise<void> {
    if (this.#count() > 0)
      await this.#started()
        .store.deleteExpired()
        .catch(() => 0);
  }

  /** Deletes the folder if nothing is left in it. */
  close(): void {
    if (this.#count() === 0) removeBelow(this.#root, this.#folder);
  }
}
