import { digestsIn, readLink, repositories } from '../formats/registry/walk.js';
import {
  blobPath,
  layerLink,
  repositoryPath,
  revisionLink,
  revisionsPath,
  rootOf,
  tagIndexLink,
  tagLink,
  tagsPath,
} from '../formats/registry/paths.js';
import { removeFromRegistry } from '../formats/registry/removal.js';
import { PATIENCE } from '../formats/removal.js';
import { referrersTag } from '../model/attached.js';
import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import type { Storage } from '../storage/driver.js';
import type { Backend, NewManifest, ServedBlob, ServedManifest, WritableBackend } from './backend.js';
import { Manifests, Subjects } from './manifests.js';
import { inTransaction, PAGE_FOLDER, UploadFolder } from './store.js';

/** The storage of a Distribution registry, read and written in place: another registry may serve it at the same time. */
export class RegistryBackend implements Backend {
  readonly #root: Storage;
  readonly #manifests = new Manifests();
  readonly #subjects = new Subjects();
  readonly #writes: RegistryWrites | undefined;

  private constructor(root: Storage, writable: boolean) {
    this.#root = root;
    this.#writes = writable ? new RegistryWrites(root) : undefined;
  }

  static async open(storage: Storage, writable: boolean): Promise<RegistryBackend> {
    return new RegistryBackend(await rootOf(storage), writable);
  }

  get writes(): WritableBackend | undefined {
    return this.#writes;
  }

  get atHand(): Backend {
    return this;
  }

  repositories(): AsyncIterable<string> {
    return repositories(this.#root);
  }

  async has(repository: string): Promise<boolean> {
    const entries = await this.#root.list(repositoryPath(repository));
    return entries.some(({ name }) => name.startsWith('_'));
  }

  async tags(repository: string): Promise<string[]> {
    const tags: string[] = [];
    for (const { name } of await this.#root.list(tagsPath(repository)))
      if ((await this.#root.stat(tagLink(repository, name))) !== undefined) tags.push(name);
    return tags;
  }

  resolve(repository: string, tag: string): Promise<Digest | undefined> {
    return readLink(this.#root, tagLink(repository, tag));
  }

  async manifest(repository: string, digest: Digest): Promise<ServedManifest | undefined> {
    if ((await readLink(this.#root, revisionLink(repository, digest))) !== digest) return undefined;
    return this.#read(digest);
  }

  #read(digest: Digest): Promise<ServedManifest | undefined> {
    return this.#manifests.get(digest, () => this.#root.bytes(blobPath(digest)));
  }

  async blob(repository: string, digest: Digest): Promise<ServedBlob | undefined> {
    if ((await readLink(this.#root, layerLink(repository, digest))) !== digest) return undefined;
    const at = await this.#root.bytes(blobPath(digest));
    return at && { size: at.size, at };
  }

  async referrers(repository: string, digest: Digest): Promise<readonly Descriptor[]> {
    const revisions = digestsIn(this.#root, revisionsPath(repository));
    const tagged = await this.resolve(repository, referrersTag(digest));
    return this.#subjects.referrers(digest, revisions, tagged, (one) => this.manifest(repository, one));
  }

  close(): Promise<void> {
    this.#writes?.close();
    return Promise.resolve();
  }
}

class RegistryWrites implements WritableBackend {
  readonly #root: Storage;
  readonly #uploads: UploadFolder;

  constructor(root: Storage) {
    this.#root = root;
    this.#uploads = new UploadFolder(root);
  }

  get page() {
    return { root: this.#root.name, folder: this.#root.nameOf(PAGE_FOLDER) };
  }

  uploadPath(): string {
    return this.#uploads.path();
  }

  putBlob(repository: string, blob: VerifiedBlob): Promise<void> {
    return inTransaction(this.#root, async (transaction) => {
      const key = blobPath(blob.digest);
      await transaction.stage(key, blob, 'auto');
      transaction.keep(key);
      transaction.put(layerLink(repository, blob.digest), blob.digest);
    });
  }

  async holds(repository: string, digest: Digest): Promise<boolean> {
    return (
      (await readLink(this.#root, layerLink(repository, digest))) === digest &&
      (await this.#root.stat(blobPath(digest))) !== undefined
    );
  }

  async mount(repository: string, digest: Digest, from: string | undefined): Promise<boolean> {
    return inTransaction(this.#root, async (transaction) => {
      if (from !== undefined && (await readLink(this.#root, layerLink(from, digest))) !== digest)
        return false;
      if ((await this.#root.stat(blobPath(digest))) === undefined) return false;
      transaction.put(layerLink(repository, digest), digest);
      return true;
    });
  }

  putManifest(
    repository: string,
    { digest, bytes }: NewManifest,
    tags: readonly string[],
    check?: () => Promise<void>,
  ): Promise<void> {
    return inTransaction(this.#root, async (transaction) => {
      await check?.();
      transaction.put(blobPath(digest), bytes);
      transaction.put(revisionLink(repository, digest), digest, 'index');
      for (const tag of tags) {
        transaction.put(tagIndexLink(repository, tag, digest), digest, 'tag');
        transaction.put(tagLink(repository, tag), digest, 'tag');
      }
    });
  }

  async deleteTag(repository: string, tag: string): Promise<boolean> {
    return (await removeFromRegistry(this.#root)).tag(repository, tag);
  }

  async deleteManifest(repository: string, digest: Digest): Promise<boolean> {
    return (await removeFromRegistry(this.#root)).manifest(repository, digest);
  }

  async deleteBlob(repository: string, digest: Digest): Promise<boolean> {
    const link = layerLink(repository, digest);
    if ((await this.#root.stat(link)) === undefined) return false;
    return this.#root.withoutWriters(PATIENCE, async (deletion) => {
      const deleted = await deletion.file(link, true);
      await deletion.flush();
      return deleted;
    });
  }

  close(): void {
    this.#uploads.close();
  }
}
