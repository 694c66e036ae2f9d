import { count, next, putBits, resumeOutput, waiting } from './bits.ts';
import { END_OF_BLOCK, literalCode, makeAllCodes, matchBits, setFixedLengths } from './codes.ts';
import { putHeader } from './header.ts';
import { LITERAL_CODES } from './layout.ts';

/** Begins a block in its own codes, whose header is prepared, or in the fixed ones. */
export function beginBlock(isOwn: bool, isFinal: bool): void {
  putBits((isFinal ? 1 : 0) | (isOwn ? 4 : 2), 3);
  if (isOwn) putHeader();
  else setFixedLengths();
  makeAllCodes();
}

/**
 * The sequences in the codes of the block. The literals lie from `from` on; `isWhole`: the bytes of matches lie between
 * them. `together` literals fit in 64 bits with 7 that wait: 4 of up to 14 bits, 3 of up to 15.
 */
export function putSequences(sequence: usize, from: usize, isWhole: bool, together: usize): void {
  const skipped: usize = isWhole ? 511 : 0;
  let to = next;
  let bits = waiting;
  let used = count;
  for (; ; sequence += 8) {
    const head = load<u32>(sequence);
    let literals: usize = head >>> 9;
    for (; literals >= together; literals -= together, from += together) {
      const four = load<u32>(from);
      let code = literalCode(four);
      bits |= <u64>(code >>> 5) << used;
      used += code & 31;
      code = literalCode(four >>> 8);
      bits |= <u64>(code >>> 5) << used;
      used += code & 31;
      code = literalCode(four >>> 16);
      bits |= <u64>(code >>> 5) << used;
      used += code & 31;
      if (together == 4) {
        code = literalCode(four >>> 24);
        bits |= <u64>(code >>> 5) << used;
        used += code & 31;
      }
      store<u64>(to, bits);
      to += <usize>(used >> 3);
      bits >>= used & 56;
      used &= 7;
    }
    // Codes of which some may be nothing: a branch on how many is mispredicted more often than not.
    const rest = load<u32>(from);
    let code = select<u32>(literalCode(rest), 0, literals > 0);
    bits |= <u64>(code >>> 5) << used;
    used += code & 31;
    code = select<u32>(literalCode(rest >>> 8), 0, literals > 1);
    bits |= <u64>(code >>> 5) << used;
    used += code & 31;
    if (together == 4) {
      code = select<u32>(literalCode(rest >>> 16), 0, literals > 2);
      bits |= <u64>(code >>> 5) << used;
      used += code & 31;
    }
    from += literals;
    store<u64>(to, bits);
    to += <usize>(used >> 3);
    bits >>= used & 56;
    used &= 7;
    const length: usize = head & 511;
    if (length == 0) break;
    from += length & skipped;
    const match = matchBits(length, load<u32>(sequence, 4));
    bits |= (match >>> 6) << used;
    used += match & 63;
    store<u64>(to, bits);
    to += <usize>(used >> 3);
    bits >>= used & 56;
    used &= 7;
  }
  resumeOutput(to, bits, used);
}

export function endBlock(): void {
  const end = load<u32>(LITERAL_CODES + END_OF_BLOCK * 4);
  putBits(end >>> 5, end & 31);
}
