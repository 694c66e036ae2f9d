/**
 * Ways to give each of `count` layers one of `kinds` encoders, as images come by them: a base by one program, what was
 * added by another, and what was added to that by a third. The layers of a run have one encoder, and there are just
 * `runs` of them. The last one of `kinds` occurs: what has only the others was tried before.
 */
export function* combinations<T>(count: number, kinds: readonly T[], runs: number): Generator<T[]> {
  const newest = kinds.length - 1;
  for (const one of inRuns(count, kinds, runs))
    if (count === 0 || one.some((kind) => kind === kinds[newest])) yield one;
}

function* inRuns<T>(count: number, kinds: readonly T[], runs: number, before?: T): Generator<T[]> {
  for (const kind of kinds) {
    if (kind === before) continue;
    if (runs === 1) yield new Array<T>(count).fill(kind);
    else
      for (let first = 1; first <= count - runs + 1; first++)
        for (const rest of inRuns(count - first, kinds, runs - 1, kind))
          yield [...new Array<T>(first).fill(kind), ...rest];
  }
}
