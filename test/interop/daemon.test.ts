import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { Engine } from './engine-peer.js';
import {
  missingPeers,
  newFolder,
  outcomeOf,
  projectRoot,
  run,
  scratchFolder,
  startDaemon,
  stopDaemon,
  tidy,
} from './peers.js';
import { expected, fixtureFolder } from './samples.js';

const NAMES = ['demo/app:1.0', 'demo/app:2.0', 'demo/base:1', 'demo/dup:1'];
const archive = `docker-archive:${join(fixtureFolder, 'docker28.tar')}`;
const imageIds = expected.imageIds['docker28.tar'] ?? {};

/** Runs `imgconv …` with an engine of one's own; it has to succeed. */
function imgconvOn(environment: NodeJS.ProcessEnv, ...words: string[]): Promise<string> {
  return run(process.execPath, [join(projectRoot, 'bin/imgconv.js'), ...words], environment);
}

describe('a running Docker engine', { skip: missingPeers('dockerd', 'docker') }, () => {
  let scratch: string;
  let engine: Engine;

  before(async () => {
    scratch = await scratchFolder();
    engine = await Engine.start(scratch);
  });

  beforeEach(() => engine.forgetImages());

  after(async () => {
    await engine.stop();
    await tidy(scratch);
  });

  const imgconv = (...words: string[]) => imgconvOn(engine.environment, ...words);

  test('takes images, which have their IDs and run', async () => {
    await imgconv('copy', archive, 'docker-daemon:');
    assert.deepEqual(await engine.names(), NAMES);
    for (const name of NAMES) assert.equal(await engine.imageId(name), imageIds[name]);
    assert.equal(await engine.says('demo/app:1.0'), expected.says['demo/app:1.0']);
    assert.match(await imgconv('copy', archive, 'docker-daemon:'), /4 images: 0 written, 4 unchanged/);
  });

  test('is sent only the layers that it lacks', async () => {
    const first = await imgconv('copy', archive, 'docker-daemon:', 'demo/base:1');
    assert.match(first, /blobs: 3 copied/); // manifest, config and layer
    const second = await imgconv('copy', archive, 'docker-daemon:other/base:2', 'demo/base:1');
    assert.match(second, /blobs: 2 copied/);
    assert.equal(await engine.imageId('other/base:2'), imageIds['demo/base:1']);
    await imgconv('copy', archive, 'docker-daemon:', 'demo/dup:1');
    assert.equal(await engine.says('demo/dup:1'), expected.says['demo/dup:1']);
  });

  test('gives images by name, by ID, and all; some in one request', async () => {
    await engine.docker('load', '-i', join(fixtureFolder, 'docker20.tar'));
    const store = await newFolder(scratch);
    await imgconv('copy', 'docker-daemon:demo/app:1.0', `oci:${store}/one`);
    await imgconv('copy', 'docker-daemon:', `oci:${store}/all`, 'demo/*');
    assert.equal((await imgconv('ls', '-q', `oci:${store}/all`)).trim(), NAMES.join('\n'));
    await imgconv(
      'copy',
      `docker-daemon:${imageIds['demo/app:2.0'] ?? ''}`,
      `oci:${store}/two`,
      '-t',
      'two:1',
    );
    for (const [place, name] of [
      ['one', 'demo/app:1.0'],
      ['two', 'demo/app:2.0'],
    ] as const)
      assert.match(await imgconv('inspect', `oci:${store}/${place}`), new RegExp(imageIds[name] ?? 'no'));
    const listed = await imgconv('ls', 'docker-daemon:');
    for (const name of NAMES)
      assert.match(listed, new RegExp(`^${name} +${imageIds[name] ?? 'no'} +image`, 'm'));
  });

  test('gives what its data root has, digest for digest', async () => {
    await engine.docker('load', '-i', join(fixtureFolder, 'docker20.tar'));
    const store = await newFolder(scratch);
    await imgconv('copy', 'docker-daemon:', `reg:${store}/socket`);
    await imgconv('copy', `docker-root:${engine.dataRoot}`, `reg:${store}/disk`);
    assert.equal(await imgconv('ls', `${store}/disk`), await imgconv('ls', `${store}/socket`));
  });

  test('says why it refuses', async () => {
    const failed = await outcomeOf(
      process.execPath,
      [join(projectRoot, 'bin/imgconv.js'), 'copy', 'docker-daemon:nothing/here:1', `reg:${scratch}/no`],
      engine.environment,
    );
    assert.equal(failed.status, 1);
    assert.match(failed.stderr, /nothing\/here:1: no such image in the source/);
    assert.doesNotMatch(failed.stderr, /\n\s+at /);
  });
});

describe('a running Podman', { skip: missingPeers('podman') }, () => {
  let scratch: string;
  let podman: ChildProcess;
  let environment: NodeJS.ProcessEnv;
  let store: readonly string[];

  before(async () => {
    scratch = await scratchFolder();
    environment = {
      DOCKER_HOST: `unix://${scratch}/podman.sock`,
      DOCKER_CONTEXT: '',
      DOCKER_CONFIG: scratch,
    };
    const folders = ['--root', `${scratch}/root`, '--runroot', `${scratch}/run`];
    store = [...folders, '--storage-driver', 'vfs', '--cgroup-manager', 'cgroupfs'];
    const words = [...store, 'system', 'service', '-t', '0', `unix://${scratch}/podman.sock`];
    const bin = [join(projectRoot, 'bin/imgconv.js'), 'ls', 'docker-daemon:'];
    const isUp = async () => (await outcomeOf(process.execPath, bin, environment)).status === 0;
    podman = await startDaemon('podman', words, join(scratch, 'podman.log'), isUp);
  });

  after(async () => {
    await stopDaemon(podman);
    await tidy(scratch);
  });

  test('takes images and gives them back', async () => {
    await imgconvOn(environment, 'copy', archive, 'docker-daemon:');
    const names = await run('podman', [
      ...store,
      'images',
      '--no-trunc',
      '--format',
      '{{.Repository}}:{{.Tag}} {{.ID}}',
    ]);
    const there = Object.fromEntries(
      names
        .trim()
        .split('\n')
        .map((line) => line.replace('localhost/', '').replace('sha256:', '').split(' ')),
    ) as Record<string, string>;
    for (const name of NAMES) assert.equal(`sha256:${there[name] ?? ''}`, imageIds[name]);
    await imgconvOn(environment, 'copy', 'docker-daemon:', `reg:${scratch}/socket`);
    await imgconvOn(environment, 'copy', `containers-storage:[vfs@${scratch}/root]`, `reg:${scratch}/disk`);
    const [one, other] = [
      await imgconvOn(environment, 'ls', `${scratch}/socket`),
      await imgconvOn(environment, 'ls', `${scratch}/disk`),
    ];
    assert.equal(other, one);
  });
});
