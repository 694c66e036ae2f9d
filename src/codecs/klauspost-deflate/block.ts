import { alignToByte, putBits, putStored } from './bits.ts';
import { prepareHeader, putHeader } from './header.ts';
import { findCodes, hasAll, sizeIn } from './huffman.ts';
import {
  END_OF_BLOCK,
  FIXED_LITERAL_CODES,
  FIXED_OFFSET_CODES,
  LITERAL_CODES,
  LITERAL_COUNTS,
  LITERAL_HISTOGRAM,
  LITERAL_SYMBOLS,
  NO_OFFSET_CODES,
  OFFSET_CODES,
  OFFSET_COUNTS,
  OFFSET_HISTOGRAM,
  OFFSET_SYMBOLS,
  SPARE_CODES,
} from './layout.ts';
import { putBytes, putEnd, putTokens } from './symbols.ts';
import { estimatedBits, lengthExtra, offsetExtra, tokenCount } from './tokens.ts';

/** The code of fixed lengths is tried for fewer tokens than this. */
const FEW_TOKENS: i32 = 250;
/** A guess of the size of a header, in bits. */
const USUAL_HEADER: i32 = 70 * 8;
const NEVER: i32 = i32.MAX_VALUE;

/** The size of the header of the block that is not ended yet, in bits, or 0: what comes next may go on with its codes. */
let openHeader: i32 = 0;
/** The block that is not ended has codes for literals alone. */
let isLiteral: bool = false;
let literalCodes: usize = LITERAL_CODES;
let spareCodes: usize = SPARE_CODES;
/** A new code is thought to take 1 / 2^penalty more than is estimated. */
let penalty: u32 = 7;
/** Of a block that is not ended at once: whether its header has a length for every symbol, though they end in zeros. */
let isFull: bool = false;
/** And whether its end is counted when the code of the block before is tried. */
let isEndCounted: bool = false;

/** `headers`: 0 has all lengths, 1 those that are used, 2 too and counts the end. */
export function startBlocks(newPenalty: u32, headers: i32): void {
  openHeader = 0;
  isLiteral = false;
  penalty = newPenalty;
  isFull = headers == 0;
  isEndCounted = headers == 2;
}

// @ts-ignore: decorator
@inline
function get(table: usize, index: usize): u32 {
  return load<u32>(table + (index << 2));
}

function endOpenBlock(): void {
  if (openHeader > 0) putEnd(literalCodes);
  openHeader = 0;
}

/** A stored block. */
export function writeStored(from: usize, size: i32): void {
  endOpenBlock();
  putStored(from, size);
}

/** The last block, which is empty. */
export function writeLast(): void {
  endOpenBlock();
  putBits(3, 10);
  alignToByte();
}

function storedSize(size: i32): i32 {
  return (size + 5) << 3;
}

/** Puts the histograms of the tokens in the counts. */
function takeCounts(isEnded: bool): void {
  memory.copy(LITERAL_COUNTS, LITERAL_HISTOGRAM, 288 * 4);
  memory.copy(OFFSET_COUNTS, OFFSET_HISTOGRAM, 32 * 4);
  if (isEnded || isEndCounted) store<u32>(LITERAL_COUNTS + (END_OF_BLOCK << 2), 1);
  if ((isEnded || !isFull) && usedOf(OFFSET_COUNTS, OFFSET_SYMBOLS) == 0) store<u32>(OFFSET_COUNTS, 1);
}

/** How many symbols there are up to the last one that is counted. */
function usedOf(counts: usize, size: usize): usize {
  while (size > 0 && get(counts, size - 1) == 0) size--;
  return size;
}

function extraSize(): i32 {
  let bits: u32 = 0;
  for (let symbol: usize = 257; symbol < LITERAL_SYMBOLS; symbol++)
    bits += get(LITERAL_COUNTS, symbol) * lengthExtra(symbol - 257);
  for (let symbol: usize = 0; symbol < OFFSET_SYMBOLS; symbol++)
    bits += get(OFFSET_COUNTS, symbol) * offsetExtra(<u32>symbol);
  return <i32>bits;
}

function tokensIn(literals: usize, offsets: usize): i32 {
  return sizeIn(literals, LITERAL_COUNTS, LITERAL_SYMBOLS) + sizeIn(offsets, OFFSET_COUNTS, OFFSET_SYMBOLS);
}

function writeFixed(): void {
  endOpenBlock();
  putBits(2, 3);
  putTokens(FIXED_LITERAL_CODES, FIXED_OFFSET_CODES);
  putEnd(FIXED_LITERAL_CODES);
}

/**
 * Writes the tokens: with the codes of the block before, or in a block with its own or fixed codes, or the `size` bytes
 * at `from` that they stand for. `from` is 0 if the bytes are not there any more. With `isEnded` the block ends with them.
 */
