import { Random } from './random.js';

/**
 * What files in layers are like, to a compressor: text, machine code, and what is compressed already. The shares are
 * such that gzip makes about 0.45 of it, as of the layers of Debian-based images.
 */
const KINDS = [
  { share: 38, fill: fillText },
  { share: 92, fill: fillCode },
  { share: 100, fill: fillRandom },
] as const;

const SYLLABLES =
  'an be con de er for ge ha in ja ker lo mo ni ob per qua re st tion un ver wi xe yo za'.split(' ');
const words = wordsOf(new Random('words'), 6000);
const templates = new Uint8Array(256 * 32);
fillRandom(new Random('code'), templates);

function wordsOf(random: Random, count: number): Buffer[] {
  return Array.from({ length: count }, () => {
    const parts = Array.from(
      { length: 1 + random.below(4) },
      () => SYLLABLES[random.below(SYLLABLES.length)],
    );
    return Buffer.from(`${parts.join('')}${random.below(12) === 0 ? '\n  ' : ' '}`);
  });
}

function fillText(random: Random, into: Uint8Array): void {
  for (let at = 0; at < into.length;) {
    const word = words[random.skewed(words.length)] ?? words[0];
    if (word === undefined) return;
    for (let i = 0; i < word.length && at < into.length; i++) into[at++] = word[i] ?? 0;
  }
}

/** Instruction sequences that come again with other operands. */
function fillCode(random: Random, into: Uint8Array): void {
  for (let at = 0; at < into.length;) {
    const start = random.skewed(256) * 32;
    const length = 3 + random.below(9);
    for (let i = 0; i < length && at < into.length; i++) into[at++] = templates[start + i] ?? 0;
    const operand = random.next();
    for (let i = operand & 3; i > 0 && at < into.length; i--) into[at++] = operand >>> (8 * i);
  }
}

function fillRandom(random: Random, into: Uint8Array): void {
  for (let at = 0; at < into.length;) {
    const number = random.next();
    for (let i = 0; i < 4 && at < into.length; i++) into[at++] = number >>> (8 * i);
  }
}

/** Fills the content of one file. */
export function fillFile(random: Random, into: Uint8Array): void {
  const share = random.below(100);
  (KINDS.find((kind) => share < kind.share) ?? KINDS[0]).fill(random, into);
}

/** Most files are of some kilobytes, most bytes in files of some hundred. */
export function fileSize(random: Random): number {
  return Math.floor(200 * 2 ** ((random.next() / 2 ** 32) * 12));
}
