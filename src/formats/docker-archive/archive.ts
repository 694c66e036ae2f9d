import type { TarIndex } from '../../codecs/tar-index.js';
import type { Descriptor } from '../../model/descriptor.js';
import type { Digest } from '../../model/digest.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { INDEX_FILE, LAYOUT_FILE, layoutName, MANIFEST } from '../../model/oci-layout.js';
import { splitReference } from '../../model/reference.js';
import type { ListOptions, SourceImage, UnreadableImage } from '../format.js';
import { layoutImage, readLayout, type Layout } from '../layout.js';
import { layoutImages } from '../layout-images.js';
import { Configs, type Described } from './configs.js';
import { readEntries, type Entry } from './entries.js';
import type { Layers } from './layers.js';
import { makeImage } from './made-image.js';
import { Manifests } from './manifests.js';

/** An archive with manifest.json, which may be an OCI layout besides. */
export class Archive {
  readonly #index: TarIndex;
  readonly #layers: Layers;
  readonly #entries: readonly Entry[];
  readonly #layout: readonly Descriptor[];
  readonly #asLayout: Layout;
  readonly #configs: Configs;
  readonly #manifests: Manifests;

  static async open(index: TarIndex, layers: Layers): Promise<Archive> {
    const entries = await readEntries(index);
    // Without its index a layout would be taken for an older archive, and its images get other manifests.
    if (index.has(LAYOUT_FILE) && !index.has(INDEX_FILE))
      throw new ImgconvError('ARCHIVE_INVALID', `${index.path}: ${LAYOUT_FILE} in it, and no ${INDEX_FILE}`);
    return new Archive(index, layers, entries, index.has(INDEX_FILE) ? await readLayout(index) : []);
  }

  private constructor(
    index: TarIndex,
    layers: Layers,
    entries: readonly Entry[],
    layout: readonly Descriptor[],
  ) {
    this.#index = index;
    this.#layers = layers;
    this.#entries = entries;
    this.#layout = layout;
    this.#asLayout = { files: index, ownName: '', provesDiffIds: true };
    this.#configs = new Configs(index);
    this.#manifests = new Manifests(index, layout);
  }

  /** Members that manifest.json names. */
  get named(): string[] {
    return this.#entries.flatMap(({ Config, Layers }) => [Config, ...(Layers ?? [])]);
  }

  async *images(options: ListOptions): AsyncGenerator<SourceImage | UnreadableImage> {
    const covered = new Set<Descriptor>();
    const repositories = new Map<Digest, string>();
    for (const [number, entry] of this.#entries.entries()) {
      const entries = [number];
      const where = `${this.#index.path}: ${entry.RepoTags?.[0] ?? entry.Config}`;
      let made: Promise<SourceImage> | undefined;
      const make = (described: Described) => (made ??= makeImage(this.#layers, described, where));
      for (const name of entry.RepoTags?.length ? entry.RepoTags : [undefined]) {
        try {
          const image = await this.#image(entry, name, make, covered);
          if (image.name !== undefined) repositories.set(image.digest, splitReference(image.name).name);
          yield { ...image, entries };
        } catch (error) {
          for (const named of this.#manifests.named(name)) covered.add(named);
          yield { name, entries, where, error: asImgconvError(error, where) };
        }
      }
    }
    const left = this.#layout.filter((descriptor) => !covered.has(descriptor));
    yield* layoutImages(this.#asLayout, left, options, { entries: [...covered], repositories });
  }

  /** The image with the manifest that the archive carries, if that agrees with manifest.json, else with one made from it. */
  async #image(
    entry: Entry,
    name: string | undefined,
    make: (described: Described) => Promise<SourceImage>,
    covered: Set<Descriptor>,
  ): Promise<SourceImage> {
    const named = this.#manifests.named(name);
    for (const descriptor of named) covered.add(descriptor);
    const only = named[0];
    // The containerd store names a config that it never fetched: the index alone can tell what there is.
    if (only !== undefined && !this.#index.has(entry.Config)) return layoutImage(this.#asLayout, only, name);
    const described = await this.#configs.describe(entry);
    const candidates = await this.#manifests.of(described, named);
    for (const { descriptor, manifest } of candidates) {
      if (!this.#manifests.agrees(manifest, described)) continue;
      covered.add(descriptor);
      // Without a tag, index.json may still know a name by digest.
      return layoutImage(this.#asLayout, descriptor, name ?? layoutName(descriptor));
    }
    // One of the manifests that are absent may be the image's: what is not there disagrees with nothing.
    const partial = candidates.length === 0 && named.find((one) => this.#manifests.isPartial(one));
    if (partial) return layoutImage(this.#asLayout, partial, name);
    const made = { ...(await make(described)), name };
    if (named.length === 0) return made;
    const warning = `${INDEX_FILE} disagrees with ${MANIFEST}, which counts: the image has a new manifest`;
    return { ...made, warnings: [warning, ...made.warnings] };
  }
}
