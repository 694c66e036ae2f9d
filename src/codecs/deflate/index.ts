import { alignToByte, next, putStored, startOutput } from './bits.ts';
import { flushStored, putBlock } from './block.ts';
import { clearCounts, makeMatchSymbols } from './codes.ts';
import { INPUT, OUTPUT } from './layout.ts';
import { clearTable, findMatches, insertAll } from './matches.ts';

/** The most bytes of a block, but for the match that reaches over its end. 48 KiB: 0.2 % larger. */
const BLOCK: u32 = 32768;

makeMatchSymbols();

/** Where the piece begins; the dictionary is right before it. */
export function inputAt(): usize {
  return INPUT;
}

export function outputAt(): usize {
  return OUTPUT;
}

/**
 * Compresses `size` bytes at `inputAt` to `outputAt`, by nothing but them and the dictionary. The last piece ends in a
 * final block, others in an empty stored one, so that pieces can be put one after another.
 * @returns the size of the output
 */
export function deflate(dictionarySize: u32, size: u32, isLast: bool): u32 {
  const end = INPUT + size;
  // The hash of eight bytes reads past the end, where an earlier piece may have been.
  store<u64>(end, 0);
  startOutput(OUTPUT);
  clearTable(INPUT - dictionarySize);
  insertAll(INPUT - dictionarySize, INPUT);
  let blocks: u32 = (size + BLOCK - 1) / BLOCK;
  // An empty last piece still needs a final block.
  let from: usize = INPUT;
  for (let isEmpty = isLast && size == 0; from < end || isEmpty; blocks--) {
    isEmpty = false;
    const stop = blocks <= 1 ? end : from + (end - from) / <usize>blocks;
    clearCounts();
    const to = findMatches(from, stop, end);
    putBlock(from, to - from, isLast && to == end);
    from = to;
  }
  if (!isLast) {
    flushStored(false, end);
    putStored(INPUT, 0, false);
  }
  alignToByte();
  return <u32>(next - OUTPUT);
}
