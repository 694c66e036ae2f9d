import type { Bytes } from '../bytes/region.js';
import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import type { Manifest } from '../model/manifest.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';

/** A manifest as it goes over the network, proved. */
export interface ServedManifest {
  readonly bytes: Uint8Array;
  readonly manifest: Manifest;
}

export interface ServedBlob {
  /** In bytes. */
  readonly size: number;
  readonly at: Bytes;
}

/**
 * What a registry serves: a place of any format, seen as repositories with tags. Repository names were checked against
 * the grammar. Nothing is read that is not asked for.
 */
export interface Backend {
  /** Undefined where nothing can be pushed. */
  readonly writes: WritableBackend | undefined;
  /** What can be looked through without asking another registry or converting anything. */
  readonly atHand: Backend;
  /** Each once, in any order. */
  repositories(): AsyncIterable<string>;
  has(repository: string): Promise<boolean>;
  /** Each once, in any order. */
  tags(repository: string): Promise<Iterable<string>>;
  resolve(repository: string, tag: string): Promise<Digest | undefined>;
  manifest(repository: string, digest: Digest): Promise<ServedManifest | undefined>;
  blob(repository: string, digest: Digest): Promise<ServedBlob | undefined>;
  /** Descriptors of the manifests of this repository whose subject is `digest`, with their type and annotations. */
  referrers(repository: string, digest: Digest): Promise<readonly Descriptor[]>;
  close(): Promise<void>;
}

export interface NewManifest extends ServedManifest {
  readonly digest: Digest;
}

/** What a promise settled for is on the disk, and what is visible is whole. */
export interface WritableBackend {
  /** A new path for an upload, in the file system of the store. */
  uploadPath(): string;
  /** Where uploads of the page lie until they are taken, which outlive the server. */
  readonly page: { readonly root: string; readonly folder: string };
  putBlob(repository: string, blob: VerifiedBlob): Promise<void>;
  /** True when this place itself has the blob in this repository. */
  holds(repository: string, digest: Digest): Promise<boolean>;
  /**
   * Makes a blob that is there already part of this repository. False when `from` does not have it; undefined: when no
   * repository has it.
   */
  mount(repository: string, digest: Digest, from: string | undefined): Promise<boolean>;
  /** `check` is called while no garbage is collected, and nothing is put if it throws. */
  putManifest(
    repository: string,
    manifest: NewManifest,
    tags: readonly string[],
    check?: () => Promise<void>,
  ): Promise<void>;
  /** False for what is not there, as the others. */
  deleteTag(repository: string, tag: string): Promise<boolean>;
  /** With all tags that name it. */
  deleteManifest(repository: string, digest: Digest): Promise<boolean>;
  /** @throws Refusal UNSUPPORTED while an image needs it */
  deleteBlob(repository: string, digest: Digest): Promise<boolean>;
}
