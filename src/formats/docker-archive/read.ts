import { basename } from 'node:path';
import * as z from 'zod';
import { MAGIC_LENGTH, sniffPacking } from '../../codecs/decompress.js';
import { documentAt } from '../../bytes/document.js';
import { digestOf } from '../../bytes/hash.js';
import { headOf, type LocalBytes } from '../../bytes/region.js';
import { openTar } from '../../codecs/open-tar.js';
import type { TarIndex } from '../../codecs/tar-index.js';
import { parseConfig, type ImageConfig } from '../../model/config.js';
import { arrayOf, optional, type Descriptor } from '../../model/descriptor.js';
import { algorithmOf, hexOf, type Algorithm, type Digest } from '../../model/digest.js';
import { asImgconvError, counted, ImgconvError } from '../../model/errors.js';
import { MAX_NESTING, membersOf, walk } from '../../model/graph.js';
import type { ImageManifest } from '../../model/manifest.js';
import { fieldsOf, inOwnCase, MAX_CONFIG, parseJson, parseWith } from '../../model/json.js';
import {
  DOCKER_CONFIG,
  DOCKER_LAYER,
  DOCKER_MANIFEST,
  layerCompressionOf,
  OCI_CONFIG,
  OCI_MANIFEST,
  withCompression,
} from '../../model/media-type.js';
import {
  blobName,
  INDEX_FILE,
  LAYOUT_FILE,
  layoutName,
  MANIFEST,
  ownNameOf,
  REPOSITORIES,
} from '../../model/oci-layout.js';
import { familiarText, splitReference } from '../../model/reference.js';
import { archiveSource } from '../archive-source.js';
import type { ImageReader, ListOptions, ReadContext, SourceImage, UnreadableImage } from '../format.js';
import { layoutImage, readDocument, readLayout, readLayoutManifest, type Layout } from '../layout.js';
import { layoutImages, numberedImages } from '../layout-images.js';
import { ListingReader } from '../listing.js';
import { noImages } from '../no-images.js';
import { engineArchiveAudit } from './audit.js';
import { Layers } from './layers.js';
import { readLegacy } from './legacy.js';
import { hexInName } from './paths.js';

const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';

const entriesSchema = arrayOf(
  z.object({
    Config: z.string().min(1),
    RepoTags: optional(arrayOf(z.string())),
    Layers: optional(arrayOf(z.string())),
  }),
);
/** Docker and skopeo read it in Go, which takes keys in any case; jib's own has them in lower case. */
const ENTRY_FIELDS = fieldsOf('Config', 'RepoTags', 'Layers');
type Entry = z.infer<typeof entriesSchema>[number];

/** An image of manifest.json with its config, which is what `docker load` goes by. */
interface Described {
  readonly config: ImageConfig;
  readonly configDigest: Digest;
  readonly configAt: LocalBytes;
  /** What is odd about it and does not count. */
  readonly warnings: readonly string[];
  readonly layers: readonly string[];
}

export async function openArchive(file: string, { pool, spool }: ReadContext): Promise<ImageReader> {
  const index = await openTar(archiveSource(file), spool);
  if (index.has(MANIFEST)) {
    const archive = await Archive.open(index, new Layers(index, pool, spool));
    return new ListingReader((options) => archive.images(options), engineArchiveAudit(index, archive.named));
  }
  if (index.has(INDEX_FILE)) {
    const entries = await readLayout(index);
    const layout = { files: index, ownName: ownNameOf(basename(file)), provesDiffIds: true };
    const images = (options: ListOptions) => numberedImages(layout, entries, options);
    return new ListingReader(images, engineArchiveAudit(index, []));
  }
  if (index.has(REPOSITORIES))
    return new ListingReader(
      () => legacyImages(index, new Layers(index, pool, spool)),
      engineArchiveAudit(index, undefined),
    );
  throw noImages(index);
}

/** All configs read of one archive, in bytes: links give one file many names. */
const MAX_CONFIGS = 64 * 1024 * 1024;
/** Manifests at and under the entries of index.json, each as often as an entry leads to it. */
const MAX_MANIFESTS = 100_000;

