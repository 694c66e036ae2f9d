import { count, next, putBits, putStored, resumeOutput, waiting } from './bits.ts';
import { prepareHeader, putHeader } from './header.ts';
import { findLengths, makeCodes } from './huffman.ts';
import {
  DISTANCE_CODES,
  DISTANCE_COUNTS,
  DISTANCE_LENGTHS,
  LITERAL_CODES,
  LITERAL_COUNTS,
  LITERAL_LENGTHS,
  MATCH_CODES,
  MATCH_SYMBOLS,
  SEQUENCES,
} from './layout.ts';

/** RFC 1951, 3.2.5: the least length and the number of extra bits of the symbols from 257. */
const MATCH_BASES = memory.data<u16>([
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
]);
const MATCH_EXTRA = memory.data<u8>([
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
]);
const END_OF_BLOCK: usize = 256;
/** One less than deflate allows, so that four literals and 7 bits that wait fit in 64 bits. */
const LONGEST_LITERAL_CODE: u32 = 14;

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

/** RFC 1951, 3.2.6. */
function fixedLength(symbol: usize): u8 {
  return symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
}

// @ts-ignore: decorator
@inline
function distanceExtra(symbol: u32): u32 {
  return symbol < 4 ? 0 : (symbol >>> 1) - 1;
}

/** How many bytes before the current block are to be stored: together, they need fewer headers. */
let storedSize: usize = 0;

/** Writes the blocks that wait to be stored, which end at `end`. */
export function flushStored(isFinal: bool, end: usize): void {
  if (storedSize > 0) putStored(end - storedSize, storedSize, isFinal);
  storedSize = 0;
}

/** Writes the block that `findMatches` left in the tables, in whichever of the three forms is the smallest. */
export function putBlock(from: usize, size: usize, isFinal: bool): void {
  findLengths(LITERAL_COUNTS, LITERAL_LENGTHS, 286, LONGEST_LITERAL_CODE);
  findLengths(DISTANCE_COUNTS, DISTANCE_LENGTHS, 30, 15);
  let own: u32 = prepareHeader();
  let fixed: u32 = 0;
  for (let symbol: usize = 0; symbol < 286; symbol++) {
    const times = load<u32>(LITERAL_COUNTS + (symbol << 2));
    const extra: u32 = symbol < 257 ? 0 : load<u8>(MATCH_EXTRA + symbol - 257);
    own += times * (load<u8>(LITERAL_LENGTHS + symbol) + extra);
    fixed += times * (fixedLength(symbol) + extra);
  }
  for (let symbol: u32 = 0; symbol < 30; symbol++) {
    const times = load<u32>(DISTANCE_COUNTS + (symbol << 2));
    own += times * (load<u8>(DISTANCE_LENGTHS + symbol) + distanceExtra(symbol));
    fixed += times * (5 + distanceExtra(symbol));
  }
  const stored = <u32>((size + (size / 65535 + 1) * 4) << 3);
  if (stored <= own && stored <= fixed) {
    storedSize += size;
    if (isFinal) flushStored(true, from + size);
    return;
  }
  flushStored(false, from);
  putBits((isFinal ? 1 : 0) | (own < fixed ? 4 : 2), 3);
  if (own < fixed) {
    putHeader();
    store<u16>(LITERAL_LENGTHS + 286, 0);
  } else {
    // Symbols 286 and 287 never occur, but have a place in the fixed code.
    for (let symbol: usize = 0; symbol < 288; symbol++) store<u8>(LITERAL_LENGTHS + symbol, fixedLength(symbol));
    memory.fill(DISTANCE_LENGTHS, 5, 32);
  }
  makeAllCodes();
  putSequences(from);
}

function makeAllCodes(): void {
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
function literalCode(byte: u32): u32 {
  return load<u32>((byte & 0xff) << 2, LITERAL_CODES);
}

/** The codes and extra bits of a match, at most 47 bits << 6 | how many. `tail` is the second half of a sequence. */
// @ts-ignore: decorator
@inline
function matchBits(length: usize, tail: u32): u64 {
  const match = load<u32>(length << 2, MATCH_CODES);
  const used: u64 = match & 31;
  const distance = load<u32>((tail >>> 16) << 2, DISTANCE_CODES);
  const codeLength = distance & 31;
  const extra = (distance >>> 5) & 15;
  const far = <u64>((distance >>> 9) | ((tail & ((1 << extra) - 1)) << codeLength));
  return (((match >>> 5) | (far << used)) << 6) | (used + codeLength + extra);
}

/** The sequences in the codes of the block, then its end. `from` is where its bytes are, for the literals. */
function putSequences(from: usize): void {
  let to = next;
  let bits = waiting;
  let used = count;
  for (let sequence: usize = SEQUENCES; ; sequence += 8) {
    const head = load<u32>(sequence);
    let literals: usize = head >>> 9;
    for (; literals >= 4; literals -= 4, from += 4) {
      const four = load<u32>(from);
      let code = literalCode(four);
      bits |= <u64>(code >>> 5) << used;
      used += code & 31;
      code = literalCode(four >>> 8);
      bits |= <u64>(code >>> 5) << used;
      used += code & 31;
      code = literalCode(four >>> 16);
      bits |= <u64>(code >>> 5) << used;
      used += code & 31;
      code = literalCode(four >>> 24);
      bits |= <u64>(code >>> 5) << used;
      used += code & 31;
      store<u64>(to, bits);
      to += <usize>(used >> 3);
      bits >>= used & 56;
      used &= 7;
    }
    // Three codes, of which some may be nothing: a branch on how many is mispredicted more often than not.
    const rest = load<u32>(from);
    let code = select<u32>(literalCode(rest), 0, literals > 0);
    bits |= <u64>(code >>> 5) << used;
    used += code & 31;
    code = select<u32>(literalCode(rest >>> 8), 0, literals > 1);
    bits |= <u64>(code >>> 5) << used;
    used += code & 31;
    code = select<u32>(literalCode(rest >>> 16), 0, literals > 2);
    bits |= <u64>(code >>> 5) << used;
    used += code & 31;
    from += literals;
    store<u64>(to, bits);
    to += <usize>(used >> 3);
    bits >>= used & 56;
    used &= 7;
    const length: usize = head & 511;
    if (length == 0) break;
    from += length;
    const match = matchBits(length, load<u32>(sequence, 4));
    bits |= (match >>> 6) << used;
    used += match & 63;
    store<u64>(to, bits);
    to += <usize>(used >> 3);
    bits >>= used & 56;
    used &= 7;
  }
  resumeOutput(to, bits, used);
  const end = load<u32>(LITERAL_CODES + END_OF_BLOCK * 4);
  putBits(end >>> 5, end & 31);
}
