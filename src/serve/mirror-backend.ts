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
  /** What was fetched stays there. */
  /** Called when a blob is in the cache, and the file that it was downloaded to is needed no more. */
  readonly fetched: (digest: Digest) => void;
  readonly cache: Backend & { readonly writes: WritableBackend };
}

/** A tag is not asked for again for so long, in milliseconds. */
const FRESH_MS = 60_000;

interface Tag {
  readonly image: SourceImage | undefined;
  readonly since: number;
}

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
  readonly #readers: { readonly reader: Promise<ImageReader>; readonly since: number }[] = [];

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
      throw error;
    }
  }

  /** Manifests are kept by a reader: a new one asks again. */
  #reader(): Promise<ImageReader> {
    const [newest] = this.#readers;
    if (newest !== undefined && Date.now() - newest.since < FRESH_MS) return newest.reader;
    const reader = this.#options.open();
    this.#readers.unshift({ reader, since: Date.now() });
    // Answers of the one before may be under way.
    for (const old of this.#readers.splice(2))
      void old.reader.then((one) => one.close()).catch(() => undefined);
    return reader;
  }

  async #find(name: string): Promise<SourceImage | undefined> {
    const reader = await this.#reader();
    const wanted = [`${this.#options.before}${name}`];
    for await (const image of reader.images({ untagged: name.includes('@'), wanted })) {
      if (!('error' in image)) return image;
      if (image.error.code !== 'NOT_FOUND') throw image.error;
    }
    return undefined;
  }

  async resolve(repository: string, tag: string): Promise<Digest | undefined> {
    const name = `${repository}:${tag}`;
    const known = await this.#tags.get(name)?.catch(() => undefined);
    const isOld = known === undefined || Date.now() - known.since >= FRESH_MS;
    const asking = isOld ? this.#find(name).then((image) => ({ image, since: Date.now() })) : undefined;
    if (asking !== undefined) this.#tags.set(name, asking);
    try {
      const { image } = (await asking) ?? known ?? {};
      if (image === undefined) return undefined;
      await this.#keep(repository, image.digest, image, [tag]);
      return image.digest;
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
    if (kept !== undefined) return kept;
    const image = this.#owners.get(digest)?.image ?? (await this.#find(`${repository}@${digest}`));
    if (image === undefined) return undefined;
    await this.#keep(repository, digest, image, []);
    return cache.manifest(repository, digest);
  }

  /** Puts a manifest into the cache, and notes what it names. */
  async #keep(
    repository: string,
    digest: Digest,
    image: SourceImage,
    tags: readonly string[],
  ): Promise<void> {
    const { cache } = this.#options;
    const isThere = await Promise.all(
      tags.map(async (tag) => (await cache.resolve(repository, tag)) === digest),
    );
    const kept = await cache.manifest(repository, digest);
    if (kept !== undefined) this.#note(kept, image);
    if (kept !== undefined && isThere.every(Boolean)) return;
    await this.#once(`${repository}@${digest} ${tags.join(' ')}`, async () => {
      const at = await image.locate({ digest }, 'manifest');
      if (at === undefined || at.kind === 'rebuilt') return;
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
    const owner = this.#owners.get(digest);
    if (kept !== undefined || owner === undefined) return kept;
    await this.#once(digest, async () => {
      // Another repository may have fetched it.
      if (await cache.writes.mount(repository, digest, undefined)) return;
      const at = await owner.image.locate(
        { digest, ...(owner.size !== undefined && { size: owner.size }) },
        'blob',
      );
      if (at?.size === undefined) return;
      await cache.writes.putBlob(repository, VerifiedBlob.at(at, { digest, size: at.size }, pool));
      fetched(digest);
    });
    return cache.blob(repository, digest);
  }

  async referrers(repository: string, digest: Digest): Promise<readonly Descriptor[]> {
    const { cache } = this.#options;
    const subject =
      this.#owners.get(digest)?.image ?? (await this.#find(`${repository}@${digest}`).catch(() => undefined));
    const found =
      subject && (await (await this.#reader()).attached(subject, new Set([digest])).catch(() => undefined));
    for (const image of found?.images ?? [])
      if (!('error' in image)) await this.#keep(repository, image.digest, image, []);
    return cache.referrers(repository, digest);
  }

  async close(): Promise<void> {
    for (const { reader } of this.#readers) await reader.then((one) => one.close()).catch(() => undefined);
    await this.#options.cache.close();
  }
}

/** The registry cannot be reached, as opposed to its saying no. */
function isLost(error: unknown): boolean {
  return error instanceof ImgconvError && error.code === 'NETWORK';
}
