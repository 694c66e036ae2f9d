import type { BlobStore, Link, Repository } from '../formats/blob-store.js';
import { attachedTo } from '../model/attached.js';
import type { Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { namedBy, reach, type Named, type Reached } from '../model/graph.js';
import { readManifest } from '../proof/manifest.js';

export interface MarkOptions {
  /** Revisions that nothing with a tag reaches are not roots, unless they are young. */
  readonly untagged: boolean;
  /** What changed after this moment, in milliseconds, is young: a tag for it may come. */
  readonly since: number;
}

/** What a repository has and nothing reaches. */
export interface Unreached {
  readonly repository: Repository;
  readonly links: readonly Link[];
}

/**
 * Finds what is reached from tags and revisions, repository by repository. Manifests are read once, however often
 * `mark` is called.
 */
export class Marker {
  readonly #store: BlobStore;
  readonly #options: MarkOptions;
  readonly #known = new Map<Digest, Named>();
  /** One string for each digest: manifests name the same ones over and over. */
  readonly #digests = new Map<Digest, Digest>();

  constructor(store: BlobStore, options: MarkOptions) {
    this.#store = store;
    this.#options = options;
  }

  /**
   * All digests that are reached in any repository, and the links of those that are not.
   * @throws ImgconvError when a manifest with a tag or a revision cannot be read: what it names is unknown then
   */
  async mark(): Promise<{ reached: ReadonlySet<Digest>; unreached: Unreached[] }> {
    const reached = new Set<Digest>();
    const unreached: Unreached[] = [];
    for await (const repository of this.#store.repositories()) {
      const links: Link[] = [];
      for await (const link of repository.links()) links.push(link);
      const { manifests, blobs } = await this.#reach(repository, links);
      for (const digest of manifests) reached.add(digest);
      for (const digest of blobs) reached.add(digest);
      const left = links.filter(
        ({ kind, digest, changed }) =>
          !(kind === 'layer' ? blobs : manifests).has(digest) && changed <= this.#options.since,
      );
      if (left.length > 0) unreached.push({ repository, links: left });
    }
    return { reached, unreached: unreached.flatMap((one) => this.#deletable(one, reached)) };
  }

  /** A link to a layer stays while any repository needs the layer, as in Distribution: it may be asked for once more. */
  #deletable({ repository, links }: Unreached, reached: ReadonlySet<Digest>): Unreached[] {
    const revisions = new Set(links.filter(({ kind }) => kind === 'revision').map(({ digest }) => digest));
    const left = links.filter(({ kind, digest }) =>
      kind === 'layer' ? !reached.has(digest) : kind === 'revision' || revisions.has(digest),
    );
    return left.length === 0 ? [] : [{ repository, links: left }];
  }

  async #reach(repository: Repository, links: readonly Link[]): Promise<Reached> {
    const { untagged, since } = this.#options;
    const roots: Digest[] = [];
    const referrers = new Map<Digest, Digest[]>();
    for await (const { tag, digest, path } of repository.tags()) {
      await this.#expect(digest, path);
      roots.push(this.#one(digest));
      const subject = attachedTo(tag);
      if (subject !== undefined) roots.push(this.#one(subject));
    }
    for (const { kind, digest, path, changed } of links) {
      if (kind !== 'revision') continue;
      const { subject } = await this.#expect(digest, path);
      const others = subject === undefined ? undefined : referrers.get(subject);
      if (others !== undefined) others.push(this.#one(digest));
      else if (subject !== undefined) referrers.set(subject, [this.#one(digest)]);
      if (!untagged || changed > since) roots.push(this.#one(digest));
    }
    const reached = await reach(
      roots,
      (digest) => this.#read(digest),
      (subject) => referrers.get(subject) ?? [],
    );
    // A layer that was pushed just now waits for its manifest, and the blob may be older.
    for (const { kind, digest, changed } of links)
      if (kind === 'layer' && changed > since) reached.blobs.add(this.#one(digest));
    return reached;
  }

  readonly #one = (digest: Digest): Digest => {
    const known = this.#digests.get(digest);
    if (known === undefined) this.#digests.set(digest, digest);
    return known ?? digest;
  };

  async #expect(digest: Digest, path: string): Promise<Named> {
    const known = await this.#read(digest);
    if (known !== undefined) return known;
    throw new ImgconvError('BLOB_MISSING', `${path}: the manifest that it names, ${digest}, is not there`);
  }

  /** Undefined when it is not there. */
  async #read(digest: Digest): Promise<Named | undefined> {
    const known = this.#known.get(digest);
    if (known !== undefined) return known;
    const at = await this.#store.locate(digest);
    if (at === undefined) return undefined;
    const named = namedBy(readManifest(at, { digest }).manifest, this.#one);
    this.#known.set(this.#one(digest), named);
    return named;
  }
}
