import {
  Composer,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
  type CST,
  type Document,
  type Node,
  type YAMLError,
} from 'yaml';
import { ImgconvError } from '../model/errors.js';
import type { Effort } from './effort.js';

/** Keys and indexes that lead to a value. */
export type Path = readonly (string | number)[];

/** One document of a file: plain data without aliases, and where each part of it stands. */
export interface YamlDocument {
  readonly value: unknown;
  /** Of the value at this path, or of what is nearest above it. */
  lineOf(path: Path): number;
}

/** All that one file holds; bundles of CustomResourceDefinitions come to 5 MB. */
export const MAX_FILE = 32 * 1024 * 1024;
/** Per document and per file, before anything is built of it: each token costs some hundred bytes and a microsecond. */
const MAX_TOKENS = 500_000;
const MAX_FILE_TOKENS = 2_000_000;
const MAX_LINES = 1_000_000;
/** A parser is made for each. */
const MAX_DOCUMENTS = 50_000;
/** Composer and regular expressions run out of stack at some thousands. */
const MAX_DEPTH = 200;
/** Values that a document comes to with its aliases written out, so that a few lines cannot become millions. */
const MAX_VALUES = 500_000;
const MAX_FILE_VALUES = 2_000_000;

export interface YamlOptions {
  /** Every scalar as it is written: `1.0` is not the number 1. */
  readonly strings?: boolean | undefined;
  /** Of the run, when there are more files. */
  readonly effort?: Effort | undefined;
}

/** What is left of the limits of a file. */
interface Room {
  tokens: number;
  values: number;
  documents: number;
}

/** What is wrong, without a word of the document: it may hold secrets, and the library quotes it. */
const FAULTS: Readonly<Record<YAMLError['code'], string>> = {
  ALIAS_PROPS: 'an alias has an anchor or a tag of its own',
  BAD_ALIAS: 'the name of an anchor or alias is empty or ends in a colon',
  BAD_COLLECTION_TYPE: 'a tag does not fit its value',
  BAD_DIRECTIVE: 'a directive is malformed',
  BAD_DQ_ESCAPE: 'there is no such escape in a quoted text',
  BAD_INDENT: 'the indentation does not fit what is above',
  BAD_PROP_ORDER: 'an anchor or a tag is at the wrong place',
  BAD_SCALAR_START: 'a plain value cannot start with this character',
  BLOCK_AS_IMPLICIT_KEY: 'a value that goes over several lines is not allowed on the line of a key',
  BLOCK_IN_FLOW: 'a value in block style is within brackets or braces',
  DUPLICATE_KEY: 'Map keys must be unique',
  IMPOSSIBLE: 'the text is malformed',
  KEY_OVER_1024_CHARS: 'a key is longer than 1024 characters',
  MISSING_CHAR: 'a character is missing, such as a quote, bracket, comma, colon or space',
  MULTILINE_IMPLICIT_KEY: 'a key goes over several lines',
  MULTIPLE_ANCHORS: 'a value has two anchors',
  MULTIPLE_DOCS: 'there is more than one document',
  MULTIPLE_TAGS: 'a value has two tags',
  NON_STRING_KEY: 'a key is not a text',
  RESOURCE_EXHAUSTION: 'it is too large to be read',
  TAB_AS_INDENT: 'Tabs are not allowed as indentation',
  TAG_RESOLVE_FAILED: 'a tag is not known, or does not fit its value',
  UNEXPECTED_TOKEN: 'there is something that is not expected here',
};

/**
 * The documents of a YAML or JSON file, one after another. Each is parsed by itself, so that a broken one does not hide
 * the others. Merge keys (`<<`) and aliases are written out.
 */
export function* parseYaml(
  text: string,
  file: string,
  onError: (error: ImgconvError) => void,
  options: YamlOptions = {},
): Generator<YamlDocument> {
  if (text.length > MAX_FILE) {
    onError(broken(file, undefined, 'too large to be read'));
    return;
  }
  const lines = longerThan(text, MAX_LINES);
  if (lines) {
    onError(broken(file, undefined, `too large to be read: more than ${MAX_LINES} lines`));
    return;
  }
  const room = { tokens: MAX_FILE_TOKENS, values: MAX_FILE_VALUES, documents: MAX_DOCUMENTS };
  for (const { body, line } of partsOf(text)) {
    try {
      if (room.documents-- === 0)
        throw broken(file, line + 1, `too large to be read: more than ${MAX_DOCUMENTS} documents`);
      yield* parsePart(body, line, file, room, options);
    } catch (error) {
      if (!(error instanceof ImgconvError)) throw error;
      onError(error);
      if (Math.min(room.documents, room.tokens, room.values) <= 0) return;
    }
  }
}

function longerThan(text: string, lines: number): boolean {
  let count = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1))
    if (++count > lines) return true;
  return false;
}

function broken(file: string, line: number | undefined, what: string): ImgconvError {
  return new ImgconvError('DOCUMENT_INVALID', `${file}${line === undefined ? '' : `:${line}`}: ${what}`);
}

/** Text between `---` lines, which end a document wherever they stand (YAML 1.2.2, 9.1.2); `line` is that of its start, from 0. */
function* partsOf(text: string): Generator<{ body: string; line: number }> {
  let start = 0;
  let line = 0;
  let last = 0;
  for (const { index } of text.matchAll(/^---(?=\s|$)/gm)) {
    // Directives belong to the document that follows them.
    const directives = /^%/m.test(text.slice(last, index));
    last = index;
    if (index === 0 || directives) continue;
    const body = text.slice(start, index);
    if (!isEmpty(body)) yield { body, line };
    line += body.split('\n').length - 1;
    start = index;
  }
  const body = text.slice(start);
  if (!isEmpty(body)) yield { body, line };
}

