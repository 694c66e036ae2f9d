import { isAlias, isMap, isScalar, isSeq, type Document, type Node, type YAMLMap, type YAMLSeq } from 'yaml';
import { ImgconvError } from '../model/errors.js';
import { isObject } from '../model/json.js';

/** Keys and indexes that lead to a value. */
export type Path = readonly (string | number)[];

/** The composer and regular expressions run out of stack at some thousands. */
export const MAX_DEPTH = 200;

type Lines = Map<string | number, number>;
type Values = Record<string, unknown>;

export function broken(file: string, line: number | undefined, what: string): ImgconvError {
  return new ImgconvError('DOCUMENT_INVALID', `${file}${line === undefined ? '' : `:${line}`}: ${what}`);
}

/** One document of a file: plain data without aliases, and the line of each part of it. */
export class YamlDocument {
  readonly value: unknown;
  readonly #file: string;
  readonly #lineAt: (offset: number) => number;
  readonly #top: number;
  readonly #lines = new WeakMap<object, Lines>();
  readonly #anchors = new Map<string, Node>();
  readonly #count: (line: number) => void;

  /** `count` is called for each value, with aliases written out, and throws when there are too many. */
  constructor(
    { contents }: Document.Parsed,
    file: string,
    lineAt: (offset: number) => number,
    count: (line: number) => void,
  ) {
    this.#file = file;
    this.#lineAt = lineAt;
    this.#count = count;
    this.#top = lineAt(contents?.range[0] ?? 0);
    this.value = this.#plain(contents, 0);
  }

  /** The line of the value at this path, or of the nearest one above it. */
  lineOf(path: Path): number {
    let value = this.value;
    let line = this.#top;
    for (const key of path) {
      if (typeof value !== 'object' || value === null) break;
      line = this.#lines.get(value)?.get(key) ?? line;
      value = Reflect.get(value, key);
    }
    return line;
  }

  #plain(node: unknown, depth: number): unknown {
    if (!isScalar(node) && !isMap(node) && !isSeq(node) && !isAlias(node)) return null;
    const line = this.#lineOfNode(node, 0);
    this.#count(line);
    if (depth > MAX_DEPTH) throw broken(this.#file, line, `nested too deeply: more than ${MAX_DEPTH} levels`);
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (target === undefined) throw broken(this.#file, line, 'an alias has no anchor above it');
      return this.#plain(target, depth + 1);
    }
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (isScalar(node)) return node.value;
    return isSeq(node) ? this.#list(node, line, depth) : this.#map(node, line, depth);
  }

  #list({ items }: YAMLSeq, line: number, depth: number): unknown[] {
    const list = items.map((item) => this.#plain(item, depth + 1));
    this.#lines.set(list, new Map(items.map((item, i) => [i, this.#lineOfNode(item, line)])));
    return list;
  }

  #map({ items }: YAMLMap, line: number, depth: number): Values {
    const lines: Lines = new Map();
    // No prototype, so that a key is a key whatever its name is.
    const map = Object.create(null) as Values;
    this.#lines.set(map, lines);
    const merged: unknown[] = [];
    for (const { key, value } of items) {
      if (!isScalar(key)) continue;
      const name = String(key.value);
      const own = this.#lineOfNode(key, line);
      if (lines.has(name)) throw broken(this.#file, own, 'Map keys must be unique');
      lines.set(name, this.#lineOfNode(value, own));
      const plain = this.#plain(value, depth + 1);
      if (name !== '<<') map[name] = plain;
      else for (const source of [plain].flat()) merged.push(source);
    }
    for (const source of merged) if (isObject(source)) this.#merge(map, lines, source, line);
    return map;
  }

  /** Keys of the map itself have precedence over merged ones, and an earlier source over a later one. */
  #merge(map: Values, lines: Lines, source: Values, line: number): void {
    for (const [name, value] of Object.entries(source)) {
      this.#count(line);
      if (name in map) continue;
      map[name] = value;
      lines.set(name, this.#lines.get(source)?.get(name) ?? line);
    }
  }

  #lineOfNode(node: unknown, otherwise: number): number {
    const known = isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : undefined;
    return known === undefined ? otherwise : this.#lineAt(known);
  }
}
