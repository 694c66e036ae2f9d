import { alignToByte, putBits, putStored } from '../deflate/bits.ts';
import { clearCounts, countLiterals, END_OF_BLOCK } from '../deflate/codes.ts';
import { findLengths, findOwnLengths, prepareHeader } from '../deflate/go-lengths.ts';
import { DISTANCE_COUNTS, DISTANCE_LENGTHS, LITERAL_COUNTS, LITERAL_LENGTHS } from '../deflate/layout.ts';
import { beginBlock, endBlock, putSequences } from '../deflate/sequences.ts';
import { codedSize, extraSize, fixedSize, sizeIn, storedSize } from '../deflate/sizes.ts';
import { estimatedSize } from './entropy.ts';
import { SEQUENCES, SPARE_LENGTHS } from './layout.ts';

/** The code of fixed lengths is tried for fewer tokens than this. */
const FEW_TOKENS: u32 = 250;
/** A guess of the size of a header, in bits. */
const USUAL_HEADER: u32 = 70 * 8;
/** A new code is thought to take 1 / 2^PENALTY more than is estimated. */
const PENALTY: u32 = 7;

/** The size of the header of the block that is not ended yet, in bits, or 0: what comes next may go on with its codes. */
let openHeader: u32 = 0;
/** The block that is not ended has codes for literals alone. */
let isLiteral: bool = false;
/** Of a block that is not ended at once: whether its header has a length for every symbol, though they end in zeros. */
let isFull: bool = false;
/** And whether its end is counted when the code of the block before is tried. */
let isEndCounted: bool = false;

/** `headers`: 0 has all lengths, 1 those that are used, 2 too and counts the end. */
export function startBlocks(headers: i32): void {
  openHeader = 0;
  isLiteral = false;
  isFull = headers == 0;
  isEndCounted = headers == 2;
}

function endOpenBlock(): void {
  if (openHeader > 0) endBlock();
  openHeader = 0;
}

/** A stored block. */
export function writeStored(from: usize, size: usize): void {
  endOpenBlock();
  putStored(from, size, false);
}

/** The last block, which is empty. */
export function writeLast(): void {
  endOpenBlock();
  putBits(3, 10);
  alignToByte();
}

function writeFixed(from: usize): void {
  endOpenBlock();
  beginBlock(false, false);
  putSequences(SEQUENCES, from, true, 3);
  endBlock();
}

function countEnd(times: u32): void {
  store<u32>(LITERAL_COUNTS + (END_OF_BLOCK << 2), times);
}

/** Whether a code with these lengths has all the symbols that are counted. */
function hasAll(lengths: usize, counts: usize, symbols: usize): bool {
  for (let symbol: usize = 0; symbol < symbols; symbol++)
    if (load<u32>(counts + (symbol << 2)) > 0 && load<u8>(lengths + symbol) == 0) return false;
  return true;
}

function canReuse(): bool {
  return hasAll(DISTANCE_LENGTHS, DISTANCE_COUNTS, 30) && hasAll(LITERAL_LENGTHS, LITERAL_COUNTS, 286);
}

/**
 * Writes so many tokens, of which one at least is a match: with the codes of the block before, or in a block with its own
 * or fixed codes, or the `size` bytes at `from` that they stand for. With `isEnded` the block ends with them.
 */
export function writeTokens(from: usize, size: usize, tokens: u32, isEnded: bool): void {
  if (isEnded) tokens++;
  if (openHeader > 0 && (isLiteral || !canReuse())) endOpenBlock();
  isLiteral = false;
  countEnd(isEnded || isEndCounted ? 1 : 0);
  const stored = storedSize(size);
  const extra = extraSize();
  if (openHeader > 0) {
    let own = openHeader + estimatedSize(tokens);
    own += load<u8>(LITERAL_LENGTHS + END_OF_BLOCK) + (own >>> PENALTY);
    let least = codedSize() + extra;
    if (own < least) {
      endOpenBlock();
      least = own;
    }
    if (stored <= least) return writeStored(from, size);
    if (tokens < FEW_TOKENS && fixedSize() + extra + 10 < least) return writeFixed(from);
  }
  if (openHeader == 0 && !beginOwn(from, size, isEnded, tokens, stored, extra)) return;
  putSequences(SEQUENCES, from, true, 3);
  if (isEnded) endOpenBlock();
}

/** Begins a block with codes of its own, or writes the whole as a block of another kind. @returns whether it began one */
function beginOwn(from: usize, size: usize, isEnded: bool, tokens: u32, stored: u32, extra: u32): bool {
  countEnd(1);
  const header = findOwnLengths(isFull && !isEnded);
  const own = header + codedSize() + extra;
  const fixed: u32 = tokens < FEW_TOKENS ? 3 + fixedSize() + extra : u32.MAX_VALUE;
  if (stored <= min(own, fixed)) {
    writeStored(from, size);
    return false;
  }
  if (fixed <= own) {
    writeFixed(from);
    return false;
  }
  beginBlock(true, false);
  openHeader = header;
  return true;
}

/** Whether bytes are spread so evenly that they are not worth a try. */
function isEven(size: usize): bool {
  const average = <f64>size / 256;
  const most = <f64>(size * 2);
  let total: f64 = 0;
  for (let byte: usize = 0; byte < 256; byte++) {
    const difference = <f64>load<u32>(LITERAL_COUNTS + (byte << 2)) - average;
    total += difference * difference;
    if (total > most) return false;
  }
  return total < most;
}

/** Writes bytes as literals, or stores them if that saves little. With `isEnded` the block ends with them. */
export function writeLiterals(from: usize, size: usize, isEnded: bool): void {
  clearCounts();
  countLiterals(from, from + size);
  if (size > 1024 && isEven(size)) return writeStored(from, size);
  findLengths(LITERAL_COUNTS, SPARE_LENGTHS, 288, 15);
  let own = sizeIn(SPARE_LENGTHS, LITERAL_COUNTS, 257) + (openHeader > 0 ? openHeader : USUAL_HEADER);
  own += own >>> PENALTY;
  if (storedSize(size) <= own) return writeStored(from, size);
  if (openHeader > 0) {
    const canGoOn = hasAll(LITERAL_LENGTHS, LITERAL_COUNTS, 256);
    if (!canGoOn || own < sizeIn(LITERAL_LENGTHS, LITERAL_COUNTS, 256)) endOpenBlock();
  }
  if (openHeader == 0) {
    memory.copy(LITERAL_LENGTHS, SPARE_LENGTHS, 288);
    memory.fill(DISTANCE_LENGTHS, 0, 30);
    store<u8>(DISTANCE_LENGTHS, 1);
    openHeader = prepareHeader(false);
    beginBlock(true, false);
    isLiteral = true;
  }
  store<u32>(SEQUENCES, <u32>size << 9);
  putSequences(SEQUENCES, from, true, 3);
  if (isEnded) {
    endOpenBlock();
    isLiteral = false;
  }
}
