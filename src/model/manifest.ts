import * as z from 'zod';
import {
  annotationsSchema,
  arrayOf,
  descriptorSchema,
  digestSchema,
  listOf,
  optional,
  type Descriptor,
  type PartialDescriptor,
} from './descriptor.js';
import { ImgconvError } from './errors.js';
import { expectOwnCase, fieldsOf, isObject, parseJson, parseWith } from './json.js';
import {
  ARTIFACT_MANIFESTS,
  DOCKER_MANIFEST,
  DOCKER_SCHEMA1,
  DOCKER_SCHEMA1_SIGNED,
  isImageConfig,
  isIndexType,
  isSchema1Type,
  OCI_INDEX,
  OCI_MANIFEST,
} from './media-type.js';

const shared = {
  subject: optional(descriptorSchema),
  artifactType: optional(z.string()),
  annotations: annotationsSchema,
};
const imageSchema = z.object({ config: descriptorSchema, layers: listOf(descriptorSchema), ...shared });
const indexSchema = z.object({ manifests: listOf(descriptorSchema), ...shared });
const artifactSchema = z.object({
  blobs: optional(listOf(descriptorSchema)).transform((blobs) => blobs ?? []),
  ...shared,
});
/** A list of layers that is null is refused here, as containers/image does: schema 1 has at least one (docker_schema1.go). */
const schema1Schema = z.object({
  schemaVersion: z.literal(1),
  fsLayers: arrayOf(z.object({ blobSum: digestSchema })),
});

/** What a manifest says. Its bytes stay the truth (`ProvedManifest.bytes`); this is a view of them. */
export type Manifest = ImageManifest | Index | ArtifactManifest | Schema1;

interface OfKind<K extends string> {
  readonly kind: K;
  readonly mediaType: string;
}
interface Shared {
  /** What the manifest is attached to. */
  readonly subject?: Descriptor | undefined;
  readonly artifactType?: string | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}
export type ImageManifest = OfKind<'image'> & {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
} & Shared;
type Index = OfKind<'index'> & { readonly manifests: readonly Descriptor[] } & Shared;
/** What tools of before OCI 1.1 attached to images: blobs without a config. */
type ArtifactManifest = OfKind<'artifact'> & { readonly blobs: readonly Descriptor[] } & Shared;
/** Docker image manifest v2 schema 1: layers by digest alone, no config, no sizes. */
type Schema1 = OfKind<'schema1'> & { readonly layers: readonly PartialDescriptor[] };

/** What decides what a manifest is and which blobs it has. */
const FIELDS = fieldsOf(
  'schemaVersion',
  'mediaType',
  'artifactType',
  'subject',
  'config',
  'layers',
  'blobs',
  'manifests',
  'fsLayers',
  'digest',
  'size',
  'urls',
  'blobSum',
);

/** Of the manifest itself and of each descriptor in it. */
function expectFieldsInOwnCase(raw: Record<string, unknown>, where: string): void {
  expectOwnCase(raw, FIELDS, where);
  for (const name of ['config', 'subject']) expectOwnCase(raw[name], FIELDS, `${where}: ${name}`);
  for (const name of ['layers', 'blobs', 'manifests', 'fsLayers']) {
    const list = raw[name];
    if (!Array.isArray(list)) continue;
    for (const [i, one] of list.entries()) expectOwnCase(one, FIELDS, `${where}: ${name}.${i}`);
  }
}

/** The media type that a manifest of this shape has: what it says of itself, else what its fields show. */
function mediaTypeOf(raw: Record<string, unknown>, where: string): string {
  if (typeof raw['mediaType'] === 'string') return raw['mediaType'];
  if (raw['schemaVersion'] === 1) return 'signatures' in raw ? DOCKER_SCHEMA1_SIGNED : DOCKER_SCHEMA1;
  if ('manifests' in raw) return OCI_INDEX;
  if ('config' in raw && 'layers' in raw) return OCI_MANIFEST;
  throw new ImgconvError('MANIFEST_INVALID', `${where}: neither an image manifest nor an index`);
}

function kindOf(mediaType: string): string {
  if (isIndexType(mediaType)) return 'an index';
  if (isSchema1Type(mediaType)) return 'a schema 1 manifest';
  return mediaType === OCI_MANIFEST || mediaType === DOCKER_MANIFEST ? 'an image manifest' : mediaType;
}

/**
 * A descriptor may say OCI's media type of Docker's manifest, or the other way round: containers/image and containerd
 * take that, and it is read as what it says itself. Of another kind it must not be (CVE-2021-41190).
 * @throws ImgconvError MANIFEST_INVALID
 */