/** Nothing but a marker: a file may have a million. */
function isEmpty(body: string): boolean {
  return body.length < 100 && /^(?:---)?\s*$/.test(body);
}

function* parsePart(
  body: string,
  firstLine: number,
  file: string,
  room: Room,
  { strings = false, effort }: YamlOptions,
): Generator<YamlDocument> {
  const counter = new LineCounter();
  const lineAt = (offset: number) => firstLine + counter.linePos(offset).line;
  const parser = new Parser(counter.addNewLine);
  const tokens: CST.Token[] = [];
  counter.addNewLine(0);
  const most = Math.min(MAX_TOKENS, room.tokens);
  let count = 0;
  for (const lexeme of new Lexer().lex(body)) {
    for (const token of parser.next(lexeme)) tokens.push(token);
    if (++count > most) {
      room.tokens -= count;
      throw broken(file, lineAt(parser.offset), `too large to be read: more than ${most} tokens`);
    }
    if (parser.stack.length > MAX_DEPTH)
      throw broken(file, lineAt(parser.offset), `nested too deeply: more than ${MAX_DEPTH} levels`);
  }
  room.tokens -= count;
  effort?.spend(count, file);
  for (const token of parser.end()) tokens.push(token);
  // Repeated keys are looked for below: the library compares each with each.
  const composer = new Composer({
    prettyErrors: false,
    schema: strings ? 'failsafe' : 'core',
    uniqueKeys: false,
  });
  for (const document of composer.compose(tokens)) {
    const [error] = document.errors;
    if (error !== undefined) throw broken(file, lineAt(error.pos[0]), FAULTS[error.code]);
    if (document.contents === null) continue;
    const allowed = Math.min(MAX_VALUES, room.values, effort?.left ?? Infinity);
    const plain = new Plain(document, file, lineAt, allowed);
    room.values -= plain.values;
    effort?.spend(Math.min(plain.values, effort.left), file);
    if (plain.fault !== undefined) throw plain.fault;
    yield plain;
  }
}

/** Turns the nodes of a document into plain data, remembering lines. */
class Plain implements YamlDocument {
  readonly value: unknown;
  /** Why it is not whole. */
  readonly fault: ImgconvError | undefined;
  readonly #file: string;
  readonly #lineAt: (offset: number) => number;
  readonly #top: number;
  readonly #lines = new WeakMap<object, Map<string | number, number>>();
  readonly #anchors = new Map<string, Node>();
  readonly #allowed: number;
  #values = 0;

  /** `allowed`: values, with aliases written out. */
  constructor(
    { contents }: Document.Parsed,
    file: string,
    lineAt: (offset: number) => number,
    allowed: number,
  ) {
    this.#file = file;
    this.#lineAt = lineAt;
    this.#allowed = allowed;
    this.#top = lineAt(contents?.range[0] ?? 0);
    try {
      this.value = this.#plain(contents, 0);
    } catch (error) {
      if (!(error instanceof ImgconvError)) throw error;
      this.fault = error;
    }
  }

  /** How many there are. */
  get values(): number {
    return this.#values;
  }

  lineOf(path: Path): number {
    let value = this.value;
    let line = this.#top;
    for (const key of path) {
      if (typeof value !== 'object' || value === null) break;
      line = this.#lines.get(value)?.get(key) ?? line;
      value = (value as Record<string | number, unknown>)[key];
    }
    return line;
  }

  #plain(node: unknown, depth: number): unknown {
    if (!isScalar(node) && !isMap(node) && !isSeq(node) && !isAlias(node)) return null;
    const line = this.#lineAt(node.range?.[0] ?? 0);
    this.#count(line);
    if (depth > MAX_DEPTH) throw broken(this.#file, line, `nested too deeply: more than ${MAX_DEPTH} levels`);
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (target === undefined) throw broken(this.#file, line, 'an alias has no anchor above it');
      return this.#plain(target, depth + 1);
    }
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (isScalar(node)) return node.value;
    const lines = new Map<string | number, number>();
    if (isSeq(node)) {
      const list = node.items.map((item, i) => {
        lines.set(i, this.#lineOfNode(item, line));
        return this.#plain(item, depth + 1);
      });
      this.#lines.set(list, lines);
      return list;
    }
    // No prototype, so that a key is a key whatever its name is.
    const map = Object.create(null) as Record<string, unknown>;
    this.#lines.set(map, lines);
    const merged: unknown[] = [];
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : undefined;
      if (name === undefined) continue;
      if (lines.has(name)) throw broken(this.#file, this.#lineOfNode(key, line), FAULTS.DUPLICATE_KEY);
      lines.set(name, this.#lineOfNode(value, this.#lineOfNode(key, line)));
      const plain = this.#plain(value, depth + 1);
      if (name !== '<<') map[name] = plain;
      else for (const source of [plain].flat()) merged.push(source);
    }
    for (const source of merged) this.#merge(map, lines, source, line);
    return map;
  }

  /** What a map has itself goes before what is merged into it, and an earlier source before a later one. */
  #merge(
    map: Record<string, unknown>,
    lines: Map<string | number, number>,
    source: unknown,
    line: number,
  ): void {
    if (typeof source !== 'object' || source === null || Array.isArray(source)) return;
    for (const [name, value] of Object.entries(source)) {
      this.#count(line);
      if (name in map) continue;
      map[name] = value;
      lines.set(name, this.#lines.get(source)?.get(name) ?? line);
    }
  }

  #count(line: number): void {
    if (++this.#values > this.#allowed)
      throw broken(this.#file, line, `its aliases come to too much: more than ${this.#allowed} values`);
  }

  #lineOfNode(node: unknown, fallback: number): number {
    const known = isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : undefined;
    return known === undefined ? fallback : this.#lineAt(known);
  }
}
