/**
 * Ways to give each of `count` layers one of `kinds` encoders, as images come by them: a base by one program, what was
 * added by another, and what was added to that by a third. So there are at most three runs, the layers of a run have one
 * encoder, and the last one of `kinds` occurs: what has only the others was tried before.
 */
export function* combinations<T>(count: number, kinds: readonly T[]): Generator<T[]> {
  const newest = kinds[kinds.length - 1];
  if (newest === undefined) return;
  yield new Array<T>(count).fill(newest);
  for (let first = 1; first < count; first++) {
    for (let second = first + 1; second <= count; second++) {
      for (const one of kinds) {
        for (const other of kinds) {
          if (one === other) continue;
          const two = [...new Array<T>(first).fill(one), ...new Array<T>(second - first).fill(other)];
          // Two runs are three whose last is empty.
          if (second === count) {
            if (one === newest || other === newest) yield two;
            continue;
          }
          for (const last of kinds)
            if (last !== other && [one, other, last].includes(newest))
              yield [...two, ...new Array<T>(count - second).fill(last)];
        }
      }
    }
  }
}
