import { asImgconvError, ImgconvError } from '../model/errors.js';
import { chosenImages, rawConfig, rawManifest, type ChosenImage } from '../upkeep/chosen.js';
import { ownPlatform, parsePlatform } from '../model/platform.js';
import { inspectImages, listImages, type ListedImage } from '../upkeep/list.js';
import { errorJson, errorText, EXIT, printable, printableJson } from './exit.js';
import { NearNames } from './hints.js';
import { sorted, tableText } from './list-table.js';
import type { RegistryArguments } from './registry-options.js';
import { sourceOf } from './sources.js';

/** So many rows are aligned together, so that a list of any length can be printed as it is read. */
const ROWS = 500;

export interface ListArguments extends RegistryArguments {
  readonly SRC: string;
  readonly REF?: readonly string[];
  readonly json?: boolean | 'lines';
  readonly quiet?: boolean;
  readonly digests?: boolean;
  readonly trunc?: boolean;
  readonly sort?: string;
  readonly debug?: boolean;
}

export interface InspectArguments extends RegistryArguments {
  readonly SRC: string;
  readonly REF?: string;
  readonly raw?: boolean;
  readonly config?: boolean;
  readonly platform?: string;
}

/** Wider than that no list is cut to. */
const WIDEST = 100;

export async function lsCommand(args: ListArguments): Promise<number> {
  const { SRC, REF: refs = [], json = false, debug = false } = args;
  const { place, access, selectors } = sourceOf(args);
  const width =
    process.stdout.isTTY && args.trunc !== false
      ? Math.min(WIDEST, process.stdout.columns || WIDEST)
      : undefined;
  // containerd keeps manifests, and goes by their digests.
  const { isEngine = false, uncompressedByNature } = place.format.traits;
  const ids = isEngine && uncompressedByNature;
  const style = { width, digests: args.digests === true, ids };
  const rows: ListedImage[] = [];
  let failed = false;
  let printed = 0;
  let said = '';
  const flush = () => {
    const some = sorted(rows.splice(0), args.sort);
    process.stdout.write(
      json !== false
        ? jsonText(some, json === true, printed === 0)
        : args.quiet === true
          ? namesText(some)
          : tableText(some, style, printed === 0),
    );
    printed += some.length;
  };
  const near = new NearNames(place);
  try {
    for await (const image of listImages(place, selectors, access)) {
      const { name = '', digest, error } = image;
      // What is not there has no row, and in JSON what stands for it.
      if (json !== false || error?.code !== 'NOT_FOUND') rows.push(image);
      // That something is missing is said by its row, as of an index whose platforms were not all fetched.
      if (error !== undefined && (digest === undefined || error.code !== 'BLOB_MISSING')) {
        failed = true;
        const text = errorText(await near.hinted(error, name), debug);
        // What is wrong with the whole place is wrong with each image of it.
        if (text !== said) process.stderr.write(`imgconv: ${text}`);
        said = text;
      }
      if ((rows.length === ROWS || json === 'lines') && args.sort === undefined) flush();
      if (process.stdout.destroyed) break;
    }
  } catch (error) {
    flush();
    const known = asImgconvError(error);
    if (json === false || (json === true && printed === 0)) throw known;
    const row = printableJson({ error: errorJson(known) });
    process.stdout.write(json === 'lines' ? `${row}\n` : `,\n${row}\n]\n`);
    process.stderr.write(`imgconv: ${errorText(known, debug)}`);
    return EXIT[known.code];
  }
  flush();
  if (json === true) process.stdout.write(printed === 0 ? '[]\n' : '\n]\n');
  if (printed === 0 && !failed && refs.length === 0)
    process.stderr.write(
      `imgconv: ${SRC}: no images with a name; the glob '**@*' lists revisions without a tag\n`,
    );
  return failed ? 1 : 0;
}

/** For scripts: names, or what chooses an image that has none. */
function namesText(images: readonly ListedImage[]): string {
  return images.map(({ name, choice }) => `${printable(name ?? choice ?? '-')}\n`).join('');
}

/** Part of one JSON array, or lines; `first` when nothing was written yet. */
function jsonText(images: readonly ListedImage[], isArray: boolean, first: boolean): string {
  return images
    .map(({ error, ...image }) => ({ ...image, error: error && errorJson(error) }))
    .map((row, i) =>
      isArray ? `${first && i === 0 ? '[\n' : ',\n'}${printableJson(row)}` : `${printableJson(row)}\n`,
    )
    .join('');
}

export async function inspectCommand(args: InspectArguments): Promise<number> {
  const { REF, raw = false, config = false } = args;
  const { place, access, selectors } = sourceOf(
    { ...args, REF: REF === undefined ? [] : [REF] },
    raw || config,
  );
  try {
    if (raw || config) return await printRaw(args, chosenImages(place, selectors, access));
    const images = [];
    for await (const image of inspectImages(place, selectors, access)) images.push(image);
    process.stdout.write(`${printableJson(images.length === 1 ? images[0] : images, 2)}\n`);
    return 0;
  } catch (error) {
    throw await new NearNames(place).hinted(asImgconvError(error), REF ?? place.reference ?? '');
  }
}

/** The bytes of a manifest or a config, with nothing after them. */
async function printRaw(
  { SRC, raw, config, platform: text }: InspectArguments,
  images: AsyncIterable<ChosenImage>,
): Promise<number> {
  if (raw === true && config === true)
    throw new ImgconvError('USAGE', '--raw and --config are two documents', {
      hint: 'leave one of them out; skopeo inspect --config --raw is imgconv inspect --config',
    });
  const platform = text === undefined ? undefined : parsePlatform(text);
  const found: Uint8Array[] = [];
  for await (const image of images) {
    found.push(
      config === true
        ? await rawConfig(image, platform ?? ownPlatform())
        : await rawManifest(image, { platform }),
    );
    if (found.length > 1)
      throw new ImgconvError('USAGE', `${SRC}: more than one image is there`, {
        hint: 'name one, as imgconv ls shows it',
      });
  }
  process.stdout.write(found[0] ?? '');
  return 0;
}
