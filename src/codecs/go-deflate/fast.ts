import { putStored } from '../deflate/bits.ts';
import { clearCounts, countLiterals } from '../deflate/codes.ts';
import { lengthOf, putMatch } from '../deflate/matches.ts';
import { MOST_STORED, putOwnOrStored } from './block.ts';
import { FARTHEST, SEQUENCES, TABLE, TABLE_BITS, WINDOW } from './layout.ts';

/** No match begins in the last bytes of a block (Go 1.19, compress/flate/deflatefast.go: inputMargin). */
const MARGIN: usize = 15;
const LONGEST: usize = 258;
/** At this position in the stream, those in the table are lowered: they are 32 bits wide. */
const HIGHEST: u32 = 0x7f000000;

/** The position of the block in the stream, such that an empty place of the table is too far back. */
let base: u32 = 0;

export function startFast(): void {
  base = <u32>MOST_STORED;
  memory.fill(TABLE, 0, 4 << TABLE_BITS);
}

// @ts-ignore: decorator
@inline
function placeOf(four: u32): usize {
  return ((four * 0x1e35a7bd) >>> (32 - TABLE_BITS)) << 2;
}

/** Puts a position in the table. @returns how far back the one lies that was there */
// @ts-ignore: decorator
@inline
function enter(at: u32, place: usize): u32 {
  const back = at - load<u32>(place, TABLE);
  store<u32>(place, at, TABLE);
  return back;
}

function lowerTable(): void {
  const by = base - <u32>MOST_STORED;
  for (let place: usize = 0; place < 4 << TABLE_BITS; place += 4) {
    const at = load<u32>(place, TABLE);
    store<u32>(place, at > by ? at - by : 0, TABLE);
  }
  base -= by;
}

/** Writes the block as literals or stored. */
export function putLiterals(size: usize): void {
  clearCounts();
  countLiterals(WINDOW, WINDOW + size);
  store<u32>(SEQUENCES, <u32>size << 9);
  putOwnOrStored(WINDOW, size);
}

/**
 * Level 1 (Go 1.19, compress/flate/deflatefast.go: encode): greedy, one candidate a hash. After each 32 bytes without a
 * match the step is longer by one. @returns how many tokens there are
 */
function findMatches(size: usize): usize {
  const end = WINDOW + size;
  const stop = end - MARGIN;
  const shift = base - <u32>WINDOW;
  let tokens = size;
  let sequence: usize = SEQUENCES;
  let literals: usize = WINDOW;
  let at: usize = WINDOW;
  let four = load<u32>(at);
  let place = placeOf(four);
  do {
    let skip: usize = 32;
    let after = at;
    let back: u32 = 0;
    for (;;) {
      at = after;
      const step = skip >> 5;
      after += step;
      skip += step;
      if (after > stop) break;
      back = enter(<u32>at + shift, place);
      const following = load<u32>(after);
      place = placeOf(following);
      if (back <= <u32>FARTHEST && load<u32>(at - back) == four) break;
      four = following;
    }
    if (after > stop) break;
    countLiterals(literals, at);
    for (;;) {
      const length = lengthOf(at, back, min(LONGEST, end - at));
      putMatch(sequence, at - literals, length, back - 1);
      sequence += 8;
      tokens -= length - 1;
      at += length;
      literals = at;
      if (at >= stop) break;
      const eight = load<u64>(at - 1);
      store<u32>(placeOf(<u32>eight), <u32>at + shift - 1, TABLE);
      four = <u32>(eight >> 8);
      back = enter(<u32>at + shift, placeOf(four));
      if (back > <u32>FARTHEST || load<u32>(at - back) != four) {
        four = <u32>(eight >> 16);
        place = placeOf(four);
        at++;
        break;
      }
    }
  } while (at < stop);
  countLiterals(literals, end);
  store<u32>(sequence, <u32>(end - literals) << 9);
  return tokens;
}

/** Writes a block of 65535 bytes, or the last one, which is shorter (Go 1.19, compress/flate/deflate.go: encSpeed). */
export function putFast(size: usize): void {
  if (size == 0) return;
  if (size <= 16) return putStored(WINDOW, size, false);
  if (size < 128) return putLiterals(size);
  if (base > HIGHEST) lowerTable();
  clearCounts();
  if (findMatches(size) > size - (size >> 4)) putLiterals(size);
  else putOwnOrStored(WINDOW, size);
  base += <u32>size;
  memory.copy(WINDOW - FARTHEST, WINDOW + size - FARTHEST, FARTHEST);
}
