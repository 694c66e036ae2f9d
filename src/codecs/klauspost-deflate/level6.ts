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

/** Puts positions in the tables: every one in the long one, every second in the short one. */
function insertMatch(i: i32, to: i32): void {
  for (; i < to; i += 2) {
    const eight = eightAt(i);
    enter(eight, i + base);
    pushPair(longPlace(eight >> 8), i + 1 + base);
  }
}

/** The same at the end of the block: every second position. */
function insertEnd(i: i32, to: i32): void {
  for (; i < to; i += 2) {
    const eight = eightAt(i);
    enter(eight, i + base);
  }
}

/** Finds the matches of `size` bytes of the block, and puts and counts them with the literals; nothing without a match. */
export function encodeLevel6(size: i32): void {
  let s = addBlock(size);
  if (size < MARGIN + 2) return;
  const end = historySize;
  const limit = end - MARGIN;
  const cur = base;
  let sequence: usize = SEQUENCES;
  let literals = s;
  let repeat: i32 = 1;
  let eight = eightAt(s);
  while (true) {
    let next = s;
    let length: i32 = 0;
    let t: i32 = 0;
    while (true) {
      s = next;
      next = s + 1 + ((s - literals) >> 7);
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
        // The distance of the match before, one byte further on.
        let t2 = s - repeat + 1;
        if (fourAt(t2) == <u32>(eight >> 8)) {
          const other = lengthOf(s + 1, t2, end);
          if (other > length) {
            t = t2;
            length = other;
            s++;
            break;
          }
        }
        t2 = lastOf(nextPair) - cur;
        if (next - t2 < FARTHEST) {
          if (fourAt(t2) == <u32>after) {
            const other = lengthOf(next, t2, end);
            if (other > length) {
              t = t2;
              s = next;
              length = other;
            }
          }
          t2 = earlierOf(nextPair) - cur;
          if (next - t2 < FARTHEST && fourAt(t2) == <u32>after) {
            const other = lengthOf(next, t2, end);
            if (other > length) {
              t = t2;
              s = next;
              length = other;
            }
          }
        }
        break;
      }
      eight = after;
    }

    if (length == 0) length = sameBytes(s + 4, t + 4, end) + 4;
    else if (length == LONGEST) length += sameBytes(s + length, t + length, end);

    if (s + length < limit) {
      // Matches that end later: their first bytes may be unlike.
      const pair = getPair(longPlace(eightAt(s + length)));
      const s2 = s + skipped;
      let t2 = lastOf(pair) - cur - length + skipped;
      if (s2 - t2 < FARTHEST) {
        if (s2 - t2 > 0 && t2 >= 0) {
          const other = sameBytes(s2, t2, end);
          if (other > length) {
            t = t2;
            length = other;
            s = s2;
          }
        }
        t2 = earlierOf(pair) - cur - length + skipped;
        if (s2 - t2 > 0 && s2 - t2 < FARTHEST && t2 >= 0) {
          const other = sameBytes(s2, t2, end);
          if (other > length) {
            t = t2;
            length = other;
            s = s2;
          }
        }
      }
    }
    for (; t > 0 && s > literals && byteAt(t - 1) == byteAt(s - 1); length++) {
      s--;
      t--;
    }
    sequence = putSequence(sequence, literals, s, length, s - t);
    repeat = s - t;
    s += length;
    literals = s;
    const from = next + 1;
    if (next >= s) s = next + 1;
    if (s >= limit) {
      insertEnd(from, end - 8);
      return endSequences(sequence, literals, end);
    }
    insertMatch(from, s - 1);
    eight = eightAt(s);
  }
}
