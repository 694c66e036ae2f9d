import type { Place } from '../formats/table.js';
import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import { convert } from '../transfer/convert.js';
import type { Backend, ServedBlob, ServedManifest } from './backend.js';
import type { ListedBackend } from './listed-backend.js';

/**
 * Images whose layers are compressed: each is converted into a cache when a client asks for its tag first, as tar2reg
 * --compression gzip does, and served from there.
 */
export class CompressedBackend implements Backend {
  readonly writes = undefined;
  readonly #from: Place;
  readonly #listed: ListedBackend;
  readonly #cache: Backend;
  readonly #cachePlace: Place;
  readonly #converting = new Map<string, Promise<void>>();

  constructor(from: Place, listed: ListedBackend, cachePlace: Place, cache: Backend) {
    this.#from = from;
    this.#listed = listed;
    this.#cachePlace = cachePlace;
    this.#cache = cache;
  }

  get atHand(): Backend {
    return this.#cache;
  }

  repositories(): AsyncIterable<string> {
    return this.#listed.repositories();
  }

  has(repository: string): Promise<boolean> {
    return this.#listed.has(repository);
  }

  tags(repository: string): Promise<Iterable<string>> {
    return this.#listed.tags(repository);
  }

  async resolve(repository: string, tag: string): Promise<Digest | undefined> {
    const image = await this.#listed.imageOf(repository, tag);
    if (image?.name === undefined) return undefined;
    const rename = `${repository}:${tag}`;
    // Another image under the name is another conversion.
    const key = `${rename} ${image.digest}`;
    const known = this.#converting.get(key) ?? this.#convert(image.name, rename);
    this.#converting.set(key, known);
    // What failed is tried again.
    known.catch(() => this.#converting.delete(key));
    await known;
    return this.#cache.resolve(repository, tag);
  }

  async #convert(text: string, rename: string): Promise<void> {
    const selectors = [{ text, rename, where: 'serve' }];
    const { images } = await convert(this.#from, this.#cachePlace, {
      selectors,
      compression: 'gzip',
      extras: false,
    });
    for (const { error } of images) if (error !== undefined) throw error;
  }

  manifest(repository: string, digest: Digest): Promise<ServedManifest | undefined> {
    return this.#cache.manifest(repository, digest);
  }

  blob(repository: string, digest: Digest): Promise<ServedBlob | undefined> {
    return this.#cache.blob(repository, digest);
  }

  referrers(repository: string, digest: Digest): Promise<readonly Descriptor[]> {
    return this.#cache.referrers(repository, digest);
  }

  async close(): Promise<void> {
    await this.#listed.close();
    await this.#cache.close();
  }
}
