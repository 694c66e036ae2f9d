import { count, next, putBits, putStored, resumeOutput, waiting } from '../deflate/bits.ts';
import {
  distanceExtra,
  END_OF_BLOCK,
  fixedLength,
  literalCode,
  makeAllCodes,
  MATCH_EXTRA,
  matchBits,
  setFixedLengths,
} from '../deflate/codes.ts';
import { headerSize, listLengths, putHeader } from '../deflate/header.ts';
import {
  DISTANCE_COUNTS,
  DISTANCE_LENGTHS,
  LENGTH_COUNTS,
  LENGTH_LENGTHS,
  LITERAL_CODES,
  LITERAL_COUNTS,
  LITERAL_LENGTHS,
} from '../deflate/layout.ts';
import { SEQUENCES } from './layout.ts';
import { findLengths } from './lengths.ts';

/** The most bytes of a stored block (RFC 1951, 3.2.4). */
export const MOST_STORED: usize = 65535;

/** The size in bits of the block in its own codes, without extra bits. Makes the lengths of the codes. */
function ownSize(): u32 {
  // Without a match, Go counts one distance (Go 1.19, compress/flate/huffman_bit_writer.go: indexTokens).
  let distances: u32 = 0;
  for (let symbol: usize = 0; symbol < 30; symbol++) distances |= load<u32>(DISTANCE_COUNTS + (symbol << 2));
  if (distances == 0) store<u32>(DISTANCE_COUNTS, 1);
  findLengths(LITERAL_COUNTS, LITERAL_LENGTHS, 286, 15);
  findLengths(DISTANCE_COUNTS, DISTANCE_LENGTHS, 30, 15);
  listLengths();
  findLengths(LENGTH_COUNTS, LENGTH_LENGTHS, 19, 7);
  let bits: u32 = 3 + headerSize();
  for (let symbol: usize = 0; symbol < 286; symbol++)
    bits += load<u32>(LITERAL_COUNTS + (symbol << 2)) * load<u8>(LITERAL_LENGTHS + symbol);
  for (let symbol: usize = 0; symbol < 30; symbol++)
    bits += load<u32>(DISTANCE_COUNTS + (symbol << 2)) * load<u8>(DISTANCE_LENGTHS + symbol);
  return bits;
}

/** The size in bits of the block in the fixed codes, without extra bits. */
function fixedSize(): u32 {
  let bits: u32 = 3;
  for (let symbol: usize = 0; symbol < 286; symbol++)
    bits += load<u32>(LITERAL_COUNTS + (symbol << 2)) * fixedLength(symbol);
  for (let symbol: usize = 0; symbol < 30; symbol++) bits += load<u32>(DISTANCE_COUNTS + (symbol << 2)) * 5;
  return bits;
}

function extraSize(): u32 {
  let bits: u32 = 0;
  for (let symbol: usize = 0; symbol < 29; symbol++)
    bits += load<u32>(LITERAL_COUNTS + ((symbol + 257) << 2)) * load<u8>(MATCH_EXTRA + symbol);
  for (let symbol: u32 = 0; symbol < 30; symbol++)
    bits += load<u32>(DISTANCE_COUNTS + (symbol << 2)) * distanceExtra(symbol);
  return bits;
}

function storedSize(size: usize): u32 {
  return <u32>(size + 5) << 3;
}

function putOwnHeader(): void {
  putBits(4, 3);
  putHeader();
  // These two have a place in the fixed codes alone.
  store<u16>(LITERAL_LENGTHS + 286, 0);
}

/**
 * Writes a block of levels 2 to 9 in the smallest form: of equal ones, fixed codes before own ones before stored
 * bytes (Go 1.19, compress/flate/huffman_bit_writer.go: writeBlock). `size` is above MOST_STORED where the
 * block began before the window: its bytes cannot be stored. The literals lie at `literals` one after another.
 */
export function putSmallest(from: usize, size: usize, literals: usize): void {
  const own = ownSize();
  const fixed = fixedSize();
  if (size <= MOST_STORED && storedSize(size) < min(own, fixed) + extraSize()) {
    putStored(from, size, false);
    return;
  }
  if (own < fixed) {
    putOwnHeader();
  } else {
    putBits(2, 3);
    setFixedLengths();
  }
  putSequences(literals, false);
}

/**
 * Writes a block in its own codes, or stored where these, without the extra bits, save less than a sixteenth or so
 * (Go 1.19, compress/flate/huffman_bit_writer.go: writeBlockDynamic, writeBlockHuff).
 */
export function putOwnOrStored(from: usize, size: usize): void {
  const own = ownSize();
  if (storedSize(size) < own + (own >>> 4)) {
    putStored(from, size, false);
    return;
  }
  putOwnHeader();
  putSequences(from, true);
}

/** The sequences in the codes of the block, then its end. `isWhole`: the bytes of matches lie between the literals. */
function putSequences(from: usize, isWhole: bool): void {
  makeAllCodes();
  const skipped: usize = isWhole ? 511 : 0;
  let to = next;
  let bits = waiting;
  let used = count;
  for (let sequence: usize = SEQUENCES; ; sequence += 8) {
    const head = load<u32>(sequence);
    let literals: usize = head >>> 9;
    // Three codes of up to 15 bits fit in 64 with 7 bits that wait, four do not.
    for (; literals >= 3; literals -= 3, from += 3) {
      const three = load<u32>(from);
      let code = literalCode(three);
      bits |= <u64>(code >>> 5) << used;
      used += code & 31;
      code = literalCode(three >>> 8);
      bits |= <u64>(code >>> 5) << used;
      used += code & 31;
      code = literalCode(three >>> 16);
      bits |= <u64>(code >>> 5) << used;
      used += code & 31;
      store<u64>(to, bits);
      to += <usize>(used >> 3);
      bits >>= used & 56;
      used &= 7;
    }
    // Two codes, of which some may be nothing: a branch on how many is mispredicted more often than not.
    const rest = load<u32>(from);
    let code = select<u32>(literalCode(rest), 0, literals > 0);
    bits |= <u64>(code >>> 5) << used;
    used += code & 31;
    code = select<u32>(literalCode(rest >>> 8), 0, literals > 1);
    bits |= <u64>(code >>> 5) << used;
    used += code & 31;
    from += literals;
    store<u64>(to, bits);
    to += <usize>(used >> 3);
    bits >>= used & 56;
    used &= 7;
    const length: usize = head & 511;
    if (length == 0) break;
    from += length & skipped;
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
