import { dirname } from 'node:path';
import { isThere } from '../bytes/there.js';
import { STAGING_PREFIX } from '../storage/staging.js';
import type { Storage, StorageTransaction } from '../storage/driver.js';

/**
 * What `work` puts and keeps becomes visible together, and is on the disk then. No garbage is collected meanwhile.
 * @throws what `work` throws; nothing becomes visible then
 */
export async function inTransaction<T>(
  storage: Storage,
  work: (transaction: StorageTransaction) => Promise<T>,
): Promise<T> {
  const transaction = storage.begin();
  try {
    await transaction.claim();
    const result = await work(transaction);
    await transaction.commit();
    return result;
  } finally {
    transaction.close();
  }
}

/** Archives that were uploaded by way of the page. */
export const PAGE_FOLDER = `${STAGING_PREFIX}page`;

/** Files of uploads, in the file system of a storage: gone when the server ends, or with the next imgconv if it is killed. */
export class UploadFolder {
  readonly #storage: Storage;
  #transaction: StorageTransaction | undefined;
  #path: string | undefined;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  path(): string {
    // An imgconv on another machine takes it for dead work after a day without uploads.
    if (this.#path !== undefined && !isThere(dirname(this.#path))) this.#transaction = undefined;
    this.#transaction ??= this.#storage.begin();
    return (this.#path = this.#transaction.staging.path());
  }

  close(): void {
    this.#transaction?.close();
  }
}
