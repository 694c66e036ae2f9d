import type { SourceImage } from '../formats/format.js';
import { digestOf, expectDigest, expectSize } from '../bytes/hash.js';
import type { Pool } from '../threads/pool.js';
import {
  headOf,
  localOf,
  readWhole,
  shownName,
  type Bytes,
  type FileBytes,
  type LocalBytes,
} from '../bytes/region.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Descriptor } from '../model/descriptor.js';
import { algorithmOf, type Digest } from '../model/digest.js';
import { counted, ImgconvError } from '../model/errors.js';
import { MAX_MANIFEST } from '../model/json.js';
import {
  blobDescriptorsOf,
  isContainerImage,
  manifestPayload,
  manifestsOf,
  parseManifest,
  type ManifestNode,
} from '../model/manifest.js';
import { isForeignLayer, layerCompressionOf } from '../model/media-type.js';
import { platformText, type Platform } from '../model/platform.js';
import { readConfig } from './configs.js';
import { Lately } from './lately.js';

/** Indexes nest in practice once; this bounds hostile ones. */
const MAX_NESTING = 8;
/**
 * Members of all indexes of an image, each as often as it is named. An index that names another a thousand times, and
 * that a third, is small, and yet whoever walks down it would never come to an end.
 */
const MAX_MEMBERS = 10_000;
/** All manifests of one image together: they are held in memory. */
const MAX_TREE = 64 * 1024 * 1024;

/** A manifest of a tree, and how many there are in it. */
interface Member {
  readonly node: ManifestNode | undefined;
  readonly members: number;
}
const ABSENT: Member = { node: undefined, members: 1 };

/** Files that manifests were read from, by the manifests' bytes: what was hashed then need not be once more. */
const origins = new WeakMap<Uint8Array, FileBytes>();

const trees = new Lately<ManifestNode>(64);

/** As `readTree`, once for all names that a manifest in one place has. */
export async function readSharedTree(source: SourceImage, pool: Pool): Promise<ManifestNode> {
  const at = await source.locate({ digest: source.digest }, 'manifest');
  const { digest, entry } = source;
  const said = `${digest} ${entry?.size ?? ''} ${entry?.mediaType ?? ''}`;
  const key = `${said} ${at?.kind === 'file' ? at.offset : ''} ${at?.path ?? source.where}`;
  return trees.of(pool, key, () => readTree(source));
}

/**
 * Reads an image's manifests, each proved against its digest; members that the source lacks are `absent`. So are
 * members that cannot be read when `onDamage` is there to hear of them.
 */
export async function readTree(
  source: SourceImage,
  onDamage?: (member: Descriptor, error: unknown) => void,
): Promise<ManifestNode> {
  let total = 0;
  const known = new Map<Digest, Member>();
  const read = async (digest: Digest, from: Descriptor | undefined, depth: number): Promise<Member> => {
    const at = await source.locate(from ?? { digest }, 'manifest');
    if (at === undefined) return ABSENT;
    if (at.size > MAX_MANIFEST || (total += at.size) > MAX_TREE || depth > MAX_NESTING)
      throw notRead(shownName(at));
    const { bytes, manifest, descriptor } = readManifest(await localOf(at), digest, from, shownName(at));
    const children: ManifestNode[] = [];
    const absent: Descriptor[] = [];
    let members = 1;
    for (const member of manifest.kind === 'index' ? manifest.manifests : []) {
      const child = known.get(member.digest) ?? (await readMember(member, depth + 1));
      known.set(member.digest, child);
      if (child.node === undefined) absent.push(member);
      else {
        // Named once more, it has to be the same; what it is was proved when it was read.
        expectSize(member, child.node.descriptor.size, shownName(at));
        children.push({ ...child.node, descriptor: member });
      }
      if ((members += child.members) > MAX_MEMBERS)
        throw new ImgconvError(
          'MANIFEST_INVALID',
          `${shownName(at)}: it and the indexes in it have more than ${MAX_MEMBERS} members`,
        );
    }
    return { node: { descriptor, bytes, manifest, children, absent }, members };
  };
  const readMember = async (member: Descriptor, depth: number) => {
    try {
      return await read(member.digest, member, depth);
    } catch (error) {
      if (onDamage === undefined) throw error;
      onDamage(member, error);
      return ABSENT;
    }
  };
  const { digest, entry } = source;
  const { node: root } = await read(digest, entry && { digest, ...entry }, 0);
  if (root === undefined)
    throw new ImgconvError('BLOB_MISSING', `${source.where}: its manifest ${digest} is not there`);
  const { mediaType } = root.manifest;
  return { ...root, descriptor: { mediaType, digest, size: root.descriptor.size } };
}

/**
 * One manifest, proved against its digest and, where a descriptor led to it, against that.
 * @throws ImgconvError DIGEST_MISMATCH, MANIFEST_INVALID, FORMAT_UNSUPPORTED
 */
