import { putStored } from '../deflate/bits.ts';
import { findOwnLengths } from '../deflate/go-lengths.ts';
import { DISTANCE_COUNTS } from '../deflate/layout.ts';
import { beginBlock, endBlock, putSequences } from '../deflate/sequences.ts';
import { codedSize, extraSize, fixedSize, storedSize } from '../deflate/sizes.ts';
import { SEQUENCES } from './layout.ts';

/** The most bytes of a stored block (RFC 1951, 3.2.4). */
export const MOST_STORED: usize = 65535;

/** The size in bits of the block in its own codes, without extra bits. Makes the lengths of the codes. */
function ownSize(): u32 {
  // Without a match, Go counts one distance (Go 1.19, compress/flate/huffman_bit_writer.go: indexTokens).
  let distances: u32 = 0;
  for (let symbol: usize = 0; symbol < 30; symbol++) distances |= load<u32>(DISTANCE_COUNTS + (symbol << 2));
  if (distances == 0) store<u32>(DISTANCE_COUNTS, 1);
  return findOwnLengths(false) + codedSize();
}

function putCoded(isOwn: bool, from: usize, isWhole: bool): void {
  beginBlock(isOwn, false);
  putSequences(SEQUENCES, from, isWhole, 3);
  endBlock();
}

/**
 * Writes a block of levels 2 to 9 in the smallest form: of equal ones, fixed codes before own ones before stored
 * bytes (Go 1.19, compress/flate/huffman_bit_writer.go: writeBlock). `size` is above MOST_STORED where the
 * block began before the window: its bytes cannot be stored. The literals lie at `literals` one after another.
 */
export function putSmallest(from: usize, size: usize, literals: usize): void {
  const own = ownSize();
  const fixed: u32 = 3 + fixedSize();
  if (size <= MOST_STORED && storedSize(size) < min(own, fixed) + extraSize()) putStored(from, size, false);
  else putCoded(own < fixed, literals, false);
}

/**
 * Writes a block in its own codes, or stored where these, without the extra bits, save less than a sixteenth or so
 * (Go 1.19, compress/flate/huffman_bit_writer.go: writeBlockDynamic, writeBlockHuff).
 */
export function putOwnOrStored(from: usize, size: usize): void {
  const own = ownSize();
  if (storedSize(size) < own + (own >>> 4)) putStored(from, size, false);
  else putCoded(true, from, true);
}
