import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import zlib, { gunzipSync } from 'node:zlib';
import { z } from 'zod';
import type { Contents, Target } from './bits.js';
import { digestText, hex } from '../support/images.js';
import { shown } from '../support/snapshot.js';
import { regionsOfTar } from './damages.js';
import { membersOf } from './members.js';
import type { Source } from './sources.js';

/** A source of which one file was damaged, and what it was converted into. */
export interface Difference {
  readonly source: Source;
  readonly target: Target;
  /** The damaged file, as it was and as it is, and what was damaged in it. */
  readonly file: string;
  readonly kind: string;
  readonly sound: Buffer;
  readonly bytes: Buffer;
  /** How many images have an error; infinite when the whole run has. */
  readonly refused: number;
  readonly now: Contents;
  /** Of the sound source. */
  readonly baseline: Contents;
}

function isSubset(some: Iterable<string>, all: Iterable<string>): boolean {
  const wanted = new Set(all);
  return [...some].every((one) => wanted.has(one));
}

/** What lies in files of any target; of index.json, what the names that it holds lead to is compared elsewhere. */
function contentsBut(files: Contents['files']): string[] {
  return Object.entries(files)
    .filter(([file]) => basename(file) !== 'index.json')
    .map(([, content]) => content);
}

/**
 * Names of the sound source's images that an error has to account for, since `isThere` is false for them. An image
 * without a tag that comes with a tagged one of its repository, as referrers do, is lost with it.
 */
export function missingFrom(
  baseline: Contents,
  isThere: (name: string, digest: string) => boolean,
): string[] {
  const missing = [...baseline.digests].filter((one) => !isThere(...one)).map(([name]) => name);
  const repositories = missing
    .filter((name) => !name.includes('@'))
    .map((name) => name.replace(/:[^:/]*$/, ''));
  return missing.filter((name) => !name.includes('@') || !repositories.includes(name.replace(/@.*$/, '')));
}

/** Images under the names that they had, but for those that an error accounts for. */
function namesStay({ now, baseline, refused }: Difference): boolean {
  return (
    isSubset(now.digests.keys(), baseline.digests.keys()) &&
    missingFrom(baseline, (name) => now.digests.has(name)).length <= refused
  );
}

/** Every new file is a manifest, config or layer of an image that is there, or names one. */
function onlyKnownFiles({ now, baseline }: Difference): boolean {
  const before = new Set(Object.values(baseline.files));
  return contentsBut(now.files).every((content) => {
    const digest = /(?:[0-9a-f]{64}){1,2}$/.exec(content)?.[0];
    return before.has(content) || (digest !== undefined && now.known.has(digest));
  });
}

/** For each image that is another than before, whether it may be. */
function changedImages(
  { now, baseline }: Difference,
  allows: (
    now: ReturnType<Contents['parts']['get']>,
    before: ReturnType<Contents['parts']['get']>,
    name: string,
  ) => boolean,
): boolean {
  return [...now.digests].every(
    ([name, digest]) =>
      digest === baseline.digests.get(name) || allows(now.parts.get(name), baseline.parts.get(name), name),
  );
}

const NAMING = {
  'index.json': z
    .object({ manifests: z.array(z.object({ digest: z.string() })) })
    .transform(({ manifests }) => manifests.length),
  'manifest.json': z
    .array(z.looseObject({ RepoTags: z.array(z.string()).nullish() }))
    .transform((images) => images.reduce((sum, { RepoTags }) => sum + Math.max(RepoTags?.length ?? 0, 1), 0)),
  repositories: z
    .record(z.string(), z.record(z.string(), z.string()))
    .transform((all) => Object.values(all).reduce((sum, tags) => sum + Object.keys(tags).length, 0)),
} as const;

/** How many images a document names, by itself or as a member; undefined when it cannot be read. */
function imagesNamed(kind: string, file: string, bytes: Buffer): number | undefined {
  const members = file === '' ? membersOf(bytes) : new Map([[kind, bytes]]);
  const document = typeof members === 'string' ? undefined : members.get(kind);
  const schema = Object.entries(NAMING).find(([name]) => name === kind)?.[1];
  if (document === undefined || schema === undefined) return undefined;
  try {
    return schema.safeParse(JSON.parse(document.toString())).data;
  } catch {
    return undefined;
  }
}

