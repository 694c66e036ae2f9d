import { digestOf } from '../bytes/hash.js';
import { removeFile } from '../bytes/link.js';
import { ENCODER_NAMES, encoderTitle, type EncoderName } from '../codecs/encoders.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { counted, ImgconvError } from '../model/errors.js';
import { isContainerImage, parseManifest, type ImageManifest } from '../model/manifest.js';
import type { ManifestNode } from '../model/tree.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Staging } from '../storage/staging.js';
import type { Pool } from '../threads/pool.js';
import type { Closure } from './closure.js';
import { combinations } from './combinations.js';
import { MANIFEST_FORMS, type ManifestForm, type Named } from './manifest-forms.js';
import { isUnpacked } from './pushed.js';

/** What layers become: the tars themselves, or what a program makes of them. */
type Way = 'plain' | EncoderName;

export interface RestoreContext {
  readonly pool: Pool;
  readonly staging: Staging;
  /** Layers stay the files that they are staged as. */
  readonly asFiles: boolean;
  readonly onDone: (kind: 'compressed', size: number) => void;
}

/** What gives the expected digest. */
interface Match {
  readonly form: ManifestForm;
  readonly ways: readonly Way[];
  readonly bytes: Buffer;
  readonly digest: Digest;
}

/** No more manifests than these are tried: some seconds. */
const MOST = 2_000_000;

/**
 * Gives an image that an engine holds unpacked the digest that it had before it was pulled or loaded: layers are
 * compressed as the known programs do it, and manifests written in their forms, until one has that digest. Nothing but an
 * equal digest counts.
 */
export class Restorer {
  readonly #context: RestoreContext;

  constructor(context: RestoreContext) {
    this.#context = context;
  }

  /** @throws ImgconvError DIGEST_MISMATCH when no way leads there, with what was tried */
  async restore(closure: Closure, expected: readonly Digest[]): Promise<Closure> {
    const { root } = closure;
    if (expected.includes(root.descriptor.digest)) return closure;
    if (!isUnpacked(root) || !isContainerImage(root)) throw notRestored(expected, closure, 0);
    const { layers } = root.manifest;
    const made = new Map<string, VerifiedBlob>();
    const tars = [...new Map(layers.map((layer) => [layer.digest, layer])).keys()];
    for (const digest of tars) {
      const tar = closure.blobs.get(digest);
      if (tar !== undefined) made.set(keyOf('plain', digest), tar);
    }
    let match = findMatch(root.manifest, ['plain'], made, expected);
    const tried: Way[] = ['plain'];
    try {
      for (const encoder of ENCODER_NAMES) {
        if (match !== undefined) break;
        for (const [key, blob] of await this.#encoded(closure, tars, encoder)) made.set(key, blob);
        tried.push(encoder);
        match = findMatch(root.manifest, tried, made, expected);
      }
      if (match === undefined) throw notRestored(expected, closure, tried.length);
      for (const { digest, size } of layers)
        if (made.has(keyOf('plain', digest))) this.#context.onDone('compressed', size);
      return this.#closureOf(closure, root, match, made);
    } finally {
      const kept = new Set(match?.ways.map((way, i) => `${way} ${layers[i]?.digest ?? ''}`));
      for (const [key, blob] of made) if (!kept.has(key) && !key.startsWith('plain')) removeFile(blob.path);
    }
  }

  /** All layers side by side: one is one stream. */
  async #encoded(closure: Closure, tars: readonly Digest[], encoder: EncoderName) {
    const { pool, staging, asFiles } = this.#context;
    return Promise.all(
      tars.map(async (diffId) => {
        const blob = closure.blobs.get(diffId);
        if (blob === undefined) throw new ImgconvError('BLOB_MISSING', `${diffId}: not in the source`);
        const [path, spare] = [staging.path(), staging.path()];
        const file = await blob.encodeTo({ encoder, diffId, path, spare, flush: asFiles });
        return [keyOf(encoder, diffId), VerifiedBlob.staged(file, pool)] as const;
      }),
    );
  }

  #closureOf(
    closure: Closure,
    node: ManifestNode & { readonly manifest: ImageManifest },
    { form, ways, bytes, digest }: Match,
    made: ReadonlyMap<string, VerifiedBlob>,
  ): Closure {
    const { descriptor, manifest } = node;
    const blobs = new Map(closure.blobs);
    blobs.delete(descriptor.digest);
    for (const layer of manifest.layers) blobs.delete(layer.digest);
    for (const [i, layer] of manifest.layers.entries()) {
      const blob = made.get(keyOf(ways[i] ?? 'plain', layer.digest));
      if (blob !== undefined) blobs.set(blob.digest, blob);
    }
    const where = `manifest ${digest}`;
    blobs.set(digest, VerifiedBlob.of(bytes, digest, this.#context.pool, where));
    const root: ManifestNode = {
      ...node,
      descriptor: { ...descriptor, mediaType: form.mediaType, digest, size: bytes.length },
      bytes,
      manifest: parseManifest(bytes, where),
    };
    return { root, blobs, notes: [...closure.notes, noteOf(form, ways)] };
  }
}

function keyOf(way: Way, digest: Digest): string {
  return `${way} ${digest}`;
}

/** The manifest with the expected digest, of all that these ways can give with the last of them. */
function findMatch(
  { config, layers }: ImageManifest,
  ways: readonly Way[],
  made: ReadonlyMap<string, VerifiedBlob>,
  expected: readonly Digest[],
): Match | undefined {
  const algorithms = [...new Set(expected.map(algorithmOf))];
  const configNamed: Named = { digest: config.digest, size: config.size };
  let tries = 0;
  for (const chosen of combinations(layers.length, ways)) {
    const named = layers.map((layer, i): Named => {
      const way = chosen[i] ?? 'plain';
      const { digest, size } = made.get(keyOf(way, layer.digest)) ?? layer;
      return { digest, size, isPlain: way === 'plain' };
    });
    for (const form of MANIFEST_FORMS) {
      const bytes = form.bytes(configNamed, named);
      for (const algorithm of algorithms) {
        const digest = digestOf(bytes, algorithm);
        if (expected.includes(digest)) return { form, ways: chosen, bytes, digest };
      }
    }
    if ((tries += MANIFEST_FORMS.length) > MOST) return undefined;
  }
  return undefined;
}

function noteOf(form: ManifestForm, ways: readonly Way[]): string {
  const counts = new Map<Way, number>();
  for (const way of ways) counts.set(way, (counts.get(way) ?? 0) + 1);
  const how = [...counts].map(
    ([way, count]) => `${count} ${way === 'plain' ? 'uncompressed' : encoderTitle(way)}`,
  );
  const all = `all ${counted(ways.length, 'layer')} matched (${how.join('; ')})`;
  return `as expected: ${all}, manifest as ${form.title} writes it`;
}

function notRestored(expected: readonly Digest[], { root }: Closure, ways: number): ImgconvError {
  const { digest } = root.descriptor;
  const why =
    ways === 0
      ? `the image is ${digest}, and only one whose layers are all uncompressed can get another digest`
      : `none of ${ways} ways to compress its layers in ${MANIFEST_FORMS.length} forms of manifests gives it`;
  return new ImgconvError('DIGEST_MISMATCH', `expected ${expected.join(' or ')}: ${why}`, {
    hint: 'another image or another program: leave out --expect to give it a digest of its own',
  });
}