export function readManifest(
  at: LocalBytes,
  digest: Digest,
  from?: Descriptor,
  path = shownName(at),
): Pick<ManifestNode, 'bytes' | 'manifest' | 'descriptor'> {
  const where = `${path}${at.kind === 'file' && !at.whole ? ` (${digest})` : ''}`;
  if (at.size > MAX_MANIFEST) throw notRead(where);
  const file = at.kind === 'file' && at.whole ? readWhole(at) : undefined;
  const bytes = file?.bytes ?? headOf(at, at.size);
  const payload = manifestPayload(bytes, where);
  expectDigest(
    { digest, size: from?.size ?? payload.length },
    { digest: digestOf(payload, algorithmOf(digest)), size: payload.length },
    where,
  );
  const manifest = parseManifest(bytes, where, from?.mediaType);
  if (at.kind === 'file' && file !== undefined && payload === bytes)
    origins.set(bytes, { ...at, known: { digest, id: file.id } });
  return {
    bytes,
    manifest,
    descriptor: from ?? { mediaType: manifest.mediaType, digest, size: payload.length },
  };
}

function notRead(where: string): ImgconvError {
  return new ImgconvError(
    'MANIFEST_INVALID',
    `${where}: manifests of this size or nested this deep are not read`,
  );
}

/** An image whose whole closure was found; every blob is still to be proved as it is read. */
export interface Closure {
  readonly root: ManifestNode;
  readonly blobs: ReadonlyMap<Digest, VerifiedBlob>;
  readonly notes: readonly string[];
}

/**
 * Finds every blob that a tree of manifests names.
 * @throws ImgconvError BLOB_MISSING, listing all that the source lacks, platform by platform
 */
export async function findClosure(
  source: SourceImage,
  root: ManifestNode,
  pool: Pool,
  { allowAbsent, onBytes }: { allowAbsent: boolean; onBytes: ((count: number) => void) | undefined },
): Promise<Closure> {
  const found = new Map<Digest, { at: Bytes; size: number; what?: string | undefined }>();
  const notes: string[] = [];
  const missing = new Map<string, Set<string>>();
  const miss = (platform: Platform | undefined, what: string) => {
    const key = platform === undefined ? '' : platformText(platform);
    missing.set(key, (missing.get(key) ?? new Set()).add(what));
  };
  for (const node of manifestsOf(root)) {
    for (const { digest, platform } of allowAbsent ? [] : node.absent) miss(platform, `manifest ${digest}`);
    const { digest, platform } = node.descriptor;
    const located = (await source.locate(node.descriptor, 'manifest')) ?? memory(node);
    const origin = origins.get(node.bytes);
    const own = origin?.path === located.path && origin.size === located.size ? origin : located;
    // What is read again must be what was parsed: a file that has another size by now is not. Signed schema 1 has
    // bytes that its digest is not of.
    if (own.size === node.descriptor.size) found.set(digest, { at: own, size: own.size });
    else if (node.manifest.kind !== 'schema1')
      found.set(digest, { at: memory(node), size: node.bytes.length });
    for (const { descriptor, what, which } of blobsOf(node)) {
      const at = await source.locate(descriptor, 'blob');
      if (at !== undefined)
        found.set(descriptor.digest, {
          at,
          size: descriptor.size ?? at.size,
          what: isPart(at) ? which : undefined,
        });
      else if (isForeignLayer(descriptor.mediaType))
        notes.push(`foreign layer ${descriptor.digest} stays where its URLs say`);
      else miss(platform, `${what} ${descriptor.digest}`);
    }
  }
  if (missing.size > 0) throw missingError(source, root, missing);
  const blobs = new Map<Digest, VerifiedBlob>();
  for (const [digest, { at, size, what }] of found)
    blobs.set(digest, VerifiedBlob.at(at, { digest, size }, pool, { what, onBytes }));
  if (source.provesDiffIds) {
    for (const [digest, diffId] of await readDiffIds(root, blobs, pool, 'skip')) {
      const layer = found.get(digest);
      if (layer !== undefined)
        blobs.set(
          digest,
          VerifiedBlob.at(layer.at, { digest, size: layer.size }, pool, {
            diffId,
            what: layer.what,
            onBytes,
          }),
        );
    }
  }
  return { root, blobs, notes };
}

/** True for a part of a file, whose name alone does not say which. */
function isPart(at: Bytes): boolean {
  return at.kind === 'dropped' || (at.kind === 'file' && at.shown !== undefined);
}

/** More platforms, and more digests, tell nobody more. */
const PLATFORMS_SHOWN = 20;
const DIGESTS_SHOWN = 3;
/** What buildx gives attestations for a platform. */
const NO_PLATFORM = 'unknown/unknown';

/** `manifest sha256:…` while these are few, else `1 config, 3 layers`. */
function lackText(what: ReadonlySet<string>, few: boolean): string {
  if (few) return [...what].join(', ');
  return ['manifest', 'config', 'layer', 'blob']
    .map((kind) => [kind, [...what].filter((one) => one.startsWith(kind)).length] as const)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => counted(count, kind))
    .join(', ');
}

