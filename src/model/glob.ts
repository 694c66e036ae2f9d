import { ImgconvError } from './errors.js';
import { familiarText, splitHost } from './reference.js';

/** Registries and engines take no longer names. */
const MAX_LENGTH = 1024;

type Test = (char: string) => boolean;

/** One character, any number of them, or one of several sequences. */
type Part =
  { readonly one: Test } | { readonly any: Test } | { readonly either: readonly (readonly Part[])[] };

/** A step takes one character on the way to the next step, or leads to other steps without one. */
type Step = { readonly take: Test } | { readonly next: readonly number[] };

const ANYTHING: Test = () => true;
const NO_SLASH: Test = (char) => char !== '/';
const SLASH: Part = { one: (char) => char === '/' };
const FOLDERS: Part = { either: [[], [{ any: ANYTHING }, SLASH]] };

/** A test for names: as they are, in Docker's short form, or without their host. @throws ImgconvError USAGE for a pattern that is too long */
export function globMatcher(text: string): (name: string) => boolean {
  if (text.length > MAX_LENGTH)
    throw new ImgconvError(
      'USAGE',
      `${text.slice(0, 100)}…: a pattern of more than ${MAX_LENGTH} characters`,
    );
  const match = compileGlob(text);
  return (name) =>
    name.length <= MAX_LENGTH &&
    (match(name) || match(familiarText(name)) || match(splitHost(name).repository));
}

/**
 * The globs of picomatch that can match a name: `*` and `?` within a component, `**`, `[…]`, `{a,b}`, `{a..c}`, `!` before
 * all of it. A match takes time in proportion to the product of the lengths, whatever names a registry has.
 */
export function compileGlob(text: string): (name: string) => boolean {
  const [marks = ''] = /^!*/.exec(text) ?? [];
  const glob = text
    .slice(marks.length)
    .replace(/^(?:\.\/)+/, '')
    .replace(/(?:\/\*\*)+$/, '/**');
  const steps: Step[] = [];
  emit(new GlobParser(glob).parse(), steps);
  const expected = marks.length % 2 === 0;
  return (name) => runs(steps, name) === expected;
}

class GlobParser {
  readonly #glob: string;
  #at = 0;
  #depth = 0;

  /** Where braces open that are closed and have a comma: to try each takes exponential time when many are not closed. */
  readonly #pairs = new Set<number>();

  constructor(glob: string) {
    this.#glob = glob;
    const open: { readonly at: number; comma: boolean }[] = [];
    for (let i = 0; i < glob.length; i++) {
      const top = open.at(-1);
      if (glob[i] === '\\') i++;
      else if (glob[i] === '{') open.push({ at: i, comma: false });
      else if (glob[i] === ',' && top !== undefined) top.comma = true;
      else if (glob[i] === '}' && open.pop()?.comma === true && top !== undefined) this.#pairs.add(top.at);
    }
  }

  /** Up to the end, or in braces to the next `,` or `}`. */
  parse(): Part[] {
    const parts: Part[] = [];
    while (this.#at < this.#glob.length) {
      const char = this.#glob[this.#at] ?? '';
      if (this.#depth > 0 && (char === ',' || char === '}')) break;
      if (char === '*') parts.push(this.#stars());
      else if (
        char === '/' &&
        this.#depth === 0 &&
        this.#glob.slice(this.#at) === '/**' &&
        /[^*]/.test(this.#glob[this.#at - 1] ?? '')
      ) {
        this.#at = this.#glob.length;
        parts.push({ either: [[], [SLASH, { any: ANYTHING }]] });
      } else parts.push(this.#single(char));
    }
    return parts;
  }

  /** `**` spans components where it is one, before braces and in them; otherwise it is a `*`. */
  #stars(): Part {
    const start = this.#at;
    while (this.#glob[this.#at] === '*') this.#at++;
    if (this.#at - start !== 2) return { any: NO_SLASH };
    if (this.#depth > 0) return { any: ANYTHING };
    const next = this.#glob[this.#at] ?? '';
    if ((start > 0 && this.#glob[start - 1] !== '/') || !['', '/', '{'].includes(next))
      return { any: NO_SLASH };
    if (next !== '/') return { any: ANYTHING };
    this.#at++;
    return FOLDERS;
  }

  #single(char: string): Part {
    const special = char === '[' ? this.#class() : char === '{' ? this.#braces() : undefined;
    if (special !== undefined) return special;
    this.#at++;
    if (char === '?') return { one: NO_SLASH };
    const literal = char === '\\' ? (this.#glob[this.#at++] ?? char) : char;
    return { one: (one) => one === literal };
  }

  /** `[a-c]`, `[^a]`; undefined when it is not closed. */
  #class(): Part | undefined {
    const [whole, not, content = ''] =
      /^\[(\^?)(\]?(?:\\.|[^\]\\])*)\]/.exec(this.#glob.slice(this.#at)) ?? [];
    if (whole === undefined || content === '') return undefined;
    this.#at += whole.length;
    const ranges = [...content.matchAll(/(\\.|[^\\])(?:-(\\.|[^\\]))?/g)].map(([, from = '', to = from]) => [
      from.slice(-1),
      to.slice(-1),
    ]);
    const has: Test = (char) => ranges.some(([from = '', to = '']) => char >= from && char <= to);
    return { one: not === '' ? has : (char) => char !== '/' && !has(char) };
  }

  /** `{a,b}` and `{a..c}`; undefined for braces that are neither, or not closed. */
  #braces(): Part | undefined {
    const range = /^\{([^{},.])\.\.([^{},.])\}/.exec(this.#glob.slice(this.#at));
    if (range !== null) {
      const [from = '', to = ''] = range.slice(1).sort();
      this.#at += range[0].length;
      return { one: (char) => char >= from && char <= to };
    }
    if (!this.#pairs.has(this.#at)) return undefined;
    const either: Part[][] = [];
    this.#depth++;
    do {
      this.#at++;
      either.push(this.parse());
    } while (this.#glob[this.#at] === ',');
    this.#depth--;
    this.#at++;
    return { either };
  }
}

function emit(parts: readonly Part[], steps: Step[]): void {
  for (const part of parts) {
    const start = steps.length;
    if ('one' in part) steps.push({ take: part.one });
    else if ('any' in part)
      steps.push({ next: [start + 1, start + 3] }, { take: part.any }, { next: [start] });
    else {
      const begins: number[] = [];
      const ends: number[] = [];
      steps.push({ next: begins });
      for (const one of part.either) {
        begins.push(steps.length);
        emit(one, steps);
        ends.push(steps.length);
        steps.push({ next: [] });
      }
      for (const end of ends) steps[end] = { next: [steps.length] };
    }
  }
}

/** Follows all ways at once, character by character, each step at most once for each. */
function runs(steps: readonly Step[], name: string): boolean {
  let current = reached(steps, [0]);
  for (const char of name) {
    const next: number[] = [];
    for (const i of current) {
      const step = steps[i];
      if (step !== undefined && 'take' in step && step.take(char)) next.push(i + 1);
    }
    if (next.length === 0) return false;
    current = reached(steps, next);
  }
  return current.has(steps.length);
}

function reached(steps: readonly Step[], from: readonly number[]): Set<number> {
  const found = new Set(from);
  for (const i of found) {
    const step = steps[i];
    if (step !== undefined && 'next' in step) for (const one of step.next) found.add(one);
  }
  return found;
}
