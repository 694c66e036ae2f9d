import { putBits, putStored, startOutput, takeBytes } from '../deflate/bits.ts';
import { makeMatchSymbols } from '../deflate/codes.ts';
import { MOST_STORED } from './block.ts';
import { putFast, putLiterals, startFast } from './fast.ts';
import { OUTPUT, WINDOW } from './layout.ts';
import { cutWindow, fillWindow, startWindow, windowEnd, windowRoom } from './window.ts';

makeMatchSymbols();

let level: i32 = 0;
/** Below level 2: how many bytes of a block of 65535 are there. */
let filled: usize = 0;

/** Begins a gzip member at a level from -2 to 9: RFC 1952, 2.3; without time or name, from an unknown system. */
export function start(at: i32): void {
  level = at;
  filled = 0;
  startOutput(OUTPUT);
  putBits(0x00088b1f, 32);
  putBits(0, 32);
  // Go 1.19, compress/gzip/gzip.go: Write.
  putBits((level == 9 ? 2 : level == 1 ? 4 : 0) | 0xff00, 16);
  if (level > 1) startWindow(level);
  else if (level == 1) startFast();
}

/** How many bytes can be put at `inputAt` now, at least one. */
export function room(): usize {
  if (level > 1) return windowRoom();
  if (filled == MOST_STORED) putFilled();
  return MOST_STORED - filled;
}

export function inputAt(): usize {
  return level > 1 ? windowEnd() : WINDOW + filled;
}

/** Takes the bytes that were put there. */
export function take(size: usize): void {
  if (level > 1) fillWindow(size, false);
  else filled += size;
}

function putFilled(): void {
  if (level == 1) putFast(filled);
  else if (level == 0) putStored(WINDOW, filled, false);
  else putLiterals(filled);
  filled = 0;
}

/** Ends a call of Go's Write here; see `slide` in window.ts. */
export function cut(): void {
  if (level > 1) cutWindow();
}

/** Ends the member: Go's last block is always an empty stored one. */
export function end(crc: u32, size: u32): void {
  if (level > 1) fillWindow(0, true);
  else if (filled > 0) putFilled();
  putStored(WINDOW, 0, true);
  putBits(crc, 32);
  putBits(size, 32);
}

export function outputAt(): usize {
  return OUTPUT;
}

/** How much output there is; after it, output begins at `outputAt` again. */
export function takeOutput(): usize {
  return takeBytes(OUTPUT);
}
