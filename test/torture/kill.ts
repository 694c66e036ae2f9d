import { Random } from '../bench/random.js';
import { CONVERSIONS, titleOf, type Bench, type Conversion, type Undisturbed } from './bench.js';
import type { Sample } from './faults.js';
import { damageOf } from './judge.js';
import type { Disturbance, Found, Run } from './outcome.js';
import { soundnessOf } from './soundness.js';

/** Kills of one seed are the same, whichever of them are run. */
export interface Kills extends Sample {
  readonly seed: string;
}

export interface KillResult {
  readonly kills: number;
  /** Runs that were over before they were to be killed. */
  readonly missed: number;
  /** Where to go on, when there may be more to come. */
  readonly next?: number | undefined;
}

/** So many kills in turn are of one conversion, which then need not be run undisturbed for each. */
const IN_TURN = 8;

/** Kills one conversion after another, at a moment or at an operation, looks at what is left, and lets it finish. */
export async function kill(
  bench: Bench,
  run: Run,
  { seed, first, step, count }: Kills,
  tell: Found,
): Promise<KillResult> {
  let missed = 0;
  for (let i = 0; i < count; i++) {
    const number = first + i * step;
    const random = new Random(`${seed} ${number}`);
    const conversion = CONVERSIONS[Math.floor(number / IN_TURN) % CONVERSIONS.length];
    if (conversion === undefined) continue;
    const how = chosen(random, await bench.undisturbed(run, conversion), bench.folder);
    const found = await killOnce(bench, run, conversion, how);
    if (found === undefined) missed++;
    for (const problem of found ?? [])
      tell(`kill ${number}, ${titleOf(conversion)}, ${said(how)}: ${problem}`);
  }
  return { kills: count, missed };
}

function said({ plan, killAfter }: Disturbance): string {
  return plan === undefined ? `after ${killAfter} ms` : `${plan.action} at ${plan.at}`;
}

/** Half of the kills at a moment, half before an operation that changes something or in the middle of it. */
function chosen(random: Random, { milliseconds, changes }: Undisturbed, root: string): Disturbance {
  const part = random.next() / 2 ** 32;
  if (random.below(2) === 0) return { killAfter: Math.round(part * milliseconds) };
  const action = random.below(2) === 0 ? 'kill' : 'tear';
  return { plan: { action, at: 1 + Math.floor(part * changes), root } };
}

/** What is wrong after one kill; undefined when the run was over before. */
export async function killOnce(
  bench: Bench,
  run: Run,
  conversion: Conversion,
  how: Disturbance,
): Promise<string[] | undefined> {
  const wanted = await bench.undisturbed(run, conversion);
  bench.prepare(conversion);
  const { status, stderr } = await bench.run(run, conversion, [], how);
  if (status !== undefined) return status === 0 ? undefined : [`it ends with ${status}: ${stderr}`];
  const problems: string[] = [];
  if (conversion.to === 'pipe') {
    const { problems: broken } = soundnessOf('pipe', bench.target('pipe'));
    problems.push(...broken.filter((text) => !text.includes(': cut off at byte')));
  } else problems.push(...damageOf(bench, conversion, wanted));
  problems.push(...(await bench.again(run, conversion, true)));
  return problems;
}

/** As `kill`, at every operation of one conversion that changes something. */
export async function killEach(
  bench: Bench,
  run: Run,
  conversion: Conversion,
  { first, step, count }: Sample,
  tell: Found,
): Promise<KillResult> {
  for (let at = first, kills = 0; ; at += step, kills++) {
    if (kills === count) return { kills, missed: 0, next: at };
    const action = at % 2 === 0 ? 'kill' : 'tear';
    const found = await killOnce(bench, run, conversion, { plan: { action, at, root: bench.folder } });
    if (found === undefined) return { kills, missed: 1 };
    for (const problem of found) tell(`${titleOf(conversion)}, ${action} at ${at}: ${problem}`);
  }
}
