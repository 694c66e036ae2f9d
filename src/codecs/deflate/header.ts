import { putBits } from './bits.ts';
import { makeCodes } from './huffman.ts';
import {
  DISTANCE_LENGTHS,
  HEADER_ITEMS,
  LENGTH_CODES,
  LENGTH_COUNTS,
  LENGTH_LENGTHS,
  LITERAL_LENGTHS,
} from './layout.ts';

/** RFC 1951, 3.2.7: the order in which the lengths of the code length code are written. */
const ORDER = memory.data<u8>([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]);

let literalSymbols: usize = 0;
let distanceSymbols: usize = 0;
let lengthSymbols: usize = 0;
let itemsEnd: usize = HEADER_ITEMS;

function addItem(symbol: u32, extra: u32): void {
  store<u8>(itemsEnd, symbol);
  store<u8>(itemsEnd, extra, 1);
  itemsEnd += 2;
  const count = LENGTH_COUNTS + (<usize>symbol << 2);
  store<u32>(count, load<u32>(count) + 1);
}

/** `times` the same code length, as literal lengths and repeats (RFC 1951, 3.2.7). */
function addRun(length: u32, times: u32): void {
  if (length == 0) {
    for (; times > 10; times -= min<u32>(times, 138)) addItem(18, min<u32>(times, 138) - 11);
    if (times > 2) {
      addItem(17, times - 3);
      return;
    }
  } else if (times > 3) {
    addItem(length, 0);
    times--;
    for (; times > 2; times -= min<u32>(times, 6)) addItem(16, min<u32>(times, 6) - 3);
  }
  for (; times > 0; times--) addItem(length, 0);
}

// @ts-ignore: decorator
@inline
function extraBits(symbol: u32): u32 {
  return symbol < 16 ? 0 : symbol == 16 ? 2 : symbol == 17 ? 3 : 7;
}

// @ts-ignore: decorator
@inline
function lengthAt(index: usize): u32 {
  return index < literalSymbols
    ? load<u8>(LITERAL_LENGTHS + index)
    : load<u8>(DISTANCE_LENGTHS + index - literalSymbols);
}

/**
 * Lists the code lengths of a block with its own codes as the header has them, and counts in LENGTH_COUNTS what is listed.
 * `isFull`: also those after the last symbol that has a code.
 */
export function listLengths(isFull: bool): void {
  literalSymbols = 286;
  while (!isFull && literalSymbols > 257 && load<u8>(LITERAL_LENGTHS + literalSymbols - 1) == 0) literalSymbols--;
  distanceSymbols = 30;
  while (!isFull && distanceSymbols > 1 && load<u8>(DISTANCE_LENGTHS + distanceSymbols - 1) == 0) distanceSymbols--;
  memory.fill(LENGTH_COUNTS, 0, 19 * 4);
  itemsEnd = HEADER_ITEMS;
  const total = literalSymbols + distanceSymbols;
  for (let i: usize = 0; i < total;) {
    const length = lengthAt(i);
    const from = i;
    while (i < total && lengthAt(i) == length) i++;
    addRun(length, <u32>(i - from));
  }
}

/** The size of the header in bits, without the three of the block. LENGTH_LENGTHS are known by now. */
export function headerSize(): u32 {
  lengthSymbols = 19;
  while (lengthSymbols > 4 && load<u8>(LENGTH_LENGTHS + load<u8>(ORDER + lengthSymbols - 1)) == 0) lengthSymbols--;
  let bits: u32 = 14 + 3 * <u32>lengthSymbols;
  for (let symbol: u32 = 0; symbol < 19; symbol++)
    bits += load<u32>(LENGTH_COUNTS + (symbol << 2)) * (load<u8>(LENGTH_LENGTHS + symbol) + extraBits(symbol));
  return bits;
}

/** Writes what `listLengths` listed; `headerSize` comes before it. */
export function putHeader(): void {
  putBits((literalSymbols - 257) | ((distanceSymbols - 1) << 5) | ((lengthSymbols - 4) << 10), 14);
  for (let i: usize = 0; i < lengthSymbols; i++) putBits(load<u8>(LENGTH_LENGTHS + load<u8>(ORDER + i)), 3);
  makeCodes(LENGTH_LENGTHS, LENGTH_CODES, 19);
  for (let item: usize = HEADER_ITEMS; item < itemsEnd; item += 2) {
    const symbol = <u32>load<u8>(item);
    const code = load<u32>(LENGTH_CODES + (symbol << 2));
    const length = code & 31;
    putBits((code >>> 5) | (<u32>load<u8>(item, 1) << length), length + extraBits(symbol));
  }
}
