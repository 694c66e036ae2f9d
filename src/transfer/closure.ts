import { sizeOf } from '../bytes/chunks.js';
import type { Bytes } from '../bytes/region.js';
import type { SourceImage } from '../formats/format.js';
import type { Digest } from '../model/digest.js';
import { counted, ImgconvError } from '../model/errors.js';
import { blobsOf } from '../model/graph.js';
import { manifestsOf, type ManifestNode } from '../model/tree.js';
import { isForeignLayer } from '../model/media-type.js';
import { platformText, type Platform } from '../model/platform.js';
import { originOf } from '../proof/manifest.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import { readDiffIds } from './configs.js';

/** An image whose whole closure was found; every blob is still to be proved as it is read. */
export interface Closure {
  readonly root: ManifestNode;
  readonly blobs: ReadonlyMap<Digest, VerifiedBlob>;
  readonly notes: readonly string[];
}

/** Where the bytes of a blob are. */
interface Found {
  readonly at: Bytes;
  readonly size: number;
  /** Which blob it is, for messages about parts of files. */
  readonly what?: string | undefined;
  /** True when the source holds no such bytes. */
  readonly isMade?: boolean;
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
  const found = new Map<Digest, Found>();
  const notes: string[] = [];
  const missing = new Missing();
  for (const node of manifestsOf(root)) {
    const { digest, platform } = node.descriptor;
    for (const absent of allowAbsent ? [] : node.absent)
      missing.add(absent.platform, 'manifest', absent.digest);
    const own = await manifestBytes(source, node);
    if (own !== undefined) found.set(digest, own);
    for (const { role, target, label } of blobsOf(node.manifest)) {
      const at = await source.locate(target, 'blob');
      if (at !== undefined) {
        const what = isPart(at) ? label : undefined;
        found.set(target.digest, { at, size: target.size ?? (await sizeOf(at)), what });
      } else if (isForeignLayer(target.mediaType ?? ''))
        notes.push(`foreign layer ${target.digest} stays where its URLs say`);
      else missing.add(platform, role, target.digest);
    }
  }
  missing.expectNone(source, root);
  const blobOf = (digest: Digest, { at, size, what, isMade }: Found, diffId?: Digest) =>
    VerifiedBlob.at(at, { digest, size }, pool, { what, isMade, onBytes, diffId });
  const blobs = new Map([...found].map(([digest, one]) => [digest, blobOf(digest, one)] as const));
  if (source.provesDiffIds) {
    for (const [digest, diffId] of await readDiffIds(root, blobs, pool, 'skip')) {
      const layer = found.get(digest);
      if (layer !== undefined) blobs.set(digest, blobOf(digest, layer, diffId));
    }
  }
  return { root, blobs, notes };
}

/**
 * What is read again must be what was parsed: a file of another size by now is not. Undefined for signed schema 1,
 * whose digest is not of all its bytes.
 */
async function manifestBytes(source: SourceImage, node: ManifestNode): Promise<Found | undefined> {
  const { descriptor, bytes } = node;
  const { length: size } = bytes;
  const located = await source.locate(descriptor, 'manifest');
  const origin = originOf(node);
  const own = origin?.path === located?.path && origin?.size === located?.size ? origin : located;
  if (own?.size === descriptor.size) return { at: own, size: own.size };
  const path = `manifest ${descriptor.digest}`;
  return size === descriptor.size
    ? { at: { kind: 'memory', path, size, bytes }, size, isMade: true }
    : undefined;
}

/** True for a part of a file, whose name alone does not say which. */
function isPart(at: Bytes): boolean {
  return at.kind === 'dropped' || (at.kind === 'file' && at.shown !== undefined);
}

/** The message shows no more platforms and digests than these. */
const PLATFORMS_SHOWN = 20;
const DIGESTS_SHOWN = 3;
/** What buildx gives attestations for a platform. */
const NO_PLATFORM = 'unknown/unknown';
const KINDS = ['manifest', 'config', 'layer', 'blob'] as const;
type Kind = (typeof KINDS)[number];

/** What a source lacks of an image, by platform. */
class Missing {
  readonly #byPlatform = new Map<string, Map<string, Kind>>();

  add(platform: Platform | undefined, kind: Kind, digest: Digest): void {
    const key = platform === undefined ? '' : platformText(platform);
    const lacking = this.#byPlatform.get(key) ?? new Map<string, Kind>();
    this.#byPlatform.set(key, lacking.set(`${kind} ${digest}`, kind));
  }

  /** @throws ImgconvError BLOB_MISSING */
  expectNone({ where, absentHint }: SourceImage, root: ManifestNode): void {
    if (this.#byPlatform.size === 0) return;
    const all = [...this.#byPlatform.values()];
    const few = all.reduce((sum, { size }) => sum + size, 0) <= DIGESTS_SHOWN;
    const platforms = [...this.#byPlatform].filter(([platform]) => platform !== NO_PLATFORM);
    const attestations = this.#byPlatform.get(NO_PLATFORM);
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
        ? (absentHint ?? 'the source is not whole: fetch the image again')
        : platforms.length === 0
          ? `${prune}; ${sparse}`
          : `choose with --platform; or ${prune}, ${sparse}${absentHint === undefined ? '' : `. ${absentHint}`}`;
    throw new ImgconvError('BLOB_MISSING', `${where}: not there: ${texts.join('; ')}`, { hint });
  }
}

/** `manifest sha256:…` while these are few, else `1 config, 3 layers`. */
function lackText(what: ReadonlyMap<string, Kind>, few: boolean): string {
  if (few) return [...what.keys()].join(', ');
  const kinds = [...what.values()];
  return KINDS.map((kind) => [kind, kinds.filter((one) => one === kind).length] as const)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => counted(count, kind))
    .join(', ');
}
