import { addBlock, base, byteAt, eightAt, fourAt, historySize, sameBytes } from './history.ts';
import { FARTHEST, LONGEST, MARGIN, SEQUENCES } from './layout.ts';
import {
  earlierOf,
  enter,
  getPair,
  getShort,
  lastOf,
  lengthOf,
  longPlace,
  pushPair,
  setShort,
  shortPlace,
  skipped,
} from './long-short.ts';
import { endSequences, putSequence } from './tokens.ts';

/** A match shorter than this is compared to one that is found by its end. */
const SHORT: i32 = 30;

/** Puts the positions within the match that ends at `s` in the tables: two of three in the short one and in the long one. */
function insertMatch(from: i32, s: i32): void {
  let i = from + 1;
  if (i >= s - 1) return;
  let eight = eightAt(i);
  enter(eight, i + base);
  eight >>= 8;
  pushPair(longPlace(eight), i + 1 + base);
  eight >>= 8;
  setShort(shortPlace(<u32>eight), i + 2 + base);
  for (i += 4; i < s - 1; i += 3) {
    eight = eightAt(i);
    pushPair(longPlace(eight), i + base);
    setShort(shortPlace(<u32>(eight >> 8)), i + 1 + base);
  }
}

/** Finds the matches of `size` bytes of the block, and puts and counts them with the literals; nothing without a match. */
export function encodeLevel5(size: i32): void {
  let s = addBlock(size);
  if (size < MARGIN + 2) return;
  const end = historySize;
  const limit = end - MARGIN;
  const cur = base;
  let sequence: usize = SEQUENCES;
  let literals = s;
  let eight = eightAt(s);
  while (true) {
    let next = s;
    let length: i32 = 0;
    let t: i32 = 0;
    while (true) {
      s = next;
      next = s + 1 + ((s - literals) >> 6);
      if (next > limit) {
        return endSequences(sequence, literals, end);
      }
      const four = <u32>eight;
      const place = shortPlace(four);
      const short = getShort(place);
      const after = eightAt(next);
      setShort(place, s + cur);
      const pair = pushPair(longPlace(eight), s + cur);
      t = lastOf(pair) - cur;
      if (s - t < FARTHEST) {
        const t2 = earlierOf(pair) - cur;
        if (four == fourAt(t)) {
          enter(after, next + cur);
          if (s - t2 < FARTHEST && four == fourAt(t2)) {
            length = lengthOf(s, t, end);
            const other = lengthOf(s, t2, end);
            if (other > length) {
              t = t2;
              length = other;
            }
          }
          break;
        }
        if (s - t2 < FARTHEST && four == fourAt(t2)) {
          t = t2;
          enter(after, next + cur);
          break;
        }
      }
      t = short - cur;
      if (s - t < FARTHEST && four == fourAt(t)) {
        length = lengthOf(s, t, end);
        const nextPair = enter(after, next + cur);
        let t2 = lastOf(nextPair) - cur;
        if (next - t2 < FARTHEST) {
          let other: i32 = 0;
          if (fourAt(t2) == <u32>after) other = lengthOf(next, t2, end);
          if (other <= length) {
            t2 = earlierOf(nextPair) - cur;
            if (next - t2 < FARTHEST && fourAt(t2) == <u32>after) other = lengthOf(next, t2, end);
          }
          if (other > length) {
            t = t2;
            s = next;
            length = other;
          }
        }
        break;
      }
      eight = after;
    }

    if (length == 0) length = sameBytes(s + 4, t + 4, end) + 4;
    else if (length == LONGEST) length += sameBytes(s + length, t + length, end);

    if (length < SHORT && s + length < limit) {
      // A match that ends later: its first bytes may be unlike.
      const t2 = lastOf(getPair(longPlace(eightAt(s + length)))) - cur - length + skipped;
      const s2 = s + skipped;
      if (t2 >= 0 && s2 - t2 < FARTHEST && s2 - t2 > 0) {
        const other = sameBytes(s2, t2, end);
        if (other > length) {
          t = t2;
          length = other;
          s = s2;
        }
      }
    }
    for (; t > 0 && s > literals && byteAt(t - 1) == byteAt(s - 1); length++) {
      s--;
      t--;
    }
    sequence = putSequence(sequence, literals, s, length, s - t);
    s += length;
    literals = s;
    if (next >= s) s = next + 1;
    if (s >= limit) {
      return endSequences(sequence, literals, end);
    }
    insertMatch(s - length, s);
    const last = eightAt(s - 1);
    enter(last, s - 1 + cur);
    eight = last >> 8;
  }
}
