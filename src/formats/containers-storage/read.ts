import { digestOf } from '../../bytes/hash.js';
import type { Bytes, MemoryBytes } from '../../bytes/region.js';
import { wholeFile } from '../../bytes/there.js';
import { parseConfig } from '../../model/config.js';
import { isDigest, type Digest } from '../../model/digest.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { MAX_CONFIG, MAX_MANIFEST } from '../../model/json.js';
import { parseManifest, type Manifest } from '../../model/manifest.js';
import { layerCompressionOf } from '../../model/media-type.js';
import { splitReference } from '../../model/reference.js';
import { NOTHING_OF_ITS_OWN } from '../audit.js';
import type { ImageReader, ListOptions, ReadContext, SourceImage, UnreadableImage } from '../format.js';
import { readDocument, type Files } from '../layout.js';
import { ListingReader } from '../listing.js';
import { madeImage, type MadeLayer } from '../made-image.js';
import { nearRoot } from '../running.js';
import { wantedMatcher } from '../wanted.js';
import { StorageLayers } from './layers.js';
import { documentPath, driversIn, isDriver, recognisesStorage, type Driver } from './paths.js';
import { readImageRecords, type ImageRecord } from './records.js';

/** `part`: a driver; undefined for all that there are. @throws ImgconvError NOT_FOUND, FORMAT_UNSUPPORTED, ARCHIVE_INVALID */
export async function openStorage(
  root: string,
  { part: driver, elsewhere }: ReadContext,
): Promise<ImageReader> {
  if (driver !== undefined && !isDriver(driver))
    throw new ImgconvError(
      'FORMAT_UNSUPPORTED',
      `${root}: storage driver ${driver}; imgconv reads overlay and vfs`,
    );
  const found = driver === undefined ? driversIn(root) : [driver];
  if (found.length === 0)
    throw new ImgconvError(
      'NOT_FOUND',
      `${root}: neither overlay-images nor vfs-images in it: no storage of podman`,
      {
        hint:
          nearRoot(root, 'var/lib/containers/storage', recognisesStorage) ??
          'root has it in /var/lib/containers/storage, other users in ~/.local/share/containers/storage',
      },
    );
  const files: Files = { path: root, get: (name) => wholeFile(`${root}/${name}`, root) };
  const stores: StoredImages[] = [];
  for (const one of found)
    stores.push(new StoredImages(files, one, await readImageRecords(files, one), elsewhere));
  async function* images(options: ListOptions) {
    for (const store of stores) yield* store.list(options);
  }
  return new ListingReader(images, NOTHING_OF_ITS_OWN);
}

/** A manifest of an image, as it was pulled or made. */
interface StoredManifest {
  readonly digest: Digest;
  readonly manifest: Manifest;
  readonly at: MemoryBytes;
}

class StoredImages {
  readonly #files: Files;
  readonly #driver: Driver;
  readonly #records: readonly ImageRecord[];
  readonly #layers: StorageLayers;

  constructor(
    files: Files,
    driver: Driver,
    records: readonly ImageRecord[],
    elsewhere: ReadContext['elsewhere'],
  ) {
    this.#files = files;
    this.#driver = driver;
    this.#records = records;
    this.#layers = new StorageLayers(files, driver, elsewhere);
  }

