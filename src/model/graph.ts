import type { Descriptor, PartialDescriptor } from './descriptor.js';
import type { Digest } from './digest.js';
import { ImgconvError } from './errors.js';
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

type Maybe<T> = T | undefined | Promise<T | undefined>;

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

/** A manifest whose bytes were proved against its digest. */
export interface ProvedManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  readonly manifest: Manifest;
}

/** A proved manifest with its members. */
export interface ManifestNode extends ProvedManifest {
  /** Members of an index, in its order; one the source lacks is not there (see `absent`). */
  readonly children: readonly ManifestNode[];
  /** Members of an index that the source lacks and the user chose to do without. */
  readonly absent: readonly Descriptor[];
}

/** A manifest that is there. */
export interface FoundManifest {
  /** For messages. */
  readonly where: string;
  readonly size: number;
  read(): ProvedManifest | Promise<ProvedManifest>;
}

/** Indexes nest in practice once; this bounds hostile ones. */
export const MAX_NESTING = 8;
/**
 * Members of all indexes of an image, each as often as it is named. An index that names another a thousand times, and
 * that a third, is small, and yet whoever walks down it would never come to an end.
 */
const MAX_MEMBERS = 10_000;
/** All manifests of one image together, in bytes: they are held in memory. */
const MAX_TREE = 64 * 1024 * 1024;

/** A manifest of a tree, and how many there are from it down. */
interface Subtree {
  readonly node: ManifestNode | undefined;
  readonly members: number;
}
const ABSENT: Subtree = { node: undefined, members: 1 };

/**
 * A manifest and all under it; undefined when `find` does not find it. Members that `find` does not find are `absent`. So are
 * members that cannot be read, if `onDamage` is given.
 * @throws ImgconvError MANIFEST_INVALID when there are too many, or they are nested too deep
 */
export async function readTree(
  root: PartialDescriptor,
  find: (wanted: PartialDescriptor) => Maybe<FoundManifest>,
  onDamage?: (member: Descriptor, error: unknown) => void,
): Promise<ManifestNode | undefined> {
  let total = 0;
  const known = new Map<string, Subtree>();
  const read = async (wanted: PartialDescriptor, depth: number): Promise<Subtree> => {
    const found = await find(wanted);
    if (found === undefined) return ABSENT;
    const refuse = (what: string) => new ImgconvError('MANIFEST_INVALID', `${found.where}: ${what}`);
    if ((total += found.size) > MAX_TREE)
      throw refuse(`with it the image's manifests exceed ${MAX_TREE} bytes`);
    if (depth > MAX_NESTING) throw refuse(`nested in more than ${MAX_NESTING} indexes`);
    const proved = await found.read();
    const children: ManifestNode[] = [];
    const absent: Descriptor[] = [];
    let members = 1;
    for (const member of membersOf(proved.manifest)) {
      // Named with another size or media type it is read once more, and refused if that is wrong.
      const key = `${member.digest} ${member.size} ${member.mediaType}`;
      const child = known.get(key) ?? (await readMember(member, depth + 1));
      known.set(key, child);
      if (child.node === undefined) absent.push(member);
      else children.push({ ...child.node, descriptor: member });
      if ((members += child.members) > MAX_MEMBERS)
        throw refuse(`it and the indexes in it have more than ${MAX_MEMBERS} members`);
    }
    return { node: { ...proved, children, absent }, members };
  };
  const readMember = async (member: Descriptor, depth: number) => {
    try {
      return await read(member, depth);
    } catch (error) {
      if (onDamage === undefined) throw error;
      onDamage(member, error);
      return ABSENT;
    }
  };
  return (await read(root, 0)).node;
}

/** All manifests of a tree, members before the index that names them, each digest once. */
export function manifestsOf(root: ManifestNode): ManifestNode[] {
  const seen = new Map<Digest, ManifestNode>();
  const visit = (node: ManifestNode) => {
    if (seen.has(node.descriptor.digest)) return;
    for (const child of node.children) visit(child);
    seen.set(node.descriptor.digest, node);
  };
  visit(root);
  return [...seen.values()];
}

/** Works a tree up from its leaves: `work` gets a node and what it made of the node's children, in their order. */
export async function fold<T>(
  node: ManifestNode,
  work: (node: ManifestNode, children: readonly T[]) => T | Promise<T>,
): Promise<T> {
  const children: T[] = [];
  for (const child of node.children) children.push(await fold(child, work));
  return work(node, children);
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
