import { digestOf } from '../bytes/hash.js';
import type { Bytes, LocalBytes } from '../bytes/region.js';
import { parseConfig } from '../model/config.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { counted, ImgconvError } from '../model/errors.js';
import { membersOf } from '../model/graph.js';
import { isObject, MAX_CONFIG, parseJson } from '../model/json.js';
import type { ImageManifest } from '../model/manifest.js';
import { isEngineLayer, isForeignLayer, layerCompressionOf } from '../model/media-type.js';
import { blobName } from '../model/oci-layout.js';
import { platformText } from '../model/platform.js';
import { Snapshots } from './containerd-snapshots.js';
import { readRecords } from './containerd-store.js';
import type { ReadContext, SourceImage } from './format.js';
import { readDocument, readLayoutManifest, type Files } from './layout.js';
import { chainIdOf, madeImage, type MadeLayer, type SizedBytes } from './made-image.js';

/** An image manifest, and its digest. */
export interface FoundManifest {
  readonly digest: Digest;
  readonly manifest: ImageManifest;
}

interface Wanted {
  /** Whose snapshots are looked at. */
  readonly namespace: string;
  readonly where: string;
  /** What has the name: an index, or the manifest itself. */
  readonly root: Digest;
}

const MAX_NESTING = 3;

/** The layers of a containerd store, by whatever leads to them. */
export class ContainerdLayers {
  readonly #root: string;
  readonly #files: Files;
  readonly #context: Pick<ReadContext, 'elsewhere' | 'rebuild' | 'pool'>;
  readonly #snapshots = new Map<string, Snapshots>();
  #byDiffId: Promise<ReadonlyMap<Digest, MadeLayer>> | undefined;

  constructor(root: string, files: Files, context: Pick<ReadContext, 'elsewhere' | 'rebuild' | 'pool'>) {
    this.#root = root;
    this.#files = files;
    this.#context = context;
  }

