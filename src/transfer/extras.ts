import type { SourceImage, UnreadableImage } from '../formats/format.js';
import { headOf } from '../io/region.js';
import { isDigest, type Digest } from '../model/digest.js';
import { MAX_MANIFEST } from '../model/json.js';
import { manifestsOf, parseManifest, type ManifestNode } from '../model/manifest.js';
import { splitReference } from '../model/reference.js';
import { editDescriptors, editManifest } from './edit.js';

/** Docker buildx marks an attestation with the digest of the image that it speaks of. */
export const ATTESTED = 'vnd.docker.reference.digest';

/**
 * The digest that a tag speaks of: cosign's `sha256-<hex>.sig`, `.att`, `.sbom` (cosign pkg/oci/remote), and the
 * referrers tag `sha256-<hex>` (OCI distribution-spec v1.1 "Referrers Tag Schema").
 */
export function attachedTo(tag: string | undefined): Digest | undefined {
  const match = /^(sha256|sha384|sha512)-([0-9a-f]+)(?:\.[a-z]+)?$/.exec(tag ?? '');
  const digest = match === null ? '' : `${match[1] ?? ''}:${match[2] ?? ''}`;
  return isDigest(digest) ? digest : undefined;
}

/** Finds what is attached to images of a source: by tag, and by `subject` among revisions without a tag. */
export class Attachments {
  readonly #byRepository = new Map<string, (SourceImage | UnreadableImage)[]>();
  readonly #bySubject = new Map<string, Map<Digest, SourceImage[]>>();

  constructor(images: readonly (SourceImage | UnreadableImage)[]) {
    for (const image of images) {
      const repository = splitReference(image.name ?? '').name;
      const others = this.#byRepository.get(repository);
      if (others === undefined) this.#byRepository.set(repository, [image]);
      else others.push(image);
    }
  }

  /** What speaks of any manifest of this tree, tagged first; what speaks of that in turn is to be asked for with its own tree. */
  of(name: string, root: ManifestNode): SourceImage[] {
    const repository = splitReference(name).name;
    const digests = new Set(manifestsOf(root).map(({ descriptor }) => descriptor.digest));
    const found: SourceImage[] = [];
    for (const [digest, images] of this.#subjects(repository)) if (digests.has(digest)) found.push(...images);
    return [...found.filter(({ untagged }) => !untagged), ...found.filter(({ untagged }) => untagged)];
  }

  #subjects(repository: string): Map<Digest, SourceImage[]> {
    const known = this.#bySubject.get(repository);
    if (known !== undefined) return known;
    const subjects = new Map<Digest, SourceImage[]>();
    for (const image of this.#byRepository.get(repository) ?? []) {
      if ('error' in image) continue;
      const { tag } = splitReference(image.name ?? '');
      const digest = attachedTo(tag) ?? (tag === undefined ? subjectOf(image) : undefined);
      if (digest === undefined) continue;
      const others = subjects.get(digest);
      if (others === undefined) subjects.set(digest, [image]);
      else others.push(image);
    }
    this.#bySubject.set(repository, subjects);
    return subjects;
  }
}

/** What a manifest says it is about. It is proved when it is converted; here it only leads. */
function subjectOf(image: SourceImage): Digest | undefined {
  try {
    const at = image.locate(image.digest, 'manifest');
    if (at === undefined || at.size > MAX_MANIFEST) return undefined;
    const manifest = parseManifest(headOf(at, at.size), at.path);
    return manifest.kind === 'schema1' ? undefined : manifest.subject?.digest;
  } catch {
    return undefined; // Unreadable: it speaks of nothing.
  }
}

/** The tree without attestations; the same when it has none. */
export function withoutAttestations(root: ManifestNode): ManifestNode {
  if (root.manifest.kind !== 'index') return root;
  const isAttestation = (annotations: Readonly<Record<string, string>> | undefined) =>
    annotations?.[ATTESTED] !== undefined;
  if (!root.manifest.manifests.some(({ annotations }) => isAttestation(annotations))) return root;
  const kept = root.children.filter(({ descriptor }) => !isAttestation(descriptor.annotations));
  const digests = new Set<string>([
    ...kept.map(({ descriptor }) => descriptor.digest),
    ...root.absent.filter(({ annotations }) => !isAttestation(annotations)).map(({ digest }) => digest),
  ]);
  const edited = editManifest(
    root,
    (raw) => ({
      ...raw,
      manifests: editDescriptors(raw['manifests'], (one) =>
        digests.has(String(one['digest'])) ? one : undefined,
      ),
    }),
    kept,
  );
  return { ...edited, absent: root.absent.filter(({ digest }) => digests.has(digest)) };
}
