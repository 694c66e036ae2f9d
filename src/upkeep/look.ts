import type { Audit, Fault, WantedBlob } from '../formats/audit.js';
import { SET_ASIDE, unreachable } from '../formats/audit.js';
import type { ImageReader, Located, SourceImage, UnreadableImage } from '../formats/format.js';
import type { Pool } from '../threads/pool.js';
import { filesBelow } from '../storage/driver.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import { tryConfig } from '../model/config.js';
import type { Descriptor } from '../model/descriptor.js';
import { isDigest, type Digest } from '../model/digest.js';
import { asImgconvError, counted, ImgconvError } from '../model/errors.js';
import { MAX_CONFIG } from '../model/json.js';
import { isContainerImage, manifestsOf, type ManifestNode } from '../model/manifest.js';
import { isForeignLayer, layerCompressionOf } from '../model/media-type.js';
import { platformText } from '../model/platform.js';
import { parseReference, splitReference } from '../model/reference.js';
import { Findings } from './findings.js';
import { Proofs } from './proof.js';
import { blobsOf, readTree } from '../transfer/resolve.js';

/** Images under way at once, so that threads have work while manifests are read. */
const IMAGES_AT_ONCE = 8;

/** What was seen of one repository. */
interface RepositoryLook {
  /** That are reached from its tags. */
  readonly manifests: Set<Digest>;
  readonly tagged: Promise<void>[];
  /** Of all of these; no more come then. */
  settled: Promise<unknown> | undefined;
}

/** One look at all that a place holds; what it finds goes into the findings. */
export class Look {
  readonly #audit: Audit;
  readonly #proofs: Proofs;
  readonly #findings: Findings;
  readonly #pool: Pool;
  readonly #deep: boolean;
  /** False when a manifest could not be read, so that it is unknown what it needs. */
  seesAll = true;
  readonly #reached = new Set<Digest>();
  readonly #repositories = new Map<string, RepositoryLook>();

  constructor(audit: Audit, proofs: Proofs, findings: Findings, pool: Pool, deep: boolean) {
    this.#audit = audit;
    this.#proofs = proofs;
    this.#findings = findings;
    this.#pool = pool;
    this.#deep = deep;
  }

  /** Counts the images; `only` those of these names are looked at, when it is there. `named` is all that is listed. */
  async ofImages(
    reader: ImageReader,
    only: ReadonlySet<string> | undefined,
    named?: string,
  ): Promise<number> {
    let count = 0;
    const wanted = named === undefined ? undefined : [named];
    const images = reader.images({ untagged: true, wanted })[Symbol.asyncIterator]();
    const work = async () => {
      for (let next = await images.next(); next.done !== true; next = await images.next()) {
        const image = next.value;
        this.#pool.expectRunning();
        if (only !== undefined && !only.has(nameOf(image))) continue;
        const repository = this.#repositoryOf(image);
        if (image.untagged === true) {
          await (repository.settled ??= Promise.all(repository.tagged));
          // It is a member of an image with a tag, or that image itself, and was looked at.
          if ('digest' in image && repository.manifests.has(image.digest)) continue;
        }
        count++;
        const looking = this.#ofImage(image, repository);
        if (image.untagged !== true) repository.tagged.push(looking);
        await looking;
        // Small images are proved without a wait: signals and timers have their turn.
        await new Promise(setImmediate);
      }
    };
    await Promise.all(Array.from({ length: IMAGES_AT_ONCE }, work));
    return count;
  }

  /** Readers list a repository's tags before its other revisions, one repository after another. */
  #repositoryOf(image: SourceImage | UnreadableImage): RepositoryLook {
    const { name } = splitReference(nameOf(image));
    const known = this.#repositories.get(name) ?? { manifests: new Set(), tagged: [], settled: undefined };
    this.#repositories.set(name, known);
    for (const oldest of this.#repositories.keys()) {
      if (this.#repositories.size <= 2 * IMAGES_AT_ONCE) break;
      this.#repositories.delete(oldest);
    }
    return known;
  }

