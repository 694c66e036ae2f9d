import {
  choiceText,
  type ImageReader,
  type SourceImage,
  type Traits,
  type UnreadableImage,
} from '../formats/format.js';
import type { Pool } from '../threads/pool.js';
import { asImgconvError, counted, ImgconvError } from '../model/errors.js';
import { isAttachedTag } from '../model/attached.js';
import { manifestsOf, type ManifestNode } from '../model/tree.js';
import type { Platform } from '../model/platform.js';
import { referenceText, splitReference, type Reference } from '../model/reference.js';
import { findClosure, type Closure } from './closure.js';
import { withoutAttestations } from './extras.js';
import { withoutMissing, type MissingMode } from './missing.js';
import { targetName, type NameOptions } from './names.js';
import { choosePlatforms } from './platforms.js';
import { changedLayers, compressionFor, type CompressionOptions } from './recompress.js';
import { listOptions, select, type Selected, type Selector } from './select.js';
import { readSharedTree } from './tree.js';
import { digestsOf, Seen, untaggedImages } from './untagged.js';

export interface PrepareOptions extends NameOptions {
  /** The source, for messages. */
  readonly where: string;
  readonly selectors: readonly Selector[];
  readonly tag: string | undefined;
  readonly platforms: readonly Platform[];
  /** Of indexes images alone; of what stands alone any platform. */
  readonly systemImages: boolean;
  readonly missing: MissingMode;
  /** Carries signatures, attestations and other referrers with their images. */
  readonly extras: boolean | 'listed';
  /** Also takes images without a tag. Undefined: counts those that are left out. */
  readonly untagged?: boolean | undefined;
  readonly compression: CompressionOptions;
  readonly failFast: boolean;
  /** Nothing is going to be read but manifests and configs. */
  readonly dryRun: boolean;
  readonly onBytes: ((count: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A registry could make up artifacts that are attached to artifacts for as long as it is asked. */
const MAX_ATTACHED = 10_000;

/** An image that is found, named and known to be all there. */
export interface Job {
  readonly source: SourceImage;
  readonly name: Reference;
  readonly closure: Closure;
  /** What its layers are to become. */
  readonly compression: CompressionOptions;
  readonly signatures: SourceImage['signatures'];
  readonly notes: readonly string[];
}

export interface Failure {
  readonly source: string;
  readonly choice?: string | undefined;
  readonly sourceDigest: string | undefined;
  readonly name: Reference | undefined;
  readonly error: ImgconvError;
}

export interface Prepared {
  readonly jobs: readonly Job[];
  readonly failures: readonly Failure[];
  /** Sources that were not looked at any more. */
  readonly skipped: readonly string[];
  readonly untaggedLeftOut: number;
}

/** An image that is to get a name: the user's own, or what the mapping makes of the source's. */
interface Wanted extends Selected {
  /** What is attached to a chosen image, to what is attached to that, and so on. */
  readonly family: { size: number };
  readonly target: Reference | undefined;
  readonly notes: readonly string[];
}

/**
 * Chooses images of a source, names them, and finds every blob of each. Images that cannot be are in `failures`.
 * @throws ImgconvError NAME_CONFLICT when two would get one name; USAGE, INTERRUPTED
 */
export async function prepare(
  reader: ImageReader,
  traits: Traits,
  options: PrepareOptions,
  pool: Pool,
): Promise<Prepared> {
  const all: (SourceImage | UnreadableImage)[] = [];
  const asksUntagged =
    options.selectors.length === 0 && options.untagged !== false && options.extras !== 'listed';
  for await (const image of reader.images(
    listOptions(options.selectors, options.extras === true || asksUntagged),
  ))
    all.push(image);
  const { selected, unmatched } = select(all, options.selectors);
  if (selected.length === 0 && unmatched.length === 0 && !(options.untagged === true && all.length > 0))
    throw nothing(options.where, all.length);
  const failures: Failure[] = unmatched.map(({ selector, error }) => ({
    source: selector.text,
    sourceDigest: undefined,
    name: undefined,
    error,
  }));
  const named = options.tag === undefined ? undefined : expectOne(selected, options.tag);
  const chosen = new Set(selected.map(({ image }) => image));
  const jobs = new Map<string, Job>();
  const closures: Closures = new WeakMap();
  const carried = new Set<string>();
  const skipped: string[] = [];
  const behind = new Map<string, { repository: string; followers: readonly SourceImage[] }>();
  const queue: Wanted[] = selected
    .filter(({ image, exact }) => options.extras !== false || exact || !isAttached(image))
    .map((one) => ({
      ...one,
      rename: one.rename ?? named,
      target: undefined,
      notes: [],
      family: { size: 0 },
    }));
  const seen = new Seen();
  const untagged = async () => (asksUntagged ? untaggedImages(all, seen, pool) : []);
  let tagged = options.untagged === true ? queue.length : Infinity;
  for (let i = 0; ; i++) {
    if (i === queue.length && tagged <= i) {
      tagged = Infinity;
      for (const image of await untagged())
        queue.push({
          image,
          rename: undefined,
          exact: false,
          target: undefined,
          notes: [],
          family: { size: 0 },
        });
    }
    const wanted = queue[i];
    if (wanted === undefined) break;
    if (options.failFast && failures.length > 0) {
      skipped.push(wanted.image.name ?? wanted.image.where);
      continue;
    }
    const { image, family } = wanted;
    if (family.size > MAX_ATTACHED) continue;
    const source = image.name ?? image.where;
    try {
      if ('error' in image) throw image.error;
      const { reference, notes } = nameOf(wanted, image, options, traits);
      expectOwnDigest(reference, image);
      const key = referenceText(reference);
      // A registry's referrers tag is an index of what is attached: what came with that is not carried again.
      if (wanted.target?.digest !== undefined && carried.has(`${reference.repository} ${image.digest}`))
        continue;
      const other = jobs.get(key);
      if (other !== undefined && other.source.digest !== image.digest)
        throw conflict(key, other.source, image);
      if (other !== undefined) continue;
      const tree = await readSharedTree(image, pool);
      seen.add(image, digestsOf(tree));
      const { closure, notes: made } = await closureOf(image, tree, options, pool, closures);
      if (!options.dryRun) pool.announce([...closure.blobs.values()].map(({ size }) => size));
      const digests = new Set(manifestsOf(closure.root).map(({ descriptor }) => descriptor.digest));
      for (const digest of digests) carried.add(`${reference.repository} ${digest}`);
      const attached = options.extras === true ? await reader.attached(image, digests) : undefined;
      const { images = [], notes: unseen = [] } = attached ?? {};
      const followers = images.filter((one): one is SourceImage => !('error' in one));
      if ((family.size += followers.length) > MAX_ATTACHED)
        throw new ImgconvError(
          'MANIFEST_INVALID',
          `${source}: more than ${MAX_ATTACHED} attached artifacts`,
          {
            hint: '--no-extras leaves out all that is attached',
          },
        );
      for (const one of images) {
        if (!('error' in one) || chosen.has(one)) continue;
        chosen.add(one);
        failures.push(unreadable(one));
      }
      const compression = compressionFor(image, options.compression);
      const follow = changedLayers(closure.root, compression).length === 0;
      if (follow) {
        for (const follower of followers) {
          const { tag } = splitReference(follower.name ?? '');
          const target = { ...reference, tag, digest: tag === undefined ? follower.digest : undefined };
          queue.push({
            image: follower,
            rename: undefined,
            exact: false,
            target,
            notes: [`attached to ${key}`],
            family,
          });
        }
      }
      if (!follow) behind.set(key, { repository: reference.repository, followers });
      jobs.set(key, {
        source: image,
        name: reference,
        closure,
        compression,
        signatures: options.extras !== false ? image.signatures : [],
        notes: [...wanted.notes, ...image.warnings, ...notes, ...made, ...closure.notes, ...unseen],
      });
    } catch (error) {
      const known = located(asImgconvError(error, source), image.where);
      if (known.code === 'NAME_CONFLICT' || options.signal?.aborted === true) throw known;
      const sourceDigest = 'digest' in image ? image.digest : undefined;
      const choice = image.name === undefined ? choiceText(image) : undefined;
      failures.push({ source, choice, sourceDigest, name: undefined, error: known });
    }
  }
  for (const [key, { repository, followers }] of behind) {
    const left = followers.filter(
      (one) => !chosen.has(one) && !carried.has(`${repository} ${one.digest}`),
    ).length;
    const job = jobs.get(key);
    if (job === undefined || left === 0) continue;
    const note = `${counted(left, 'attached artifact')} left out: made for the digest that the image had`;
    jobs.set(key, { ...job, notes: [...job.notes, note] });
  }
  // By name, so that what is written does not depend on the order in which the source has it.
  const sorted = [...jobs].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, job]) => job);
  const untaggedLeftOut = options.untagged === undefined ? (await untagged()).length : 0;
  return { jobs: sorted, failures, skipped, untaggedLeftOut };
}

