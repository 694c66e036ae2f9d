import { digestOf } from '../bytes/hash.js';
import { encoderTitle, type EncoderName } from '../codecs/encoders.js';
import type { Digest } from '../model/digest.js';
import { isContainerImage, parseManifest } from '../model/manifest.js';
import { layerCompressionOf } from '../model/media-type.js';
import type { ManifestNode } from '../model/tree.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import { DOCKER_PUSH } from './manifest-forms.js';

/** What `docker push` makes, by the version of Go that Docker is built with: Go's encoder changed with 1.27. */
export const PUSHES = ['docker', 'docker:go1.27'] as const;
export type PushedBy = (typeof PUSHES)[number];

export function isPushedBy(compression: string): compression is PushedBy {
  return PUSHES.some((one) => one === compression);
}

/** moby distribution/push_v2.go writes through compress/gzip at its default level, which is 6. */
export function encoderOf(pushedBy: PushedBy): EncoderName {
  return pushedBy === 'docker' ? 'go-6' : 'go1.27-6';
}

/** True for an image that `docker push` would make a manifest for: one that an engine holds unpacked. */
export function isUnpacked(node: ManifestNode): boolean {
  return (
    isContainerImage(node) &&
    node.manifest.layers.every(({ mediaType }) => layerCompressionOf(mediaType) === 'none')
  );
}

/** The manifest that `docker push` makes of these layers: distribution manifest/schema2/manifest.go, FromStruct. The config stays. */
export function pushedManifest(
  node: ManifestNode,
  forms: ReadonlyMap<Digest, Pick<VerifiedBlob, 'digest' | 'size'>>,
): ManifestNode {
  const { manifest } = node;
  if (manifest.kind !== 'image') return node;
  const layers = manifest.layers.map((layer) => forms.get(layer.digest) ?? layer);
  const bytes = DOCKER_PUSH.bytes(manifest.config, layers);
  const digest = digestOf(bytes);
  const descriptor = { ...node.descriptor, mediaType: DOCKER_PUSH.mediaType, digest, size: bytes.length };
  return { ...node, descriptor, bytes, manifest: parseManifest(bytes, `manifest ${digest}`) };
}

export function pushedNote(pushedBy: PushedBy): string {
  return `digest of docker push (${encoderTitle(encoderOf(pushedBy))})`;
}