export function expectMediaType(expected: string, mediaType: string, where: string): void {
  const [said, found] = [expected, mediaType].map(kindOf);
  if (said !== found)
    throw new ImgconvError(
      'MANIFEST_INVALID',
      `${where}: its descriptor says ${expected}, it is ${found ?? ''} (${mediaType})`,
    );
}

/**
 * A view of a manifest's bytes. `expected` is the media type of the descriptor that led here, if one did.
 * Fields of the other kind are refused: a document that is an index to one reader and an image to another is an
 * attack (CVE-2021-41190, https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh).
 * @throws ImgconvError MANIFEST_INVALID, FORMAT_UNSUPPORTED
 */
export function parseManifest(bytes: Uint8Array, where: string, expected?: string): Manifest {
  const raw = parseJson(bytes, where);
  if (!isObject(raw)) throw new ImgconvError('MANIFEST_INVALID', `${where}: not a JSON object`);
  expectFieldsInOwnCase(raw, where);
  const mediaType = mediaTypeOf(raw, where);
  if (expected !== undefined) expectMediaType(expected, mediaType, where);
  const refuse = (...fields: string[]) => {
    const field = fields.find((name) => name in raw);
    if (field !== undefined)
      throw new ImgconvError('MANIFEST_INVALID', `${where}: a ${mediaType} must not have "${field}"`);
  };
  if (isIndexType(mediaType)) {
    refuse('layers', 'config', 'fsLayers');
    return { kind: 'index', mediaType, ...parseWith(indexSchema, raw, where) };
  }
  if (mediaType === OCI_MANIFEST || mediaType === DOCKER_MANIFEST) {
    refuse('manifests', 'fsLayers');
    return { kind: 'image', mediaType, ...parseWith(imageSchema, raw, where) };
  }
  if (ARTIFACT_MANIFESTS.includes(mediaType)) {
    refuse('manifests', 'config', 'layers', 'fsLayers');
    return { kind: 'artifact', mediaType, ...parseWith(artifactSchema, raw, where) };
  }
  if (isSchema1Type(mediaType)) {
    refuse('manifests', 'config', 'layers');
    const { fsLayers } = parseWith(schema1Schema, raw, where);
    return { kind: 'schema1', mediaType, layers: fsLayers.map(({ blobSum }) => ({ digest: blobSum })) };
  }
  throw new ImgconvError('FORMAT_UNSUPPORTED', `${where}: no manifest that imgconv knows: ${mediaType}`);
}

/** False when these bytes have no field of this name; they need not be parsed then. */
export function mayName(bytes: Uint8Array, field: 'subject' | 'manifests'): boolean {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return text.includes(field) || text.includes('\\u'); // An escape may stand for any letter.
}

const jwsSchema = z.object({
  signatures: arrayOf(z.object({ protected: z.string() })).refine((all) => all.length > 0),
});
const protectedSchema = z.object({ formatLength: z.int().nonnegative(), formatTail: z.string() });

/**
 * The bytes whose digest names a manifest: for a signed schema 1 manifest what was signed, cut at `formatLength`
 * and closed by `formatTail` (docker/libtrust jsonsign.go), for any other all of them.
 */
export function manifestPayload(bytes: Uint8Array, where: string): Uint8Array {
  if (!Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes('"signatures"')) return bytes;
  const raw = parseJson(bytes, where);
  if (!isObject(raw) || raw['schemaVersion'] !== 1 || !('signatures' in raw)) return bytes;
  const first = parseWith(jwsSchema, raw, where).signatures[0];
  const header = parseJson(
    Buffer.from(first?.protected ?? '', 'base64url'),
    `${where}: signatures.0.protected`,
  );
  const { formatLength, formatTail } = parseWith(protectedSchema, header, `${where}: signatures.0.protected`);
  if (formatLength > bytes.length)
    throw new ImgconvError('MANIFEST_INVALID', `${where}: signed length ${formatLength} is past its end`);
  return Buffer.concat([bytes.subarray(0, formatLength), Buffer.from(formatTail, 'base64url')]);
}

/** True when engines can run this image: its config is an image's, not an artifact's. */
export function isContainerImage<T extends { readonly manifest: Manifest }>(
  node: T,
): node is T & { readonly manifest: ImageManifest } {
  const { manifest } = node;
  return manifest.kind === 'image' && isImageConfig(manifest.config.mediaType);
}
