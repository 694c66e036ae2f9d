import { statSync } from 'node:fs';
import { z } from 'zod';
import { digestOf, expectDigest } from '../../io/hash.js';
import { sniffCompression } from '../../io/inflate.js';
import type { Pool } from '../../io/pool.js';
import { headOf, type Bytes, type FileBytes } from '../../io/region.js';
import { indexTar, type TarIndex } from '../../io/tar-index.js';
import { parseConfig, type ImageConfig } from '../../model/config.js';
import { optional, type Descriptor } from '../../model/descriptor.js';
import { hexOf, type Digest } from '../../model/digest.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { MAX_CONFIG, MAX_MANIFEST, parseJson, parseWith } from '../../model/json.js';
import { parseManifest, type ImageManifest } from '../../model/manifest.js';
import {
  DOCKER_CONFIG,
  DOCKER_LAYER,
  DOCKER_MANIFEST,
  layerCompressionOf,
  OCI_CONFIG,
  OCI_MANIFEST,
  withCompression,
} from '../../model/media-type.js';
import { INDEX_FILE, layoutName, parseLayoutIndex } from '../../model/oci-layout.js';
import { familiarText } from '../../model/reference.js';
import type { ImageReader, ReadContext, SourceImage, UnreadableImage } from '../format.js';
import { blobName, hexInName, MANIFEST } from './paths.js';

/** An index that names itself cannot be made, but one can be nested deeper than anyone would read. */
const MAX_NESTING = 8;
const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';

const entriesSchema = z.array(
  z.object({
    Config: z.string().min(1),
    RepoTags: optional(z.array(z.string())),
    Layers: optional(z.array(z.string())),
  }),
);
type Entry = z.infer<typeof entriesSchema>[number];

/** An image of manifest.json with its config, which is what `docker load` goes by. */
interface Described {
  readonly entry: Entry;
  readonly config: ImageConfig;
  readonly configDigest: Digest;
  readonly configAt: FileBytes;
  readonly layers: readonly string[];
}

export function recognisesArchive(path: string): boolean {
  const stat = statSync(path);
  if (!stat.isFile()) return false;
  try {
    return indexTar(path).has(MANIFEST);
  } catch {
    return false;
  }
}

export function openArchive(file: string, { pool }: ReadContext): Promise<ImageReader> {
  const archive = new Archive(indexTar(file), pool);
  return Promise.resolve({ images: () => archive.images(), close: () => Promise.resolve() });
}

class Archive {
  readonly #index: TarIndex;
  readonly #pool: Pool;
  readonly #layout: readonly Descriptor[];
  readonly #entries: readonly Entry[];

  constructor(index: TarIndex, pool: Pool) {
    this.#index = index;
    this.#pool = pool;
    const manifest = this.#read(MANIFEST, MAX_CONFIG);
    if (manifest === undefined) {
      throw new ImgconvError(
        'FORMAT_UNKNOWN',
        `${index.path}: no manifest.json in it: not what docker save writes`,
      );
    }
    const where = `${index.path}: ${MANIFEST}`;
    this.#entries = parseWith(entriesSchema, parseJson(manifest, where), where);
    const layout = this.#read(INDEX_FILE, MAX_MANIFEST);
    this.#layout = layout === undefined ? [] : parseLayoutIndex(layout, `${index.path}: ${INDEX_FILE}`);
  }

