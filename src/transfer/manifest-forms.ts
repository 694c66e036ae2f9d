import type { Digest } from '../model/digest.js';
import {
  DOCKER_CONFIG,
  DOCKER_LAYER,
  DOCKER_MANIFEST,
  OCI_CONFIG,
  OCI_LAYER,
  OCI_MANIFEST,
  withCompression,
} from '../model/media-type.js';

/** A blob as a manifest names it. */
export interface Named {
  readonly digest: Digest;
  readonly size: number;
  /** True for a layer that is a plain tar. */
  readonly isPlain?: boolean | undefined;
}

/** How a program writes the manifest of an image. */
export interface ManifestForm {
  /** For reports: whose form it is. */
  readonly title: string;
  readonly mediaType: string;
  readonly bytes: (config: Named, layers: readonly Named[]) => Buffer;
}

interface Style {
  readonly isOci: boolean;
  /** Descriptors have their size before their digest, as in Go structures that are older than OCI's. */
  readonly sizeFirst: boolean;
  readonly indent: number;
  /** Of OCI's manifests, `mediaType` was left out by specifications before 1.1. */
  readonly withoutType?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
}

function formOf(title: string, style: Style): ManifestForm {
  const { isOci, sizeFirst, indent, withoutType, annotations } = style;
  const mediaType = isOci ? OCI_MANIFEST : DOCKER_MANIFEST;
  const layerType = isOci ? OCI_LAYER : DOCKER_LAYER;
  const named = (type: string | undefined, { digest, size }: Named) =>
    sizeFirst ? { mediaType: type, size, digest } : { mediaType: type, digest, size };
  const bytes = (config: Named, layers: readonly Named[]) => {
    const content = {
      schemaVersion: 2,
      ...(withoutType !== true && { mediaType }),
      config: named(isOci ? OCI_CONFIG : DOCKER_CONFIG, config),
      layers: layers.map((one) => named(withCompression(layerType, one.isPlain ? 'none' : 'gzip'), one)),
      ...(annotations && { annotations }),
    };
    return Buffer.from(JSON.stringify(content, null, indent));
  };
  return { title, mediaType, bytes };
}

/**
 * What buildah 1.28.2 writes in OCI's form of an image that it built from scratch. Of others it writes the name and the
 * digest of the base image, which no archive holds.
 */
const NO_BASE = { 'org.opencontainers.image.base.digest': '', 'org.opencontainers.image.base.name': '' };

export const DOCKER_PUSH = formOf('docker push', { isOci: false, sizeFirst: true, indent: 3 });
/**
 * As programs write them: moby's distribution (indent of 3), go-containerregistry and containers/image (none), BuildKit and
 * containerd (2).
 */
export const MANIFEST_FORMS: readonly ManifestForm[] = [
  DOCKER_PUSH,
  formOf('crane or skopeo', { isOci: false, sizeFirst: true, indent: 0 }),
  formOf('BuildKit', { isOci: true, sizeFirst: false, indent: 2 }),
  formOf('BuildKit', { isOci: false, sizeFirst: false, indent: 2 }),
  formOf('skopeo, podman or buildah', { isOci: true, sizeFirst: false, indent: 0 }),
  formOf('skopeo, podman or buildah', { isOci: true, sizeFirst: false, indent: 0, withoutType: true }),
  formOf('buildah', { isOci: true, sizeFirst: false, indent: 0, annotations: NO_BASE }),
  formOf('crane', { isOci: true, sizeFirst: true, indent: 0 }),
];
