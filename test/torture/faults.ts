import { join } from 'node:path';
import { isLinked, titleOf, type Bench, type Conversion } from './bench.js';
import { faultsOf, NOT_RIGHT } from './judge.js';
import type { Found } from './outcome.js';
import { KINDS_OF, type Action, type OperationKind } from './plan.js';
import { soundnessOf } from './soundness.js';
import { retireOwners } from './retire.js';
import { here } from './run-here.js';

/** One way to fail, tried at every operation that can fail so. */
export interface Fault {
  readonly action: Action;
  /** Also at all later operations, as a disk that stays full. */
  readonly sticky: boolean;
}

/** Which ones: from the `first` on every `step`th, `count` at most. */
export interface Sample {
  readonly first: number;
  readonly step: number;
  readonly count: number;
}

export interface Result {
  readonly runs: number;
  /** Where to go on, when there may be more to come. */
  readonly next?: number | undefined;
}

/** What others do to a source shows in its links: such sources are copied. */
const UNNAMED = /\/(?:manifest\.json|version|index\.json|link)$/;

/** A disk that stays full lets files be removed; one that cannot be read or written does not. */
function preventsClearing(action: Action): boolean {
  const kinds: readonly OperationKind[] = KINDS_OF[action];
  return !SIGNALS.includes(action) && (kinds.includes('remove') || kinds.includes('list'));
}
const SIGNALS: readonly Action[] = ['SIGINT', 'SIGTERM'];
const MEDDLING: readonly Action[] = ['shrink', 'grow', 'flip', 'swap'];

/**
 * Runs one conversion again and again, and fails one operation after another until there are no more. What is found is
 * told with the conversion, the fault and the operation.
 */
export async function failEach(
  bench: Bench,
  conversion: Conversion,
  { action, sticky }: Fault,
  { first, step, count }: Sample,
  tell: Found,
): Promise<Result> {
  const wanted = await bench.undisturbed(here, conversion);
  const meddles = MEDDLING.includes(action);
  const args = meddles && isLinked(conversion.to) ? ['--link', 'copy'] : [];
  for (let at = first, runs = 0; ; at += step) {
    if (runs === count) return { runs, next: at };
    bench.prepare(conversion, meddles);
    const root = meddles ? bench.source(conversion.from) : bench.folder;
    const outcome = await bench.run(here, conversion, args, { plan: { action, at, sticky, root } });
    const all = faultsOf(bench, conversion, outcome, wanted, sticky && preventsClearing(action));
    // What no digest names may become another image, as good as the one before: whole, and not missing.
    const there = () => soundnessOf(conversion.to, bench.target(conversion.to)).images.size;
    const excused = (one: string) =>
      (one === NOT_RIGHT && there() >= wanted.images) ||
      bench.corpus.names.some((name) => one.includes(`: ${name} is sha256:`));
    const found = meddles && UNNAMED.test(outcome.fired ?? '') ? all.filter((one) => !excused(one)) : all;
    if (outcome.fired === undefined) {
      if (outcome.status !== 0)
        found.push(`it ends with ${outcome.status} with nothing in its way: ${outcome.stderr}`);
    } else if (!meddles) {
      retireOwners([bench.target(conversion.to), join(bench.folder, 'tmp', 'any')]);
      found.push(...(await bench.again(here, conversion, false)));
    }
    const what = `${titleOf(conversion)}: ${action}${sticky ? ' from' : ' at'} ${at}, ${outcome.fired ?? 'not reached'}`;
    for (const problem of found)
      tell(`${what}: ${problem}\n    status ${outcome.status}: ${outcome.stderr.trim()}`);
    runs++;
    if (outcome.fired === undefined) return { runs };
  }
}
