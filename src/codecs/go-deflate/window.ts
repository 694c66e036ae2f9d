import { clearChains, LONGEST, slideChains } from './chains.ts';
import { findGreedily } from './greedy.ts';
import { FARTHEST, WINDOW } from './layout.ts';
import { findLazily, startLazily } from './lazy.ts';
import { endBlock, slideBlock, startBlocks } from './tokens.ts';

/** Levels 2 to 9: a window of 64 KiB slides by 32 KiB (Go 1.19, compress/flate/deflate.go). */
const WINDOW_SIZE: usize = 65536;
/** Fewer bytes than these wait for more. */
const LOOKAHEAD: usize = LONGEST + 4;

/**
 * For levels 2 to 9: up to which length a match is followed (2, 3) or a longer one looked for (4 to 9); the length that
 * ends a search; how many positions a search tries. Go's `good` has no effect: every search begins with a length of 3.
 */
const PARAMETERS = memory.data<u16>([
  5, 16, 8,
  6, 32, 32,
  4, 16, 16,
  16, 32, 32,
  16, 128, 128,
  32, 128, 256,
  128, 258, 1024,
  258, 258, 4096,
]);

let isGreedy = false;
let limit: usize = 0;
let nice: usize = 0;
let tries: u32 = 0;

/** Positions in the window: what comes next, and the end of the input. */
let position: usize = 0;
let end: usize = 0;
let isCut = false;

export function startWindow(level: i32): void {
  const parameters = PARAMETERS + <usize>(level - 2) * 6;
  isGreedy = level < 4;
  limit = load<u16>(parameters);
  nice = load<u16>(parameters, 2);
  tries = load<u16>(parameters, 4);
  position = end = 0;
  isCut = false;
  clearChains();
  startBlocks();
  startLazily();
}

/**
 * Go slides the window when it is given bytes and LOOKAHEAD bytes of the window or fewer are left. With exactly
 * LOOKAHEAD left and the window full it goes on searching instead, so it slides there only after a call of Write that
 * left the window less than full (Go 1.19, compress/flate/deflate.go: fillDeflate, deflate).
 */
function slide(): void {
  const far = position + LOOKAHEAD;
  if (far > WINDOW_SIZE || (far == WINDOW_SIZE && isCut)) {
    memory.copy(WINDOW, WINDOW + FARTHEST, FARTHEST);
    position -= FARTHEST;
    end -= FARTHEST;
    slideBlock(FARTHEST);
    slideChains();
  }
  isCut = false;
}

export function windowRoom(): usize {
  slide();
  return WINDOW_SIZE - end;
}

export function windowEnd(): usize {
  return WINDOW + end;
}

export function cutWindow(): void {
  isCut = true;
}

/** The input is longer by `size` bytes, or this is its end. */
export function fillWindow(size: usize, isLast: bool): void {
  end += size;
  const least: usize = isLast ? 1 : LOOKAHEAD;
  if (position + least <= end)
    position = isGreedy
      ? findGreedily(position, end, least, limit, nice, tries)
      : findLazily(position, end, least, limit, nice, tries);
  if (isLast) endBlock(position);
}
