import type { ListOptions, SourceImage, UnreadableImage } from '../formats/format.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { globMatcher } from '../model/glob.js';
import { choiceOf, isGlob, repositoryKey, splitHost, splitReference } from '../model/reference.js';
import { alike } from './alike.js';

/** What a user asks for: a reference, a glob, a digest or a number (`choiceOf`), and the name it is to get. */
export interface Selector {
  readonly text: string;
  readonly rename: string | undefined;
  /** Where it was said, for messages: an argument or a line of a file. */
  readonly where: string;
}

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

/** What two names of one image have in common: Docker Hub's `library/` left out, `latest` said. */
function keyOf(text: string): {
  host: string | undefined;
  key: string;
  repository: string;
  digest: string | undefined;
} {
  const { name, tag, digest } = splitReference(text);
  const { host } = splitHost(name);
  const repository = repositoryKey(text);
  const suffix = tag !== undefined ? `:${tag}` : digest !== undefined ? `@${digest}` : ':latest';
  return { host, key: `${repository}${suffix}`, repository, digest: tag === undefined ? undefined : digest };
}

type Match = (image: SourceImage | UnreadableImage, name: string) => boolean;

/** A reference without a host matches any host's image, and the other way round: stores leave hosts out. */
function matcherOf({ text }: Selector): Match {
  if (isGlob(text)) {
    const match = globMatcher(text);
    return ({ untagged }, name) => (untagged !== true || text.includes('@')) && match(name);
  }
  const wanted = keyOf(text);
  return (image, name) => {
    const have = keyOf(name);
    if (have.key !== wanted.key) return false;
    if (wanted.host !== undefined && have.host !== undefined && wanted.host !== have.host) return false;
    return wanted.digest === undefined || !('digest' in image) || image.digest === wanted.digest;
  };
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

/** Images by a digest or a number; one with a tag before the same one without. @throws ImgconvError NOT_FOUND, USAGE */
function choose(
  images: readonly (SourceImage | UnreadableImage)[],
  { text, where }: Selector,
): readonly (SourceImage | UnreadableImage)[] {
  const choice = choiceOf(text);
  if (choice?.kind === 'number') {
    const found = images.filter(({ entries = [] }) => entries.includes(choice.number));
    if (found.length > 0) return found;
    throw new ImgconvError('NOT_FOUND', `${text}: no image with this number in the source (${where})`, {
      hint: 'imgconv ls shows images without a name by their number, the first is @0; names and digests choose any image',
    });
  }
  const found = images.filter((image) => 'digest' in image && image.digest.startsWith(text));
  const digests = [...new Set(found.map((image) => ('digest' in image ? image.digest : '')))];
  if (digests.length > 1)
    throw new ImgconvError(
      'USAGE',
      `${text}: ${digests.length} digests begin with this: ${digests.slice(0, 3).join(', ')} (${where})`,
      { hint: 'give more of the digest' },
    );
  const tagged = found.filter(({ untagged }) => !untagged);
  if (found.length > 0) return tagged.length > 0 ? tagged : found;
  throw new ImgconvError('NOT_FOUND', `${text}: no image with this digest in the source (${where})`, {
    hint: 'imgconv ls shows the digests; in a registry an image is chosen by NAME@DIGEST',
  });
}

/** Chooses from a source; without selectors all that has a tag or is listed by its place. Keeps the source's order. */
export function select(
  images: readonly (SourceImage | UnreadableImage)[],
  selectors: readonly Selector[],
): Selection {
  if (selectors.length === 0) {
    const selected = images
      .filter((image) => !image.untagged)
      .map((image) => ({ image, rename: undefined, exact: false }));
    return { selected, unmatched: [] };
  }
  const chosen = new Map<SourceImage | UnreadableImage, Selector[]>();
  const failed = new Map<Selector, ImgconvError>();
  for (const selector of selectors.filter(({ text }) => choiceOf(text) !== undefined)) {
    try {
      for (const image of choose(images, selector))
        chosen.set(image, [...(chosen.get(image) ?? []), selector]);
    } catch (error) {
      failed.set(selector, asImgconvError(error));
    }
  }
  const listed = wantsUntagged(selectors) ? images : images.filter((image) => !image.untagged);
  const selected: Selected[] = [];
  const globs = selectors.filter(({ text }) => isGlob(text));
  const exact = new Map<string, Selector[]>();
  for (const selector of selectors) {
    if (isGlob(selector.text) || choiceOf(selector.text) !== undefined) continue;
    const { key } = keyOf(selector.text);
    exact.set(key, [...(exact.get(key) ?? []), selector]);
  }
  const matchers = new Map(selectors.map((selector) => [selector, matcherOf(selector)]));
  const matched = new Set<Selector>();
  const seen: string[] = [];
  for (const image of listed) {
    const { name } = image;
    const renames = new Map<string | undefined, boolean>();
    const take = (selector: Selector) => {
      matched.add(selector);
      renames.set(selector.rename, (renames.get(selector.rename) ?? false) || !isGlob(selector.text));
    };
    for (const selector of chosen.get(image) ?? []) take(selector);
    if (name !== undefined) {
      seen.push(name);
      for (const selector of [...(exact.get(keyOf(name).key) ?? []), ...globs])
        if (matchers.get(selector)?.(image, name)) take(selector);
    }
    for (const [rename, isExact] of renames) selected.push({ image, rename, exact: isExact });
  }
  const unmatched = selectors
    .filter((selector) => !matched.has(selector))
    .map((selector) => ({ selector, error: failed.get(selector) ?? notFound(selector, seen) }));
  return { selected, unmatched };
}

/** Marks errors for which more names may be looked up. */
export const NOTHING_ALIKE = 'imgconv ls shows what there is';

function notFound({ text, where }: Selector, seen: readonly string[]): ImgconvError {
  const hint = /^sha256:[0-9a-f]+$/.test(text)
    ? 'give at least 12 digits of the digest, as imgconv ls shows it'
    : (alike(text, seen) ?? NOTHING_ALIKE);
  return new ImgconvError('NOT_FOUND', `${text}: no such image in the source (${where})`, { hint });
}