/** Names that manifest.json gives. */
const MAX_NAMES = 100_000;

type Config = Omit<Described, 'layers'>;

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

/** What manifest.json says, each part of it read once however often it is named. */
class Archive {
  readonly #index: TarIndex;
  readonly #asLayout: Layout;
  readonly #layers: Layers;
  readonly #layout: readonly Descriptor[];
  readonly #entries: readonly Entry[];
  readonly #named = new Map<string, Descriptor[]>();
  readonly #configs = new Map<string, Config>();
  #configBytes = 0;
  readonly #manifests = new Map<Digest, readonly ImageManifest[]>();
  #manifestCount = 0;
  /** Entries of index.json some of whose members are absent. */
  readonly #partial = new Set<Digest>();
  /** The whole of index.json, for entries that it has no name for. */
  #byConfig: Sorted | undefined;

  static async open(index: TarIndex, layers: Layers): Promise<Archive> {
    const where = `${index.path}: ${MANIFEST}`;
    const manifest = (await readDocument(index, MANIFEST, MAX_CONFIG)) ?? new Uint8Array();
    const raw = parseJson(manifest, where);
    const entries = Array.isArray(raw)
      ? raw.map((entry, i) => inOwnCase(entry, ENTRY_FIELDS, `${where}: ${i}`))
      : raw;
    const parsed = parseWith(entriesSchema, entries, where);
    const names = parsed.reduce((sum, { RepoTags }) => sum + Math.max(RepoTags?.length ?? 0, 1), 0);
    if (names > MAX_NAMES)
      throw new ImgconvError('ARCHIVE_INVALID', `${where}: ${names} images, more than ${MAX_NAMES}`);
    // Without its index a layout would be taken for an older archive, and its images get other manifests.
    if (index.has(LAYOUT_FILE) && !index.has(INDEX_FILE))
      throw new ImgconvError('ARCHIVE_INVALID', `${index.path}: ${LAYOUT_FILE} in it, and no ${INDEX_FILE}`);
    return new Archive(index, layers, parsed, index.has(INDEX_FILE) ? await readLayout(index) : []);
  }

