import { lstatSync } from 'node:fs';
import { BlobShelf } from '../../storage/blob-shelf.js';
import { isThere } from '../../bytes/region.js';
import { Staging } from '../../storage/staging.js';
import type { Step } from '../../storage/mirror.js';
import { Transaction } from '../../storage/transaction.js';
import { VerifiedBlob } from '../../proof/verified-blob.js';
import type { Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { blobDigestsOf, manifestPayload, manifestsOf } from '../../model/manifest.js';
import type { Reference } from '../../model/reference.js';
import {
  signaturesNote,
  type ImageToWrite,
  type ImageWriter,
  type WriteContext,
  type Written,
} from '../format.js';
import { expectFolder } from '../target.js';
import {
  blobPath,
  blobsPath,
  layerLink,
  repositoryPath,
  revisionLink,
  rootOf,
  tagIndexLink,
  tagLink,
} from './paths.js';
import { readLink } from './walk.js';

export function createRegistry(path: string, context: WriteContext): Promise<ImageWriter> {
  expectFolder(path);
  return Promise.resolve(new RegistryWriter(rootOf(path), context));
}

class RegistryWriter implements ImageWriter {
  readonly staging: Staging;
  readonly links = true;
  readonly #root: string;
  readonly #context: WriteContext;
  readonly #transaction: Transaction;
  readonly #shelf: BlobShelf;
  readonly #linked = new Set<string>();
  /** Repositories that this run met, and whether they were there then: in a new one no link needs looking at. */
  readonly #wasThere = new Map<string, boolean>();

  constructor(root: string, context: WriteContext) {
    this.#root = root;
    this.#context = context;
    this.staging = new Staging(root);
    this.#transaction = new Transaction(this.staging, context.pool);
    const pathOf = (digest: Digest) => blobPath(root, digest);
    this.#shelf = new BlobShelf(root, blobsPath(root), pathOf, this.#transaction, context);
  }

  readonly find = (digest: Digest) => this.#shelf.find(digest);

  holds(_name: Reference, { digest, size }: { digest: Digest; size: number }): boolean {
    return this.find(digest)?.size === size;
  }

  async write({ name, root: image, blobs, signatures }: ImageToWrite): Promise<Written> {
    const { repository, tag } = name;
    const notes: string[] = [];
    const puts = await Promise.all([...blobs.values()].map((blob) => this.#shelf.put(blob)));
    let changed = puts.some((how) => how !== 'present');
    const isNew = !this.#isThere(repository);
    const link = (path: string, digest: Digest, step?: Step) => {
      if (this.#link(path, digest, isNew, step)) changed = true;
    };
    for (const digest of blobs.keys()) this.#shelf.keep(digest);
    for (const { descriptor, bytes, manifest } of manifestsOf(image)) {
      for (const digest of blobDigestsOf(manifest))
        if (blobs.has(digest)) link(layerLink(this.#root, repository, digest), digest);
      if (manifest.kind === 'schema1') {
        // The registry keeps what was signed and no signatures (distribution 2.8 signedmanifesthandler.go Put).
        const payload = manifestPayload(bytes, descriptor.digest);
        if (payload.length < bytes.length) notes.push('the signatures of the schema 1 manifest stay behind');
        const blob = VerifiedBlob.of(
          payload,
          descriptor.digest,
          this.#context.pool,
          `manifest ${descriptor.digest}`,
        );
        if ((await this.#shelf.put(blob)) !== 'present') changed = true;
        this.#shelf.keep(descriptor.digest);
      }
      const step = manifest.kind === 'index' ? 'index' : 'content';
      link(revisionLink(this.#root, repository, descriptor.digest), descriptor.digest, step);
    }
    const { digest } = image.descriptor;
    if (tag === undefined) notes.push('stored without a tag: pull it by its digest');
    else {
      link(tagIndexLink(this.#root, repository, tag, digest), digest, 'tag');
      link(tagLink(this.#root, repository, tag), digest, 'tag');
    }
    notes.push(...signaturesNote(signatures));
    return { changed, notes };
  }

  #isThere(repository: string): boolean {
    const known =
      this.#wasThere.get(repository) ?? isThere(repositoryPath(this.#root, repository), this.#root);
    this.#wasThere.set(repository, known);
    return known;
  }

  /** False when the link is there and says this already. */
  #link(path: string, digest: Digest, isNew: boolean, step: Step = 'content'): boolean {
    const key = `${path} ${digest}`;
    if (this.#linked.has(key)) return false;
    this.#linked.add(key);
    if (!isNew && this.#says(path, digest)) return false;
    this.#transaction.write(path, digest, step);
    return true;
  }

  #says(path: string, digest: Digest): boolean {
    if (lstatSync(path, { throwIfNoEntry: false })?.size !== digest.length) return false;
    try {
      return readLink(path, this.#root) === digest;
    } catch (error) {
      if (error instanceof ImgconvError && error.code === 'DIGEST_INVALID') return false;
      throw error;
    }
  }

  publish(): Promise<void> {
    return this.#shelf.publish();
  }

  async finish(): Promise<boolean> {
    await this.publish();
    return true;
  }

  close(): Promise<void> {
    this.staging[Symbol.dispose]();
    return Promise.resolve();
  }
}
