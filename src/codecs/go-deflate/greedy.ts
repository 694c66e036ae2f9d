import { enter, fourAt, link, LONGEST, longestMatch, TOO_SHORT } from './chains.ts';
import { WINDOW } from './layout.ts';
import { addLiteral, addMatch, endBlock } from './tokens.ts';

/**
 * Levels 2 and 3: a match is taken as it is found. The positions in it are entered if it has `followed` bytes at most.
 * Goes on while there are `least` bytes before `end`. @returns the next position
 */
export function findGreedily(
  position: usize,
  end: usize,
  least: usize,
  followed: usize,
  nice: usize,
  tries: u32,
): usize {
  while (position + least <= end) {
    const ahead = end - position;
    // What is past `end` is never looked up.
    const entry = enter(position, fourAt(position));
    let length = TOO_SHORT;
    let distance: usize = 0;
    if (ahead > TOO_SHORT) {
      const most = min(ahead, LONGEST);
      const found = longestMatch(position, entry, most, min(nice, most), tries);
      length = found >>> 16;
      distance = found & 0xffff;
    }
    link(position, entry);
    if (length == TOO_SHORT) {
      const isFull = addLiteral(load<u8>(position, WINDOW));
      position++;
      if (isFull) endBlock(position);
      continue;
    }
    const after = position + length;
    if (length <= followed) for (position++; position < after; position++) link(position, enter(position, fourAt(position)));
    position = after;
    if (addMatch(length, distance)) endBlock(position);
  }
  return position;
}
