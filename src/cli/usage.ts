import type { Options } from 'yargs';
import { isPrefixedPath } from '../formats/table.js';
import { ImgconvError } from '../model/errors.js';
import { nearest } from '../model/nearest.js';
import { hasCredentials } from '../model/reference.js';

/** Options by name, as yargs describes them. */
export type OptionTable = Readonly<Record<string, Options>>;

/** Of every command. yargs has `help` and `version` from itself. */
export const GLOBAL_OPTIONS: OptionTable = {
  debug: { type: 'boolean', describe: 'show where in the program an error arose, and what caused it' },
};

/** What usage messages need to know of a command. */
export interface Words {
  readonly name: string;
  /** yargs' notation: `<needed>`, `[optional]`, `[many..]`. */
  readonly operands: string;
  readonly options: OptionTable;
}

/** What skopeo, docker and others call it. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'override-arch': 'platform',
  'override-os': 'platform',
  'override-variant': 'platform',
  arch: 'platform',
  'multi-arch': 'all',
  'all-platforms': 'all',
  'dest-compress': 'compression',
  'dest-compress-format': 'compression',
  'dest-compress-level': 'compression-level',
  'dest-force-compress-format': 'recompress',
  'dest-decompress': 'layers',
  uncompressed: 'layers',
  level: 'compression-level',
  threads: 'jobs',
  parallel: 'jobs',
  name: 'tag',
  'keep-going': 'fail-fast',
  verbose: 'debug',
  silent: 'quiet',
};

function beforeDashes(args: readonly string[]): readonly string[] {
  const end = args.indexOf('--');
  return end < 0 ? args : args.slice(0, end);
}

/** The names of options as they were said, without dashes and values, in their order; not those behind a `--`. */
function saidOptions(args: readonly string[]): string[] {
  return beforeDashes(args).flatMap((arg) => /^--([^=]+)/.exec(arg)?.[1] ?? []);
}

/**
 * Refuses commands and options that are not known, with the nearest that is.
 * @throws ImgconvError USAGE
 */
export function expectKnownWords(args: readonly string[], commands: readonly Words[]): void {
  const name = args.find((arg) => !arg.startsWith('-'));
  const command = commands.find((one) => one.name === name);
  if (name !== undefined && command === undefined) {
    const near = nearest(
      name,
      commands.map((one) => one.name),
    );
    throw usage(
      `${name}: no such command`,
      `${near === undefined ? '' : `did you mean ${near}? `}imgconv --help lists commands`,
    );
  }
  const options = { ...GLOBAL_OPTIONS, ...command?.options };
  expectYesOrNo(args, options);
  for (const said of saidOptions(args)) {
    const positive = said.replace(/^no-/, '');
    if (Object.hasOwn(options, said) || said === 'help' || said === 'version') continue;
    if (positive !== said && options[positive]?.type === 'boolean') continue;
    throw unknownOption(said, command, options);
  }
}

/** yargs takes any value but `true` for no: `--dry-run=yes` would not be a dry run. */
function expectYesOrNo(args: readonly string[], options: OptionTable): void {
  for (const arg of beforeDashes(args)) {
    const [, name = '', value = ''] = /^--(?:no-)?([^=]+)=(.*)$/s.exec(arg) ?? [];
    if (options[name]?.type !== 'boolean' || ['true', 'false'].includes(value)) continue;
    throw usage(`--${name}=${value}: neither true nor false`, `did you mean --${name}?`);
  }
}

function unknownOption(said: string, command: Words | undefined, options: OptionTable): ImgconvError {
  const shown = Object.keys(options).filter((name) => options[name]?.hidden !== true);
  const elsewhere = Object.hasOwn(ELSEWHERE, said) ? ELSEWHERE[said] : undefined;
  const near =
    elsewhere !== undefined && shown.includes(elsewhere)
      ? elsewhere
      : (nearest(said, shown) ?? nearest(said.replace(/^no-/, ''), shown));
  const where = command === undefined ? 'imgconv' : command.name;
  const help = command === undefined ? 'imgconv --help' : `imgconv ${command.name} --help`;
  return usage(
    `--${said}: ${where} has no such option`,
    `${near === undefined ? '' : `did you mean --${near}? `}${help} lists them`,
  );
}

/** yargs makes a list of what is said twice: only options that are described as lists may be one. */
export function expectSaidOnce(argv: unknown, { options }: Words): void {
  for (const [name, { coerce }] of Object.entries(options)) {
    const value = (argv as Readonly<Record<string, unknown>>)[name];
    // The values may be secrets.
    if (coerce === undefined && Array.isArray(value))
      throw usage(`--${name}: given ${value.length} times`, 'give it once');
  }
}

/** An empty one is the current folder to the file system, and to people a variable of the shell that has no value. */
export function expectOperands(argv: unknown, { name, operands }: Words): void {
  for (const [, operand = ''] of operands.matchAll(/([A-Z_0-9]+)/g)) {
    const value = (argv as Readonly<Record<string, unknown>>)[operand];
    if ([value].flat().some((one) => typeof one === 'string' && !isPrefixedPath(one) && hasCredentials(one)))
      throw usage(
        `${name} ${operands}: ${operand} has a user and a password in it`,
        'docker login, --authfile, --src-creds or --dest-creds give credentials',
      );
    if (![value].flat().includes('')) continue;
    throw usage(
      `${name} ${operands}: ${operand} is empty`,
      'has a variable of the shell no value? . is this folder',
    );
  }
}

/** yargs explains over several lines and counts operands; a message of ours is one line and names them. */
export function usageError(command: Words | undefined, message: string): ImgconvError {
  const help = `imgconv ${command === undefined ? '' : `${command.name} `}--help lists ${command === undefined ? 'commands and ' : ''}options`;
  const missing = /^Not enough arguments following: (.*)$/.exec(message)?.[1];
  if (missing !== undefined) return usage(`${dashes(missing)}: a value is missing`, help);
  const choice = /^Invalid values:\s*Argument: (.*?), Given: (.*?), Choices: (.*)$/s.exec(message);
  if (choice !== null) {
    const [, option = '', given = '', choices = ''] = choice;
    const plain = (text: string) => text.replace(/"/g, '').trim();
    const near = nearest(plain(given), plain(choices).split(', '));
    return usage(
      `--${option} ${plain(given)}: not one of ${plain(choices)}`,
      near === undefined ? help : `did you mean --${option} ${near}?`,
    );
  }
  if (command !== undefined && message.startsWith('Not enough non-option arguments'))
    return usage(`${command.name}: operands are missing: ${command.operands}`, help);
  const unknown = /^Unknown arguments?: ([^,]*)/.exec(message)?.[1];
  if (unknown !== undefined && command !== undefined)
    return unknown.length === 1
      ? usage(`-${unknown}: ${command.name} has no such option`, help)
      : usage(`${unknown}: one operand too many: ${command.name} ${command.operands}`, help);
  return usage(message.replace(/\s*\n\s*/g, ' ').trim(), help);
}

function dashes(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`;
}

function usage(what: string, hint: string): ImgconvError {
  return new ImgconvError('USAGE', what, { hint });
}
