import { closeSync, openSync } from 'node:fs';
import { DEFAULT_LEVEL, gzip } from '../io/gzip.js';
import { writeFully } from '../io/jobs.js';
import { OncePerDigest } from '../io/once.js';
import type { Pool } from '../io/pool.js';
import type { Staging } from '../io/staging.js';
import { VerifiedBlob } from '../io/verified-blob.js';
import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import type { ImageManifest, ManifestNode } from '../model/manifest.js';
import { isContainerImage, manifestsOf } from '../model/manifest.js';
import { layerCompressionOf, withCompression, type Compression } from '../model/media-type.js';
import { editDescriptors, editManifest } from './edit.js';
import type { Closure } from './resolve.js';

export interface CompressionOptions {
  /** What layers become; `keep` leaves every one as it is. */
  readonly compression: 'keep' | 'none' | 'gzip';
  readonly level?: number | undefined;
  /** Also layers that are compressed already: their digests change though nothing asks for it. */
  readonly recompress?: boolean | undefined;
}

/** The form of a layer that the destination has already, by the digest of its uncompressed tar. */
export type KnownForms = ReadonlyMap<
  Digest,
  { readonly descriptor: Descriptor; readonly blob: VerifiedBlob }
>;

/** True for layers that would change. Only container images' layers are file systems. */
export function changesLayer(layer: Descriptor, { compression, recompress }: CompressionOptions): boolean {
  const now = layerCompressionOf(layer.mediaType);
  if (compression === 'keep' || now === undefined || now === compression) return false;
  return now === 'none' || recompress === true;
}

/** The layers that a conversion of this tree would change. */
export function changedLayers(root: ManifestNode, options: CompressionOptions): Descriptor[] {
  return manifestsOf(root)
    .filter(isContainerImage)
    .flatMap(({ manifest }) => (manifest.kind === 'image' ? manifest.layers : []))
    .filter((layer) => changesLayer(layer, options));
}

/** Turns layers into another compression, each once a run, and the manifests that name them with them. */
export class Recompressor {
  readonly #options: CompressionOptions;
  readonly #pool: Pool;
  readonly #staging: Staging;
  readonly #known: KnownForms;
  readonly #done = new OncePerDigest<VerifiedBlob>();
  readonly #onDone: (kind: 'compressed' | 'reused', size: number) => void;

  constructor(
    options: CompressionOptions,
    pool: Pool,
    staging: Staging,
    known: KnownForms,
    onDone: (kind: 'compressed' | 'reused', size: number) => void,
  ) {
    this.#options = options;
    this.#pool = pool;
    this.#staging = staging;
    this.#known = known;
    this.#onDone = onDone;
  }

  async apply(closure: Closure): Promise<Closure> {
    const layers = changedLayers(closure.root, this.#options);
    if (layers.length === 0) return closure;
    const forms = new Map<Digest, VerifiedBlob>();
    await Promise.all(
      layers.map(async ({ digest }) => {
        const blob = closure.blobs.get(digest);
        if (blob !== undefined) forms.set(digest, await this.#convert(blob));
      }),
    );
    const blobs = new Map(closure.blobs);
    for (const [digest, form] of forms) {
      blobs.delete(digest);
      blobs.set(form.digest, form);
    }
    const root = this.#rebuild(closure.root, forms, blobs);
    return {
      root,
      blobs,
      notes: [
        ...closure.notes,
        `${forms.size === 1 ? '1 layer is' : `${forms.size} layers are`} now ${this.#verb()}, so the digest is a new one`,
      ],
    };
  }

  #verb(): string {
    return this.#options.compression === 'none' ? 'uncompressed' : this.#options.compression;
  }

  #convert(blob: VerifiedBlob): Promise<VerifiedBlob> {
    return this.#done.run(blob, async () => {
      const known = this.#known.get(blob.digest);
      if (known !== undefined) {
        this.#onDone('reused', known.blob.size);
        return known.blob;
      }
      const path = this.#staging.path();
      const fd = openSync(path, 'wx', 0o644);
      try {
        const chunks =
          this.#options.compression === 'gzip'
            ? gzip(blob.uncompressed(), this.#pool, this.#options.level ?? DEFAULT_LEVEL)
            : blob.uncompressed();
        const made = await VerifiedBlob.staged(
          chunks,
          (chunk) => {
            writeFully(fd, chunk, null);
          },
          path,
          this.#pool,
        );
        this.#onDone('compressed', blob.size);
        return made;
      } finally {
        closeSync(fd);
      }
    });
  }

  #rebuild(
    node: ManifestNode,
    forms: Map<Digest, VerifiedBlob>,
    blobs: Map<Digest, VerifiedBlob>,
  ): ManifestNode {
    const { manifest } = node;
    if (manifest.kind === 'schema1') return node;
    const children = node.children.map((child) => this.#rebuild(child, forms, blobs));
    const changed = new Map(node.children.map((child, i) => [child.descriptor.digest, children[i] ?? child]));
    const same =
      manifest.kind === 'image'
        ? !manifest.layers.some(({ digest }) => forms.has(digest))
        : children.every((child, i) => child === node.children[i]);
    if (same) return node;
    const edited = editManifest(
      node,
      (raw) =>
        manifest.kind === 'image'
          ? { ...raw, layers: this.#layers(raw['layers'], manifest, forms) }
          : {
              ...raw,
              manifests: editDescriptors(raw['manifests'], (descriptor) => {
                const now = changed.get(String(descriptor['digest']) as Digest)?.descriptor;
                return now === undefined ? descriptor : { ...descriptor, digest: now.digest, size: now.size };
              }),
            },
      children,
    );
    blobs.delete(node.descriptor.digest);
    const { digest } = edited.descriptor;
    blobs.set(digest, VerifiedBlob.of(edited.bytes, digest, this.#pool, `manifest ${digest}`));
    return edited;
  }

  #layers(raw: unknown, manifest: ImageManifest, forms: Map<Digest, VerifiedBlob>): unknown[] {
    const to: Compression = this.#options.compression === 'gzip' ? 'gzip' : 'none';
    return editDescriptors(raw, (descriptor, i) => {
      const layer = manifest.layers[i];
      const form = layer === undefined ? undefined : forms.get(layer.digest);
      if (layer === undefined || form === undefined || !changesLayer(layer, this.#options)) return descriptor;
      return {
        ...descriptor,
        mediaType: withCompression(layer.mediaType, to),
        digest: form.digest,
        size: form.size,
      };
    });
  }
}
