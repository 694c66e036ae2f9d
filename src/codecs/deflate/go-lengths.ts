import { headerSize, listLengths } from './header.ts';
import { sortKeys } from './huffman.ts';
import {
  DISTANCE_COUNTS,
  DISTANCE_LENGTHS,
  LEAVES,
  LEAVES_SIZE,
  LENGTH_COUNTS,
  LENGTH_LENGTHS,
  LITERAL_COUNTS,
  LITERAL_LENGTHS,
  MERGED,
  MERGED_SIZE,
  SORT_KEYS,
} from './layout.ts';

// @ts-ignore: decorator
@inline
function weightOf(leaf: usize): u32 {
  return load<u32>(SORT_KEYS + (leaf << 2)) >>> 16;
}

/**
 * The nodes of a level, ascending: the leaves, and pairs of neighbours of the level below. Of equal weights the pair
 * comes first (Go 1.19, compress/flate/huffman_code.go: bitCounts).
 * @returns how many nodes there are, at most 2 * used - 2
 */
function mergeLevel(below: usize, belowSize: usize, level: usize, used: usize, leaves: usize): usize {
  const size = min(used + (belowSize >> 1), 2 * used - 2);
  const pairs = belowSize >> 1;
  let leaf: usize = 0;
  let pair: usize = 0;
  for (let node: usize = 0; node < size; node++) {
    const leafWeight: u32 = leaf < used ? weightOf(leaf) : u32.MAX_VALUE;
    const pairWeight: u32 =
      pair < pairs ? load<u32>(below + (pair << 3)) + load<u32>(below + (pair << 3), 4) : u32.MAX_VALUE;
    const isLeaf = leafWeight < pairWeight;
    store<u32>(level + (node << 2), select(leafWeight, pairWeight, isLeaf));
    leaf += <usize>isLeaf;
    pair += <usize>!isLeaf;
    if ((node & 1) == 1) store<u16>(leaves + node - 1, leaf);
  }
  return size;
}

/**
 * Lengths (u8) of the Huffman code that Go gives `size` symbols: package-merge, "A Fast Algorithm for Optimal
 * Length-Limited Huffman Codes" (Larmore and Hirschberg, 1990), whose ties decide between codes of equal size. A
 * symbol with a count gets 1 bit where there are one or two of them; none gets more than `longest`.
 */
export function findLengths(counts: usize, lengths: usize, size: usize, longest: u32): void {
  memory.fill(lengths, 0, size);
  let used: usize = 0;
  for (let symbol: usize = 0; symbol < size; symbol++) {
    const count = load<u32>(counts + (symbol << 2));
    if (count == 0) continue;
    store<u32>(SORT_KEYS + (used << 2), (count << 16) | <u32>symbol);
    store<u8>(lengths + symbol, 1);
    used++;
  }
  if (used <= 2) return;
  sortKeys(used);
  const levels = min<usize>(longest, used - 1);
  for (let leaf: usize = 0; leaf < used; leaf++) store<u32>(MERGED + (leaf << 2), weightOf(leaf));
  for (let node: usize = 1; node < used; node += 2) store<u16>(LEAVES + node - 1, node + 1);
  let below: usize = MERGED;
  let belowSize = used;
  let leaves: usize = LEAVES;
  for (let level: usize = 1; level < levels; level++) {
    const other: usize = 2 * MERGED + MERGED_SIZE - below;
    leaves += LEAVES_SIZE;
    belowSize = mergeLevel(below, belowSize, other, used, leaves);
    below = other;
  }
  // The code of a leaf is as long as there are levels from which it is taken.
  for (let leaf: usize = 0; leaf < used; leaf++)
    store<u8>(lengths + (load<u32>(SORT_KEYS + (leaf << 2)) & 0xffff), 0);
  for (let nodes: usize = 2 * used - 2; nodes > 0; leaves -= LEAVES_SIZE) {
    const taken: usize = load<u16>(leaves + nodes - 2);
    for (let leaf: usize = 0; leaf < taken; leaf++) {
      const length = lengths + (load<u32>(SORT_KEYS + (leaf << 2)) & 0xffff);
      store<u8>(length, load<u8>(length) + 1);
    }
    nodes = (nodes - taken) << 1;
  }
}

/** Prepares the header of a block, see `listLengths`. @returns its size in bits */
export function prepareHeader(isFull: bool): u32 {
  listLengths(isFull);
  findLengths(LENGTH_COUNTS, LENGTH_LENGTHS, 19, 7);
  return 3 + headerSize();
}

/** Makes the lengths of the codes that a block has for itself, and prepares its header. @returns its size in bits */
export function findOwnLengths(isFull: bool): u32 {
  findLengths(LITERAL_COUNTS, LITERAL_LENGTHS, 288, 15);
  findLengths(DISTANCE_COUNTS, DISTANCE_LENGTHS, 30, 15);
  return prepareHeader(isFull);
}
