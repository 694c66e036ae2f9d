import yargs from 'yargs';
import { FORMATS, prefixOf } from '../formats/table.js';
import type { Command } from './syntax.js';
import { GLOBAL_OPTIONS, type Option, type OptionTable } from './syntax.js';
import { TOPICS, topicsOf } from './topics/table.js';

const WIDEST = 100;

/** Help of one command, or of all. */
export async function helpText(commands: readonly Command[], command: Command | undefined): Promise<string> {
  return command === undefined ? rootText(commands) : commandText(command);
}

/** At most 24 lines of 80 columns, the smallest terminal. */
function rootText(commands: readonly Command[]): string {
  const names = commands.map(({ name }) => name);
  const pairs = names.filter((name) => PAIR.test(name));
  const group = (title: string, some: readonly string[]) => {
    const there = some.filter((name) => name === 'help' || names.includes(name));
    return there.length === 0 ? '' : `  ${title.padEnd(12)} ${there.join(' ')}\n`;
  };
  return `imgconv converts container images between stores, archives and registries.
It verifies every digest, and keeps it wherever the target can hold it.

  imgconv save ubuntu:24.04 quay.io/org/app:1 ./store     registries to a store
  imgconv push ./store docker://registry.example.com      a store to a registry
  imgconv copy docker-archive:app.tar oci:layout          any place to any other
  imgconv tar2reg images.tar ./store                      docker save to a store
  imgconv ls ./store                                      list images
  imgconv verify ./store                                  check every digest

Commands (imgconv COMMAND --help shows options):
${Object.entries(GROUPS)
  .map(([title, some]) => group(title, some))
  .join('')}  ${'convert'.padEnd(12)} X2Y, with X and Y of ${shortNames(pairs).join(' ')}: dir2reg, tar2oci, …

Places: ${prefixesWhere(false)}
        ${prefixesWhere(true)}

Topics (imgconv help TOPIC prints one; imgconv help topics lists them):
  ${namesInTwoLines(Object.keys(TOPICS))}`;
}

function prefixesWhere(isEngine: boolean): string {
  return FORMATS.filter(({ traits }) => (traits.isEngine ?? false) === isEngine)
    .map(prefixOf)
    .join(' ');
}

function namesInTwoLines(names: readonly string[]): string {
  const [first, second]: [string[], string[]] = [[], []];
  for (const name of names)
    ([...first, name].join(' ').length <= 78 && second.length === 0 ? first : second).push(name);
  return `${first.join(' ')}\n  ${second.join(' ')}`;
}

/** Names of conversions between two formats. */
export const PAIR = /^([a-z]+)2[a-z]+$/;

/** Commands other than the pairs, as root help lists them. */
export const GROUPS: Readonly<Record<string, readonly string[]>> = {
  transfer: ['save', 'push', 'copy', 'sync', 'fill'],
  look: ['ls', 'list-tags', 'inspect', 'digest', 'tree', 'du', 'images', 'verify'],
  change: ['tag', 'rm', 'gc'],
  registries: ['serve', 'login', 'logout'],
  other: ['help', 'version', 'completion'],
};

function shortNames(pairs: readonly string[]): string[] {
  return [...new Set(pairs.map((name) => PAIR.exec(name)?.[1] ?? ''))];
}

/** As yargs lays it out. */
function commandText(command: Command): Promise<string> {
  const { name, operands, shownOperands = operands, describe, example, options } = command;
  const parser = yargs([])
    .scriptName('imgconv')
    .locale('en')
    .usage(`Usage: imgconv ${`${name} ${shownOperands}`.trimEnd()}\n\n${describe}.`)
    .exitProcess(false)
    .version(false)
    .help(false)
    .wrap(Math.min(WIDEST, process.stdout.columns || WIDEST))
    .example(example, '');
  for (const [option, one] of Object.entries<Option>({ ...options, ...HELPED })) {
    if (one.hidden === true) continue;
    parser.option(writtenOf(option, one), {
      alias: one.alias ?? [],
      describe: `${one.describe}${one.repeatable === true ? ' (repeatable)' : ''}`,
      group: one.group ?? 'Options:',
    });
  }
  const topics = topicsOf(name);
  if (topics.length > 0) parser.epilogue(`More with imgconv help TOPIC: ${topics.join(', ')}`);
  return parser.getHelp();
}

/** Options of every command, as help lists them. */
export const HELPED: OptionTable = {
  ...GLOBAL_OPTIONS,
  help: { alias: 'h', type: 'boolean', describe: 'show this help' },
};

/** `jobs <n>`, `link <auto|hard|reflink|copy>`, `no-extras`. */
export function writtenOf(name: string, { shown = name, type, value = 'value', choices }: Option): string {
  if (type === 'boolean') return choices === undefined ? shown : `${shown}[=${choices.join('|')}]`;
  return `${shown} <${choices?.join('|') ?? value}>`;
}
