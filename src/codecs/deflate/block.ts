import { putStored } from './bits.ts';
import { headerSize, listLengths } from './header.ts';
import { findLengths } from './huffman.ts';
import {
  DISTANCE_COUNTS,
  DISTANCE_LENGTHS,
  LENGTH_COUNTS,
  LENGTH_LENGTHS,
  LITERAL_COUNTS,
  LITERAL_LENGTHS,
  SEQUENCES,
} from './layout.ts';
import { beginBlock, endBlock, putSequences } from './sequences.ts';
import { codedSize, extraSize, fixedSize } from './sizes.ts';

/** One less than deflate allows, so that four literals and 7 bits that wait fit in 64 bits. */
const LONGEST_LITERAL_CODE: u32 = 14;

/** How many bytes before the current block are to be stored: together, they need fewer headers. */
let waitingSize: usize = 0;

/** Writes the blocks that wait to be stored, which end at `end`. */
export function flushStored(isFinal: bool, end: usize): void {
  if (waitingSize > 0) putStored(end - waitingSize, waitingSize, isFinal);
  waitingSize = 0;
}

/** Writes the block that `findMatches` left in the tables, in whichever of the three forms is the smallest. */
export function putBlock(from: usize, size: usize, isFinal: bool): void {
  findLengths(LITERAL_COUNTS, LITERAL_LENGTHS, 288, LONGEST_LITERAL_CODE);
  findLengths(DISTANCE_COUNTS, DISTANCE_LENGTHS, 30, 15);
  listLengths(false);
  findLengths(LENGTH_COUNTS, LENGTH_LENGTHS, 19, 7);
  const extra = extraSize();
  const own = headerSize() + codedSize() + extra;
  const fixed = fixedSize() + extra;
  const stored = <u32>((size + (size / 65535 + 1) * 4) << 3);
  if (stored <= own && stored <= fixed) {
    waitingSize += size;
    if (isFinal) flushStored(true, from + size);
    return;
  }
  flushStored(false, from);
  beginBlock(own < fixed, isFinal);
  putSequences(SEQUENCES, from, true, 4);
  endBlock();
}
