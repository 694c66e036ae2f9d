import pLimit, { type LimitFunction } from 'p-limit';
import type { EncoderName } from '../codecs/encoders.js';
import { compress } from '../threads/compress.js';
import { createHasher, expectDigest } from '../bytes/hash.js';
import { OncePerDigest } from '../proof/once.js';
import { stageFile } from '../storage/spool.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { fold, type ManifestNode } from '../model/tree.js';
import type { ImageManifest } from '../model/manifest.js';
import { withCompression, type Compression } from '../model/media-type.js';
import type { Closure } from './closure.js';
import { changedLayers, changesLayer, expectForm, type LayerCompression } from './compression.js';
import { readDiffIds } from './configs.js';
import type { ExpectedDigests } from './expectations.js';
import { LayerTar, type EncodeContext } from './layer-tar.js';
import { Restorer } from './restore.js';
import { editDescriptors, editIndex, editManifest } from './edit.js';
import { encoderOf, isUnpacked, pushedManifest, pushedNote, type PushedBy } from './pushed.js';

/** Layers in the wanted compression that the destination has. */
export interface FormsThere {
  /** By the digest of their uncompressed tar; any of several may turn out to be damaged. */
  of(diffId: Digest): AsyncIterable<VerifiedBlob>;
}

/** Layers' new forms, by the digests that they had. */
type Forms = ReadonlyMap<Digest, VerifiedBlob>;

/** How and where layers are rewritten. */
export interface RecompressContext extends EncodeContext {
  /** Layers are unpacked into their places in an archive, not to files of their own. */
  readonly intoOne: boolean;
  readonly onDone: (kind: 'compressed' | 'decompressed' | 'reused', size: number) => void;
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
    `${blob.where}: uncompressed layer`,
  );
}

/**
 * Turns layers into another compression, each once a run, and the manifests that name them with them. `there` are
 * forms that the destination has.
 */
export class Recompressor {
  readonly #options: LayerCompression;
  readonly #context: RecompressContext;
  readonly #there: FormsThere;
  readonly #restorer: Restorer;
  /** By diffID: a config with a wrong one for a layer must not affect images with the right one. */
  readonly #done = new Map<Digest, OncePerDigest<VerifiedBlob>>();
  /** For one file, tars by diffID: the first layer that has one gives its size for all manifests. */
  readonly #tars = new Map<Digest, Promise<VerifiedBlob>>();
  /** Layers give the size that they unpack to; it is proved when they are written. */
  #relies: boolean;
  #relied = false;
  /** Layers that `onDone` was called for. */
  readonly #told = new Set<Digest>();
  /** The pieces of one layer keep all threads busy; more layers at once only take memory. */
  readonly #atOnce: LimitFunction;

  constructor(options: LayerCompression, context: RecompressContext, there: FormsThere) {
    this.#options = options;
    this.#context = context;
    this.#restorer = new Restorer(context);
    this.#atOnce = pLimit(context.pool.threads);
    this.#there = there;
    this.#relies = context.intoOne;
  }

  /**
   * To be called when an image could not be written. True when another try may help: sizes that layers give of
   * themselves were used and may be wrong. From then on none is used.
   */
  relyLess(): boolean {
    const relied = this.#relied;
    if (relied) {
      this.#done.clear();
      this.#tars.clear();
    }
    this.#relies = this.#relied = false;
    return relied;
  }

  /**
   * The image with its layers as `options` has them.
   * @throws ImgconvError FORMAT_UNSUPPORTED when a media type has no such compression; DIGEST_MISMATCH, also for an image
   * that has to get a digest and does not
   */
  async apply(closure: Closure, options: LayerCompression, expected?: ExpectedDigests): Promise<Closure> {
    if (expected === undefined) return this.#changed(closure, options);
    try {
      return await this.#restorer.restore(closure, expected.digests);
    } catch (error) {
      const isOther = error instanceof ImgconvError && error.code === 'DIGEST_MISMATCH';
      if (expected.isRequired || !isOther) throw error;
      const changed = await this.#changed(closure, options);
      return { ...changed, notes: [...changed.notes, error.message] };
    }
  }

