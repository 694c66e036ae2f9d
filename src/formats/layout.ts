import { digestOf, expectDigest } from '../bytes/hash.js';
import { headOf, type LocalBytes } from '../bytes/region.js';
import type { Descriptor } from '../model/descriptor.js';
import { algorithmOf, isDigest, type Digest } from '../model/digest.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { MAX_MANIFEST, mayBeJson } from '../model/json.js';
import { expectMediaType, parseManifest, type Manifest } from '../model/manifest.js';
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
  get(name: string): LocalBytes | undefined | Promise<LocalBytes | undefined>;
}

/** A document of at most `limit` bytes; undefined when it is not there. */
export async function readDocument(
  files: Files,
  name: string,
  limit: number,
): Promise<Uint8Array | undefined> {
  const at = await files.get(name);
  return at && documentAt(at, `${files.path}: ${name}`, limit);
}

/** A document of at most `limit` bytes. */
export function documentAt(at: LocalBytes, where: string, limit: number): Uint8Array {
  // Spools keep what may be a document.
  if (at.kind === 'dropped' && at.size <= limit && !mayBeJson(at.head))
    throw new ImgconvError('MANIFEST_INVALID', `${where}: not JSON`);
  if (at.size > limit || at.kind === 'dropped')
    throw new ImgconvError('ARCHIVE_INVALID', `${where} has ${at.size} bytes, more than ${limit}`);
  return headOf(at, at.size);
}

/** The entries of a layout's index.json. @throws ImgconvError NOT_FOUND without one */
export async function readLayout(files: Files): Promise<Descriptor[]> {
  const version = await readDocument(files, LAYOUT_FILE, MAX_MANIFEST);
  if (version !== undefined) checkLayoutVersion(version, `${files.path}: ${LAYOUT_FILE}`);
  const index = await readDocument(files, INDEX_FILE, MAX_MANIFEST);
  if (index === undefined)
    throw new ImgconvError('NOT_FOUND', `${files.path}: no ${INDEX_FILE} in it: not an OCI layout`);
  return parseLayoutIndex(index, `${files.path}: ${INDEX_FILE}`);
}

/** A manifest of a layout, proved against its descriptor; undefined when the layout lacks it. */
export async function readLayoutManifest(
  files: Files,
  descriptor: Descriptor,
): Promise<Manifest | undefined> {
  const there = await readBlob(files, descriptor.digest);
  if (there === undefined) return undefined;
  expectEntry(descriptor, there, `${files.path}: ${blobName(descriptor.digest)}`);
  return there.manifest;
}

/** A manifest, proved against its digest. */
async function readBlob(
  files: Files,
  digest: Digest,
): Promise<{ manifest: Manifest; size: number } | undefined> {
  const name = blobName(digest);
  const at = await files.get(name);
  if (at?.kind === 'dropped') expectDigest({ digest, size: at.size }, at, `${files.path}: ${name}`);
  const bytes = await readDocument(files, name, MAX_MANIFEST);
  if (bytes === undefined) return undefined;
  const where = `${files.path}: ${name}`;
  const size = bytes.length;
  expectDigest({ digest, size }, { digest: digestOf(bytes, algorithmOf(digest)), size }, where);
  return { manifest: parseManifest(bytes, where), size };
}

/** @throws ImgconvError DIGEST_MISMATCH, MANIFEST_INVALID when a descriptor is not that of the manifest it leads to */
function expectEntry(
  { digest, size, mediaType }: Descriptor,
  there: { manifest: Manifest; size: number },
  where: string,
): void {
  expectDigest({ digest, size }, { digest, size: there.size }, where);
  expectMediaType(mediaType, there.manifest.mediaType, where);
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
  { digest, mediaType, size }: Descriptor,
  name: string | undefined,
): SourceImage {
  return {
    name,
    where: `${files.path}: ${name ?? digest}`,
    digest,
    entry: { mediaType, size },
    locate: ({ digest: wanted }) => files.get(blobName(wanted)),
    provesDiffIds,
    signatures: [],
    warnings: [],
  };
}

/** The images of a layout, with the numbers that their entries have in index.json. */
export async function* numberedImages(
  layout: Layout,
  entries: readonly Descriptor[],
  options: ListOptions,
): AsyncGenerator<SourceImage | UnreadableImage> {
  const numbers = new Map<string, number[]>();
  for (const [i, entry] of entries.entries()) {
    const key = `${entry.digest} ${layoutName(entry, layout.ownName) ?? ''}`;
    const others = numbers.get(key);
    if (others === undefined) numbers.set(key, [i]);
    else others.push(i);
  }
  for await (const image of layoutImages(layout, entries, options)) {
    if ('error' in image) yield image;
    else {
      // A referrer without a name is listed by its digest beside its subject.
      const own = numbers.get(`${image.digest} ${image.name ?? ''}`) ?? numbers.get(`${image.digest} `);
      yield { ...image, entries: own };
    }
  }
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
export async function* layoutImages(
  layout: Layout,
  entries: readonly Descriptor[],
  options: ListOptions,
  known: KnownImages = { entries: [], repositories: new Map() },
): AsyncGenerator<SourceImage | UnreadableImage> {
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
      yield { ...layoutImage(layout, descriptor, `${repository}@${digest}`), untagged: true };
      continue;
    }
    repositories.set(digest, repository);
    yield layoutImage(layout, descriptor, name);
  }
  if (unnamed.length > 0) yield* unnamedImages(layout, listed, unnamed, repositories, options);
}

