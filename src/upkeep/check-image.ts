import type { Bytes } from '../bytes/region.js';
import type { Fault, FaultKind, WantedBlob } from '../formats/audit.js';
import type { Located, SourceImage, UnreadableImage } from '../formats/format.js';
import { tryConfig } from '../model/config.js';
import type { Descriptor } from '../model/descriptor.js';
import { isDigest, type Digest } from '../model/digest.js';
import type { DigestSet } from '../model/digest-map.js';
import { asImgconvError, counted, ImgconvError } from '../model/errors.js';
import { blobsOf } from '../model/graph.js';
import { isContainerImage, type ImageManifest } from '../model/manifest.js';
import { manifestsOf, type ManifestNode } from '../model/tree.js';
import { MAX_CONFIG } from '../model/json.js';
import { isForeignLayer } from '../model/media-type.js';
import { platformText } from '../model/platform.js';
import { parseReference, splitReference } from '../model/reference.js';
import { layersWithDiffIds, type LayerWithDiffId } from '../transfer/configs.js';
import { readTree } from '../transfer/tree.js';
import type { Audit } from '../formats/audit.js';
import type { Pool } from '../threads/pool.js';
import type { Findings } from './findings.js';
import type { Proofs } from './proof.js';

/** What checks of images share. */
export interface CheckContext {
  readonly audit: Audit;
  readonly proofs: Proofs;
  readonly findings: Findings;
  readonly pool: Pool;
  /** Also unpacks layers. */
  readonly deep: boolean;
  /** False when a manifest could not be read, so that it is unknown what it needs. */
  seesAll: boolean;
  /** What the images need. */
  readonly reached: DigestSet;
}

/** A config that is what its digest says. */
interface Config {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** Checks one image: its name, manifests, blobs and config, and what its format says of it. */
export class ImageCheck {
  readonly #check: CheckContext;
  readonly #image: SourceImage | UnreadableImage;
  /** Of its repository, those that were checked. */
  readonly #checked: Set<Digest>;
  /** Blobs that were found where they belong. */
  readonly #there = new Set<Digest>();

  constructor(check: CheckContext, image: SourceImage | UnreadableImage, checked: Set<Digest>) {
    this.#check = check;
    this.#image = image;
    this.#checked = checked;
  }

  /** @throws ImgconvError UNAUTHORIZED, INTERRUPTED; all else that is wrong is a finding */
  async run(): Promise<void> {
    const image = this.#image;
    const { name, where } = image;
    const wrong = name === undefined ? undefined : wrongName(name);
    if (wrong !== undefined)
      this.#found({ severity: this.#check.audit.badName, kind: 'name-invalid', where, what: wrong });
    if ('error' in image) {
      this.#unreadable(image);
      return;
    }
    for (const what of image.warnings) this.#found({ severity: 'cosmetic', kind: 'notice', where, what });
    const damaged = new Map<Digest, ImgconvError>();
    const root = await this.#readTree(image, damaged);
    if (root === undefined) return;
    for (const node of manifestsOf(root)) {
      this.#check.reached.add(node.descriptor.digest);
      this.#checked.add(node.descriptor.digest);
      for (const member of node.absent) this.#absent(image, member, damaged.get(member.digest));
      await this.#ofManifest(image, node);
    }
    for await (const fault of this.#check.audit.ofImage(image, root, this.#there)) this.#found(fault);
  }

  #found(fault: Fault): void {
    this.#check.findings.add({ ...fault, images: fault.images ?? [nameOf(this.#image)] });
  }

  #broken(kind: FaultKind, where: string, what: string | ImgconvError, fetch?: WantedBlob): void {
    const text = typeof what === 'string' ? what : withoutPath(what, where);
    this.#found({ severity: 'broken', kind, where, what: text, fetch });
  }

