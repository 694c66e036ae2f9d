import type { Located, SourceImage } from '../formats/format.js';
import type { Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { blobDescriptorsOf, type ManifestNode } from '../model/manifest.js';
import { isForeignLayer } from '../model/media-type.js';
import { editDescriptors, editManifest } from './edit.js';

/**
 * What becomes of an index some of whose members are not all there: `refuse` names what is missing; `prune` makes a
 * new index of the complete ones; `sparse` keeps the index as it is and carries the complete ones.
 */
export type MissingMode = 'refuse' | 'prune' | 'sparse';

export interface Remaining {
  readonly root: ManifestNode;
  readonly notes: readonly string[];
}

async function isComplete(
  source: SourceImage,
  { manifest, children, absent }: ManifestNode,
): Promise<boolean> {
  if (absent.length > 0) return false;
  for (const child of children) if (!(await isComplete(source, child))) return false;
  if (manifest.kind === 'index') return true;
  const blobs: readonly Located[] =
    manifest.kind === 'schema1' ? manifest.layers.map((digest) => ({ digest })) : blobDescriptorsOf(manifest);
  for (const blob of blobs) {
    const isThere = (await source.locate(blob, 'blob')) !== undefined;
    if (!isThere && !isForeignLayer(blob.mediaType ?? '')) return false;
  }
  return true;
}

/** @throws ImgconvError BLOB_MISSING when pruning leaves nothing */
export async function withoutMissing(
  source: SourceImage,
  root: ManifestNode,
  mode: MissingMode,
): Promise<Remaining> {
  if (mode === 'refuse' || root.manifest.kind !== 'index' || (await isComplete(source, root)))
    return { root, notes: [] };
  const kept = await (mode === 'prune' ? prune(source, root) : sparse(source, root));
  if (kept === undefined) {
    throw new ImgconvError(
      'BLOB_MISSING',
      `${source.where}: none of the members of ${source.digest} is all there`,
      {
        hint: 'the archive holds no image: save it again where its layers are',
      },
    );
  }
  const complete = kept.children.length;
  const all = root.manifest.manifests.length;
  const what = `${complete} of ${all} members of the index ${root.descriptor.digest} ${complete === 1 ? 'is' : 'are'} there`;
  return {
    root: kept,
    notes: [mode === 'prune' ? `${what}; the new index has another digest` : `${what}; it is kept as it is`],
  };
}

async function prune(source: SourceImage, node: ManifestNode): Promise<ManifestNode | undefined> {
  if (await isComplete(source, node)) return node;
  if (node.manifest.kind !== 'index') return undefined;
  const kept = new Map<Digest, ManifestNode>();
  for (const child of node.children) {
    const whole = await prune(source, child);
    if (whole !== undefined) kept.set(child.descriptor.digest, whole);
  }
  if (kept.size === 0) return undefined;
  return editManifest(
    node,
    (raw) => ({
      ...raw,
      manifests: editDescriptors(raw['manifests'], (descriptor) => {
        const now = kept.get(String(descriptor['digest']) as Digest)?.descriptor;
        return now && { ...descriptor, digest: now.digest, size: now.size };
      }),
    }),
    [...kept.values()],
  );
}

async function sparse(source: SourceImage, node: ManifestNode): Promise<ManifestNode> {
  const children: ManifestNode[] = [];
  const absent = [...node.absent];
  for (const child of node.children) {
    if (await isComplete(source, child)) children.push(child);
    else if (child.manifest.kind === 'index') children.push(await sparse(source, child));
    else absent.push(child.descriptor);
  }
  return { ...node, children, absent };
}
