import type { RegistryAccess } from '../formats/access.js';
import { findPlace, type Place } from '../formats/table.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { inspectImages, listImages, type ListedImage } from '../upkeep/list.js';
import { errorJson, errorText, EXIT, printable, printableJson } from './exit.js';
import { NearNames } from './hints.js';
import { accessOf, strayRegistryOption, type RegistryArguments } from './registry-options.js';
import { sizeText } from '../model/size.js';
import { selectorsOf } from './selectors.js';

/** So many rows are aligned together, so that a list of any length can be printed as it is read. */
const ROWS = 500;

export interface ListArguments extends RegistryArguments {
  readonly SRC: string;
  readonly REF?: readonly string[];
  readonly json?: boolean | 'lines';
  readonly debug?: boolean;
}

export interface InspectArguments extends RegistryArguments {
  readonly SRC: string;
  readonly REF?: string;
}

/** @throws ImgconvError USAGE for options of registries where there is none, NOT_FOUND, FORMAT_UNKNOWN */
function sourceOf(
  args: RegistryArguments & { readonly SRC: string },
  refs: readonly (string | undefined)[],
): { place: Place; access: RegistryAccess } {
  const place = findPlace(args.SRC);
  const stray = strayRegistryOption(args, { src: place.format });
  if (stray !== undefined) throw new ImgconvError('USAGE', stray[0], { hint: stray[1] });
  return { place, access: accessOf(args, 'src', place, selectorsOf(refs)) };
}

export async function lsCommand(args: ListArguments): Promise<number> {
  const { SRC, REF: refs = [], json = false, debug = false } = args;
  const { place, access } = sourceOf(args, refs);
  const rows: ListedImage[] = [];
  let failed = false;
  let printed = 0;
  let said = '';
  const flush = () => {
    const some = rows.splice(0);
    process.stdout.write(json === false ? tableText(some) : jsonText(some, json === true, printed === 0));
    printed += some.length;
  };
  const near = new NearNames(place);
  try {
    for await (const image of listImages(place, selectorsOf([...refs, place.reference]), access)) {
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
      if (rows.length === ROWS || json === 'lines') flush();
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

/** Part of one JSON array, or lines; `first` when nothing was written yet. */
function jsonText(images: readonly ListedImage[], isArray: boolean, first: boolean): string {
  return images
    .map(({ error, ...image }) => ({ ...image, error: error && errorJson(error) }))
    .map((row, i) =>
      isArray ? `${first && i === 0 ? '[\n' : ',\n'}${printableJson(row)}` : `${printableJson(row)}\n`,
    )
    .join('');
}

function tableText(images: readonly ListedImage[]): string {
  const rows = images.map(({ name, choice, digest, kind, platforms, size, error }) => [
    printable(name ?? choice ?? '-'),
    digest ?? '-',
    kind ?? (error?.code === 'BLOB_MISSING' ? 'missing' : 'unreadable'),
    size === undefined ? '-' : sizeText(size),
    printable(platforms.join(',')) || '-',
  ]);
  const widths = [0, 1, 2, 3].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

export async function inspectCommand(args: InspectArguments): Promise<number> {
  const { place, access } = sourceOf(args, [args.REF]);
  const images = [];
  const refs = [args.REF, place.reference];
  try {
    for await (const image of inspectImages(place, selectorsOf(refs), access)) images.push(image);
  } catch (error) {
    throw await new NearNames(place).hinted(asImgconvError(error), args.REF ?? place.reference ?? '');
  }
  process.stdout.write(`${printableJson(images.length === 1 ? images[0] : images, 2)}\n`);
  return 0;
}
