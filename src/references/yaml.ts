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
} from 'yaml';
import { ImgconvError } from '../model/errors.js';

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
/** Per document, before anything is built of it: each token costs some hundred bytes and a microsecond. */
const MAX_TOKENS = 500_000;
/** Composer and regular expressions run out of stack at some thousands. */
const MAX_DEPTH = 200;
/** Values that a document comes to with its aliases written out, so that a few lines cannot become millions. */
const MAX_VALUES = 500_000;
/** Looking for repeated keys is quadratic: it is left out for documents that are longer than people write. */
const MAX_CHECKED_TOKENS = 100_000;

export interface YamlOptions {
  /** Every scalar as it is written: `1.0` is not the number 1. */
  readonly strings?: boolean | undefined;
}

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
  for (const { body, line } of partsOf(text)) {
    try {
      yield* parsePart(body, line, file, options);
    } catch (error) {
      if (!(error instanceof ImgconvError)) throw error;
      onError(error);
    }
  }
}

function broken(file: string, line: number | undefined, what: string): ImgconvError {
  return new ImgconvError('DOCUMENT_INVALID', `${file}${line === undefined ? '' : `:${line}`}: ${what}`);
}

/** Text between `---` lines, which end a document wherever they stand (YAML 1.2.2, 9.1.2); `line` is that of its start, from 0. */
function* partsOf(text: string): Generator<{ body: string; line: number }> {
  let start = 0;
  let line = 0;
  for (const { index } of text.matchAll(/^---(?=\s|$)/gm)) {
    const body = text.slice(start, index);
    // Directives belong to the document that follows them.
    if (index === 0 || /^%/m.test(body)) continue;
    yield { body, line };
    line += body.split('\n').length - 1;
    start = index;
  }
  yield { body: text.slice(start), line };
}

function* parsePart(
  body: string,
  firstLine: number,
  file: string,
  { strings = false }: YamlOptions,
): Generator<YamlDocument> {
  const counter = new LineCounter();
  const lineAt = (offset: number) => firstLine + counter.linePos(offset).line;
  const parser = new Parser(counter.addNewLine);
  const tokens: CST.Token[] = [];
  counter.addNewLine(0);
  let count = 0;
  for (const lexeme of new Lexer().lex(body)) {
    tokens.push(...parser.next(lexeme));
    if (++count > MAX_TOKENS) throw broken(file, lineAt(parser.offset), 'too large to be read');
    if (parser.stack.length > MAX_DEPTH) throw broken(file, lineAt(parser.offset), 'nested too deeply');
  }
  tokens.push(...parser.end());
  const composer = new Composer({
    prettyErrors: false,
    schema: strings ? 'failsafe' : 'core',
    uniqueKeys: count <= MAX_CHECKED_TOKENS,
  });
  for (const document of composer.compose(tokens)) {
    const [error] = document.errors;
    if (error !== undefined) throw broken(file, lineAt(error.pos[0]), error.message);
    if (document.contents !== null) yield new Plain(document, file, lineAt);
  }
}

/** Turns the nodes of a document into plain data, remembering lines. */
class Plain implements YamlDocument {
  readonly value: unknown;
  readonly #file: string;
  readonly #lineAt: (offset: number) => number;
  readonly #top: number;
  readonly #lines = new WeakMap<object, Map<string | number, number>>();
  readonly #anchors = new Map<string, Node>();
  #values = 0;

  constructor({ contents }: Document.Parsed, file: string, lineAt: (offset: number) => number) {
    this.#file = file;
    this.#lineAt = lineAt;
    this.#top = lineAt(contents?.range[0] ?? 0);
    this.value = this.#plain(contents, 0);
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
    if (++this.#values > MAX_VALUES) throw broken(this.#file, line, 'its aliases come to too much');
    if (depth > MAX_DEPTH) throw broken(this.#file, line, 'nested too deeply');
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (target === undefined) throw broken(this.#file, line, `there is no anchor ${node.source}`);
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
      const plain = this.#plain(value, depth + 1);
      if (name === '<<') merged.push(...[plain].flat());
      else {
        map[name] = plain;
        lines.set(name, this.#lineOfNode(value, this.#lineOfNode(key, line)));
      }
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
      if (++this.#values > MAX_VALUES) throw broken(this.#file, line, 'its aliases come to too much');
      if (name in map) continue;
      map[name] = value;
      lines.set(name, this.#lines.get(source)?.get(name) ?? line);
    }
  }

  #lineOfNode(node: unknown, fallback: number): number {
    const known = isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : undefined;
    return known === undefined ? fallback : this.#lineAt(known);
  }
}
