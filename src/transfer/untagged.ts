import type { ImageReader, SourceImage, UnreadableImage } from '../formats/format.js';
import { IMAGES_A_BREATH, type Pool } from '../threads/pool.js';
import type { Digest } from '../model/digest.js';
import { subjectOf } from '../model/graph.js';
import { manifestsOf, type ManifestNode } from '../model/tree.js';
import { splitReference } from '../model/reference.js';
import { listOptions, type Selector } from './select.js';
import { readSharedTree } from './tree.js';

/** Digests by repository: a manifest that two repositories have is an image of each. */
export class DigestsIn {
  readonly #digests = new Map<string, Set<Digest>>();

  add(repository: string, digest: Digest): void {
    const others = this.#digests.get(repository);
    if (others === undefined) this.#digests.set(repository, new Set([digest]));
    else others.add(digest);
  }

  has(repository: string, digest: Digest): boolean {
    return this.#digests.get(repository)?.has(digest) === true;
  }
}

/** What is asked of a source. */
interface Asked {
  readonly selectors: readonly Selector[];
  readonly untagged?: boolean | undefined;
  readonly extras: boolean | 'listed';
}

/** Manifests by the repository of an image, and digest. */
export class Seen {
  readonly #digests = new DigestsIn();

  add(image: SourceImage, digests: Iterable<Digest> = [image.digest]): void {
    const repository = repositoryOf(image);
    for (const digest of digests) this.#digests.add(repository, digest);
  }

  has(image: SourceImage, digest: Digest = image.digest): boolean {
    return this.#digests.has(repositoryOf(image), digest);
  }
}

function repositoryOf({ name }: SourceImage): string {
  return splitReference(name ?? '').name;
}

/** Of all manifests of a tree, also of those that are absent. */
export function digestsOf(tree: ManifestNode): Digest[] {
  return manifestsOf(tree).flatMap(({ descriptor, absent }) =>
    [descriptor, ...absent].map(({ digest }) => digest),
  );
}

/** What a reader lists. */
interface Listed {
  /** Of which images are chosen. */
  readonly all: readonly (SourceImage | UnreadableImage)[];
  /** Where all of the source is asked for: images without a tag that no tag before them is of. */
  readonly revisions: (SourceImage | UnreadableImage)[];
  readonly count: number;
}

/** Lists what there is; `seen` gets those with a tag. @throws ImgconvError INTERRUPTED */
export async function listImages(
  reader: ImageReader,
  { selectors, untagged, extras }: Asked,
  seen: Seen,
  pool: Pool,
): Promise<Listed> {
  const asksUntagged = selectors.length === 0 && untagged !== false && extras !== 'listed';
  const all: (SourceImage | UnreadableImage)[] = [];
  const revisions: (SourceImage | UnreadableImage)[] = [];
  let count = 0;
  for await (const image of reader.images(listOptions(selectors, extras === true || asksUntagged))) {
    if (++count % IMAGES_A_BREATH === 0) await pool.breathe();
    if (image.untagged !== true || selectors.length > 0) all.push(image);
    else if (asksUntagged && !('digest' in image && seen.has(image))) revisions.push(image);
    // Also what is not read: attached images that are left out on purpose.
    if ('digest' in image && image.untagged !== true) seen.add(image);
  }
  return { all, revisions, count };
}

/**
 * Those of the images without a tag that are no part of another: not of a tagged image, which `seen` has, no member of an
 * index, and no referrer of what is there.
 */
export async function untaggedImages(
  all: readonly (SourceImage | UnreadableImage)[],
  seen: Seen,
  pool: Pool,
): Promise<(SourceImage | UnreadableImage)[]> {
  const candidates = all.filter((image) => !('digest' in image && seen.has(image)));
  const there = new Seen();
  const members = new Seen();
  const subjects = new Map<SourceImage, Digest>();
  for (const image of candidates) {
    if ('error' in image) continue;
    there.add(image);
    if (image.subject !== undefined) subjects.set(image, image.subject);
    // One that cannot be read has no members that are known; it fails when it is converted.
    const tree = await readSharedTree(image, pool).catch(() => undefined);
    if (tree === undefined) continue;
    members.add(
      image,
      digestsOf(tree).filter((digest) => digest !== image.digest),
    );
    const subject = subjectOf(tree.manifest);
    if (subject !== undefined) subjects.set(image, subject.digest);
  }
  return candidates.filter((image) => {
    if ('error' in image) return true;
    const subject = subjects.get(image);
    const isReferrer =
      image.subject !== undefined ||
      (subject !== undefined && [seen, there, members].some((one) => one.has(image, subject)));
    return !members.has(image) && !isReferrer;
  });
}