  /** A folder that is called by a digest still tells what it should hold. */
  #unreadable({ name, where, error }: UnreadableImage): void {
    // A registry that asks for credentials says nothing of the image.
    if (error.code === 'UNAUTHORIZED') throw error;
    this.#check.seesAll = false;
    const { digest } = splitReference(name ?? '');
    const fetch =
      digest !== undefined && isDigest(digest)
        ? this.#want({ where, digest }, { digest }, 'manifest')
        : undefined;
    this.#broken('image-unreadable', where, error, fetch);
  }

  /** Undefined when the root manifest cannot be read; members that cannot be are absent, and `damaged` says why. */
  async #readTree(image: SourceImage, damaged: Map<Digest, ImgconvError>): Promise<ManifestNode | undefined> {
    const { where, entry } = image;
    const read = (one: SourceImage) =>
      readTree(one, ({ digest }, error) => damaged.set(digest, asImgconvError(error, where)));
    try {
      return await read(image);
    } catch (error) {
      const known = asImgconvError(error, where);
      if (known.code === 'INTERRUPTED') throw known;
      const sound = entry && (await read({ ...image, entry: undefined }).catch(() => undefined));
      // The manifest is what its digest says, so that there is nothing to fetch: its entry is wrong.
      if (sound !== undefined) this.#broken('entry-wrong', where, known.message);
      else await this.#withoutRoot(image, known);
      return sound;
    }
  }

  async #withoutRoot(image: SourceImage, error: ImgconvError): Promise<void> {
    const { digest, where } = image;
    this.#check.seesAll = false;
    this.#check.reached.add(digest);
    const fetch = this.#want(image, { digest }, 'manifest');
    const at = await locate(image, { digest }, 'manifest');
    if (at instanceof ImgconvError) this.#broken('image-unreadable', where, at, fetch);
    else if (at === undefined)
      this.#broken('manifest-missing', where, `its manifest ${digest} is not there`, fetch);
    else {
      const kind = error.code === 'DIGEST_MISMATCH' ? 'manifest-damaged' : 'image-unreadable';
      this.#broken(kind, at.path, error, fetch);
    }
  }

  #want(image: Pick<SourceImage, 'where' | 'digest'>, { digest, size }: Located, as: WantedBlob['as']) {
    const { mending } = this.#check.audit;
    if (mending === undefined) return undefined;
    const key = mending.keyOf(image, digest, as);
    return { key, path: mending.storage.nameOf(key), digest, size, as };
  }

  #absent(image: SourceImage, member: Descriptor, error: ImgconvError | undefined): void {
    const { digest, platform } = member;
    this.#check.reached.add(digest);
    this.#check.seesAll = false;
    // Its own revision would say the same once more.
    this.#checked.add(digest);
    const fetch = this.#want(image, member, 'manifest');
    const where = fetch?.path ?? image.where;
    const which = `manifest ${digest}${platform === undefined ? '' : ` of ${platformText(platform)}`}`;
    if (error === undefined) this.#broken('manifest-missing', where, `${which}: not there`, fetch);
    else this.#broken('manifest-damaged', where, error, fetch);
  }

  async #ofManifest(image: SourceImage, node: ManifestNode): Promise<void> {
    const sound = new Set<Digest>();
    const configs: Config[] = [];
    const blobs = new Map(blobsOf(node.manifest).map((edge) => [edge.target.digest, edge]));
    await Promise.all(
      [...blobs.values()].map(async ({ target, role }) => {
        const { digest, mediaType = '' } = target;
        this.#check.reached.add(digest);
        const at = await locate(image, target, 'blob');
        if (at instanceof ImgconvError || at === undefined) {
          if (at === undefined && isForeignLayer(mediaType)) return;
          const fetch = this.#want(image, target, 'blob');
          const what = at ?? `${role} ${digest}: not there`;
          this.#broken('blob-missing', fetch?.path ?? image.where, what, fetch);
          return;
        }
        this.#there.add(digest);
        const proved = await this.#prove(at, target, isConfigOf(node, target));
        if (proved instanceof ImgconvError)
          this.#broken('blob-damaged', at.path, proved, this.#want(image, target, 'blob'));
        else sound.add(digest);
        if (proved instanceof Uint8Array) configs.push({ path: at.path, bytes: proved });
      }),
    );
    if (isContainerImage(node))
      for (const config of configs) await this.#ofConfig(image, node, sound, config);
  }

  /** What is wrong with a blob; the bytes of a config that is right, and small enough to be held in memory. */
  async #prove(at: Bytes, { digest, size }: Located, isConfig: boolean) {
    const { proofs } = this.#check;
    if (!isConfig || size === undefined || size > MAX_CONFIG || at.kind === 'dropped')
      return proofs.ofBlob(at, digest, size);
    return proofs.ofDocument(at, { digest, size }, MAX_CONFIG);
  }

  async #ofConfig(
    image: SourceImage,
    { manifest, descriptor }: ManifestNode & { readonly manifest: ImageManifest },
    sound: ReadonlySet<Digest>,
    { path, bytes }: Config,
  ): Promise<void> {
    const { layers } = manifest;
    const parsed = tryConfig(bytes);
    if (parsed === undefined) return;
    const pairs = layersWithDiffIds(manifest, parsed);
    if (pairs === undefined) {
      const what = `the config has ${counted(parsed.diffIds.length, 'diffID')}, its manifest ${descriptor.digest} ${counted(layers.length, 'layer')}`;
      this.#broken('config-mismatch', path, what);
      return;
    }
    for (const what of doubleDiffIds(pairs)) this.#broken('config-mismatch', path, what);
    if (!this.#check.deep) return;
    const { layerSteps } = parsed;
    if (layerSteps !== undefined && layerSteps !== layers.length) {
      const what = `its history has ${counted(layerSteps, 'layer')}, its manifest ${layers.length}`;
      this.#found({ severity: 'cosmetic', kind: 'history-mismatch', where: path, what });
    }
    for (const { layer, diffId } of pairs)
      if (sound.has(layer.digest)) await this.#ofLayer(image, layer, diffId);
  }

  async #ofLayer(image: SourceImage, layer: Descriptor, diffId: Digest): Promise<void> {
    const at = await image.locate(layer, 'blob');
    if (at === undefined) return;
    const error = await this.#check.proofs.ofLayer(at, layer.digest, layer.size, diffId);
    if (error === undefined) return;
    if (error.code !== 'DIGEST_MISMATCH' || !error.message.includes(diffId)) {
      this.#broken('layer-invalid', at.path, error);
      return;
    }
    const what = `unpacks to something else than the config's diffID: ${withoutPath(error, at.path)}`;
    this.#broken('config-mismatch', at.path, what);
  }
}