/**
 * The same images to the byte, whatever they are called. Fewer of them only where others have an error, or where the
 * document that names them now names fewer.
 */
function sameUnderAnyName({ kind, file, sound, bytes, refused, now, baseline }: Difference): boolean {
  const [is, was] = [[...now.digests.values()], [...baseline.digests.values()]];
  const left = [...is];
  const missing = missingFrom(baseline, (_name, digest) => {
    const at = left.indexOf(digest);
    return at >= 0 && left.splice(at, 1).length > 0;
  }).length;
  const before = imagesNamed(kind, file, sound) ?? 0;
  const unnamed = Math.max(before - (imagesNamed(kind, file, bytes) ?? before), 0);
  const [blobs, all] = [contentsBut(now.files), contentsBut(baseline.files)];
  return (
    missing <= refused + unnamed &&
    isSubset(is, was) &&
    isSubset(blobs, all) &&
    (missing > 0 || isSubset(all, blobs))
  );
}

/** Digests of an archive's members. */
function memberDigests(archive: Buffer): Set<string> {
  return new Set(
    regionsOfTar(archive, () => 'member')
      .filter(({ kind }) => kind === 'member')
      .map(({ start, end }) => digestText(archive.subarray(start, end))),
  );
}

/** The blob of this digest, unpacked, where a target holds it. */
function unpackedBlob({ path, files }: Contents, digest: string): Buffer | undefined {
  const file = Object.entries(files).find(([, content]) => content.endsWith(`bytes, ${hex(digest)}`))?.[0];
  return file === undefined ? undefined : gunzipSync(readFileSync(join(path, file)));
}

/** What zstd makes of damaged bytes when it does not look at checksums either. */
function unpackedZstd(bytes: Buffer): Buffer | undefined {
  const { status, stdout } = spawnSync('zstd', ['-dcq', '--no-check'], { input: bytes });
  return status === 0 ? stdout : undefined;
}

/** Another manifest in the directory whose manifest.json was damaged, kept byte for byte; all else as it was. */
function onlyItsManifest(difference: Difference): boolean {
  const { file, bytes, now, baseline } = difference;
  const own = [digestText(bytes), digestText(bytes, 'sha512')];
  return (
    namesStay(difference) &&
    changedImages(difference, (_now, _before, name) => {
      return name === dirname(file) && own.includes(now.digests.get(name) ?? '');
    }) &&
    isSubset(contentsBut(now.files), [...Object.values(baseline.files), ...own, shown(bytes)])
  );
}

/** Images with other layers or configs: each layer lies just so in the archive. */
function layersAreMembers(difference: Difference): boolean {
  const members = memberDigests(difference.bytes);
  return (
    namesStay(difference) &&
    onlyKnownFiles(difference) &&
    changedImages(difference, (now = [], before = []) => {
      const [layers, old] = [now, before].map((parts) => parts.flatMap((one) => one.layers));
      if (layers === undefined || old === undefined || !isSubset(layers, members)) return false;
      // A layer says nothing of which others are below it; the JSON beside it does.
      return difference.kind === 'layer'
        ? layers.length === old.length && !isSubset(layers, old)
        : layers.length > 0;
    })
  );
}

/** Images with the damaged config, and the layers that they had. */
function onlyTheConfig(difference: Difference): boolean {
  const [now, before] = [difference.bytes, difference.sound].map(memberDigests);
  return (
    namesStay(difference) &&
    onlyKnownFiles(difference) &&
    changedImages(
      difference,
      (parts = [], old = []) =>
        JSON.stringify(parts.map(({ layers }) => layers)) ===
          JSON.stringify(old.map(({ layers }) => layers)) &&
        parts.length > 0 &&
        parts.every(
          ({ imageId = '' }, i) =>
            imageId === old[i]?.imageId || (now?.has(imageId) === true && before?.has(imageId) === false),
        ),
    )
  );
}

