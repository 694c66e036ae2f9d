import type { Bytes } from '../../src/bytes/region.js';
import { NOTHING_OF_ITS_OWN } from '../../src/formats/audit.js';
import { parseDigest, type Format, type ImageReader, type Place, type SourceImage } from '../../src/index.js';
import type { Part, Sample } from './images.js';

export interface RebuiltOptions {
  /** True when the reader says how many bytes there are. */
  readonly sized: boolean;
  /** What a blob is put together from; pieces of 1,000 bytes, each a buffer of its own, when it is not given. */
  readonly pieces?: ((blob: Part) => AsyncIterable<Uint8Array> | undefined) | undefined;
}

/** A format that can only be read, whose manifests and blobs lie nowhere: each is put together whenever it is read. */
export class RebuiltImages {
  /** How often each blob was put together, by digest. */
  readonly opened = new Map<string, number>();
  readonly #images: Readonly<Record<string, Sample>>;
  readonly #options: RebuiltOptions;

  constructor(images: Readonly<Record<string, Sample>>, options: RebuiltOptions) {
    this.#images = images;
    this.#options = options;
  }

  get place(): Place {
    const format: Format = {
      prefix: 'rebuilt',
      title: 'images that are put together from pieces',
      operand: 'NOTHING',
      recognises: () => false,
      open: () => Promise.resolve(this.#reader()),
      blobStore: undefined,
      remove: undefined,
      traits: {
        dropsHost: true,
        takesPort: false,
        holdsSignatures: false,
        uncompressedByNature: false,
        compressesSaved: false,
        sequential: false,
        remote: false,
        takesSparse: true,
      },
    };
    return { format, path: 'rebuilt' };
  }

  #reader(): ImageReader {
    const images = Object.entries(this.#images).map(([name, image]) => this.#image(name, image));
    return {
      images: async function* () {
        await Promise.resolve();
        yield* images;
      },
      attached: () => Promise.resolve({ images: [], notes: [] }),
      audit: NOTHING_OF_ITS_OWN,
      close: () => Promise.resolve(),
    };
  }

  #image(name: string, { root, members, blobs }: Sample): SourceImage {
    const parts = new Map([root, ...members, ...blobs].map((one) => [one.digest, one]));
    return {
      name,
      where: name,
      digest: parseDigest(root.digest, name),
      locate: ({ digest }) => {
        const blob = parts.get(digest);
        return blob && this.#bytes(blob);
      },
      provesDiffIds: false,
      signatures: [],
      warnings: [],
    };
  }

  #bytes(blob: Part): Bytes {
    return {
      kind: 'rebuilt',
      path: `rebuilt ${blob.digest}`,
      size: this.#options.sized ? blob.bytes.length : undefined,
      open: () => {
        this.opened.set(blob.digest, (this.opened.get(blob.digest) ?? 0) + 1);
        return this.#options.pieces?.(blob) ?? inPieces(blob.bytes);
      },
    };
  }
}

async function* inPieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000) {
    await Promise.resolve();
    yield new Uint8Array(bytes.subarray(at, at + 1000));
  }
}
