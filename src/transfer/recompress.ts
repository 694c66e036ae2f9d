import pLimit, { type LimitFunction } from 'p-limit';
import { compress } from '../io/compress.js';
import { createHasher, expectDigest } from '../io/hash.js';
import { OncePerDigest } from '../io/once.js';
import type { Pool } from '../io/pool.js';
import { stageFile } from '../io/spool.js';
import type { Staging } from '../io/staging.js';
import { VerifiedBlob } from '../io/verified-blob.js';
import type { Descriptor } from '../model/descriptor.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import type { ImageManifest, ManifestNode } from '../model/manifest.js';
import { isContainerImage, manifestsOf } from '../model/manifest.js';
import { layerCompressionOf, withCompression, type Compression } from '../model/media-type.js';
import { editDescriptors, editManifest } from './edit.js';
import { readDiffIds, type Closure } from './resolve.js';

export interface CompressionOptions {
  /** What layers become; `keep` leaves every one as it is. */
  readonly compression: 'keep' | Compression;
  readonly level?: number | undefined;
  /** Also layers that are compressed already: their digests change though nothing asks for it. */
  readonly recompress?: boolean | undefined;
}

/** Layers that are there in the wanted compression already, by the digest of their uncompressed tars. */
export type KnownForms = ReadonlyMap<Digest, VerifiedBlob>;

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

/** Docker's schema 2 has no zstd, and a manifest is not turned into OCI's unasked. */
function expectForm(mediaType: string, to: Compression): void {
  if (withCompression(mediaType, to) !== undefined) return;
  throw new ImgconvError('FORMAT_UNSUPPORTED', `no ${to} form of ${mediaType} is registered`, {
    hint: '--compression gzip has one',
  });
}

/** The layer's tar, which throws at its end if it is not what the config says. */
async function* provedAs(diffId: Digest, blob: VerifiedBlob): AsyncGenerator<Uint8Array> {
  const hasher = createHasher(algorithmOf(diffId));
  let size = 0;
  for await (const chunk of blob.uncompressed()) {
    hasher.update(chunk);
    size += chunk.length;
    yield chunk;
  }
  expectDigest(
    { digest: diffId, size },
    { digest: hasher.digest(), size },
    `${blob.path}: uncompressed layer`,
  );
}

/**
 * Turns layers into another compression, each once a run, and the manifests that name them with them. `there` are
 * forms that the destination has, `staged` those that were made while the source passed as a stream.
 */
export class Recompressor {
  readonly #options: CompressionOptions;
  readonly #pool: Pool;
  readonly #staging: Staging;
  readonly #known: KnownForms;
  readonly #staged: KnownForms;
  readonly #done = new OncePerDigest<VerifiedBlob>();
  /** A layer keeps all threads busy by its pieces; more at once only hold more of them in memory. */
  readonly #atOnce: LimitFunction;
  readonly #onDone: (kind: 'compressed' | 'decompressed' | 'reused', size: number) => void;

  constructor(
    options: CompressionOptions,
    pool: Pool,
    staging: Staging,
    there: KnownForms,
    staged: KnownForms,
    onDone: (kind: 'compressed' | 'decompressed' | 'reused', size: number) => void,
  ) {
    this.#options = options;
    this.#pool = pool;
    this.#staging = staging;
    this.#atOnce = pLimit(pool.threads);
    this.#known = new Map([...staged, ...there]);
    this.#staged = new Map([...staged].filter(([diffId]) => !there.has(diffId)));
    this.#onDone = onDone;
  }

  /** @throws ImgconvError FORMAT_UNSUPPORTED when a media type has no such compression; DIGEST_MISMATCH */
  async apply(closure: Closure): Promise<Closure> {
    const { compression } = this.#options;
    const layers = changedLayers(closure.root, this.#options);
    if (layers.length === 0 || compression === 'keep') return closure;
    for (const { mediaType } of layers) expectForm(mediaType, compression);
    const diffIds = await readDiffIds(closure.root, closure.blobs);
    const forms = new Map<Digest, VerifiedBlob>();
    const made = await Promise.all(
      layers.map(async ({ digest }) => {
        const blob = closure.blobs.get(digest);
        return blob === undefined ? undefined : this.#convert(blob, diffIds.get(digest), compression);
      }),
    );
    // In the manifests' order, whichever was done first: archives are written in it.
    for (const [i, { digest }] of layers.entries()) {
      const form = made[i];
      if (form !== undefined) forms.set(digest, form);
    }
    const blobs = new Map(closure.blobs);
    for (const [digest, form] of forms) {
      blobs.delete(digest);
      blobs.set(form.digest, form);
    }
    const root = this.#rebuild(closure.root, forms, blobs);
    const what = forms.size === 1 ? '1 layer is' : `${forms.size} layers are`;
    const how = compression === 'none' ? 'uncompressed' : compression;
    return { root, blobs, notes: [...closure.notes, `${what} now ${how}, so the digest is a new one`] };
  }

  #convert(blob: VerifiedBlob, diffId: Digest | undefined, to: Compression): Promise<VerifiedBlob> {
    return this.#done.run(blob, async () => {
      const known = this.#known.get(diffId ?? blob.digest);
      if (known !== undefined) {
        if (this.#staged.has(diffId ?? blob.digest)) this.#onDone('compressed', blob.size);
        else this.#onDone('reused', known.size);
        return known;
      }
      const staged = await this.#atOnce(() => {
        const path = this.#staging.path();
        if (to === 'none') return blob.unpackTo(path, diffId);
        // A plain layer's own digest is its diffID, which is proved as it is read.
        const tar =
          diffId === undefined || diffId === blob.digest ? blob.uncompressed() : provedAs(diffId, blob);
        return stageFile(compress(tar, to, this.#pool, this.#options.level), path, this.#pool);
      });
      this.#onDone(to === 'none' ? 'decompressed' : 'compressed', blob.size);
      return VerifiedBlob.staged(staged, this.#pool);
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
    const { compression: to } = this.#options;
    if (to === 'keep') return [];
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