  /**
   * The manifests of container images that a digest leads to, as far as they are there and can be read. Each once:
   * indexes that repeat their members would otherwise be read millions of times.
   */
  async manifestsUnder(root: Digest): Promise<FoundManifest[]> {
    const found: FoundManifest[] = [];
    const seen = new Set([root]);
    let level = [root];
    for (let depth = 0; depth <= MAX_NESTING; depth++) {
      const below = new Set<Digest>();
      for (const digest of level) {
        const read = await readLayoutManifest(this.#files, { digest }).catch(() => undefined);
        if (read === undefined) continue;
        const { manifest } = read;
        for (const member of membersOf(manifest)) if (!seen.has(member.digest)) below.add(member.digest);
        // Not artifacts, as attestations are.
        if (manifest.kind === 'image' && manifest.layers.every(({ mediaType }) => isEngineLayer(mediaType)))
          found.push({ digest, manifest });
      }
      for (const digest of below) seen.add(digest);
      level = [...below];
    }
    return found;
  }

  /** True when all layers are there under their own digests, or elsewhere. */
  async areThere({ manifest: { layers } }: FoundManifest): Promise<boolean> {
    for (const { digest, mediaType } of layers) {
      if (isForeignLayer(mediaType) || (await this.#files.get(blobName(digest))) !== undefined) continue;
      if ((await this.#context.elsewhere?.(digest)) === undefined) return false;
    }
    return true;
  }

  /**
   * An image some of whose layers were deleted, made of the same layers as they lie there under other digests, compressed
   * otherwise or not at all, and with `rebuild` of the files that they were unpacked to. Undefined when a layer cannot be
   * had in any of these ways.
   */
  async imageOf(found: FoundManifest, { namespace, where, root }: Wanted): Promise<SourceImage | undefined> {
    const { config, layers } = found.manifest;
    const bytes = await readDocument(this.#files, blobName(config.digest), MAX_CONFIG);
    // A damaged one is reported when the image itself is read.
    if (bytes === undefined || digestOf(bytes, algorithmOf(config.digest)) !== config.digest)
      return undefined;
    const { diffIds } = parseConfig(bytes, where);
    if (diffIds.length !== layers.length) return undefined;
    const made: MadeLayer[] = [];
    const rebuilt = new Map<number, Digest>();
    let others = 0;
    let chainId: Digest | undefined;
    for (const [i, { digest, mediaType }] of layers.entries()) {
      const diffId = diffIds[i];
      if (diffId === undefined) return undefined;
      chainId = chainIdOf(chainId, diffId);
      const own = (await this.#files.get(blobName(digest))) ?? sized(await this.#context.elsewhere?.(digest));
      const compression = layerCompressionOf(mediaType);
      const layer =
        own !== undefined && compression !== undefined ? { digest, compression, at: own } : undefined;
      const other = layer ?? (await this.#other(diffId));
      const last = other ?? (await this.#fromSnapshot(chainId, namespace));
      if (last === undefined) return undefined;
      if (other === undefined) rebuilt.set(i, last.digest);
      else if (layer === undefined) others++;
      made.push(last);
    }
    const all = counted(layers.length, 'layer');
    const { platform } = parseConfig(bytes, where);
    const ofIndex =
      root === found.digest
        ? ''
        : ` for ${platform === undefined ? 'one platform' : platformText(platform)} in place of the index`;
    if (rebuilt.size > 0) {
      const config = rebuiltConfig(bytes, rebuilt, found.digest, where);
      const warning = `${rebuilt.size} of ${all} rebuilt from the unpacked files: a new image${ofIndex}, not ${root}`;
      return imageWith(config, made, where, warning);
    }
    const warning = `${others} of ${all} are not there under their own digests, but the same content is there under others: the image${ofIndex} keeps its ID and has a new manifest`;
    return imageWith(bytes, made, where, warning);
  }

  async #other(diffId: Digest): Promise<MadeLayer | undefined> {
    const plain: LocalBytes | undefined = await this.#files.get(blobName(diffId));
    const at = plain ?? sized(await this.#context.elsewhere?.(diffId));
    if (at !== undefined) return { digest: diffId, compression: 'none', at };
    return (await (this.#byDiffId ??= this.#allByDiffId())).get(diffId);
  }

  #fromSnapshot(chainId: Digest, namespace: string): Promise<MadeLayer | undefined> {
    if (this.#context.rebuild !== true) return Promise.resolve(undefined);
    const snapshots =
      this.#snapshots.get(namespace) ?? new Snapshots(this.#root, namespace, this.#context.pool);
    this.#snapshots.set(namespace, snapshots);
    return snapshots.layer(chainId);
  }

  /** The layers of all images by their diffIDs, as their configs say. */
  async #allByDiffId(): Promise<ReadonlyMap<Digest, MadeLayer>> {
    const found = new Map<Digest, MadeLayer>();
    const roots = readRecords(this.#root).flatMap((record) =>
      'error' in record ? [] : record.target.digest,
    );
    for (const root of new Set(roots))
      for (const { manifest } of await this.manifestsUnder(root)) await this.#addTo(found, manifest);
    return found;
  }

  async #addTo(found: Map<Digest, MadeLayer>, { config, layers }: ImageManifest): Promise<void> {
    const bytes = await readDocument(this.#files, blobName(config.digest), MAX_CONFIG).catch(() => undefined);
    // What a damaged config says is refuted when the layers are read.
    const diffIds = bytes === undefined ? [] : diffIdsOf(bytes);
    if (diffIds.length !== layers.length) return;
    for (const [i, { digest, mediaType }] of layers.entries()) {
      const [diffId, compression] = [diffIds[i], layerCompressionOf(mediaType)];
      if (diffId === undefined || compression === undefined || found.has(diffId)) continue;
      const at = await this.#files.get(blobName(digest));
      if (at !== undefined) found.set(diffId, { digest, compression, at });
    }
  }
}

/** Bytes of which it is known how many they are. */
function sized(at: Bytes | undefined): SizedBytes | undefined {
  if (at?.kind !== 'rebuilt') return at;
  const { size } = at;
  return size === undefined ? undefined : { ...at, size };
}

function imageWith(
  config: Uint8Array,
  layers: readonly MadeLayer[],
  where: string,
  warning: string,
): SourceImage {
  const digest = digestOf(config);
  const at = { kind: 'memory', path: `${where}: config`, size: config.length, bytes: config } as const;
  return madeImage({ config: { digest, at }, layers, where, warnings: [warning] });
}

/** The config of an image with other layers, which says so in its comment (moby image/image.go, `V1Image.Comment`). */
function rebuiltConfig(
  bytes: Uint8Array,
  rebuilt: ReadonlyMap<number, Digest>,
  was: Digest,
  where: string,
): Uint8Array {
  const config = parseJson(bytes, where);
  if (!isObject(config) || !isObject(config['rootfs']))
    throw new ImgconvError('MANIFEST_INVALID', `${where}: the config has no rootfs`);
  const diffIds = parseConfig(bytes, where).diffIds.map((diffId, i) => rebuilt.get(i) ?? diffId);
  const comment = `rebuilt by imgconv from the unpacked files of ${was}`;
  return Buffer.from(
    JSON.stringify({ ...config, comment, rootfs: { ...config['rootfs'], diff_ids: diffIds } }),
  );
}

function diffIdsOf(config: Uint8Array): readonly Digest[] {
  try {
    return parseConfig(config, 'config').diffIds;
  } catch {
    return [];
  }
}
