import { existsSync, statSync } from 'node:fs';
import { openPlace } from '../formats/open.js';
import { findPlace, prefixOf, type Place } from '../formats/table.js';
import { packingOf } from '../codecs/open-tar.js';
import { asImgconvError, ImgconvError, type ErrorCode } from '../model/errors.js';
import { NamesThere } from '../transfer/alike.js';
import { failedImages, type ImageReport, type Report } from '../transfer/report.js';
import { NOTHING_ALIKE } from '../transfer/select.js';
import { listNames } from '../upkeep/list.js';
import { hintOf } from './exit.js';
import { commandWords, shellText } from './shell.js';

/** What reading a place as something that it is not may come to. */
const SIGNS: readonly ErrorCode[] = [
  'ARCHIVE_INVALID',
  'FORMAT_UNKNOWN',
  'MANIFEST_INVALID',
  'NOT_FOUND',
  'IO',
];

/** What was to be said for a source that is another place than was said. */
export type Meant = (found: Place) => string;

/** The command for the pair that it is, or `copy` where there is none. */
export function commandFor(to: Place, refs: readonly string[]): Meant {
  return (found) => `did you mean imgconv ${shellText([...commandWords(found, to), ...refs])}?`;
}

/**
 * The report of a conversion. Where nothing could be read because the source is another place than was said, the error
 * says what it is.
 * @throws ImgconvError
 */
export async function tellingMistakes(
  from: Place,
  meant: Meant,
  run: () => Promise<Report>,
): Promise<Report> {
  let report: Report;
  try {
    report = await run();
  } catch (error) {
    throw await whyUnreadable(asImgconvError(error), from, meant);
  }
  const failed = failedImages(report);
  const error = failed[0]?.error;
  if (error === undefined || failed.length < report.images.length) return report;
  const why = await whyUnreadable(error, from, meant);
  if (why !== error) throw why;
  return report;
}

/** The error itself, or one that says what the source is instead, if that is the reason. */
async function whyUnreadable(error: ImgconvError, from: Place, meant: Meant): Promise<ImgconvError> {
  const { format, path } = from;
  if (!SIGNS.includes(error.code) || format.traits.remote || !existsSync(path)) return error;
  try {
    if (format.recognises(path)) return error;
    const found = findPlace(path);
    await expectImages(found);
    return new ImgconvError(
      error.code,
      `${path}: this is ${prefixOf(found.format)}, not ${prefixOf(format)}`,
      {
        cause: error,
        hint: meant(found),
      },
    );
  } catch (other) {
    const why = asImgconvError(other, path);
    // A file can be nothing but an archive, and it is known what is wrong with that.
    if (!statSync(path).isDirectory()) return why;
    if (format.traits.isEngine === true) return error;
    const { hint = hintOf(error) } = why;
    return new ImgconvError(error.code, error.message, { cause: error, hint });
  }
}

/** What is in a packed file shows only when it is read. @throws ImgconvError when it is no archive of images */
async function expectImages(place: Place): Promise<void> {
  const { format, path } = place;
  if (!format.traits.sequential || packingOf(path) === 'none') return;
  const [{ Pool }, { PeekSpool }, { MemoryDownloads }] = await Promise.all([
    import('../threads/pool.js'),
    import('../storage/spool.js'),
    import('../storage/memory-downloads.js'),
  ]);
  await using pool = new Pool(1);
  const downloads = new MemoryDownloads();
  await (await openPlace(place, { pool, spool: new PeekSpool(), downloads, access: {} })).close();
}

/** What is not there may be spelt otherwise; what has no name can be given one. */
export async function withHints(
  from: Place,
  to: Place,
  images: readonly ImageReport[],
): Promise<readonly ImageReport[]> {
  const near = new NearNames(from);
  const hinted: ImageReport[] = [];
  for (const image of images) {
    const { source, error } = image;
    hinted.push(error === undefined ? image : { ...image, error: await near.hinted(error, source) });
  }
  if (!hinted.some(({ error }) => error?.code === 'NAME_MISSING')) return hinted;
  const { withNamingCommands } = await import('./unnamed.js');
  return withNamingCommands(from, to, hinted);
}

/** So many names that are not there are looked for among all that are: a wrong list may have thousands. */
const MOST = 10;

/** Names of a place that a name which is not there may stand for, where its reader saw only those of one repository. */
export class NearNames {
  readonly #place: Place;
  #names: Promise<NamesThere> | undefined;
  #count = 0;

  constructor(place: Place) {
    this.#place = place;
  }

  /** The error that `text` is not there, with near names in its hint if there are some; any other error as it is. */
  async hinted(error: ImgconvError, text: string): Promise<ImgconvError> {
    const { remote, sequential } = this.#place.format.traits;
    if (error.hint !== NOTHING_ALIKE || remote || sequential || ++this.#count > MOST) return error;
    this.#names ??= listNames(this.#place).then(
      (names) => new NamesThere(names),
      () => new NamesThere([]),
    );
    const hint = (await this.#names).hintFor(text);
    return hint === undefined ? error : new ImgconvError(error.code, error.message, { cause: error, hint });
  }
}
