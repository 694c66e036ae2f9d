import {
  CODES_OF_LENGTH,
  NEXT_CODE,
  ROW_SPARE,
  ROW_SYMBOLS,
  ROW_WEIGHTS,
  SORT_KEYS,
  SORT_SPARE,
  SORT_STARTS,
} from './layout.ts';

const ROW_SIZE: usize = 576 * 2;

// @ts-ignore: decorator
@inline
function get(table: usize, index: usize): u32 {
  return load<u32>(table + (index << 2));
}
// @ts-ignore: decorator
@inline
function set(table: usize, index: usize, value: u32): void {
  store<u32>(table + (index << 2), value);
}

/** One pass of a radix sort, stable, by the byte of the keys that is `shift` bits up. */
function sortByByte(from: usize, to: usize, used: usize, shift: u32): void {
  memory.fill(SORT_STARTS, 0, 1024);
  for (let i: usize = 0; i < used; i++) {
    const byte = (get(from, i) >>> shift) & 0xff;
    set(SORT_STARTS, byte, get(SORT_STARTS, byte) + 1);
  }
  let start: u32 = 0;
  for (let byte: usize = 0; byte < 256; byte++) {
    const size = get(SORT_STARTS, byte);
    set(SORT_STARTS, byte, start);
    start += size;
  }
  for (let i: usize = 0; i < used; i++) {
    const key = get(from, i);
    const place = get(SORT_STARTS, (key >>> shift) & 0xff);
    set(SORT_STARTS, (key >>> shift) & 0xff, place + 1);
    set(to, place, key);
  }
}

/** Sorts the keys, each count << 16 | symbol, by count and then by symbol; they are in the order of symbols now. */
function sortKeys(used: usize): void {
  if (used > 40) {
    sortByByte(SORT_KEYS, SORT_SPARE, used, 16);
    sortByByte(SORT_SPARE, SORT_KEYS, used, 24);
    return;
  }
  for (let i: usize = 1; i < used; i++) {
    const key = get(SORT_KEYS, i);
    let j = i;
    for (; j > 0 && get(SORT_KEYS, j - 1) > key; j--) set(SORT_KEYS, j, get(SORT_KEYS, j - 1));
    set(SORT_KEYS, j, key);
  }
}

/**
 * Merges the symbols with pairs of the row before, by weight; of equal weights the pair comes first, which decides
 * which of several optimal codes is made. @returns how many items the row has, `most` at most
 */
function mergeRow(used: usize, before: usize, beforeItems: usize, row: usize, symbols: usize, most: usize): usize {
  let symbol: usize = 0;
  let pair: usize = 0;
  let items: usize = 0;
  const pairsEnd = beforeItems & ~1;
  while (items < most) {
    const pairWeight = pair < pairsEnd ? get(before, pair) + get(before, pair + 1) : u32.MAX_VALUE;
    const symbolWeight = symbol < used ? get(SORT_KEYS, symbol) >>> 16 : u32.MAX_VALUE;
    if (pairWeight == u32.MAX_VALUE && symbolWeight == u32.MAX_VALUE) break;
    if (symbolWeight < pairWeight) {
      set(row, items, symbolWeight);
      symbol++;
    } else {
      set(row, items, pairWeight);
      pair += 2;
    }
    items++;
    store<u16>(symbols + (items << 1), <u16>symbol);
  }
  return items;
}

/**
 * Counts the codes of each length in CODES_OF_LENGTH, none longer than `longest`, by package-merge: Larmore and
 * Hirschberg, "A fast algorithm for optimal length-limited Huffman codes" (1990).
 */
function countLengths(used: usize, longest: usize): void {
  memory.fill(CODES_OF_LENGTH, 0, 64);
  longest = min(longest, used - 1);
  const most = 2 * used - 2;
  let before = ROW_WEIGHTS;
  let row = ROW_SPARE;
  let items: usize = 0;
  for (let depth: usize = 0; depth < longest; depth++) {
    items = mergeRow(used, before, items, row, ROW_SYMBOLS + depth * ROW_SIZE, most);
    const made = row;
    row = before;
    before = made;
  }
  // Of the last row the first `most` items are taken, and of each before it the pairs that they are made of.
  let taken = most;
  let within: u32 = 0;
  for (let length: usize = 1; length <= longest; length++) {
    const symbols = <u32>load<u16>(ROW_SYMBOLS + (longest - length) * ROW_SIZE + (taken << 1));
    if (length > 1) set(CODES_OF_LENGTH, length - 1, within - symbols);
    within = symbols;
    taken = (taken - symbols) << 1;
    if (taken == 0) {
      set(CODES_OF_LENGTH, length, within);
      return;
    }
  }
}

/** The lowest `length` bits in reverse: codes are packed from the most significant bit (RFC 1951, 3.1.1). */
function reverse(code: u32, length: u32): u32 {
  code = ((code & 0x5555) << 1) | ((code >>> 1) & 0x5555);
  code = ((code & 0x3333) << 2) | ((code >>> 2) & 0x3333);
  code = ((code & 0x0f0f) << 4) | ((code >>> 4) & 0x0f0f);
  code = ((code & 0x00ff) << 8) | (code >>> 8);
  return code >>> (16 - length);
}

/** Replaces the length (u32) of each symbol by its code (RFC 1951, 3.2.2). */
export function makeCodes(codes: usize, size: usize): void {
  let code: u32 = 0;
  for (let length: usize = 1; length < 16; length++) {
    set(NEXT_CODE, length, code);
    code = (code + get(CODES_OF_LENGTH, length)) << 1;
  }
  for (let symbol: usize = 0; symbol < size; symbol++) {
    const length = get(codes, symbol);
    if (length == 0) continue;
    const own = get(NEXT_CODE, length);
    set(NEXT_CODE, length, own + 1);
    set(codes, symbol, (reverse(own, length) << 8) | length);
  }
}

/** A code for `size` symbols by their counts (u32); one symbol or two have codes of one bit. */
export function findCodes(counts: usize, codes: usize, size: usize, longest: usize): void {
  memory.fill(codes, 0, size << 2);
  let used: usize = 0;
  for (let symbol: usize = 0; symbol < size; symbol++) {
    const count = get(counts, symbol);
    if (count > 0) set(SORT_KEYS, used++, (count << 16) | <u32>symbol);
  }
  if (used <= 2) {
    for (let i: usize = 0; i < used; i++) set(codes, get(SORT_KEYS, i) & 0xffff, (<u32>i << 8) | 1);
    return;
  }
  sortKeys(used);
  countLengths(used, longest);
  let i = used;
  for (let length: usize = 1; length < 16; length++)
    for (let left = get(CODES_OF_LENGTH, length); left > 0; left--)
      set(codes, get(SORT_KEYS, --i) & 0xffff, <u32>length);
  makeCodes(codes, size);
}

/** What the counted symbols take in a code, in bits. */
export function sizeIn(codes: usize, counts: usize, size: usize): i32 {
  let bits: u32 = 0;
  for (let symbol: usize = 0; symbol < size; symbol++) bits += get(counts, symbol) * (get(codes, symbol) & 0xff);
  return <i32>bits;
}

/** Whether a code has all the symbols that are counted. */
export function hasAll(codes: usize, counts: usize, size: usize): bool {
  for (let symbol: usize = 0; symbol < size; symbol++)
    if (get(counts, symbol) > 0 && get(codes, symbol) == 0) return false;
  return true;
}
