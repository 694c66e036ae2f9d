import parse from 'yargs-parser';
import { isPrefixedPath } from '../formats/table.js';
import { nearest } from '../model/nearest.js';
import { hasCredentials } from '../model/reference.js';
import {
  camelCase,
  DASHED_VALUE,
  GLOBAL_OPTIONS,
  splitDashes,
  type Option,
  type OptionTable,
  type Syntax,
} from './syntax.js';
import { helpOf, usage } from './usage.js';

/** Option values and operands by their names; options in camel case. */
export type Arguments = Readonly<Record<string, unknown>>;

/** True for `--help` and `-h`, alone or after other letters. */
export function asksHelp(args: readonly string[]): boolean {
  return splitDashes(args)[0].some(
    (arg, i, all) => /^(?:--help(?:=.*)?|-[A-Za-z]*h)$/.test(arg) && all[i - 1] !== DASHED_VALUE,
  );
}

function takesValue(option: Option | undefined): boolean {
  return option !== undefined && option.type !== 'boolean';
}

function mayHaveValue(option: Option | undefined): boolean {
  return option?.type === 'boolean' && option.choices !== undefined;
}

/**
 * Joins options and their values with a `=`, so that a value may begin with a dash: `-` is stdin.
 * @throws ImgconvError USAGE for an option without its value
 */
function withValues(words: readonly string[], options: OptionTable, help: string): string[] {
  const byLetter = new Map(Object.values(options).map((option) => [option.alias, option]));
  const joined: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    const [, long, letter] = /^(?:--([^=]+)|-[A-Za-z]*([A-Za-z]))$/.exec(word) ?? [];
    const option = long === undefined ? byLetter.get(letter ?? '') : options[long];
    if (!takesValue(option)) {
      joined.push(mayHaveValue(option) ? `${word}=true` : word);
      continue;
    }
    const value = words[++i];
    if (value === undefined || (/^-[^\d.]/.test(value) && word !== DASHED_VALUE))
      throw usage(`${long === undefined ? `-${letter ?? ''}` : word}: a value is missing`, help);
    joined.push(`${word}=${value}`);
  }
  return joined;
}

/**
 * The options and operands of a command line whose option names are known (`expectKnownWords`).
 * @throws ImgconvError USAGE
 */
export function parseArguments(args: readonly string[], command: Syntax): Arguments {
  const options = { ...GLOBAL_OPTIONS, ...command.options };
  const help = helpOf(command);
  const names = Object.keys(options);
  const [all, after] = splitDashes(args);
  // `--no-creds` is an option of its own: the parser would take it for the negation of `--creds`.
  const before = all.map((word) =>
    /^--no-/.test(word) && names.includes(word.slice(2)) ? `${word}=true` : word,
  );
  const { _: words, ...said } = parse(withValues(before, options, help), {
    boolean: names.filter((name) => !takesValue(options[name]) && !mayHaveValue(options[name])),
    string: names.filter((name) => takesValue(options[name]) || mayHaveValue(options[name])),
    alias: Object.fromEntries(names.map((name) => [name, options[name]?.alias ?? []])),
    configuration: { 'parse-numbers': false, 'parse-positional-numbers': false, 'dot-notation': false },
  });
  const found = { ...operandsOf([...words.map(String), ...after].slice(1), command) };
  for (const name of names) {
    const value = valueOf(name, options[name] ?? { describe: '' }, said[name], help);
    if (value !== undefined) found[camelCase(name)] = value;
  }
  return found;
}

function valueOf(name: string, option: Option, said: unknown, help: string): unknown {
  const { choices, repeatable = false, default: otherwise } = option;
  if (said === undefined) return otherwise;
  const values: readonly unknown[] = Array.isArray(said) ? said : [said];
  if (mayHaveValue(option) && (said === 'true' || said === 'false')) return said === 'true';
  for (const value of values) if (choices !== undefined) expectChoice(name, String(value), choices, help);
  if (repeatable) return values;
  // The values may be secrets.
  if (values.length > 1) throw usage(`--${name}: given ${values.length} times`, 'give it once');
  return said;
}

function expectChoice(name: string, value: string, choices: readonly string[], help: string): void {
  if (choices.includes(value)) return;
  const near = nearest(value, choices);
  throw usage(
    `--${name} ${value}: not one of ${choices.join(', ')}`,
    near === undefined ? help : `did you mean --${name} ${near}?`,
  );
}

function operandsOf(words: readonly string[], command: Syntax): Record<string, unknown> {
  const { name, operands, shownOperands: shown = operands, example } = command;
  const left = [...words];
  const found: Record<string, unknown> = {};
  for (const [, bracket, operand = '', many] of operands.matchAll(/([<[])([A-Z_0-9]+)(\.\.)?[>\]]/g)) {
    const values = many === undefined ? left.splice(0, 1) : left.splice(0);
    if (values.length === 0 && bracket === '<')
      throw usage(
        `${name}: operands are missing: ${shown}`,
        `${example === undefined ? '' : `for example ${example}; `}${helpOf(command)}`,
      );
    expectOperand(values, `${name} ${operands}: ${operand}`);
    found[operand] = many === undefined ? values[0] : values;
  }
  const [extra] = left;
  if (extra === undefined) return found;
  throw usage(`${extra}: one operand too many: ${name} ${shown}`, helpOf(command));
}

/** An empty one is the current folder to the file system, and to people a variable of the shell that has no value. */
function expectOperand(values: readonly string[], where: string): void {
  if (values.some((value) => !isPrefixedPath(value) && hasCredentials(value)))
    throw usage(
      `${where} has a user and a password in it`,
      'docker login, --authfile, --src-creds or --dest-creds give credentials',
    );
  if (values.includes(''))
    throw usage(`${where} is empty`, 'has a variable of the shell no value? . is this folder');
}
