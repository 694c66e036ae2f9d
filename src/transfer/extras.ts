import type { ManifestNode } from '../model/manifest.js';
import { editDescriptors, editManifest } from './edit.js';

/** Docker buildx marks an attestation with the digest of its image. */
export const ATTESTED = 'vnd.docker.reference.digest';

/** The tree without attestations; the same when it has none. */
export function withoutAttestations(root: ManifestNode): ManifestNode {
  if (root.manifest.kind !== 'index') return root;
  const isAttestation = (annotations: Readonly<Record<string, string>> | undefined) =>
    annotations?.[ATTESTED] !== undefined;
  if (!root.manifest.manifests.some(({ annotations }) => isAttestation(annotations))) return root;
  const kept = root.children.filter(({ descriptor }) => !isAttestation(descriptor.annotations));
  const digests = new Set<string>([
    ...kept.map(({ descriptor }) => descriptor.digest),
    ...root.absent.filter(({ annotations }) => !isAttestation(annotations)).map(({ digest }) => digest),
  ]);
  const edited = editManifest(
    root,
    (raw) => ({
      ...raw,
      manifests: editDescriptors(raw['manifests'], (one) =>
        digests.has(String(one['digest'])) ? one : undefined,
      ),
    }),
    kept,
  );
  return { ...edited, absent: root.absent.filter(({ digest }) => digests.has(digest)) };
}
