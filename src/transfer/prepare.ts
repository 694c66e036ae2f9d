import {
  choiceText,
  type ImageReader,
  type SourceImage,
  type Traits,
  type UnreadableImage,
} from '../formats/format.js';
import { isAttachedTag } from '../model/attached.js';
import { asImgconvError, counted, ImgconvError } from '../model/errors.js';
import { manifestsOf } from '../model/tree.js';
import { referenceText, splitReference, type Reference } from '../model/reference.js';
import { IMAGES_A_BREATH, type Pool } from '../threads/pool.js';
import type { Closure } from './closure.js';
import { changedLayers, compressionFor, type LayerCompression } from './compression.js';
import { Expectations, type Expectation } from './expectations.js';
import { joinNotes, type Failure, type Job, type Prepared } from './job.js';
import {
  expectOne,
  located,
  nameConflict,
  nothingIn,
  ownDigest,
  tooManyAttached,
  unreadableReferrer,
} from './mistakes.js';
import { targetName, type NameOptions, type TargetName } from './names.js';
import { readSharedTree } from './tree.js';
import { select, type Selected, type Selector } from './select.js';
import { DigestsIn, digestsOf, listImages, Seen, untaggedImages } from './untagged.js';
import { WholeImages, type PartOptions } from './whole.js';

export interface PrepareOptions extends NameOptions, PartOptions {
  /** The source, for messages. */
  readonly where: string;
  readonly selectors: readonly Selector[];
  readonly tag: string | undefined;
  /** Also takes images without a tag. Undefined: counts those that are left out. */
  readonly untagged?: boolean | undefined;
  readonly compression: LayerCompression;
  readonly expect: readonly Expectation[];
  /** The target is to hold one image and nothing that is attached to it. */
  readonly alone: boolean;
  readonly failFast: boolean;
  /** Nothing is going to be read but manifests and configs. */
  readonly dryRun: boolean;
  readonly signal?: AbortSignal | undefined;
  /** To find an image again asks another machine again: all closures are held. */
  readonly holds: boolean;
  /** Hears of each image that is found, with its closure. */
  readonly onFound: (job: Job, closure: Closure) => Promise<void>;
}

/** A registry could make up artifacts that are attached to artifacts for as long as it is asked. */
const MAX_ATTACHED = 10_000;

/** An image that is to get a name: the user's own, or what the mapping makes of the source's. */
interface Wanted extends Pick<Selected, 'image' | 'rename'> {
  /** What is attached to a chosen image, to what is attached to that, and so on; undefined for the chosen one. */
  readonly family?: { size: number };
  /** Of an attached image: its name, and that of the image that it is attached to. */
  readonly attached?: { readonly target: Reference; readonly to: string };
}

interface Found {
  readonly job: Job;
  readonly closure: Closure;
}

/** Chooses images of a source, names them, and finds every blob of each. */
export class Preparation {
  readonly #reader: ImageReader;
  readonly #traits: Traits;
  readonly #options: PrepareOptions;
  readonly #pool: Pool;
  readonly #whole: WholeImages;
  readonly #expectations: Expectations;
  readonly #queue: (Wanted | undefined)[] = [];
  #next = 0;
  readonly #jobs = new Map<string, Job>();
  readonly #failures: Failure[] = [];
  readonly #skipped: string[] = [];
  /** Images that were chosen and may be referrers too, and referrers that failed: each is accounted for already. */
  readonly #told = new Set<SourceImage | UnreadableImage>();
  readonly #seen = new Seen();
  /** Repositories and digests of all manifests that are converted. */
  readonly #carried = new DigestsIn();
  /** Referrers of images that get another digest. */
  readonly #behind = new Map<string, { repository: string; followers: readonly SourceImage[] }>();
  readonly #placeNoted = new Set<string>();
  #repository = '';

  constructor(reader: ImageReader, traits: Traits, options: PrepareOptions, pool: Pool) {
    this.#reader = reader;
    this.#traits = traits;
    this.#options = options;
    this.#pool = pool;
    this.#whole = new WholeImages(options, pool);
    this.#expectations = new Expectations(options.expect);
  }

