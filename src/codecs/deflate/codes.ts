import { makeCodes } from './huffman.ts';
import {
  DISTANCE_CODES,
  DISTANCE_COUNTS,
  DISTANCE_LENGTHS,
  LITERAL_CODES,
  LITERAL_COUNTS,
  LITERAL_LENGTHS,
  MATCH_CODES,
  MATCH_SYMBOLS,
} from './layout.ts';
import { increment } from './matches.ts';

/** RFC 1951, 3.2.5: the least length and the number of extra bits of the symbols from 257. */
const MATCH_BASES = memory.data<u16>([
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
]);
export const MATCH_EXTRA = memory.data<u8>([
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
]);
export const END_OF_BLOCK: usize = 256;

/** Once: the symbol of each match length. */
export function makeMatchSymbols(): void {
  for (let symbol: usize = 0; symbol < 29; symbol++)
    for (let length: usize = load<u16>(MATCH_BASES + (symbol << 1)); length < 259; length++)
      store<u8>(MATCH_SYMBOLS + length, symbol);
}

export function clearCounts(): void {
  memory.fill(LITERAL_COUNTS, 0, 288 * 4);
  memory.fill(DISTANCE_COUNTS, 0, 32 * 4);
  store<u32>(LITERAL_COUNTS + END_OF_BLOCK * 4, 1);
}

export function countLiterals(from: usize, to: usize): void {
  for (; from < to; from++) increment(LITERAL_COUNTS, load<u8>(from));
}

/** RFC 1951, 3.2.6. */
export function fixedLength(symbol: usize): u8 {
  return symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
}

// @ts-ignore: decorator
@inline
export function distanceExtra(symbol: u32): u32 {
  return symbol < 4 ? 0 : (symbol >>> 1) - 1;
}

/** Makes the lengths those of the fixed codes. */
export function setFixedLengths(): void {
  // Symbols 286 and 287 never occur, but have a place in the fixed code.
  for (let symbol: usize = 0; symbol < 288; symbol++) store<u8>(LITERAL_LENGTHS + symbol, fixedLength(symbol));
  memory.fill(DISTANCE_LENGTHS, 5, 32);
}

/** Makes LITERAL_CODES, DISTANCE_CODES and MATCH_CODES of the lengths. */
export function makeAllCodes(): void {
  makeCodes(LITERAL_LENGTHS, LITERAL_CODES, 288);
  makeCodes(DISTANCE_LENGTHS, DISTANCE_CODES, 30);
  for (let symbol: u32 = 0; symbol < 30; symbol++) {
    const code = load<u32>(DISTANCE_CODES + (symbol << 2));
    store<u32>(DISTANCE_CODES + (symbol << 2), ((code >>> 5) << 9) | (distanceExtra(symbol) << 5) | (code & 31));
  }
  for (let length: usize = 3; length < 259; length++) {
    const symbol: usize = load<u8>(MATCH_SYMBOLS + length);
    const code = load<u32>(LITERAL_CODES + ((257 + symbol) << 2));
    const extra = <u32>length - load<u16>(MATCH_BASES + (symbol << 1));
    store<u32>(MATCH_CODES + (length << 2), (code + load<u8>(MATCH_EXTRA + symbol)) | (extra << (5 + (code & 31))));
  }
}

// @ts-ignore: decorator
@inline
export function literalCode(byte: u32): u32 {
  return load<u32>((byte & 0xff) << 2, LITERAL_CODES);
}

/** The codes and extra bits of a match, at most 48 bits << 6 | how many. `tail` is the second half of a sequence. */
// @ts-ignore: decorator
@inline
export function matchBits(length: usize, tail: u32): u64 {
  const match = load<u32>(length << 2, MATCH_CODES);
  const used: u64 = match & 31;
  const distance = load<u32>((tail >>> 16) << 2, DISTANCE_CODES);
  const codeLength = distance & 31;
  const extra = (distance >>> 5) & 15;
  const far = <u64>((distance >>> 9) | ((tail & ((1 << extra) - 1)) << codeLength));
  return (((match >>> 5) | (far << used)) << 6) | (used + codeLength + extra);
}
