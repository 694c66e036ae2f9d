import { findPlace, type Place } from '../formats/table.js';
import { asImgconvError, type ImgconvError } from '../model/errors.js';
import { convert } from '../transfer/convert.js';
import type { Selector } from '../transfer/select.js';
import { listImages } from '../upkeep/list.js';
import { verify } from '../upkeep/verify.js';

/** An image of an uploaded archive, and what would become of it. */
export interface FoundImage {
  /** What chooses it in the archive: its name, or `@N`. */
  readonly choice: string;
  readonly name: string | undefined;
  readonly digest: string | undefined;
  readonly platforms: readonly string[];
  /** In bytes. */
  readonly size: number | undefined;
  /** The name that it would get; undefined without one. */
  readonly target: string | undefined;
  /** What that name stands for now, if that is another image. */
  readonly replaces: string | undefined;
  /** True when the store has just this. */
  readonly unchanged: boolean;
  /** Why it cannot be taken. */
  readonly problems: readonly string[];
}

export interface FoundArchive {
  readonly images: readonly FoundImage[];
  /** What is wrong with the archive as a whole. */
  readonly problems: readonly string[];
}

/** What a browser is told while it waits: bytes that were read. */
export type Hears = (event: { readonly bytes: number }) => void;

/** Hears of a conversion or a check, and tells how many bytes there were so far. */
export function counting(hears: Hears): { bytes: (count: number) => void } {
  let bytes = 0;
  return {
    bytes: (count) => {
      hears({ bytes: (bytes += count) });
    },
  };
}

/** An error for a person who has no shell here: without the path of the upload. */
export function problemText(error: ImgconvError, path: string): string {
  return withoutPath(error.message, path);
}

function withoutPath(text: string, path: string): string {
  return text.split(`${path}: `).join('').split(path).join('archive');
}

/**
 * What an archive holds, every byte of it read and proved, and what it would change in `target`; nothing is written.
 * @throws ImgconvError for what is no archive of images
 */
export async function checkArchive(
  path: string,
  target: Place,
  hears: Hears,
  signal: AbortSignal,
): Promise<FoundArchive> {
  const place = findPlace(path);
  const { findings } = await verify(place, { deep: true, progress: counting(hears), signal });
  const broken = findings.filter(({ severity }) => severity === 'broken');
  const images: FoundImage[] = [];
  for await (const image of listImages(place)) {
    const choice = image.choice ?? image.name ?? '';
    const problems = broken
      .filter((one) => one.images.includes(choice))
      .map(({ where, what }) => withoutPath(`${where}: ${what}`, path));
    if (image.error !== undefined) problems.push(problemText(image.error, path));
    const { name, digest, platforms, size } = image;
    images.push({ choice, name, digest, platforms, size, ...NOTHING, problems: [...new Set(problems)] });
  }
  const all = broken.filter((one) => one.images.length === 0);
  return {
    images: await planned(place, target, images, signal),
    problems: all.map(({ where, what }) => withoutPath(`${where}: ${what}`, path)),
  };
}

/** With what a conversion would make of them. An archive is read once, unless two of its images get one name. */
async function planned(
  place: Place,
  target: Place,
  images: readonly FoundImage[],
  signal: AbortSignal,
): Promise<FoundImage[]> {
  const named = images.filter(({ name, problems }) => name !== undefined && problems.length === 0);
  const known = new Map<string, Planned>();
  try {
    for (const [choice, one] of await plan(place, target, named, signal)) known.set(choice, one);
  } catch {
    for (const image of named) {
      const own = await plan(place, target, [image], signal).catch((error: unknown) => {
        const problems = [problemText(asImgconvError(error), place.path)];
        return new Map([[image.choice, { ...NOTHING, problems }]]);
      });
      for (const [choice, one] of own) known.set(choice, one);
    }
  }
  return images.map((image) => ({ ...image, ...known.get(image.choice) }));
}

type Planned = Pick<FoundImage, 'target' | 'replaces' | 'unchanged' | 'problems'>;
const NOTHING: Planned = { target: undefined, replaces: undefined, unchanged: false, problems: [] };

async function plan(
  place: Place,
  target: Place,
  images: readonly FoundImage[],
  signal: AbortSignal,
): Promise<Map<string, Planned>> {
  if (images.length === 0) return new Map();
  const selectors = images.map(({ choice }) => ({ text: choice, rename: undefined, where: 'page' }));
  const report = await convert(place, target, { selectors, dryRun: true, extras: false, signal });
  return new Map(
    report.images.map(({ source, choice = source, name, previousDigest, status, error }) => [
      choice,
      {
        target: name,
        replaces: previousDigest,
        unchanged: status === 'unchanged',
        problems: error === undefined ? [] : [problemText(error, place.path)],
      },
    ]),
  );
}

/** An image to take, and its name in the store. */
export interface Wanted {
  readonly choice: string;
  readonly name: string;
}

/** What became of one. */
export interface Taken {
  readonly choice: string;
  readonly name: string | undefined;
  readonly digest: string | undefined;
  readonly status: string;
  readonly error: string | undefined;
}

/** Writes images of an archive into the store: those that nothing is wrong with become visible together. */
export async function takeImages(
  path: string,
  target: Place,
  wanted: readonly Wanted[],
  hears: Hears,
  signal: AbortSignal,
): Promise<Taken[]> {
  const selectors: Selector[] = wanted.map(({ choice, name }) => ({
    text: choice,
    rename: name,
    where: 'page',
  }));
  const { images } = await convert(findPlace(path), target, {
    selectors,
    progress: counting(hears),
    signal,
    link: 'copy',
  });
  return images.map(({ source, choice = source, name, digest, status, error }) => ({
    choice,
    name,
    digest,
    status,
    error: error && problemText(error, path),
  }));
}
