import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, ftruncateSync, closeSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { before, describe, test } from 'node:test';
import { COMMANDS } from '../src/cli/commands.js';

import { imgconv, imgconvEach, type Outcome } from './support/cli.js';
import { digestsOf, expected, fixture, projectRoot, syncTree, unpacked } from './support/fixtures.js';
import { hex, imageOf, layTree, storedBlob } from './support/images.js';
import { LOCAL_FORMATS, namesOf, place } from './support/places.js';
import { contentsOf, filesIn, stagingIn } from './support/snapshot.js';
import { bodyOf, readTar } from './support/tars.js';
import { tempFolder } from './support/temp.js';
import { until } from './support/processes.js';

const NAMES = digestsOf('sync.tar');
/** Processes side by side: each is mostly start-up. */
const parallel = { concurrency: 3 };

function store(): string {
  return join(tempFolder(), 'store');
}

describe('wrong usage exits with 2, says what is wrong and writes nothing', () => {
  const target = store();
  const cases = [
    ['an unknown command', ['dir2nothing', 'SRC', 'DST'], 'dir2nothing'],
    ['a command that is nearly one', ['dir2rge', 'SRC', 'DST'], 'dir2reg'],
    ['no operands', ['dir2reg'], 'STORE'],
    ['one operand', ['dir2reg', 'SRC'], 'STORE'],
    ['an unknown option', ['dir2reg', 'SRC', 'DST', '--nonsense'], 'nonsense'],
    ['an unknown short option', ['dir2reg', 'SRC', 'DST', '-z'], 'z'],
    ['an unknown prefix', ['copy', 'foo:SRC', 'reg:DST'], 'foo:'],
    ['a prefix without a path', ['copy', 'dir:', 'reg:DST'], 'dir:'],
    ['a way to link that there is not', ['dir2reg', 'SRC', 'DST', '--link', 'soft'], 'soft'],
    ['a compression that there is not', ['dir2reg', 'SRC', 'DST', '--compression', 'lzma'], 'lzma'],
    [
      'a level that there is not',
      ['dir2reg', 'SRC', 'DST', '--compression', 'gzip', '--compression-level', '10'],
      '10',
    ],
    ['a level of zero', ['dir2reg', 'SRC', 'DST', '--compression-level', '0'], '0'],
    ['no threads', ['dir2reg', 'SRC', 'DST', '--jobs', '0'], 'jobs'],
    ['half a thread', ['dir2reg', 'SRC', 'DST', '--jobs', '1.5'], 'jobs'],
    ['a platform without an architecture', ['dir2reg', 'SRC', 'DST', '--platform', 'linux'], 'linux'],
    ['a platform and all', ['dir2reg', 'SRC', 'DST', '--all', '--platform', 'linux/amd64'], 'platform'],
    ['a rename without a target', ['dir2reg', 'SRC', 'DST', '--rename', 'demo'], 'demo'],
    [
      'layers both ways',
      ['dir2tar', 'SRC', 'DST', '--layers', 'uncompressed', '--compression', 'gzip'],
      'uncompressed',
    ],
    ['layers for a store', ['dir2reg', 'SRC', 'DST', '--layers', 'uncompressed'], 'layers'],
    ['links into a tar', ['dir2tar', 'SRC', 'DST', '--link', 'hard'], 'link'],
    ['one name for many images', ['dir2reg', 'SRC', 'DST', '-t', 'a:1'], 'a:1'],
    ['an images file without images', ['dir2reg', 'SRC', 'DST', '--images-file', '/dev/null'], '/dev/null'],
  ] as const;
  let outcomes: readonly Outcome[] = [];
  before(async () => {
    outcomes = await imgconvEach(
      cases.map(([, args]) => args.map((arg) => arg.replace('SRC', syncTree()).replace('DST', target))),
    );
  });

  for (const [i, [title, , word]] of cases.entries()) {
    test(title, () => {
      const { status, stdout, stderr } = outcomes[i] ?? {};
      assert.ok(stderr !== undefined);
      assert.equal(status, 2, stderr);
      assert.equal(stdout, '');
      assert.match(stderr, /^imgconv: /);
      assert.ok(stderr.includes(word), stderr);
      assert.doesNotMatch(stderr, /\n\s+at /);
      assert.ok(stderr.split('\n').length <= 3, `not two lines: ${stderr}`);
      assert.equal(existsSync(target), false);
    });
  }

  test('as a process of its own too', async () => {
    const { status, stderr } = await imgconv(['dir2reg', '--nonsense']);
    assert.equal(status, 2);
    assert.match(stderr, /^imgconv: /);
  });
});

