import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { COMMANDS } from '../src/cli/commands.js';
import { FORMATS } from '../src/index.js';
import { projectRoot } from './support/fixtures.js';
import { commandsOf, Workplace } from './support/transcripts.js';

/*
 * README.md is run: each ```console block is a transcript (support/transcripts.ts). The blocks run in their order, in one
 * folder. ```sh blocks are not run.
 */
interface Block {
  readonly language: string;
  readonly line: number;
  readonly lines: readonly string[];
}

const readme = readFileSync(join(projectRoot, 'README.md'), 'utf8');

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

const place = new Workplace();
const run = (command: string) => place.run(command);
const { folder } = place;

const blocks = blocksOf(readme);
const transcriptOf = ({ line, lines }: Block) => commandsOf('README.md', line, lines);

describe('README.md: what it shows is what happens', () => {
  for (const block of blocks.filter(({ language }) => language === 'console')) {
    const commands = transcriptOf(block);
    test(`line ${block.line}: ${commands[0]?.text ?? 'no command'}`, () =>
      place.expectTranscript('README.md', commands));
  }
});

test('README.md: shows every command but those that are like others', () => {
  const shown = blocks.filter(({ language }) => language === 'console').flatMap(transcriptOf);
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

test('README.md: the library example passes the type checker and runs', async () => {
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
  const checked = await run(`node ${tsc} -p tsconfig.json`);
  assert.equal(checked.status, 0, checked.output);
  writeFileSync(join(folder, 'example.mjs'), text);
  const ran = await run('node example.mjs');
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
  const known = new Set(
    ['help', 'version', 'debug', ...COMMANDS.flatMap(({ options }) => Object.keys(options))].map(
      (name) => `--${name}`,
    ),
  );
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
