import { lengthOf } from '../deflate/matches.ts';
import { FARTHEST, HASH_BITS, NEWEST, OLDER, OLDER_END, WINDOW } from './layout.ts';

/** Deflate's longest match (RFC 1951, 3.2.5). */
export const LONGEST: usize = 258;
/** A match is longer than this, and one of 4 bytes is at most 4096 back (Go 1.19, compress/flate/deflate.go: findMatch). */
export const TOO_SHORT: usize = 3;
const NEAR: usize = 4096;

/** The place in NEWEST of four bytes, the first in the highest bits. */
// @ts-ignore: decorator
@inline
export function placeOf(four: u32): usize {
  return ((four * 0x1e35a7bd) >>> (32 - HASH_BITS)) << 1;
}

/** The four bytes at a position of the window, the first in the highest bits. */
// @ts-ignore: decorator
@inline
export function fourAt(position: usize): u32 {
  return bswap<u32>(load<u32>(position, WINDOW));
}

// @ts-ignore: decorator
@inline
function olderAt(entry: usize): usize {
  return OLDER + ((entry & (FARTHEST - 1)) << 1);
}

/** Makes a position the newest of its hash. @returns the entry that was, which `link` is to be given */
// @ts-ignore: decorator
@inline
export function enter(position: usize, four: u32): usize {
  const place = placeOf(four);
  const newest = load<u16>(place, NEWEST);
  store<u16>(place, position + 1, NEWEST);
  return newest;
}

// @ts-ignore: decorator
@inline
export function link(position: usize, entry: usize): void {
  store<u16>(olderAt(position + 1), entry);
}

/**
 * The first of the longest matches among up to `tries` positions from `entry` on, none if `entry` is too far back.
 * `position` itself is not linked yet, so that the chain ends where its place is reached. `most` is at least 4.
 * @returns its length << 16 | its distance, or TOO_SHORT << 16
 */
// @ts-ignore: decorator
@inline
export function longestMatch(position: usize, entry: usize, most: usize, nice: usize, tries: u32): u32 {
  const oldest: usize = select<usize>(position - FARTHEST, 0, position > FARTHEST);
  let length = TOO_SHORT;
  let distance: usize = 0;
  if (entry > oldest) {
    let tail = load<u32>(position, WINDOW);
    do {
      if (load<u32>(entry + length, WINDOW - 4) == tail) {
        const back = position + 1 - entry;
        const found = lengthOf(WINDOW + position, back, most);
        if (found > length && (found > 4 || back <= NEAR)) {
          length = found;
          distance = back;
          if (found >= nice) break;
          tail = load<u32>(position + found, WINDOW - 3);
        }
      }
      entry = load<u16>(olderAt(entry));
    } while (entry > oldest && --tries > 0);
  }
  return <u32>((length << 16) | distance);
}

export function clearChains(): void {
  memory.fill(NEWEST, 0, OLDER_END - NEWEST);
}

/** Follows the window by 32 KiB; positions that it no longer holds become 0. */
export function slideChains(): void {
  const by = i16x8.splat(<i16>FARTHEST);
  for (let at: usize = NEWEST; at < OLDER_END; at += 32) {
    v128.store(at, i16x8.sub_sat_u(v128.load(at), by));
    v128.store(at, i16x8.sub_sat_u(v128.load(at, 16), by), 16);
  }
}
