import { existsSync } from 'node:fs';
import type { Bench, Conversion, Undisturbed } from './bench.js';
import type { Outcome } from './outcome.js';
import { emptyFolders, pictureOf, unfinished, type Picture } from './picture.js';
import { soundnessOf } from './soundness.js';

export const NOT_RIGHT = 'it ends with 0, and what it made is not right';

/** What a destination has to be after whatever happened: sound, and with each image that it had, or the new one. */
export function damageOf(bench: Bench, { to, before }: Conversion, { digests }: Undisturbed): string[] {
  const target = bench.target(to);
  const { images, problems } = soundnessOf(to, target);
  if (before === 'nothing') return [...problems];
  const archive = to === 'tar' || to === 'ocitar';
  const wanted = soundnessOf(to, bench.corpus.older[to]).images;
  const lost = [...wanted].filter(([name, digest]) => {
    const now = images.get(name);
    if (now === digest) return false;
    // An archive is replaced as a whole.
    return !digests.has(now ?? '') && !(archive && [...images.values()].every((one) => digests.has(one)));
  });
  return [...problems, ...lost.map(([name]) => `${target}: ${name} is ${images.get(name) ?? 'lost'}`)];
}

/** An error for people: what and where, and nothing of the program's inside. */
export function isPlainError({ stderr }: Outcome): boolean {
  return /^imgconv: \S/m.test(stderr) && !/^\s+at .*:\d+/m.test(stderr) && !stderr.includes('node:internal');
}

/** What is wrong with a run that ended by itself, whatever was done to it; `lasting`: nor can it clear up. */
export function faultsOf(
  bench: Bench,
  conversion: Conversion,
  outcome: Outcome,
  wanted: Undisturbed,
  lasting: boolean,
): string[] {
  const { status, stderr, uncaught, fired } = outcome;
  const problems = uncaught.map((error) => `nobody caught: ${error}`);
  const target = bench.target(conversion.to);
  const plain = (picture: Picture) =>
    JSON.stringify([...picture].map(([name, what]) => [name, what.replace(/, is .*/, '')]));
  const now = pictureOf(target);
  const { kind = '', path = '' } = /^(?<kind>\S+) (?<name>\S+) (?<path>.*)$/.exec(fired ?? '')?.groups ?? {};
  const left = unfinished(now);
  // What fails to be cleared away stays, and what was moved aside is not thrown away while its place cannot be seen.
  const clearing =
    lasting ||
    (path.includes('/.imgconv-') && ['remove', 'list', 'look'].includes(kind)) ||
    (left.some((name) => name.endsWith('.displaced')) && !['create', 'write', 'flush'].includes(kind));
  if (status === 0 && plain(now) !== plain(wanted.picture)) problems.push(NOT_RIGHT);
  if (status !== 0 && !isPlainError(outcome)) problems.push(`it ends with ${status}, and says: ${stderr}`);
  // What feeds a pipe is not known to who reads from it.
  const named =
    conversion.from === 'pipe' && path === bench.source('pipe') ? 'stdin' : `${bench.folder}/case/`;
  if (status === 1 && path.startsWith(`${bench.folder}/case/`) && !stderr.includes(named))
    problems.push(`it does not say that it was ${path}`);
  if (conversion.to === 'pipe') {
    // Whoever reads the pipe sees its bytes before the exit status.
    const { problems: broken } = soundnessOf('pipe', target);
    if (status === 0) problems.push(...broken);
    else problems.push(...broken.filter((text) => !text.includes(': cut off at byte')));
  } else problems.push(...damageOf(bench, conversion, wanted));
  if (clearing) return problems;
  problems.push(...bench.leftBehind());
  problems.push(...left.map((name) => `left unfinished: ${name}`));
  if (existsSync(target))
    problems.push(...emptyFolders(now).map((name) => `an empty folder: ${name || target}`));
  return problems;
}
