// The factors of the original: they decide which positions share a place in a table, and so the output.
const FACTOR_4: u32 = 2654435761;
const FACTOR_5: u64 = 889523592379;
const FACTOR_7: u64 = 58295818150454627;

/** The place of the first four bytes in a table of 2^bits, as its index. */
// @ts-ignore: decorator
@inline
export function hash4(four: u32, bits: u32): usize {
  return (four * FACTOR_4) >>> (32 - bits);
}
// @ts-ignore: decorator
@inline
export function hash5(eight: u64, bits: u64): usize {
  return <usize>(((eight << 24) * FACTOR_5) >> (64 - bits));
}
// @ts-ignore: decorator
@inline
export function hash7(eight: u64, bits: u64): usize {
  return <usize>(((eight << 8) * FACTOR_7) >> (64 - bits));
}
