import { enter, fourAt, link, LONGEST, longestMatch, TOO_SHORT } from './chains.ts';
import { WINDOW } from './layout.ts';
import { addLiteral, addMatch, endBlock } from './tokens.ts';

// What was found at the position before the current one, of which nothing is written yet.
let lengthBefore: usize = TOO_SHORT;
let distanceBefore: usize = 0;
let isPending = false;

export function startLazily(): void {
  lengthBefore = TOO_SHORT;
  isPending = false;
}

/**
 * Levels 4 to 9: a match is taken if the position after it has none that is longer. After one of `lazy` bytes there is
 * no search. Goes on while there are `least` bytes before `end`: 1 at the end of the input, whose last literal it writes.
 * @returns the next position
 */
export function findLazily(
  position: usize,
  end: usize,
  least: usize,
  lazy: usize,
  nice: usize,
  tries: u32,
): usize {
  let length = lengthBefore;
  let distance = distanceBefore;
  // The three bytes before the one that each turn adds. What is past `end` is never looked up.
  let four = fourAt(position) >>> 8;
  for (; position + least <= end; ) {
    const ahead = end - position;
    four = (four << 8) | load<u8>(position, WINDOW + 3);
    const entry = enter(position, four);
    const before = length;
    const back = distance;
    length = TOO_SHORT;
    if (before < lazy && ahead > before) {
      const most = min(ahead, LONGEST);
      const found = longestMatch(position, entry, most, min(nice, most), tries);
      length = found >>> 16;
      distance = found & 0xffff;
    }
    link(position, entry);
    if (before > TOO_SHORT && length <= before) {
      const last = position + before - 1;
      for (position++; position < last; position++) {
        four = (four << 8) | load<u8>(position, WINDOW + 3);
        link(position, enter(position, four));
      }
      length = TOO_SHORT;
      isPending = false;
      if (addMatch(before, back)) endBlock(position);
      continue;
    }
    if (isPending && addLiteral(load<u8>(position, WINDOW - 1))) endBlock(position);
    isPending = true;
    position++;
  }
  lengthBefore = length;
  distanceBefore = distance;
  if (least == 1 && isPending) {
    addLiteral(load<u8>(position, WINDOW - 1));
    isPending = false;
  }
  return position;
}
