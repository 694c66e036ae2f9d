import { inOrder } from '../../bytes/in-order.js';
import type { Bytes, MemoryBytes, RemoteBytes } from '../../bytes/region.js';
import { COSIGN_SUFFIXES, referrersTag } from '../../model/attached.js';
import type { Descriptor } from '../../model/descriptor.js';
import { isDigest, type Digest } from '../../model/digest.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { globMatcher } from '../../model/glob.js';
import { membersOf } from '../../model/graph.js';
import { parseManifest } from '../../model/manifest.js';
import { isForeignLayer } from '../../model/media-type.js';
import {
  choiceOf,
  isGlob,
  isRepository,
  isTag,
  parseReference,
  splitHost,
  splitReference,
} from '../../model/reference.js';
import { NOTHING_OF_ITS_OWN } from '../audit.js';
import type {
  Attached,
  ImageReader,
  ListOptions,
  Located,
  ReadContext,
  SourceImage,
  UnreadableImage,
} from '../format.js';
import { Client, repositoryText, type Repository, type ServedManifest } from './client.js';
import { expectWithin } from './pages.js';
import { canonicalName, hostOfWanted, placeOfPath, type RegistryPlace } from './paths.js';

/** Images whose manifests are fetched ahead. */
const AHEAD = 8;
/** Manifests are kept until they are asked for again, all of them together up to this size. */
const MAX_KEPT = 64 * 1024 * 1024;
/** What one takes in memory besides its bytes. */
const LEAST_KEPT = 1024;

export function openDocker(path: string, context: ReadContext): Promise<ImageReader> {
  return Promise.resolve(new DockerReader(path, context));
}

/** Their names are held, of a whole registry with all its repositories. */
const MAX_IMAGES = 2_000_000;
/** An index of one image has no more members; those of others come when they are asked for. */
const MAX_FETCHED = 100;

type IsMeant = (tag: string, name: string) => boolean;

/** An image that is asked for: its repository, and the tag or digest to get it by. */
interface Asked {
  readonly from: Repository;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
  /** Was said by the user, so that it may not be there. */
  readonly said: boolean;
}

class DockerReader implements ImageReader {
  readonly audit = NOTHING_OF_ITS_OWN;
  readonly #place: RegistryPlace;
  readonly #context: ReadContext;
  readonly #client: Client;
  readonly #manifests = new Map<string, Promise<ServedManifest | undefined>>();
  #kept = 0;

  constructor(path: string, context: ReadContext) {
    this.#place = placeOfPath(path);
    this.#context = context;
    this.#client = new Client(context.access, context.pool.signal);
  }

  async *images({ wanted }: ListOptions): AsyncGenerator<SourceImage | UnreadableImage> {
    const seen = new Set<string>();
    const images = inOrder(this.#asked(wanted), AHEAD, (asked) => this.#find(asked));
    for await (const image of images) {
      if (image === undefined || seen.has(image.name ?? '')) continue;
      seen.add(image.name ?? '');
      expectWithin(seen.size, MAX_IMAGES, 'images', `docker://${this.#place.host ?? ''}`);
      yield image;
    }
  }

  /** Registries are asked for what is wanted alone: a list of everything can be very long, or not be had. */
  async *#asked(wanted: readonly string[] | undefined): AsyncGenerator<Asked> {
    const { host, below, isPrefix } = this.#place;
    if (wanted !== undefined) {
      for (const text of wanted) {
        // A registry has no list of its own to find a digest or a number in.
        if (choiceOf(text) === undefined) yield* isGlob(text) ? this.#matching(text) : this.#exact(text);
      }
      return;
    }
    if (host === undefined)
      throw new ImgconvError('USAGE', 'docker:// alone needs references to images', {
        hint: 'or name a registry, docker://HOST, or a repository, docker://HOST/REPOSITORY',
      });
    const from = { host, repository: below };
    const tags = isPrefix ? undefined : await this.#client.tags(from);
    if (tags !== undefined) yield* asTags(from, tags);
    else yield* this.#allBelow(host, below, () => true);
  }

  async *#allBelow(host: string, below: string, isMeant: IsMeant): AsyncGenerator<Asked> {
    for await (const repository of this.#client.catalog(host)) {
      if (!isRepository(repository) || !isBelow(repository, below)) continue;
      const from = { host, repository };
      const tags = (await this.#client.tags(from)) ?? [];
      yield* asTags(
        from,
        tags.filter((tag) => isMeant(tag, `${host}/${repository}:${tag}`)),
      );
    }
  }

