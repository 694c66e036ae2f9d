import { inOrder } from '../../bytes/in-order.js';
import type { Bytes, MemoryBytes, RemoteBytes } from '../../bytes/region.js';
import { COSIGN_SUFFIXES, referrersTag } from '../../model/attached.js';
import type { Descriptor } from '../../model/descriptor.js';
import { isDigest, type Digest } from '../../model/digest.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { membersOf } from '../../model/graph.js';
import { parseManifest } from '../../model/manifest.js';
import { isForeignLayer } from '../../model/media-type.js';
import { parseReference, splitReference } from '../../model/reference.js';
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
import { AskedImages, type Asked } from './asked.js';
import { Client, repositoryText, type Repository, type ServedManifest } from './client.js';
import { Hosts } from './hosts.js';
import { expectWithin } from './pages.js';
import { canonicalName, registryPathOf, type RegistryPath } from './paths.js';

/** Images whose manifests are fetched ahead. */
const AHEAD = 8;
/** Manifests are kept until they are asked for again, all of them together up to this size. */
const MAX_KEPT = 64 * 1024 * 1024;
/** Of each besides its bytes. */
const LEAST_KEPT = 1024;

export function openDocker(path: string, context: ReadContext): Promise<ImageReader> {
  return Promise.resolve(new DockerReader(path, context));
}

/** Their names are held in memory. */
const MAX_IMAGES = 2_000_000;
/** Larger indexes than those of one image: their members are fetched when they are asked for. */
const MAX_FETCHED = 100;

class DockerReader implements ImageReader {
  readonly audit = NOTHING_OF_ITS_OWN;
  readonly #path: RegistryPath;
  readonly #context: ReadContext;
  readonly #hosts: Hosts;
  readonly #client: Client;
  readonly #manifests = new Map<string, Promise<ServedManifest | undefined>>();
  #kept = 0;

  constructor(path: string, context: ReadContext) {
    this.#path = registryPathOf(path);
    this.#context = context;
    this.#hosts = new Hosts(context.access, context.pool.signal);
    this.#client = new Client(this.#hosts);
  }

  async *images({ wanted }: ListOptions): AsyncGenerator<SourceImage | UnreadableImage> {
    const seen = new Set<string>();
    const asked = new AskedImages(this.#path, this.#client).list(wanted);
    const images = inOrder(asked, AHEAD, (one) => this.#find(one));
    for await (const image of images) {
      if (image === undefined || seen.has(image.name ?? '')) continue;
      seen.add(image.name ?? '');
      expectWithin(seen.size, MAX_IMAGES, 'images', `docker://${this.#path.host ?? ''}`);
      yield image;
    }
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

  /** Fetches the members of an index while others are waited for. */
  #fetchMembers(from: Repository, { bytes }: ServedManifest): void {
    try {
      const members = membersOf(parseManifest(bytes, ''));
      if (members.length > MAX_FETCHED) return;
      for (const { digest } of members) this.#manifest(from, digest).catch(() => undefined);
    } catch {
      // Reported when the manifest is read.
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

  /** Without fetching what the target has: a HEAD gives the digest of a tag. */
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
    // Schema 1 has no sizes; foreign layers are seldom in the registry.
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
            retry: this.#hosts.retry,
            open: (offset) => this.#client.openBlob(from, blob, offset),
          },
          onBytes,
        ),
    };
  }

  /**
   * By the referrers API where there is one, by the referrers tag, and by cosign's tags. If only the mirror of the
   * registry can be reached, a note says so.
   */
  async attached({ name = '' }: SourceImage, digests: ReadonlySet<Digest>): Promise<Attached> {
    const from = canonicalName(splitReference(name).name);
    const notes = new Set<string>();
    const look = async (looking: Promise<SourceImage[]>) => {
      try {
        return await looking;
      } catch (error) {
        const lost = error instanceof ImgconvError && error.code === 'NETWORK';
        if (!lost || !this.#hosts.isBehindMirror(from.host)) throw error;
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
    const images = [...found.flatMap((one) => one.tagged), ...found.flatMap((one) => one.untagged)];
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
    return this.#hosts.close();
  }
}
