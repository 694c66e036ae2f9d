import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
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
  const wanted = soundnessOf(to, bench.corpus.older[to]).images;
  // An archive is replaced as a whole, by one of all images that have no error.
  const isReplaced =
    (to === 'tar' || to === 'ocitar') &&
    images.size > 0 &&
    [...images.values()].every((one) => digests.has(one));
  const lost = [...wanted].filter(([name, digest]) => {
    const now = images.get(name);
    return now !== digest && !digests.has(now ?? '') && !isReplaced;
  });
  return [...problems, ...lost.map(([name]) => `${target}: ${name} is ${images.get(name) ?? 'lost'}`)];
}

/** An error for people: what and where, and nothing of the program's inside. */
export function isPlainError({ stderr }: Outcome): boolean {
  return /^imgconv: \S/m.test(stderr) && !/^\s+at .*:\d+/m.test(stderr) && !stderr.includes('node:internal');
}

/** Staging folders whose own clearing was what failed, by whole paths: they may stay, and nothing else. */
function unclearedBy(fired: string | undefined, target: string, left: readonly string[]): string[] {
  const { kind = '', path } = firedOf(fired);
  if (path === undefined) return [];
  const own = /^.*?\/\.imgconv-[^/]+/.exec(path)?.[0];
  const needed = path.endsWith('.displaced') ? ['open', 'read', 'close'] : [];
  if (own !== undefined && ['remove', 'list', 'look', ...needed].includes(kind)) return [own];
  // What was moved aside is kept while its place cannot be seen, or it cannot be put back there.
  return left
    .filter((name) => name.endsWith('.displaced'))
    .map((record) => ({
      staging: join(target, dirname(record)),
      place: join(target, readFileSync(join(target, record), 'utf8')),
    }))
    .filter(({ place }) => `${place}/`.startsWith(`${path}/`) && (kind === 'look' || !existsSync(place)))
    .map(({ staging }) => staging);
}

function firedOf(fired: string | undefined): { kind?: string; path?: string } {
  return /^(?<kind>\S+) (?<name>\S+) (?<path>.*)$/.exec(fired ?? '')?.groups ?? {};
}

/** What a run left that it had to clear away; `lasting`: whatever it tried to remove, it could not. */
export function leftoversOf(
  bench: Bench,
  { to }: Conversion,
  fired: string | undefined,
  lasting: boolean,
): string[] {
  if (lasting) return [];
  const target = bench.target(to);
  const now = pictureOf(target);
  const left = unfinished(now);
  const uncleared = unclearedBy(fired, target, left);
  const mayStay = (path: string) => uncleared.some((one) => `${path}/`.startsWith(`${one}/`));
  return [
    ...bench
      .leftBehind()
      .filter((path) => !mayStay(path))
      .map((path) => `left behind: ${path}`),
    ...left
      .filter((name) => basename(name).startsWith('.imgconv-') && !mayStay(join(target, name)))
      .map((name) => `left unfinished: ${name}`),
    ...emptyFolders(now)
      .filter((name) => !mayStay(join(target, name)))
      .map((name) => `an empty folder: ${name || target}`),
  ];
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
  const { path = '' } = firedOf(fired);
  if (status === 0 && plain(pictureOf(target)) !== plain(wanted.picture)) problems.push(NOT_RIGHT);
  if (status !== 0 && !isPlainError(outcome)) problems.push(`it ends with ${status}, and says: ${stderr}`);
  // What feeds a pipe is not known to who reads from it.
  const named =
    conversion.from === 'pipe' && path === bench.source('pipe') ? 'stdin' : `${bench.folder}/case`;
  if (status === 1 && path.startsWith(`${bench.folder}/case/`) && !stderr.includes(named))
    problems.push(`it does not say that it was ${path}`);
  if (conversion.to === 'pipe') {
    // Whoever reads the pipe sees its bytes before the exit status.
    const { problems: broken } = soundnessOf('pipe', target);
    if (status === 0) problems.push(...broken);
    else problems.push(...broken.filter((text) => !text.includes(': cut off at byte')));
  } else problems.push(...damageOf(bench, conversion, wanted));
  return [...problems, ...leftoversOf(bench, conversion, fired, lasting)];
}
