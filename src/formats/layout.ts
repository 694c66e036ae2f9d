import { digestOf, expectDigest } from '../io/hash.js';
import { headOf, type LocalBytes } from '../io/region.js';
import type { Descriptor } from '../model/descriptor.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { MAX_MANIFEST } from '../model/json.js';
import { parseManifest, type Manifest } from '../model/manifest.js';
import {
  blobName,
  checkLayoutVersion,
  INDEX_FILE,
  LAYOUT_FILE,
  layoutName,
  parseLayoutIndex,
  REF_NAME,
} from '../model/oci-layout.js';
import { splitReference } from '../model/reference.js';
import type { SourceImage, UnreadableImage } from './format.js';

/** Files by name: the folder of a layout, or the members of an archive. */
export interface Files {
  /** For messages. */
  readonly path: string;
  get(name: string): LocalBytes | undefined;
}

/** A document of at most `limit` bytes; undefined when it is not there. */
export function readDocument(files: Files, name: string, limit: number): Uint8Array | undefined {
  const at = files.get(name);
  if (at === undefined) return undefined;
  if (at.size > limit || at.kind === 'dropped')
    throw new ImgconvError(
      'ARCHIVE_INVALID',
      `${files.path}: ${name} has ${at.size} bytes, more than ${limit}`,
    );
  return headOf(at, at.size);
}

/** The entries of a layout's index.json. @throws ImgconvError NOT_FOUND without one */
export function readLayout(files: Files): Descriptor[] {
  const version = readDocument(files, LAYOUT_FILE, MAX_MANIFEST);
  if (version !== undefined) checkLayoutVersion(version, `${files.path}: ${LAYOUT_FILE}`);
  const index = readDocument(files, INDEX_FILE, MAX_MANIFEST);
  if (index === undefined)
    throw new ImgconvError('NOT_FOUND', `${files.path}: no ${INDEX_FILE} in it: not an OCI layout`);
  return parseLayoutIndex(index, `${files.path}: ${INDEX_FILE}`);
}

/** A manifest of a layout, proved against its descriptor; undefined when the layout lacks it. */
export function readLayoutManifest(files: Files, descriptor: Descriptor): Manifest | undefined {
  const name = blobName(descriptor.digest);
  const bytes = readDocument(files, name, MAX_MANIFEST);
  if (bytes === undefined) return undefined;
  const where = `${files.path}: ${name}`;
  expectDigest(
    descriptor,
    { digest: digestOf(bytes, algorithmOf(descriptor.digest)), size: bytes.length },
    where,
  );
  return parseManifest(bytes, where, descriptor.mediaType);
}

/** An image as its layout has it. */
export function layoutImage(
  files: Files,
  digest: Digest,
  name: string | undefined,
  provesDiffIds: boolean,
): SourceImage {
  return {
    name,
    where: `${files.path}: ${name ?? digest}`,
    digest,
    locate: ({ digest: wanted }) => files.get(blobName(wanted)),
    provesDiffIds,
    signatures: [],
    warnings: [],
  };
}

function hasRefName({ annotations }: Descriptor): boolean {
  return annotations?.[REF_NAME] !== undefined;
}

/**
 * The images of entries of index.json. An entry that has but a tag gets the repository that the layout's own name
 * gives; `repositories` are those of images that are known already; one without a name that speaks of another image (`subject`) goes by its digest beside it.
 */
export function* layoutImages(
  files: Files,
  entries: readonly Descriptor[],
  ownName: string,
  provesDiffIds: boolean,
  repositories = new Map<Digest, string>(),
): Generator<SourceImage | UnreadableImage> {
  const unnamed: Descriptor[] = [];
  const given = new Set(entries.filter(hasRefName).map((one) => layoutName(one, ownName)));
  for (const descriptor of entries) {
    const name = layoutName(descriptor, ownName);
    if (name !== undefined && !hasRefName(descriptor) && given.has(name)) {
      // skopeo gives a name to another image by taking its ref.name from this one; containerd's name stays.
      const repository = splitReference(name).name;
      yield {
        ...layoutImage(files, descriptor.digest, `${repository}@${descriptor.digest}`, provesDiffIds),
        untagged: true,
      };
      continue;
    }
    if (name === undefined) {
      unnamed.push(descriptor);
      continue;
    }
    repositories.set(descriptor.digest, splitReference(name).name);
    yield layoutImage(files, descriptor.digest, name, provesDiffIds);
  }
  yield* referrers(files, unnamed, repositories, provesDiffIds);
}

/** In one pass, however long a chain of referrers of referrers is and in whatever order. */
function* referrers(
  files: Files,
  unnamed: readonly Descriptor[],
  repositories: Map<Digest, string>,
  provesDiffIds: boolean,
): Generator<SourceImage | UnreadableImage> {
  const subjects = new Map<Digest, Digest | undefined>();
  const waiting = new Map<Digest, Descriptor[]>();
  const ready: Descriptor[] = [];
  const left = new Set(unnamed);
  for (const descriptor of unnamed) {
    try {
      const { digest } = descriptor;
      if (!subjects.has(digest)) subjects.set(digest, subjectOf(files, descriptor));
      const subject = subjects.get(digest);
      if (subject === undefined) continue;
      if (repositories.has(subject)) ready.push(descriptor);
      else addTo(waiting, subject, descriptor);
    } catch (error) {
      const where = `${files.path}: ${descriptor.digest}`;
      left.delete(descriptor);
      yield { name: undefined, where, error: asImgconvError(error, where) };
    }
  }
  for (const descriptor of ready) {
    const { digest } = descriptor;
    const repository = repositories.get(subjects.get(digest) ?? digest);
    if (repository === undefined || !left.delete(descriptor)) continue;
    repositories.set(digest, repository);
    yield layoutImage(files, digest, `${repository}@${digest}`, provesDiffIds);
    ready.push(...(waiting.get(digest) ?? []));
    waiting.delete(digest);
  }
  for (const { digest } of left) yield layoutImage(files, digest, undefined, provesDiffIds);
}

function addTo<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}

function subjectOf(files: Files, descriptor: Descriptor): Digest | undefined {
  const manifest = readLayoutManifest(files, descriptor);
  return manifest === undefined || manifest.kind === 'schema1' ? undefined : manifest.subject?.digest;
}
