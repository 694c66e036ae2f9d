import type { SourceImage, UnreadableImage } from '../formats/format.js';
import type { Pool } from '../threads/pool.js';
import type { Digest } from '../model/digest.js';
import { subjectOf } from '../model/graph.js';
import { manifestsOf, type ManifestNode } from '../model/tree.js';
import { splitReference } from '../model/reference.js';
import { readSharedTree } from './tree.js';

/** Manifests by repository and digest: a digest that two repositories have is an image of each. */
export class Seen {
  readonly #keys = new Set<string>();

  add(image: SourceImage, digests: Iterable<Digest> = [image.digest]): void {
    for (const digest of digests) this.#keys.add(keyOf(image, digest));
  }

  has(image: SourceImage, digest: Digest = image.digest): boolean {
    return this.#keys.has(keyOf(image, digest));
  }
}

function keyOf({ name }: SourceImage, digest: Digest): string {
  return `${splitReference(name ?? '').name} ${digest}`;
}

/** Of all manifests of a tree, also of those that are absent. */
export function digestsOf(tree: ManifestNode): Digest[] {
  return manifestsOf(tree).flatMap(({ descriptor, absent }) =>
    [descriptor, ...absent].map(({ digest }) => digest),
  );
}

/**
 * The images without a tag that are no part of another: not of a tagged image, which `seen` has, no member of an index,
 * and no referrer of what is there.
 */
export async function untaggedImages(
  all: readonly (SourceImage | UnreadableImage)[],
  seen: Seen,
  pool: Pool,
): Promise<(SourceImage | UnreadableImage)[]> {
  // Also what was not read: attached images that are left out on purpose.
  for (const image of all) if ('digest' in image && image.untagged !== true) seen.add(image);
  const candidates = all.filter(
    (image) => image.untagged === true && !('digest' in image && seen.has(image)),
  );
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