  async #ofImage(image: SourceImage | UnreadableImage, repository: RepositoryLook): Promise<void> {
    const found = (fault: Fault) => {
      this.#findings.add({ ...fault, images: fault.images ?? [nameOf(image)] });
    };
    const { name, where } = image;
    const wrong = name === undefined ? undefined : wrongName(name);
    if (wrong !== undefined)
      found({ severity: this.#audit.badName, kind: 'name-invalid', where, what: wrong });
    if ('error' in image) {
      // A registry that asks for credentials says nothing of the image.
      if (image.error.code === 'UNAUTHORIZED') throw image.error;
      found({ ...this.#unreadable(image, image.error) });
      return;
    }
    for (const what of image.warnings) found({ severity: 'cosmetic', kind: 'notice', where, what });
    const damaged = new Map<Digest, ImgconvError>();
    const read = (one: SourceImage) =>
      readTree(one, ({ digest }, error) => {
        damaged.set(digest, asImgconvError(error, where));
      });
    let root: ManifestNode;
    try {
      root = await read(image);
    } catch (error) {
      const known = asImgconvError(error, where);
      if (known.code === 'INTERRUPTED') throw known;
      const sound = image.entry && (await read({ ...image, entry: undefined }).catch(() => undefined));
      if (sound === undefined) {
        await this.#withoutRoot(image, known, found);
        return;
      }
      // The manifest is what its digest says, so that there is nothing to fetch: its entry is wrong.
      found({ severity: 'broken', kind: 'entry-wrong', where, what: known.message });
      root = sound;
    }
    for (const node of manifestsOf(root)) {
      this.#reached.add(node.descriptor.digest);
      repository.manifests.add(node.descriptor.digest);
      for (const member of node.absent) {
        // Its own revision would say the same once more.
        repository.manifests.add(member.digest);
        this.#absent(image, member, damaged.get(member.digest), found);
      }
      await this.#ofManifest(image, node, found);
    }
    for await (const fault of this.#audit.ofImage(image, root)) found(fault);
  }

  /** A folder that is called by a digest still tells what it should hold. */
  #unreadable({ name, where }: UnreadableImage, error: ImgconvError): Fault {
    const { digest } = splitReference(name ?? '');
    this.seesAll = false;
    const fetch =
      digest !== undefined && isDigest(digest)
        ? this.#want({ where, digest }, { digest }, 'manifest')
        : undefined;
    return { severity: 'broken', kind: 'image-unreadable', where, what: withoutPlace(error, where), fetch };
  }

  async #withoutRoot(image: SourceImage, error: ImgconvError, found: (fault: Fault) => void): Promise<void> {
    const { digest, where } = image;
    this.seesAll = false;
    const fetch = this.#want(image, { digest }, 'manifest');
    const at = await locate(image, { digest }, 'manifest');
    this.#reached.add(digest);
    if (at instanceof ImgconvError) {
      const what = withoutPlace(at, where);
      found({ severity: 'broken', kind: 'image-unreadable', where, what, fetch });
    } else if (at !== undefined) {
      const kind = error.code === 'DIGEST_MISMATCH' ? 'manifest-damaged' : 'image-unreadable';
      found({ severity: 'broken', kind, where: at.path, what: withoutPlace(error, at.path), fetch });
    } else {
      const what = `its manifest ${digest} is not there`;
      found({ severity: 'broken', kind: 'manifest-missing', where, what, fetch });
    }
  }

  #want(image: Pick<SourceImage, 'where' | 'digest'>, { digest, size }: Located, as: WantedBlob['as']) {
    const { mending } = this.#audit;
    if (mending === undefined) return undefined;
    const key = mending.keyOf(image, digest, as);
    return { key, path: mending.storage.nameOf(key), digest, size, as };
  }

  #absent(
    image: SourceImage,
    member: ManifestNode['descriptor'],
    error: ImgconvError | undefined,
    found: (fault: Fault) => void,
  ): void {
    const { digest, platform } = member;
    this.#reached.add(digest);
    this.seesAll = false;
    const fetch = this.#want(image, member, 'manifest');
    const which = `manifest ${digest}${platform === undefined ? '' : ` of ${platformText(platform)}`}`;
    if (error === undefined)
      found({
        severity: 'broken',
        kind: 'manifest-missing',
        where: fetch?.path ?? image.where,
        what: `${which}: not there`,
        fetch,
      });
    else
      found({
        severity: 'broken',
        kind: 'manifest-damaged',
        where: fetch?.path ?? image.where,
        what: withoutPlace(error, fetch?.path ?? ''),
        fetch,
      });
  }