export function writeTokens(from: usize, size: i32, isEnded: bool): void {
  const tokens = tokenCount() + (isEnded ? 1 : 0);
  if (isEnded) store<u32>(LITERAL_HISTOGRAM + (END_OF_BLOCK << 2), 1);
  if (openHeader > 0 && (isLiteral || !canReuse())) endOpenBlock();
  isLiteral = false;
  takeCounts(isEnded);
  const stored = from == 0 ? NEVER : storedSize(size);
  const extra = from != 0 || openHeader > 0 ? extraSize() : 0;
  if (openHeader > 0) {
    let own = openHeader + estimatedBits(tokens);
    own += <i32>(get(literalCodes, END_OF_BLOCK) & 0xff) + (own >> penalty);
    let least = tokensIn(literalCodes, OFFSET_CODES) + extra;
    if (own < least) {
      endOpenBlock();
      least = own;
    }
    const isFixed = tokens < FEW_TOKENS && tokensIn(FIXED_LITERAL_CODES, FIXED_OFFSET_CODES) + extra + 10 < least;
    if (stored <= least) return writeStored(from, size);
    if (isFixed) return writeFixed();
  }
  if (openHeader == 0 && !beginOwn(from, size, isEnded, tokens, stored, extra)) return;
  if (isEnded) openHeader = 0;
  putTokens(literalCodes, OFFSET_CODES);
  if (isEnded) putEnd(literalCodes);
}

function canReuse(): bool {
  return (
    hasAll(OFFSET_CODES, OFFSET_HISTOGRAM, OFFSET_SYMBOLS) && hasAll(literalCodes, LITERAL_HISTOGRAM, LITERAL_SYMBOLS)
  );
}

/** Begins a block with codes of its own, or writes the whole as a block of another kind. @returns whether it began one */
function beginOwn(from: usize, size: i32, isEnded: bool, tokens: i32, stored: i32, extra: i32): bool {
  const isCut = isEnded || !isFull;
  const literals = isCut ? usedOf(LITERAL_COUNTS, LITERAL_SYMBOLS) : LITERAL_SYMBOLS;
  const offsets = isCut ? usedOf(OFFSET_COUNTS, OFFSET_SYMBOLS) : OFFSET_SYMBOLS;
  store<u32>(LITERAL_COUNTS + (END_OF_BLOCK << 2), 1);
  findCodes(LITERAL_COUNTS, literalCodes, LITERAL_SYMBOLS, 15);
  findCodes(OFFSET_COUNTS, OFFSET_CODES, OFFSET_SYMBOLS, 15);
  const header = prepareHeader(literalCodes, literals, OFFSET_CODES, offsets);
  const own = header + tokensIn(literalCodes, OFFSET_CODES) + extra;
  if (tokens < FEW_TOKENS) {
    const fixed = 3 + tokensIn(FIXED_LITERAL_CODES, FIXED_OFFSET_CODES) + extra;
    if (fixed <= own) {
      if (stored <= fixed) writeStored(from, size);
      else writeFixed();
      return false;
    }
  }
  if (stored <= own) {
    writeStored(from, size);
    return false;
  }
  putHeader();
  openHeader = isEnded ? 0 : header;
  return true;
}

/** Whether bytes are spread so evenly that they are not worth a try. */
function isEven(size: i32): bool {
  const average = <f64>size / 256;
  const most = <f64>(size * 2);
  let total: f64 = 0;
  for (let byte: usize = 0; byte < 256; byte++) {
    const difference = <f64>get(LITERAL_COUNTS, byte) - average;
    total += difference * difference;
    if (total > most) return false;
  }
  return total < most;
}

/** Writes bytes as literals, or stores them if that saves little. With `isEnded` the block ends with them. */
export function writeLiterals(from: usize, size: i32, isEnded: bool): void {
  memory.fill(LITERAL_COUNTS, 0, 288 * 4);
  for (let at = from; at < from + size; at++) {
    const place = LITERAL_COUNTS + (<usize>load<u8>(at) << 2);
    store<u32>(place, load<u32>(place) + 1);
  }
  if (size > 1024 && isEven(size)) return writeStored(from, size);
  store<u32>(LITERAL_COUNTS + (END_OF_BLOCK << 2), 1);
  findCodes(LITERAL_COUNTS, spareCodes, 257, 15);
  let own = sizeIn(spareCodes, LITERAL_COUNTS, 257) + (openHeader > 0 ? openHeader : USUAL_HEADER);
  own += own >> penalty;
  if (storedSize(size) <= own) return writeStored(from, size);
  if (openHeader > 0) {
    const canGoOn = hasAll(literalCodes, LITERAL_COUNTS, 256);
    if (!canGoOn || own < sizeIn(literalCodes, LITERAL_COUNTS, 256)) endOpenBlock();
  }
  if (openHeader == 0) {
    const made = spareCodes;
    spareCodes = literalCodes;
    literalCodes = made;
    openHeader = prepareHeader(literalCodes, 257, NO_OFFSET_CODES, 1);
    putHeader();
    isLiteral = true;
  }
  putBytes(literalCodes, from, size);
  if (isEnded) {
    endOpenBlock();
    isLiteral = false;
  }
}
