import { hash4, hash7 } from './hashes.ts';
import { sameBytes } from './history.ts';
import { LONG_TABLE, LONGEST, SHORT_TABLE } from './layout.ts';

/*
 * The tables of levels 5 and 6: where four bytes were last (short), and where seven bytes were the last two times
 * (long). A pair of those is a u64, the last time in its lower half.
 */
const BITS: u32 = 15;

/** How many bytes at the beginning of a match that is found by its end may be unlike at first. */
export let skipped: i32 = 2;

export function setSkipped(bytes: i32): void {
  skipped = bytes;
}

// @ts-ignore: decorator
@inline
export function shortPlace(four: u32): usize {
  return hash4(four, BITS) << 2;
}
// @ts-ignore: decorator
@inline
export function longPlace(eight: u64): usize {
  return hash7(eight, BITS) << 3;
}
// @ts-ignore: decorator
@inline
export function getShort(place: usize): i32 {
  return load<i32>(place, SHORT_TABLE);
}
// @ts-ignore: decorator
@inline
export function setShort(place: usize, position: i32): void {
  store<i32>(place, position, SHORT_TABLE);
}
// @ts-ignore: decorator
@inline
export function getPair(place: usize): u64 {
  return load<u64>(place, LONG_TABLE);
}
// @ts-ignore: decorator
@inline
export function lastOf(pair: u64): i32 {
  return <i32>pair;
}
// @ts-ignore: decorator
@inline
export function earlierOf(pair: u64): i32 {
  return <i32>(pair >> 32);
}
/** @returns the pair as it was */
// @ts-ignore: decorator
@inline
export function pushPair(place: usize, position: i32): u64 {
  const pair = getPair(place);
  store<u64>(place, (pair << 32) | <u64>(<u32>position), LONG_TABLE);
  return pair;
}

/** Puts a position in both tables. @returns the pair as it was */
// @ts-ignore: decorator
@inline
export function enter(eight: u64, position: i32): u64 {
  setShort(shortPlace(<u32>eight), position);
  return pushPair(longPlace(eight), position);
}

/** The length of the match at `s` and `t`, whose first four bytes are the same, up to the longest of one token. */
// @ts-ignore: decorator
@inline
export function lengthOf(s: i32, t: i32, end: i32): i32 {
  return sameBytes(s + 4, t + 4, min(s + LONGEST, end)) + 4;
}
