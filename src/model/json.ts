import type * as z from 'zod';
import { ImgconvError, type ErrorCode } from './errors.js';
import { endOfString, foldCase } from './go-json.js';

/** Manifests and indexes are held in memory; more than registries take (4 MiB, distribution `maxBodySize`) is refused. */
export const MAX_MANIFEST = 4 * 1024 * 1024;
/** The list of a whole layout has an entry for each image: 28 MB for a hundred thousand. */
export const MAX_LAYOUT_INDEX = 32 * 1024 * 1024;
/** Configs are held in memory too. */
export const MAX_CONFIG = 8 * 1024 * 1024;

/** No document of an image comes near this; recursive functions such as JSON.stringify have stack for more. */
const MAX_DEPTH = 500;

const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * Refuses repeated keys, of which readers take different ones, and documents that are nested too deeply.
 * @throws ImgconvError with `code` for these, and for bytes that are not JSON in UTF-8
 */
export function parseJson(bytes: Uint8Array, where: string, code: ErrorCode = 'MANIFEST_INVALID'): unknown {
  return parseText(bytes, where, code, false);
}

/** As `parseJson`, but takes repeated keys as Docker does: the last counts. */
export function parseLenientJson(
  bytes: Uint8Array,
  where: string,
  code: ErrorCode = 'MANIFEST_INVALID',
): unknown {
  return parseText(bytes, where, code, true);
}

/** False if no object or list begins with these bytes: for tars and compressed files. */
export function mayBeJson(head: Uint8Array): boolean {
  return /^(?:\xef\xbb\xbf)?[ \t\r\n]*[[{]/.test(Buffer.from(head).toString('latin1')) || isBlank(head);
}

function isBlank(head: Uint8Array): boolean {
  return head.every((byte) => [0x20, 0x09, 0x0d, 0x0a].includes(byte));
}

function parseText(bytes: Uint8Array, where: string, code: ErrorCode, lenient: boolean): unknown {
  let text: string;
  let value: unknown;
  try {
    text = decoder.decode(bytes);
    value = JSON.parse(text) as unknown;
  } catch (cause) {
    const what = cause instanceof Error ? cause.message : 'unreadable';
    throw new ImgconvError(code, `${where}: not JSON: ${what}`, { cause });
  }
  const flaw = flawOf(text, lenient);
  if (flaw !== undefined) throw new ImgconvError(code, `${where}: ${flaw}`);
  return value;
}

/**
 * As `parseJson` and `parseWith`, for a document with secrets: errors give the line or the field, and no text of the
 * document, as V8's own messages do. `fields`: names that may be shown; others are numbered.
 * @throws ImgconvError with `code`
 */
export function parseSecret<T>(
  schema: z.ZodType<T>,
  fields: readonly string[],
  bytes: Uint8Array,
  where: string,
  code: ErrorCode,
): T {
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    throw new ImgconvError(code, `${where}: not UTF-8 text`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text) as unknown;
  } catch {
    throw new ImgconvError(code, `${where}: not JSON: line ${lineAt(text, brokenAt(text))} is malformed`);
  }
  const twice = flawOf(text, false, () => 'a key');
  if (twice !== undefined) throw new ImgconvError(code, `${where}: ${twice}`);
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new ImgconvError(
    code,
    `${where}: ${placeIn(value, issue?.path ?? [], fields)}${issue?.message ?? 'invalid'}`,
  );
}

/** `auths: entry 2: auth: ` */
function placeIn(value: unknown, path: readonly PropertyKey[], fields: readonly string[]): string {
  let at = value;
  let place = '';
  for (const key of path) {
    const name = String(key);
    const order = isObject(at) ? Object.keys(at).indexOf(name) : Number(key);
    place += `${fields.includes(name) ? name : `entry ${order + 1}`}: `;
    at = isObject(at) ? at[name] : undefined;
  }
  return place;
}

function lineAt(text: string, position: number): number {
  return text.slice(0, position).split('\n').length;
}

const BLANKS = /[ \t\r\n]*/y;
const TOKEN =
  /(?:([{}[\],:])|("[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*")|((?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])))/y;
/** Tokens that may come next; `"` is any text, `0` any number, true, false or null. */
const EXPECTED = {
  value: '{["0',
  valueOrEnd: '{["0]',
  key: '"',
  keyOrEnd: '"}',
  colon: ':',
  commaOrEnd: ',}]',
  nothing: '',
};

