import type { ImageReader, SourceImage } from '../formats/format.js';
import { withTags } from '../formats/docker/tags.js';
import type { RegistryAccess } from '../formats/access.js';
import { localOf } from '../bytes/region.js';
import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { blobsOf, membersOf } from '../model/graph.js';
import { readManifest } from '../proof/manifest.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import type { Backend, ServedBlob, ServedManifest, WritableBackend } from './backend.js';

export interface MirrorOptions {
  /** `HOST/` and what else goes before names; empty for names that begin with their host. */
  readonly before: string;
  readonly open: () => Promise<ImageReader>;
  readonly access: RegistryAccess;
  readonly pool: Pool;
  /** Called when a blob is in the cache, and the file that it was downloaded to is needed no more. */
  readonly fetched: (digest: Digest) => void;
  /** What was fetched stays there. */
  readonly cache: Backend & { readonly writes: WritableBackend };
}

/** A tag is not asked for again for so long, in milliseconds. */
const FRESH_MS = 60_000;

interface Tag {
  readonly digest: Digest | undefined;
  readonly since: number;
}

/** So many tags are remembered. */
const REMEMBERED = 10_000;

/**
 * Another registry, of which what clients ask for is fetched once and kept. Tags are asked for each minute; while the
 * registry cannot be reached, those of the cache hold.
 */
export class MirrorBackend implements Backend {
  readonly writes = undefined;
  readonly #options: MirrorOptions;
  readonly #tags = new Map<string, Promise<Tag>>();
  /** The images that name a blob or a manifest, and its size. */
  readonly #owners = new Map<Digest, { readonly image: SourceImage; readonly size: number | undefined }>();
  readonly #fetching = new Map<string, Promise<void>>();
  /** A manifest of each repository: by way of its image blobs can be had that no known manifest names. */
  readonly #any = new Map<string, Digest>();
  #reader: Promise<ImageReader> | undefined;

  constructor(options: MirrorOptions) {
    this.#options = options;
  }

  repositories(): AsyncIterable<string> {
    return this.#options.cache.repositories();
  }

  async has(repository: string): Promise<boolean> {
    if (await this.#options.cache.has(repository)) return true;
    return [...(await this.tags(repository))].length > 0;
  }

  async tags(repository: string): Promise<Iterable<string>> {
    const { access, pool, before, cache } = this.#options;
    const name = `${before}${repository}`;
    try {
      return (await withTags(access, pool.signal, (tags) => tags(name))) ?? [];
    } catch (error) {
      if (isLost(error)) return cache.tags(repository);
      if (error instanceof ImgconvError && error.code === 'UNAUTHORIZED') return [];
      throw error;
    }
  }

  /** The image that a reader finds; undefined where the registry has none, or does not let us see it. */
  async #find(reader: ImageReader, name: string): Promise<SourceImage | undefined> {
    const wanted = [`${this.#options.before}${name}`];
    for await (const image of reader.images({ untagged: name.includes('@'), wanted })) {
      if (!('error' in image)) return image;
      // Docker Hub and quay.io say so of repositories that are not there.
      if (image.error.code !== 'NOT_FOUND' && image.error.code !== 'UNAUTHORIZED') throw image.error;
    }
    return undefined;
  }