  async #changed(closure: Closure, options: LayerCompression): Promise<Closure> {
    const { compression, pushedBy } = options;
    const layers = changedLayers(closure.root, options);
    const isPushed = pushedBy !== undefined && isUnpacked(closure.root);
    if (compression === 'keep' || (layers.length === 0 && !isPushed)) return closure;
    for (const { mediaType } of layers) expectForm(mediaType, compression);
    const diffIds = await readDiffIds(closure.root, closure.blobs, this.#context.pool, 'refuse');
    const made = await Promise.all(
      layers.map(async ({ digest }) => {
        const blob = closure.blobs.get(digest);
        if (blob === undefined) return [];
        return [[digest, await this.#convert(blob, diffIds.get(digest), compression)] as const];
      }),
    );
    // In the manifests' order, whichever was done first: archives are written in it.
    const forms = new Map(made.flat());
    const blobs = new Map(closure.blobs);
    for (const [digest, form] of forms) {
      blobs.delete(digest);
      blobs.set(form.digest, form);
    }
    if (isPushed) return this.#pushed(closure, pushedBy, forms, blobs);
    const root = await this.#rebuild(closure.root, forms, blobs);
    const what = forms.size === 1 ? '1 layer is' : `${forms.size} layers are`;
    const how = compression === 'none' ? 'uncompressed' : compression;
    return { root, blobs, notes: [...closure.notes, `${what} now ${how}, so the digest is a new one`] };
  }

  /** As `docker push` would have it. */
  #pushed(closure: Closure, pushedBy: PushedBy, forms: Forms, blobs: Map<Digest, VerifiedBlob>): Closure {
    const root = pushedManifest(closure.root, forms);
    this.#replace(closure.root, root, blobs);
    return { root, blobs, notes: [...closure.notes, pushedNote(pushedBy)] };
  }

  #replace(old: ManifestNode, { bytes, descriptor }: ManifestNode, blobs: Map<Digest, VerifiedBlob>): void {
    const { digest } = descriptor;
    blobs.delete(old.descriptor.digest);
    blobs.set(digest, VerifiedBlob.of(bytes, digest, this.#context.pool, `manifest ${digest}`));
  }

  #convert(blob: VerifiedBlob, diffId: Digest | undefined, to: Compression): Promise<VerifiedBlob> {
    const { pool, staging, asFiles } = this.#context;
    const onDone: RecompressContext['onDone'] = (kind, size) => {
      if (!this.#told.has(blob.digest)) this.#context.onDone(kind, size);
      this.#told.add(blob.digest);
    };
    const id = diffId ?? blob.digest;
    const done = this.#done.get(id) ?? new OncePerDigest<VerifiedBlob>();
    this.#done.set(id, done);
    return done.run(blob, async () => {
      const known = await this.#soundForm(id);
      if (known !== undefined) {
        onDone('reused', known.size);
        return known;
      }
      // By its place in the archive, not by its content: other places say nothing about this layer.
      const passed = blob.passedForm(diffId);
      if (passed !== undefined) {
        onDone('compressed', blob.size);
        return passed;
      }
      const made = await this.#atOnce(async () => {
        if (to === 'none') return this.#unpack(blob, diffId);
        if (this.#options.pushedBy !== undefined)
          return this.#encode(blob, id, encoderOf(this.#options.pushedBy));
        // A plain layer's own digest is its diffID, which is proved as it is read.
        const tar =
          diffId === undefined || diffId === blob.digest ? blob.uncompressed() : provedAs(diffId, blob);
        const compressed = compress(tar, to, pool, this.#options.level);
        return VerifiedBlob.staged(
          await stageFile(compressed, { path: staging.path(), flush: asFiles }, pool),
          pool,
        );
      });
      onDone(to === 'none' ? 'decompressed' : 'compressed', blob.size);
      return made;
    });
  }

  async #encode(blob: VerifiedBlob, diffId: Digest, encoder: EncoderName): Promise<VerifiedBlob> {
    const tar = new LayerTar(blob, this.#context, diffId);
    try {
      return await tar.file(encoder);
    } finally {
      tar.remove();
    }
  }

  /** One that the destination has; a damaged blob is no form of anything. */
  async #soundForm(diffId: Digest): Promise<VerifiedBlob | undefined> {
    for await (const form of this.#there.of(diffId)) {
      const isSound = await form.prove().then(
        () => true,
        () => false,
      );
      if (isSound) return form;
      this.#context.pool.expectRunning();
    }
    return undefined;
  }

  #unpack(blob: VerifiedBlob, diffId: Digest | undefined): Promise<VerifiedBlob> {
    if (!this.#context.intoOne || diffId === undefined) return this.#tarOf(blob, diffId);
    const known = this.#tars.get(diffId);
    if (known !== undefined) return known;
    const tar = this.#tarOf(blob, diffId);
    this.#tars.set(diffId, tar);
    tar.catch(() => this.#tars.delete(diffId));
    return tar;
  }

  async #tarOf(blob: VerifiedBlob, diffId: Digest | undefined): Promise<VerifiedBlob> {
    const { staging, pool } = this.#context;
    if (this.#relies && diffId !== undefined) {
      const size = await blob.unpackedSize();
      if (size !== undefined) {
        this.#relied = true;
        return blob.unpacked({ digest: diffId, size });
      }
    }
    return VerifiedBlob.staged(await blob.unpackTo(staging.path(), diffId), pool);
  }

  /** The tree with manifests that name the new forms; what `blobs` has of each changed manifest is replaced. */
  #rebuild(root: ManifestNode, forms: Forms, blobs: Map<Digest, VerifiedBlob>): Promise<ManifestNode> {
    return fold<ManifestNode>(root, (node, children) => {
      const edited = this.#edit(node, children, forms);
      if (edited === node) return node;
      this.#replace(node, edited, blobs);
      return edited;
    });
  }

  #edit(node: ManifestNode, children: readonly ManifestNode[], forms: Forms): ManifestNode {
    const { manifest } = node;
    if (manifest.kind === 'image' && manifest.layers.some(({ digest }) => forms.has(digest)))
      return editManifest(node, (raw) => ({ ...raw, layers: this.#layers(raw['layers'], manifest, forms) }));
    if (children.every((child, i) => child === node.children[i])) return node;
    const changed = new Map(
      node.children.map(({ descriptor }, i) => [descriptor.digest, children[i] ?? node] as const),
    );
    return editIndex(node, changed, node.absent);
  }

  #layers(raw: unknown, manifest: ImageManifest, forms: ReadonlyMap<Digest, VerifiedBlob>): unknown[] {
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
