import { alignToByte, startOutput, takeBytes } from '../deflate/bits.ts';
import { clearCounts, makeMatchSymbols } from '../deflate/codes.ts';
import { startBlocks, writeLast, writeLiterals, writeStored, writeTokens } from './block.ts';
import { clearHistory, forgetHistory } from './history.ts';
import { BLOCK, BLOCK_SIZE, OUTPUT } from './layout.ts';
import { encodeLevel1 } from './level1.ts';
import { encodeLevel5 } from './level5.ts';
import { encodeLevel6 } from './level6.ts';
import { setSkipped } from './long-short.ts';
import { setCautious, tokenCount } from './tokens.ts';

makeMatchSymbols();

let level: i32 = 0;

/** Where the next bytes are put, up to 65535. */
export function inputAt(): usize {
  return BLOCK;
}

export function outputAt(): usize {
  return OUTPUT;
}

/**
 * Begins a stream at level 1, 5 or 6. What differs between versions of the original: see `startBlocks`, `setSkipped`
 * and `setCautious`.
 */
export function start(newLevel: i32, headers: i32, skipped: i32, isCautious: bool): void {
  level = newLevel;
  setSkipped(skipped);
  setCautious(isCautious);
  startOutput(OUTPUT);
  clearHistory();
  startBlocks(headers);
}

function encode(size: i32): void {
  clearCounts();
  if (level == 1) encodeLevel1(size);
  else if (level == 5) encodeLevel5(size);
  else encodeLevel6(size);
}

/** `size` bytes at `inputAt` come before the stream: matches may lie there. */
export function addDictionary(size: i32): void {
  encode(size);
}

/** Compresses a block: of 65535 bytes, or what is left before the output is flushed. */
function step(size: i32, isFlush: bool): void {
  if (size < 128 && isFlush) {
    if (size > 32) writeLiterals(BLOCK, size, true);
    else if (size > 0) writeStored(BLOCK, size);
    if (size > 0) forgetHistory();
    return;
  }
  encode(size);
  const tokens = tokenCount();
  if (tokens == 0) writeStored(BLOCK, size);
  else if (tokens > <u32>(size - (size >> 4))) writeLiterals(BLOCK, size, isFlush);
  else writeTokens(BLOCK, size, tokens, isFlush);
}

/** Compresses 65535 bytes; more follow. @returns the size of the output */
export function compress(): usize {
  step(BLOCK_SIZE, false);
  return takeBytes(OUTPUT);
}

/** Compresses the last bytes before a flush, which is an empty stored block. @returns the size of the output */
export function flush(size: i32): usize {
  step(size, true);
  writeStored(BLOCK, 0);
  return takeBytes(OUTPUT);
}

/** Compresses the last bytes of the stream. @returns the size of the output */
export function finish(size: i32): usize {
  step(size, true);
  writeLast();
  alignToByte();
  return takeBytes(OUTPUT);
}
