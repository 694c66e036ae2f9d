import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { before, describe, test } from 'node:test';
import { EXIT } from '../src/cli/exit.js';
import { FORMATS } from '../src/index.js';
import { projectRoot } from './support/fixtures.js';
import { tempFolder } from './support/temp.js';

/*
 * README.md is run. A ```console block is a transcript: a line that begins with `$ ` is a command (`> ` goes on with
 * it), what follows is all that it says on stdout and stderr. `…` stands for any part of a line, or alone for any
 * number of lines. The blocks run in their order, in one folder beside the checkout, which is called `imgconv` there.
 * Every command has to succeed; one that is to fail ends in `; echo "exit status $?"`. ```sh blocks are not run.
 */
interface Command {
  readonly line: number;
  readonly text: string;
  readonly output: string;
}

interface Block {
  readonly language: string;
  readonly line: number;
  readonly lines: readonly string[];
}

const readme = readFileSync(join(projectRoot, 'README.md'), 'utf8');
const contributing = readFileSync(join(projectRoot, 'CONTRIBUTING.md'), 'utf8');

function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let open: { language: string; line: number; lines: string[] } | undefined;
  for (const [i, text] of markdown.split('\n').entries()) {
    const fence = /^```(\w*)$/.exec(text);
    if (fence !== null && open === undefined) open = { language: fence[1] ?? '', line: i + 2, lines: [] };
    else if (fence !== null && open !== undefined) {
      blocks.push(open);
      open = undefined;
    } else open?.lines.push(text);
  }
  assert.equal(open, undefined, `the block that begins at line ${open?.line ?? 0} has no end`);
  return blocks;
}

function commandsOf({ line, lines }: Block): Command[] {
  const commands: { line: number; text: string; output: string }[] = [];
  for (const [i, text] of lines.entries()) {
    const last = commands.at(-1);
    if (text.startsWith('$ ')) commands.push({ line: line + i, text: text.slice(2), output: '' });
    else if (last === undefined) assert.fail(`README.md:${line + i}: output before any command`);
    else if (text.startsWith('> ') && last.output === '') last.text += `\n${text.slice(2)}`;
    else last.output += `${text}\n`;
  }
  return commands;
}

/** True when `actual` is what `expected` says, whose `…` stand for anything. */
function fits(actual: string, expected: string): boolean {
  const pattern = expected
    .split('\n')
    .slice(0, -1)
    .map((line) =>
      line === '…'
        ? '(?:.*\n)*?'
        : `${line
            .split('…')
            .map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
            .join('.*')}\n`,
    );
  return new RegExp(`^${pattern.join('')}$`).test(actual);
}

const parent = tempFolder();
const folder = join(parent, 'work');
const path = join(parent, 'path');

function run(command: string): { status: number | null; output: string } {
  const { status, stdout, error } = spawnSync('bash', ['-c', `set -o pipefail; exec 2>&1\n${command}`], {
    cwd: folder,
    env: { ...process.env, PATH: [path, process.env['PATH']].join(delimiter), LC_ALL: 'C' },
    stdio: ['ignore', 'pipe', 'ignore'],
    encoding: 'utf8',
    timeout: 120_000,
  });
  assert.equal(error, undefined);
  return { status, output: stdout };
}

before(() => {
  for (const made of [folder, path]) mkdirSync(made);
  symlinkSync(projectRoot, join(parent, 'imgconv'));
  symlinkSync(process.execPath, join(path, 'node'));
  symlinkSync(join(projectRoot, 'bin/imgconv.js'), join(path, 'imgconv'));
});

const blocks = blocksOf(readme);

describe('README.md: what it shows is what happens', () => {
  for (const block of blocks.filter(({ language }) => language === 'console')) {
    const commands = commandsOf(block);
    test(`line ${block.line}: ${commands[0]?.text ?? 'no command'}`, () => {
      assert.ok(commands.length > 0);
      for (const { line, text, output: expected } of commands) {
        const { status, output } = run(text);
        const where = `README.md:${line}: $ ${text}`;
        assert.ok(fits(output, expected), `${where}\nREADME.md says:\n${expected}\nit says:\n${output}`);
        assert.equal(status, 0, `${where}\nexit status ${status ?? 'unknown'}\n${output}`);
      }
    });
  }
});

test('README.md: `…` stands for any part of a line or any lines, and for nothing else', () => {
  assert.ok(fits('a b c\n', 'a … c\n'));
  assert.ok(fits('a\nb\nc\nd\n', 'a\n…\nd\n'));
  assert.ok(fits('a\nd\n', 'a\n…\nd\n'));
  for (const [actual, expected] of [
    ['a b\nc\n', 'a … c\n'],
    ['a b c\n', 'a … d\n'],
    ['a\nb\n', 'a\n'],
    ['a\n', 'a\nb\n'],
    ['a+c\n', 'a.c\n'],
  ] as const)
    assert.ok(!fits(actual, expected), `${actual} for ${expected}`);
});

test('README.md: shows every command but those that are like others', () => {
  const shown = blocks.filter(({ language }) => language === 'console').flatMap(commandsOf);
  for (const command of [
    'ls',
    'inspect',
    'copy',
    'dir2reg',
    'reg2dir',
    'tar2reg',
    'reg2tar',
    'dir2tar',
    'tar2dir',
    'reg2reg',
    'oci2reg',
    'images',
    'verify',
    'gc',
  ])
    assert.ok(
      shown.some(({ text }) => text.includes(`imgconv ${command} `)),
      command,
    );
});

test('README.md: the library example passes the type checker and runs', () => {
  const [example, ...others] = blocks.filter(({ language }) => language === 'js');
  assert.ok(example !== undefined && others.length === 0);
  const text = example.lines.join('\n');
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(projectRoot, join(folder, 'node_modules/imgconv'));
  writeFileSync(join(folder, 'example.mts'), text);
  const options = { ...strict, typeRoots: [join(projectRoot, 'node_modules/@types')] };
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: options, files: ['example.mts'] }),
  );
  const tsc = join(projectRoot, 'node_modules/typescript/bin/tsc');
  const checked = run(`node ${tsc} -p tsconfig.json`);
  assert.equal(checked.status, 0, checked.output);
  writeFileSync(join(folder, 'example.mjs'), text);
  const ran = run('node example.mjs');
  assert.equal(ran.status, 0, ran.output);
  assert.match(ran.output, /^demo\/app:1\.0 sha256:[0-9a-f]{64}$/m);
});

const strict = {
  noEmit: true,
  strict: true,
  exactOptionalPropertyTypes: true,
  target: 'ES2022',
  module: 'nodenext',
  types: ['node'],
  skipLibCheck: true,
};

test('README.md names no option that is not there', () => {
  const optionsIn = (text: string, pattern: RegExp) =>
    new Set([...text.matchAll(pattern)].map(([, name = '']) => `--${name}`));
  const help = ['copy', 'ls', 'inspect', 'images', 'verify', 'gc', 'save', 'push', 'sync']
    .map((command) => run(`imgconv ${command} --help`).output)
    .join('');
  const known = optionsIn(`--version ${help}`, /--(?:no-)?([a-z][a-z-]+)/g);
  const named = optionsIn(readme, /`--(?:no-)?([a-z][a-z-]+)/g);
  assert.ok(named.size > 10);
  assert.deepEqual(
    [...named].filter((name) => !known.has(name)),
    [],
  );
});

test('README.md: the table of formats has every format', () => {
  for (const { prefix, short, traits } of FORMATS) {
    const row = traits.remote ? `${prefix}://\` +\\| –` : `${prefix}:\` +\\| ${short}`;
    assert.match(readme, new RegExp(`^\\| \`${row} +\\|`, 'm'));
  }
});

test('CONTRIBUTING.md: the table of errors has every code with its exit status', () => {
  for (const [code, status] of Object.entries(EXIT))
    assert.match(contributing, new RegExp(`^\\| \`${code}\` +\\| ${status} +\\|`, 'm'));
});
