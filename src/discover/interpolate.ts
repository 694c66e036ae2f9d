export type Variables = Readonly<Record<string, string | undefined>>;

/** A variable that has no value; `message`: of `${A:?message}`. */
export interface Lacking {
  readonly name: string;
  readonly message: string | undefined;
}

export interface Interpolated {
  readonly text: string;
  readonly lacking: readonly Lacking[];
}

const NAME = /[_a-zA-Z][_a-zA-Z0-9]*/y;
const OPERATOR = /:?[-?+]/y;
/** Defaults may hold variables that have defaults. */
const MAX_NESTING = 20;

/** Longer results are cut, and are no references. */
const MAX_LENGTH = 4096;

/**
 * Compose's variables (https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md): `$A`, `${A}`,
 * `${A:-default}`, `${A-default}`, `${A:?error}`, `${A?error}`, `${A:+other}`, `${A+other}`; `$$` is a dollar. The colon
 * makes an empty value count as none.
 */
export function interpolate(text: string, values: Variables): Interpolated {
  const lacking: Lacking[] = [];
  return { text: substitute(text, values, lacking, 0), lacking };
}

function at(pattern: RegExp, text: string, position: number): string | undefined {
  pattern.lastIndex = position;
  return pattern.exec(text)?.[0];
}

function substitute(text: string, values: Variables, lacking: Lacking[], depth: number): string {
  let out = '';
  const braces = closings(text);
  for (let i = 0; i < text.length;) {
    if (out.length > MAX_LENGTH) return out.slice(0, MAX_LENGTH + 1);
    const dollar = text.indexOf('$', i);
    if (dollar < 0 || depth > MAX_NESTING) return out + text.slice(i);
    out += text.slice(i, dollar);
    i = dollar + 1;
    if (text[i] === '$') {
      out += '$';
      i++;
      continue;
    }
    const braced = text[i] === '{';
    const name = at(NAME, text, braced ? i + 1 : i);
    const end = braced ? braces.get(i) : i + (name?.length ?? 0);
    if (name === undefined || end === undefined) {
      out += '$';
      continue;
    }
    const after = i + 1 + name.length;
    const operator = braced ? at(OPERATOR, text, after) : undefined;
    const word = braced ? text.slice(after + (operator?.length ?? 0), end) : '';
    i = braced ? end + 1 : end;
    const value = values[name];
    const has = value !== undefined && (operator?.startsWith(':') !== true || value !== '');
    const more = () => substitute(word, values, lacking, depth + 1);
    if (operator?.endsWith('+') === true) out += has ? more() : '';
    else if (has) out += value;
    else if (operator?.endsWith('-') === true) out += more();
    else lacking.push({ name, message: operator === undefined ? undefined : more() });
  }
  return out;
}

/** The positions of closing braces by those of their opening ones. */
function closings(text: string): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  const open: number[] = [];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '{') open.push(i);
    const start = text[i] === '}' ? open.pop() : undefined;
    if (start !== undefined) found.set(start, i);
  }
  return found;
}
