import type { SourceImage } from '../formats/format.js';
import { ImgconvError } from '../model/errors.js';
import { blobsOf, membersOf } from '../model/graph.js';
import { fold, type ManifestNode } from '../model/tree.js';
import { isForeignLayer } from '../model/media-type.js';
import { editIndex } from './edit.js';

/**
 * What becomes of an index some of whose members are not all there: `refuse` names what is missing; `prune` makes a
 * new index of the complete ones; `sparse` keeps the index as it is and carries the complete ones.
 */
export type MissingMode = 'refuse' | 'prune' | 'sparse';

export interface Remaining {
  readonly root: ManifestNode;
  readonly notes: readonly string[];
}

/** @throws ImgconvError BLOB_MISSING when pruning leaves nothing */
export async function withoutMissing(
  source: SourceImage,
  root: ManifestNode,
  mode: MissingMode,
): Promise<Remaining> {
  if (mode === 'refuse' || root.manifest.kind !== 'index') return { root, notes: [] };
  const kept = await fold<ManifestNode | undefined>(root, async (node, members) => {
    if (node.manifest.kind !== 'index') return (await hasItsBlobs(source, node)) ? node : undefined;
    if (node.absent.length === 0 && members.every((member, i) => member === node.children[i])) return node;
    return mode === 'prune' ? prune(node, members) : sparse(node, members);
  });
  if (kept === root) return { root, notes: [] };
  if (kept === undefined) {
    throw new ImgconvError(
      'BLOB_MISSING',
      `${source.where}: none of the members of ${source.digest} is all there`,
      {
        hint: source.absentHint ?? 'the archive holds no image: save it again where its layers are',
      },
    );
  }
  const complete = kept.children.length;
  const all = membersOf(root.manifest).length;
  const what = `${complete} of ${all} members of the index ${root.descriptor.digest} ${complete === 1 ? 'is' : 'are'} there`;
  return {
    root: kept,
    notes: [mode === 'prune' ? `${what}; the new index has another digest` : `${what}; it is kept as it is`],
  };
}

async function hasItsBlobs(source: SourceImage, { manifest }: ManifestNode): Promise<boolean> {
  for (const { target } of blobsOf(manifest))
    if (!isForeignLayer(target.mediaType ?? '') && (await source.locate(target, 'blob')) === undefined)
      return false;
  return true;
}

/** The index of the members that are left, if there are any. */
function prune(node: ManifestNode, members: readonly (ManifestNode | undefined)[]): ManifestNode | undefined {
  const kept = new Map<string, ManifestNode>();
  for (const [i, { descriptor }] of node.children.entries()) {
    const member = members[i];
    if (member !== undefined) kept.set(descriptor.digest, member);
  }
  return kept.size === 0 ? undefined : editIndex(node, kept);
}

/** The same index; the members that are not whole count as absent. */
function sparse(node: ManifestNode, members: readonly (ManifestNode | undefined)[]): ManifestNode {
  const children = members.filter((member) => member !== undefined);
  const lost = node.children.filter((_, i) => members[i] === undefined);
  return { ...node, children, absent: [...node.absent, ...lost.map(({ descriptor }) => descriptor)] };
}
