import { statSync } from 'node:fs';
import { basename } from 'node:path';
import * as z from 'zod';
import { MAGIC_LENGTH, sniffCompression } from '../../io/decompress.js';
import { digestOf } from '../../io/hash.js';
import type { Pool } from '../../io/pool.js';
import { headOf, type LocalBytes } from '../../io/region.js';
import { indexFile, openTar, packingOf, type TarIndex } from '../../io/tar-index.js';
import { diffIdAt, digestAt } from '../../io/verified-blob.js';
import { parseConfig, type ImageConfig } from '../../model/config.js';
import { optional, type Descriptor } from '../../model/descriptor.js';
import { hexOf, type Digest } from '../../model/digest.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { MAX_CONFIG, parseJson, parseWith } from '../../model/json.js';
import type { ImageManifest } from '../../model/manifest.js';
import {
  DOCKER_CONFIG,
  DOCKER_LAYER,
  DOCKER_MANIFEST,
  layerCompressionOf,
  OCI_CONFIG,
  OCI_MANIFEST,
  withCompression,
} from '../../model/media-type.js';
import { blobName, INDEX_FILE, layoutName, ownNameOf } from '../../model/oci-layout.js';
import { familiarText, splitReference } from '../../model/reference.js';
import type { ImageReader, ReadContext, SourceImage, UnreadableImage } from '../format.js';
import { layoutImage, layoutImages, readDocument, readLayout, readLayoutManifest } from '../layout.js';
import { MANIFEST, REPOSITORIES } from '../layout-tar.js';
import { ListingReader } from '../listing.js';
import { engineArchiveAudit } from './audit.js';
import { readLegacy } from './legacy.js';
import { hexInName } from './paths.js';

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
  readonly config: ImageConfig;
  readonly configDigest: Digest;
  readonly configAt: LocalBytes;
  readonly layers: readonly string[];
}

/** Packed archives are taken for docker's: what is in them shows when they are read, and OCI layouts are read too. */
export function recognisesArchive(path: string): boolean {
  if (!statSync(path).isFile()) return false;
  if (packingOf(path) !== 'none') return true;
  try {
    const index = indexFile(path);
    return index.has(MANIFEST) || index.has(REPOSITORIES);
  } catch {
    return false;
  }
}

export async function openArchive(file: string, { pool, spool }: ReadContext): Promise<ImageReader> {
  const index = await openTar(file, spool);
  if (index.has(MANIFEST)) {
    const archive = new Archive(index, pool);
    return new ListingReader(() => archive.images(), engineArchiveAudit(index, archive.named));
  }
  if (index.has(INDEX_FILE)) {
    const entries = readLayout(index);
    async function* images() {
      await Promise.resolve();
      yield* layoutImages(index, entries, ownNameOf(basename(file)), true);
    }
    return new ListingReader(images, engineArchiveAudit(index, []));
  }
  if (index.has(REPOSITORIES))
    return new ListingReader(() => legacyImages(index, pool), engineArchiveAudit(index, undefined));
  throw index.absent(`neither ${MANIFEST} nor ${INDEX_FILE} in it: no image archive`);
}

class Archive {
  readonly #index: TarIndex;
  readonly #pool: Pool;
  readonly #layout: readonly Descriptor[];
  readonly #entries: readonly Entry[];

  constructor(index: TarIndex, pool: Pool) {
    this.#index = index;
    this.#pool = pool;
    const where = `${index.path}: ${MANIFEST}`;
    const manifest = readDocument(index, MANIFEST, MAX_CONFIG) ?? new Uint8Array();
    this.#entries = parseWith(entriesSchema, parseJson(manifest, where), where);
    this.#layout = index.has(INDEX_FILE) ? readLayout(index) : [];
  }

  /** Members that manifest.json names. */
  get named(): string[] {
    return this.#entries.flatMap(({ Config, Layers }) => [Config, ...(Layers ?? [])]);
  }

