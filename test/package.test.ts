import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { imgconv } from './support/cli.js';
import { fixture, projectRoot } from './support/fixtures.js';
import { contentsOf } from './support/snapshot.js';
import { tempFolder } from './support/temp.js';

const ARCHIVE = fixture('docker20.tar');

function bin(name: string): string {
  return join(projectRoot, 'node_modules/.bin', name);
}

function run(
  program: string,
  args: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
): string {
  const PATH = process.env['PATH'] ?? '';
  return execFileSync(program, args, { cwd, encoding: 'utf8', env: { PATH, HOME: cwd, ...env } });
}

describe('what npm packs', () => {
  let folder: string;
  let packed: { readonly filename: string; readonly files: readonly { readonly path: string }[] };

  before(() => {
    folder = tempFolder();
    // Of a copy: while it is packed, package.json is another one.
    const copy = join(folder, 'checkout');
    for (const part of [
      'package.json',
      '.pack.js',
      'LICENSE',
      'README.md',
      'README.zh-CN.md',
      'bin',
      'dist/bundle',
      'dist/lib',
      'dist/man',
      'dist/THIRD-PARTY-LICENSES',
    ])
      cpSync(join(projectRoot, part), join(copy, part), { recursive: true });
    const words = ['pack', '--silent', '--json', '--pack-destination', folder];
    [packed] = JSON.parse(run('npm', words, copy)) as [typeof packed];
    assert.equal(
      readFileSync(join(copy, 'package.json'), 'utf8'),
      readFileSync(join(projectRoot, 'package.json'), 'utf8'),
    );
    mkdirSync(join(folder, 'node_modules/imgconv'), { recursive: true });
    const archive = join(folder, packed.filename);
    run('tar', ['-xzf', archive, '--strip-components=1', '-C', 'node_modules/imgconv'], folder);
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    copyFileSync(join(projectRoot, 'test/examples/archive-to-store.ts'), join(folder, 'example.ts'));
  });

  test('is the command, the library and its types, and nothing of this machine', () => {
    const names = packed.files.map(({ path }) => path);
    const known =
      /^(?:bin\/[\w.-]+|dist\/bundle\/[\w-]+\.js(?:on)?|dist\/lib\/index\.js|dist\/lib\/.*\.d\.ts|dist\/THIRD-PARTY-LICENSES|dist\/man\/.*|[\w.-]+\.md|LICENSE|package\.json)$/;
    assert.deepEqual(
      names.filter((name) => !known.test(name)),
      [],
    );
    for (const name of ['LICENSE', 'README.md', 'bin/imgconv.js', 'bin/package.json', 'dist/bundle/main.js'])
      assert.ok(names.includes(name), name);
  });

  test('installs without a network, and runs', () => {
    const prefix = join(folder, 'prefix');
    const archive = join(folder, packed.filename);
    const words = ['install', '-g', '--offline', '--prefix', prefix, archive];
    const env = { PATH: process.env['PATH'], HOME: folder };
    const { status, stdout, stderr } = spawnSync('npm', words, { cwd: folder, encoding: 'utf8', env });
    assert.deepEqual([status, stderr], [0, '']);
    assert.match(stdout, /added 1 package/);
    const command = join(prefix, 'bin/imgconv');
    assert.match(run(command, ['ls', ARCHIVE], folder), /^demo\/app:1\.0 /m);
    run(command, ['tar2reg', ARCHIVE, 'installed'], folder);
    assert.match(run(command, ['verify', 'installed'], folder), /4 images checked, 0 broken/);
  });

  for (const [module, resolution] of [
    ['nodenext', 'nodenext'],
    ['node16', 'node16'],
    ['esnext', 'bundler'],
  ] as const) {
    test(`a program that uses the library compiles with the resolution of ${resolution}`, () => {
      const modules = ['--module', module, '--moduleResolution', resolution, '--target', 'es2022'];
      const lib = ['--lib', 'es2022,esnext.disposable', '--types', 'node'];
      const types = ['--typeRoots', join(projectRoot, 'node_modules/@types')];
      const strict = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--noEmit'];
      run(bin('tsc'), [...modules, ...lib, ...types, ...strict, 'example.ts'], folder);
    });
  }

  for (const [format, ending] of [
    ['esm', 'mjs'],
    ['cjs', 'cjs'],
  ] as const) {
    test(`a program that esbuild bundles as ${format} runs elsewhere, worker threads too`, () => {
      const elsewhere = tempFolder();
      const program = join(elsewhere, `program.${ending}`);
      const words = ['--bundle', '--platform=node', `--format=${format}`, `--outfile=${program}`];
      run(bin('esbuild'), ['example.ts', ...words, '--log-level=error'], folder);
      const said = run(process.execPath, [program, largeArchive(elsewhere), 'store'], elsewhere);
      assert.match(said, /^demo\/large:1 sha256:[0-9a-f]{64}$/m);
    });
  }

  test('require gives a CommonJS program the library', () => {
    const program = "console.log(typeof require('imgconv').convert)";
    assert.equal(run(process.execPath, ['--input-type=commonjs', '-e', program], folder), 'function\n');
  });
});

