import { digestOf } from '../../bytes/hash.js';
import type { TarIndex } from '../../codecs/tar-index.js';
import type { Descriptor } from '../../model/descriptor.js';
import { algorithmOf, type Algorithm, type Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { MAX_NESTING, membersOf, walk } from '../../model/graph.js';
import type { ImageManifest } from '../../model/manifest.js';
import { layerCompressionOf } from '../../model/media-type.js';
import { blobName, INDEX_FILE, layoutName } from '../../model/oci-layout.js';
import { familiarText } from '../../model/reference.js';
import { readLayoutManifest } from '../layout.js';
import type { Described } from './configs.js';

/** Manifests at and under the entries of index.json, each as often as an entry leads to it. */
const MAX_MANIFESTS = 100_000;

/** A manifest, and the entry of index.json that leads to it. */
interface Candidate {
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
}

/** Manifests by the digests of their configs, and the algorithms of these. */
interface Sorted {
  readonly byConfig: ReadonlyMap<Digest, readonly Candidate[]>;
  readonly algorithms: ReadonlySet<Algorithm>;
}

/** The manifests of an archive's index.json, each read once. */
export class Manifests {
  readonly #index: TarIndex;
  readonly #entries: readonly Descriptor[];
  readonly #named = new Map<string, Descriptor[]>();
  readonly #read = new Map<Digest, readonly ImageManifest[]>();
  #count = 0;
  /** Entries some of whose members are absent. */
  readonly #partial = new Set<Digest>();
  /** All of them, for images that index.json has no name for. */
  #all: Sorted | undefined;

  constructor(index: TarIndex, entries: readonly Descriptor[]) {
    this.#index = index;
    this.#entries = entries;
    for (const descriptor of entries) {
      const name = familiarText(layoutName(descriptor) ?? '');
      const others = this.#named.get(name);
      if (others === undefined) this.#named.set(name, [descriptor]);
      else others.push(descriptor);
    }
  }

  /** The entries of index.json of this name. */
  named(name: string | undefined): readonly Descriptor[] {
    return name === undefined ? [] : (this.#named.get(familiarText(name)) ?? []);
  }

  /** True for an entry some of whose members are absent, once its manifests were looked for. */
  isPartial({ digest }: Descriptor): boolean {
    return this.#partial.has(digest);
  }

  /** Manifests of this config: those under the entries of its name if it has such, else all. */
  async of(
    { configAt, configDigest }: Described,
    named: readonly Descriptor[],
  ): Promise<readonly Candidate[]> {
    const { byConfig, algorithms } =
      named.length > 0 ? await this.#sort(named) : (this.#all ??= await this.#sort(this.#entries));
    return [...algorithms].flatMap((algorithm) => {
      const isOwn = algorithm === algorithmOf(configDigest);
      return byConfig.get(isOwn ? configDigest : digestOf(configAt.bytes, algorithm)) ?? [];
    });
  }

  /** By config, the first of each under one entry. */
  async #sort(entries: readonly Descriptor[]): Promise<Sorted> {
    const sorted = new Map<Digest, Candidate[]>();
    for (const descriptor of entries) {
      const seen = new Set<Digest>();
      for (const manifest of await this.#under(descriptor)) {
        const { digest } = manifest.config;
        if (seen.has(digest)) continue;
        seen.add(digest);
        const others = sorted.get(digest);
        if (others === undefined) sorted.set(digest, [{ descriptor, manifest }]);
        else others.push({ descriptor, manifest });
      }
    }
    return { byConfig: sorted, algorithms: new Set([...sorted.keys()].map(algorithmOf)) };
  }

  /** The image manifests at and under an entry of index.json. @throws ImgconvError when one is damaged */
  async #under(root: Descriptor): Promise<readonly ImageManifest[]> {
    const known = this.#read.get(root.digest);
    if (known !== undefined) return known;
    const found: ImageManifest[] = [];
    await walk([root], async (descriptor, depth) => {
      if (++this.#count > MAX_MANIFESTS)
        throw new ImgconvError(
          'ARCHIVE_INVALID',
          `${this.#index.path}: ${INDEX_FILE}: more than ${MAX_MANIFESTS} manifests under its entries`,
        );
      const manifest = (await readLayoutManifest(this.#index, descriptor))?.manifest;
      if (manifest === undefined && descriptor === root)
        throw new ImgconvError(
          'BLOB_MISSING',
          `${this.#index.path}: ${blobName(root.digest)}: named by ${INDEX_FILE} and not in the archive`,
        );
      if (manifest === undefined) this.#partial.add(root.digest);
      if (manifest?.kind === 'image') found.push(manifest);
      return manifest === undefined || depth >= MAX_NESTING ? [] : membersOf(manifest);
    });
    this.#read.set(root.digest, found);
    return found;
  }

  /**
   * Same layers, as far as can be told without reading them: compressed ones, and those of another algorithm, are proved against the diffIDs when they
   * are read. A manifest whose layers are absent agrees if manifest.json's are absent too; nobody has them then.
   */
  agrees(manifest: ImageManifest, { config, layers }: Described): boolean {
    if (manifest.layers.length !== config.diffIds.length) return false;
    const sameLayers = manifest.layers.every(({ mediaType, digest }, i) => {
      const diffId = config.diffIds[i];
      if (layerCompressionOf(mediaType) !== 'none' || diffId === undefined) return true;
      return digest === diffId || algorithmOf(digest) !== algorithmOf(diffId);
    });
    const present = (name: string) => this.#index.has(name);
    return (
      sameLayers &&
      (manifest.layers.every(({ digest }) => present(blobName(digest))) || !layers.every(present))
    );
  }
}
