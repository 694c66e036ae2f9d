import type { Digest } from '../model/digest.js';
import { blobsOf, membersOf } from '../model/graph.js';
import type { Backend } from './backend.js';

/** What a tag needs, and what would be free without it, in bytes as its manifests say. */
export interface TagUsage {
  readonly name: string;
  readonly digest: Digest;
  readonly size: number;
  readonly unique: number;
}

export interface Usage {
  readonly tags: readonly TagUsage[];
  /** Of all tags together, each blob once. */
  readonly size: number;
  /** True when there are more tags than were looked at. */
  readonly cut: boolean;
}

/** Tags that are looked at: more make no picture. */
const MOST = 5000;

interface Found {
  readonly name: string;
  readonly digest: Digest;
  readonly blobs: ReadonlyMap<Digest, number>;
}

interface All {
  readonly found: readonly Found[];
  readonly cut: boolean;
}

/** What was looked at is good for so many milliseconds: a page asks for two views of it. */
const FRESH_MS = 3000;
/** Others are served after so many tags. */
const BREATH = 16;
const known = new WeakMap<Backend, { readonly all: Promise<All>; readonly since: number }>();

/** Tags with all that they need; once for all who ask at the same time. */
function tagsOf(backend: Backend): Promise<All> {
  const last = known.get(backend);
  if (last !== undefined && Date.now() - last.since < FRESH_MS) return last.all;
  const all = look(backend.atHand);
  known.set(backend, { all, since: Date.now() });
  all.catch(() => known.delete(backend));
  return all;
}

async function look(backend: Backend): Promise<All> {
  const found: Found[] = [];
  for await (const repository of backend.repositories())
    for (const tag of await backend.tags(repository)) {
      if (found.length >= MOST) return { found, cut: true };
      if (found.length % BREATH === 0) await new Promise(setImmediate);
      const digest = await backend.resolve(repository, tag);
      if (digest === undefined) continue;
      const blobs = new Map<Digest, number>();
      await addBlobs(backend, repository, digest, blobs, 0);
      found.push({ name: `${repository}:${tag}`, digest, blobs });
    }
  return { found, cut: false };
}

/** What the tags of a registry share. */
export async function usageOf(backend: Backend): Promise<Usage> {
  const { found, cut } = await tagsOf(backend);
  /** By blob, the images that need it: two tags of one image are one. */
  const users = new Map<Digest, Set<Digest>>();
  const sizes = new Map<Digest, number>();
  for (const { digest, blobs } of found)
    for (const [blob, size] of blobs) {
      sizes.set(blob, size);
      users.set(blob, (users.get(blob) ?? new Set()).add(digest));
    }
  const sum = (blobs: Iterable<readonly [Digest, number]>) =>
    [...blobs].reduce((all, [, size]) => all + size, 0);
  const tags = found.map(({ name, digest, blobs }) => ({
    name,
    digest,
    size: sum(blobs),
    unique: sum([...blobs].filter(([blob]) => users.get(blob)?.size === 1)),
  }));
  return { tags: tags.sort((a, b) => b.unique - a.unique), size: sum(sizes), cut };
}

/** So many names are given for a blob. */
const MOST_NAMES = 10;

/** By blob of a tag, other tags that need it. */
export async function sharersOf(backend: Backend, name: string): Promise<Record<string, readonly string[]>> {
  const { found } = await tagsOf(backend);
  const own = found.find((one) => one.name === name);
  const others = found.filter((one) => one.digest !== own?.digest);
  return Object.fromEntries(
    [...(own?.blobs.keys() ?? [])].map((blob) => [
      blob,
      others
        .filter(({ blobs }) => blobs.has(blob))
        .slice(0, MOST_NAMES)
        .map((one) => one.name),
    ]),
  );
}

async function addBlobs(
  backend: Backend,
  repository: string,
  digest: Digest,
  blobs: Map<Digest, number>,
  depth: number,
): Promise<void> {
  const there = depth > 8 ? undefined : await backend.manifest(repository, digest).catch(() => undefined);
  if (there === undefined) return;
  blobs.set(digest, there.bytes.length);
  for (const { target } of blobsOf(there.manifest)) blobs.set(target.digest, target.size ?? 0);
  for (const member of membersOf(there.manifest))
    await addBlobs(backend, repository, member.digest, blobs, depth + 1);
}
