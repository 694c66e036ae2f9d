import type { Descriptor, PartialDescriptor } from './descriptor.js';
import type { Digest } from './digest.js';
import { ImgconvError } from './errors.js';
import { MAX_NESTING, membersOf, type Maybe } from './graph.js';
import type { Manifest } from './manifest.js';

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
