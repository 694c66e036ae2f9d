import { digestOf, expectDigest } from '../io/hash.js';
import { headOf, type LocalBytes } from '../io/region.js';
import type { Descriptor } from '../model/descriptor.js';
import { algorithmOf, isDigest, type Digest } from '../model/digest.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { MAX_MANIFEST } from '../model/json.js';
import { parseManifest, type Manifest } from '../model/manifest.js';
import { isIndexType } from '../model/media-type.js';
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
import type { ListOptions, SourceImage, UnreadableImage } from './format.js';

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

/** A layout, and what its place says of it. */
export interface Layout {
  readonly files: Files;
  /** The repository of images that have only a tag. */
  readonly ownName: string;
  readonly provesDiffIds: boolean;
}

/** An image as its layout has it. */
export function layoutImage(
  { files, provesDiffIds }: Layout,
  digest: Digest,
  name: string | undefined,
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

/** Images of a layout that its archive's manifest.json lists: the entries that lead to them, and their repositories. */
export interface KnownImages {
  readonly entries: readonly Descriptor[];
  readonly repositories: ReadonlyMap<Digest, string>;
}

/**
 * The images of entries of index.json. An entry that has only a tag gets the repository that the layout's own name
 * gives. An entry without a name is an image of its own unless another image has it: as a member of its index, as its
 * referrer, or by the same digest.
 */
export function* layoutImages(
  layout: Layout,
  entries: readonly Descriptor[],
  options: ListOptions,
  known: KnownImages = { entries: [], repositories: new Map() },
): Generator<SourceImage | UnreadableImage> {
  const { ownName } = layout;
  const listed: Descriptor[] = [...known.entries];
  const repositories = new Map<Digest, string | undefined>([
    ...known.entries.map(({ digest }) => [digest, undefined] as const),
    ...known.repositories,
  ]);
  const unnamed: Descriptor[] = [];
  const given = new Set(entries.filter(hasRefName).map((one) => layoutName(one, ownName)));
  for (const descriptor of entries) {
    const { digest } = descriptor;
    const name = layoutName(descriptor, ownName);
    if (name === undefined) {
      unnamed.push(descriptor);
      continue;
    }
    listed.push(descriptor);
    const repository = splitReference(name).name;
    if (!hasRefName(descriptor) && given.has(name)) {
      // skopeo gives a name to another image by taking its ref.name from this one; containerd's name stays.
      if (!repositories.has(digest)) repositories.set(digest, repository);
      yield { ...layoutImage(layout, digest, `${repository}@${digest}`), untagged: true };
      continue;
    }
    repositories.set(digest, repository);
    yield layoutImage(layout, digest, name);
  }
  if (unnamed.length > 0) yield* unnamedImages(layout, listed, unnamed, repositories, options);
}

function* unnamedImages(
  layout: Layout,
  listed: readonly Descriptor[],
  unnamed: readonly Descriptor[],
  repositories: ReadonlyMap<Digest, string | undefined>,
  { untagged }: ListOptions,
): Generator<SourceImage | UnreadableImage> {
  const { files } = layout;
  const own = new Map<Digest, Descriptor>();
  const subjects = new Map<Digest, Digest>();
  const unreadable = new Map<Digest, UnreadableImage>();
  for (const descriptor of unnamed) {
    const { digest } = descriptor;
    if (own.has(digest) || unreadable.has(digest)) continue;
    try {
      const subject = subjectOf(files, descriptor);
      if (subject !== undefined) subjects.set(digest, subject);
      own.set(digest, descriptor);
    } catch (error) {
      const where = `${files.path}: ${digest}`;
      unreadable.set(digest, { name: undefined, where, error: asImgconvError(error, where) });
    }
  }
  const wanted = new Set([...own.keys(), ...unreadable.keys(), ...subjects.values()]);
  const owners = ownersOf(files, [...listed, ...own.values()], wanted);
  // A damaged member is reported with its index.
  for (const [digest, image] of unreadable) if (!owners.has(digest)) yield image;
  const above = (digest: Digest) => {
    if (repositories.has(digest)) return undefined;
    const subject = subjects.get(digest);
    const isHere = subject !== undefined && [repositories, own, owners].some((here) => here.has(subject));
    return isHere ? subject : owners.get(digest);
  };
  const roots = rootsOf(own, above);
  for (const digest of own.keys()) {
    const root = roots.get(digest) ?? digest;
    const subject = subjects.get(digest);
    if (root === digest && !repositories.has(digest)) {
      yield layoutImage(layout, digest, undefined);
    } else if (subject !== undefined) {
      // One that has a tag or is in an index besides is carried with that, and also found by its subject.
      const isBesides = owners.has(digest) || repositories.has(digest);
      if (isBesides && !untagged) continue;
      const repository = repositories.get(root);
      const name = repository === undefined ? undefined : `${repository}@${digest}`;
      yield { ...layoutImage(layout, digest, name), subject, untagged: isBesides || name === undefined };
    }
  }
}

/**
 * For each of the `wanted` digests that is a member of an index, at any depth, the entry that has this index. Each
 * index is read once; what cannot be read is reported when its image is read.
 */
function ownersOf(
  files: Files,
  entries: readonly Descriptor[],
  wanted: ReadonlySet<Digest>,
): Map<Digest, Digest> {
  const owners = new Map<Digest, Digest>();
  const seen = new Set<Digest>();
  for (const entry of entries) {
    const queue = [entry];
    for (const index of queue) {
      if (!isIndexType(index.mediaType) || seen.has(index.digest)) continue;
      seen.add(index.digest);
      for (const member of membersOf(files, index)) {
        const { digest } = member;
        if (wanted.has(digest) && !owners.has(digest)) owners.set(digest, entry.digest);
        if (isIndexType(member.mediaType) && !seen.has(digest)) queue.push(member);
      }
    }
  }
  return owners;
}

function membersOf(files: Files, descriptor: Descriptor): readonly Descriptor[] {
  try {
    const manifest = readLayoutManifest(files, descriptor);
    return manifest?.kind === 'index' ? manifest.manifests : [];
  } catch {
    return [];
  }
}

/**
 * For each entry the one that nothing is `above`. An index whose subject refers to one of its members is a circle:
 * the first of its entries counts as the top.
 */
function rootsOf(
  entries: ReadonlyMap<Digest, Descriptor>,
  above: (digest: Digest) => Digest | undefined,
): Map<Digest, Digest> {
  const roots = new Map<Digest, Digest>();
  for (const entry of entries.keys()) {
    const path = new Set<Digest>();
    let top = entry;
    for (let next: Digest | undefined = entry; next !== undefined; next = above(next)) {
      top = roots.get(next) ?? next;
      if (roots.has(next) || (path.has(next) && entries.has(next))) break;
      path.add(next);
    }
    for (const digest of path) roots.set(digest, top);
  }
  return roots;
}

/** olareg, types/annotations.go: on an entry that is an index of an image's referrers, the digest of that image. */
const REFERRER_SUBJECT = 'org.opencontainers.image.referrer.subject';

function subjectOf(files: Files, descriptor: Descriptor): Digest | undefined {
  const manifest = readLayoutManifest(files, descriptor);
  if (manifest === undefined || manifest.kind === 'schema1') return undefined;
  const said = descriptor.annotations?.[REFERRER_SUBJECT] ?? '';
  return manifest.subject?.digest ?? (isDigest(said) ? said : undefined);
}
