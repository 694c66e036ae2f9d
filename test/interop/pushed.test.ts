import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { makeContext, hardArchive } from './engine-context.js';
import { Engine } from './engine-peer.js';
import {
  imgconv,
  missingPeers,
  newFolder,
  outcomeOf,
  projectRoot,
  run,
  scratchFolder,
  tidy,
} from './peers.js';
import { Registry } from './registry-peer.js';
import { fixtureFolder } from './samples.js';

/**
 * The oracle is a real `docker push`. Debian 12's Docker is built with a Go before 1.27, as Docker's own builds were when this
 * was written.
 */
describe('the digests of docker push', { skip: missingPeers('dockerd', 'docker', 'docker-registry') }, () => {
  let scratch: string;
  let engine: Engine;
  let registry: Registry;

  before(async () => {
    scratch = await scratchFolder();
    engine = await Engine.start(scratch);
    registry = await Registry.start(await newFolder(scratch), scratch);
    await engine.docker('load', '-i', join(fixtureFolder, 'docker20.tar'));
    await engine.docker('load', '-i', await hardArchive(scratch));
    await engine.docker('build', '--network', 'none', '-t', 'demo/built:1', await makeContext(scratch));
  });

  after(async () => {
    await engine.stop();
    await registry.stop();
    await tidy(scratch);
  });

  /** Pushed to the registry: the digest there, and the layers. */
  async function pushed(name: string) {
    const there = `${registry.host}/${name}`;
    await engine.docker('tag', name, there);
    await engine.docker('push', '-q', there);
    return registry.manifest(name);
  }

  async function digestIn(place: string, name: string): Promise<string> {
    const [image] = z
      .array(z.object({ digest: z.string() }))
      .parse(JSON.parse(await imgconv('ls', '--json', place, name)));
    return image?.digest ?? '';
  }

  for (const name of ['demo/app:1.0', 'demo/base:1', 'demo/dup:1', 'demo/built:1'])
    test(`${name}: out of docker save`, async () => {
      const { digest, layers, config } = await pushed(name);
      const folder = await newFolder(scratch);
      const saved = join(folder, 'saved.tar');
      await engine.docker('save', '-o', saved, name);
      for (const target of ['reg', 'oci', 'dir']) {
        const place = `${target}:${join(folder, target)}`;
        const told = await imgconv('copy', '--compression', 'docker', saved, place);
        assert.match(told, /digest of docker push \(Go gzip, level 6\)/);
        assert.equal(await digestIn(place, name), digest);
      }
      const blobs = new Set(await readdir(join(folder, 'oci/blobs/sha256')));
      for (const one of [...layers, config ?? '', digest])
        assert.ok(blobs.has(one.replace('sha256:', '')), one);
    });

  test('out of a pipe, and out of the data root', async () => {
    const { digest } = await pushed('demo/built:1');
    const folder = await newFolder(scratch);
    const script = 'docker save demo/built:1 | "$@"';
    const words = [
      join(projectRoot, 'bin/imgconv.js'),
      'tar2reg',
      '--compression',
      'docker',
      '-',
      `${folder}/piped`,
    ];
    await run(
      'bash',
      ['-c', `set -o pipefail; ${script}`, 'bash', process.execPath, ...words],
      engine.environment,
    );
    assert.equal(await digestIn(`${folder}/piped`, 'demo/built:1'), digest);
    await imgconv(
      'copy',
      '--compression',
      'docker',
      `docker-root:${engine.dataRoot}`,
      `reg:${folder}/root`,
      'demo/built:1',
    );
    assert.equal(await digestIn(`${folder}/root`, 'demo/built:1'), digest);
  });

  test('--expect: what skopeo and podman pushed', { skip: missingPeers('skopeo', 'podman') }, async () => {
    const folder = await newFolder(scratch);
    const saved = join(folder, 'saved.tar');
    await engine.docker('save', '-o', saved, 'demo/app:1.0');
    const archive = `docker-archive:${saved}:demo/app:1.0`;
    const insecure = '--dest-tls-verify=false';
    await run('skopeo', ['copy', '-q', insecure, archive, `docker://${registry.host}/by-skopeo:1`]);
    const storage = ['--root', `${folder}/root`, '--runroot', `${folder}/run`, '--storage-driver', 'vfs'];
    const podman = (...words: string[]) => run('podman', [...storage, ...words]);
    await podman('load', '-q', '-i', saved);
    // In OCI's form both would write another config, and so another image.
    const there = `${registry.host}/by-podman:1`;
    await podman('push', '-q', '-f', 'v2s2', '--tls-verify=false', 'demo/app:1.0', there);
    for (const name of ['by-skopeo:1', 'by-podman:1']) {
      const { digest } = await registry.manifest(name);
      const store = join(folder, name.replace(':', '-'));
      const told = await imgconv('tar2reg', '--expect', `demo/app:1.0@${digest}`, saved, store);
      assert.match(told, /as expected: all 4 layers matched \(pgzip with klauspost\/compress 1\.15\.11\)/);
      assert.equal(await digestIn(store, 'demo/app:1.0'), digest);
    }
  });

  test('--expect known: the digest that a data root remembers', async () => {
    const { digest } = await pushed('demo/base:1');
    const store = join(await newFolder(scratch), 'store');
    const place = `docker-root:${engine.dataRoot}`;
    const told = await imgconv('copy', '--expect', 'known', place, `reg:${store}`, 'demo/base:1');
    assert.match(told, /as expected: /);
    assert.equal(await digestIn(store, 'demo/base:1'), digest);
  });

  test('a layer of many blocks', async () => {
    const context = await newFolder(scratch);
    await writeFile(join(context, 'Dockerfile'), 'FROM scratch\nCOPY tree.tar /\nCOPY node /\n');
    await run('tar', ['-cf', join(context, 'tree.tar'), '-C', projectRoot, 'src', 'node_modules/typescript']);
    await run('cp', [process.execPath, join(context, 'node')]);
    await engine.docker('build', '--network', 'none', '-t', 'demo/large:1', context);
    const { digest } = await pushed('demo/large:1');
    const folder = await newFolder(scratch);
    await engine.docker('save', '-o', join(folder, 'saved.tar'), 'demo/large:1');
    await imgconv('tar2reg', '--compression', 'docker', join(folder, 'saved.tar'), join(folder, 'store'));
    assert.equal(await digestIn(join(folder, 'store'), 'demo/large:1'), digest);
    const { status, stderr } = await outcomeOf(
      'docker',
      ['pull', '-q', `${registry.host}/demo/large@${digest}`],
      engine.environment,
    );
    assert.equal(status, 0, stderr);
  });
});
