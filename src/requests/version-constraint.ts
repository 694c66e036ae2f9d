import compare from 'semver/functions/compare.js';
import parse from 'semver/functions/parse.js';
import type { SemVer } from 'semver';

/*
 * What skopeo's `images-by-semver` takes: constraints of Go's Masterminds/semver
 * (https://github.com/Masterminds/semver/tree/v3.2.0#basic-comparisons). They are not npm's ranges: a comma is an `and`
 * too; `1.2` and `v1` are versions; a pre-release fits a comparison that names a pre-release, whichever, and no other;
 * `!=1.x`, `=>` and `~>` exist. So versions and their order are npm's semver, and the comparisons are here.
 */
const OPERATOR = '=>|=<|>=|<=|!=|~>|>|<|=|~|\\^|';
const VERSION =
  'v?([0-9xX*]+)(?:\\.([0-9xX*]+))?(?:\\.([0-9xX*]+))?(-[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*)?(?:\\+[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*)?';
const COMPARISON = new RegExp(`^\\s*(${OPERATOR})\\s*${VERSION}\\s*(?:,\\s*)?`);
const RANGE = new RegExp(`${VERSION.replaceAll(/\((?!\?)/g, '(?:')}\\s+-\\s+`, 'g');
const TAG =
  /^v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z.-]+)?$/;

interface Comparison {
  readonly operator: string;
  readonly version: SemVer;
  /** The last part that was said: `*` says none, `1.x` the major. */
  readonly precision: 'none' | 'major' | 'minor' | 'patch';
}

/** A tag as a version, with what it lacks as zeros: `v3`, `1.2-rc.1`; undefined for other tags. */
export function versionOfTag(tag: string): SemVer | undefined {
  const [, major, minor = '0', patch = '0', pre = ''] = TAG.exec(tag) ?? [];
  return major === undefined ? undefined : versionOf(major, minor, patch, pre);
}

function versionOf(major: string, minor: string, patch: string, pre: string): SemVer | undefined {
  return (
    parse(`${[major, minor, patch].map((part) => part.replace(/^0+(?=\d)/, '')).join('.')}${pre}`) ??
    undefined
  );
}

/** The test that a constraint is; undefined when the text is none. */
export function parseConstraint(text: string): ((version: SemVer) => boolean) | undefined {
  const alternatives = text
    // `1.2 - 1.4` is `>=1.2, <=1.4`.
    .replaceAll(RANGE, (range) => `>=${range.replace(/\s+-\s+$/, '')}, <=`)
    .split('||')
    .map(parseComparisons);
  const all = alternatives.filter((one) => one !== undefined);
  if (all.length < alternatives.length) return undefined;
  return (version) => all.some((comparisons) => comparisons.every((one) => fits(version, one)));
}

function parseComparisons(text: string): Comparison[] | undefined {
  const comparisons: Comparison[] = [];
  for (let rest = text.trim(); rest !== '' || comparisons.length === 0;) {
    const match = COMPARISON.exec(rest);
    const comparison = match === null ? undefined : comparisonOf(match);
    if (match === null || comparison === undefined) return undefined;
    comparisons.push(comparison);
    const next = rest.slice(match[0].length);
    // Two comparisons have space or a comma between them.
    if (next !== '' && !/[\s,]$/.test(match[0])) return undefined;
    if (next === '' && match[0].trimEnd().endsWith(',')) return undefined;
    rest = next;
  }
  return comparisons;
}

function comparisonOf([, operator = '', ...parts]: RegExpExecArray): Comparison | undefined {
  const [major, minor, patch, pre = ''] = parts;
  const isAny = (part: string | undefined) => part === undefined || /^[xX*]$/.test(part);
  const precision = isAny(major) ? 'none' : isAny(minor) ? 'major' : isAny(patch) ? 'minor' : 'patch';
  const kept = { none: 0, major: 1, minor: 2, patch: 3 }[precision];
  const [a, b, c] = [major, minor, patch].map((part, i) => (i < kept ? (part ?? '') : '0'));
  const version = versionOf(a ?? '', b ?? '', c ?? '', pre);
  return version === undefined ? undefined : { operator, version, precision };
}

function fits(version: SemVer, { operator, version: wanted, precision }: Comparison): boolean {
  const order = compare(version, wanted);
  const whole = precision === 'patch';
  if (operator === '!=' && whole) return order !== 0;
  if (version.prerelease.length > 0 && wanted.prerelease.length === 0) return false;
  const sameMajor = version.major === wanted.major;
  const sameMinor = sameMajor && version.minor === wanted.minor;
  switch (operator) {
    case '!=':
      return precision === 'none' || (precision === 'major' ? !sameMajor : !sameMinor);
    case '>':
      if (precision === 'major') return version.major > wanted.major;
      if (precision === 'minor') return order > 0 && !sameMinor;
      return order > 0;
    case '<':
      return order < 0;
    case '>=':
    case '=>':
      return order >= 0;
    case '<=':
    case '=<':
      return order <= 0 || (precision === 'major' && sameMajor) || (precision === 'minor' && sameMinor);
    case '^':
      return order >= 0 && isCompatible(version, wanted, precision);
    case '~':
    case '~>':
      return order >= 0 && isClose(version, wanted, precision);
    default:
      return whole ? order === 0 : order >= 0 && isClose(version, wanted, precision);
  }
}

/** `~`: the same minor, or the same major when that is all that is said; `~0.0.0` and `*` are anything. */
function isClose(version: SemVer, wanted: SemVer, precision: Comparison['precision']): boolean {
  if (precision === 'none' || (precision === 'patch' && wanted.compareMain('0.0.0') === 0)) return true;
  return version.major === wanted.major && (precision === 'major' || version.minor === wanted.minor);
}

/** `^`: nothing to the left of what is not zero changes. */
function isCompatible(version: SemVer, wanted: SemVer, precision: Comparison['precision']): boolean {
  if (precision === 'none') return true;
  if (version.major !== wanted.major) return false;
  if (wanted.major > 0 || precision === 'major') return true;
  if (version.minor !== wanted.minor) return false;
  return wanted.minor > 0 || precision === 'minor' || version.patch === wanted.patch;
}
