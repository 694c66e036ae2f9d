import { BLOCK, BLOCK_SIZE, FARTHEST, HISTORY, SHORT_TABLE, TABLES_END } from './layout.ts';

/** How many bytes the history holds: matches are extended no further back than to its beginning. */
const CAPACITY: i32 = 5 * BLOCK_SIZE;
/** Positions in the tables are made smaller before they reach 2^31. */
const HIGH: i32 = 1 << 30;

/** How many bytes are in the history. */
export let historySize: i32 = 0;
/** What a position in the history has added to it in the tables, so that it stays when the history moves. */
export let base: i32 = 0;

/** Begins a stream: all positions in the tables are out of reach. */
export function clearHistory(): void {
  memory.fill(SHORT_TABLE, 0, TABLES_END - SHORT_TABLE);
  historySize = 0;
  base = 2 * FARTHEST;
}

/** Puts all that came before out of reach. */
export function forgetHistory(): void {
  base += FARTHEST + historySize;
  historySize = 0;
}

function lowerPositions(): void {
  const out = base + historySize - FARTHEST;
  for (let at = SHORT_TABLE; at < TABLES_END; at += 4) {
    const position = load<i32>(at);
    store<i32>(at, position <= out ? 0 : position - base + FARTHEST);
  }
  base = FARTHEST;
}

/** Appends `size` bytes of the block; where there is no room, only the last 32 KiB before them stay. @returns where they begin */
export function addBlock(size: i32): i32 {
  if (base >= HIGH) lowerPositions();
  if (historySize + size > CAPACITY) {
    memory.copy(HISTORY, HISTORY + historySize - FARTHEST, FARTHEST);
    base += historySize - FARTHEST;
    historySize = FARTHEST;
  }
  const start = historySize;
  memory.copy(HISTORY + start, BLOCK, size);
  historySize += size;
  return start;
}

// @ts-ignore: decorator
@inline
export function fourAt(position: i32): u32 {
  return load<u32>(<usize>position, HISTORY);
}
// @ts-ignore: decorator
@inline
export function eightAt(position: i32): u64 {
  return load<u64>(<usize>position, HISTORY);
}
// @ts-ignore: decorator
@inline
export function byteAt(position: i32): u32 {
  return load<u8>(<usize>position, HISTORY);
}

/** How many bytes from `a` on, `end` at most, are the same as from `b` on. */
// @ts-ignore: decorator
@inline
export function sameBytes(a: i32, b: i32, end: i32): i32 {
  const start = a;
  for (; a + 8 <= end; a += 8, b += 8) {
    const difference = eightAt(a) ^ eightAt(b);
    if (difference != 0) return a - start + <i32>(ctz(difference) >> 3);
  }
  const difference = eightAt(a) ^ eightAt(b);
  return min(a - start + (difference == 0 ? 8 : <i32>(ctz(difference) >> 3)), end - start);
}
