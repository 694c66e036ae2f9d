import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fixture } from '../support/fixtures.js';
import { Engine } from './engine-peer.js';
import { missingPeers, newFolder, outcomeOf, projectRoot, run, scratchFolder, tidy } from './peers.js';
import { Registry } from './registry-peer.js';

const skip = missingPeers('dockerd', 'docker', 'docker-registry');

describe('what npm run package makes', { skip }, () => {
  let scratch: string;
  let file: string;
  const image = join(projectRoot, 'dist/package/imgconv-image.tar');

  before(async () => {
    scratch = await scratchFolder();
    // Without the build before it, which other tests are using.
    await run('node', [join(projectRoot, '.package.js')]);
    const [name = ''] = (await readdir(join(projectRoot, 'dist/package'))).filter((one) =>
      one.startsWith('imgconv-linux-'),
    );
    file = join(scratch, 'imgconv');
    await copyFile(join(projectRoot, 'dist/package', name), file);
  });
  after(() => tidy(scratch));

  /** The single file, where there is no Node and nothing in the environment. */
  async function single(...words: string[]): Promise<string> {
    const { status, stdout, stderr } = await outcomeOf('env', ['-i', file, ...words]);
    assert.equal(status, 0, stderr);
    // On a slow machine it says how far it is.
    assert.equal(stderr.replace(/^[\d.]+ [kMG]?B of [^\n]*\n/gm, ''), '');
    return stdout;
  }

  test('the single file converts large layers with threads, and reads and writes each compression', async () => {
    const folder = await newFolder(scratch);
    const [plain, store, again, zstd] = ['plain.tar', 'store', 'again', 'zstd'].map((name) =>
      join(folder, name),
    );
    await single('tar2reg', image, store ?? '');
    await single('reg2tar', store ?? '', plain ?? '', '--layers', 'uncompressed');
    await single('tar2reg', plain ?? '', again ?? '', '--compression', 'gzip');
    await single('reg2oci', again ?? '', zstd ?? '', '--compression', 'zstd', '--recompress');
    for (const place of [store, again, zstd])
      assert.match(await single('verify', place ?? '', '--deep'), /1 image checked, 0 broken/);
    for (const pack of ['xz', 'bzip2', 'gzip'])
      await run('bash', ['-c', `${pack} -c ${fixture('docker20.tar')} > ${folder}/packed.${pack}`]);
    await single(
      'tar2tar',
      fixture('docker20.tar'),
      `${folder}/packed.tar.zst`,
      '--archive-compression',
      'zstd',
    );
    for (const packed of ['packed.xz', 'packed.bzip2', 'packed.gzip', 'packed.tar.zst'])
      assert.match(await single('ls', join(folder, packed), '-q'), /^demo\/app:1\.0$/m);
    assert.match(await single('help', 'formats'), /docker-archive:/);
  });

  test('the single file pushes to a registry and pulls from it', async () => {
    const folder = await newFolder(scratch);
    const registry = await Registry.start(join(folder, 'registry'), folder);
    try {
      await single('push', fixture('docker28.tar'), `docker://${registry.host}/site`, 'demo/app:1.0');
      await single('copy', `docker://${registry.host}/site/demo/app:1.0`, `dir:${folder}/app`);
      assert.ok(existsSync(join(folder, 'app/manifest.json')));
    } finally {
      await registry.stop();
    }
  });

  test('the container image runs in docker without a network', async () => {
    const engine = await Engine.start(scratch);
    try {
      const folder = await newFolder(scratch);
      const loaded = await engine.docker('load', '-i', image);
      const [, name = ''] = /Loaded image: (\S+)/.exec(loaded) ?? [];
      const inside = (...words: string[]) =>
        engine.docker('run', '--rm', '--network', 'none', '-v', `${folder}:/data`, name, ...words);
      const { version } = JSON.parse(await inside('version', '--json')) as { version: string };
      assert.equal(name, `imgconv:${version}`);
      await copyFile(fixture('docker20.tar'), join(folder, 'saved.tar'));
      await inside('tar2reg', '/data/saved.tar', '/data/store');
      assert.match(await inside('verify', '/data/store', '--deep'), /4 images checked, 0 broken/);
    } finally {
      await engine.stop();
    }
  });

  test('is the same when it is made twice', async () => {
    const [first] = (await run('sha256sum', [image])).split(' ');
    await run('node', [join(projectRoot, '.package.js')]);
    const [second] = (await run('sha256sum', [image])).split(' ');
    assert.equal(first, second);
  });
});