describe('what fails exits with 1 and says why', () => {
  const text = join(tempFolder(), 'text');
  writeFileSync(text, 'no image\n');
  const target = store();
  const cases = [
    ['a source that is not there', ['dir2reg', '/not/there', 'DST'], '/not/there'],
    ['a source of another format', ['reg2dir', syncTree(), 'DST'], syncTree()],
    ['an archive that is none', ['tar2reg', text, 'DST'], text],
    ['a reference that is not there', ['dir2reg', syncTree(), 'DST', 'demo/none:1'], 'demo/none:1'],
    [
      'an images file that is not there',
      ['dir2reg', syncTree(), 'DST', '--images-file', '/not/there'],
      '/not/there',
    ],
    [
      'an image without a name',
      ['tar2reg', fixture('docker20-untagged.tar'), 'DST'],
      '@0 -t docker20-untagged:',
    ],
    [
      'a platform that is not there',
      ['dir2reg', syncTree(), 'DST', 'demo/multi:1', '--platform', 'linux/s390x'],
      's390x',
    ],
    ['ls of what is not there', ['ls', '/not/there'], '/not/there'],
    ['ls of what has no images', ['ls', join(projectRoot, 'src')], 'src'],
    ['ls of a reference that is not there', ['ls', syncTree(), 'demo/none:1'], 'demo/none:1'],
    ['inspect of a reference that is not there', ['inspect', syncTree(), 'demo/none:1'], 'demo/none:1'],
  ] as const;
  let outcomes: readonly Outcome[] = [];
  before(async () => {
    outcomes = await imgconvEach(cases.map(([, args]) => args.map((arg) => arg.replace('DST', target))));
  });

  for (const [i, [title, , word]] of cases.entries()) {
    test(title, () => {
      const { status, stderr } = outcomes[i] ?? {};
      assert.ok(stderr !== undefined);
      assert.equal(status, 1, stderr);
      assert.match(stderr, /^imgconv: /);
      assert.ok(stderr.includes(word), stderr);
      assert.doesNotMatch(stderr, /\n\s+at /);
      assert.deepEqual(filesIn(target), []);
    });
  }

  test('with --debug also where in the program', async () => {
    const { status, stderr } = await imgconv(['dir2reg', '/not/there', store(), '--debug']);
    assert.equal(status, 1);
    assert.match(stderr, /\n\s+at /);
  });
});

describe('help and version', parallel, () => {
  test('--version', async () => {
    const { version } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {
      version: string;
    };
    assert.deepEqual(await imgconv(['--version']), { status: 0, stdout: `${version}\n`, stderr: '' });
  });

  test('--help fits a screen, and names every command and prefix', async () => {
    const { status, stdout } = await imgconv(['--help']);
    assert.equal(status, 0);
    const lines = stdout.trimEnd().split('\n');
    assert.ok(lines.length <= 24, stdout);
    for (const line of lines) assert.ok(line.length <= 80, line);
    const words = new Set(stdout.split(/[^a-z0-9-]+/));
    for (const { name } of COMMANDS)
      for (const word of /^[a-z]+2[a-z]+$/.test(name) ? name.split('2') : [name])
        assert.ok(words.has(word), `${word} is not in the help`);
    for (const { prefix } of LOCAL_FORMATS) assert.ok(stdout.includes(`${prefix}:`));
  });

  test('no command at all is wrong usage, and shows the help', async () => {
    const [{ stdout: help }, { status, stderr }] = await Promise.all([imgconv(['--help']), imgconv([])]);
    assert.deepEqual([status, stderr], [2, help]);
  });

  test('help is --help, with a command too', async () => {
    const words = [['help'], ['--help'], ['help', 'dir2tar'], ['dir2tar', '--help']];
    const [all, same, one, other] = await imgconvEach(words);
    assert.deepEqual([all, one], [same, other]);
    assert.deepEqual([all?.status, one?.status], [0, 0]);
    assert.notEqual(all?.stdout, one?.stdout);
  });

  test('--help of a command names the options that it has', async () => {
    const [toStore, toTar] = await Promise.all([
      imgconv(['dir2reg', '--help']),
      imgconv(['dir2tar', '--help']),
    ]);
    const common = [
      'images-file',
      'tag',
      'strip-prefix',
      'add-prefix',
      'rename',
      'scoped',
      'platform',
      'all',
      'compression',
      'compression-level',
      'dry-run',
      'jobs',
      'fail-fast',
      'quiet',
      'json',
    ];
    for (const option of [...common, 'link']) assert.ok(toStore.stdout.includes(`--${option}`), option);
    for (const option of [...common, 'layers']) assert.ok(toTar.stdout.includes(`--${option}`), option);
    assert.equal(toStore.stdout.includes('--layers'), false);
    assert.equal(toTar.stdout.includes('--link'), false);
  });
});