async function* unnamedImages(
  layout: Layout,
  listed: readonly Descriptor[],
  unnamed: readonly Descriptor[],
  repositories: ReadonlyMap<Digest, string | undefined>,
  { untagged }: ListOptions,
): AsyncGenerator<SourceImage | UnreadableImage> {
  const { files } = layout;
  const { own, subjects, unreadable, wrong } = await readUnnamed(files, unnamed);
  yield* wrong;
  const wanted = new Set([...own.keys(), ...unreadable.keys(), ...subjects.values()]);
  const owners = await ownersOf(files, [...listed, ...own.values()], wanted);
  // A damaged member is reported with its index.
  for (const [digest, image] of unreadable) if (!owners.has(digest)) yield image;
  const above = (digest: Digest) => {
    if (repositories.has(digest)) return undefined;
    const subject = subjects.get(digest);
    const isHere = subject !== undefined && [repositories, own, owners].some((here) => here.has(subject));
    return isHere ? subject : owners.get(digest);
  };
  const roots = rootsOf(own, above);
  for (const [digest, descriptor] of own) {
    const root = roots.get(digest) ?? digest;
    const subject = subjects.get(digest);
    if (root === digest && !repositories.has(digest)) {
      yield layoutImage(layout, descriptor, undefined);
    } else if (subject !== undefined) {
      // One that has a tag or is in an index besides is carried with that, and also found by its subject.
      const isBesides = owners.has(digest) || repositories.has(digest);
      if (isBesides && !untagged) continue;
      const repository = repositories.get(root);
      const name = repository === undefined ? undefined : `${repository}@${digest}`;
      yield { ...layoutImage(layout, descriptor, name), subject, untagged: isBesides || name === undefined };
    }
  }
}

/** Each manifest is read once, and each entry held against it. */
async function readUnnamed(files: Files, unnamed: readonly Descriptor[]) {
  const own = new Map<Digest, Descriptor>();
  const subjects = new Map<Digest, Digest>();
  const unreadable = new Map<Digest, UnreadableImage>();
  /** Entries that say a wrong size or media type. */
  const wrong: UnreadableImage[] = [];
  const read = new Map<Digest, { manifest: Manifest; size: number } | undefined>();
  for (const descriptor of unnamed) {
    const { digest } = descriptor;
    const where = `${files.path}: ${digest}`;
    const unread = (error: unknown) => ({ name: undefined, where, error: asImgconvError(error, where) });
    if (unreadable.has(digest)) continue;
    try {
      if (!read.has(digest)) read.set(digest, await readBlob(files, digest));
    } catch (error) {
      unreadable.set(digest, unread(error));
      continue;
    }
    const there = read.get(digest);
    try {
      if (there !== undefined) expectEntry(descriptor, there, `${files.path}: ${blobName(digest)}`);
    } catch (error) {
      wrong.push(unread(error));
      continue;
    }
    const subject = subjectOf(descriptor, there?.manifest);
    if (subject !== undefined) subjects.set(digest, subject);
    if (!own.has(digest)) own.set(digest, descriptor);
  }
  return { own, subjects, unreadable, wrong };
}

/**
 * For each of the `wanted` digests that is a member of an index, at any depth, the entry that has this index. Each
 * index is read once; what cannot be read is reported when its image is read.
 */
async function ownersOf(
  files: Files,
  entries: readonly Descriptor[],
  wanted: ReadonlySet<Digest>,
): Promise<Map<Digest, Digest>> {
  const owners = new Map<Digest, Digest>();
  const seen = new Set<Digest>();
  for (const entry of entries) {
    const queue = [entry];
    for (const index of queue) {
      if (!isIndexType(index.mediaType) || seen.has(index.digest)) continue;
      seen.add(index.digest);
      for (const member of await membersOf(files, index)) {
        const { digest } = member;
        if (wanted.has(digest) && !owners.has(digest)) owners.set(digest, entry.digest);
        if (isIndexType(member.mediaType) && !seen.has(digest)) queue.push(member);
      }
    }
  }
  return owners;
}

async function membersOf(files: Files, { digest }: Descriptor): Promise<readonly Descriptor[]> {
  try {
    const manifest = (await readBlob(files, digest))?.manifest;
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

function subjectOf({ annotations }: Descriptor, manifest: Manifest | undefined): Digest | undefined {
  if (manifest === undefined || manifest.kind === 'schema1') return undefined;
  const said = annotations?.[REFERRER_SUBJECT] ?? '';
  return manifest.subject?.digest ?? (isDigest(said) ? said : undefined);
}
