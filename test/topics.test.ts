import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { COMMANDS } from '../src/cli/commands.js';
import { EXIT } from '../src/cli/exit.js';
import { PAIR } from '../src/cli/help.js';
import { manPage } from '../src/cli/man.js';
import { GLOBAL_OPTIONS } from '../src/cli/syntax.js';
import { TOPICS, topicsOf } from '../src/cli/topics/table.js';
import { parseTopic, type Topic } from '../src/cli/topics/topic.js';
import { FORMATS } from '../src/index.js';
import { imgconv } from './support/cli.js';
import { unpackEngine } from './support/engines.js';
import { fixture, projectRoot, syncTree } from './support/fixtures.js';
import { SmallRegistry } from './support/small-registry.js';
import { commandsOf, fits, Workplace } from './support/transcripts.js';

const topics = await Promise.all(
  Object.entries(TOPICS).map(async ([name, { load }]) => [name, await load()] as const),
);

/** Options that commands have; others may stand in examples for other programs. */
const known = new Set(
  [GLOBAL_OPTIONS, ...COMMANDS.map(({ options }) => options)].flatMap((options) => Object.keys(options)),
);

function examplesOf({ text }: Topic): (readonly string[])[] {
  return parseTopic(text).flatMap((block) => (block.kind === 'example' ? [block.lines] : []));
}

/** What is left of a topic beside its examples. */
function proseOf({ text }: Topic): string {
  return parseTopic(text)
    .map((block) =>
      block.kind === 'example' ? '' : `${block.kind === 'term' ? block.term : ''} ${block.text}`,
    )
    .join('\n');
}

