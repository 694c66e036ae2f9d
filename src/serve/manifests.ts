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
export function referrerEntry(digest: Digest, { bytes, manifest }: ServedManifest): Descriptor {
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
export function artifactTypeOf(manifest: Manifest): string | undefined {
  if (manifest.kind === 'schema1') return undefined;
  const { artifactType } = manifest;
  if (artifactType !== undefined && artifactType !== '') return artifactType;
  return manifest.kind === 'image' ? manifest.config.mediaType : undefined;
}

/** The subjects of manifests, which never change: each manifest is read for it once. */
export class Subjects {
  readonly #subjects = new Map<Digest, Digest>();
  readonly #without = new Set<Digest>();

  /** Those of `digests` that are referrers of `subject`. What cannot be read is passed over. */
  async referrersOf(
    subject: Digest,
    digests: AsyncIterable<Digest> | Iterable<Digest>,
    read: (digest: Digest) => Promise<ServedManifest | undefined>,
  ): Promise<Digest[]> {
    const found: Digest[] = [];
    for await (const digest of digests) if ((await this.#of(digest, read)) === subject) found.push(digest);
    return found;
  }

  async #of(
    digest: Digest,
    read: (digest: Digest) => Promise<ServedManifest | undefined>,
  ): Promise<Digest | undefined> {
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

/** The entries of the referrers `digests`, and those of the index that `fallback` is, each once. */
export async function referrerEntries(
  digests: readonly Digest[],
  fallback: ServedManifest | undefined,
  read: (digest: Digest) => Promise<ServedManifest | undefined>,
): Promise<Descriptor[]> {
  const all = new Set(digests);
  if (fallback !== undefined) for (const { digest } of membersOf(fallback.manifest)) all.add(digest);
  const entries: Descriptor[] = [];
  for (const digest of [...all].sort()) {
    const there = await read(digest).catch(() => undefined);
    if (there !== undefined) entries.push(referrerEntry(digest, there));
  }
  return entries;
}
