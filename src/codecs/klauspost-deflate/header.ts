import { putBits, putCode } from './bits.ts';
import { findCodes, sizeIn } from './huffman.ts';
import { HEADER_ITEMS, LENGTH_CODES, LENGTH_COUNTS, LENGTH_SYMBOLS } from './layout.ts';

/** RFC 1951, 3.2.7: the order in which the lengths of the code length code are written. */
const ORDER = memory.data<u8>([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]);

let literalSymbols: usize = 0;
let offsetSymbols: usize = 0;
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
  } else {
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
function lengthAt(literals: usize, offsets: usize, index: usize): u32 {
  return index < literalSymbols
    ? load<u8>(literals + (index << 2))
    : load<u8>(offsets + ((index - literalSymbols) << 2));
}

/** Prepares the header of a block with so many symbols of its two codes. @returns its size in bits */
export function prepareHeader(literals: usize, literalSize: usize, offsets: usize, offsetSize: usize): i32 {
  literalSymbols = literalSize;
  offsetSymbols = offsetSize;
  memory.fill(LENGTH_COUNTS, 0, LENGTH_SYMBOLS << 2);
  itemsEnd = HEADER_ITEMS;
  const total = literalSymbols + offsetSymbols;
  for (let i: usize = 0; i < total;) {
    const length = lengthAt(literals, offsets, i);
    const from = i;
    while (i < total && lengthAt(literals, offsets, i) == length) i++;
    addRun(length, <u32>(i - from));
  }
  findCodes(LENGTH_COUNTS, LENGTH_CODES, LENGTH_SYMBOLS, 7);
  lengthSymbols = LENGTH_SYMBOLS;
  while (lengthSymbols > 4 && load<u32>(LENGTH_COUNTS + (<usize>load<u8>(ORDER + lengthSymbols - 1) << 2)) == 0)
    lengthSymbols--;
  let bits: u32 = 17 + 3 * <u32>lengthSymbols + sizeIn(LENGTH_CODES, LENGTH_COUNTS, LENGTH_SYMBOLS);
  for (let symbol: u32 = 16; symbol < 19; symbol++)
    bits += load<u32>(LENGTH_COUNTS + (symbol << 2)) * extraBits(symbol);
  return <i32>bits;
}

/** Writes what `prepareHeader` prepared, for a block that is not the last. */
export function putHeader(): void {
  putBits(4 | ((literalSymbols - 257) << 3) | ((offsetSymbols - 1) << 8) | ((lengthSymbols - 4) << 13), 17);
  for (let i: usize = 0; i < lengthSymbols; i++)
    putBits(load<u8>(LENGTH_CODES + (<usize>load<u8>(ORDER + i) << 2)), 3);
  for (let item: usize = HEADER_ITEMS; item < itemsEnd; item += 2) {
    const symbol = <u32>load<u8>(item);
    putCode(load<u32>(LENGTH_CODES + (symbol << 2)));
    putBits(load<u8>(item, 1), extraBits(symbol));
  }
}
