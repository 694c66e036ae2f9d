import { documentAt } from '../bytes/document.js';
import { digestOf, expectDigest } from '../bytes/hash.js';
import { readWhole, shownName, type FileBytes, type LocalBytes } from '../bytes/region.js';
import type { PartialDescriptor } from '../model/descriptor.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { subjectOf } from '../model/graph.js';
import { manifestPayload, mayName, parseManifest } from '../model/manifest.js';
import type { ProvedManifest } from '../model/tree.js';
import { MAX_MANIFEST } from '../model/json.js';

/** Files that manifests were read from, by the manifests' bytes: what was hashed then need not be hashed again. */
const origins = new WeakMap<Uint8Array, FileBytes>();

/** The file that a manifest was read from, as it was then; undefined for parts of files. */
export function originOf({ bytes }: ProvedManifest): FileBytes | undefined {
  return origins.get(bytes);
}

/** @throws ImgconvError MANIFEST_INVALID */
export function expectManifestSize(size: number, where: string): void {
  if (size > MAX_MANIFEST)
    throw new ImgconvError(
      'MANIFEST_INVALID',
      `${where}: ${size} bytes, a manifest has ${MAX_MANIFEST} at most`,
    );
}

/** The bytes of a manifest, and those of them that its digest is of. @throws ImgconvError DIGEST_MISMATCH, MANIFEST_INVALID */
function prove(at: LocalBytes, { digest, size }: PartialDescriptor, where: string) {
  // What passed by in a pipe and was not kept was hashed.
  if (at.kind === 'dropped') expectDigest({ digest, size: size ?? at.size }, at, where);
  expectManifestSize(at.size, where);
  const file = at.kind === 'file' && at.whole ? readWhole(at) : undefined;
  const bytes = file?.bytes ?? documentAt(at, where, MAX_MANIFEST);
  const payload = manifestPayload(bytes, where);
  expectDigest(
    { digest, size: size ?? payload.length },
    { digest: digestOf(payload, algorithmOf(digest)), size: payload.length },
    where,
  );
  if (at.kind === 'file' && file !== undefined && payload === bytes)
    origins.set(bytes, { ...at, known: { digest, id: file.id } });
  return { bytes, payload };
}

/**
 * A manifest, proved against its digest and, where a descriptor led to it, against that. `where` is for messages.
 * @throws ImgconvError DIGEST_MISMATCH, MANIFEST_INVALID, FORMAT_UNSUPPORTED
 */
export function readManifest(
  at: LocalBytes,
  wanted: PartialDescriptor,
  where = manifestName(at, wanted),
): ProvedManifest {
  const { bytes, payload } = prove(at, wanted, where);
  const manifest = parseManifest(bytes, where, wanted.mediaType);
  const { mediaType = manifest.mediaType } = wanted;
  return { bytes, manifest, descriptor: { ...wanted, mediaType, size: payload.length } };
}

/** The subject of a manifest, which is proved, and parsed only if it may have one. @throws as `readManifest` */
export function readSubject(at: LocalBytes, wanted: PartialDescriptor): Digest | undefined {
  const where = manifestName(at, wanted);
  const { bytes } = prove(at, wanted, where);
  if (!mayName(bytes, 'subject')) return undefined;
  return subjectOf(parseManifest(bytes, where, wanted.mediaType))?.digest;
}

/** For messages: a part of an archive is also named by its digest. */
export function manifestName(at: LocalBytes, { digest }: PartialDescriptor, shown = shownName(at)): string {
  return at.kind === 'file' && !at.whole ? `${shown} (${digest})` : shown;
}
