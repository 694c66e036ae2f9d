import Range from 'semver/classes/range.js';
import parse from 'semver/functions/parse.js';
import type { SemVer } from 'semver';

/*
 * What skopeo's `images-by-semver` takes: constraints of Go's Masterminds/semver
 * (https://github.com/Masterminds/semver/tree/v3.2.0#basic-comparisons). Each comparison is one of npm's ranges, but for
 * this: a comma is an `and` too; `!=`, `=>` and `=<` exist; and a pre-release fits a comparison that names a pre-release,
 * whichever, and no other.
 */
const PRE = '-[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*';
const COMPARISON = new RegExp(
  `^(=>|=<|>=|<=|!=|~>|>|<|=|~|\\^|)v?((?:\\d+|[xX*])(?:\\.(?:\\d+|[xX*])){0,2})(${PRE})?(?:\\+[0-9A-Za-z.-]+)?$`,
);
const TAG = new RegExp(`^v?(\\d+(?:\\.\\d+){0,2})(${PRE})?(?:\\+[0-9A-Za-z.-]+)?$`);
/** The operators of npm that mean the same. */
const SAME: Readonly<Record<string, string>> = { '=>': '>=', '=<': '<=', '~>': '~', '!=': '' };
/** More than anyone writes. */
const MAX_LENGTH = 1000;

/** A tag as a version, with zeros for parts that it lacks: `v3`, `1.2-rc.1`; undefined for other tags. */
export function versionOfTag(tag: string): SemVer | undefined {
  const [, numbers, pre = ''] = TAG.exec(tag) ?? [];
  return numbers === undefined ? undefined : (parse(`${completed(numbers)}${pre}`) ?? undefined);
}

function completed(numbers: string): string {
  return [...partsOf(numbers), '0', '0'].slice(0, 3).join('.');
}

/** Without leading zeros. */
function partsOf(numbers: string): string[] {
  return numbers.split('.').map((part) => part.replace(/^0+(?=\d)/, ''));
}

/** The test for versions that a constraint is; undefined when the text is none. */
export function parseConstraint(text: string): ((version: SemVer) => boolean) | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  const alternatives = text.split('||').map((alternative) =>
    alternative
      .trim()
      .replaceAll(/([=<>~^!])\s+/g, '$1')
      // `1.2 - 1.4` is `>=1.2, <=1.4`.
      .replaceAll(/(\S+)\s+-\s+/g, '>=$1, <=')
      .split(/\s*,\s*|\s+/)
      .map(parseComparison),
  );
  if (alternatives.flat().includes(undefined)) return undefined;
  return (version) =>
    alternatives.some((comparisons) => comparisons.every((fits) => fits?.(version) === true));
}

function parseComparison(text: string): ((version: SemVer) => boolean) | undefined {
  const [, operator, numbers = '', pre] = COMPARISON.exec(text) ?? [];
  if (operator === undefined) return undefined;
  const negated = operator === '!=';
  const whole = pre === undefined ? partsOf(numbers).join('.') : completed(numbers);
  // Go compares a whole version with `!=` as it is.
  const takesPre = pre !== undefined || (negated && /^\d+\.\d+\.\d+$/.test(numbers));
  let range: Range;
  try {
    range = new Range(`${SAME[operator] ?? operator}${whole}${pre ?? ''}`, { includePrerelease: true });
  } catch {
    return undefined; // A number is too large.
  }
  return (version) => (takesPre || version.prerelease.length === 0) && range.test(version) !== negated;
}
