import { digestOf } from '../bytes/hash.js';
import type { Descriptor } from '../model/descriptor.js';
import { isObject, parseJson } from '../model/json.js';
import { parseManifest, type ManifestNode } from '../model/manifest.js';

/** A manifest of the same fields but for some. Authored here, so stringified once; all else stays as it was said. */
export function editManifest(
  node: ManifestNode,
  change: (raw: Record<string, unknown>) => Record<string, unknown>,
  children: readonly ManifestNode[],
): ManifestNode {
  const where = `manifest ${node.descriptor.digest}`;
  const raw = parseJson(node.bytes, where);
  const bytes = Buffer.from(JSON.stringify(change(isObject(raw) ? raw : {})));
  const manifest = parseManifest(bytes, where);
  const descriptor: Descriptor = { ...node.descriptor, digest: digestOf(bytes), size: bytes.length };
  return { descriptor, bytes, manifest, children, absent: [] };
}

/** Puts new digests and sizes into descriptors as they were read. */
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
