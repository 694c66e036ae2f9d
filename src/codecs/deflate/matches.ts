import {
  DISTANCE_COUNTS,
  HASH_BITS,
  HASH_TABLE,
  LITERAL_COUNTS,
  LONG_TABLE,
  MATCH_SYMBOLS,
  SEQUENCES,
  TABLES_SIZE,
  WINDOW,
} from './layout.ts';

/** Deflate's longest match (RFC 1951, 3.2.5). */
const LONGEST: usize = 258;
/** No other candidate is tried if one is as long as this. */
const NICE: usize = 64;
/** A match shorter than this is not taken if there is a longer one at the next byte. 16: 0.1 % smaller, 7 % slower. */
const LAZY: usize = 8;

/** Of a match longer than this only the first 6 and last 6 positions go in the tables: 5 % faster, 0.3 % larger. */
const INSERTED: usize = 16;

/**
 * After 1024 literals the input is most likely compressed already, and only two of five positions are looked up; but for
 * 1024 of each 4096 all are, so that a copy of such input is found however it is aligned.
 */
const SKIPPING: usize = 3072;

/**
 * Empties the tables for input that begins at `start`. Positions are kept modulo 65536. The one that marks an empty
 * place is out of the window for the first 32764 positions, and after that any distance is a valid one, so that nothing
 * has to check where the input begins: the bytes decide whether there is a match. What the mark points at is below the
 * room for dictionaries, where the bytes never change: they decide how literals are paired, and so the output.
 */
export function clearTable(start: usize): void {
  const empty = i16x8.splat(<i16>(start + WINDOW - 4));
  for (let at: usize = HASH_TABLE; at < HASH_TABLE + TABLES_SIZE; at += 64) {
    v128.store(at, empty);
    v128.store(at, empty, 16);
    v128.store(at, empty, 32);
    v128.store(at, empty, 48);
  }
}

/** The place of four bytes. Fibonacci hashing: Knuth, The Art of Computer Programming, 6.4. */
// @ts-ignore: decorator
@inline
function placeOf(four: u32): usize {
  return ((four * 0x9e3779b1) >>> (32 - HASH_BITS)) << 1;
}

/** The bucket of the eight bytes at a place. */
// @ts-ignore: decorator
@inline
function bucketAt(at: usize): usize {
  return <usize>((load<u64>(at) * 0x9e3779b97f4a7c15) >>> (64 - HASH_BITS)) << 2;
}

/** Where the same four bytes were last, and in which two places the same eight bytes, the newest in the lower half. */
let last: u32 = 0;
let lastLong: u32 = 0;

/** Puts a position in the tables, and what they had in its place in `last` and `lastLong`. */
// @ts-ignore: decorator
@inline
function lookUp(at: usize, four: u32): void {
  const place = placeOf(four);
  last = load<u16>(place, HASH_TABLE);
  store<u16>(place, <u16>at, HASH_TABLE);
  const bucket = bucketAt(at);
  lastLong = load<u32>(bucket, LONG_TABLE);
  store<u32>(bucket, (lastLong << 16) | (<u32>at & 0xffff), LONG_TABLE);
}

// @ts-ignore: decorator
@inline
function insert(at: usize): void {
  store<u16>(placeOf(load<u32>(at)), <u16>at, HASH_TABLE);
  const bucket = bucketAt(at);
  store<u32>(bucket, (load<u32>(bucket, LONG_TABLE) << 16) | (<u32>at & 0xffff), LONG_TABLE);
}

/** Puts the positions from `from` until `to` in the tables. */
export function insertAll(from: usize, to: usize): void {
  for (; from < to; from++) insert(from);
}

/** How far back a position is, of which the lowest 16 bits are known. */
// @ts-ignore: decorator
@inline
function distanceTo(position: u32, at: usize): usize {
  return (at - position) & 0xffff;
}

/** Whether the same four bytes were there; it may still be out of the window. */
// @ts-ignore: decorator
@inline
function isPromising(at: usize, four: u32): bool {
  return load<u32>(at - distanceTo(last, at)) == four;
}

/** How many bytes are alike. Reads up to 15 bytes past `most`. */
// @ts-ignore: decorator
@inline
export function lengthOf(at: usize, distance: usize, most: usize): usize {
  const unlike = i8x16.bitmask(i8x16.ne(v128.load(at), v128.load(at - distance)));
  if (unlike != 0) return min(<usize>ctz(unlike), most);
  let length: usize = 16;
  while (length < most) {
    const rest = load<u64>(at + length) ^ load<u64>(at + length - distance);
    if (rest != 0) return min(length + <usize>(ctz(rest) >> 3), most);
    length += 8;
  }
  return most;
}

