import type { Heap, Link, Repository } from '../formats/heap.js';
import { attachedTo } from '../model/attached.js';
import type { Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { blobDigestsOf } from '../model/manifest.js';
import { readManifest } from '../transfer/resolve.js';

/** What one manifest names. */
interface Edges {
  /** Members of an index. */
  readonly children: readonly Digest[];
  /** Config and layers, or an artifact's blobs. */
  readonly blobs: readonly Digest[];
  readonly subject: Digest | undefined;
}

export interface MarkOptions {
  /** Revisions that nothing with a tag reaches are not roots, unless they are young. */
  readonly untagged: boolean;
  /** What changed after this moment is young: somebody may be about to name it. In milliseconds. */
  readonly since: number;
}

/** What a repository has and nothing reaches. */
export interface Unreached {
  readonly repository: Repository;
  readonly links: readonly Link[];
}

/**
 * What is reached, by role: a digest can be a manifest and a blob of another manifest at once. Only a manifest that was
 * reached as one is followed, so only then is what it names kept.
 */
interface Reached {
  readonly manifests: ReadonlySet<Digest>;
  /** Configs, layers, and blobs of young layer links. */
  readonly blobs: ReadonlySet<Digest>;
}

/**
 * Finds what is reached: from tags and revisions, a manifest's members, config, layers and subject; from a manifest its
 * referrers, by subject or by tag. Manifests are read once, however often `mark` is called.
 */
export class Marker {
  readonly #heap: Heap;
  readonly #options: MarkOptions;
  readonly #known = new Map<Digest, Edges>();
  /** One string for each digest: manifests name the same ones over and over. */
  readonly #digests = new Map<Digest, Digest>();

  constructor(heap: Heap, options: MarkOptions) {
    this.#heap = heap;
    this.#options = options;
  }

  /**
   * All digests that are reached in any repository, and the links of those that are not.
   * @throws ImgconvError when a manifest with a tag or a revision cannot be read: what it names is unknown then
   */
  async mark(): Promise<{ reached: ReadonlySet<Digest>; unreached: Unreached[] }> {
    const reached = new Set<Digest>();
    const unreached: Unreached[] = [];
    for await (const repository of this.#heap.repositories()) {
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
    const manifests = new Set<Digest>();
    const blobs = new Set<Digest>();
    const queue: Digest[] = [];
    const referrers = new Map<Digest, Digest[]>();
    for await (const { tag, digest, path } of repository.tags()) {
      await this.#expect(digest, path);
      queue.push(digest);
      const subject = attachedTo(tag);
      if (subject !== undefined) queue.push(subject);
    }
    for (const { kind, digest, path, changed } of links) {
      if (kind === 'revision') {
        const { subject } = await this.#expect(digest, path);
        const others = subject === undefined ? undefined : referrers.get(subject);
        if (others !== undefined) others.push(digest);
        else if (subject !== undefined) referrers.set(subject, [digest]);
        if (!untagged || changed > since) queue.push(digest);
      }
      // A layer that was pushed just now waits for its manifest, and the blob may be older.
      if (kind === 'layer' && changed > since) blobs.add(this.#one(digest));
    }
    for (let digest = queue.pop(); digest !== undefined; digest = queue.pop()) {
      if (manifests.has(digest)) continue;
      const manifest = await this.#read(digest);
      if (manifest === undefined) continue;
      manifests.add(this.#one(digest));
      for (const blob of manifest.blobs) blobs.add(blob);
      for (const child of manifest.children) queue.push(child);
      for (const referrer of referrers.get(digest) ?? []) queue.push(referrer);
      if (manifest.subject !== undefined) queue.push(manifest.subject);
    }
    return { manifests, blobs };
  }

  #one(digest: Digest): Digest {
    const known = this.#digests.get(digest);
    if (known === undefined) this.#digests.set(digest, digest);
    return known ?? digest;
  }

  async #expect(digest: Digest, path: string): Promise<Edges> {
    const edges = await this.#read(digest);
    if (edges !== undefined) return edges;
    throw new ImgconvError('BLOB_MISSING', `${path}: the manifest that it names, ${digest}, is not there`);
  }

  /** Undefined when it is not there. */
  async #read(digest: Digest): Promise<Edges | undefined> {
    const known = this.#known.get(digest);
    if (known !== undefined) return known;
    const at = await this.#heap.locate(digest);
    if (at === undefined) return undefined;
    const { manifest } = readManifest(at, digest);
    const all = (digests: readonly Digest[]) => [...new Set(digests)].map((one) => this.#one(one));
    const edges: Edges = {
      children: manifest.kind === 'index' ? all(manifest.manifests.map((one) => one.digest)) : [],
      blobs: all(blobDigestsOf(manifest)),
      subject: manifest.kind === 'schema1' ? undefined : manifest.subject?.digest,
    };
    this.#known.set(this.#one(digest), edges);
    return edges;
  }
}