/** An archive with a layer that is large enough for worker threads. */
function largeArchive(folder: string): string {
  const put = (name: string, content: string | Buffer) => {
    writeFileSync(join(folder, name), content);
  };
  put('file', randomBytes(12 * 1024 * 1024));
  run('tar', ['-cf', 'layer.tar', 'file'], folder);
  const [hex = ''] = run('sha256sum', ['layer.tar'], folder).split(' ');
  const rootfs = { type: 'layers', diff_ids: [`sha256:${hex}`] };
  put('config.json', JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs }));
  put(
    'manifest.json',
    JSON.stringify([{ Config: 'config.json', RepoTags: ['demo/large:1'], Layers: ['layer.tar'] }]),
  );
  run('tar', ['-cf', 'large.tar', 'manifest.json', 'config.json', 'layer.tar'], folder);
  return join(folder, 'large.tar');
}

describe('what V8 compiled is kept for the next start', () => {
  const list = async (env: Record<string, string>) => {
    const said = await imgconv(['ls', ARCHIVE], { env: { CI: '', XDG_CACHE_HOME: '', ...env } });
    assert.equal(said.status, 0, said.stderr);
    assert.equal(said.stderr, '');
    return said.stdout;
  };
  const kept = (home: string) => readdirSync(join(home, '.cache/imgconv'));
  const cached = (home: string) => join(home, '.cache/imgconv', kept(home)[0] ?? '');

  test('in a folder that is the user’s alone, once', async () => {
    const home = tempFolder();
    const first = await list({ HOME: home });
    assert.match(kept(home).join(), new RegExp(`^[0-9a-f]{16}-${process.version}-${process.arch}-ls\\.v8$`));
    assert.equal(statSync(join(home, '.cache/imgconv')).mode & 0o777, 0o700);
    const before = statSync(cached(home));
    assert.equal(before.mode & 0o777, 0o600);
    assert.equal(await list({ HOME: home }), first);
    // What V8 does not take would be written again.
    assert.equal(statSync(cached(home)).ino, before.ino);
  });

  test('once also by a run whose heap is large, which has other flags for a while', () => {
    const [home, copy] = [tempFolder(), tempFolder()];
    mkdirSync(join(copy, 'bin'));
    for (const name of ['dist', 'package.json', 'bin/package.json', 'bin/load.js'])
      symlinkSync(join(projectRoot, name), join(copy, name));
    const command = readFileSync(join(projectRoot, 'bin/imgconv.js'), 'utf8')
      .replace(/(?<=\nconst LARGE = ).*(?=;)/, '0')
      .replace(/(?<=\nconst LOOK_MS = ).*(?=;)/, '1');
    writeFileSync(join(copy, 'bin/imgconv.js'), command);
    const kept = [1, 2].map(() => {
      run(process.execPath, [join(copy, 'bin/imgconv.js'), 'verify', ARCHIVE], copy, { HOME: home });
      return statSync(cached(home)).ino;
    });
    assert.equal(kept[0], kept[1]);
  });

  test('below XDG_CACHE_HOME where that is set', async () => {
    const folder = tempFolder();
    await list({ HOME: '/nowhere', XDG_CACHE_HOME: folder });
    assert.equal(readdirSync(join(folder, 'imgconv')).length, 1);
  });

  test('damaged, or of a file that others may write, it is not used but made again', async () => {
    const home = tempFolder();
    await list({ HOME: home });
    writeFileSync(cached(home), 'damaged');
    await list({ HOME: home });
    assert.ok(statSync(cached(home)).size > 1000);
    chmodSync(cached(home), 0o666);
    await list({ HOME: home });
    assert.equal(statSync(cached(home)).mode & 0o777, 0o600);
  });

  test('a folder that others may write to is left alone', async () => {
    const home = tempFolder();
    const folder = join(home, '.cache/imgconv');
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o777);
    await list({ HOME: home });
    assert.deepEqual(readdirSync(folder), []);
  });

  test('nothing is kept in CI, of a run that failed, or where there is no home that can be written to', async () => {
    const home = tempFolder();
    await list({ HOME: home, CI: 'true' });
    assert.equal((await imgconv(['ls', '/nowhere'], { env: { CI: '', HOME: home } })).status, 1);
    assert.deepEqual(contentsOf(home), contentsOf(tempFolder()));
    for (const nowhere of ['', 'relative', '/nowhere', '/proc/self/fd']) await list({ HOME: nowhere });
    assert.equal(existsSync('/nowhere'), false);
  });

  test('another user’s home is left alone', { skip: process.getuid?.() !== 0 && 'needs root' }, async () => {
    const home = tempFolder();
    execFileSync('chown', ['1234', home]);
    await list({ HOME: home });
    assert.deepEqual(readdirSync(home), []);
    rmSync(home, { recursive: true });
  });

  test('starts at once do not hurt each other', async () => {
    const home = tempFolder();
    const said = await Promise.all(Array.from({ length: 4 }, () => list({ HOME: home })));
    assert.equal(new Set(said).size, 1);
    assert.equal(kept(home).length, 1);
  });
});