  private constructor(
    index: TarIndex,
    layers: Layers,
    entries: readonly Entry[],
    layout: readonly Descriptor[],
  ) {
    this.#index = index;
    this.#asLayout = { files: index, ownName: '', provesDiffIds: true };
    this.#layers = layers;
    this.#entries = entries;
    this.#layout = layout;
    for (const descriptor of layout) {
      const name = familiarText(layoutName(descriptor) ?? '');
      const others = this.#named.get(name);
      if (others === undefined) this.#named.set(name, [descriptor]);
      else others.push(descriptor);
    }
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
          for (const named of this.#namedLike(name)) covered.add(named);
          yield { name, entries, where, error: asImgconvError(error, where) };
        }
      }
    }
    const left = this.#layout.filter((descriptor) => !covered.has(descriptor));
    yield* layoutImages(this.#asLayout, left, options, { entries: [...covered], repositories });
  }

  /** What `docker load` checks of an entry before its layers (moby tarexport/load.go). */
  async #describe(entry: Entry): Promise<Described> {
    const config = this.#configs.get(entry.Config) ?? (await this.#readConfig(entry.Config));
    this.#configs.set(entry.Config, config);
    const layers = entry.Layers ?? [];
    const { diffIds } = config.config;
    if (layers.length !== diffIds.length) {
      throw new ImgconvError(
        'ARCHIVE_INVALID',
        `${this.#index.path}: ${entry.Config}: the config has ${counted(diffIds.length, 'diffID')}, ${MANIFEST} names ${counted(layers.length, 'layer')}`,
      );
    }
    return { ...config, layers };
  }

  async #readConfig(name: string): Promise<Config> {
    const where = `${this.#index.path}: ${name}`;
    if ((this.#configBytes += this.#index.get(name)?.size ?? 0) > MAX_CONFIGS)
      throw new ImgconvError('ARCHIVE_INVALID', `${where}: the configs take more than ${MAX_CONFIGS} bytes`);
    const bytes = await readDocument(this.#index, name, MAX_CONFIG);
    if (bytes === undefined)
      throw new ImgconvError('BLOB_MISSING', `${where}: named by ${MANIFEST} and not in the archive`);
    const config = describe(bytes, where);
    const claimed = hexInName(name);
    if (claimed === undefined || claimed.hex === hexOf(config.configDigest)) return config;
    if (claimed.binding)
      throw new ImgconvError(
        'DIGEST_MISMATCH',
        `${where}: its digest is ${config.configDigest}, not what its name says`,
      );
    // Engines and skopeo go by the content alone.
    return {
      ...config,
      warnings: [`${name} is named after another digest: its own is ${config.configDigest}`],
    };
  }

  #namedLike(name: string | undefined): readonly Descriptor[] {
    return name === undefined ? [] : (this.#named.get(familiarText(name)) ?? []);
  }

  /** The image with the manifest that the archive carries, if that agrees with manifest.json, else with one made from it. */
  async #image(
    entry: Entry,
    name: string | undefined,
    make: (described: Described) => Promise<SourceImage>,
    covered: Set<Descriptor>,
  ): Promise<SourceImage> {
    const named = this.#namedLike(name);
    for (const descriptor of named) covered.add(descriptor);
    const only = named[0];
    // The containerd store names a config that it never fetched: the index alone can tell what there is.
    if (only !== undefined && !this.#index.has(entry.Config)) return layoutImage(this.#asLayout, only, name);
    const described = await this.#describe(entry);
    const candidates = await this.#candidates(named, described);
    for (const { descriptor, manifest } of candidates) {
      if (!this.#agrees(manifest, described)) continue;
      covered.add(descriptor);
      // Without a tag, index.json may still know a name by digest.
      return layoutImage(this.#asLayout, descriptor, name ?? layoutName(descriptor));
    }
    // One of the manifests that are absent may be the image's: what is not there disagrees with nothing.
    const partial = candidates.length === 0 && named.find(({ digest }) => this.#partial.has(digest));
    if (partial) return layoutImage(this.#asLayout, partial, name);
    const made = { ...(await make(described)), name };
    if (named.length === 0) return made;
    const warning = `${INDEX_FILE} disagrees with ${MANIFEST}, which counts: the image has a new manifest`;
    return { ...made, warnings: [warning, ...made.warnings] };
  }

  /** Manifests of this config, with the entries of index.json that lead to them: those of the name, or else all. */
  async #candidates(
    named: readonly Descriptor[],
    { configAt, configDigest }: Described,
  ): Promise<readonly Candidate[]> {
    const { byConfig, algorithms } =
      named.length > 0 ? await this.#sort(named) : (this.#byConfig ??= await this.#sort(this.#layout));
    return [...algorithms].flatMap((algorithm) => {
      const digest =
        algorithm === algorithmOf(configDigest)
          ? configDigest
          : digestOf(headOf(configAt, configAt.size), algorithm);
      return byConfig.get(digest) ?? [];
    });
  }

  /** By config, the first of each under one entry. */
  async #sort(entries: readonly Descriptor[]): Promise<Sorted> {
    const sorted = new Map<Digest, Candidate[]>();
    for (const descriptor of entries) {
      const seen = new Set<Digest>();
      for (const manifest of await this.#manifestsAt(descriptor)) {
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
  async #manifestsAt(root: Descriptor): Promise<readonly ImageManifest[]> {
    const known = this.#manifests.get(root.digest);
    if (known !== undefined) return known;
    const found: ImageManifest[] = [];
    await walk([root], async (descriptor, depth) => {
      if (++this.#manifestCount > MAX_MANIFESTS)
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
    this.#manifests.set(root.digest, found);
    return found;
  }

  /**
   * Same layers, as far as can be told without reading them: compressed ones, and those of another algorithm, are proved against the diffIDs when they
   * are read. A manifest whose layers are absent agrees if manifest.json's are absent too; nobody has them then.
   */
  #agrees(manifest: ImageManifest, { config, layers }: Described): boolean {
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

function describe(bytes: Uint8Array, where: string): Config {
  const configAt: LocalBytes = { kind: 'memory', path: where, size: bytes.length, bytes };
  return { config: parseConfig(bytes, where), configDigest: digestOf(bytes), configAt, warnings: [] };
}

/** Images of before Docker 1.10, whose configs are rebuilt as `docker load` does. */
async function* legacyImages(index: TarIndex, layers: Layers): AsyncGenerator<SourceImage> {
  const diffIdOf = (name: string) => {
    const at = index.get(name);
    if (at === undefined)
      throw new ImgconvError('BLOB_MISSING', `${index.path}: ${name} is not in the archive`);
    return layers.diffIdOf(at);
  };
  const read = (name: string, limit: number) => {
    const at = index.get(name);
    return at && documentAt(at, `${index.path}: ${name}`, limit);
  };
  const images = await readLegacy(index, read, diffIdOf);
  for (const { names, config, layers: named } of images) {
    const where = `${index.path}: ${names[0] ?? ''}`;
    const described = { ...describe(config, `${where}: config`), layers: named };
    const made = await makeImage(layers, described, where);
    for (const name of names) yield { ...made, name };
  }
}

/**
 * Docker's schema 2 manifest of the layers as they lie, as `docker push` would write it (OCI's when a layer is zstd,
 * which Docker has no media type for). Layers in bzip2 and xz, which engines unpack and no media type stands for, are in
 * it as tars. The same archive always gives the same bytes.
 */
async function makeImage(known: Layers, described: Described, where: string): Promise<SourceImage> {
  const { config, configDigest, configAt } = described;
  const located = new Map<Digest, LocalBytes>([[configDigest, configAt]]);
  const found = described.layers.map((layer) => ({ layer, at: known.at(layer) }));
  const missing = found.filter(({ at }) => at === undefined).map(({ layer }) => layer);
  if (missing.length > 0)
    throw new ImgconvError('BLOB_MISSING', `${where}: not in the archive: ${missing.join(', ')}`);
  const layers = [];
  const packings: string[] = [];
  for (const [i, diffId] of config.diffIds.entries()) {
    const packed = found[i]?.at;
    if (packed === undefined) continue;
    const packing = packingOf(packed);
    const isTar = packing === 'xz' || packing === 'bzip2';
    const at = isTar ? await known.unpacked(packed, packing) : packed;
    if (isTar) packings.push(packing);
    const compression = isTar ? 'none' : packing;
    const digest = compression === 'none' ? diffId : await known.digestOf(at);
    located.set(digest, at);
    layers.push({ compression, size: at.size, digest });
  }
  const oci = layers.some(({ compression }) => compression === 'zstd');
  const manifest = {
    schemaVersion: 2,
    mediaType: oci ? OCI_MANIFEST : DOCKER_MANIFEST,
    config: { mediaType: oci ? OCI_CONFIG : DOCKER_CONFIG, size: configAt.size, digest: configDigest },
    layers: layers.map(({ compression, size, digest }) => ({
      mediaType: withCompression(oci ? OCI_LAYER : DOCKER_LAYER, compression),
      size,
      digest,
    })),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = digestOf(bytes);
  located.set(digest, { kind: 'memory', path: `${where}: manifest`, size: bytes.length, bytes });
  return {
    name: undefined,
    where,
    digest,
    locate: ({ digest: wanted }) => located.get(wanted),
    provesDiffIds: true,
    isMade: true,
    signatures: [],
    warnings: [...described.warnings, ...noteOf(packings)],
  };
}

function packingOf(at: LocalBytes): ReturnType<typeof sniffPacking> {
  return sniffPacking(headOf(at, MAGIC_LENGTH));
}

function noteOf(packings: readonly string[]): string[] {
  return [...new Set(packings)].sort().map((packing) => {
    const count = packings.filter((one) => one === packing).length;
    return `${count} ${count === 1 ? 'layer' : 'layers'} in ${packing}, which no media type stands for: unpacked`;
  });
}
