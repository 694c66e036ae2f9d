import type { Digest } from '../../model/digest.js';
import { DigestMap } from '../../model/digest-map.js';
import { ImgconvError } from '../../model/errors.js';
import { blobDigestsOf } from '../../model/graph.js';
import { manifestPayload } from '../../model/manifest.js';
import type { Reference } from '../../model/reference.js';
import { manifestsOf, type ManifestNode } from '../../model/tree.js';
import { VerifiedBlob } from '../../proof/verified-blob.js';
import type { Step, Storage } from '../../storage/driver.js';
import type { ImageToWrite, ImageWriter, WriteContext } from '../format.js';
import { createStore, type Store, type StoreMapping } from '../store-writer.js';
import {
  BLOBS,
  blobPath,
  layerLink,
  repositoryPath,
  revisionLink,
  revisionsPath,
  rootOf,
  tagIndexLink,
  tagLink,
  tagsPath,
} from './paths.js';
import { digestsIn, readLink } from './walk.js';

export async function createRegistry(storage: Storage, context: WriteContext): Promise<ImageWriter> {
  return createStore(await rootOf(storage), new RegistryMapping(), context);
}

interface Link {
  readonly kind: 'layer' | 'revision' | 'tag';
  readonly key: string;
  readonly digest: Digest;
  readonly step: Step;
}

/** So many links are known before all are forgotten. */
const MOST_PUT = 16_384;

/** The links that a run put, without their names: most digests are linked in one repository alone. */
class LinksPut {
  readonly #numbers = new Map<string, number>();
  /** By digest, the number of the first repository that has it, and the kind of link. */
  readonly #first = new DigestMap(Float32Array);
  readonly #others = new Set<string>();

  get size(): number {
    return this.#first.size + this.#others.size;
  }

  /** False when it was put before. */
  add(repository: string, { kind, digest, key }: Link): boolean {
    // A tag is written once a run.
    if (kind === 'tag') return true;
    const number = this.#numbers.get(repository) ?? this.#numbers.size;
    this.#numbers.set(repository, number);
    const value = number * 2 + (kind === 'layer' ? 1 : 0);
    const first = this.#first.get(digest);
    if (first === undefined) this.#first.set(digest, value);
    if (first === undefined || first === value || this.#others.has(key)) return first === undefined;
    this.#others.add(key);
    return true;
  }
}

class RegistryMapping implements StoreMapping {
  readonly blobsFolder = BLOBS;
  readonly blobKey = blobPath;
  readonly spread = 'pairs';
  /** Of links that were looked at since the last commit, by key and digest, whether they were there. */
  readonly #said = new Map<string, Promise<boolean>>();
  #put = new LinksPut();
  /** Repositories that are met, and whether they were there then: in a new one no link needs looking at. */
  readonly #wasThere = new Map<string, Promise<boolean>>();

  /** Puts no link of an image before all of them could be looked at. */
  async name(image: ImageToWrite, store: Store) {
    const { repository, tag } = image.name;
    const notes: string[] = [];
    let changed = false;
    for (const node of manifestsOf(image.root)) {
      if (node.manifest.kind !== 'schema1') continue;
      const payload = payloadOf(node);
      if (payload.length < node.bytes.length)
        notes.push('the signatures of the schema 1 manifest stay behind');
      const { digest } = node.descriptor;
      const blob = VerifiedBlob.of(payload, digest, store.context.pool, `manifest ${digest}`);
      if ((await store.blobs.put(blob)) !== 'present') changed = true;
    }
    const links = linksOf(image);
    const isNew = !(await this.#isThere(store.storage, repository));
    const said = isNew ? [] : await Promise.all(links.map((link) => this.#says(store.storage, link)));
    for (const node of manifestsOf(image.root)) store.blobs.keep(node.descriptor.digest);
    for (const [i, link] of links.entries()) {
      if (said[i] === true || !this.#put.add(repository, link)) continue;
      store.transaction.put(link.key, link.digest, link.step);
      changed = true;
    }
    if (tag === undefined) notes.push('stored without a tag: pull it by its digest');
    return { changed, notes };
  }

  async tagged({ repository, tag }: Reference, storage: Storage): Promise<Digest | undefined> {
    if (tag === undefined || !(await this.#isThere(storage, repository))) return undefined;
    // What holds no digest is written anew.
    return readLink(storage, tagLink(repository, tag)).catch(() => undefined);
  }

  async *related(repository: string, storage: Storage): AsyncGenerator<Digest> {
    const tags = (await storage.list(tagsPath(repository))).map(({ name }) => name);
    // Versions that are tagged later have later names.
    for (const tag of tags.reverse()) {
      const digest = await readLink(storage, tagLink(repository, tag)).catch(() => undefined);
      if (digest !== undefined) yield digest;
    }
    yield* digestsIn(storage, revisionsPath(repository));
  }

  commit(): Promise<void> {
    this.#said.clear();
    // What is put is there by now, and can be looked at.
    if (this.#put.size > MOST_PUT) {
      this.#put = new LinksPut();
      this.#wasThere.clear();
    }
    return Promise.resolve();
  }

  #isThere(storage: Storage, repository: string): Promise<boolean> {
    const known =
      this.#wasThere.get(repository) ??
      storage.stat(repositoryPath(repository)).then((stat) => stat !== undefined);
    this.#wasThere.set(repository, known);
    return known;
  }

  #says(storage: Storage, { key, digest }: Link): Promise<boolean> {
    const id = `${key} ${digest}`;
    const known = this.#said.get(id) ?? says(storage, key, digest);
    this.#said.set(id, known);
    return known;
  }
}

/** Layers and configs, then the manifests that name them, members before their index, then the tag. */
function linksOf({ name: { repository, tag }, root, blobs }: ImageToWrite): Link[] {
  const links: Link[] = [];
  for (const { descriptor, manifest } of manifestsOf(root)) {
    for (const digest of blobDigestsOf(manifest))
      if (blobs.has(digest))
        links.push({ kind: 'layer', key: layerLink(repository, digest), digest, step: 'content' });
    const step = manifest.kind === 'index' ? 'index' : 'content';
    const { digest } = descriptor;
    links.push({ kind: 'revision', key: revisionLink(repository, digest), digest, step });
  }
  const { digest } = root.descriptor;
  if (tag !== undefined)
    for (const key of [tagIndexLink(repository, tag, digest), tagLink(repository, tag)])
      links.push({ kind: 'tag', key, digest, step: 'tag' });
  return links;
}

/** A registry keeps what was signed and no signatures (distribution 2.8 signedmanifesthandler.go Put). */
function payloadOf({ bytes, descriptor }: ManifestNode): Uint8Array {
  return manifestPayload(bytes, descriptor.digest);
}

async function says(storage: Storage, key: string, digest: Digest): Promise<boolean> {
  try {
    return (await readLink(storage, key)) === digest;
  } catch (error) {
    if (error instanceof ImgconvError && error.code === 'DIGEST_INVALID') return false;
    // Writing it anew replaces a symbolic link.
    if ((await storage.stat(key))?.kind === 'link') return false;
    throw error;
  }
}
