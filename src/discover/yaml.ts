import { Composer, Lexer, LineCounter, Parser, type CST, type YAMLError } from 'yaml';
import { MAX_TEXT } from '../bytes/files.js';
import { ImgconvError } from '../model/errors.js';
import type { Effort } from './effort.js';
import { broken, MAX_DEPTH, YamlDocument } from './yaml-document.js';

/** Per document and per file, before anything is built of it: each token costs some hundred bytes and a microsecond. */
const MAX_TOKENS = 500_000;
const MAX_FILE_TOKENS = 2_000_000;
const MAX_LINES = 1_000_000;
/** A parser is made for each. */
const MAX_DOCUMENTS = 50_000;
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

/** Messages without text of the document, which the library quotes: it may hold secrets. */
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
  const excess =
    text.length > MAX_TEXT
      ? `${MAX_TEXT} characters`
      : hasMoreLines(text, MAX_LINES)
        ? `${MAX_LINES} lines`
        : undefined;
  if (excess !== undefined) {
    onError(broken(file, undefined, `too large to be read: more than ${excess}`));
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

function hasMoreLines(text: string, lines: number): boolean {
  let count = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1))
    if (++count > lines) return true;
  return false;
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

/** A marker only: a file may have a million. */
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
  counter.addNewLine(0);
  const before = room.tokens;
  const tokens = tokensOf(body, new Parser(counter.addNewLine), room, (at, what) =>
    broken(file, lineAt(at), what),
  );
  effort?.spend(before - room.tokens, file);
  // YamlDocument finds repeated keys: the library compares each with each.
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
    let values = 0;
    const count = (line: number) => {
      if (++values > allowed)
        throw broken(file, line, `its aliases come to too much: more than ${allowed} values`);
    };
    let plain: YamlDocument;
    try {
      plain = new YamlDocument(document, file, lineAt, count);
    } finally {
      room.values -= values;
      effort?.spend(Math.min(values, effort.left), file);
    }
    yield plain;
  }
}

/** Tokens are counted before anything is built of them. */
function tokensOf(
  body: string,
  parser: Parser,
  room: Room,
  refusal: (offset: number, what: string) => ImgconvError,
): CST.Token[] {
  const tokens: CST.Token[] = [];
  const most = Math.min(MAX_TOKENS, room.tokens);
  let count = 0;
  for (const lexeme of new Lexer().lex(body)) {
    for (const token of parser.next(lexeme)) tokens.push(token);
    if (++count > most) {
      room.tokens -= count;
      throw refusal(parser.offset, `too large to be read: more than ${most} tokens`);
    }
    if (parser.stack.length > MAX_DEPTH)
      throw refusal(parser.offset, `nested too deeply: more than ${MAX_DEPTH} levels`);
  }
  room.tokens -= count;
  for (const token of parser.end()) tokens.push(token);
  return tokens;
}
