import { basename } from 'node:path';
import type { ImageReader, SourceImage } from '../formats/format.js';
import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import { blobsOf, membersOf } from '../model/graph.js';
import { ownNameOf } from '../model/oci-layout.js';
import { isRepository } from '../model/reference.js';
import type { Backend, ServedBlob, ServedManifest } from './backend.js';
import { Manifests, referrerEntries } from './manifests.js';
import { NameTable, servedName } from './names.js';

/** Where a blob lies that a manifest names. */
interface Owner {
  readonly image: SourceImage;
  readonly size: number | undefined;
}

/** Archives and folders of directories: what their reader lists, read when the first client asks. */
export class ListedBackend implements Backend {
  readonly writes = undefined;
  readonly #open: () => Promise<ImageReader>;
  readonly #ownName: string;
  readonly #mayGrow: boolean;
  readonly #manifests = new Manifests();
  /** Blobs and members of the manifests that were asked for. */
  readonly #owners = new Map<Digest, Owner>();
  #listing: Promise<Listing> | undefined;
  #relisting: Promise<Listing> | undefined;

  /** `mayGrow`: the place is a folder, which others write to. */
  constructor(path: string, mayGrow: boolean, open: () => Promise<ImageReader>) {
    this.#open = open;
    this.#mayGrow = mayGrow;
    const name = ownNameOf(basename(path)).toLowerCase();
    this.#ownName = isRepository(name) ? name : 'image';
  }

  /** Anew after some time, where others write to the place. */
  async #listed(): Promise<Listing> {
    const known = await this.#listing?.catch(() => undefined);
    if (known !== undefined && (!this.#mayGrow || Date.now() - known.since < FRESH_MS)) return known;
    if (this.#relisting === undefined) {
      const relisting = this.#list();
      this.#relisting = relisting;
      this.#listing = relisting;
      relisting
        .then(() => known?.reader.close())
        .catch(() => undefined)
        .finally(() => (this.#relisting = undefined));
    }
    return this.#relisting;
  }

  async #list(): Promise<Listing> {
    const reader = await this.#open();
    const table = new NameTable<SourceImage>();
    for await (const image of reader.images({ untagged: true })) {
      if ('error' in image) continue;
      const name = servedName(image.name ?? `${this.#ownName}@${image.digest}`);
      if (name !== undefined) table.add(name, image.digest, image);
    }
    return { reader, table: table.seal(), since: Date.now() };
  }

  get atHand(): Backend {
    return this;
  }

  async *repositories(): AsyncGenerator<string> {
    yield* (await this.#listed()).table.repositories;
  }

  async has(repository: string): Promise<boolean> {
    return (await this.#listed()).table.get(repository) !== undefined;
  }

  async tags(repository: string): Promise<Iterable<string>> {
    return (await this.#listed()).table.get(repository)?.tags.keys() ?? [];
  }

  async resolve(repository: string, tag: string): Promise<Digest | undefined> {
    return (await this.#listed()).table.get(repository)?.tags.get(tag);
  }

  /** The image that a tag is. */
  async imageOf(repository: string, tag: string): Promise<SourceImage | undefined> {
    const digest = await this.resolve(repository, tag);
    const names = (await this.#listed()).table.get(repository);
    return digest && names?.revisions.get(digest);
  }

  async manifest(repository: string, digest: Digest): Promise<ServedManifest | undefined> {
    const image = await this.#imageWith(repository, digest);
    const there = image && (await this.#manifests.get(digest, () => image.locate({ digest }, 'manifest')));
    if (image === undefined || there === undefined) return undefined;
    for (const { target } of blobsOf(there.manifest))
      this.#owners.set(target.digest, { image, size: target.size });
    for (const { digest: member, size } of membersOf(there.manifest))
      this.#owners.set(member, { image, size });
    return there;
  }

  /** The image that this is the root of, or an image of the repository that has it. */
  async #imageWith(repository: string, digest: Digest): Promise<SourceImage | undefined> {
    const revisions = (await this.#listed()).table.get(repository)?.revisions;
    const image = revisions?.get(digest) ?? this.#owners.get(digest)?.image;
    if (image !== undefined) return image;
    for (const one of revisions?.values() ?? [])
      if ((await one.locate({ digest }, 'manifest')) !== undefined && (await this.#isMember(one, digest)))
        return one;
    return undefined;
  }

  /** Where all blobs lie in one folder, a digest that is found may be that of anything. */
  async #isMember(image: SourceImage, digest: Digest): Promise<boolean> {
    const root = await this.#manifests.get(image.digest, () =>
      image.locate({ digest: image.digest }, 'manifest'),
    );
    return root !== undefined && membersOf(root.manifest).some((member) => member.digest === digest);
  }

  async blob(repository: string, digest: Digest): Promise<ServedBlob | undefined> {
    const owner = this.#owners.get(digest);
    const images =
      owner === undefined ? (await this.#listed()).table.get(repository)?.revisions.values() : [owner.image];
    for (const image of images ?? []) {
      const at = await image.locate(
        { digest, ...(owner?.size !== undefined && { size: owner.size }) },
        'blob',
      );
      const size = at?.size ?? owner?.size;
      if (at !== undefined && size !== undefined) return { size, at };
    }
    return undefined;
  }

  async referrers(repository: string, digest: Digest): Promise<readonly Descriptor[]> {
    const { reader, table } = await this.#listed();
    const [any] = table.get(repository)?.revisions.values() ?? [];
    if (any === undefined) return [];
    const { images } = await reader.attached(any, new Set([digest]));
    const found = images.flatMap((image) => ('error' in image ? [] : [image]));
    for (const image of found) this.#owners.set(image.digest, { image, size: image.entry?.size });
    return referrerEntries(
      found.map((image) => image.digest),
      (one) => this.manifest(repository, one),
    );
  }

  async close(): Promise<void> {
    const listing = await this.#listing?.catch(() => undefined);
    await listing?.reader.close();
  }
}

/** A folder that others write to is listed again after so many milliseconds. */
const FRESH_MS = 5000;

interface Listing {
  readonly reader: ImageReader;
  readonly table: NameTable<SourceImage>;
  /** When it was made. */
  readonly since: number;
}
