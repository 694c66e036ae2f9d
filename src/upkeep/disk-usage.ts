import type { RegistryAccess } from '../formats/access.js';
import type { Place } from '../formats/table.js';
import { existingStorage } from '../storage/local.js';
import type { Digest } from '../model/digest.js';
import { blobsOf } from '../model/graph.js';
import { splitReference } from '../model/reference.js';
import { manifestsOf } from '../model/tree.js';
import { readSharedTree } from '../transfer/tree.js';
import { withReader } from './list.js';

/** What the images of one repository take, in bytes as their manifests say, each blob counted once. */
export interface RepositoryUsage {
  /** Undefined for images without a name. */
  readonly repository: string | undefined;
  /** Names. */
  readonly images: number;
  readonly size: number;
  /** Of blobs that no other repository of the place has: what deleting this one would free. */
  readonly unique: number;
}

export interface UsageReport {
  /** The largest first. */
  readonly repositories: readonly RepositoryUsage[];
  /** Of all blobs that images need, each once. */
  readonly size: number;
  /** Of files that no image needs; undefined for places in which garbage is not collected. */
  readonly unneeded: number | undefined;
  /** Images that cannot be read, and are not counted. */
  readonly unreadable: number;
}

/** More than one repository has the blob. */
const SHARED = -1;

interface Counted {
  readonly size: number;
  /** The repository by its number, or `SHARED`. */
  owner: number;
}

/** How much each repository of a place takes, and what is shared. Manifests are read, other blobs are not. */
export async function diskUsage(place: Place, access: RegistryAccess = {}): Promise<UsageReport> {
  const blobs = new Map<Digest, Counted>();
  const numbers = new Map<string | undefined, number>();
  const found: { repository: string | undefined; images: number; size: number }[] = [];
  let unreadable = 0;
  const read = withReader(place, access, async function* (reader, pool) {
    for await (const image of reader.images({ untagged: true })) {
      if ('error' in image) unreadable++;
      else
        try {
          yield {
            name: image.name,
            tagged: image.untagged !== true,
            root: await readSharedTree(image, pool),
          };
        } catch {
          unreadable++;
        }
    }
  });
  /** `repository digest` of what was counted for a repository that shares it. */
  const counted = new Set<string>();
  for await (const { name, tagged, root } of read) {
    const repository = name === undefined ? undefined : splitReference(name).name;
    const number = numbers.get(repository) ?? found.push({ repository, images: 0, size: 0 }) - 1;
    numbers.set(repository, number);
    const usage = found[number];
    if (usage === undefined) continue;
    if (tagged) usage.images++;
    for (const { descriptor, manifest } of manifestsOf(root))
      for (const { digest, size = 0 } of [descriptor, ...blobsOf(manifest).map(({ target }) => target)]) {
        const known = blobs.get(digest);
        if (known?.owner === number) continue;
        if (known === undefined) blobs.set(digest, { size, owner: number });
        else {
          const key = `${number} ${digest}`;
          if (counted.has(key)) continue;
          counted.add(key);
          if (known.owner !== SHARED) counted.add(`${known.owner} ${digest}`);
          known.owner = SHARED;
        }
        usage.size += size;
      }
  }
  const unique = found.map(() => 0);
  let all = 0;
  for (const { size, owner } of blobs.values()) {
    all += size;
    if (owner !== SHARED) unique[owner] = (unique[owner] ?? 0) + size;
  }
  return {
    repositories: found
      .map((one, i) => ({ ...one, unique: unique[i] ?? 0 }))
      .sort((a, b) => b.size - a.size || ((a.repository ?? '') < (b.repository ?? '') ? -1 : 1)),
    size: all,
    unneeded: await unneededIn(place, blobs),
    unreadable,
  };
}

async function unneededIn(
  { format, path, storage }: Place,
  needed: ReadonlyMap<Digest, unknown>,
): Promise<number | undefined> {
  if (format.blobStore === undefined) return undefined;
  let size = 0;
  const store = await format.blobStore(storage ?? existingStorage(path));
  for await (const blob of store.blobs()) if (!needed.has(blob.digest)) size += blob.size;
  for await (const upload of store.uploads()) size += upload.size;
  return size;
}
