import {
  DISTANCE_COUNTS,
  HASH_BITS,
  HASH_TABLE,
  HASH_TABLE_SIZE,
  LITERAL_COUNTS,
  MATCH_SYMBOLS,
  SEQUENCES,
  WINDOW,
} from './layout.ts';

/** Deflate's longest match (RFC 1951, 3.2.5). */
const LONGEST: usize = 258;
/** The second candidate is not tried if the first is as long as this. */
const NICE: usize = 64;

/** Of a match longer than this only the first 6 and last 6 positions go in the table: 5 % faster, 0.2 % larger. */
const INSERTED: usize = 16;

/**
 * After 1024 literals the input is most likely compressed already, and only two of five positions are looked up; but for
 * 1024 of each 4096 all are, so that a copy of such input is found however it is aligned.
 */
const SKIPPING: usize = 3072;

/**
 * Empties the table for input that begins at `start`. Positions are kept modulo 65536. The one that marks an empty
 * place is out of the window for the first 32764 positions, and after that any distance is a valid one, so that nothing
 * has to check where the input begins: the bytes decide whether there is a match. What the mark points at is below the
 * room for dictionaries, where the bytes never change: they decide how literals are paired, and so the output.
 */
export function clearTable(start: usize): void {
  const empty = i16x8.splat(<i16>(start + WINDOW - 4));
  for (let at: usize = HASH_TABLE; at < HASH_TABLE + HASH_TABLE_SIZE; at += 64) {
    v128.store(at, empty);
    v128.store(at, empty, 16);
    v128.store(at, empty, 32);
    v128.store(at, empty, 48);
  }
}

/** The bucket of four bytes. Fibonacci hashing: Knuth, The Art of Computer Programming, 6.4. */
// @ts-ignore: decorator
@inline
function bucketOf(four: u32): usize {
  return ((four * 0x9e3779b1) >>> (32 - HASH_BITS)) << 2;
}

/** Puts a position before the newest one of its bucket, whose oldest drops out. @returns the bucket as it was */
// @ts-ignore: decorator
@inline
function insert(at: usize, four: u32): u32 {
  const place = bucketOf(four);
  const bucket = load<u32>(place, HASH_TABLE);
  store<u32>(place, (bucket << 16) | (<u32>at & 0xffff), HASH_TABLE);
  return bucket;
}

/** Puts the positions from `from` until `to` in the table. */
export function insertAll(from: usize, to: usize): void {
  for (; from < to; from++) insert(from, load<u32>(from));
}

// @ts-ignore: decorator
@inline
function newerOf(bucket: u32, at: usize): usize {
  return (at - bucket) & 0xffff;
}
// @ts-ignore: decorator
@inline
function olderOf(bucket: u32, at: usize): usize {
  return (at - (bucket >>> 16)) & 0xffff;
}

/** Whether either candidate begins with the four bytes; it may still be out of the window. */
// @ts-ignore: decorator
@inline
function isPromising(bucket: u32, at: usize, four: u32): bool {
  return load<u32>(at - newerOf(bucket, at)) == four || load<u32>(at - olderOf(bucket, at)) == four;
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

/** Whether there is a match of four bytes at least. */
// @ts-ignore: decorator
@inline
function isMatch(at: usize, distance: usize, four: u32): bool {
  return load<u32>(at - distance) == four && distance - 1 < WINDOW;
}

/** Puts the positions within a match in the table, all or those at its ends. */
// @ts-ignore: decorator
@inline
function insertMatch(at: usize, length: usize): void {
  const end = at + length;
  insert(at + 1, load<u32>(at, 1));
  insert(at + 2, load<u32>(at, 2));
  insert(at + 3, load<u32>(at, 3));
  at += 4;
  if (length > INSERTED) {
    insert(at, load<u32>(at));
    insert(at + 1, load<u32>(at, 1));
    insert(at + 2, load<u32>(at, 2));
    at = end - 6;
  }
  for (; at < end; at++) insert(at, load<u32>(at));
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
 * it, but not after `end`, and counts its symbols. Greedy: the longer match of the two candidates is taken at once.
 * @returns where the block ends
 */
export function findMatches(start: usize, stop: usize, end: usize): usize {
  const limit = min(stop, end - 3);
  let at = start;
  let literals = start;
  let sequence: usize = SEQUENCES;
  while (at < limit) {
    let four = load<u32>(at);
    let bucket = insert(at, four);
    // Two literals a turn: fewer of V8's checks at the head of the loop.
    if (!isPromising(bucket, at, four)) {
      increment(LITERAL_COUNTS, four & 0xff);
      if (++at == limit) break;
      four = load<u32>(at);
      bucket = insert(at, four);
      if (!isPromising(bucket, at, four)) {
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
    let distance = newerOf(bucket, at);
    const older = olderOf(bucket, at);
    const most = min(LONGEST, end - at);
    let length: usize = 0;
    if (isMatch(at, distance, four)) {
      length = lengthOf(at, distance, most);
      const isTail = load<u32>(at - older + length - 3) == load<u32>(at + length - 3);
      if (length < NICE && isTail && isMatch(at, older, four)) {
        const other = lengthOf(at, older, most);
        if (other > length) {
          length = other;
          distance = older;
        }
      }
    } else if (isMatch(at, older, four)) {
      length = lengthOf(at, older, most);
      distance = older;
    } else {
      increment(LITERAL_COUNTS, four & 0xff);
      at++;
      continue;
    }
    putMatch(sequence, at - literals, length, <u32>distance - 1);
    sequence += 8;
    insertMatch(at, length);
    at += length;
    literals = at;
  }
  for (; stop == end && at < end; at++) increment(LITERAL_COUNTS, load<u8>(at));
  store<u32>(sequence, (at - literals) << 9);
  return at;
}
