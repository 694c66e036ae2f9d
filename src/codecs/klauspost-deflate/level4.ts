import { hash7 } from './hashes.ts';
import { addBlock, base, byteAt, eightAt, fourAt, historySize, sameBytes } from './history.ts';
import { FARTHEST, HISTORY, LONG_TABLE } from './layout.ts';
import { getShort, setShort, shortPlace } from './long-short.ts';
import { putLiterals, putMatch, setTokensEnd, tokensEnd } from './tokens.ts';

/** No match begins in so many bytes at the end. */
const MARGIN: i32 = 11;
const BITS: u64 = 15;

/** Whether the next match is compared at its distance instead of its position, which the original does since 1.18.0. */
let isMisplaced: bool = false;

export function setMisplaced(misplaced: bool): void {
  isMisplaced = misplaced;
}

// @ts-ignore: decorator
@inline
function place(eight: u64): usize {
  return hash7(eight, BITS) << 2;
}
// @ts-ignore: decorator
@inline
function getLong(at: usize): i32 {
  return load<i32>(at, LONG_TABLE);
}
// @ts-ignore: decorator
@inline
function setLong(at: usize, position: i32): void {
  store<i32>(at, position, LONG_TABLE);
}

/** Puts positions within a match in the tables: of three, two in the long one and one in the short one. */
function insertMatch(i: i32, s: i32): void {
  for (; i < s - 1; i += 3) {
    const eight = eightAt(i);
    setLong(place(eight), i + base);
    setLong(place(eight >> 8), i + 1 + base);
    setShort(shortPlace(<u32>(eight >> 8)), i + 1 + base);
  }
}

/** Finds the matches of `size` bytes of the block, and puts tokens; none if there is no match. */
export function encodeLevel4(size: i32): void {
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
      next = s + 1 + ((s - literals) >> 6);
      if (next > limit) {
        if (token != tokensEnd && literals < end) token = putLiterals(token, HISTORY + literals, HISTORY + end);
        setTokensEnd(token);
        return;
      }
      const four = <u32>eight;
      const shortAt = shortPlace(four);
      const longAt = place(eight);
      const short = getShort(shortAt);
      t = getLong(longAt) - cur;
      const after = eightAt(next);
      setShort(shortAt, s + cur);
      setLong(longAt, s + cur);
      if (s - t < FARTHEST && four == fourAt(t)) break;
      t = short - cur;
      if (s - t < FARTHEST && four == fourAt(t)) {
        const t2 = getLong(place(after)) - cur;
        if (next - t2 < FARTHEST && fourAt(t2) == <u32>after) {
          const other = sameBytes(next + 4, (isMisplaced ? next - t2 : t2) + 4, end);
          if (other > sameBytes(s + 4, t + 4, end)) {
            s = next;
            t = t2;
          }
        }
        break;
      }
      eight = after;
    }

    let length = sameBytes(s + 4, t + 4, end) + 4;
    for (; t > 0 && s > literals && byteAt(t - 1) == byteAt(s - 1); length++) {
      s--;
      t--;
    }
    token = putLiterals(token, HISTORY + literals, HISTORY + s);
    token = putMatch(token, length, <u32>(s - t - 1));
    s += length;
    literals = s;
    const from = next;
    if (next >= s) s = next + 1;
    if (s >= limit) {
      if (s + 8 < end) {
        const last = eightAt(s);
        setShort(shortPlace(<u32>last), s + cur);
        setLong(place(last), s + cur);
      }
      if (literals < end) token = putLiterals(token, HISTORY + literals, HISTORY + end);
      setTokensEnd(token);
      return;
    }
    insertMatch(from, s);
    const last = eightAt(s - 1);
    setShort(shortPlace(<u32>last), s - 1 + cur);
    setLong(place(last), s - 1 + cur);
    eight = last >> 8;
  }
}
