import { ImgconvError } from './errors.js';

/*
 * JSON as Go 1.19's encoding/json writes it, which built Docker 20.10: image IDs are digests of what it wrote.
 * Values are held as JSON text, never parsed and stringified, so that numbers and escapes stay as they were read.
 * All but `compactJson` take its result, which has no white space.
 */

/** What `json.Marshal` makes of a `RawMessage`: no white space, HTML's characters escaped. `json` has to be valid. */
export function compactJson(json: string): string {
  let compact = '';
  let start = 0;
  for (let i = 0; i < json.length; i++) {
    if (json[i] === '"') i = endOfString(json, i) - 1;
    else if (' \t\r\n'.includes(json.charAt(i))) {
      compact += json.slice(start, i);
      start = i + 1;
    }
  }
  return (compact + json.slice(start)).replace(/[<>&\u2028\u2029]/g, unicodeEscape);
}

/** Members in their order, a repeated key each time; keys decoded, values as text. */
export function membersOf(object: string): [key: string, value: string][] {
  const parts = elementsOf(object);
  return parts.flatMap((key, i) => (i % 2 === 0 ? [[stringOf(key), parts[i + 1] ?? '']] : []));
}

/** The elements of an array; of an object, keys and values in turn. */
export function elementsOf(json: string): string[] {
  const elements: string[] = [];
  let depth = 0;
  let start = 1;
  for (let i = 0; i < json.length; i++) {
    const char = json.charAt(i);
    if (char === '"') i = endOfString(json, i) - 1;
    else if (char === '{' || char === '[') depth++;
    else if (char === '}' || char === ']') depth--;
    else if (depth === 1 && (char === ',' || char === ':')) {
      elements.push(json.slice(start, i));
      start = i + 1;
    }
  }
  return json.length === 2 ? [] : [...elements, json.slice(start, -1)];
}

/** The value of a string's text; half a surrogate pair becomes U+FFFD, as in Go. */
export function stringOf(json: string): string {
  if (!json.includes('\\')) return json.slice(1, -1);
  return (JSON.parse(json) as string).replace(/\p{Surrogate}/gu, '\ufffd');
}

/** The text that Go writes for a string: U+0008 and U+000C have no short escape before Go 1.22. */
export function goString(value: string): string {
  return `"${value.replace(/["\\<>&\0-\x1f\u2028\u2029]/g, (char) => SHORT_ESCAPES[char] ?? unicodeEscape(char))}"`;
}

/** The text that Go writes for a map: keys in the order of their UTF-8 bytes, the last of equal ones. */
export function goMap(members: Iterable<readonly [string, string]>): string {
  const byBytes = [...new Map(members)].map(([key, value]) => ({
    bytes: Buffer.from(key).toString('latin1'),
    text: `${goString(key)}:${value}`,
  }));
  byBytes.sort((a, b) => (a.bytes < b.bytes ? -1 : 1));
  return `{${byBytes.map(({ text }) => text).join(',')}}`;
}

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

