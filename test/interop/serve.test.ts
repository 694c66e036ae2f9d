import assert from 'node:assert/strict';
import { createServer, connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Engine } from './engine-peer.js';
import {
  differences,
  imgconv,
  missingPeers,
  newFolder,
  outcomeOf,
  projectRoot,
  run,
  scratchFolder,
  tidy,
  unpack,
} from './peers.js';
import { Serve } from './serve-peer.js';
import { Registry } from './registry-peer.js';
import { expected, fixtureFolder, samples, tagsOfStore } from './samples.js';

const skip = missingPeers('docker', 'dockerd', 'docker-registry', 'skopeo');
const [sample] = samples;

describe('imgconv serve', { skip: skip || sample?.skip }, () => {
  let scratch: string;
  let engine: Engine;
  let store: string;

  before(async () => {
    scratch = await scratchFolder();
    engine = await Engine.start(scratch);
    assert.ok(sample);
    store = await unpack(sample.store, join(scratch, 'store'));
  });

  after(async () => {
    await engine.stop();
    await tidy(scratch);
  });

  const archives = ['docker20.tar', 'docker28.tar', 'legacy-v1.tar', 'containerd28.tar', 'podman.tar'];
  for (const file of archives)
    test(`docker pulls and runs what ${file} holds`, async () => {
      const serve = await Serve.start(join(fixtureFolder, file));
      try {
        const pulled = `${serve.host}/demo/app:1.0`;
        await engine.docker('pull', '-q', pulled);
        assert.equal(await engine.says(pulled), 'hello from demo/app 1.0');
        const id = expected.imageIds[file]?.['demo/app:1.0'];
        if (id !== undefined) assert.equal(await engine.imageId(pulled), id);
      } finally {
        await serve.stop();
        await engine.forgetImages();
      }
    });

  test('skopeo copies out of it what it copies out of docker-registry', async () => {
    const serve = await Serve.start(store);
    const registry = await Registry.start(store, scratch);
    try {
      for (const name of Object.keys(await tagsOfStore(store))) {
        const [ours, theirs] = [await newFolder(scratch), await newFolder(scratch)];
        for (const [host, out] of [
          [serve.host, ours],
          [registry.host, theirs],
        ])
          await run('skopeo', [
            ...['copy', '-q', '--all', '--src-tls-verify=false'],
            ...[`docker://${host ?? ''}/${name}`, `dir:${out ?? ''}`],
          ]);
        assert.equal(await differences(ours, theirs), '', name);
      }
    } finally {
      await serve.stop();
      await registry.stop();
    }
  });

  for (const kind of ['reg', 'oci'])
    test(`docker and skopeo push into ${kind}:, twice, and docker-registry serves it`, async () => {
      const target = join(await newFolder(scratch), 'pushed');
      const serve = await Serve.start(`${kind}:${target}`, '--writable');
      try {
        const name = `${serve.host}/team/app:1.0`;
        await engine.docker('load', '-q', '-i', join(fixtureFolder, 'docker20.tar'));
        await engine.docker('tag', 'demo/app:1.0', name);
        for (let turn = 0; turn < 2; turn++) await engine.docker('push', '-q', name);
        const all = ['copy', '-q', '--all', '--src-tls-verify=false', '--dest-tls-verify=false'];
        const tree = await newFolder(scratch);
        await imgconv('reg2dir', store, tree, 'demo/multi:1');
        const from = `dir:${join(tree, 'demo/multi:1')}`;
        for (let turn = 0; turn < 2; turn++)
          await run('skopeo', [...all, from, `docker://${serve.host}/team/multi:1`]);
        await engine.forgetImages();
        await engine.docker('pull', '-q', name);
        assert.equal(await engine.says(name), 'hello from demo/app 1.0');
      } finally {
        await serve.stop();
        await engine.forgetImages();
      }
      await imgconv('verify', `${kind}:${target}`, '--deep');
      const shared = join(await newFolder(scratch), 'shared');
      await imgconv('copy', `${kind}:${target}`, `reg:${shared}`, '--all');
      const registry = await Registry.start(kind === 'reg' ? target : shared, scratch);
      try {
        await engine.docker('pull', '-q', `${registry.host}/team/app:1.0`);
        assert.equal(await engine.says(`${registry.host}/team/app:1.0`), 'hello from demo/app 1.0');
      } finally {
        await registry.stop();
        await engine.forgetImages();
      }
    });

  test('a docker push that a proxy breaks in the middle goes through when it is repeated', async () => {
    const serve = await Serve.start(`reg:${join(await newFolder(scratch), 's')}`, '--writable');
    const [host = '', port = ''] = serve.host.split(':');
    let cut = true;
    const proxy = createServer((client) => {
      const server = connect(Number(port), host);
      let passed = 0;
      client.on('data', (chunk) => {
        passed += chunk.length;
        if (cut && passed > 20_000) {
          cut = false;
          client.destroy();
          server.destroy();
        } else server.write(chunk);
      });
      server.on('data', (chunk) => client.write(chunk));
      for (const socket of [client, server]) socket.on('error', () => undefined);
      client.on('close', () => server.destroy());
      server.on('close', () => client.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    try {
      const name = `127.0.0.1:${(proxy.address() as AddressInfo).port}/team/app:1.0`;
      await engine.docker('load', '-q', '-i', join(fixtureFolder, 'docker20.tar'));
      await engine.docker('tag', 'demo/app:1.0', name);
      await engine.docker('push', '-q', name);
      await engine.forgetImages();
      await engine.docker('pull', '-q', name);
      assert.equal(await engine.says(name), 'hello from demo/app 1.0');
    } finally {
      proxy.close();
      await serve.stop();
      await engine.forgetImages();
    }
  });

  test('skopeo logs in with an account, and is refused without one', async () => {
    const folder = await newFolder(scratch);
    const htpasswd = join(projectRoot, 'test/interop/htpasswd');
    const serve = await Serve.start(store, '--htpasswd', htpasswd);
    try {
      const inspect = ['inspect', '--tls-verify=false', `docker://${serve.host}/demo/app:1.0`];
      assert.notEqual((await outcomeOf('skopeo', [...inspect, '--no-creds'])).status, 0);
      await run('skopeo', [...inspect, '--creds', 'user:interop-password']);
      assert.notEqual((await outcomeOf('skopeo', [...inspect, '--creds', 'user:wrong'])).status, 0);
    } finally {
      await serve.stop();
      await tidy(folder);
    }
  });
});
