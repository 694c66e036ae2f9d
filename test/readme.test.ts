import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { README_ROWS, ROWS } from './bench/rows.js';
import { tableOf, type SavedRun } from './bench/table.js';
import { COMMANDS } from '../src/cli/commands.js';
import { FORMATS } from '../src/index.js';
import { imgconv } from './support/cli.js';
import { projectRoot, syncTree } from './support/fixtures.js';
import { SmallRegistry } from './support/small-registry.js';
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

const NAMES = ['README.md', 'README.zh-CN.md'] as const;

/** What the transcripts begin with: files that need two images, and a registry that has them. */
async function prepared(): Promise<{ place: Workplace; registry: SmallRegistry }> {
  const place = new Workplace();
  const deploy = join(place.folder, 'deploy');
  mkdirSync(deploy);
  const services = 'services:\n  web: {image: demo/app:1.0}\n  db: {image: demo/base:1}\n';
  writeFileSync(join(deploy, 'compose.yaml'), services);
  const registry = await SmallRegistry.start();
  const pushed = await imgconv([
    'push',
    syncTree(),
    `docker://${registry.host}`,
    'demo/app:1.0',
    'demo/base:1',
  ]);
  assert.equal(pushed.status, 0, pushed.stderr);
  return { place, registry };
}

const texts = new Map(NAMES.map((name) => [name, readFileSync(join(projectRoot, name), 'utf8')]));
const readme = texts.get('README.md') ?? '';
const { place, registry } = await prepared();
after(() => registry.stop());
const run = (command: string) => place.run(command);
const { folder } = place;
const blocks = blocksOf(readme);

for (const name of NAMES)
  describe(`${name}: what it shows is what happens`, () => {
    const own = name === 'README.md' ? Promise.resolve({ place, registry }) : prepared();
    after(async () => {
      if (name !== 'README.md') await (await own).registry.stop();
    });
    for (const { language, line, lines } of blocksOf(texts.get(name) ?? '')) {
      if (language !== 'console') continue;
      const commands = commandsOf(name, line, lines);
      test(`line ${line}: ${commands[0]?.text ?? 'no command'}`, async () => {
        const { place: at, registry: served } = await own;
        await at.expectTranscript(name, commands, served.host);
      });
    }
  });

test('README.md has 300 lines at most, and shows what is most common', () => {
  assert.ok(readme.split('\n').length <= 300);
  const shown = blocks.filter(({ language }) => language === 'console').flatMap(({ lines }) => lines);
  for (const command of [
    'images',
    'save',
    'verify',
    'push',
    'dir2reg',
    'ls',
    'tar2reg',
    'reg2tar',
    'copy',
    'tag',
    'rm',
    'gc',
  ])
    assert.ok(
      shown.some((line) => line.includes(`imgconv ${command} `)),
      command,
    );
});

test('README.zh-CN.md has the commands and tables of README.md, up to its examples', () => {
  const chinese = texts.get('README.zh-CN.md') ?? '';
  const upTo = readme.slice(0, readme.indexOf('## Examples'));
  for (const { language, lines } of blocksOf(upTo))
    if (language === 'console') assert.ok(chinese.includes(lines.join('\n')), lines.join('\n'));
  const columns = (text: string) =>
    [...text.matchAll(/^\|.*\| (`imgconv [^|]*?) +\|$/gm)].map(([, last = '']) =>
      last.replaceAll('`、`', '`, `'),
    );
  assert.deepEqual(columns(chinese), columns(upTo));
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
  assert.ok(named.size > 3);
  assert.deepEqual(
    [...named].filter((name) => !known.has(name)),
    [],
  );
});

test('README.md: the table of formats has every format', () => {
  for (const { prefix, short, registry } of FORMATS) {
    const row = `${prefix}:${registry === undefined ? '' : '//'}\` +\\| ${short ?? '–'}`;
    assert.match(readme, new RegExp(`^\\| \`${row} +\\|`, 'm'));
  }
});

/** The rows of tables, without what only makes their columns wide. */
function rowsOf(text: string): string {
  const cells = (line: string) => line.split('|').map((cell) => cell.trim());
  const rows = text.split('\n').filter((line) => line.startsWith('|') && !/^\|[ |-]+$/.test(line));
  return rows.map((line) => cells(line).join('|')).join('\n');
}

test('the tables of speed are those that the bench made of its saved run', () => {
  const run = JSON.parse(readFileSync(join(projectRoot, 'test/bench/results.json'), 'utf8')) as SavedRun;
  const contributing = readFileSync(join(projectRoot, 'CONTRIBUTING.md'), 'utf8');
  assert.deepEqual(
    ROWS.map(({ name }) => name),
    run.rows.filter(({ scale }) => scale === 1).map(({ name }) => name),
  );
  assert.ok(rowsOf(contributing).includes(rowsOf(tableOf(run, ROWS))), tableOf(run, ROWS));
  const most = tableOf(run, ROWS, README_ROWS);
  assert.ok(rowsOf(readme).includes(rowsOf(most)), most);
});
