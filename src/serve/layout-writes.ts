import * as z from 'zod';
import { changeIndex, type LayoutIndex } from '../formats/oci/index-file.js';
import { layoutBlobStore } from '../formats/oci/blob-store.js';
import { PATIENCE } from '../formats/removal.js';
import { annotationsSchema } from '../model/descriptor.js';
import { isDigest, type Digest } from '../model/digest.js';
import { namedBy, reach } from '../model/graph.js';
import {
  blobName,
  INDEX_FILE,
  LAYOUT_CONTENT,
  LAYOUT_FILE,
  layoutEntry,
  layoutName,
} from '../model/oci-layout.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import type { Storage, StorageTransaction } from '../storage/driver.js';
import type { NewManifest, ServedManifest, WritableBackend } from './backend.js';
import { servedName } from './names.js';
import { Refusal } from './refusal.js';
import { inTransaction, PAGE_FOLDER, type UploadFolder } from './store.js';

export type Entry = LayoutIndex['manifests'][number];

/** Pushes into an OCI layout. */
export class LayoutWrites implements WritableBackend {
  readonly #layout: Storage;
  readonly #ownName: string;
  readonly #uploads: UploadFolder;
  readonly #read: (digest: Digest) => Promise<ServedManifest | undefined>;

  constructor(
    layout: Storage,
    ownName: string,
    uploads: UploadFolder,
    read: (digest: Digest) => Promise<ServedManifest | undefined>,
  ) {
    this.#layout = layout;
    this.#ownName = ownName;
    this.#uploads = uploads;
    this.#read = read;
  }

  get page() {
    return { root: this.#layout.name, folder: this.#layout.nameOf(PAGE_FOLDER) };
  }

  uploadPath(): string {
    return this.#uploads.path();
  }

  putBlob(_repository: string, blob: VerifiedBlob): Promise<void> {
    return inTransaction(this.#layout, async (transaction) => {
      const key = blobName(blob.digest);
      await transaction.stage(key, blob, 'auto');
      transaction.keep(key);
    });
  }

  async holds(_repository: string, digest: Digest): Promise<boolean> {
    return (await this.#layout.stat(blobName(digest))) !== undefined;
  }

  mount(repository: string, digest: Digest): Promise<boolean> {
    return this.holds(repository, digest);
  }

  putManifest(
    repository: string,
    { digest, bytes, manifest }: NewManifest,
    tags: readonly string[],
    check?: () => Promise<void>,
  ): Promise<void> {
    const descriptor = { mediaType: manifest.mediaType, digest, size: bytes.length };
    return inTransaction(this.#layout, async (transaction) => {
      await check?.();
      transaction.put(blobName(digest), bytes);
      if ((await this.#layout.stat(LAYOUT_FILE)) === undefined) transaction.put(LAYOUT_FILE, LAYOUT_CONTENT);
      await this.#change(transaction, (entries) => {
        const others = withoutTags(entries, repository, tags, this.#ownName);
        // With a tag it can be asked for by its digest too.
        const left =
          tags.length === 0 ? others : others.filter((one) => !this.#isRevision(one, repository, digest));
        const named = tags.map((tag) => layoutEntry({ repository, tag }, descriptor, this.#ownName));
        const has = [...left, ...named].some((entry) => isOf(entry, repository, digest, this.#ownName));
        return [...left, ...named, ...(has ? [] : [layoutEntry({ repository, digest }, descriptor)])];
      });
    });
  }

  #isRevision(entry: Entry, repository: string, digest: Digest): boolean {
    return nameOf(entry, this.#ownName) === `${repository}@${digest}`;
  }

  deleteTag(repository: string, tag: string): Promise<boolean> {
    return this.#drop((entries) => withoutTags(entries, repository, [tag], this.#ownName));
  }

  deleteManifest(repository: string, digest: Digest): Promise<boolean> {
    return this.#drop((entries) =>
      entries.filter(
        (one) => !isOf(one, repository, digest, this.#ownName) && !isNameless(one, digest, this.#ownName),
      ),
    );
  }

  async deleteBlob(_repository: string, digest: Digest): Promise<boolean> {
    const key = blobName(digest);
    if ((await this.#layout.stat(key)) === undefined) return false;
    return this.#layout.withoutWriters(PATIENCE, async (deletion) => {
      if (await this.#isNeeded(digest))
        throw new Refusal('UNSUPPORTED', `an image of the layout needs ${digest}: delete the image first`);
      const deleted = await deletion.file(key);
      await deletion.flush();
      return deleted;
    });
  }

  async #isNeeded(digest: Digest): Promise<boolean> {
    if ((await this.#layout.stat(INDEX_FILE)) === undefined) return false;
    const roots: Digest[] = [];
    for await (const repository of layoutBlobStore(this.#layout).repositories()) {
      for await (const one of repository.tags()) roots.push(one.digest);
      for await (const one of repository.links()) roots.push(one.digest);
    }
    const read = async (one: Digest) => {
      const there = await this.#read(one);
      return there && namedBy(there.manifest, (same) => same);
    };
    const { manifests, blobs } = await reach(roots, read, () => []);
    return manifests.has(digest) || blobs.has(digest);
  }

  async #drop(change: (entries: Entry[]) => Entry[]): Promise<boolean> {
    return inTransaction(this.#layout, async (transaction) => {
      let dropped = false;
      await this.#change(transaction, (entries) => {
        const left = change(entries);
        dropped = JSON.stringify(left) !== JSON.stringify(entries);
        return dropped ? left : undefined;
      });
      return dropped;
    });
  }

  #change(transaction: StorageTransaction, change: (entries: Entry[]) => Entry[] | undefined): Promise<void> {
    return changeIndex(this.#layout, transaction, (index) => {
      const manifests = change(index.manifests);
      return Promise.resolve(manifests && { ...index, manifests });
    });
  }
}

export function digestOf(entry: Entry): Digest | undefined {
  const { digest } = entry;
  return typeof digest === 'string' && isDigest(digest) ? digest : undefined;
}

export function nameOf(entry: Entry, ownName: string): string | undefined {
  return layoutName({ annotations: annotationsSchema.safeParse(entry['annotations']).data }, ownName);
}

/** True for an entry that makes a manifest part of a repository. */
function isOf(entry: Entry, repository: string, digest: Digest, ownName: string): boolean {
  if (entry['digest'] !== digest) return false;
  return servedName(nameOf(entry, ownName) ?? '')?.repositories.includes(repository) === true;
}

function isNameless(entry: Entry, digest: Digest, ownName: string): boolean {
  return entry['digest'] === digest && servedName(nameOf(entry, ownName) ?? '') === undefined;
}

const sizedSchema = z.object({ mediaType: z.string(), digest: z.custom<Digest>(), size: z.number() });

/** The entries with these tags taken away: what they named can still be asked for by its digest. */
function withoutTags(
  entries: readonly Entry[],
  repository: string,
  tags: readonly string[],
  ownName: string,
): Entry[] {
  const hasTag = (entry: Entry) => {
    const name = servedName(nameOf(entry, ownName) ?? '');
    return name?.tag !== undefined && tags.includes(name.tag) && name.repositories.includes(repository);
  };
  const left = entries.filter((entry) => !hasTag(entry));
  for (const entry of entries.filter(hasTag)) {
    const digest = digestOf(entry);
    const descriptor = sizedSchema.safeParse(entry).data;
    if (digest === undefined || descriptor === undefined) continue;
    if (!left.some((one) => isOf(one, repository, digest, ownName)))
      left.push(layoutEntry({ repository, digest }, descriptor));
  }
  return left;
}
