// Bits are packed from the least significant one (RFC 1951, 3.1.1). Fewer than 8 wait between calls.
export let next: usize = 0;
export let waiting: u64 = 0;
export let count: u64 = 0;

export function startOutput(at: usize): void {
  next = at;
  waiting = 0;
  count = 0;
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

/** For a loop that keeps the three in locals. */
export function resumeOutput(at: usize, bits: u64, length: u64): void {
  next = at;
  waiting = bits;
  count = length;
}

/** Takes away the whole bytes that lie at `from`: the next are put there. @returns how many they are */
export function takeBytes(from: usize): usize {
  const size = next - from;
  next = from;
  return size;
}

/** Fills the last byte with zeros. */
export function alignToByte(): void {
  if (count > 0) putBits(0, 8 - count);
}

/** Stored blocks (RFC 1951, 3.2.4); for no bytes one empty block, which is what zlib calls a sync flush. */
export function putStored(from: usize, size: usize, isFinal: bool): void {
  do {
    const part: usize = min<usize>(size, 65535);
    size -= part;
    putBits(isFinal && size == 0 ? 1 : 0, 3);
    alignToByte();
    putBits(part | ((part ^ 0xffff) << 16), 32);
    memory.copy(next, from, part);
    next += part;
    from += part;
  } while (size > 0);
}
