import type { ListOptions, SourceImage, UnreadableImage } from '../formats/format.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { globMatcher } from '../model/glob.js';
import { choiceOf, isGlob, repositoryKey, splitHost, splitReference } from '../model/reference.js';
import { NamesThere } from './alike.js';
import { Choices, saidIn, type Selector } from './choices.js';

export type { Selector };

type Listed = SourceImage | UnreadableImage;

export interface Selected {
  readonly image: SourceImage | UnreadableImage;
  readonly rename: string | undefined;
  /** It was asked for by its own name, digest or number, not by a glob or as one of all. */
  readonly exact: boolean;
}

export interface Selection {
  readonly selected: readonly Selected[];
  /** Selectors that no image answers. */
  readonly unmatched: readonly { readonly selector: Selector; readonly error: ImgconvError }[];
}

/** True when revisions without a tag have to be listed too. */
function wantsUntagged(selectors: readonly Selector[]): boolean {
  return selectors.some(({ text }) => text.includes('@') || choiceOf(text) !== undefined);
}

/** What a reader has to list for these to be chosen from it; `untagged`: also what has no tag, whoever asks. */
export function listOptions(selectors: readonly Selector[], untagged = false): ListOptions {
  return {
    untagged: untagged || wantsUntagged(selectors),
    wanted: selectors.length === 0 ? undefined : selectors.map(({ text }) => text),
  };
}

/** Chooses from a source; without selectors all that has a tag or is listed by its place. Keeps the source's order. */
export function select(images: readonly Listed[], selectors: readonly Selector[]): Selection {
  const tagged = () => images.filter((image) => !image.untagged);
  if (selectors.length === 0)
    return {
      selected: tagged().map((image) => ({ image, rename: undefined, exact: false })),
      unmatched: [],
    };
  const requests = new Requests(images, selectors);
  const selected: Selected[] = [];
  const matched = new Set<Selector>();
  const names: string[] = [];
  for (const image of wantsUntagged(selectors) ? images : tagged()) {
    const renames = new Map<string | undefined, boolean>();
    for (const selector of requests.matching(image)) {
      matched.add(selector);
      renames.set(selector.rename, renames.get(selector.rename) === true || !isGlob(selector.text));
    }
    for (const [rename, exact] of renames) selected.push({ image, rename, exact });
    if (image.name !== undefined) names.push(image.name);
  }
  const missing = selectors.filter((selector) => !matched.has(selector));
  const there = missing.length > 0 ? new NamesThere(names) : undefined;
  const unread = images.find((image) => 'error' in image && image.name === undefined);
  const unmatched = missing.map((selector) => ({
    selector,
    error: requests.failed.get(selector) ?? notFound(selector, there, unread),
  }));
  return { selected, unmatched };
}

/** Selectors by the kind of their text, so that an image is compared with few of them. */
class Requests {
  /** Choices that no image, or more than one, answers. */
  readonly failed = new Map<Selector, ImgconvError>();
  readonly #chosen = new Map<Listed, Selector[]>();
  readonly #named = new Map<string, { readonly selector: Selector; readonly wanted: Key }[]>();
  readonly #globs: { readonly selector: Selector; readonly matches: (name: string) => boolean }[] = [];
  /** Keys of images that are listed as `NAME@DIGEST`; undefined when none is asked for so. */
  #revisions: ReadonlySet<string> | undefined;

  constructor(images: readonly Listed[], selectors: readonly Selector[]) {
    let choices: Choices | undefined;
    for (const selector of selectors) {
      const { text } = selector;
      if (choiceOf(text) !== undefined) this.#choose((choices ??= new Choices(images)), selector);
      else if (isGlob(text)) this.#globs.push({ selector, matches: globMatcher(text) });
      else {
        const wanted = keyOf(text);
        const others = this.#named.get(wanted.key) ?? [];
        others.push({ selector, wanted });
        this.#named.set(wanted.key, others);
        if (wanted.key.includes('@'))
          this.#revisions ??= new Set(
            images.flatMap(({ name }) => (name?.includes('@') ? keyOf(name).key : [])),
          );
      }
    }
  }

  #choose(choices: Choices, selector: Selector): void {
    try {
      for (const image of choices.of(selector)) {
        const others = this.#chosen.get(image) ?? [];
        others.push(selector);
        this.#chosen.set(image, others);
      }
    } catch (error) {
      this.failed.set(selector, asImgconvError(error));
    }
  }

  *matching(image: Listed): Generator<Selector> {
    yield* this.#chosen.get(image) ?? [];
    for (const reference of 'digest' in image ? (image.knownAs ?? []) : []) {
      const known = keyOf(reference);
      for (const { selector, wanted } of this.#named.get(known.key) ?? [])
        if (isMeant(wanted, known, image)) yield selector;
    }
    const { name, untagged } = image;
    if (name === undefined) return;
    const have = keyOf(name);
    for (const key of this.#keysOf(image, have))
      for (const { selector, wanted } of this.#named.get(key) ?? [])
        if (isMeant(wanted, have, image)) yield selector;
    for (const { selector, matches } of this.#globs)
      if ((untagged !== true || selector.text.includes('@')) && matches(name)) yield selector;
  }

  /** `NAME@DIGEST` is also an image that has a tag, in a place that lists it by its tag alone. */
  #keysOf(image: Listed, { key }: Key): readonly string[] {
    if (this.#revisions === undefined || !('digest' in image)) return [key];
    const byDigest = `${repositoryKey(image.name ?? '')}@${image.digest}`;
    return key === byDigest || this.#revisions.has(byDigest) ? [key] : [key, byDigest];
  }
}

/** What two names of one image have in common: Docker Hub's `library/` left out, `latest` said. */
interface Key {
  readonly host: string | undefined;
  readonly key: string;
  /** Of a name that has a tag, too. */
  readonly digest: string | undefined;
}

function keyOf(text: string): Key {
  const { name, tag, digest } = splitReference(text);
  const suffix = tag !== undefined ? `:${tag}` : digest !== undefined ? `@${digest}` : ':latest';
  return {
    host: splitHost(name).host,
    key: `${repositoryKey(text)}${suffix}`,
    digest: tag === undefined ? undefined : digest,
  };
}

/** A reference without a host matches any host's image, and the other way round: stores leave hosts out. */
function isMeant(wanted: Key, have: Key, image: Listed): boolean {
  if (wanted.host !== undefined && have.host !== undefined && wanted.host !== have.host) return false;
  return wanted.digest === undefined || !('digest' in image) || image.digest === wanted.digest;
}

/** Marks errors for which more names may be looked up. */
export const NOTHING_ALIKE = 'imgconv ls shows what there is';

/** `unread`: what has no name because it could not be read, such as a list of names. */
function notFound(
  selector: Selector,
  there: NamesThere | undefined,
  unread: Listed | undefined,
): ImgconvError {
  const [{ text }, said] = [selector, saidIn(selector)];
  if (unread !== undefined && 'error' in unread)
    return new ImgconvError(
      'NOT_FOUND',
      `${text}: no such image among those that can be read in the source${said}: ${unread.error.message}`,
      { hint: NOTHING_ALIKE },
    );
  const hint = /^[0-9a-f]{12,64}$/.test(text)
    ? `an ID or a digest begins with its algorithm: sha256:${text}`
    : /^sha256:[0-9a-f]+$/.test(text)
      ? 'give at least 12 digits of the digest, as imgconv ls shows it'
      : (there?.hintFor(text) ?? NOTHING_ALIKE);
  return new ImgconvError('NOT_FOUND', `${text}: no such image in the source${said}`, { hint });
}
