import { ImgconvError } from '../model/errors.js';

/* One 512-byte header of POSIX ustar (IEEE 1003.1 pax "ustar Interchange Format"), with GNU's base-256 numbers. */
export const BLOCK = 512;

export interface TarHeader {
  readonly name: string;
  /** The type flag as written: `0` file, `1` hard link, `2` symbolic link, `5` directory, `x`, `g`, `L`, `K`. */
  readonly flag: string;
  readonly size: number;
  readonly target: string;
}

export function paddedSize(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(bytes.buffer, bytes.byteOffset, end < 0 ? bytes.length : end).toString();
}

function text(block: Uint8Array, start: number, length: number): string {
  return textOf(block.subarray(start, start + length));
}

/** Octal digits after spaces, NULs and spaces after them, or with the top bit set a big-endian number; NaN for anything else. */
function number(block: Uint8Array, start: number, length: number): number {
  const field = block.subarray(start, start + length);
  if (field[0] === 0x80) return field.subarray(1).reduce((value, byte) => value * 256 + byte, 0);
  const digits = /^ *([0-7]*)[ \0]*$/.exec(Buffer.from(field).toString('latin1'))?.[1];
  if (digits === undefined) return NaN;
  return digits === '' ? 0 : parseInt(digits, 8);
}

/** The checksum counts its own eight bytes as spaces. */
function checksum(block: Uint8Array): number {
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += block[i] ?? 0;
  return sum;
}

/** What to do about a file that never was an archive. */
export const NO_TAR = {
  hint: 'give an archive that docker save, podman save, skopeo or imgconv wrote',
} as const;

/**
 * Undefined for a block of zeros, which ends an archive.
 * @throws ImgconvError ARCHIVE_INVALID when the checksum or the size is wrong; `where` begins the message
 */
export function decodeTarHeader(block: Uint8Array, where: string): TarHeader | undefined {
  const sum = checksum(block);
  const isEmpty = sum === 8 * 0x20;
  if (isEmpty && block.every((byte) => byte === 0)) return undefined;
  if (isEmpty || number(block, 148, 8) !== sum) {
    const [, archive] = /^(.*): at byte 0$/s.exec(where) ?? [];
    if (archive !== undefined)
      throw new ImgconvError('ARCHIVE_INVALID', `${archive}: not a tar archive`, NO_TAR);
    throw new ImgconvError('ARCHIVE_INVALID', `${where}: the header is damaged, or this is no tar`);
  }
  const size = number(block, 124, 12);
  if (!Number.isSafeInteger(size))
    throw new ImgconvError('ARCHIVE_INVALID', `${where}: the entry has an impossible size`);
  const name = text(block, 0, 100);
  // Only POSIX headers have a prefix; GNU's keep times there.
  const prefix = text(block, 257, 6) === 'ustar' && block[262] === 0 ? text(block, 345, 155) : '';
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    flag: block[156] === 0 ? '0' : String.fromCharCode(block[156] ?? 0),
    size,
    target: text(block, 157, 100),
  };
}