describe('a conversion', parallel, () => {
  test('says on stdout what it did, and the second time that nothing changed', async () => {
    const target = store();
    const first = await imgconv(['dir2reg', syncTree(), target]);
    assert.deepEqual([first.status, first.stderr], [0, '']);
    for (const [name, digest] of Object.entries(NAMES))
      assert.ok(first.stdout.includes(`written   ${name} ${digest}\n`), name);
    assert.match(first.stdout, /\n11 images: 11 written; blobs: \d+ linked/);
    const second = await imgconv(['dir2reg', syncTree(), target]);
    assert.equal(second.status, 0);
    for (const [name, digest] of Object.entries(NAMES))
      assert.ok(second.stdout.includes(`unchanged ${name} ${digest}\n`), name);
    assert.match(second.stdout, /\n11 images: 0 written, 11 unchanged; blobs: \d+ already there/);
  });

  test('by copy is that by the command of the pair', async () => {
    const [one, other] = [store(), store()];
    const results = await Promise.all([
      imgconv(['dir2reg', syncTree(), one, 'demo/app:*']),
      imgconv(['copy', `dir:${syncTree()}`, `reg:${other}`, 'demo/app:*']),
    ]);
    assert.deepEqual(
      results.map(({ status }) => status),
      [0, 0],
    );
    assert.equal(results[0].stdout, results[1].stdout);
    assert.deepEqual(contentsOf(other), contentsOf(one));
  });

  test('says what became of an image that got another digest', async () => {
    const { stdout } = await imgconv([
      'dir2reg',
      syncTree(),
      store(),
      'demo/multi:1',
      '--platform',
      'linux/amd64',
    ]);
    const child = expected.children['demo/multi:1']?.['linux/amd64'] ?? '';
    assert.ok(
      stdout.includes(`written   demo/multi:1 ${child} (from ${NAMES['demo/multi:1'] ?? ''})`),
      stdout,
    );
    assert.match(stdout, /note: .*linux\/amd64/);
  });

  test('with --quiet says nothing but errors', async () => {
    const target = store();
    assert.deepEqual(await imgconv(['dir2reg', syncTree(), target, '-q']), {
      status: 0,
      stdout: '',
      stderr: '',
    });
    assert.deepEqual(await namesOf(place('reg', target)), NAMES);
    const { status, stdout, stderr } = await imgconv([
      'dir2reg',
      syncTree(),
      target,
      '-q',
      'demo/none:1',
      'demo/base:1',
    ]);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /^imgconv: demo\/none:1: .*\n.*\n$/);
  });

  test('with --json gives one document on stdout', async () => {
    const target = store();
    const { status, stdout, stderr } = await imgconv([
      'dir2reg',
      syncTree(),
      target,
      '--json',
      'demo/base:1',
      'demo/none:1',
    ]);
    assert.equal(status, 1);
    assert.match(stderr, /demo\/none:1/);
    const { images, blobs, plan } = JSON.parse(stdout) as {
      images: Record<string, unknown>[];
      blobs: { linked: { blobs: number; bytes: number } };
      plan: Record<string, unknown>;
    };
    assert.deepEqual(
      images
        .toSorted((a, b) => String(a['source']).localeCompare(String(b['source'])))
        .map(({ error, ...image }) => [
          image,
          error === undefined ? undefined : Object.keys(error as object),
        ]),
      [
        [
          {
            source: 'demo/base:1',
            name: 'demo/base:1',
            reference: 'demo/base:1',
            sourceDigest: NAMES['demo/base:1'],
            digest: NAMES['demo/base:1'],
            status: 'written',
            notes: [],
          },
          undefined,
        ],
        [{ source: 'demo/none:1', status: 'failed', notes: [] }, ['code', 'message', 'hint']],
      ],
    );
    assert.equal(blobs.linked.blobs, 3);
    assert.ok(blobs.linked.bytes > 2000);
    for (const key of ['images', 'link', 'copy', 'compress', 'present', 'bytesNeeded', 'bytesFree'])
      assert.ok(key in plan, key);
  });

  test('with --json gives an error as a document too', async () => {
    const { status, stdout } = await imgconv(['dir2reg', tempFolder(), store(), '--json']);
    assert.equal(status, 1);
    const { error } = JSON.parse(stdout) as { error: { code: string } };
    assert.equal(error.code, 'NOT_FOUND');
  });

  test('with --dry-run says what would be done, and writes nothing', async () => {
    const target = store();
    const { status, stdout, stderr } = await imgconv(['dir2reg', syncTree(), target, '--dry-run']);
    assert.deepEqual([status, stderr], [0, '']);
    for (const [name, digest] of Object.entries(NAMES))
      assert.ok(stdout.includes(`planned   ${name} ${digest}\n`), name);
    assert.match(stdout, /\n11 images; blobs: \d+ to link .*\nneeds about .* free; nothing was written\n$/);
    assert.equal(existsSync(target), false);
  });

  test('refuses two images for one name before anything is written', async () => {
    const target = store();
    const list = join(tempFolder(), 'list');
    writeFileSync(list, 'demo/app:1.0 x:1\ndemo/app:2.0 x:1\n');
    const { status, stdout, stderr } = await imgconv(['dir2reg', syncTree(), target, '--images-file', list]);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /x:1: both demo\/app:1\.0 .* and demo\/app:2\.0/);
    assert.equal(existsSync(target), false);
  });

  test('shows no control characters of names', async () => {
    const tree = layTree(tempFolder(), {
      'demo/\u001b[31mred:1': await imageOf('x'),
      'demo/app:1': await imageOf('y'),
    });
    const { status, stdout, stderr } = await imgconv(['dir2reg', tree, store()]);
    assert.equal(status, 1);
    assert.equal(`${stdout}${stderr}`.includes('\u001b'), false);
    assert.ok(stderr.includes('\\x1b[31mred'), stderr);
    const listed = await imgconv(['ls', tree]);
    assert.equal(listed.stdout.includes('\u001b'), false);
  });

  test('escapes what turns text round in JSON as on the terminal', async () => {
    const characters = '\u001b\u007f\u0085\u009b\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069';
    const raw = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
    const name = `demo/a${characters}b:1`;
    const tree = layTree(tempFolder(), { [name]: await imageOf('x'), 'demo/app:1': await imageOf('y') });
    const list = join(tempFolder(), `list${characters}.yaml`);
    writeFileSync(list, 'kind: Pod\nspec: {containers: [{image: "a b"}]}\n');
    const target = store();
    const texts = await Promise.all(
      [
        ['dir2reg', tree, target, '--json'],
        ['dir2reg', tree, store(), '--json', '--dry-run'],
        ['dir2reg', `${tree}${characters}`, store(), '--json'],
        ['ls', tree, '--json'],
        ['ls', tree],
        ['verify', tree, '--json'],
        ['images', list, '--json'],
        ['images', list, '--why'],
        ['inspect', tree, `demo/x${characters}:1`],
      ].map(async (args) => {
        const { stdout, stderr } = await imgconv(args);
        assert.doesNotMatch(stdout + stderr, raw, args[0]);
        if (args.includes('--json')) assert.ok(JSON.parse(stdout) !== undefined);
        return stdout;
      }),
    );
    const listed = JSON.parse(texts[3] ?? '') as { name: string }[];
    assert.ok(
      listed.some((one) => one.name === name),
      texts[3],
    );
    assert.ok(texts[6]?.includes('\\u202e'), texts[6]);
  });
});