  *#exact(text: string): Generator<Asked> {
    const { name, tag, digest } = splitReference(text);
    const from = this.#repository(name);
    if (from === undefined) return;
    yield { from, tag: tag ?? (digest === undefined ? 'latest' : undefined), digest, said: true };
  }

  /** Where a name leads from this place; undefined when out of it. */
  #repository(name: string): Repository | undefined {
    const { host, below } = this.#place;
    if (host === undefined) return canonicalName(name);
    const own = splitHost(name);
    const { repository } = canonicalName(own.host === undefined ? `${host}/${name}` : name);
    const sameHost = own.host === undefined || canonicalName(name).host === host;
    return sameHost && isBelow(repository, below) ? { host, repository } : undefined;
  }

  /** A glob is answered from one repository's tags where it names the repository, else from the catalog. */
  async *#matching(text: string): AsyncGenerator<Asked> {
    const match = globMatcher(text);
    const isMeant: IsMeant = (tag, name) => isTag(tag) && match(name);
    const { name, tag } = splitReference(text);
    if (!isGlob(name) && tag !== undefined) {
      const from = this.#repository(name);
      const tags = from && (await this.#client.tags(from));
      if (from !== undefined && tags !== undefined)
        yield* asTags(
          from,
          tags.filter((one) => isMeant(one, `${from.host}/${from.repository}:${one}`)),
        );
      return;
    }
    const { host = hostOfWanted(text), below } = this.#place;
    if (host === undefined)
      throw new ImgconvError('USAGE', `${text}: says no registry to look for such images in`, {
        hint: 'begin with its host: HOST/…',
      });
    yield* this.#allBelow(host, below, isMeant);
  }

  /** The image with its manifest; undefined when one that was asked for is not there. */
  async #find({ from, tag, digest, said }: Asked): Promise<SourceImage | UnreadableImage | undefined> {
    const suffix = tag === undefined ? `@${digest ?? ''}` : `:${tag}`;
    const name = `${from.host}/${from.repository}${suffix}`;
    const where = `${repositoryText(from)}${suffix}`;
    try {
      parseReference(`${name}${tag !== undefined && digest !== undefined ? `@${digest}` : ''}`);
      const served = await this.#manifest(from, digest ?? tag ?? '');
      if (served !== undefined) return this.#image(from, name, served, tag === undefined);
      if (said) return undefined;
      throw new ImgconvError('BLOB_MISSING', `${where}: listed, but its manifest is not there`);
    } catch (error) {
      return { name, where, error: asImgconvError(error, where) };
    }
  }

  #image(from: Repository, name: string, served: ServedManifest, untagged: boolean): SourceImage {
    this.#fetchMembers(from, served);
    return {
      name,
      where: `docker://${name}`,
      digest: served.digest,
      untagged,
      locate: (wanted, as) =>
        as === 'manifest' ? this.#manifestAt(from, wanted) : this.#blobAt(from, wanted),
      provesDiffIds: false,
      signatures: [],
      warnings: [],
    };
  }

  /** An index is of no use without its members: they come while others are waited for. */
  #fetchMembers(from: Repository, { bytes }: ServedManifest): void {
    try {
      const members = membersOf(parseManifest(bytes, ''));
      if (members.length > MAX_FETCHED) return;
      for (const { digest } of members) this.#manifest(from, digest).catch(() => undefined);
    } catch {
      // Whoever reads it will be told.
    }
  }

  #manifest(from: Repository, reference: string): Promise<ServedManifest | undefined> {
    const key = `${repositoryText(from)} ${reference}`;
    const known = this.#manifests.get(key);
    if (known !== undefined) return known;
    const fetching = this.#fetchManifest(from, reference);
    this.#manifests.set(key, fetching);
    fetching.then(
      (served) => {
        if (served === undefined) {
          this.#manifests.delete(key);
          return;
        }
        this.#kept += Math.max(served.bytes.length, LEAST_KEPT);
        if (this.#kept > MAX_KEPT) {
          this.#manifests.clear();
          this.#kept = 0;
        } else this.#manifests.set(`${repositoryText(from)} ${served.digest}`, fetching);
      },
      () => this.#manifests.delete(key),
    );
    return fetching;
  }

  /** What the target has is not asked for: a HEAD says which manifest a tag stands for. */
  async #fetchManifest(from: Repository, reference: string): Promise<ServedManifest | undefined> {
    const { held } = this.#context;
    if (held === undefined) return this.#client.manifest(from, reference);
    const head = isDigest(reference)
      ? { digest: reference }
      : await this.#client.headManifest(from, reference);
    if (head === undefined) return undefined;
    const bytes = head.digest && (await held(head.digest));
    if (head.digest !== undefined && bytes !== undefined) return { bytes, digest: head.digest };
    return this.#client.manifest(from, reference);
  }

  async #manifestAt(from: Repository, { digest }: Located): Promise<MemoryBytes | undefined> {
    const served = await this.#manifest(from, digest);
    if (served === undefined) return undefined;
    const { bytes } = served;
    return { kind: 'memory', path: `${repositoryText(from)}@${digest}`, size: bytes.length, bytes };
  }

  async #blobAt(from: Repository, { digest, size, mediaType = '' }: Located): Promise<Bytes | undefined> {
    if (size !== undefined && !isForeignLayer(mediaType)) return this.#remote(from, digest, size);
    // Schema 1 says no sizes; foreign layers are seldom in the registry.
    const there = await this.#client.blobSize(from, digest);
    return there === undefined ? undefined : this.#remote(from, digest, size ?? there);
  }

  #remote(from: Repository, digest: Digest, size: number): RemoteBytes {
    const blob = { digest, size };
    const where = `${repositoryText(from)}@${digest}`;
    return {
      kind: 'remote',
      path: where,
      size,
      holder: from,
      stage: (onBytes) =>
        this.#context.downloads.fetch(
          blob,
          {
            where,
            retry: this.#client.retry,
            open: (offset) => this.#client.openBlob(from, blob, offset),
          },
          onBytes,
        ),
    };
  }

  /**
   * By the referrers API where there is one, by the referrers tag, and by cosign's tags. What a mirror does not have is
   * not missed where there is no way to the registry itself.
   */
  async attached({ name = '' }: SourceImage, digests: ReadonlySet<Digest>): Promise<Attached> {
    const from = canonicalName(splitReference(name).name);
    const notes = new Set<string>();
    const look = async (looking: Promise<SourceImage[]>) => {
      try {
        return await looking;
      } catch (error) {
        const lost = error instanceof ImgconvError && error.code === 'NETWORK';
        if (!lost || !this.#client.isBehindMirror(from.host)) throw error;
        notes.add(`${from.host} cannot be reached: of what is attached only what its mirror has comes along`);
        return [];
      }
    };
    const found = await Promise.all(
      [...digests].map(async (digest) => {
        const tag = referrersTag(digest);
        const tags = ['', ...COSIGN_SUFFIXES].map((suffix) => look(this.#tagged(from, `${tag}${suffix}`)));
        const [tagged, untagged] = await Promise.all([
          Promise.all(tags),
          look(this.#referring(from, digest)),
        ]);
        return { tagged: tagged.flat(), untagged };
      }),
    );
    const images = [...found.flatMap(({ tagged }) => tagged), ...found.flatMap(({ untagged }) => untagged)];
    return { images, notes: [...notes] };
  }

  async #referring(from: Repository, digest: Digest): Promise<SourceImage[]> {
    const referrers = (await this.#client.referrers(from, digest)) ?? [];
    const found = await Promise.all(referrers.map((descriptor) => this.#untagged(from, descriptor)));
    return found.flat();
  }

  async #tagged(from: Repository, tag: string): Promise<SourceImage[]> {
    if ((await this.#client.headManifest(from, tag)) === undefined) return [];
    const served = await this.#manifest(from, tag);
    return served === undefined
      ? []
      : [this.#image(from, `${from.host}/${from.repository}:${tag}`, served, false)];
  }

  async #untagged(from: Repository, { digest, mediaType, size }: Descriptor): Promise<SourceImage[]> {
    const served = await this.#manifest(from, digest);
    if (served === undefined) return [];
    const image = this.#image(from, `${from.host}/${from.repository}@${digest}`, served, true);
    return [{ ...image, entry: { mediaType, size } }];
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

function* asTags(from: Repository, tags: readonly string[]): Generator<Asked> {
  for (const tag of tags) yield { from, tag, digest: undefined, said: false };
}

function isBelow(repository: string, below: string): boolean {
  return below === '' || repository === below || repository.startsWith(`${below}/`);
}
