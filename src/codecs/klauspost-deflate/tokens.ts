import { countLiterals, END_OF_BLOCK } from '../deflate/codes.ts';
import { LITERAL_COUNTS } from '../deflate/layout.ts';
import { putMatch } from '../deflate/matches.ts';
import { HISTORY, LONGEST, SEQUENCES } from './layout.ts';

/** The longest part of a match that is too long for one token and for two; before 1.15.0 none is longer than 255. */
let longestPart: i32 = LONGEST;

export function setCautious(isCautious: bool): void {
  longestPart = isCautious ? LONGEST - 3 : LONGEST;
}

/** How many literals and matches are counted. */
export function tokenCount(): u32 {
  let tokens: u32 = 0;
  for (let symbol: usize = 0; symbol < 286; symbol++)
    if (symbol != END_OF_BLOCK) tokens += load<u32>(LITERAL_COUNTS + (symbol << 2));
  return tokens;
}

/**
 * The literals from `literals` until `s`, and the match there of any length: what is too long for one token is divided
 * so that each part has 3 at least. @returns where the next sequence goes
 */
// @ts-ignore: decorator
@inline
export function putSequence(sequence: usize, literals: i32, s: i32, length: i32, distance: i32): usize {
  countLiterals(HISTORY + literals, HISTORY + s);
  let run: usize = s - literals;
  do {
    const part = length <= LONGEST ? length : length > LONGEST + 3 ? longestPart : LONGEST - 3;
    length -= part;
    putMatch(sequence, run, part, distance - 1);
    run = 0;
    sequence += 8;
  } while (length > 0);
  return sequence;
}

/** The literals after the last match; without a match, nothing is counted. */
export function endSequences(sequence: usize, literals: i32, end: i32): void {
  if (sequence == SEQUENCES) return;
  countLiterals(HISTORY + literals, HISTORY + end);
  store<u32>(sequence, <u32>(end - literals) << 9);
}
