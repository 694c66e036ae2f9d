import type { Command } from './syntax.js';
import { FORMATS, prefixOf } from '../formats/table.js';
import { COMMANDS } from './commands.js';
import { HELPED, PAIR, writtenOf } from './help.js';
import { conversionOptions } from './options.js';
import type { Option, OptionTable } from './syntax.js';
import { EXIT_STATUSES } from './topics/report.js';
import { TOPICS } from './topics/table.js';
import { parseTopic, type Block } from './topics/topic.js';

/** The man page, in the macros of man(7), as ASCII. It has no date: the same sources give the same bytes. */
export async function manPage(version: string): Promise<string> {
  const topics = await Promise.all(
    Object.entries(TOPICS).map(async ([name, { load }]) => {
      const { summary, text } = await load();
      return [...section(`TOPIC ${name.toUpperCase()}`, summary), ...blockLines(parseTopic(text))];
    }),
  );
  const pairs = COMMANDS.filter(({ name }) => PAIR.test(name));
  const pair = {
    name: 'X2Y',
    operands: '<SRC> <DST> [REF..]',
    describe: `Convert one format to another: ${pairs.map(({ name }) => name).join(', ')}`,
    example: pairs[0]?.example ?? '',
    options: conversionOptions(),
  };
  const commands = [...COMMANDS.filter((one) => !pairs.includes(one)), pair];
  return `${[
    `.TH IMGCONV 1 "" "imgconv ${version}" "User Commands"`,
    '.SH NAME',
    escaped('imgconv - convert container images between stores, archives and registries'),
    ...section('SYNOPSIS', 'imgconv COMMAND [OPTION…] [OPERAND…]'),
    ...section('DESCRIPTION', DESCRIPTION),
    '.PP',
    escaped(`Prefixes of places: ${FORMATS.map(prefixOf).join(' ')}`),
    '.SH COMMANDS',
    ...commands.flatMap(commandLines),
    ...topics.flat(),
    ...Object.entries(ENDING).flatMap(([title, text]) => [`.SH ${title}`, ...blockLines(parseTopic(text))]),
    ...section('SEE ALSO', 'skopeo(1), docker(1), podman(1), helm(1)'),
  ].join('\n')}\n`;
}

const DESCRIPTION =
  'imgconv converts container images between skopeo directories, the storage of a registry, docker-archives, ' +
  'OCI layouts and archives, and registries. It verifies every digest, and keeps it wherever the target can hold it.';

/** Sections of terms alone. */
const ENDING: Readonly<Record<string, string>> = {
  'EXIT STATUS': EXIT_STATUSES,
  FILES: `
~/.docker/config.json, ~/.config/containers/auth.json, $XDG_RUNTIME_DIR/containers/auth.json :: Credentials.
~/.config/containers/certs.d, /etc/containers/certs.d, /etc/docker/certs.d :: Certificates of registries.
.imgconv-partial :: Downloads that a later run resumes, in the target.
.damaged :: Damaged files that verify --repair replaced, in the place that was repaired.
`,
  ENVIRONMENT: `
REGISTRY_AUTH_FILE :: The file of credentials, before all others.
HTTPS_PROXY, HTTP_PROXY, NO_PROXY :: Proxies for registries, except registries on this machine.
`,
};

function section(title: string, text: string): string[] {
  return [`.SH ${escaped(title)}`, escaped(text)];
}

function commandLines(
  command: Pick<Command, 'name' | 'operands' | 'shownOperands' | 'describe' | 'example' | 'options'>,
): string[] {
  const { name, operands, shownOperands = operands, describe, example, options } = command;
  return [
    `.SS ${escaped(`imgconv ${name} ${shownOperands}`.trimEnd())}`,
    escaped(`${describe}.`),
    ...optionLines({ ...options, ...HELPED }),
    ...blockLines([{ kind: 'example', lines: [example] }]),
  ];
}

function optionLines(options: OptionTable): string[] {
  return Object.entries<Option>(options)
    .filter(([, { hidden }]) => hidden !== true)
    .flatMap(([name, option]) => [
      '.TP',
      `.B ${escaped(`${option.alias === undefined ? '' : `-${option.alias}, `}--${writtenOf(name, option)}`)}`,
      escaped(`${option.describe}${option.repeatable === true ? ' (repeatable)' : ''}`),
    ]);
}

function blockLines(blocks: readonly Block[]): string[] {
  return blocks.flatMap((block, i) => {
    switch (block.kind) {
      case 'heading':
        return [`.SS ${escaped(block.text)}`];
      case 'paragraph':
        return [...distance(blocks[i - 1]), escaped(block.text)];
      case 'item':
        return ['.IP \\(bu 2', escaped(block.text)];
      case 'term':
        return ['.TP', `.B ${escaped(block.term)}`, escaped(block.text)];
      case 'example':
        return [...distance(blocks[i - 1]), '.RS 4', '.nf', ...block.lines.map(escaped), '.fi', '.RE'];
    }
  });
}

/** What begins a section has its distance from the heading. */
function distance(before: Block | undefined): string[] {
  return before?.kind === 'heading' ? [] : ['.PP'];
}

const ROFF: Readonly<Record<string, string>> = {
  '\\': '\\e',
  '-': '\\-',
  "'": '\\(aq',
  '`': '\\(ga',
  '^': '\\(ha',
  '~': '\\(ti',
  '"': '\\(dq',
};

/** Text that troff sets as it is, alone on a line or as the rest of a macro's line. */
function escaped(text: string): string {
  return text
    .replace(/[\\\-'`^~"]/g, (letter) => ROFF[letter] ?? letter)
    .replace(
      /[^\x20-\x7e]/gu,
      (letter) => `\\[u${(letter.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}]`,
    )
    .replace(/^\./, '\\&.');
}