  #read(name: string, limit: number): Uint8Array | undefined {
    const at = this.#index.get(name);
    if (at === undefined) return undefined;
    if (at.size > limit)
      throw new ImgconvError(
        'ARCHIVE_INVALID',
        `${this.#index.path}: ${name} has ${at.size} bytes, more than ${limit}`,
      );
    return headOf(at, at.size);
  }

  async *images(): AsyncGenerator<SourceImage | UnreadableImage> {
    const covered = new Set<Descriptor>();
    for (const entry of this.#entries) {
      const where = `${this.#index.path}: ${entry.RepoTags?.[0] ?? entry.Config}`;
      for (const name of entry.RepoTags?.length ? entry.RepoTags : [undefined]) {
        try {
          yield await this.#image(this.#describe(entry), name, where, covered);
        } catch (error) {
          for (const named of this.#namedLike(name)) covered.add(named);
          yield { name, where, error: asImgconvError(error, where) };
        }
      }
    }
    for (const descriptor of this.#layout) {
      if (covered.has(descriptor)) continue;
      const { name, tag } = layoutName(descriptor);
      yield this.#original(descriptor, name, `${this.#index.path}: ${name ?? tag ?? descriptor.digest}`);
    }
  }

  /** What `docker load` checks of an entry before its layers (moby tarexport/load.go). */
  #describe(entry: Entry): Described {
    const where = `${this.#index.path}: ${entry.Config}`;
    const bytes = this.#read(entry.Config, MAX_CONFIG);
    const configAt = this.#index.get(entry.Config);
    if (bytes === undefined || configAt === undefined)
      throw new ImgconvError('BLOB_MISSING', `${where}: named by ${MANIFEST} and not in the archive`);
    const configDigest = digestOf(bytes);
    const claimed = hexInName(entry.Config);
    if (claimed !== undefined && claimed !== hexOf(configDigest))
      throw new ImgconvError(
        'DIGEST_MISMATCH',
        `${where}: its digest is ${configDigest}, not what its name says`,
      );
    const config = parseConfig(bytes, where);
    const layers = entry.Layers ?? [];
    if (layers.length !== config.diffIds.length) {
      throw new ImgconvError(
        'ARCHIVE_INVALID',
        `${where}: the config has ${config.diffIds.length} diffIDs, ${MANIFEST} names ${layers.length} layers`,
      );
    }
    return { entry, config, configDigest, configAt, layers };
  }

  #namedLike(name: string | undefined): Descriptor[] {
    if (name === undefined) return [];
    return this.#layout.filter((one) => familiarText(layoutName(one).name ?? '') === familiarText(name));
  }

  /** The image with the manifest that the archive carries, if that agrees with manifest.json, else with one made from it. */
  async #image(
    described: Described,
    name: string | undefined,
    where: string,
    covered: Set<Descriptor>,
  ): Promise<SourceImage> {
    const named = this.#namedLike(name);
    for (const descriptor of named) covered.add(descriptor);
    for (const descriptor of named.length > 0 ? named : this.#layout) {
      const manifest = this.#findImage(descriptor, described.configDigest, MAX_NESTING);
      if (manifest === undefined || !this.#agrees(manifest, described)) continue;
      if (name === undefined) covered.add(descriptor);
      return this.#original(descriptor, name, where);
    }
    const made = await this.#make(described, name, where);
    if (named.length === 0) return made;
    const warning = `${INDEX_FILE} disagrees with ${MANIFEST}, which counts: the image has a new manifest`;
    return { ...made, warnings: [warning] };
  }

  /** The manifest with this config at or under an entry of index.json. @throws ImgconvError when one on the way is damaged */
  #findImage(descriptor: Descriptor, config: Digest, depth: number): ImageManifest | undefined {
    const name = blobName(descriptor.digest);
    const bytes = this.#read(name, MAX_MANIFEST);
    if (bytes === undefined || depth === 0) return undefined;
    const where = `${this.#index.path}: ${name}`;
    expectDigest(
      descriptor,
      {
        digest: digestOf(bytes, descriptor.digest.startsWith('sha512') ? 'sha512' : 'sha256'),
        size: bytes.length,
      },
      where,
    );
    const manifest = parseManifest(bytes, where, descriptor.mediaType);
    if (manifest.kind === 'image') return manifest.config.digest === config ? manifest : undefined;
    if (manifest.kind === 'schema1') return undefined;
    for (const member of manifest.manifests) {
      const found = this.#findImage(member, config, depth - 1);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * Same layers, as far as can be told without reading them: compressed ones are proved against the diffIDs when they
   * are read. A manifest whose layers are absent agrees if manifest.json's are absent too; nobody has them then.
   */
  #agrees(manifest: ImageManifest, { config, layers }: Described): boolean {
    if (manifest.layers.length !== config.diffIds.length) return false;
    const sameLayers = manifest.layers.every(
      ({ mediaType, digest }, i) => layerCompressionOf(mediaType) !== 'none' || digest === config.diffIds[i],
    );
    const present = (name: string) => this.#index.has(name);
    return (
      sameLayers &&
      (manifest.layers.every(({ digest }) => present(blobName(digest))) || !layers.every(present))
    );
  }

  #original(descriptor: Descriptor, name: string | undefined, where: string): SourceImage {
    return {
      name,
      where,
      digest: descriptor.digest,
      locate: (digest) => this.#index.get(blobName(digest)),
      provesDiffIds: true,
      signatures: [],
      warnings: [],
    };
  }

  /**
   * Docker's schema 2 manifest of the layers as they lie, as `docker push` would write it (OCI's when a layer is zstd,
   * which Docker has no media type for). The same archive always gives the same bytes.
   */
  async #make(described: Described, name: string | undefined, where: string): Promise<SourceImage> {
    const { config, configDigest, configAt } = described;
    const located = new Map<Digest, Bytes>([[configDigest, configAt]]);
    const found = described.layers.map((layer) => ({ layer, at: this.#index.get(layer) }));
    const missing = found.filter(({ at }) => at === undefined).map(({ layer }) => layer);
    if (missing.length > 0)
      throw new ImgconvError('BLOB_MISSING', `${where}: not in the archive: ${missing.join(', ')}`);
    const layers = [];
    for (const [i, diffId] of config.diffIds.entries()) {
      const at = found[i]?.at;
      if (at === undefined) continue;
      const compression = sniffCompression(headOf(at, 4));
      const digest =
        compression === 'none'
          ? diffId
          : (await this.#pool.scan({ kind: 'scan', from: at, algorithm: 'sha256' })).digest;
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
      name,
      where,
      digest,
      locate: (wanted) => located.get(wanted),
      provesDiffIds: true,
      signatures: [],
      warnings: [],
    };
  }
}