function missingError(
  source: SourceImage,
  root: ManifestNode,
  missing: ReadonlyMap<string, ReadonlySet<string>>,
): ImgconvError {
  const platforms = [...missing].filter(([platform]) => platform !== NO_PLATFORM);
  const attestations = missing.get(NO_PLATFORM);
  const few = [...missing.values()].reduce((sum, { size }) => sum + size, 0) <= DIGESTS_SHOWN;
  const texts = platforms
    .slice(0, PLATFORMS_SHOWN)
    .map(([platform, what]) => `${platform === '' ? '' : `${platform}: `}${lackText(what, few)}`);
  if (platforms.length > PLATFORMS_SHOWN)
    texts.push(counted(platforms.length - PLATFORMS_SHOWN, 'more platform'));
  if (attestations !== undefined) texts.push(`attestations: ${lackText(attestations, few)}`);
  const prune = '--missing prune makes a new index of what is there';
  const sparse = '--missing sparse keeps the index (into reg:, oci: and oci-archive:)';
  const hint =
    root.manifest.kind !== 'index'
      ? 'the source is not whole: fetch the image again'
      : platforms.length === 0
        ? `${prune}; ${sparse}`
        : `choose with --platform; or ${prune}, ${sparse}`;
  return new ImgconvError('BLOB_MISSING', `${source.where}: not there: ${texts.join('; ')}`, { hint });
}

function memory({ descriptor, bytes }: ManifestNode): Bytes {
  return { kind: 'memory', path: `manifest ${descriptor.digest}`, size: bytes.length, bytes };
}

/** Configs, layers and artifacts' blobs of one manifest; schema 1 knows no sizes. */
export function blobsOf({ manifest }: ManifestNode): {
  descriptor: Omit<Descriptor, 'size'> & { size?: number };
  what: 'config' | 'layer' | 'blob';
  /** For messages. */
  which: string;
}[] {
  if (manifest.kind === 'image') {
    return [
      { descriptor: manifest.config, what: 'config', which: 'the config' },
      ...manifest.layers.map((descriptor, i, { length }) => ({
        descriptor,
        what: 'layer' as const,
        which: `layer ${i + 1} of ${length}`,
      })),
    ];
  }
  if (manifest.kind !== 'schema1') {
    const blobs = blobDescriptorsOf(manifest);
    return blobs.map((descriptor, i) => ({
      descriptor,
      what: 'blob',
      which: `blob ${i + 1} of ${blobs.length}`,
    }));
  }
  return manifest.layers.map((digest, i, { length }) => ({
    descriptor: { mediaType: '', digest },
    what: 'layer',
    which: `layer ${i + 1} of ${length}`,
  }));
}

/**
 * What each layer has to unpack to, by the images' configs. Where a config and its manifest do not have as many layers,
 * nobody knows which diffID is whose. Docker and containerd refuse such an image; skopeo and registries carry it, and
 * so does imgconv as long as its layers stay as they are: `uneven` is `skip` then.
 * @throws ImgconvError MANIFEST_INVALID when they do not have as many and `uneven` is `refuse`, or when one layer is to
 * unpack to two different tars
 */
export async function readDiffIds(
  root: ManifestNode,
  blobs: ReadonlyMap<Digest, VerifiedBlob>,
  pool: Pool,
  uneven: 'skip' | 'refuse',
): Promise<Map<Digest, Digest>> {
  const diffIds = new Map<Digest, Digest>();
  for (const node of manifestsOf(root)) {
    if (node.manifest.kind !== 'image' || !isContainerImage(node)) continue;
    const { config, layers } = node.manifest;
    const blob = blobs.get(config.digest);
    if (blob === undefined) continue;
    const expected = (await readConfig(blob, pool))?.diffIds;
    if (expected === undefined) continue;
    if (expected.length !== layers.length) {
      if (uneven === 'skip') continue;
      throw new ImgconvError(
        'MANIFEST_INVALID',
        `${blob.where}: config ${config.digest} has ${counted(expected.length, 'diffID')}, its manifest ${counted(layers.length, 'layer')}`,
        { hint: '--compression keep carries it as it is; Docker and containerd do not run it' },
      );
    }
    for (const [i, layer] of layers.entries()) {
      const diffId = expected[i];
      if (diffId === undefined || layerCompressionOf(layer.mediaType) === undefined) continue;
      const other = diffIds.get(layer.digest) ?? diffId;
      if (other !== diffId)
        throw new ImgconvError(
          'MANIFEST_INVALID',
          `${blob.where}: layer ${layer.digest} has two diffIDs, ${other} and ${diffId}`,
        );
      diffIds.set(layer.digest, diffId);
    }
  }
  return diffIds;
}

/** The platform of an image by its config, for images that no index describes. */
export async function platformOf(
  source: SourceImage,
  node: ManifestNode,
  pool: Pool,
): Promise<Platform | undefined> {
  if (node.descriptor.platform !== undefined) return node.descriptor.platform;
  if (!isContainerImage(node) || node.manifest.kind !== 'image') return undefined;
  const { config } = node.manifest;
  const at = await source.locate(config, 'blob');
  if (at === undefined) return undefined;
  return (await readConfig(VerifiedBlob.at(at, config, pool), pool))?.platform;
}