  async *images(): AsyncGenerator<SourceImage | UnreadableImage> {
    const covered = new Set<Descriptor>();
    const repositories = new Map<Digest, string>();
    for (const entry of this.#entries) {
      const where = `${this.#index.path}: ${entry.RepoTags?.[0] ?? entry.Config}`;
      for (const name of entry.RepoTags?.length ? entry.RepoTags : [undefined]) {
        try {
          const image = await this.#image(entry, name, where, covered);
          if (image.name !== undefined) repositories.set(image.digest, splitReference(image.name).name);
          yield image;
        } catch (error) {
          for (const named of this.#namedLike(name)) covered.add(named);
          yield { name, where, error: asImgconvError(error, where) };
        }
      }
    }
    const left = this.#layout.filter((descriptor) => !covered.has(descriptor));
    yield* layoutImages(this.#index, left, '', true, repositories);
  }

  /** What `docker load` checks of an entry before its layers (moby tarexport/load.go). */
  #describe(entry: Entry): Described {
    const where = `${this.#index.path}: ${entry.Config}`;
    const bytes = readDocument(this.#index, entry.Config, MAX_CONFIG);
    if (bytes === undefined)
      throw new ImgconvError('BLOB_MISSING', `${where}: named by ${MANIFEST} and not in the archive`);
    const claimed = hexInName(entry.Config);
    if (claimed !== undefined && claimed !== hexOf(digestOf(bytes)))
      throw new ImgconvError(
        'DIGEST_MISMATCH',
        `${where}: its digest is ${digestOf(bytes)}, not what its name says`,
      );
    const layers = entry.Layers ?? [];
    const described = describe(bytes, layers, where);
    if (layers.length !== described.config.diffIds.length) {
      throw new ImgconvError(
        'ARCHIVE_INVALID',
        `${where}: the config has ${described.config.diffIds.length} diffIDs, ${MANIFEST} names ${layers.length} layers`,
      );
    }
    return described;
  }

  #namedLike(name: string | undefined): Descriptor[] {
    if (name === undefined) return [];
    return this.#layout.filter((one) => familiarText(layoutName(one) ?? '') === familiarText(name));
  }

  /** The image with the manifest that the archive carries, if that agrees with manifest.json, else with one made from it. */
  async #image(
    entry: Entry,
    name: string | undefined,
    where: string,
    covered: Set<Descriptor>,
  ): Promise<SourceImage> {
    const named = this.#namedLike(name);
    for (const descriptor of named) covered.add(descriptor);
    const only = named[0];
    // The containerd store names a config that it never fetched: the index alone can tell what there is.
    if (only !== undefined && !this.#index.has(entry.Config))
      return layoutImage(this.#index, only.digest, name, true);
    const described = this.#describe(entry);
    for (const descriptor of named.length > 0 ? named : this.#layout) {
      const manifest = this.#findImage(descriptor, described.configDigest, MAX_NESTING);
      if (manifest === undefined || !this.#agrees(manifest, described)) continue;
      covered.add(descriptor);
      // Without a tag, index.json may still know a name by digest.
      return layoutImage(this.#index, descriptor.digest, name ?? layoutName(descriptor), true);
    }
    const made = await makeImage(this.#index, this.#pool, described, name, where);
    if (named.length === 0) return made;
    const warning = `${INDEX_FILE} disagrees with ${MANIFEST}, which counts: the image has a new manifest`;
    return { ...made, warnings: [warning] };
  }

  /** The manifest with this config at or under an entry of index.json. @throws ImgconvError when one on the way is damaged */
  #findImage(descriptor: Descriptor, config: Digest, depth: number): ImageManifest | undefined {
    const manifest = depth === 0 ? undefined : readLayoutManifest(this.#index, descriptor);
    if (manifest === undefined) return undefined;
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
}

function describe(bytes: Uint8Array, layers: readonly string[], where: string): Described {
  const configAt: LocalBytes = { kind: 'memory', path: where, size: bytes.length, bytes };
  return { config: parseConfig(bytes, where), configDigest: digestOf(bytes), configAt, layers };
}

/** Images of before Docker 1.10, whose configs are rebuilt as `docker load` does. */
async function* legacyImages(index: TarIndex, pool: Pool): AsyncGenerator<SourceImage> {
  const diffIdOf = (name: string) => {
    const at = index.get(name);
    if (at === undefined)
      throw new ImgconvError('BLOB_MISSING', `${index.path}: ${name} is not in the archive`);
    return diffIdAt(at, pool);
  };
  const images = await readLegacy(index, (name, limit) => readDocument(index, name, limit), diffIdOf);
  for (const { names, config, layers } of images) {
    for (const name of names) {
      const where = `${index.path}: ${name}`;
      yield await makeImage(index, pool, describe(config, layers, `${where}: config`), name, where);
    }
  }
}

/**
 * Docker's schema 2 manifest of the layers as they lie, as `docker push` would write it (OCI's when a layer is zstd,
 * which Docker has no media type for). The same archive always gives the same bytes.
 */
async function makeImage(
  index: TarIndex,
  pool: Pool,
  described: Described,
  name: string | undefined,
  where: string,
): Promise<SourceImage> {
  const { config, configDigest, configAt } = described;
  const located = new Map<Digest, LocalBytes>([[configDigest, configAt]]);
  const found = described.layers.map((layer) => ({ layer, at: index.get(layer) }));
  const missing = found.filter(({ at }) => at === undefined).map(({ layer }) => layer);
  if (missing.length > 0)
    throw new ImgconvError('BLOB_MISSING', `${where}: not in the archive: ${missing.join(', ')}`);
  const layers = [];
  for (const [i, diffId] of config.diffIds.entries()) {
    const at = found[i]?.at;
    if (at === undefined) continue;
    const compression = sniffCompression(headOf(at, MAGIC_LENGTH));
    const digest = compression === 'none' ? diffId : await digestAt(at, pool);
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
    locate: ({ digest: wanted }) => located.get(wanted),
    provesDiffIds: true,
    signatures: [],
    warnings: [],
  };
}