describe('--images-file', parallel, () => {
  const LIST =
    '# what we need\r\n\r\ndemo/base:1\r\n  demo/app:2.0 \t team/tool:v2  # renamed\r\nhelm-charts/*\r\n';
  const CHOSEN = {
    'demo/base:1': NAMES['demo/base:1'],
    'helm-charts/demo:0.1.0': NAMES['helm-charts/demo:0.1.0'],
    'team/tool:v2': NAMES['demo/app:2.0'],
  };

  test('chooses and renames', async () => {
    const [target, list] = [store(), join(tempFolder(), 'list')];
    writeFileSync(list, LIST);
    const { status, stderr } = await imgconv([
      'dir2reg',
      syncTree(),
      target,
      '--images-file',
      list,
      '--no-extras',
    ]);
    assert.equal(status, 0, stderr);
    assert.deepEqual(await namesOf(place('reg', target)), CHOSEN);
  });

  test('is read from stdin', async () => {
    const target = store();
    const args = ['dir2reg', syncTree(), target, '--images-file', '-', '--no-extras'];
    const { status, stderr } = await imgconv(args, { stdin: LIST });
    assert.equal(status, 0, stderr);
    assert.deepEqual(await namesOf(place('reg', target)), CHOSEN);
  });

  test('may be given twice, and with references', async () => {
    const [target, one, other] = [store(), join(tempFolder(), 'one'), join(tempFolder(), 'other')];
    writeFileSync(one, 'demo/base:1\n');
    writeFileSync(other, 'demo/dup:1 again:1');
    const args = [
      'dir2reg',
      syncTree(),
      target,
      'demo/empty:1',
      '--images-file',
      one,
      '--images-file',
      other,
    ];
    assert.equal((await imgconv(args)).status, 0);
    assert.deepEqual(Object.keys(await namesOf(place('reg', target))), [
      'again:1',
      'demo/base:1',
      'demo/empty:1',
    ]);
  });

  test('says which lines the source lacks, and converts the others', async () => {
    const [target, list] = [store(), join(tempFolder(), 'list')];
    writeFileSync(list, 'demo/none:1\ndemo/base:1\ndemo/app:9\nnone/*:1\n');
    const { status, stdout, stderr } = await imgconv(['dir2reg', syncTree(), target, '--images-file', list]);
    assert.equal(status, 1);
    for (const words of [
      'demo/none:1: no such image',
      `${list}:1`,
      'demo/app:9: no such image',
      `${list}:3`,
      'none/*:1',
      `${list}:4`,
    ])
      assert.ok(stderr.includes(words), `no ${words} in ${stderr}`);
    assert.match(stdout, /1 written, 3 failed/);
    assert.deepEqual(Object.keys(await namesOf(place('reg', target))), ['demo/base:1']);
  });

  for (const [title, text] of [
    ['three words on a line', 'demo/base:1 a:1 b:1\n'],
    ['one name for a glob', 'demo/* a:1\n'],
  ] as const) {
    test(`with ${title} exits with 2, and names the line`, async () => {
      const [target, list] = [store(), join(tempFolder(), 'list')];
      writeFileSync(list, text);
      const { status, stderr } = await imgconv(['dir2reg', syncTree(), target, '--images-file', list]);
      assert.equal(status, 2);
      assert.ok(stderr.includes(`${list}:1`), stderr);
      assert.equal(existsSync(target), false);
    });
  }
});

