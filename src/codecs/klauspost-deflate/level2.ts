import { hash5 } from './hashes.ts';
import { addBlock, base, byteAt, eightAt, fourAt, historySize, sameBytes } from './history.ts';
import { FARTHEST, HISTORY, LONG_TABLE } from './layout.ts';
import { putLiterals, putMatch, setTokensEnd, tokensEnd } from './tokens.ts';

/** No match begins in so many bytes at the end. */
const MARGIN: i32 = 11;
const BITS: u64 = 17;

/** Where five bytes were last, if anywhere; now they are at `position`. */
// @ts-ignore: decorator
@inline
function swap(eight: u64, position: i32): i32 {
  const place = hash5(eight, BITS) << 2;
  const before = load<i32>(place, LONG_TABLE);
  store<i32>(place, position, LONG_TABLE);
  return before;
}

/** Puts positions within the match that ends at `s` in the table: three of seven. */
function insertMatch(i: i32, s: i32): void {
  for (i += 2; i < s - 5; i += 7) {
    const eight = eightAt(i);
    swap(eight, i + base);
    swap(eight >> 16, i + 2 + base);
    swap(eight >> 32, i + 4 + base);
  }
}

/** Finds the matches of `size` bytes of the block, and puts tokens; none if there is no match. */
export function encodeLevel2(size: i32): void {
  let s = addBlock(size);
  if (size < MARGIN + 2) return;
  const end = historySize;
  const limit = end - MARGIN;
  const cur = base;
  let token = tokensEnd;
  let literals = s;
  let eight = eightAt(s);
  while (true) {
    let next = s;
    let t: i32 = 0;
    while (true) {
      s = next;
      next = s + 2 + ((s - literals) >> 5);
      if (next > limit) {
        if (token != tokensEnd && literals < end) token = putLiterals(token, HISTORY + literals, HISTORY + end);
        setTokensEnd(token);
        return;
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
      if (s - t < FARTHEST && <u32>eight == fourAt(t)) break;
      eight >>= 8;
    }
    while (true) {
      let length = sameBytes(s + 4, t + 4, end) + 4;
      for (; t > 0 && s > literals && byteAt(t - 1) == byteAt(s - 1); length++) {
        s--;
        t--;
      }
      token = putLiterals(token, HISTORY + literals, HISTORY + s);
      token = putMatch(token, length, <u32>(s - t - 1));
      s += length;
      literals = s;
      if (next >= s) s = next + 1;
      if (s >= limit) {
        if (s + length + 8 < end) swap(eightAt(s), s + cur);
        if (literals < end) token = putLiterals(token, HISTORY + literals, HISTORY + end);
        setTokensEnd(token);
        return;
      }
      insertMatch(s - length, s);
      const around = eightAt(s - 2);
      swap(around, s - 2 + cur);
      swap(around >> 8, s - 1 + cur);
      const here = around >> 16;
      t = swap(here, s + cur) - cur;
      if (s - t > FARTHEST || <u32>here != fourAt(t)) {
        eight = here >> 8;
        s++;
        break;
      }
    }
  }
}
