import { removeFile } from '../bytes/link.js';
import type { Expected } from '../bytes/hash.js';
import type { EncoderName } from '../codecs/encoders.js';
import type { Digest } from '../model/digest.js';
import { OncePerDigest } from '../proof/once.js';
import type { VerifiedBlob } from '../proof/verified-blob.js';
import type { LayerTar } from './layer-tar.js';

/** The first that is tried. Its output is kept when it is first made; that of the others is only hashed then. */
const MOST_LIKELY: EncoderName = 'go-6';

/** What encoders make of the layers of a run, each layer once however many images have it. */
export class EncodedLayers {
  readonly #sums = new Map<EncoderName, OncePerDigest<Expected>>();
  readonly #files = new Map<EncoderName, OncePerDigest<VerifiedBlob>>();
  /** Files of the most likely encoder. */
  readonly #kept = new Map<Digest, VerifiedBlob>();
  /** Images at hand that have the layer. */
  readonly #users = new Map<Digest, number>();

  /** Digest and size. */
  sumOf(encoder: EncoderName, tar: LayerTar): Promise<Expected> {
    return onceOf(this.#sums, encoder).run(tar.blob, async () => {
      if (encoder !== MOST_LIKELY) return tar.sum(encoder);
      const { digest, size } = await this.#file(encoder, tar);
      return { digest, size };
    });
  }

  /** The file, which stays until the end of the run. */
  async fileOf(encoder: EncoderName, tar: LayerTar): Promise<VerifiedBlob> {
    const file = await this.#file(encoder, tar);
    if (encoder === MOST_LIKELY) this.#kept.delete(tar.blob.digest);
    return file;
  }

  #file(encoder: EncoderName, tar: LayerTar): Promise<VerifiedBlob> {
    return onceOf(this.#files, encoder).run(tar.blob, async () => {
      const file = await tar.file(encoder);
      if (encoder === MOST_LIKELY) this.#kept.set(tar.blob.digest, file);
      return file;
    });
  }

  hold(digests: Iterable<Digest>): void {
    for (const digest of digests) this.#users.set(digest, (this.#users.get(digest) ?? 0) + 1);
  }

  /** Removes files that no image took, of layers that no other image at hand has. */
  release(digests: Iterable<Digest>): void {
    for (const digest of digests) {
      const left = (this.#users.get(digest) ?? 1) - 1;
      this.#users.set(digest, left);
      const file = left === 0 ? this.#kept.get(digest) : undefined;
      if (file === undefined) continue;
      removeFile(file.path);
      this.#kept.delete(digest);
      onceOf(this.#files, MOST_LIKELY).forget(digest);
    }
  }
}

function onceOf<T>(all: Map<EncoderName, OncePerDigest<T>>, encoder: EncoderName): OncePerDigest<T> {
  const once = all.get(encoder) ?? new OncePerDigest<T>();
  all.set(encoder, once);
  return once;
}
