import { expectDigest } from '../bytes/hash.js';
import { ENCODER_NAMES, encoderTitle } from '../codecs/encoders.js';
import type { Digest } from '../model/digest.js';
import { counted, ImgconvError } from '../model/errors.js';
import { isContainerImage, parseManifest, type ImageManifest } from '../model/manifest.js';
import type { ManifestNode } from '../model/tree.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Closure } from './closure.js';
import { EncodedLayers } from './encoded-layers.js';
import { LayerTar, type EncodeContext } from './layer-tar.js';
import { MANIFEST_FORMS, type ManifestForm } from './manifest-forms.js';
import { ManifestSearch, type Match, type Way } from './manifest-search.js';
import { isUnpacked } from './pushed.js';

export interface RestoreContext extends EncodeContext {
  readonly onDone: (kind: 'compressed', size: number) => void;
}

type Tars = ReadonlyMap<Digest, LayerTar>;
type ImageNode = ManifestNode & { readonly manifest: ImageManifest };

/**
 * Gives an image that an engine holds unpacked the digest that it had before it was pulled or loaded: layers are
 * compressed as the known programs do it, and manifests written in their forms, until one has that digest. Nothing but an
 * equal digest counts. There is one for all images of a run, which compresses the layers that they share once.
 */
export class Restorer {
  readonly #context: RestoreContext;
  readonly #most: number | undefined;
  readonly #layers = new EncodedLayers();
  /** Layers that `onDone` was called for. */
  readonly #told = new Set<Digest>();

  /** `most`: so many bytes of manifests are tried for one image, if not as many as `ManifestSearch` does. */
  constructor(context: RestoreContext, most?: number) {
    this.#context = context;
    this.#most = most;
  }

  /** @throws ImgconvError DIGEST_MISMATCH when no way leads there, with what was tried */
  async restore(closure: Closure, expected: readonly Digest[]): Promise<Closure> {
    const { root, blobs } = closure;
    if (expected.includes(root.descriptor.digest)) return closure;
    if (!isUnpacked(root) || !isContainerImage(root)) throw notUnpacked(expected, root);
    const tars = new Map<Digest, LayerTar>();
    for (const { digest } of root.manifest.layers) {
      const blob = blobs.get(digest);
      if (blob === undefined) throw notUnpacked(expected, root);
      if (!tars.has(digest)) tars.set(digest, new LayerTar(blob, this.#context));
    }
    const search = new ManifestSearch(root.manifest.config, expected, this.#context.pool, this.#most);
    this.#layers.hold(tars.keys());
    try {
      const match = await this.#find(root, search, tars);
      if (match === undefined) throw notRestored(expected, search);
      return await this.#closureOf(closure, root, match, tars);
    } finally {
      for (const tar of tars.values()) tar.remove();
      this.#layers.release(tars.keys());
    }
  }

  async #find({ manifest }: ImageNode, search: ManifestSearch, tars: Tars): Promise<Match | undefined> {
    const { layers } = manifest;
    let match = await search.add(
      'plain',
      layers.map(({ digest, size }) => ({ digest, size, isPlain: true })),
    );
    for (const encoder of ENCODER_NAMES) {
      if (match !== undefined || search.gaveUp) return match;
      // All layers side by side: one is one stream.
      const sums = await allOf(
        [...tars].map(async ([digest, tar]) => [digest, await this.#layers.sumOf(encoder, tar)] as const),
      );
      const made = new Map(sums);
      match = await search.add(
        encoder,
        layers.map((layer) => made.get(layer.digest) ?? layer),
      );
    }
    return match ?? search.tryThree();
  }

  async #closureOf(closure: Closure, node: ImageNode, match: Match, tars: Tars): Promise<Closure> {
    const { form, ways, bytes, digest } = match;
    const where = `manifest ${digest}`;
    const files = await allOf(
      node.manifest.layers.map((layer, i) => this.#layerOf(ways[i] ?? 'plain', tars.get(layer.digest))),
    );
    const blobs = new Map(closure.blobs);
    blobs.delete(node.descriptor.digest);
    for (const layer of node.manifest.layers) blobs.delete(layer.digest);
    for (const [i, file] of files.entries()) {
      const named = match.layers[i];
      if (file === undefined || named === undefined) continue;
      expectDigest(named, file, file.where);
      blobs.set(file.digest, file);
    }
    blobs.set(digest, VerifiedBlob.of(bytes, digest, this.#context.pool, where));
    const descriptor = { ...node.descriptor, mediaType: form.mediaType, digest, size: bytes.length };
    const root: ManifestNode = { ...node, descriptor, bytes, manifest: parseManifest(bytes, where) };
    return { root, blobs, notes: [...closure.notes, noteOf(form, ways)] };
  }

  async #layerOf(way: Way, tar: LayerTar | undefined): Promise<VerifiedBlob | undefined> {
    if (tar === undefined || way === 'plain') return tar?.blob;
    const file = await this.#layers.fileOf(way, tar);
    if (!this.#told.has(file.digest)) this.#context.onDone('compressed', tar.blob.size);
    this.#told.add(file.digest);
    return file;
  }
}

/** Waits for all, also when one fails: tars are removed after that, and other images wait for the same layers. */
async function allOf<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work);
  return Promise.all(work);
}

function noteOf(form: ManifestForm, ways: readonly Way[]): string {
  const counts = new Map<Way, number>();
  for (const way of ways) counts.set(way, (counts.get(way) ?? 0) + 1);
  const how = [...counts].map(([way, count]) => {
    const title = way === 'plain' ? 'uncompressed' : encoderTitle(way);
    return counts.size === 1 ? title : `${count} ${title}`;
  });
  const all = `${ways.length === 1 ? 'the layer' : `all ${ways.length} layers`} matched (${how.join('; ')})`;
  return `as expected: ${all}, manifest as ${form.title} writes it`;
}

function notUnpacked(expected: readonly Digest[], { descriptor }: ManifestNode): ImgconvError {
  const why = 'only one whose layers are all there and uncompressed can get another digest';
  return mismatch(expected, `the image is ${descriptor.digest}, and ${why}`);
}

function notRestored(expected: readonly Digest[], { ways, tried, gaveUp }: ManifestSearch): ImgconvError {
  const forms = `in ${MANIFEST_FORMS.length} forms of manifests`;
  return mismatch(
    expected,
    gaveUp
      ? `${counted(tried, 'combination')} tried, each ${forms}; there are more, which would take too long`
      : `none of ${ways} ways to compress its layers ${forms} gives it; ${counted(tried, 'combination')} tried`,
  );
}

function mismatch(expected: readonly Digest[], why: string): ImgconvError {
  return new ImgconvError('DIGEST_MISMATCH', `expected ${expected.join(' or ')}: ${why}`, {
    hint: 'another image or another program: leave out --expect to give it a digest of its own',
  });
}