  async #ofManifest(image: SourceImage, node: ManifestNode, found: (fault: Fault) => void): Promise<void> {
    const sound = new Set<Digest>();
    const blobs = new Map(blobsOf(node).map((one) => [one.descriptor.digest, one]));
    await Promise.all(
      [...blobs.values()].map(async ({ descriptor, what }) => {
        const { digest, size, mediaType } = descriptor;
        this.#reached.add(digest);
        const at = await locate(image, descriptor, 'blob');
        if (at instanceof ImgconvError || at === undefined) {
          if (at === undefined && isForeignLayer(mediaType)) return;
          const fetch = this.#want(image, descriptor, 'blob');
          const where = fetch?.path ?? image.where;
          const why = at === undefined ? `${what} ${digest}: not there` : withoutPlace(at, where);
          found({ severity: 'broken', kind: 'blob-missing', where, what: why, fetch });
          return;
        }
        const error = await this.#proofs.ofBlob(at, digest, size);
        if (error === undefined) sound.add(digest);
        else
          found({
            severity: 'broken',
            kind: 'blob-damaged',
            where: at.path,
            what: withoutPlace(error, at.path),
            fetch: this.#want(image, descriptor, 'blob'),
          });
      }),
    );
    if (isContainerImage(node)) await this.#ofConfig(image, node, sound, found);
  }

  async #ofConfig(
    image: SourceImage,
    node: ManifestNode,
    sound: ReadonlySet<Digest>,
    found: (fault: Fault) => void,
  ): Promise<void> {
    if (node.manifest.kind !== 'image' || !sound.has(node.manifest.config.digest)) return;
    const { config, layers } = node.manifest;
    const at = await image.locate(config, 'blob');
    // Larger ones were proved and are not held in memory.
    if (at === undefined || at.size > MAX_CONFIG || at.kind === 'dropped') return;
    const parsed = tryConfig(await VerifiedBlob.at(at, config, this.#pool).read(MAX_CONFIG));
    if (parsed === undefined) return;
    const where = at.path;
    const { diffIds, layerSteps } = parsed;
    if (diffIds.length !== layers.length) {
      const what = `the config has ${counted(diffIds.length, 'diffID')}, its manifest ${node.descriptor.digest} ${counted(layers.length, 'layer')}`;
      found({ severity: 'broken', kind: 'config-mismatch', where, what });
      return;
    }
    for (const what of doubleDiffIds(layers, diffIds))
      found({ severity: 'broken', kind: 'config-mismatch', where, what });
    if (!this.#deep) return;
    if (layerSteps !== undefined && layerSteps !== layers.length) {
      const what = `its history has ${counted(layerSteps, 'layer')}, its manifest ${layers.length}`;
      found({ severity: 'cosmetic', kind: 'history-mismatch', where, what });
    }
    for (const [i, layer] of layers.entries()) {
      const diffId = diffIds[i];
      if (
        diffId === undefined ||
        !sound.has(layer.digest) ||
        layerCompressionOf(layer.mediaType) === undefined
      )
        continue;
      const bytes = await image.locate(layer, 'blob');
      if (bytes === undefined) continue;
      const error = await this.#proofs.ofLayer(bytes, layer.digest, layer.size, diffId);
      if (error === undefined) continue;
      const isOther = error.code === 'DIGEST_MISMATCH' && error.message.includes(diffId);
      found({
        severity: 'broken',
        kind: isOther ? 'config-mismatch' : 'layer-invalid',
        where: bytes.path,
        what: isOther
          ? `unpacks to something else than the config's diffID: ${withoutPlace(error, bytes.path)}`
          : withoutPlace(error, bytes.path),
      });
    }
  }

  async #unreachable(begun: number): Promise<void> {
    for await (const { digest, path, size, changed } of this.#audit.blobs()) {
      // What was written since may be of an image that was tagged since.
      if (!this.#reached.has(digest) && changed <= begun) this.#findings.add(unreachable(path, size));
    }
  }

  /** All that belongs to no image. `whole`: all images were looked at, so that what they need is known. */
  async ofPlace(path: string, begun: number, whole: boolean): Promise<void> {
    try {
      for await (const fault of this.#audit.ofPlace()) {
        // What an image lacks was told with the image.
        if (fault.kind === 'link-dangling' && fault.digest !== undefined && this.#reached.has(fault.digest))
          continue;
        this.#findings.add(fault);
      }
      if (whole && this.seesAll) await this.#unreachable(begun);
    } catch (error) {
      const what = withoutPlace(asImgconvError(error, path), path);
      this.#findings.add({ severity: 'broken', kind: 'image-unreadable', where: path, what });
    }
    const storage = this.#audit.mending?.storage;
    if (storage === undefined) return;
    for (const key of await storage.leftovers()) {
      let bytes = 0;
      for await (const { size } of filesBelow(storage, key)) bytes += size;
      const [where, what] = [storage.nameOf(key), 'left by an imgconv that died'];
      this.#findings.add({ severity: 'space', kind: 'unfinished', where, what, bytes });
    }
    for await (const { path: where, size: bytes } of filesBelow(storage, SET_ASIDE)) {
      const what = 'a damaged file, put here by a repair';
      this.#findings.add({ severity: 'space', kind: 'set-aside', where, what, bytes });
    }
  }
}

function nameOf({ name, where }: SourceImage | UnreadableImage): string {
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
function* doubleDiffIds(layers: readonly Descriptor[], diffIds: readonly Digest[]): Generator<string> {
  const known = new Map<Digest, Digest | undefined>();
  for (const [i, { digest, mediaType }] of layers.entries()) {
    const [one, other] = [known.get(digest), diffIds[i]];
    if (one === undefined) known.set(digest, other);
    else if (one !== other && layerCompressionOf(mediaType) !== undefined)
      yield `layer ${digest} has two diffIDs, ${one} and ${other ?? ''}`;
  }
}

/** Where a blob lies; or why that cannot be told: a link in its place, or a member of an archive that leads nowhere. */
async function locate(image: SourceImage, wanted: Located, as: WantedBlob['as']) {
  try {
    return await image.locate(wanted, as);
  } catch (error) {
    return asImgconvError(error, image.where);
  }
}

/** A message begins with the place that a finding shows already. */
function withoutPlace({ message }: ImgconvError, where: string): string {
  return where !== '' && message.startsWith(`${where}: `) ? message.slice(where.length + 2) : message;
}
