import zlib from 'node:zlib';
import type { Contents } from './bits.js';
import { digestText } from '../support/images.js';
import { regionsOfTar } from './damages.js';
import type { Source } from './sources.js';

/** A damaged source that was converted without an error into something else than the sound one gives. */
interface Difference {
  readonly source: Source;
  /** What was damaged. */
  readonly kind: string;
  /** The damaged file. */
  readonly bytes: Buffer;
  readonly now: Contents;
  readonly baseline: Contents;
}

function isSubset(some: Iterable<string>, all: Iterable<string>): boolean {
  const known = new Set(all);
  return [...some].every((one) => known.has(one));
}

/** Blobs of any target, by their contents. */
function contentsBut(files: Contents['files'], documents: RegExp): string[] {
  return Object.entries(files)
    .filter(([file]) => !documents.test(file))
    .map(([, content]) => content);
}

/**
 * Where no format says what a byte should have been. Each excuse is a place where a byte means something that nothing
 * else in the source contradicts, and what it may change there; anything beyond is a failure.
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
    allows: ({ now, baseline }) =>
      isSubset(now.digests.values(), baseline.digests.values()) &&
      isSubset(contentsBut(now.files, /index\.json$/), contentsBut(baseline.files, /index\.json$/)),
  },
  {
    // Node before 22.15 unpacks zstd without looking at its checksum. Layers and configs are proved all the same.
    why: 'excused: another name, in a zstd archive whose checksum this Node does not check',
    kinds: /^zstd archive/,
    only: () => !('createZstdDecompress' in zlib),
    allows: ({ now, baseline }) =>
      isSubset(now.digests.values(), baseline.digests.values()) &&
      isSubset(contentsBut(now.files, /index\.json$/), contentsBut(baseline.files, /index\.json$/)),
  },
  {
    // skopeo's directory names an image by tag and has its manifest beside the blobs: nothing says its digest.
    why: "excused: another manifest, kept byte for byte, where a directory's name has no digest",
    kinds: /^manifest\.json$/,
    only: ({ short }) => short === 'dir',
    allows: ({ bytes, now, baseline }) =>
      isSubset(now.digests.values(), [
        ...baseline.digests.values(),
        digestText(bytes),
        digestText(bytes, 'sha512'),
      ]),
  },
  {
    why: 'excused: another image, of an archive from before Docker 1.10, which holds no digests',
    kinds: /^(?:layer|json|repositories)$/,
    only: isLegacy,
    allows: layersAreMembers,
  },
  {
    // jib calls it config.json, Docker and skopeo <digest>.json, but load it whatever its digest is.
    why: 'excused: another config, where no digest of it counts',
    kinds: /^config without a digest$/,
    allows: layersAreMembers,
  },
  {
    // A gzip header's time, name and system may change without what it unpacks to, which the config's diffIDs prove.
    why: 'excused: a layer packed otherwise, with the same files in it, where manifest.json has no digest of it',
    kinds: /^packed layer/,
    only: ({ short }) => short === 'tar',
    allows: ({ now, baseline }) =>
      isSubset(now.imageIds, baseline.imageIds) && isSubset(baseline.imageIds, now.imageIds),
  },
  {
    // Signatures are carried and not checked: who checks them says what they mean.
    why: 'excused: another signature, kept byte for byte',
    kinds: /^signature$/,
    allows: ({ now, baseline }) =>
      isSubset(contentsBut(now.files, /signature-\d+$/), contentsBut(baseline.files, /signature-\d+$/)),
  },
];

/** Archives from before Docker 1.10 hold no digests: what their bytes are, that is the image. */
function isLegacy({ name }: Source): boolean {
  return name === 'legacy-v1.tar';
}

/** Every layer that was written lies just so in the damaged archive, or is one of the sound one's. */
function layersAreMembers({ bytes, now, baseline }: Difference): boolean {
  const known = new Set(Object.values(baseline.files));
  return Object.entries(now.files)
    .filter(([file, content]) => !known.has(content) && !file.endsWith('index.json'))
    .every(([, content]) => {
      const digest = /[0-9a-f]{64}$/.exec(content)?.[0];
      return (
        digest === undefined ||
        !/^\d+ bytes/.test(content) ||
        now.documents.has(digest) ||
        holds(bytes, digest)
      );
    });
}

/** True when a member of this archive has this digest. */
function holds(archive: Buffer, digest: string): boolean {
  return regionsOfTar(archive, () => 'member').some(
    ({ kind, start, end }) =>
      kind === 'member' && digestText(archive.subarray(start, end)) === `sha256:${digest}`,
  );
}

/** Why this difference is right; undefined when it is not. */
export function excuseFor(difference: Difference): string | undefined {
  const { source, kind } = difference;
  return EXCUSES.find(
    ({ kinds, only, allows }) => kinds.test(kind) && only?.(source) !== false && allows(difference),
  )?.why;
}
