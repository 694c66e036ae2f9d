import { CODES_OF_LENGTH, NEXT_CODE, SORT_KEYS, SORT_SPARE, SORT_STARTS, TREE } from './layout.ts';

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
export function sortKeys(used: usize): void {
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
 * Turns TREE's weights, ascending, into depths, descending, in place: Moffat and Katajainen, "In-Place Calculation of
 * Minimum-Redundancy Codes" (1995). First each inner node gets its parent, then its depth, then the leaves theirs.
 */
function findDepths(used: usize): void {
  let leaf: usize = 0;
  let root: usize = 0;
  for (let node: usize = 0; node < used - 1; node++) {
    let weight: u32 = 0;
    for (let child = 0; child < 2; child++) {
      if (leaf >= used || (root < node && get(TREE, root) < get(TREE, leaf))) {
        weight += get(TREE, root);
        set(TREE, root++, <u32>node);
      } else weight += get(TREE, leaf++);
    }
    set(TREE, node, weight);
  }
  set(TREE, used - 2, 0);
  for (let node: isize = <isize>used - 3; node >= 0; node--) set(TREE, node, get(TREE, get(TREE, node)) + 1);
  let open: isize = 1;
  let inner: isize = <isize>used - 2;
  let place: isize = <isize>used - 1;
  for (let depth: u32 = 0; open > 0; depth++) {
    let nodes: isize = 0;
    while (inner >= 0 && get(TREE, inner) == depth) {
      nodes++;
      inner--;
    }
    for (; open > nodes; open--) set(TREE, place--, depth);
    open = nodes << 1;
  }
}

/**
 * Counts the codes of each length in CODES_OF_LENGTH, none longer than `longest`. Where that breaks Kraft's
 * inequality, a shorter code becomes two that are one bit longer, and one of the longest takes the second.
 */
function limitLengths(used: usize, longest: u32): void {
  memory.fill(CODES_OF_LENGTH, 0, 64);
  let total: u32 = 0;
  for (let i: usize = 0; i < used; i++) {
    const length = min(get(TREE, i), longest);
    set(CODES_OF_LENGTH, length, get(CODES_OF_LENGTH, length) + 1);
    total += 1 << (longest - length);
  }
  for (; total > <u32>1 << longest; total--) {
    let length = longest - 1;
    while (get(CODES_OF_LENGTH, length) == 0) length--;
    set(CODES_OF_LENGTH, length, get(CODES_OF_LENGTH, length) - 1);
    set(CODES_OF_LENGTH, length + 1, get(CODES_OF_LENGTH, length + 1) + 2);
    set(CODES_OF_LENGTH, longest, get(CODES_OF_LENGTH, longest) - 1);
  }
}

/** Lengths (u8) of a Huffman code for `size` symbols; at least two get one, as some decoders need a complete code. */
export function findLengths(counts: usize, lengths: usize, size: usize, longest: u32): void {
  memory.fill(lengths, 0, size);
  let used: usize = 0;
  for (let symbol: usize = 0; symbol < size; symbol++) {
    const count = min<u32>(get(counts, symbol), 65535);
    if (count > 0) set(SORT_KEYS, used++, (count << 16) | <u32>symbol);
  }
  if (used < 2) {
    const symbol = used == 0 ? 0 : get(SORT_KEYS, 0) & 0xffff;
    store<u8>(lengths + symbol, 1);
    store<u8>(lengths + (symbol == 0 ? 1 : 0), 1);
    return;
  }
  sortKeys(used);
  for (let i: usize = 0; i < used; i++) set(TREE, i, get(SORT_KEYS, i) >>> 16);
  findDepths(used);
  limitLengths(used, longest);
  let i: usize = 0;
  for (let length = longest; length > 0; length--)
    for (let left = get(CODES_OF_LENGTH, length); left > 0; left--)
      store<u8>(lengths + (get(SORT_KEYS, i++) & 0xffff), length);
}

/** The lowest `length` bits in reverse: codes are packed from the most significant bit (RFC 1951, 3.1.1). */
function reverse(code: u32, length: u32): u32 {
  code = ((code & 0x5555) << 1) | ((code >>> 1) & 0x5555);
  code = ((code & 0x3333) << 2) | ((code >>> 2) & 0x3333);
  code = ((code & 0x0f0f) << 4) | ((code >>> 4) & 0x0f0f);
  code = ((code & 0x00ff) << 8) | (code >>> 8);
  return code >>> (16 - length);
}

/** Codes for lengths (RFC 1951, 3.2.2), each code << 5 | length. */
export function makeCodes(lengths: usize, codes: usize, size: usize): void {
  memory.fill(CODES_OF_LENGTH, 0, 64);
  for (let symbol: usize = 0; symbol < size; symbol++) {
    const length = load<u8>(lengths + symbol);
    set(CODES_OF_LENGTH, length, get(CODES_OF_LENGTH, length) + 1);
  }
  set(CODES_OF_LENGTH, 0, 0);
  let code: u32 = 0;
  for (let length: usize = 1; length < 16; length++) {
    code = (code + get(CODES_OF_LENGTH, length - 1)) << 1;
    set(NEXT_CODE, length, code);
  }
  for (let symbol: usize = 0; symbol < size; symbol++) {
    const length = <u32>load<u8>(lengths + symbol);
    if (length == 0) continue;
    const own = get(NEXT_CODE, length);
    set(NEXT_CODE, length, own + 1);
    set(codes, symbol, (reverse(own, length) << 5) | length);
  }
}
