/** Media types of Docker (distribution spec "image manifest v2 schema 2") and OCI (image-spec media-types.md). */
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';
export const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json';
export const DOCKER_SCHEMA1 = 'application/vnd.docker.distribution.manifest.v1+json';
export const DOCKER_SCHEMA1_SIGNED = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';

/**
 * Artifact manifests: OCI's of image-spec v1.1.0-rc2 (artifact.md), which the release left out again, and what ORAS had
 * before it (oras-project/artifacts-spec). ORAS 0.14 to 1.0 and notation wrote them, and registries still hold them.
 */
export const ARTIFACT_MANIFESTS: readonly string[] = [
  'application/vnd.oci.artifact.manifest.v1+json',
  'application/vnd.cncf.oras.artifact.manifest.v1+json',
];

export type Compression = 'none' | 'gzip' | 'zstd';

/** Layer media types, family by family; `none` names the family. Docker has no registered zstd layer. */
const LAYERS: readonly Readonly<Record<Compression, string | undefined>>[] = [
  ...['diff', 'foreign.diff'].map((kind) => ({
    none: `application/vnd.docker.image.rootfs.${kind}.tar`,
    gzip: `application/vnd.docker.image.rootfs.${kind}.tar.gzip`,
    zstd: undefined,
  })),
  ...['layer', 'layer.nondistributable'].map((kind) => ({
    none: `application/vnd.oci.image.${kind}.v1.tar`,
    gzip: `application/vnd.oci.image.${kind}.v1.tar+gzip`,
    zstd: `application/vnd.oci.image.${kind}.v1.tar+zstd`,
  })),
];
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';
export const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar';

const COMPRESSIONS = ['none', 'gzip', 'zstd'] as const;

/** How a layer of this media type is compressed; undefined when it is not a file system layer. */
export function layerCompressionOf(mediaType: string): Compression | undefined {
  for (const family of LAYERS) {
    for (const compression of COMPRESSIONS) if (family[compression] === mediaType) return compression;
  }
  return undefined;
}

/**
 * True for layers that `docker load` unpacks: file systems, whether plain or compressed. containerd and buildx write the
 * zstd form of Docker's layers, which is registered nowhere (containerd core/images/mediatypes.go).
 */
export function isEngineLayer(mediaType: string): boolean {
  return layerCompressionOf(mediaType) !== undefined || mediaType === `${DOCKER_LAYER}.zstd`;
}

/** The layer media type of the same family with another compression; undefined when the family has none. */
export function withCompression(mediaType: string, compression: Compression): string | undefined {
  return LAYERS.find((family) => COMPRESSIONS.some((c) => family[c] === mediaType))?.[compression];
}

/** Layers that a source may lack, because they are fetched from their `urls` (Windows base images). */
export function isForeignLayer(mediaType: string): boolean {
  return mediaType.includes('.rootfs.foreign.diff.') || mediaType.includes('.layer.nondistributable.');
}

export function isIndexType(mediaType: string): boolean {
  return mediaType === OCI_INDEX || mediaType === DOCKER_LIST;
}

export function isSchema1Type(mediaType: string): boolean {
  return mediaType === DOCKER_SCHEMA1 || mediaType === DOCKER_SCHEMA1_SIGNED;
}

/** True for the configs that `docker load` and an engine understand, as opposed to those of artifacts. */
export function isImageConfig(mediaType: string): boolean {
  return mediaType === DOCKER_CONFIG || mediaType === OCI_CONFIG;
}
