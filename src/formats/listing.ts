import { headOf, localOf } from '../io/region.js';
import { attachedTo } from '../model/attached.js';
import type { Digest } from '../model/digest.js';
import { MAX_MANIFEST } from '../model/json.js';
import { parseManifest } from '../model/manifest.js';
import { splitReference } from '../model/reference.js';
import type { Audit } from './audit.js';
import type { ImageReader, ListOptions, SourceImage, UnreadableImage } from './format.js';

/**
 * A place that can list all it has. What is attached to an image is found in that list: by tag, and by `subject`
 * among revisions without a tag.
 */
export class ListingReader implements ImageReader {
  readonly audit: Audit;
  readonly #list: (options: ListOptions) => AsyncIterable<SourceImage | UnreadableImage>;
  readonly #byRepository = new Map<string, SourceImage[]>();
  readonly #bySubject = new Map<string, Promise<ReadonlyMap<Digest, readonly SourceImage[]>>>();

  constructor(list: (options: ListOptions) => AsyncIterable<SourceImage | UnreadableImage>, audit: Audit) {
    this.#list = list;
    this.audit = audit;
  }

  async *images(options: ListOptions): AsyncGenerator<SourceImage | UnreadableImage> {
    for await (const image of this.#list(options)) {
      if (options.untagged && !('error' in image)) this.#remember(image);
      yield image;
    }
  }

  #remember(image: SourceImage): void {
    const repository = splitReference(image.name ?? '').name;
    const others = this.#byRepository.get(repository);
    if (others === undefined) this.#byRepository.set(repository, [image]);
    else others.push(image);
  }

  async attached({ name }: SourceImage, digests: ReadonlySet<Digest>): Promise<readonly SourceImage[]> {
    if (name === undefined) return [];
    const repository = splitReference(name).name;
    const known = this.#bySubject.get(repository) ?? this.#subjects(repository);
    this.#bySubject.set(repository, known);
    const found: SourceImage[] = [];
    for (const [digest, images] of await known) if (digests.has(digest)) found.push(...images);
    return [...found.filter(({ untagged }) => !untagged), ...found.filter(({ untagged }) => untagged)];
  }

  async #subjects(repository: string): Promise<ReadonlyMap<Digest, readonly SourceImage[]>> {
    const subjects = new Map<Digest, SourceImage[]>();
    for (const image of this.#byRepository.get(repository) ?? []) {
      const { tag } = splitReference(image.name ?? '');
      const digest = attachedTo(tag) ?? (tag === undefined ? await subjectOf(image) : undefined);
      if (digest === undefined) continue;
      const others = subjects.get(digest);
      if (others === undefined) subjects.set(digest, [image]);
      else others.push(image);
    }
    return subjects;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** What a manifest says it is about. It is proved when it is converted; here it only leads. */
async function subjectOf(image: SourceImage): Promise<Digest | undefined> {
  try {
    const at = await image.locate(image, 'manifest');
    if (at === undefined || at.size > MAX_MANIFEST) return undefined;
    const manifest = parseManifest(headOf(await localOf(at), at.size), at.path);
    return manifest.kind === 'schema1' ? undefined : manifest.subject?.digest;
  } catch {
    return undefined; // Unreadable: it speaks of nothing.
  }
}
