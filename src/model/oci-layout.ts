import * as z from 'zod';
import { descriptorSchema, listOf, type Descriptor } from './descriptor.js';
import { algorithmOf, hexOf, type Digest } from './digest.js';
import { ImgconvError } from './errors.js';
import { parseJson, parseWith } from './json.js';
import { OCI_INDEX } from './media-type.js';
import {
  canonicalText,
  familiarText,
  isRepository,
  referenceText,
  splitReference,
  type Reference,
} from './reference.js';

/** OCI image-spec image-layout.md; also inside the archives that Docker 25 and later write. */
export const LAYOUT_FILE = 'oci-layout';
export const INDEX_FILE = 'index.json';
export const LAYOUT_CONTENT = '{"imageLayoutVersion":"1.0.0"}';
/** What engines read of an archive, and all that there was in those of old (moby daemon/internal/image/tarexport). */
export const MANIFEST = 'manifest.json';
export const REPOSITORIES = 'repositories';
/** A tag (Docker, umoci) or a whole reference (skopeo); image-spec annotations.md. */
export const REF_NAME = 'org.opencontainers.image.ref.name';
/** The canonical reference (containerd core/images/annotations.go); Docker writes it beside a tag. */
export const CONTAINERD_NAME = 'io.containerd.image.name';

/** Below the layout, for directories and archives alike. */
export function blobName(digest: Digest): string {
  return `blobs/${algorithmOf(digest)}/${hexOf(digest)}`;
}

/** @throws ImgconvError FORMAT_UNSUPPORTED for a layout after version 1 */
export function checkLayoutVersion(bytes: Uint8Array, where: string): void {
  const { imageLayoutVersion } = parseWith(
    z.object({ imageLayoutVersion: z.string() }),
    parseJson(bytes, where),
    where,
  );
  if (!/^1\.\d+\.\d+$/.test(imageLayoutVersion))
    throw new ImgconvError(
      'FORMAT_UNSUPPORTED',
      `${where}: layout version ${imageLayoutVersion}, known is 1.0.0`,
    );
}

const indexSchema = z.object({ schemaVersion: z.literal(2), manifests: listOf(descriptorSchema) });

/** The images that a layout names, in its order. */
export function parseLayoutIndex(bytes: Uint8Array, where: string): Descriptor[] {
  return parseWith(indexSchema, parseJson(bytes, where), where).manifests;
}

export const INDEX_TEMPLATE = { schemaVersion: 2, mediaType: OCI_INDEX } as const;

/**
 * How imgconv names an image in index.json: for engines by the canonical reference, for skopeo and umoci by the whole
 * one, or by the tag alone where the layout's own name is the repository, as `oci:app:1.0` has it.
 */
export function layoutEntry(name: Reference, { mediaType, digest, size }: Descriptor, ownName?: string) {
  const own = name.host === undefined && name.repository === ownName ? name.tag : undefined;
  return {
    mediaType,
    digest,
    size,
    annotations: { [CONTAINERD_NAME]: canonicalText(name), [REF_NAME]: own ?? referenceText(name) },
  };
}

/** The repository of images that have but a tag: the file's name without its endings, if it is one. */
export function ownNameOf(fileName: string): string {
  return fileName.replace(/(?:\.(?:tar|oci|gz|tgz|zst|xz|bz2))+$/, '');
}

/**
 * The name of an entry of index.json: a whole reference if an annotation has it, else its tag in the repository that
 * the layout's own name is. Undefined without either.
 */
export function layoutName(descriptor: Pick<Descriptor, 'annotations'>, ownName = ''): string | undefined {
  const ref = descriptor.annotations?.[REF_NAME];
  if (ref !== undefined && /[:/@]/.test(ref)) return ref;
  const containerd = descriptor.annotations?.[CONTAINERD_NAME];
  if (containerd !== undefined) {
    // A tag that differs is newer: umoci repack sets one and leaves containerd's name of what it began with.
    const { name, tag } = splitReference(containerd);
    return familiarText(ref === undefined || tag === undefined ? containerd : `${name}:${ref}`);
  }
  return ref !== undefined && isRepository(ownName) ? `${ownName}:${ref}` : undefined;
}