/** A layer may be the same blob as the config. */
function isConfigOf(node: ManifestNode, { digest, size }: Located): boolean {
  if (!isContainerImage(node)) return false;
  const { config } = node.manifest;
  return config.digest === digest && config.size === size;
}

/** What an image is called in findings. */
export function nameOf({ name, where }: SourceImage | UnreadableImage): string {
  return name ?? where;
}

/** What is wrong with a name, if something is. */
function wrongName(name: string): string | undefined {
  try {
    parseReference(name);
    return undefined;
  } catch (error) {
    return asImgconvError(error).message;
  }
}

/** Layers that a manifest has twice, and that its config says to be two different tars. */
function* doubleDiffIds(layers: Iterable<LayerWithDiffId>): Generator<string> {
  const known = new Map<Digest, Digest>();
  for (const { layer, diffId } of layers) {
    const { digest } = layer;
    const one = known.get(digest);
    if (one === undefined) known.set(digest, diffId);
    else if (one !== diffId) yield `layer ${digest} has two diffIDs, ${one} and ${diffId}`;
  }
}

/** Where a blob lies, or why it is unknown: a link in its place, or a member of an archive that leads nowhere. */
async function locate(image: SourceImage, wanted: Located, as: WantedBlob['as']) {
  try {
    return await image.locate(wanted, as);
  } catch (error) {
    return asImgconvError(error, image.where);
  }
}

/** A message without the path that it begins with, which a finding shows already. */
export function withoutPath({ message }: ImgconvError, path: string): string {
  return path !== '' && message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
}
