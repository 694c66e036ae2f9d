import { count, next, putCode, resumeOutput, waiting } from './bits.ts';
import { makeCodes } from './huffman.ts';
import {
  CODES_OF_LENGTH,
  END_OF_BLOCK,
  FIXED_LITERAL_CODES,
  FIXED_OFFSET_CODES,
  LENGTH_TO_SYMBOL,
  MATCH_CODES,
  NO_OFFSET_CODES,
  TOKENS,
} from './layout.ts';
import { isMatch, lengthBase, lengthExtra, lengthOf, offsetExtra, offsetSymbolOf, tokensEnd } from './tokens.ts';

/** RFC 1951, 3.2.6. */
function fixedLength(symbol: usize): u32 {
  return symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
}

/** Once. */
export function makeFixedCodes(): void {
  memory.fill(CODES_OF_LENGTH, 0, 64);
  for (let symbol: usize = 0; symbol < 288; symbol++) {
    const length = fixedLength(symbol);
    store<u32>(FIXED_LITERAL_CODES + (symbol << 2), length);
    store<u32>(CODES_OF_LENGTH + (length << 2), load<u32>(CODES_OF_LENGTH + (length << 2)) + 1);
  }
  makeCodes(FIXED_LITERAL_CODES, 288);
  memory.fill(CODES_OF_LENGTH, 0, 64);
  store<u32>(CODES_OF_LENGTH + 20, 32);
  for (let symbol: usize = 0; symbol < 32; symbol++) store<u32>(FIXED_OFFSET_CODES + (symbol << 2), 5);
  makeCodes(FIXED_OFFSET_CODES, 32);
  store<u32>(NO_OFFSET_CODES, 1);
}

export function putEnd(literals: usize): void {
  putCode(load<u32>(literals + (END_OF_BLOCK << 2)));
}

/** The code of each match length and its extra bits, as one. */
function makeMatchCodes(literals: usize): void {
  for (let length: usize = 0; length < 256; length++) {
    const symbol = <usize>load<u8>(LENGTH_TO_SYMBOL + length);
    const code = load<u32>(literals + ((257 + symbol) << 2));
    const used = code & 0xff;
    const extra = <u32>length - lengthBase(symbol);
    store<u32>(MATCH_CODES + (length << 2), (((code >>> 8) | (extra << used)) << 8) | (used + lengthExtra(symbol)));
  }
}

/** The tokens in these codes. */
export function putTokens(literals: usize, offsets: usize): void {
  makeMatchCodes(literals);
  let to = next;
  let bits = waiting;
  let used = count;
  for (let token: usize = TOKENS; token < tokensEnd; token += 4) {
    const value = load<u32>(token);
    if (!isMatch(value)) {
      const code = load<u32>(literals + (value << 2));
      bits |= <u64>(code >>> 8) << used;
      used += code & 0xff;
    } else {
      let code = load<u32>(MATCH_CODES + (lengthOf(value) << 2));
      bits |= <u64>(code >>> 8) << used;
      used += code & 0xff;
      const symbol = offsetSymbolOf(value);
      code = load<u32>(offsets + (symbol << 2));
      bits |= <u64>(code >>> 8) << used;
      used += code & 0xff;
      const extra = offsetExtra(symbol);
      bits |= <u64>(value & ((1 << extra) - 1)) << used;
      used += extra;
    }
    store<u64>(to, bits);
    to += <usize>(used >> 3);
    bits >>= used & 56;
    used &= 7;
  }
  resumeOutput(to, bits, used);
}

/** Bytes as literals. */
export function putBytes(literals: usize, from: usize, size: i32): void {
  let to = next;
  let bits = waiting;
  let used = count;
  const end = from + size;
  for (; from + 3 < end; from += 3) {
    let code = load<u32>(literals + (<usize>load<u8>(from) << 2));
    bits |= <u64>(code >>> 8) << used;
    used += code & 0xff;
    code = load<u32>(literals + (<usize>load<u8>(from, 1) << 2));
    bits |= <u64>(code >>> 8) << used;
    used += code & 0xff;
    code = load<u32>(literals + (<usize>load<u8>(from, 2) << 2));
    bits |= <u64>(code >>> 8) << used;
    used += code & 0xff;
    store<u64>(to, bits);
    to += <usize>(used >> 3);
    bits >>= used & 56;
    used &= 7;
  }
  resumeOutput(to, bits, used);
  for (; from < end; from++) putCode(load<u32>(literals + (<usize>load<u8>(from) << 2)));
}