/** The longest match that has been found. */
let length: usize = 0;
let distance: usize = 0;

/** Takes a candidate that is longer than `length`, which is 3 at least. */
// @ts-ignore: decorator
@inline
function tryMatch(at: usize, back: usize, four: u32, most: usize): void {
  if (load<u32>(at - back) != four || back - 1 >= WINDOW) return;
  if (load<u32>(at - back + length - 3) != load<u32>(at + length - 3)) return;
  const alike = lengthOf(at, back, most);
  if (alike <= length) return;
  length = alike;
  distance = back;
}

/** Looks for a match that is longer than `length` among what `lookUp` found. @returns whether there is one */
// @ts-ignore: decorator
@inline
function findLonger(at: usize, four: u32, end: usize): bool {
  const before = length;
  const most = min(LONGEST, end - at);
  const near = distanceTo(last, at);
  tryMatch(at, near, four, most);
  if (length < NICE) {
    const newer = distanceTo(lastLong, at);
    if (newer != near) tryMatch(at, newer, four, most);
    if (length < NICE) tryMatch(at, distanceTo(lastLong >>> 16, at), four, most);
  }
  return length > before;
}

/** Puts the positions of a match in the tables, all or those at its ends, but for its first `known`, 1 or 2. */
// @ts-ignore: decorator
@inline
function insertMatch(at: usize, known: usize): void {
  const end = at + length;
  if (known == 1) insert(at + 1);
  insert(at + 2);
  insert(at + 3);
  at += 4;
  if (length > INSERTED) {
    insert(at);
    insert(at + 1);
    insert(at + 2);
    at = end - 6;
  }
  for (; at < end; at++) insert(at);
}

/** RFC 1951, 3.2.5: two symbols for each power of two. */
// @ts-ignore: decorator
@inline
function distanceSymbol(before: u32): u32 {
  if (before < 4) return before;
  const bits: u32 = 30 - clz(before);
  return (bits << 1) + (before >>> bits);
}

// @ts-ignore: decorator
@inline
export function increment(counts: usize, symbol: usize): void {
  store<u32>(counts + (symbol << 2), load<u32>(counts + (symbol << 2)) + 1);
}

// @ts-ignore: decorator
@inline
export function putMatch(sequence: usize, literals: usize, length: usize, before: u32): void {
  const symbol = distanceSymbol(before);
  store<u32>(sequence, (literals << 9) | length);
  store<u32>(sequence, (symbol << 16) | before, 4);
  increment(LITERAL_COUNTS, 257 + <usize>load<u8>(MATCH_SYMBOLS + length));
  increment(DISTANCE_COUNTS, symbol);
}

/**
 * Writes the sequences of one block, which begins at `start` and ends at `stop` or with the match that reaches over
 * it, but not after `end`, and counts its symbols.
 * @returns where the block ends
 */
export function findMatches(start: usize, stop: usize, end: usize): usize {
  const limit = min(stop, end - 3);
  let at = start;
  let literals = start;
  let sequence: usize = SEQUENCES;
  while (at < limit) {
    let four = load<u32>(at);
    lookUp(at, four);
    // Two literals a turn: fewer of V8's checks at the head of the loop.
    if (!isPromising(at, four)) {
      increment(LITERAL_COUNTS, four & 0xff);
      if (++at == limit) break;
      four = load<u32>(at);
      lookUp(at, four);
      if (!isPromising(at, four)) {
        increment(LITERAL_COUNTS, four & 0xff);
        at++;
        if (((at - literals) & SKIPPING) == 0 || at + 3 >= limit) continue;
        increment(LITERAL_COUNTS, (four >>> 8) & 0xff);
        increment(LITERAL_COUNTS, (four >>> 16) & 0xff);
        increment(LITERAL_COUNTS, four >>> 24);
        at += 3;
        continue;
      }
    }
    length = 3;
    if (!findLonger(at, four, end)) {
      increment(LITERAL_COUNTS, four & 0xff);
      at++;
      continue;
    }
    let known: usize = 1;
    while (length < LAZY && at + 1 < limit) {
      four = load<u32>(at, 1);
      lookUp(at + 1, four);
      known = 2;
      if (!findLonger(at + 1, four, end)) break;
      increment(LITERAL_COUNTS, load<u8>(at));
      at++;
      known = 1;
    }
    putMatch(sequence, at - literals, length, <u32>distance - 1);
    sequence += 8;
    insertMatch(at, known);
    at += length;
    literals = at;
  }
  for (; stop == end && at < end; at++) increment(LITERAL_COUNTS, load<u8>(at));
  store<u32>(sequence, (at - literals) << 9);
  return at;
}
