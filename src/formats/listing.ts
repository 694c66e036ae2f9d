import { documentOf } from '../bytes/document.js';
import { localOf } from '../bytes/region.js';
import { attachedTo, isCutTag, referrersTag } from '../model/attached.js';
import type { Digest } from '../model/digest.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { MAX_MANIFEST } from '../model/json.js';
import { splitReference } from '../model/reference.js';
import { expectManifestSize, readSubject } from '../proof/manifest.js';
import type { Audit } from './audit.js';
import type { Attached, ImageReader, ListOptions, SourceImage, UnreadableImage } from './format.js';

/** A layout of thousands of names for one image, and as many referrers of it, would become millions of images. */
const MAX_GIVEN = 30_000;

/**
 * A place that can list all it has. What is attached to an image is found in that list: by tag, and by `subject`
 * among revisions without a tag.
 */
export class ListingReader implements ImageReader {
  readonly audit: Audit;
  readonly #list: (options: ListOptions) => AsyncIterable<SourceImage | UnreadableImage>;
  readonly #byRepository = new Map<string, (SourceImage | UnreadableImage)[]>();
  readonly #bySubject = new Map<string, Promise<Subjects>>();
  /** By subject, those that the list itself gives one. */
  readonly #referrers = new Map<Digest, SourceImage[]>();
  #given = 0;

  constructor(list: (options: ListOptions) => AsyncIterable<SourceImage | UnreadableImage>, audit: Audit) {
    this.#list = list;
    this.audit = audit;
  }

  async *images(options: ListOptions): AsyncGenerator<SourceImage | UnreadableImage> {
    for await (const image of this.#list(options)) {
      if (options.untagged) this.#remember(image);
      yield image;
    }
  }

  #remember(image: SourceImage | UnreadableImage): void {
    if ('subject' in image && image.subject !== undefined) addTo(this.#referrers, image.subject, image);
    else addTo(this.#byRepository, splitReference(image.name ?? '').name, image);
  }

  async attached({ name }: SourceImage, digests: ReadonlySet<Digest>): Promise<Attached> {
    const { subjects, unreadable } = name === undefined ? NOTHING : await this.#subjectsIn(name);
    const known = [...digests].flatMap((digest) => this.#referrers.get(digest) ?? []);
    if ((this.#given += known.length) > MAX_GIVEN)
      throw new ImgconvError(
        'ARCHIVE_INVALID',
        `${known[0]?.where ?? ''}: images share their referrers more than ${MAX_GIVEN} times`,
        { hint: 'choose some of the images by name, or leave referrers out: --no-extras' },
      );
    const keys = [...digests].flatMap((digest) => [digest, referrersTag(digest)]);
    const found = [...keys.flatMap((key) => subjects.get(key) ?? []), ...known];
    const images = [
      ...found.filter(({ untagged }) => !untagged),
      ...found.filter(({ untagged }) => untagged),
      ...unreadable,
    ];
    return { images, notes: [] };
  }

  forgetAttached(): void {
    this.#byRepository.clear();
    this.#bySubject.clear();
    this.#referrers.clear();
  }

  #subjectsIn(name: string): Promise<Subjects> {
    const repository = splitReference(name).name;
    const known = this.#bySubject.get(repository) ?? this.#subjects(repository);
    this.#bySubject.set(repository, known);
    return known;
  }

  async #subjects(repository: string): Promise<Subjects> {
    const subjects = new Map<string, SourceImage[]>();
    const unreadable: UnreadableImage[] = [];
    const all = this.#byRepository.get(repository) ?? [];
    // Not asked for again: most are no referrers, and need not be held.
    this.#byRepository.delete(repository);
    for (const image of all) {
      if ('error' in image) {
        if (image.untagged === true) unreadable.push(image);
        continue;
      }
      try {
        const { tag } = splitReference(image.name ?? '');
        const digest = attachedTo(tag) ?? (tag === undefined ? await subjectOf(image) : undefined);
        const key = digest ?? (isCutTag(tag) ? tag : undefined);
        if (key !== undefined) addTo(subjects, key, image);
      } catch (error) {
        // One with a name of its own fails by that name.
        if (image.untagged !== true) continue;
        const { name, where } = image;
        unreadable.push({ name, where, untagged: true, error: asImgconvError(error, where) });
      }
    }
    return { subjects, unreadable };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** The referrers of the images of one repository. */
interface Subjects {
  /** By digest, or by a tag that has but a part of it. */
  readonly subjects: ReadonlyMap<string, readonly SourceImage[]>;
  /** Revisions whose subject cannot be read. */
  readonly unreadable: readonly UnreadableImage[];
}

const NOTHING: Subjects = { subjects: new Map(), unreadable: [] };

function addTo<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}

/** The subject that an image's manifest names. @throws ImgconvError when it is not there or not what its digest says */
async function subjectOf(image: SourceImage): Promise<Digest | undefined> {
  const { digest, where, entry } = image;
  const found = await image.locate({ digest }, 'manifest');
  if (found === undefined)
    throw new ImgconvError('BLOB_MISSING', `${where}: its manifest ${digest} is not there`);
  const at = await documentOf(found, MAX_MANIFEST);
  expectManifestSize(at.size, at.path);
  return readSubject(await localOf(at), { digest, ...entry });
}
