import { clearCounts } from '../deflate/codes.ts';
import { LITERAL_COUNTS } from '../deflate/layout.ts';
import { increment, putMatch } from '../deflate/matches.ts';
import { putSmallest } from './block.ts';
import { LITERALS, SEQUENCES, WINDOW } from './layout.ts';

/** A token is a literal or a match; after so many a block ends (Go 1.19, compress/flate/deflate.go: maxFlateBlockTokens). */
const MOST_TOKENS: u32 = 16384;

let literal: usize = LITERALS;
let run: usize = LITERALS;
let sequence: usize = SEQUENCES;
let free: u32 = MOST_TOKENS;
/** Where the bytes of the block begin in the window; before it, this wraps around and is above all positions. */
let blockStart: usize = 0;

function startTokens(): void {
  literal = run = LITERALS;
  sequence = SEQUENCES;
  free = MOST_TOKENS;
  clearCounts();
}

export function startBlocks(): void {
  blockStart = 0;
  startTokens();
}

/** @returns whether the block is full */
// @ts-ignore: decorator
@inline
export function addLiteral(byte: u8): bool {
  store<u8>(literal++, byte);
  increment(LITERAL_COUNTS, byte);
  return --free == 0;
}

/** @returns whether the block is full */
// @ts-ignore: decorator
@inline
export function addMatch(length: usize, distance: usize): bool {
  putMatch(sequence, literal - run, length, <u32>distance - 1);
  sequence += 8;
  run = literal;
  return --free == 0;
}

/** Writes the block, which ends at a position of the window; nothing if it has no tokens. */
export function endBlock(end: usize): void {
  if (free == MOST_TOKENS) return;
  store<u32>(sequence, <u32>(literal - run) << 9);
  putSmallest(WINDOW + blockStart, blockStart > end ? usize.MAX_VALUE : end - blockStart, LITERALS);
  blockStart = end;
  startTokens();
}

/** Follows the window by so many bytes. */
export function slideBlock(by: usize): void {
  blockStart -= by;
}
