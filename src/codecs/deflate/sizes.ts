import { distanceExtra, fixedLength, MATCH_EXTRA } from './codes.ts';
import { DISTANCE_COUNTS, DISTANCE_LENGTHS, LITERAL_COUNTS, LITERAL_LENGTHS } from './layout.ts';

// All sizes are in bits.

/** Of what is counted in a code with these lengths (u8). */
export function sizeIn(lengths: usize, counts: usize, symbols: usize): u32 {
  let bits: u32 = 0;
  for (let symbol: usize = 0; symbol < symbols; symbol++)
    bits += load<u32>(counts + (symbol << 2)) * load<u8>(lengths + symbol);
  return bits;
}

/** Of all symbols of the block, in the codes with its lengths. */
export function codedSize(): u32 {
  return sizeIn(LITERAL_LENGTHS, LITERAL_COUNTS, 286) + sizeIn(DISTANCE_LENGTHS, DISTANCE_COUNTS, 30);
}

/** Of all symbols of the block, in the fixed codes. */
export function fixedSize(): u32 {
  let bits: u32 = 0;
  for (let symbol: usize = 0; symbol < 286; symbol++)
    bits += load<u32>(LITERAL_COUNTS + (symbol << 2)) * fixedLength(symbol);
  for (let symbol: usize = 0; symbol < 30; symbol++) bits += load<u32>(DISTANCE_COUNTS + (symbol << 2)) * 5;
  return bits;
}

/** Of the extra bits of all symbols of the block. */
export function extraSize(): u32 {
  let bits: u32 = 0;
  for (let symbol: usize = 0; symbol < 29; symbol++)
    bits += load<u32>(LITERAL_COUNTS + ((symbol + 257) << 2)) * load<u8>(MATCH_EXTRA + symbol);
  for (let symbol: u32 = 0; symbol < 30; symbol++)
    bits += load<u32>(DISTANCE_COUNTS + (symbol << 2)) * distanceExtra(symbol);
  return bits;
}

/** Of one stored block, as Go estimates it. */
export function storedSize(size: usize): u32 {
  return <u32>(size + 5) << 3;
}