  /**
   * Images that cannot be converted are in `failures`.
   * @throws ImgconvError NAME_CONFLICT when two would get one name; NOT_FOUND, USAGE, INTERRUPTED
   */
  async run(): Promise<Prepared> {
    const { untagged } = this.#options;
    const revisions = await this.#list();
    await this.#work();
    const left = await untaggedImages(revisions, this.#seen, this.#pool);
    if (untagged === true) {
      for (const image of left) this.#queue.push({ image, rename: undefined });
      await this.#work();
    }
    this.#reader.forgetAttached?.();
    this.#noteLeftBehind();
    for (const error of this.#expectations.unmet()) throw error;
    // Jobs hold no more of the preparation than this.
    const whole = this.#whole;
    return {
      jobs: [...this.#jobs.values()].sort((a, b) => (a.key < b.key ? -1 : 1)),
      failures: this.#failures,
      skipped: this.#skipped,
      untaggedLeftOut: untagged === undefined ? left.length : 0,
      closureOf: async ({ closure, source }) => closure ?? whole.again(source),
    };
  }

  /** Queues what is chosen. Gives images without a tag that nobody chose. */
  async #list(): Promise<(SourceImage | UnreadableImage)[]> {
    const { selectors, untagged, where } = this.#options;
    const { all, revisions, count } = await listImages(this.#reader, this.#options, this.#seen, this.#pool);
    const { selected, unmatched } = select(all, selectors);
    if (selected.length === 0 && unmatched.length === 0 && !(untagged === true && count > 0))
      throw nothingIn(where, count);
    this.#choose(selected);
    for (const { selector, error } of unmatched) this.#failures.push({ source: selector.text, error });
    return revisions;
  }

  #choose(selected: readonly Selected[]): void {
    const { tag, extras } = this.#options;
    if (tag !== undefined) expectOne(selected, tag);
    for (const { image, rename = tag, exact } of selected) {
      const isAttached = isAttachedTag(splitReference(image.name ?? '').tag);
      if (isAttached || image.untagged === true || 'error' in image || image.subject !== undefined)
        this.#told.add(image);
      if (extras !== false || exact || !isAttached) this.#queue.push({ image, rename });
    }
  }

  /** Prepares all that is queued, and what that adds to the queue. */
  async #work(): Promise<void> {
    for (let wanted = this.#queue[this.#next]; wanted !== undefined; wanted = this.#queue[++this.#next]) {
      this.#queue[this.#next] = undefined;
      const { image, family } = wanted;
      let found: Found | undefined;
      const source = image.name ?? image.where;
      if (this.#options.failFast && this.#failures.length > 0) {
        this.#skipped.push(source);
        continue;
      }
      if (family !== undefined && family.size > MAX_ATTACHED) continue;
      try {
        if ('error' in image) throw image.error;
        found = await this.#prepare(image, wanted);
      } catch (cause) {
        const error = located(asImgconvError(cause, source), image.where);
        if (error.code === 'NAME_CONFLICT' || this.#options.signal?.aborted === true) throw error;
        this.#failures.push({
          source,
          choice: image.name === undefined ? choiceText(image) : undefined,
          sourceDigest: 'digest' in image ? image.digest : undefined,
          error,
        });
      }
      // What fails there fails the whole run.
      if (found !== undefined) await this.#options.onFound(found.job, found.closure);
      if (this.#next % IMAGES_A_BREATH === 0) await this.#pool.breathe();
    }
  }

  async #prepare(image: SourceImage, wanted: Wanted): Promise<Found | undefined> {
    const { extras, dryRun } = this.#options;
    const { reference: named, notes } = this.#nameOf(image, wanted);
    const reference = this.#withSharedText(named);
    // A registry's referrers tag is an index of what is attached: what came with that is not carried again.
    if (wanted.attached?.target.digest !== undefined && this.#carried.has(reference.repository, image.digest))
      return undefined;
    const key = referenceText(reference);
    const other = this.#jobs.get(key);
    if (other !== undefined && other.source.digest !== image.digest)
      throw nameConflict(key, other.source, image);
    if (other !== undefined) return undefined;
    const tree = await readSharedTree(image, this.#pool);
    this.#seen.add(image, digestsOf(tree));
    const { closure, notes: made } = await this.#whole.of(image, tree);
    const local = this.#traits.remote ? [] : [...closure.blobs.values()].filter((blob) => !blob.isRemote);
    if (!dryRun) this.#pool.announce(local.map(({ size }) => size));
    const compression = compressionFor(image, this.#options.compression);
    const asked = this.#expectations.of(image, reference);
    const expected = asked?.digests.length === 0 ? undefined : asked;
    const changes = expected !== undefined || changedLayers(closure.root, compression).length > 0;
    const job: Job = {
      source: image,
      name: reference,
      key,
      digest: closure.root.descriptor.digest,
      bytes: [...closure.blobs.values()].reduce((sum, { size }) => sum + size, 0),
      closure: changes || this.#options.holds || this.#whole.mayHold(closure) ? closure : undefined,
      compression,
      expected,
      signatures: extras === false ? [] : image.signatures,
      notes: joinNotes(
        wanted.attached === undefined ? [] : [`attached to ${wanted.attached.to}`],
        this.#placeNotes(image),
        asked === expected ? [] : ['--expect known: the source remembers no digest of it'],
        ...[image.warnings, notes, made, closure.notes],
      ),
    };
    const unseen = await this.#follow(job, closure, changes, wanted.family);
    this.#jobs.set(key, unseen.length === 0 ? job : { ...job, notes: [...job.notes, ...unseen] });
    return { job, closure };
  }

  /** Names that follow each other are of one repository, mostly: its text is held once. */
  #withSharedText(reference: Reference): Reference {
    if (this.#repository !== reference.repository) this.#repository = reference.repository;
    return { ...reference, repository: this.#repository };
  }

  /** What is to be known of the whole place: with the first image of it. */
  #placeNotes({ placeWarning }: SourceImage): string[] {
    if (placeWarning === undefined || this.#placeNoted.has(placeWarning)) return [];
    this.#placeNoted.add(placeWarning);
    return [placeWarning];
  }

  /** @throws ImgconvError NAME_MISSING, NAME_INVALID; DIGEST_MISMATCH for a name that has another image's digest */
  #nameOf(image: SourceImage, { attached, rename }: Wanted): TargetName {
    const name = rename ?? image.name;
    if (attached !== undefined) return ownDigest({ reference: attached.target, notes: [] }, image);
    if (name !== undefined)
      return ownDigest(targetName(name, rename !== undefined, this.#options, this.#traits), image);
    throw new ImgconvError('NAME_MISSING', `${image.where}: the image has no name`, {
      hint: `choose it by ${choiceText(image) ?? image.digest} and give it one with -t NAME:TAG`,
    });
  }

  /**
   * Queues what is attached to an image, or remembers it where it stays behind, since it is for a digest that the image
   * loses. Gives notes.
   */
  async #follow(
    { source, name, key }: Job,
    closure: Closure,
    changes: boolean,
    family: { size: number } = { size: 0 },
  ) {
    const { repository } = name;
    const digests = new Set(manifestsOf(closure.root).map(({ descriptor }) => descriptor.digest));
    for (const digest of digests) this.#carried.add(repository, digest);
    if (this.#options.extras !== true) return [];
    const { images, notes } = await this.#reader.attached(source, digests);
    const followers = images.filter((one): one is SourceImage => !('error' in one));
    if ((family.size += followers.length) > MAX_ATTACHED) throw tooManyAttached(source, MAX_ATTACHED);
    if (this.#options.alone) {
      if (followers.length === 0) return notes;
      const left = `${counted(followers.length, 'attached artifact')} left out`;
      return [...notes, `${left}: the directory of one image has no place for more; --tree takes them`];
    }
    for (const one of images) {
      if (!('error' in one) || this.#told.has(one)) continue;
      this.#told.add(one);
      this.#failures.push(unreadableReferrer(one));
    }
    if (changes) {
      this.#behind.set(key, { repository, followers });
      return notes;
    }
    for (const image of followers) {
      const { tag } = splitReference(image.name ?? '');
      const target = { ...name, tag, digest: tag === undefined ? image.digest : undefined };
      this.#queue.push({ image, rename: undefined, attached: { target, to: key }, family });
    }
    return notes;
  }

  #noteLeftBehind(): void {
    for (const [key, { repository, followers }] of this.#behind) {
      const left = followers.filter(
        (one) => !this.#told.has(one) && !this.#carried.has(repository, one.digest),
      ).length;
      const job = this.#jobs.get(key);
      if (job === undefined || left === 0) continue;
      const note = `${counted(left, 'attached artifact')} left out: made for the digest that the image had`;
      this.#jobs.set(key, { ...job, notes: [...job.notes, note] });
    }
  }
}