/** Images with the same config, and layers that unpack to the same bytes. */
function onlyThePacking(difference: Difference): boolean {
  const isSame = (layer: string, old: string | undefined) => {
    if (layer === old) return true;
    const [now, before] = [unpackedBlob(difference.now, layer), unpackedBlob(difference.baseline, old ?? '')];
    return now !== undefined && before !== undefined && now.equals(before);
  };
  return (
    namesStay(difference) &&
    onlyKnownFiles(difference) &&
    changedImages(
      difference,
      (parts = [], old = []) =>
        parts.length === old.length &&
        parts.every(
          ({ imageId, layers }, i) =>
            imageId === old[i]?.imageId &&
            layers.length === old[i]?.layers.length &&
            layers.every((layer, n) => isSame(layer, old[i]?.layers[n])),
        ),
    )
  );
}

/** The same files but for the damaged signature, which is kept as it is. */
function onlyTheSignature(difference: Difference): boolean {
  const { file, bytes, refused, now, baseline } = difference;
  return (
    namesStay(difference) &&
    changedImages(difference, () => false) &&
    (refused > 0 || isSubset(Object.keys(baseline.files), Object.keys(now.files))) &&
    Object.entries(now.files).every(
      ([name, content]) =>
        basename(name) === 'index.json' ||
        content === baseline.files[name] ||
        (name === file && content === shown(bytes)),
    )
  );
}

/** Archives from before Docker 1.10 hold no digests: what their bytes are, that is the image. */
function isLegacy({ name }: Source): boolean {
  return name === 'legacy-v1.tar';
}

/**
 * Where no format says what a byte should have been. Each excuse is a place where a byte means something that nothing
 * else in the source contradicts, and allows just the change that it names: an image that is missing has an error.
 */
const EXCUSES: readonly {
  readonly why: string;
  readonly kinds: RegExp;
  readonly only?: (source: Source) => boolean;
  readonly allows: (difference: Difference) => boolean;
}[] = [
  {
    // A name is what a document says it is: index.json's annotations, manifest.json's RepoTags, repositories' tags.
    why: 'excused: another name, for an image that is the same to the byte',
    kinds: /^(?:index\.json|manifest\.json|repositories)$/,
    only: ({ short }) => short !== 'dir',
    allows: sameUnderAnyName,
  },
  {
    // Node before 22.15 unpacks zstd without looking at its checksum. Layers and configs are proved all the same.
    why: 'excused: another name or config, in a zstd archive whose checksum this Node does not check',
    kinds: /^zstd archive/,
    only: () => !('createZstdDecompress' in zlib),
    allows: (difference) => {
      const [sound, bytes] = [difference.sound, difference.bytes].map(unpackedZstd);
      if (sound === undefined || bytes === undefined) return false;
      const plain = { ...difference, sound, bytes };
      return sameUnderAnyName({ ...plain, kind: 'manifest.json' }) || onlyTheConfig(plain);
    },
  },
  {
    // skopeo's directory names an image by tag and has its manifest beside the blobs: nothing says its digest.
    why: "excused: another manifest, kept byte for byte, where a directory's name has no digest",
    kinds: /^manifest\.json$/,
    only: ({ short }) => short === 'dir',
    allows: onlyItsManifest,
  },
  {
    why: 'excused: another image, of an archive from before Docker 1.10, which holds no digests',
    kinds: /^(?:layer|json)$/,
    only: isLegacy,
    allows: layersAreMembers,
  },
  {
    // jib calls it config.json, Docker and skopeo <digest>.json, but load it whatever its digest is.
    why: 'excused: another config, where no digest of it counts',
    kinds: /^config without a digest$/,
    allows: onlyTheConfig,
  },
  {
    // A gzip header's time, name and system may change without what it unpacks to, which the config's diffIDs prove.
    why: 'excused: a layer packed otherwise, with the same files in it, where manifest.json has no digest of it',
    kinds: /^packed layer/,
    only: ({ short }) => short === 'tar',
    allows: onlyThePacking,
  },
  {
    // Signatures are carried and not checked: who checks them says what they mean.
    why: 'excused: another signature, kept byte for byte',
    kinds: /^signature$/,
    allows: onlyTheSignature,
  },
];

/** Why this difference is right; undefined when it is not. */
export function excuseFor(difference: Difference): string | undefined {
  const { source, kind } = difference;
  return EXCUSES.find(
    ({ kinds, only, allows }) => kinds.test(kind) && only?.(source) !== false && allows(difference),
  )?.why;
}
