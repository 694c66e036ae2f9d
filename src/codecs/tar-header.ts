import { ImgconvError } from '../model/errors.js';

/*
 * One 512-byte header of POSIX ustar (IEEE 1003.1 pax "ustar Interchange Format"), with GNU's base-256 numbers.
 * tar-stream has to be fed every byte of an archive to come to the next member, writes members one after another, and
 * does not export its codec; tests hold this one against it.
 */
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

function text(block: Uint8Array, start: number, length: number): string {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}

/** Octal digits, spaces and NULs around them, or with the top bit set a big-endian number; NaN for anything else. */
function number(block: Uint8Array, start: number, length: number): number {
  const field = block.subarray(start, start + length);
  if (field[0] === 0x80) return field.subarray(1).reduce((value, byte) => value * 256 + byte, 0);
  const digits = Buffer.from(field)
    .toString('latin1')
    .replace(/[\0 ]+$/, '')
    .replace(/^[\0 ]+/, '');
  if (digits === '') return 0;
  return /^[0-7]+$/.test(digits) ? parseInt(digits, 8) : NaN;
}

/** The checksum counts its own eight bytes as spaces. */
function checksum(block: Uint8Array): number {
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += block[i] ?? 0;
  return sum;
}

/**
 * Undefined for a block of zeros, which ends an archive.
 * @throws ImgconvError ARCHIVE_INVALID when the checksum or the size is wrong; `where` begins the message
 */
export function decodeTarHeader(block: Uint8Array, where: string): TarHeader | undefined {
  const sum = checksum(block);
  if (sum === 8 * 0x20 && block.every((byte) => byte === 0)) return undefined;
  if (number(block, 148, 8) !== sum)
    throw new ImgconvError('ARCHIVE_INVALID', `${where}: the header is damaged, or this is no tar`);
  const size = number(block, 124, 12);
  if (!Number.isSafeInteger(size) || size < 0)
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

function octal(value: number, length: number): string {
  return `${value.toString(8).padStart(length - 1, '0')}\0`;
}

function encode(name: string, flag: string, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(name.slice(0, 100), 0, 'latin1');
  block.write(`${octal(0o644, 8)}${octal(0, 8)}${octal(0, 8)}`, 100, 'latin1');
  if (size < 8 ** 11) block.write(octal(size, 12), 124, 'latin1');
  else {
    block.writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(size), 128);
  }
  block.write(`${octal(0, 12)}        ${flag}`, 136, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  block.write(`${octal(checksum(block), 7)} `, 148, 'latin1');
  return block;
}

/**
 * What stands before a regular file's content: no time, no owner, so that the same content gives the same archive.
 * Names are ASCII; over 100 characters they get a PAX record.
 */
export function encodeTarHeader(name: string, size: number): Buffer {
  if (name.length <= 100) return encode(name, '0', size);
  const body = ` path=${name}\n`;
  let length = body.length + 1;
  while (String(length).length + body.length !== length) length++;
  const record = Buffer.alloc(paddedSize(length));
  record.write(`${length}${body}`, 'latin1');
  return Buffer.concat([encode('PaxHeader', 'x', length), record, encode(name, '0', size)]);
}
