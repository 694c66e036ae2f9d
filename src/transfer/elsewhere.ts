import { sizeOf } from '../bytes/chunks.js';
import type { Bytes } from '../bytes/region.js';
import type { Attached, ImageReader, ReadContext, SourceImage, UnreadableImage } from '../formats/format.js';
import { openPlace } from '../formats/open.js';
import type { Place } from '../formats/table.js';
import type { Digest } from '../model/digest.js';
import { asImgconvError } from '../model/errors.js';

/** Places that blobs may be taken from, by their digests. Each is opened when something is first looked for. */
export class Elsewhere {
  readonly #places: readonly Place[];
  readonly #context: ReadContext;
  readonly #opened: Promise<Opened>[] = [];
  readonly #found = new Map<Digest, Promise<Bytes | undefined>>();

  constructor(places: readonly Place[], context: ReadContext) {
    this.#places = places;
    this.#context = context;
  }

  /** Where a blob is said to lie; what is read there is proved. @throws ImgconvError when a place cannot be read */
  find(digest: Digest): Promise<Bytes | undefined> {
    const found = this.#found.get(digest) ?? this.#look(digest);
    this.#found.set(digest, found);
    return found;
  }

  async #look(digest: Digest): Promise<Bytes | undefined> {
    for (const [i, place] of this.#places.entries()) {
      const { images } = await (this.#opened[i] ??= this.#open(place));
      for (const locate of images) {
        const at =
          (await locate({ digest }, 'blob').catch(unlessDamaged)) ??
          (await locate({ digest }, 'manifest').catch(unlessDamaged));
        if (at !== undefined) return at;
      }
    }
    return undefined;
  }

  async #open(place: Place): Promise<Opened> {
    const { format, path, reference } = place;
    const reader = await openPlace(place, this.#context).catch((error: unknown) => {
      throw asImgconvError(error, path);
    });
    const wanted = format.registry !== undefined && reference !== undefined ? [reference] : undefined;
    const images: Opened['images'][number][] = [];
    try {
      for await (const image of reader.images({ untagged: true, wanted }))
        if (!('error' in image)) images.push(async (...asked) => image.locate(...asked));
    } catch (error) {
      await reader.close();
      throw error;
    }
    return { reader, images };
  }

  async close(): Promise<void> {
    for (const opened of this.#opened)
      await opened.then(({ reader }) => reader.close()).catch(() => undefined);
  }
}

/** Of an image that is damaged there the blob may be elsewhere. @throws what is wrong with the place */
function unlessDamaged(error: unknown): undefined {
  const { code } = asImgconvError(error);
  if (
    !['BLOB_MISSING', 'DIGEST_MISMATCH', 'ARCHIVE_INVALID', 'MANIFEST_INVALID', 'NOT_FOUND', 'IO'].includes(
      code,
    )
  )
    throw error;
  return undefined;
}

interface Opened {
  readonly reader: ImageReader;
  /** Of each image. */
  readonly images: readonly ((...wanted: Parameters<SourceImage['locate']>) => Promise<Bytes | undefined>)[];
}

/** A place whose images find elsewhere what the place lacks of them. */
export class FilledReader implements ImageReader {
  readonly audit: ImageReader['audit'];
  readonly #reader: ImageReader;
  readonly #elsewhere: Elsewhere;

  constructor(reader: ImageReader, elsewhere: Elsewhere) {
    this.audit = reader.audit;
    this.#reader = reader;
    this.#elsewhere = elsewhere;
  }

  async *images(
    ...options: Parameters<ImageReader['images']>
  ): AsyncGenerator<SourceImage | UnreadableImage> {
    for await (const image of this.#reader.images(...options)) yield this.#filled(image);
  }

  async attached(...asked: Parameters<ImageReader['attached']>): Promise<Attached> {
    const { images, notes } = await this.#reader.attached(...asked);
    return { images: images.map((image) => this.#filled(image)), notes };
  }

  #filled(image: SourceImage | UnreadableImage): SourceImage | UnreadableImage {
    if ('error' in image) return image;
    return {
      ...image,
      // A reader may tell these when it is asked.
      name: image.name,
      where: image.where,
      locate: async (wanted, as) => {
        const own = await image.locate(wanted, as);
        const at = own ?? (await this.#elsewhere.find(wanted.digest));
        // One of another size cannot be it, and is not taken for a damaged one.
        const isSame =
          own !== undefined ||
          at === undefined ||
          wanted.size === undefined ||
          (await sizeOf(at)) === wanted.size;
        return isSame ? at : undefined;
      },
    };
  }

  async close(): Promise<void> {
    try {
      await this.#reader.close();
    } finally {
      await this.#elsewhere.close();
    }
  }
}
