import type { Descriptor, PartialDescriptor } from './descriptor.js';
import type { Digest } from './digest.js';
import type { Manifest } from './manifest.js';

/*
 * What a manifest names, and every walk along that. A digest can have several roles, even in one manifest: member of an
 * index, subject, config, layer or blob of an artifact. It is read as a manifest only where it is named as one, as a
 * member or subject. Subjects are also named by tags: attached.ts.
 */

/** Members of an index, in its order. */
export function membersOf(manifest: Manifest): readonly Descriptor[] {
  return manifest.kind === 'index' ? manifest.manifests : [];
}

export function subjectOf(manifest: Manifest): Descriptor | undefined {
  return manifest.kind === 'schema1' ? undefined : manifest.subject;
}

/** A blob of a manifest, in one role. */
export interface BlobEdge {
  readonly role: 'config' | 'layer' | 'blob';
  /** Schema 1 names layers by digest alone. */
  readonly target: PartialDescriptor;
  /** For messages: `the config`, `layer 2 of 4`. */
  readonly label: string;
}

/** Config and layers of an image, or the blobs of an artifact. */
export function blobsOf(manifest: Manifest): BlobEdge[] {
  const all = (role: BlobEdge['role'], targets: readonly PartialDescriptor[]): BlobEdge[] =>
    targets.map((target, i) => ({ role, target, label: `${role} ${i + 1} of ${targets.length}` }));
  if (manifest.kind === 'index') return [];
  if (manifest.kind === 'artifact') return all('blob', manifest.blobs);
  const layers = all('layer', manifest.layers);
  if (manifest.kind === 'schema1') return layers;
  return [{ role: 'config', target: manifest.config, label: 'the config' }, ...layers];
}

export function blobDigestsOf(manifest: Manifest): readonly Digest[] {
  return blobsOf(manifest).map(({ target }) => target.digest);
}

/** The digests that a manifest names, and nothing more: those of a whole store fit into memory. */
export interface Named {
  readonly members: readonly Digest[];
  readonly blobs: readonly Digest[];
  readonly subject: Digest | undefined;
}

/** `one` gives one string for each digest. */
export function namedBy(manifest: Manifest, one: (digest: Digest) => Digest): Named {
  const all = (digests: readonly Digest[]) => [...new Set(digests)].map(one);
  const subject = subjectOf(manifest)?.digest;
  return {
    members: all(membersOf(manifest).map(({ digest }) => digest)),
    blobs: all(blobDigestsOf(manifest)),
    subject: subject && one(subject),
  };
}

/** Indexes nest in practice once; this bounds hostile ones. */
export const MAX_NESTING = 8;
export type Maybe<T> = T | undefined | Promise<T | undefined>;

/**
 * Calls `next` once for each digest that `roots` lead to, depth first; `next` gives what a digest leads to itself.
 * Cycles end. What is in `seen` counts as visited.
 */
export async function walk<T extends { readonly digest: Digest }>(
  roots: Iterable<T>,
  next: (at: T, depth: number) => Maybe<Iterable<T>>,
  seen = new Set<Digest>(),
): Promise<void> {
  const stack = [...roots].reverse().map((at) => ({ at, depth: 0 }));
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    const { at, depth } = top;
    if (seen.has(at.digest)) continue;
    seen.add(at.digest);
    const below = [...((await next(at, depth)) ?? [])].reverse();
    for (const one of below) stack.push({ at: one, depth: depth + 1 });
  }
}

/** What was reached, by role: a digest can be in both. */
export interface Reached {
  readonly manifests: Set<Digest>;
  /** Configs, layers and blobs of artifacts. */
  readonly blobs: Set<Digest>;
}

/**
 * All that `roots` need, which are manifests: their members, blobs and subjects, and their referrers. Only a digest that
 * was reached as a manifest is read as one. `read` gives undefined for what is not there, which is then not reached.
 */
export async function reach(
  roots: Iterable<Digest>,
  read: (digest: Digest) => Maybe<Named>,
  referrersOf: (subject: Digest) => readonly Digest[],
): Promise<Reached> {
  const reached: Reached = { manifests: new Set(), blobs: new Set() };
  const at = (digest: Digest) => ({ digest });
  await walk([...roots].map(at), async ({ digest }) => {
    const named = await read(digest);
    if (named === undefined) return undefined;
    reached.manifests.add(digest);
    for (const blob of named.blobs) reached.blobs.add(blob);
    const { members, subject } = named;
    return [...members, ...referrersOf(digest), ...(subject === undefined ? [] : [subject])].map(at);
  });
  return reached;
}

/**
 * For each digest the last that `above` leads to from it. Where that is a circle, the first of `digests` in it counts
 * as its top.
 */
export function topsOf(
  digests: ReadonlySet<Digest>,
  above: (digest: Digest) => Digest | undefined,
): Map<Digest, Digest> {
  const tops = new Map<Digest, Digest>();
  for (const digest of digests) {
    const path = new Set<Digest>();
    let top = digest;
    for (let next: Digest | undefined = digest; next !== undefined; next = above(next)) {
      top = tops.get(next) ?? next;
      if (tops.has(next) || (path.has(next) && digests.has(next))) break;
      path.add(next);
    }
    for (const one of path) tops.set(one, top);
  }
  return tops;
}
