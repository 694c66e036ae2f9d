import { expectDigest } from '../bytes/hash.js';
import type { Descriptor } from '../model/descriptor.js';
import { isDigest, type Digest } from '../model/digest.js';
import { asImgconvError } from '../model/errors.js';
import { membersOf, subjectOf, topsOf, walk } from '../model/graph.js';
import { expectMediaType } from '../model/manifest.js';
import { isIndexType } from '../model/media-type.js';
import { blobName, layoutName, REF_NAME } from '../model/oci-layout.js';
import { splitReference } from '../model/reference.js';
import type { ListOptions, SourceImage, UnreadableImage } from './format.js';
import { layoutImage, readLayoutManifest, type Files, type Layout } from './layout.js';

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
 * gives. An entry without a name, or with a digest in place of a tag, is an image of its own unless another image has it: as a
 * member of its index, as its referrer, or by the same digest.
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
  /** Repositories of manifests that were put there by digest: `app@sha256:…`. */
  const revisions = new Map<Digest, string>();
  const given = new Set(entries.filter(hasRefName).map((one) => layoutName(one, ownName)));
  for (const descriptor of entries) {
    const { digest } = descriptor;
    const name = layoutName(descriptor, ownName);
    const parts = name === undefined ? undefined : splitReference(name);
    const isRevision = parts?.digest === digest && parts.tag === undefined;
    if (isRevision) revisions.set(digest, parts.name);
    if (name === undefined || isRevision) {
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
  if (unnamed.length > 0) yield* unnamedImages(layout, listed, unnamed, { repositories, revisions }, options);
}

/** By the digest of their manifests, the repositories of images: of those with a tag, and of those without. */
interface Repositories {
  readonly repositories: ReadonlyMap<Digest, string | undefined>;
  readonly revisions: ReadonlyMap<Digest, string>;
}

async function* unnamedImages(
  layout: Layout,
  listed: readonly Descriptor[],
  unnamed: readonly Descriptor[],
  { repositories, revisions }: Repositories,
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
  const roots = topsOf(new Set(own.keys()), above);
  for (const [digest, descriptor] of own) {
    const root = roots.get(digest) ?? digest;
    const subject = subjects.get(digest);
    if (root === digest && !repositories.has(digest)) {
      const repository = revisions.get(digest);
      yield layoutImage(layout, descriptor, repository === undefined ? undefined : `${repository}@${digest}`);
    } else if (subject !== undefined) {
      // One that has a tag or is in an index besides is carried with that, and also found by its subject.
      const isBesides = owners.has(digest) || repositories.has(digest);
      if (isBesides && !untagged) continue;
      const repository = revisions.get(digest) ?? repositories.get(root);
      const name = repository === undefined ? undefined : `${repository}@${digest}`;
      yield { ...layoutImage(layout, descriptor, name), subject, untagged: isBesides || name === undefined };
    }
  }
}

/** What the manifest of an entry is, and its subject. */
interface Read {
  readonly size: number;
  readonly mediaType: string;
  readonly subject: Digest | undefined;
}

/** Each manifest is read once, and each entry held against it. */
async function readUnnamed(files: Files, unnamed: readonly Descriptor[]) {
  const own = new Map<Digest, Descriptor>();
  const subjects = new Map<Digest, Digest>();
  const unreadable = new Map<Digest, UnreadableImage>();
  /** Entries that say a wrong size or media type. */
  const wrong: UnreadableImage[] = [];
  const known = new Map<Digest, Read | undefined>();
  for (const descriptor of unnamed) {
    const { digest, annotations } = descriptor;
    const where = `${files.path}: ${digest}`;
    const unread = (error: unknown) => ({ name: undefined, where, error: asImgconvError(error, where) });
    if (unreadable.has(digest)) continue;
    try {
      if (!known.has(digest)) known.set(digest, await read(files, digest));
    } catch (error) {
      unreadable.set(digest, unread(error));
      continue;
    }
    const there = known.get(digest);
    try {
      if (there !== undefined) expectEntry(descriptor, there, `${files.path}: ${blobName(digest)}`);
    } catch (error) {
      wrong.push(unread(error));
      continue;
    }
    const said = annotations?.[REFERRER_SUBJECT] ?? '';
    const subject = there && (there.subject ?? (isDigest(said) ? said : undefined));
    if (subject !== undefined) subjects.set(digest, subject);
    if (!own.has(digest)) own.set(digest, descriptor);
  }
  return { own, subjects, unreadable, wrong };
}

async function read(files: Files, digest: Digest): Promise<Read | undefined> {
  const there = await readLayoutManifest(files, { digest });
  if (there === undefined) return undefined;
  const { descriptor, manifest } = there;
  return { size: descriptor.size, mediaType: manifest.mediaType, subject: subjectOf(manifest)?.digest };
}

/** @throws ImgconvError DIGEST_MISMATCH, MANIFEST_INVALID when an entry is not that of the manifest it leads to */
function expectEntry({ digest, size, mediaType }: Descriptor, there: Read, where: string): void {
  expectDigest({ digest, size }, { digest, size: there.size }, where);
  expectMediaType(mediaType, there.mediaType, where);
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
  const indexesIn = (descriptors: readonly Descriptor[]) =>
    descriptors.filter(({ mediaType }) => isIndexType(mediaType));
  for (const entry of entries) {
    const next = async ({ digest: index }: Descriptor) => {
      const there = await readLayoutManifest(files, { digest: index }).catch(() => undefined);
      const members = there === undefined ? [] : membersOf(there.manifest);
      for (const { digest } of members)
        if (wanted.has(digest) && !owners.has(digest)) owners.set(digest, entry.digest);
      return indexesIn(members);
    };
    await walk(indexesIn([entry]), next, seen);
  }
  return owners;
}

/** olareg, types/annotations.go: on an entry that is an index of an image's referrers, the digest of that image. */
const REFERRER_SUBJECT = 'org.opencontainers.image.referrer.subject';