/** Who asks for a digest has to get it. @throws ImgconvError DIGEST_MISMATCH for a name that has another image's */
function expectOwnDigest({ tag, digest }: Reference, image: SourceImage): void {
  if (tag !== undefined || digest === undefined || digest === image.digest) return;
  throw new ImgconvError(
    'DIGEST_MISMATCH',
    `${image.where}: its name says ${digest}, its digest is ${image.digest}`,
  );
}

/** A name that is none was read somewhere. */
function located(error: ImgconvError, where: string): ImgconvError {
  const { code, message, hint } = error;
  if (code !== 'NAME_INVALID' || message.includes(where)) return error;
  return new ImgconvError(code, `${where}: ${message}`, {
    cause: error,
    ...(hint !== undefined && { hint }),
  });
}

/** It may be attached to what is converted: leaving it behind in silence would be to lose it. */
function unreadable({ name, where, error }: UnreadableImage): Failure {
  const hint =
    'it may be attached to an image that is converted; --no-extras leaves out all that is attached';
  const { code, message, cause } = error;
  return {
    source: name ?? where,
    sourceDigest: undefined,
    name: undefined,
    error: new ImgconvError(code, message, { cause: cause ?? error, hint }),
  };
}

function isAttached(image: SourceImage | UnreadableImage): boolean {
  return isAttachedTag(splitReference(image.name ?? '').tag);
}

