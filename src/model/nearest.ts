/** Letters to add, leave out, change or swap with their neighbour until one word is the other (optimal string alignment). */
function distance(one: string, other: string): number {
  let before: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, j) => j);
  for (let i = 1; i <= one.length; i++) {
    const row = [i];
    for (let j = 1; j <= other.length; j++) {
      const change = (last[j - 1] ?? 0) + (one[i - 1] === other[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1];
      const swap = swapped ? (before[j - 2] ?? 0) + 1 : Infinity;
      row[j] = Math.min(change, swap, (last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1);
    }
    [before, last] = [last, row];
  }
  return last[other.length] ?? 0;
}

/** A word that was broken off is near; one that goes on after the known one is less so. */
function beginning(text: string, known: string): number {
  if (text.length > 2 && known.startsWith(text)) return 0.5;
  return text.startsWith(`${known}-`) ? 2.5 : Infinity;
}

/** Of words that are longer, no more is compared. */
const MAX_WORD = 100;

/** The known word that was probably meant: one that begins so, or that differs in a third of its letters at most. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const text = word.toLowerCase().slice(0, MAX_WORD);
  let best: string | undefined;
  let least = Infinity;
  for (const one of known) {
    const far = Math.min(distance(text, one), beginning(text, one));
    if (far < least && far <= Math.max(1, Math.floor(Math.max(one.length, text.length) / 3)))
      [best, least] = [one, far];
  }
  return best;
}
