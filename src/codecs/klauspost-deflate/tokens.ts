import {
  LENGTH_TO_SYMBOL,
  LITERAL_HISTOGRAM,
  LITERAL_SYMBOLS,
  OFFSET_HISTOGRAM,
  OFFSET_SYMBOLS,
  TOKENS,
} from './layout.ts';

/** RFC 1951, 3.2.5: the least length, minus 3, and the number of extra bits of the symbols from 257. */
const LENGTH_BASES = memory.data<u8>([
  0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 255,
]);
const LENGTH_EXTRA = memory.data<u8>([
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
]);
const MATCH: u32 = 1 << 31;
const LONGEST: i32 = 258;
/** The longest part of a match that is too long for one token and for two; before 1.15.0 none is longer than 255. */
let longestPart: i32 = LONGEST;

export function setCautious(isCautious: bool): void {
  longestPart = isCautious ? LONGEST - 3 : LONGEST;
}

/** Where the next token goes. A literal is a token, or a match: its mark, length - 3 << 20, symbol of offset << 15, offset - 1. */
export let tokensEnd: usize = TOKENS;

/** Once: the symbol of each match length. */
export function makeLengthSymbols(): void {
  for (let symbol: usize = 0; symbol < 29; symbol++)
    for (let length: usize = load<u8>(LENGTH_BASES + symbol); length < 256; length++)
      store<u8>(LENGTH_TO_SYMBOL + length, symbol);
}

export function clearTokens(): void {
  tokensEnd = TOKENS;
  memory.fill(LITERAL_HISTOGRAM, 0, 288 * 4);
  memory.fill(OFFSET_HISTOGRAM, 0, 32 * 4);
}

// @ts-ignore: decorator
@inline
export function tokenCount(): i32 {
  return <i32>((tokensEnd - TOKENS) >> 2);
}

/** For a loop that keeps the place in a local. */
// @ts-ignore: decorator
@inline
export function setTokensEnd(end: usize): void {
  tokensEnd = end;
}

// @ts-ignore: decorator
@inline
export function lengthExtra(symbol: usize): u32 {
  return load<u8>(LENGTH_EXTRA + symbol);
}
// @ts-ignore: decorator
@inline
export function lengthBase(symbol: usize): u32 {
  return load<u8>(LENGTH_BASES + symbol);
}
// @ts-ignore: decorator
@inline
export function offsetExtra(symbol: u32): u32 {
  return symbol < 4 ? 0 : (symbol >>> 1) - 1;
}

/** RFC 1951, 3.2.5: two symbols for each power of two. */
// @ts-ignore: decorator
@inline
export function offsetSymbol(before: u32): u32 {
  if (before < 4) return before;
  const bits: u32 = 30 - clz(before);
  return (bits << 1) + (before >>> bits);
}

// @ts-ignore: decorator
@inline
export function isMatch(token: u32): bool {
  return <i32>token < 0;
}
// @ts-ignore: decorator
@inline
export function lengthOf(token: u32): usize {
  return (token >>> 20) & 0xff;
}
// @ts-ignore: decorator
@inline
export function offsetSymbolOf(token: u32): u32 {
  return (token >>> 15) & 31;
}

// @ts-ignore: decorator
@inline
function increment(counts: usize, symbol: usize): void {
  store<u32>(counts + (symbol << 2), load<u32>(counts + (symbol << 2)) + 1);
}

// @ts-ignore: decorator
@inline
export function putLiteral(token: usize, literal: u32): usize {
  store<u32>(token, literal);
  increment(LITERAL_HISTOGRAM, literal);
  return token + 4;
}

/** The bytes from `from` until `to`. @returns where the next token goes */
// @ts-ignore: decorator
@inline
export function putLiterals(token: usize, from: usize, to: usize): usize {
  for (; from < to; from++) token = putLiteral(token, load<u8>(from));
  return token;
}

/** A match of any length: what is too long for one token is divided so that each part has 3 at least. */
// @ts-ignore: decorator
@inline
export function putMatch(token: usize, length: i32, before: u32): usize {
  const symbol = offsetSymbol(before);
  const tail = MATCH | (symbol << 15) | before;
  do {
    const part = length <= LONGEST ? length : length > LONGEST + 3 ? longestPart : LONGEST - 3;
    length -= part;
    increment(LITERAL_HISTOGRAM, 257 + <usize>load<u8>(LENGTH_TO_SYMBOL + part - 3));
    increment(OFFSET_HISTOGRAM, symbol);
    store<u32>(token, tail | (<u32>(part - 3) << 20));
    token += 4;
  } while (length > 0);
  return token;
}

/** An approximation of the binary logarithm, in 32-bit floating point: each rounding counts. */
// @ts-ignore: decorator
@inline
function logarithmOf(value: f32): f32 {
  const bits = reinterpret<i32>(value);
  const mantissa = reinterpret<f32>((bits & <i32>0x807fffff) + (127 << 23));
  const power = <f32>(((bits >> 23) & 255) - 128);
  return power + ((<f32>-0.34484843 * mantissa + <f32>2.02466578) * mantissa - <f32>0.67487759);
}

/** The bits that `times` occurrences of a symbol take, 1 to 15 each. */
// @ts-ignore: decorator
@inline
function cost(times: f32, share: f32): f32 {
  const bits = -logarithmOf(times * share);
  return (bits < 1 ? <f32>1 : bits > 15 ? <f32>15 : bits) * times;
}

/** The size in bits of the `count` tokens in a code of their own, without its header, by their entropy. */
export function estimatedBits(count: i32): i32 {
  let entropy: f32 = 0;
  let extra: u32 = 0;
  let matches: u32 = 0;
  const share: f32 = <f32>1 / <f32>count;
  for (let symbol: usize = 0; symbol < 256; symbol++) {
    const times = load<u32>(LITERAL_HISTOGRAM + (symbol << 2));
    if (times > 0) entropy += cost(<f32>times, share);
  }
  entropy += 15; // The end of the block.
  for (let symbol: usize = 257; symbol < LITERAL_SYMBOLS; symbol++) {
    const times = load<u32>(LITERAL_HISTOGRAM + (symbol << 2));
    if (times == 0) continue;
    entropy += cost(<f32>times, share);
    extra += times * lengthExtra(symbol - 257);
    matches += times;
  }
  const matchShare: f32 = <f32>1 / <f32>matches;
  for (let symbol: usize = 0; symbol < OFFSET_SYMBOLS; symbol++) {
    const times = load<u32>(OFFSET_HISTOGRAM + (symbol << 2));
    if (times == 0) continue;
    entropy += cost(<f32>times, matchShare);
    extra += times * offsetExtra(<u32>symbol);
  }
  return <i32>entropy + <i32>extra;
}
