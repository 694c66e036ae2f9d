import { digestOf } from '../bytes/hash.js';
import type { Descriptor } from '../model/descriptor.js';
import { parseManifest } from '../model/manifest.js';
import type { ManifestNode } from '../model/tree.js';
import { isObject, parseJson } from '../model/json.js';

/** A manifest with other values in some fields. It is stringified once; all else stays as it was read. */
export function editManifest(
  node: ManifestNode,
  change: (raw: Record<string, unknown>) => Record<string, unknown>,
): ManifestNode {
  const where = `manifest ${node.descriptor.digest}`;
  const raw = parseJson(node.bytes, where);
  const bytes = Buffer.from(JSON.stringify(change(isObject(raw) ? raw : {})));
  const manifest = parseManifest(bytes, where);
  const descriptor: Descriptor = { ...node.descriptor, digest: digestOf(bytes), size: bytes.length };
  return { ...node, descriptor, bytes, manifest };
}

/** Changes descriptors as they were read, or drops those that `change` gives undefined for. */
export function editDescriptors(
  raw: unknown,
  change: (descriptor: Record<string, unknown>, index: number) => Record<string, unknown> | undefined,
): unknown[] {
  if (!Array.isArray(raw)) return [];
  return raw.flatMap((one: unknown, index) => {
    const changed = isObject(one) ? change(one, index) : undefined;
    return changed === undefined ? [] : [changed];
  });
}

/**
 * An index with other members: `kept` has what each is now, by the digest that it had. Of the members that the source
 * lacks those in `absent` stay.
 */
export function editIndex(
  node: ManifestNode,
  kept: ReadonlyMap<string, ManifestNode>,
  absent: readonly Descriptor[] = [],
): ManifestNode {
  const isAbsent = new Set<unknown>(absent.map(({ digest }) => digest));
  const edited = editManifest(node, (raw) => ({
    ...raw,
    manifests: editDescriptors(raw['manifests'], (one) => {
      const now = kept.get(String(one['digest']))?.descriptor;
      if (now === undefined) return isAbsent.has(one['digest']) ? one : undefined;
      const { mediaType, digest, size } = now;
      return digest === one['digest'] ? one : { ...one, mediaType, digest, size };
    }),
  }));
  return { ...edited, children: [...kept.values()], absent };
}