function unicodeEscape(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** Where the string that begins at `start` has ended. */
export function endOfString(json: string, start: number): number {
  for (let quote = json.indexOf('"', start + 1); quote >= 0; quote = json.indexOf('"', quote + 1)) {
    let before = quote;
    while (json[before - 1] === '\\') before--;
    // An even number of backslashes are escaped ones.
    if ((quote - before) % 2 === 0) return quote + 1;
  }
  return json.length + 1;
}

/** A Go type: what reading a value into it and writing it again gives. */
export interface GoType {
  /** What Go writes when nothing, or null, was read. */
  readonly zero: string;
  /** What `omitempty` leaves out. */
  readonly empty: readonly string[];
  /** Takes no null. @throws ImgconvError MANIFEST_INVALID where json.Unmarshal has an error; `where` begins the message */
  rewrite(json: string, where: string): string;
}
export type GoField = readonly [name: string, type: GoType, omit?: 'omitempty'];

export const goTypes = {
  string: scalar('""', 'a string', (json) => (json.startsWith('"') ? goString(stringOf(json)) : undefined)),
  bool: scalar('false', 'true or false', (json) => (/^[tf]/.test(json) ? json : undefined)),
  int: scalar('0', 'a 64-bit integer', int64),
  time: scalar('"0001-01-01T00:00:00Z"', 'an RFC 3339 time', rfc3339Nano),
  pointer: (to: GoType): GoType => ({ zero: 'null', empty: ['null'], rewrite: to.rewrite.bind(to) }),
  slice: (of: GoType): GoType => ({
    zero: 'null',
    empty: ['null', '[]'],
    rewrite: (json, where) => {
      if (!json.startsWith('[')) throw unexpected(json, 'an array', where);
      return `[${elementsOf(json)
        .map((element, i) => rewriteOrZero(of, element, `${where}.${i}`))
        .join(',')}]`;
    },
  }),
  map: (of: GoType): GoType => ({
    zero: 'null',
    empty: ['null', '{}'],
    rewrite: (json, where) => {
      if (!json.startsWith('{')) throw unexpected(json, 'an object', where);
      return goMap(membersOf(json).map(([key, value]) => [key, rewriteOrZero(of, value, `${where}.${key}`)]));
    },
  }),
  struct: (fields: readonly GoField[]): GoType => ({
    zero: writeStruct(fields, new Map()),
    empty: [],
    rewrite: (json, where) => writeStruct(fields, readStruct(fields, json, `${where}.`)),
  }),
} as const;

/**
 * The fields that an object sets, as texts by name. Go takes keys in any case; two that it takes for the same field
 * are refused, since other readers would see another value. Unknown keys do not count.
 * @throws ImgconvError MANIFEST_INVALID; `where` and a field's name begin the message
 */
export function readStruct(
  fields: readonly GoField[],
  json: string,
  where: string,
): ReadonlyMap<string, string> {
  if (!json.startsWith('{')) throw unexpected(json, 'an object', where.replace(/\W+$/, ''));
  const byName = new Map(fields.map((field) => [foldCase(field[0]), field]));
  const values = new Map<string, string>();
  for (const [key, value] of membersOf(json)) {
    const field = byName.get(foldCase(key));
    if (field === undefined) continue;
    const [name, type] = field;
    if (values.has(name)) throw new ImgconvError('MANIFEST_INVALID', `${where}${name}: is there twice`);
    values.set(name, rewriteOrZero(type, value, where + name));
  }
  return values;
}

/** The text that Go writes for a struct: its fields in their order, those never set as zero. */
export function writeStruct(fields: readonly GoField[], values: ReadonlyMap<string, string>): string {
  const members = fields.flatMap(([name, type, omit]) => {
    const value = values.get(name) ?? type.zero;
    return omit && type.empty.includes(value) ? [] : [`${goString(name)}:${value}`];
  });
  return `{${members.join(',')}}`;
}

/** Go's `bytes.EqualFold` against ASCII names: besides letters, U+017F is an s and U+212A a k. */
export function foldCase(key: string): string {
  return key.replaceAll('\u017f', 's').toLowerCase();
}

function scalar(zero: string, expected: string, write: (json: string) => string | undefined): GoType {
  const rewrite = (json: string, where: string) => {
    const written = write(json);
    if (written === undefined) throw unexpected(json, expected, where);
    return written;
  };
  return { zero, empty: [zero], rewrite };
}

function rewriteOrZero(type: GoType, json: string, where: string): string {
  return json === 'null' ? type.zero : type.rewrite(json, where);
}

function int64(json: string): string | undefined {
  if (!/^-?\d{1,19}$/.test(json) || BigInt.asIntN(64, BigInt(json)) !== BigInt(json)) return undefined;
  return BigInt(json).toString();
}

/** time.Time's own reading, which takes a one-digit hour, a comma and any number of decimals, and RFC3339Nano. */
function rfc3339Nano(json: string): string | undefined {
  const match = /^"(\d{4})-(\d\d)-(\d\d)T(\d\d?):([0-5]\d):([0-5]\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)"$/.exec(
    json,
  );
  if (match === null) return undefined;
  const [, year = '', month = '', day = '', hour = '', minute = '', second = '', decimals = '', zone = ''] =
    match;
  // The calendar repeats every 400 years, and Date.UTC takes years before 100 for others.
  const days = new Date(Date.UTC(2000 + (Number(year) % 400), Number(month), 0)).getUTCDate();
  const offset = zone === 'Z' ? 0 : Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4));
  const inRange = month >= '01' && month <= '12' && day >= '01' && Number(day) <= days && Number(hour) < 24;
  if (!inRange || offset >= 100 * 60) return undefined;
  const two = (value: number) => String(value).padStart(2, '0');
  const fraction = decimals.slice(0, 9).replace(/0+$/, '');
  const shownZone =
    offset === 0 ? 'Z' : `${zone.charAt(0)}${two(Math.floor(offset / 60))}:${two(offset % 60)}`;
  return `"${year}-${month}-${day}T${hour.padStart(2, '0')}:${minute}:${second}${fraction && `.${fraction}`}${shownZone}"`;
}

function unexpected(json: string, expected: string, where: string): ImgconvError {
  const found = json.length > 100 ? `${json.slice(0, 100)}…` : json;
  return new ImgconvError('MANIFEST_INVALID', `${where}: expected ${expected}, found ${found}`);
}
