import type { ListedImage } from '../upkeep/list.js';
import { sizeText } from '../model/size.js';
import { printable } from './exit.js';
import { short } from './tree.js';

/** How a list is printed. */
export interface TableStyle {
  /** Of a terminal: rows are cut to so many columns, digests are short, and a line says what the columns are. */
  readonly width: number | undefined;
  readonly digests: boolean;
  /** Shows image IDs in place of digests, where there are any. */
  readonly ids: boolean;
}

/** Of what is attached to an image, up to the digits that are shown. */
const DIGEST_TAG = /(:sha\d+-[0-9a-f]{12})[0-9a-f]+/;

const HEADER = ['NAME', 'DIGEST', 'KIND', 'SIZE', 'PLATFORMS'];

/** Rows of a list; `first`: with the header, if there is one. */
export function tableText(
  images: readonly ListedImage[],
  { width, digests, ids }: TableStyle,
  first: boolean,
): string {
  const rows = images.map((image) => {
    const { name, choice, digest = '-', imageId, kind, platforms, size, error } = image;
    const shownDigest = ids ? (imageId ?? digest) : digest;
    const shown = name ?? choice ?? '-';
    return [
      printable(width === undefined ? shown : shown.replace(DIGEST_TAG, '$1…')),
      width === undefined || digests ? shownDigest : short(shownDigest),
      kind ?? (error?.code === 'BLOB_MISSING' ? 'missing' : 'unreadable'),
      size === undefined ? '-' : sizeText(size),
      printable(platforms.join(',')) || '-',
    ];
  });
  if (width !== undefined && first && rows.length > 0) rows.unshift(HEADER);
  const widths = [0, 1, 2, 3].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .map(
      (line) =>
        `${width !== undefined && !digests && line.length > width ? `${line.slice(0, width - 1)}…` : line}\n`,
    )
    .join('');
}

const ORDERS: Readonly<Record<string, (a: ListedImage, b: ListedImage) => number>> = {
  name: (a, b) => ((a.name ?? '') < (b.name ?? '') ? -1 : 1),
  size: (a, b) => (b.size ?? 0) - (a.size ?? 0),
  digest: (a, b) => ((a.digest ?? '') < (b.digest ?? '') ? -1 : 1),
};

/** What `--sort` takes. */
export const SORTS = Object.keys(ORDERS);

export function sorted(images: readonly ListedImage[], by: string | undefined): readonly ListedImage[] {
  const order = by === undefined ? undefined : ORDERS[by];
  return order === undefined ? images : [...images].sort(order);
}