  async *list({ untagged, wanted }: ListOptions): AsyncGenerator<SourceImage | UnreadableImage> {
    const mayBeWanted = wantedMatcher(wanted);
    const byName = (a: ImageRecord, b: ImageRecord) => ((a.names[0] ?? '~') < (b.names[0] ?? '~') ? -1 : 1);
    const named = this.#records.filter(({ names }) => names.length > 0);
    const below = await this.#layers.chainsOf(named.map(({ layer }) => layer));
    for (const record of [...this.#records].sort(byName)) {
      if (!mayBeWanted(record.names)) continue;
      // A step of a build is an image only to who asks for it by its ID.
      const isStep = record.names.length === 0 && below.has(record.layer);
      if (isStep && !(untagged && wanted !== undefined)) continue;
      const image = await this.#image(record);
      const tagged = record.names.filter((name) => splitReference(name).tag !== undefined);
      for (const name of [...tagged].sort()) yield { ...image, name };
      if (tagged.length > 0) continue;
      const [name] = record.names;
      const repository = name === undefined ? undefined : splitReference(name).name;
      if (repository === undefined) yield { ...image, untagged: true };
      else yield { ...image, name: 'digest' in image ? `${repository}@${image.digest}` : name };
    }
  }

  async #image(record: ImageRecord): Promise<SourceImage | UnreadableImage> {
    const where = `${this.#files.path}: ${record.names[0] ?? record.id}`;
    try {
      const manifests = await this.#manifestsOf(record);
      const own = manifests.find(({ manifest }) => manifest.kind === 'image');
      const knownAs = knownAsOf(record, manifests);
      if (own !== undefined) return { ...(await this.#withLayers(record, manifests, own, where)), knownAs };
      const [list] = manifests;
      if (list === undefined)
        throw new ImgconvError('BLOB_MISSING', `${where}: the storage has no manifest of it`);
      return { ...this.#listOf(list, where), knownAs };
    } catch (error) {
      return { name: undefined, where, error: asImgconvError(error, where) };
    }
  }

  /** All that the storage has of an image, the one that counts first. */
  async #manifestsOf({ id, documents, digest }: ImageRecord): Promise<StoredManifest[]> {
    const found = new Map<Digest, StoredManifest>();
    for (const name of documents.filter((one) => /^manifest(?:-|$)/.test(one))) {
      const path = documentPath(this.#driver, id, name);
      const bytes = await readDocument(this.#files, path, MAX_MANIFEST);
      const where = `${this.#files.path}/${path}`;
      if (bytes === undefined) throw new ImgconvError('BLOB_MISSING', `${where}: not there`);
      const [own, claimed] = [digestOf(bytes), name.slice('manifest-'.length)];
      if (
        claimed !== '' &&
        isDigest(claimed) &&
        digestOf(bytes, 'sha256') !== claimed &&
        claimed.startsWith('sha256:')
      )
        throw new ImgconvError('DIGEST_MISMATCH', `${where}: damaged: its digest is ${own}`);
      const at = { kind: 'memory', path: where, size: bytes.length, bytes } as const;
      found.set(own, { digest: own, manifest: parseManifest(bytes, where), at });
    }
    return [...found.values()].sort((a, b) => Number(b.digest === digest) - Number(a.digest === digest));
  }

  /**
   * The image with a manifest of its own that names the layers as they are kept, unpacked, or with a new one. Blobs that were compressed in a
   * registry are not kept.
   */
  async #withLayers(
    { id, layer }: ImageRecord,
    manifests: readonly StoredManifest[],
    { manifest }: StoredManifest,
    where: string,
  ): Promise<SourceImage> {
    if (manifest.kind !== 'image') throw new TypeError('not an image');
    const { digest: imageId } = manifest.config;
    const at = await this.#config(id, imageId);
    const { diffIds } = parseConfig(at.bytes, at.path);
    const layers = await this.#layers.of(layer, diffIds, where);
    const made = madeImage({ config: { at, digest: imageId }, layers, where, warnings: [] });
    const exact = manifests.find((one) => names(one.manifest, layers));
    if (exact === undefined) return made;
    const locate: SourceImage['locate'] = (wanted, as) =>
      wanted.digest === exact.digest ? exact.at : made.locate(wanted, as);
    return { ...made, digest: exact.digest, isMade: false, locate };
  }

  async #config(id: string, imageId: Digest): Promise<MemoryBytes> {
    const path = documentPath(this.#driver, id, imageId);
    const bytes = await readDocument(this.#files, path, MAX_CONFIG);
    const where = `${this.#files.path}/${path}`;
    if (bytes === undefined)
      throw new ImgconvError('BLOB_MISSING', `${where}: the config of the image is not there`);
    const actual = digestOf(bytes);
    if (actual !== imageId)
      throw new ImgconvError('DIGEST_MISMATCH', `${where}: damaged: its digest is ${actual}`);
    return { kind: 'memory', path: where, size: bytes.length, bytes };
  }

  /** A manifest list, which is an image without layers: its members are other images of the storage. */
  #listOf({ digest, at }: StoredManifest, where: string): SourceImage {
    const locate = async (wanted: Digest): Promise<Bytes | undefined> => {
      if (wanted === digest) return at;
      for (const record of this.#records) {
        if (record.documents.includes(wanted)) return this.#config(record.id, wanted);
        if (record.documents.includes(`manifest-${wanted}`))
          return (await this.#manifestsOf(record)).find((one) => one.digest === wanted)?.at;
      }
      return this.#layers.byDiffId(wanted);
    };
    return {
      name: undefined,
      where,
      digest,
      locate: (wanted) => locate(wanted.digest),
      provesDiffIds: true,
      signatures: [],
      warnings: [],
    };
  }
}

/** Names by digest: podman takes any of an image's names with any of its digests. */
function knownAsOf({ names, digest }: ImageRecord, manifests: readonly StoredManifest[]): string[] {
  const repositories = new Set(names.map((name) => splitReference(name).name));
  const digests = new Set([...manifests.map((one) => one.digest), ...(digest === undefined ? [] : [digest])]);
  return [...repositories].flatMap((one) => [...digests].map((digest) => `${one}@${digest}`)).sort();
}

/** True for a manifest of just these layers, uncompressed. podman's of an archive give gzip's media type and no size. */
function names(manifest: Manifest, layers: readonly MadeLayer[]): boolean {
  return (
    manifest.kind === 'image' &&
    manifest.layers.length === layers.length &&
    manifest.layers.every(
      ({ digest, size, mediaType }, i) =>
        layerCompressionOf(mediaType) === 'none' &&
        digest === layers[i]?.digest &&
        size === layers[i].at.size,
    )
  );
}
