import { count, next, putBits, putStored, resumeOutput, waiting } from './bits.ts';
import {
  distanceExtra,
  END_OF_BLOCK,
  fixedLength,
  literalCode,
  makeAllCodes,
  MATCH_EXTRA,
  matchBits,
  setFixedLengths,
} from './codes.ts';
import { headerSize, listLengths, putHeader } from './header.ts';
import { findLengths } from './huffman.ts';
import {
  DISTANCE_COUNTS,
  DISTANCE_LENGTHS,
  LENGTH_COUNTS,
  LENGTH_LENGTHS,
  LITERAL_CODES,
  LITERAL_COUNTS,
  LITERAL_LENGTHS,
  SEQUENCES,
} from './layout.ts';

/** One less than deflate allows, so that four literals and 7 bits that wait fit in 64 bits. */
const LONGEST_LITERAL_CODE: u32 = 14;

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
  listLengths();
  findLengths(LENGTH_COUNTS, LENGTH_LENGTHS, 19, 7);
  let own: u32 = headerSize();
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
  } else setFixedLengths();
  makeAllCodes();
  putSequences(from);
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
