import { localOf, type Bytes } from '../bytes/region.js';
import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import { membersOf, subjectOf } from '../model/graph.js';
import type { Manifest } from '../model/manifest.js';
import { readManifest } from '../proof/manifest.js';
import type { ServedManifest } from './backend.js';

/** Manifests kept in memory, in bytes. */
const KEPT = 32 * 1024 * 1024;

/** Manifests by digest: each is read and proved once, and kept while there is room. */
export class Manifests {
  readonly #kept = new Map<Digest, ServedManifest>();
  #bytes = 0;

  /** Undefined when `locate` finds nothing. @throws ImgconvError when it is damaged */
  async get(
    digest: Digest,
    locate: () => Bytes | undefined | Promise<Bytes | undefined>,
  ): Promise<ServedManifest | undefined> {
    const known = this.#kept.get(digest);
    if (known !== undefined) return known;
    const at = await locate();
    if (at === undefined || at.kind === 'rebuilt') return undefined;
    const { bytes, manifest } = readManifest(await localOf(at), { digest });
    const read = { bytes, manifest };
    this.#keep(digest, read);
    return read;
  }

  #keep(digest: Digest, one: ServedManifest): void {
    this.#kept.set(digest, one);
    this.#bytes += one.bytes.length;
    for (const [oldest, { bytes }] of this.#kept) {
      if (this.#bytes <= KEPT) break;
      this.#kept.delete(oldest);
      this.#bytes -= bytes.length;
    }
  }
}

/** The entry of a referrer in the list of referrers (OCI distribution-spec v1.1, "Listing Referrers"). */
function referrerEntry(digest: Digest, { bytes, manifest }: ServedManifest): Descriptor {
  const { mediaType } = manifest;
  const type = artifactTypeOf(manifest);
  const annotations = manifest.kind === 'schema1' ? undefined : manifest.annotations;
  return {
    mediaType,
    digest,
    size: bytes.length,
    ...(type !== undefined && { artifactType: type }),
    ...(annotations !== undefined && { annotations }),
  };
}

/** The type of an artifact; of an image without one, its config's media type. */
function artifactTypeOf(manifest: Manifest): string | undefined {
  if (manifest.kind === 'schema1') return undefined;
  const { artifactType } = manifest;
  if (artifactType !== undefined && artifactType !== '') return artifactType;
  return manifest.kind === 'image' ? manifest.config.mediaType : undefined;
}

type Read = (digest: Digest) => Promise<ServedManifest | undefined>;

/** Who refers to whom. Subjects never change: each manifest is read for it once. */
export class Subjects {
  readonly #subjects = new Map<Digest, Digest>();
  readonly #without = new Set<Digest>();

  /**
   * The entries of those of `revisions` that are referrers of `subject`, and of those that the index `tagged` lists, which
   * clients keep for registries without the API. What cannot be read is passed over.
   */
  async referrers(
    subject: Digest,
    revisions: AsyncIterable<Digest> | Iterable<Digest>,
    tagged: Digest | undefined,
    read: Read,
  ): Promise<Descriptor[]> {
    const found = new Set<Digest>();
    for await (const digest of revisions) if ((await this.#of(digest, read)) === subject) found.add(digest);
    const index = tagged && (await read(tagged));
    if (index !== undefined) for (const { digest } of membersOf(index.manifest)) found.add(digest);
    return referrerEntries(found, read);
  }

  async #of(digest: Digest, read: Read): Promise<Digest | undefined> {
    if (this.#without.has(digest)) return undefined;
    const known = this.#subjects.get(digest);
    if (known !== undefined) return known;
    const there = await read(digest).catch(() => undefined);
    if (there === undefined) return undefined;
    const subject = subjectOf(there.manifest)?.digest;
    if (subject === undefined) this.#without.add(digest);
    else this.#subjects.set(digest, subject);
    return subject;
  }
}

/** What a list of referrers says of each. What cannot be read is passed over. */
export async function referrerEntries(digests: Iterable<Digest>, read: Read): Promise<Descriptor[]> {
  const entries: Descriptor[] = [];
  for (const digest of digests) {
    const there = await read(digest).catch(() => undefined);
    if (there !== undefined) entries.push(referrerEntry(digest, there));
  }
  return entries;
}
