import { hash5 } from './hashes.ts';
import { addBlock, base, byteAt, eightAt, fourAt, historySize, sameBytes } from './history.ts';
import { FARTHEST, MARGIN, SEQUENCES, SHORT_TABLE } from './layout.ts';
import { endSequences, putSequence } from './tokens.ts';

const BITS: u64 = 15;

/** Where five bytes were last, if anywhere; now they are at `position`. */
// @ts-ignore: decorator
@inline
function swap(eight: u64, position: i32): i32 {
  const place = hash5(eight, BITS) << 2;
  const before = load<i32>(place, SHORT_TABLE);
  store<i32>(place, position, SHORT_TABLE);
  return before;
}

/** Finds the matches of `size` bytes of the block, and puts and counts them with the literals; nothing without a match. */
export function encodeLevel1(size: i32): void {
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
    let t: i32 = 0;
    while (true) {
      next = s + 2 + ((s - literals) >> 5);
      if (next > limit) {
        return endSequences(sequence, literals, end);
      }
      const after = eightAt(next);
      t = swap(eight, s + cur) - cur;
      if (s - t < FARTHEST && <u32>eight == fourAt(t)) {
        swap(after, next + cur);
        break;
      }
      eight = after;
      s = next++;
      t = swap(eight, s + cur) - cur;
      if (s - t < FARTHEST && <u32>eight == fourAt(t)) {
        // The original puts this position where the one before it belongs.
        swap(eight, next + cur);
        break;
      }
      eight >>= 8;
      s = next;
    }
    while (true) {
      let length = sameBytes(s + 4, t + 4, end) + 4;
      for (; t > 0 && s > literals && byteAt(t - 1) == byteAt(s - 1); length++) {
        s--;
        t--;
      }
      sequence = putSequence(sequence, literals, s, length, s - t);
      s += length;
      literals = s;
      if (next >= s) s = next + 1;
      if (s >= limit) {
        if (s + length + 8 < end) swap(eightAt(s), s + cur);
        return endSequences(sequence, literals, end);
      }
      let pairs = eightAt(s - 2);
      swap(pairs, s - 2 + cur);
      pairs >>= 16;
      t = swap(pairs, s + cur) - cur;
      if (s - t > FARTHEST || <u32>pairs != fourAt(t)) {
        eight = pairs >> 8;
        s++;
        break;
      }
    }
  }
}
