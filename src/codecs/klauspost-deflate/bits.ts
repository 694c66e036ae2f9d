import { OUTPUT } from './layout.ts';

// Bits are packed from the least significant one (RFC 1951, 3.1.1). Fewer than 8 wait between calls.
export let next: usize = OUTPUT;
export let waiting: u64 = 0;
export let count: u64 = 0;

export function clearBits(): void {
  next = OUTPUT;
  waiting = 0;
  count = 0;
}

/** The whole bytes of the output are taken away: the next are put at its beginning. @returns how many they are */
export function takeOutput(): i32 {
  const size = <i32>(next - OUTPUT);
  next = OUTPUT;
  return size;
}

/** At most 56 bits. */
export function putBits(bits: u64, length: u64): void {
  waiting |= bits << count;
  count += length;
  store<u64>(next, waiting);
  next += <usize>(count >> 3);
  waiting >>= count & 56;
  count &= 7;
}

/** A code << 8 | its length. */
export function putCode(code: u32): void {
  putBits(code >>> 8, code & 0xff);
}

/** For a loop that keeps the three in locals. */
export function resumeOutput(at: usize, bits: u64, length: u64): void {
  next = at;
  waiting = bits;
  count = length;
}

/** Fills the last byte with zeros. */
export function alignToByte(): void {
  if (count > 0) putBits(0, 8 - count);
}

/** A stored block that is not the last (RFC 1951, 3.2.4); an empty one is what zlib calls a sync flush. */
export function putStored(from: usize, size: i32): void {
  putBits(0, 3);
  alignToByte();
  putBits(<u64>size | (<u64>(size ^ 0xffff) << 16), 32);
  memory.copy(next, from, size);
  next += size;
}