/* Each topic runs in a folder of its own, with a tree of skopeo's, two archives of docker save and an empty registry. */
describe('help topics: what they show is what happens', () => {
  for (const [name, topic] of topics) {
    const transcripts = examplesOf(topic).filter(([first]) => first?.startsWith('$ '));
    if (transcripts.length === 0) continue;
    test(name, async (t) => {
      const registry = await SmallRegistry.start();
      t.after(() => registry.stop());
      const place = new Workplace();
      cpSync(syncTree(), join(place.folder, 'sync'), { recursive: true });
      copyFileSync(fixture('docker20.tar'), join(place.folder, 'saved.tar'));
      copyFileSync(fixture('docker20-untagged.tar'), join(place.folder, 'unnamed.tar'));
      if (name === 'rescue') unpackEngine('docker-vfs', join(place.folder, 'node/var/lib/docker'));
      for (const lines of transcripts)
        await place.expectTranscript(`topic ${name}`, commandsOf(`topic ${name}`, 1, lines), registry.host);
    });
  }

  test('`…` stands for any part of a line or any lines, and for nothing else', () => {
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
});

describe('imgconv help TOPIC', () => {
  test('prints every topic, at most 100 columns wide', async () => {
    for (const [name, topic] of topics) {
      const { status, stdout, stderr } = await imgconv(['help', name]);
      assert.equal(status, 0, stderr);
      assert.ok(stdout.startsWith(`${name}: ${topic.summary}\n`));
      for (const line of stdout.split('\n')) assert.ok(line.startsWith('    ') || line.length <= 100, line);
      for (const block of parseTopic(topic.text))
        if (block.kind !== 'example')
          assert.ok(stdout.replace(/\s+/g, ' ').includes(block.text.replace(/\s+/g, ' ')), block.text);
    }
  });

  test('lists topics, and names the nearest to a word that is none', async () => {
    const list = await imgconv(['help', 'topics']);
    const root = await imgconv(['help']);
    for (const [name, { summary }] of topics) {
      assert.ok(root.stdout.split(/\s+/).includes(name), name);
      assert.match(list.stdout, new RegExp(`^  ${name} +${summary.slice(0, 20)}`, 'm'));
    }
    for (const [word, near] of [
      ['registry', 'registries'],
      ['verfy', 'verify'],
    ] as const) {
      const { status, stderr } = await imgconv(['help', word]);
      assert.equal(status, 2);
      assert.match(
        stderr,
        new RegExp(`${word}: no such command or topic\n  did you mean imgconv help ${near}\\?`),
      );
    }
  });

  test('no topic has the name of a command; commands name their topics', async () => {
    for (const { name } of COMMANDS) assert.ok(!Object.hasOwn(TOPICS, name), name);
    const { stdout } = await imgconv(['verify', '--help']);
    assert.match(stdout, /More with imgconv help TOPIC: registries, rescue, verification\n/);
    assert.deepEqual(topicsOf('dir2reg'), topicsOf('tar2oci'));
    assert.ok(topicsOf('dir2reg').includes('names'));
  });
});

describe('topics say what is so', () => {
  test('they name no option and no topic that is not there', () => {
    for (const [name, topic] of topics) {
      for (const [, option = ''] of proseOf(topic).matchAll(/--(?:no-)?([a-z][a-z-]+)/g))
        assert.ok(
          known.has(option) || ['help', 'format', 'version'].includes(option),
          `${name}: --${option}`,
        );
      for (const [, other = ''] of topic.text.matchAll(/imgconv help\s+([a-z]+)/g))
        assert.ok(Object.hasOwn(TOPICS, other), `${name}: imgconv help ${other}`);
    }
  });

  test('formats has every format, report every error code and exit status', () => {
    const formats = topics.find(([name]) => name === 'formats')?.[1].text ?? '';
    for (const { prefix, short, registry } of FORMATS)
      assert.match(
        formats,
        new RegExp(
          registry !== undefined
            ? `^${prefix}://.* :: `
            : `^${prefix}: ${short === undefined ? '' : `\\(${short}\\) `}:: `,
          'm',
        ),
      );
    const report = topics.find(([name]) => name === 'report')?.[1].text ?? '';
    for (const [code, status] of Object.entries(EXIT)) {
      const said = new RegExp(`^${code} :: (.*)$`, 'm').exec(report)?.[1];
      assert.ok(said !== undefined, code);
      assert.equal(/Exit status (\d+)/.exec(said)?.[1] ?? '1', String(status), code);
    }
  });
});

describe('the man page', () => {
  const file = join(projectRoot, 'dist/man/imgconv.1');
  const text = readFileSync(file, 'utf8');

  test('is what its sources give, in ASCII, and the same each time', async () => {
    const version = /"version": "(.*)"/.exec(readFileSync(join(projectRoot, 'package.json'), 'utf8'))?.[1];
    assert.equal(text, await manPage(version ?? ''));
    assert.doesNotMatch(text, /[^\n\x20-\x7e]/);
  });

  test('has every command, option and topic', () => {
    const plain = text.replaceAll('\\-', '-');
    for (const { name, options } of COMMANDS) {
      assert.match(plain, new RegExp(PAIR.test(name) ? `\\b${name}\\b` : `^\\.SS imgconv ${name}\\b`, 'm'));
      for (const [option, { hidden }] of Object.entries(options))
        if (hidden !== true) assert.match(plain, new RegExp(`--(no-)?${option}`), option);
    }
    for (const [name] of topics) assert.match(plain, new RegExp(`^\\.SH TOPIC ${name.toUpperCase()}$`, 'm'));
  });

  const man = spawnSync('man', ['--version']).status === 0 ? 'man' : undefined;
  test('man renders it without warnings', { skip: man === undefined && 'man is not installed' }, () => {
    const { status, stdout, stderr } = spawnSync('man', ['--warnings', '-E', 'UTF-8', '-l', '-Tutf8', file], {
      encoding: 'utf8',
      env: { ...process.env, MANPAGER: 'cat', MANWIDTH: '100', GROFF_NO_SGR: '1', MAN_KEEP_FORMATTING: '' },
    });
    assert.equal(status, 0, stderr);
    assert.equal(stderr, '');
    const plain = stdout.replace(/.\u0008/g, '').replace(/\u001b\[[\d;]*m/g, '');
    for (const [name] of topics) assert.match(plain, new RegExp(`^TOPIC ${name.toUpperCase()}$`, 'm'));
    assert.match(plain, /^ +\$ imgconv dir2reg sync store demo\/app:1\.0 demo\/multi:1$/m);
    assert.match(plain, /--compression <keep\|gzip\|zstd\|none\|docker\|docker:go1.27>/);
  });
});