describe('pipes', parallel, () => {
  const saved = readFileSync(fixture('docker20.tar'));

  test('an archive on stdin gives what the file gives', async () => {
    const [piped, read] = [store(), store()];
    const [one] = await Promise.all([
      imgconv(['tar2reg', '-', piped], { stdin: saved }),
      imgconv(['tar2reg', fixture('docker20.tar'), read]),
    ]);
    assert.equal(one.status, 0, one.stderr);
    assert.deepEqual(contentsOf(piped), contentsOf(read));
    assert.deepEqual(stagingIn(join(piped, '..')), []);
  });

  test('a cut-off archive on stdin leaves nothing', async () => {
    const target = store();
    const { status, stderr } = await imgconv(['tar2reg', '-', target], { stdin: saved.subarray(0, 30_000) });
    assert.equal(status, 1);
    assert.match(stderr, /stdin: cut off after 30000 bytes/);
    assert.deepEqual(filesIn(target), []);
  });

  test('an archive on stdout is the one in a file, and nothing else is there', async () => {
    const cwd = tempFolder();
    const file = join(tempFolder(), 'file.tar');
    const [piped] = await Promise.all([
      imgconv(['reg2tar', unpacked('registry.tar'), '-', 'demo/app:*'], { cwd, encoding: 'latin1' }),
      imgconv(['reg2tar', unpacked('registry.tar'), file, 'demo/app:*']),
    ]);
    assert.equal(piped.status, 0, piped.stderr);
    const bytes = Buffer.from(piped.stdout, 'latin1');
    assert.ok(bytes.equals(readFileSync(file)));
    const entries = JSON.parse(bodyOf(await readTar(bytes), 'manifest.json').toString()) as unknown[];
    assert.equal(entries.length, 4);
    assert.match(piped.stderr, /images: \d+ written/);
    assert.deepEqual(filesIn(cwd), []);
  });

  test('a reader that ends early is what the error names', async () => {
    const tree = layTree(tempFolder(), {
      'demo/large:1': await imageOf('x'.repeat(300_000), { compress: false }),
    });
    const child = spawn(process.execPath, [join(projectRoot, 'bin/imgconv.js'), 'dir2tar', tree, '-'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.destroy();
    const status = new Promise<number | null>((resolve) => child.on('close', resolve));
    assert.match(
      await text(child.stderr),
      /: stdout: the program that reads the output ended early\n {2}look at the messages of that program/,
    );
    assert.equal(await status, 1);
  });

  test('an archive goes from one imgconv to another', async () => {
    const target = store();
    const { stdout } = await imgconv(['reg2tar', unpacked('registry.tar'), '-', '-q'], {
      encoding: 'latin1',
    });
    const { status, stderr } = await imgconv(['tar2reg', '-', target, '--compression', 'keep'], {
      stdin: Buffer.from(stdout, 'latin1'),
    });
    assert.equal(status, 0, stderr);
    assert.deepEqual(await namesOf(place('reg', target)), NAMES);
  });
});

for (const [signal, expectedStatus] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(
    `${signal} ends a run with ${expectedStatus} and leaves nothing unfinished`,
    { timeout: 30_000 },
    async () => {
      const image = await imageOf('x');
      const tree = layTree(tempFolder(), { 'demo/app:1': image, 'demo/large:1': await imageOf('large') });
      // A layer that takes a while to hash and no room on the disk; its digest is not even right.
      const size = 20 * 1024 ** 3;
      const manifestPath = join(tree, 'demo/large:1/manifest.json');
      const manifest = JSON.parse(readFileSync(manifestPath, 'utf8')) as {
        layers: { digest: string; size: number }[];
      };
      const [layer] = manifest.layers;
      assert.ok(layer !== undefined);
      layer.size = size;
      writeFileSync(manifestPath, JSON.stringify(manifest));
      const fd = openSync(join(tree, 'demo/large:1', hex(layer.digest)), 'w');
      ftruncateSync(fd, size);
      closeSync(fd);
      const target = store();
      const child = spawn(process.execPath, [join(projectRoot, 'bin/imgconv.js'), 'dir2reg', tree, target], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let stderr = '';
      child.stderr.on('data', (chunk: Buffer) => {
        stderr += chunk.toString();
      });
      const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
      await until('work to begin', () => stagingIn(target).length > 0);
      child.kill(signal);
      assert.equal(await ended, expectedStatus, stderr);
      assert.match(stderr, /^imgconv: interrupted/);
      assert.deepEqual(stagingIn(join(target, '..')), []);
      assert.equal(existsSync(storedBlob(target, layer.digest)), false);
    },
  );
}

test('a run that never gets its result does not exit with 0', async () => {
  const stub = join(tempFolder(), 'stub.cjs');
  const load = join(projectRoot, 'bin/load.js');
  const never = 'exports: { load: () => ({ run: () => new Promise(() => undefined) }) }';
  writeFileSync(stub, `require.cache[${JSON.stringify(load)}] = { loaded: true, ${never} };`);
  const child = spawn(process.execPath, ['--require', stub, join(projectRoot, 'bin/imgconv.js'), 'ls']);
  const [status] = (await once(child, 'exit')) as [number];
  assert.equal(status, 1);
});