function nameOf({ target, rename }: Wanted, image: SourceImage, options: NameOptions, traits: Traits) {
  if (target !== undefined) return { reference: target, notes: [] };
  const name = rename ?? image.name;
  if (name !== undefined) return targetName(name, rename !== undefined, options, traits);
  throw new ImgconvError('NAME_MISSING', `${image.where}: the image has no name`, {
    hint: `choose it by ${choiceText(image) ?? image.digest} and give it one with -t NAME:TAG`,
  });
}

/** By the tree, which images of several names share. */
type Closures = WeakMap<ManifestNode, ReturnType<typeof findWhole>>;

async function closureOf(
  image: SourceImage,
  tree: ManifestNode,
  options: PrepareOptions,
  pool: Pool,
  known: Closures,
) {
  const whole = known.get(tree) ?? findWhole(image, tree, options, pool);
  known.set(tree, whole);
  return whole;
}

async function findWhole(image: SourceImage, tree: ManifestNode, options: PrepareOptions, pool: Pool) {
  const system = options.systemImages && options.platforms.length > 0;
  const bare = options.extras !== false && !system ? tree : withoutAttestations(tree);
  const taken = system && bare.manifest.kind !== 'index' ? [] : options.platforms;
  const chosen = await choosePlatforms(image, bare, taken, pool);
  const { root, notes } = await withoutMissing(image, chosen.root, options.missing);
  const closure = await findClosure(image, root, pool, {
    allowAbsent: options.missing === 'sparse',
    onBytes: options.onBytes,
  });
  const dropped =
    bare === tree || root.manifest.kind !== 'index'
      ? []
      : ['its attestations are left out, so the index is a new one'];
  return { closure, notes: [...dropped, ...chosen.notes, ...notes] };
}

function nothing(where: string, untagged: number): ImgconvError {
  if (untagged === 0)
    return new ImgconvError('NOT_FOUND', `${where}: there are no images in it`, {
      hint: 'imgconv ls shows what there is',
    });
  return new ImgconvError('NOT_FOUND', `${where}: there are no tagged images in it`, {
    hint: '--untagged takes images without a tag, NAME@sha256:… one of them',
  });
}

/** Several names of one image are one image. */
function expectOne(selected: readonly Selected[], tag: string): string {
  const images = new Set(selected.map(({ image }) => ('digest' in image ? image.digest : image)));
  if (images.size <= 1) return tag;
  throw new ImgconvError('USAGE', `--tag ${tag}: names one image, and there are ${images.size}`, {
    hint: 'choose one by its name, digest or number, as imgconv ls shows them; --images-file names several, "SOURCE TARGET" on a line',
  });
}

function conflict(name: string, one: SourceImage, other: SourceImage): ImgconvError {
  return new ImgconvError(
    'NAME_CONFLICT',
    `${name}: both ${one.name ?? one.where} (${one.digest}) and ${other.name ?? other.where} (${other.digest}) would get this name`,
    { hint: 'nothing was written; tell them apart with --rename, --scoped or an images file' },
  );
}