/** The position at which text stops being JSON. */
function brokenAt(text: string): number {
  /** The ends of the objects and lists that are open. */
  const open: string[] = [];
  let expected: keyof typeof EXPECTED = 'value';
  for (let at = 0; ; at = TOKEN.lastIndex) {
    BLANKS.lastIndex = at;
    const start = at + (BLANKS.exec(text)?.[0].length ?? 0);
    TOKEN.lastIndex = start;
    const [whole, mark, quoted] = TOKEN.exec(text) ?? [];
    const token = mark ?? (quoted === undefined ? '0' : '"');
    if (whole === undefined || !EXPECTED[expected].includes(token)) return start;
    if ('}]'.includes(token) && open.pop() !== token) return start;
    if (token === '{' || token === '[') {
      open.push(token === '{' ? '}' : ']');
      expected = token === '{' ? 'keyOrEnd' : 'valueOrEnd';
    } else if (token === ':') expected = 'value';
    else if (token === ',') expected = open.at(-1) === '}' ? 'key' : 'value';
    else if (expected === 'key' || (expected === 'keyOrEnd' && token === '"')) expected = 'colon';
    else expected = open.length === 0 ? 'nothing' : 'commaOrEnd';
  }
}

/** What is wrong with valid JSON. */
function flawOf(text: string, lenient: boolean, shown = shownKey): string | undefined {
  const keys: (Set<string> | undefined)[] = [];
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '"') {
      const end = endOfString(text, i);
      let next = end;
      while (' \t\r\n'.includes(text.charAt(next)) && next < text.length) next++;
      if (text[next] === ':' && !lenient) {
        const raw = text.slice(i, end);
        const key = raw.includes('\\') ? String(JSON.parse(raw)) : raw.slice(1, -1);
        const seen = (keys[keys.length - 1] ??= new Set());
        if (seen.has(key)) return `${shown(key)} is there twice`;
        seen.add(key);
      }
      i = end - 1;
    } else if (char === '{' || char === '[') {
      if (keys.push(undefined) > MAX_DEPTH) return `nested more than ${MAX_DEPTH} deep`;
    } else if (char === '}' || char === ']') keys.pop();
  }
  return undefined;
}

function shownKey(key: string): string {
  return JSON.stringify(key.length > 100 ? `${key.slice(0, 100)}…` : key);
}

/** Field names by their folded case: engines and registries read with Go's encoding/json, which takes keys in any case. */
export function fieldsOf(...names: readonly string[]): ReadonlyMap<string, string> {
  return new Map(names.map((name) => [foldCase(name), name]));
}

/** @throws ImgconvError MANIFEST_INVALID for a key that differs from one of `fields` only by case: `Layers` is `layers` to Go */
export function expectOwnCase(value: unknown, fields: ReadonlyMap<string, string>, where: string): void {
  if (!isObject(value)) return;
  for (const key of Object.keys(value)) {
    const field = fields.get(foldCase(key));
    if (field !== undefined && field !== key)
      throw new ImgconvError(
        'MANIFEST_INVALID',
        `${where}: must not have ${shownKey(key)}, which may pass for ${field}`,
      );
  }
}

/**
 * The fields of an object as Go's encoding/json finds them, with keys in any case.
 * @throws ImgconvError MANIFEST_INVALID for two spellings of one field
 */
export function inOwnCase(value: unknown, fields: ReadonlyMap<string, string>, where: string): unknown {
  if (!isObject(value)) return value;
  const spelt = new Map<string, string>();
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => {
      const field = fields.get(foldCase(key));
      if (field === undefined) return [key, one];
      const other = spelt.get(field);
      if (other !== undefined)
        throw new ImgconvError(
          'MANIFEST_INVALID',
          `${where}: has both ${shownKey(other)} and ${shownKey(key)}, which are one key to Docker`,
        );
      spelt.set(field, key);
      return [field, one];
    }),
  );
}

/** Gives untrusted data the schema's type. @throws ImgconvError with `code`, naming the place in the document. */
export function parseWith<T>(
  schema: z.ZodType<T>,
  data: unknown,
  where: string,
  code: ErrorCode = 'MANIFEST_INVALID',
): T {
  const result = schema.safeParse(data);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const at = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.map(String).join('.')}: `;
  throw new ImgconvError(code, `${where}: ${at}${issue === undefined ? 'invalid' : issueText(issue, data)}`, {
    ...(code === 'MANIFEST_INVALID' && {
      hint: 'the tool that wrote it broke the format: make the image again with another version of it',
    }),
  });
}

/** zod's names of types, in JSON's words. */
const TYPES: Readonly<Record<string, string>> = {
  array: 'a list',
  object: 'an object',
  record: 'an object',
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

function issueText(issue: z.core.$ZodIssue, data: unknown): string {
  if (issue.code === 'invalid_value')
    return `must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`;
  // An item of `arrayOf` has only a message.
  const expected = /^Invalid input: expected (\w+)/.exec(issue.message)?.[1];
  if (expected === undefined) return issue.message;
  const value = valueAt(data, issue.path);
  if (value === undefined) return 'is missing';
  return `must be ${TYPES[expected] ?? expected}, is ${kindOf(value)}`;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'number' && !Number.isInteger(value)) return 'a number with a fraction';
  return TYPES[typeof value] ?? typeof value;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value that these keys and indexes lead to; undefined where there is none. */
export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  for (const key of path)
    value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  return value;
}
