import type { Descriptor } from '../model/descriptor.js';
import { membersOf } from '../model/graph.js';
import type { ManifestNode } from '../model/tree.js';
import { editIndex } from './edit.js';

/** The image that an attestation of Docker buildx is about, by digest. */
export function attestedBy({ annotations }: Descriptor): string | undefined {
  return annotations?.['vnd.docker.reference.digest'];
}

function isAttestation(descriptor: Descriptor): boolean {
  return attestedBy(descriptor) !== undefined;
}

/** The tree without attestations; the same when it has none. */
export function withoutAttestations(root: ManifestNode): ManifestNode {
  if (!membersOf(root.manifest).some(isAttestation)) return root;
  const kept = root.children.filter(({ descriptor }) => !isAttestation(descriptor));
  return editIndex(
    root,
    new Map(kept.map((node) => [node.descriptor.digest, node])),
    root.absent.filter((one) => !isAttestation(one)),
  );
}
