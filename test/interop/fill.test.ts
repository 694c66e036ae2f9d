import assert from 'node:assert/strict';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Engine } from './engine-peer.js';
import {
  imgconv,
  missingPeers,
  newFolder,
  outcomeOf,
  projectRoot,
  run,
  scratchFolder,
  sha256,
  tidy,
  unpack,
} from './peers.js';
import { Registry } from './registry-peer.js';
import { expected, fixtureFolder } from './samples.js';

const skip = missingPeers('dockerd', 'docker', 'docker-registry', 'skopeo');
const CREDENTIALS = 'user:interop-password';

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

describe('a cluster image', { skip }, () => {
  let scratch: string;
  let engine: Engine;
  /** Stands for the internet, with passwords. */
  let internet: Registry;
  let root: string;
  let words: readonly string[];

  before(async () => {
    scratch = await scratchFolder();
    const htpasswd = join(projectRoot, 'test/interop/htpasswd');
    [engine, internet] = await Promise.all([
      Engine.start(scratch),
      Registry.start(join(scratch, 'internet'), scratch, {
        auth: { htpasswd: { realm: 'it', path: htpasswd } },
      }),
    ]);
    const tree = join(await unpack(join(fixtureFolder, 'sync.tar'), join(scratch, 'tree')), 'sync');
    const push = ['push', tree, `docker://${internet.host}`, '--dest-creds', CREDENTIALS];
    await imgconv(...push);
    await imgconv(...push, 'demo/app:1.0', '--rename', 'demo/app=library/mysql');
    const auth = { auths: { [internet.host]: { auth: Buffer.from(CREDENTIALS).toString('base64') } } };
    await put(join(scratch, 'auth.json'), JSON.stringify(auth));
    root = join(scratch, 'rootfs');
    await put(
      join(root, 'manifests/imageList'),
      `mysql:1.0\n${internet.host}/demo/multi:1\noci://${internet.host}/helm-charts/demo:0.1.0\n`,
    );
    await put(
      join(root, 'manifests/dashboard.yaml'),
      `apiVersion: v1\nkind: Pod\nmetadata: {name: d}\nspec: {containers: [{name: d, image: "${internet.host}/demo/app:2.0"}]}\n`,
    );
    await put(join(root, 'charts/nginx/Chart.yaml'), 'apiVersion: v2\nname: nginx\nversion: 1.0.0\n');
    await put(
      join(root, 'charts/nginx/values.yaml'),
      `image: {repository: ${internet.host}/demo/dup, tag: "1"}\n`,
    );
    await mkdir(join(root, 'images'), { recursive: true });
    await engine.docker('load', '-i', join(fixtureFolder, 'docker20.tar'));
    await engine.docker('tag', 'demo/base:1', 'saved/base:1');
    await engine.docker('tag', 'demo/app:1.0', 'saved/app:1.0');
    await engine.docker('save', '-o', join(root, 'images/base.tar'), 'saved/base:1');
    await engine.docker('save', '-o', join(root, 'images/app.tar'), 'saved/app:1.0');
    await engine.forgetImages();
    const mirror = `docker.io=http://${internet.host}`;
    words = [
      'fill',
      root,
      '--authfile',
      join(scratch, 'auth.json'),
      '--registry-mirror',
      mirror,
      '--retry-times',
      '0',
    ];
  });

  after(async () => {
    await Promise.all([engine.stop(), internet.stop()]);
    await tidy(scratch);
  });

  test('is filled by one command; a registry on it serves every name, and a second run fetches nothing', async () => {
    const first = await imgconv(...words);
    assert.match(first, /^written +mysql:1\.0/m);
    const registry = await Registry.start(join(root, 'registry'), await newFolder(scratch));
    try {
      for (const [name, as] of [
        ['mysql:1.0', 'demo/app:1.0'],
        ['library/mysql:1.0', 'demo/app:1.0'],
        ['demo/app:2.0', 'demo/app:2.0'],
        ['demo/dup:1', 'demo/dup:1'],
        ['saved/base:1', 'demo/base:1'],
        ['saved/app:1.0', 'demo/app:1.0'],
      ] as const) {
        await engine.docker('pull', '-q', `${registry.host}/${name}`);
        assert.equal(
          await engine.imageId(`${registry.host}/${name}`),
          expected.imageIds['docker20.tar']?.[as],
        );
        assert.equal(await engine.says(`${registry.host}/${name}`), expected.says[as]);
      }
      const chart = await run('skopeo', [
        'inspect',
        '--raw',
        '--tls-verify=false',
        `docker://${registry.host}/helm-charts/demo:0.1.0`,
      ]);
      assert.equal(sha256(Buffer.from(chart)), expected.digests['sync.tar']?.['helm-charts/demo:0.1.0']);
      const list = await run('skopeo', [
        'inspect',
        '--raw',
        '--tls-verify=false',
        `docker://${registry.host}/demo/multi:1`,
      ]);
      assert.equal(sha256(Buffer.from(list)), expected.digests['sync.tar']?.['demo/multi:1']);
    } finally {
      await registry.stop();
    }
    const second = await imgconv(...words);
    assert.match(second, /: 0 written, \d+ unchanged; blobs: /);
    assert.doesNotMatch(second, /fetched|copied|updated/);
    assert.match(await imgconv('fill', root, '--check'), /, 0 differences/);
  });

  test('goes on when it was killed', async () => {
    const copy = join(scratch, 'killed');
    await cp(root, copy, { recursive: true, filter: (path) => !path.startsWith(join(root, 'registry')) });
    const again = words.map((word) => (word === root ? copy : word));
    for (const delay of ['0.25', '0.35', '0.5']) {
      const program = [process.execPath, join(projectRoot, 'bin/imgconv.js'), ...again];
      await outcomeOf('timeout', ['-s', 'KILL', delay, ...program]).catch(() => undefined);
      const found = await outcomeOf(process.execPath, [
        join(projectRoot, 'bin/imgconv.js'),
        'verify',
        join(copy, 'registry'),
      ]);
      assert.ok(
        found.status === 0 || /no such file|not there|: a folder, and neither/.test(found.stderr),
        found.stdout + found.stderr,
      );
    }
    await imgconv(...again);
    assert.equal(await imgconv('ls', join(copy, 'registry')), await imgconv('ls', join(root, 'registry')));
  });

  test('without credentials nothing comes of it, and the error says so', async () => {
    const bare = join(scratch, 'bare');
    await put(join(bare, 'manifests/imageList'), `${internet.host}/demo/base:1\n`);
    const failed = await outcomeOf(process.execPath, [
      join(projectRoot, 'bin/imgconv.js'),
      'fill',
      bare,
      '--no-creds',
      '--retry-times',
      '0',
    ]);
    assert.equal(failed.status, 1);
    assert.match(failed.stderr, /login|credentials/);
    await assert.rejects(
      readFile(
        join(bare, 'registry/docker/registry/v2/repositories/demo/base/_manifests/tags/1/current/link'),
      ),
    );
  });
});