  /** By digest: that never changes, so that one reader serves all the time. */
  async #imageAt(repository: string, digest: Digest): Promise<SourceImage | undefined> {
    this.#reader ??= this.#options.open();
    return this.#find(await this.#reader, `${repository}@${digest}`);
  }

  /** A reader keeps what tags are: a new one asks again. */
  async #digestOf(name: string): Promise<Tag> {
    const reader = await this.#options.open();
    try {
      return { digest: (await this.#find(reader, name))?.digest, since: Date.now() };
    } finally {
      await reader.close();
    }
  }

  async resolve(repository: string, tag: string): Promise<Digest | undefined> {
    const name = `${repository}:${tag}`;
    const known = await this.#tags.get(name)?.catch(() => undefined);
    const isFresh = known !== undefined && Date.now() - known.since < FRESH_MS;
    if (isFresh) return known.digest;
    if (this.#tags.size >= REMEMBERED) this.#tags.clear();
    const asking = this.#digestOf(name);
    this.#tags.set(name, asking);
    try {
      const { digest } = await asking;
      if (digest !== undefined) await this.#keep(repository, digest, [tag]);
      return digest;
    } catch (error) {
      this.#tags.delete(name);
      const kept = isLost(error) ? await this.#options.cache.resolve(repository, tag) : undefined;
      if (kept === undefined) throw error;
      return kept;
    }
  }

  async manifest(repository: string, digest: Digest): Promise<ServedManifest | undefined> {
    const { cache } = this.#options;
    const kept = await cache.manifest(repository, digest);
    if (kept === undefined) await this.#keep(repository, digest, []);
    const there = kept ?? (await cache.manifest(repository, digest));
    if (there !== undefined) this.#any.set(repository, digest);
    return there;
  }

  /** Puts a manifest into the cache. */
  async #keep(repository: string, digest: Digest, tags: readonly string[]): Promise<void> {
    const { cache } = this.#options;
    const isThere = await Promise.all(
      tags.map(async (tag) => (await cache.resolve(repository, tag)) === digest),
    );
    if (isThere.every(Boolean) && (await cache.manifest(repository, digest)) !== undefined) return;
    await this.#once(`${repository}@${digest} ${tags.join(' ')}`, async () => {
      const image = this.#owners.get(digest)?.image ?? (await this.#imageAt(repository, digest));
      const at = await image?.locate({ digest }, 'manifest');
      if (image === undefined || at === undefined || at.kind === 'rebuilt') return;
      const { bytes, manifest } = readManifest(await localOf(at), { digest });
      this.#note({ bytes, manifest }, image);
      await cache.writes.putManifest(repository, { digest, bytes, manifest }, tags);
    });
  }

  #note({ manifest }: ServedManifest, image: SourceImage): void {
    for (const { target } of blobsOf(manifest)) this.#owners.set(target.digest, { image, size: target.size });
    for (const { digest, size } of membersOf(manifest)) this.#owners.set(digest, { image, size });
  }

  async #once(key: string, work: () => Promise<void>): Promise<void> {
    const known = this.#fetching.get(key) ?? work().finally(() => this.#fetching.delete(key));
    this.#fetching.set(key, known);
    return known;
  }

  async blob(repository: string, digest: Digest): Promise<ServedBlob | undefined> {
    const { cache, pool, fetched } = this.#options;
    const kept = await cache.blob(repository, digest);
    if (kept !== undefined) return kept;
    const any = this.#any.get(repository);
    const owner = this.#owners.get(digest);
    if (owner === undefined && any === undefined) return undefined;
    await this.#once(digest, async () => {
      // Another repository may have fetched it.
      if (await cache.writes.mount(repository, digest, undefined)) return;
      const image = owner?.image ?? (any && (await this.#imageAt(repository, any)));
      const size = owner?.size;
      const at = await image?.locate({ digest, ...(size !== undefined && { size }) }, 'blob');
      if (at?.size === undefined) return;
      await cache.writes.putBlob(repository, VerifiedBlob.at(at, { digest, size: at.size }, pool));
      fetched(digest);
    });
    // It may have been fetched for another repository meanwhile.
    const there = await cache.blob(repository, digest);
    if (there !== undefined || !(await cache.writes.mount(repository, digest, undefined))) return there;
    return cache.blob(repository, digest);
  }

  async referrers(repository: string, digest: Digest): Promise<readonly Descriptor[]> {
    const { cache } = this.#options;
    const subject = await this.#imageAt(repository, digest).catch(() => undefined);
    const reader = await this.#reader;
    const found = subject && (await reader?.attached(subject, new Set([digest])).catch(() => undefined));
    for (const image of found?.images ?? []) {
      if ('error' in image) continue;
      this.#owners.set(image.digest, { image, size: image.entry?.size });
      await this.#keep(repository, image.digest, []);
    }
    return cache.referrers(repository, digest);
  }

  get atHand(): Backend {
    return this.#options.cache;
  }

  async close(): Promise<void> {
    await this.#reader?.then((one) => one.close()).catch(() => undefined);
    await this.#options.cache.close();
  }
}

/** The registry cannot be reached, as opposed to its saying no. */
function isLost(error: unknown): boolean {
  return error instanceof ImgconvError && error.code === 'NETWORK';
}
