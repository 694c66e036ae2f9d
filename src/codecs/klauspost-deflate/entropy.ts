import { DISTANCE_COUNTS, LITERAL_COUNTS } from '../deflate/layout.ts';
import { extraSize } from '../deflate/sizes.ts';

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
export function estimatedSize(count: u32): u32 {
  let entropy: f32 = 0;
  let matches: u32 = 0;
  const share: f32 = <f32>1 / <f32>count;
  for (let symbol: usize = 0; symbol < 256; symbol++) {
    const times = load<u32>(LITERAL_COUNTS + (symbol << 2));
    if (times > 0) entropy += cost(<f32>times, share);
  }
  entropy += 15; // The end of the block.
  for (let symbol: usize = 257; symbol < 286; symbol++) {
    const times = load<u32>(LITERAL_COUNTS + (symbol << 2));
    if (times == 0) continue;
    entropy += cost(<f32>times, share);
    matches += times;
  }
  const matchShare: f32 = <f32>1 / <f32>matches;
  for (let symbol: usize = 0; symbol < 30; symbol++) {
    const times = load<u32>(DISTANCE_COUNTS + (symbol << 2));
    if (times > 0) entropy += cost(<f32>times, matchShare);
  }
  return <u32>entropy + extraSize();
}
