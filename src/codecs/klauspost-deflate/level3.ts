import { hash5 } from './hashes.ts';
import { addBlock, base, byteAt, eightAt, fourAt, historySize, sameBytes } from './history.ts';
import { FARTHEST, HISTORY } from './layout.ts';
import { earlierOf, lastOf, pushPair } from './long-short.ts';
import { putLiterals, putMatch, setTokensEnd, tokensEnd } from './tokens.ts';

/** No match begins in so many bytes at the end. */
const MARGIN: i32 = 11;
const BITS: u64 = 16;

/** Where five bytes were the last two times; now they are at `position`. */
// @ts-ignore: decorator
@inline
function push(eight: u64, position: i32): u64 {
  return pushPair(hash5(eight, BITS) << 3, position);
}

/** Puts positions within the match that ends at `s` in the table: every sixth. */
function insertMatch(i: i32, s: i32): void {
  for (i += 2; i < s - 5; i += 6) push(eightAt(i), i + base);
}

/** Finds the matches of `size` bytes of the block, and puts tokens; none if there is no match. */
export function encodeLevel3(size: i32): void {
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
      next = s + 1 + ((s - literals) >> 7);
      if (next > limit) {
        if (token != tokensEnd && literals < end) token = putLiterals(token, HISTORY + literals, HISTORY + end);
        setTokensEnd(token);
        return;
      }
      const after = eightAt(next);
      const first = s - (FARTHEST - 4);
      const pair = push(eight, s + cur);
      t = lastOf(pair) - cur;
      if (t >= first) {
        const t2 = earlierOf(pair) - cur;
        const four = <u32>eight;
        if (four == fourAt(t)) {
          if (t2 >= first && four == fourAt(t2) && sameBytes(s + 4, t2 + 4, end) > sameBytes(s + 4, t + 4, end)) t = t2;
          break;
        }
        t = t2;
        if (t > first && four == fourAt(t)) break;
      }
      eight = after;
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
        t += length;
        if (t + 8 < end && t > 0) push(eightAt(t), t + cur);
        if (literals < end) token = putLiterals(token, HISTORY + literals, HISTORY + end);
        setTokensEnd(token);
        return;
      }
      insertMatch(s - length, s);
      const around = eightAt(s - 2);
      push(around, s - 2 + cur);
      push(around >> 8, s - 1 + cur);
      const here = around >> 16;
      const pair = push(here, s + cur);
      const first = s - (FARTHEST - 4);
      t = lastOf(pair) - cur;
      if (t > first) {
        if (<u32>here == fourAt(t)) continue;
        t = earlierOf(pair) - cur;
        if (t > first && <u32>here == fourAt(t)) continue;
      }
      eight = here >> 8;
      s++;
      break;
    }
  }
}
