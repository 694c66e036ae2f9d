import assert from 'node:assert/strict';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { z } from 'zod';
import {
  differences,
  imgconv,
  isRewrittenBySkopeo,
  missingPeers,
  newFolder,
  run,
  scratchFolder,
  sha256,
  tidy,
  unpack,
} from './peers.js';
import { Registry } from './registry-peer.js';
import { samples, tagsOfStore } from './samples.js';

const skip = missingPeers('docker-registry', 'skopeo');
const ConfigSchema = z.object({ rootfs: z.object({ diff_ids: z.array(z.string()) }) });
const plain = ['--src-tls-verify=false', '--dest-tls-verify=false'];

for (const sample of samples) {
  describe(`docker-registry after dir2reg: ${sample.title}`, { skip: skip || sample.skip }, () => {
    const names = Object.keys(sample.digests);
    let scratch: string;
    let tree: string;
    let store: string;
    let registry: Registry;

    before(async () => {
      scratch = await scratchFolder();
      tree = join(await unpack(sample.tree.tar, join(scratch, 'tree')), sample.tree.folder);
      store = join(scratch, 'store');
      await imgconv('dir2reg', tree, store);
      registry = await Registry.start(store, scratch);
    });

    after(async () => {
      await registry.stop();
      await tidy(scratch);
    });

    test('catalog and tag lists name every image, and no other', async () => {
      assert.deepEqual(await registry.names(), [...names].sort());
    });

    for (const name of names) {
      test(`${name} is served whole under its digest`, async () => {
        assert.equal(await registry.pullWhole(name), sample.digests[name]);
      });
    }

    test('skopeo inspect --raw gives the bytes that the digest names', async () => {
      for (const name of names) {
        const raw = await run('skopeo', [
          'inspect',
          '--raw',
          '--tls-verify=false',
          `docker://${registry.host}/${name}`,
        ]);
        assert.equal(sha256(Buffer.from(raw)), sample.digests[name], name);
      }
    });

    test('skopeo copies each image out, the same as the directory it came from', async () => {
      for (const name of names) {
        const out = await newFolder(scratch);
        await run('skopeo', [
          'copy',
          '-q',
          '--all',
          ...plain,
          `docker://${registry.host}/${name}`,
          `dir:${out}`,
        ]);
        if (!isRewrittenBySkopeo(name)) assert.equal(await differences(join(tree, name), out), '');
      }
    });

    test('what skopeo pushes into it, imgconv reads, beside what was there', async () => {
      const pushed = { 'demo/multi:1': 'demo/pushed:1', 'demo/app:2.0': 'demo/app:pushed' };
      for (const [from, to] of Object.entries(pushed)) {
        const words = [
          'copy',
          '-q',
          '--all',
          ...plain,
          `dir:${join(tree, from)}`,
          `docker://${registry.host}/${to}`,
        ];
        await run('skopeo', words);
      }
      const out = join(scratch, 'pushed');
      await imgconv('reg2dir', store, out, ...Object.values(pushed));
      for (const [from, to] of Object.entries(pushed)) {
        assert.equal(await differences(join(tree, from), join(out, to)), '');
      }
      const copy = join(scratch, 'copy');
      await imgconv('reg2reg', store, copy);
      assert.deepEqual(await tagsOfStore(copy), await tagsOfStore(store));
    });

    test('what is deleted through the API, imgconv leaves out, and nothing else', async () => {
      await registry.deleteImage('demo/dup:1');
      const [remaining, copy] = [await tagsOfStore(store), join(scratch, 'without')];
      assert.equal(remaining['demo/dup:1'], undefined);
      await imgconv('reg2reg', store, copy);
      assert.deepEqual(await tagsOfStore(copy), remaining);
    });
  });

  describe(`docker-registry after tar2reg: ${sample.title}`, { skip: skip || sample.skip }, () => {
    for (const archive of sample.archives) {
      test(basename(archive), async () => {
        const scratch = await scratchFolder();
        const store = join(scratch, 'store');
        await imgconv('tar2reg', archive, store);
        const registry = await Registry.start(store, scratch);
        try {
          const names = await registry.names();
          assert.deepEqual(names, ['demo/app:1.0', 'demo/app:2.0', 'demo/base:1', 'demo/dup:1']);
          for (const name of names) {
            await registry.pullWhole(name);
            const { config = '', layers } = await registry.manifest(name);
            assert.equal(config, sample.imageIds[name], `${name}: image ID`);
            assert.deepEqual(
              await diffIdsOf(registry, name, layers),
              await wantedDiffIds(registry, name, config),
            );
          }
        } finally {
          await registry.stop();
          await tidy(scratch);
        }
      });
    }
  });
}

function repositoryOf(name: string): string {
  return name.slice(0, name.lastIndexOf(':'));
}

async function diffIdsOf(registry: Registry, name: string, layers: readonly string[]): Promise<string[]> {
  const blobs = await Promise.all(layers.map((layer) => registry.blob(repositoryOf(name), layer)));
  return blobs.map((blob) => sha256(blob[0] === 0x1f ? gunzipSync(blob) : blob));
}

async function wantedDiffIds(registry: Registry, name: string, config: string): Promise<string[]> {
  const bytes = await registry.blob(repositoryOf(name), config);
  return ConfigSchema.parse(JSON.parse(Buffer.from(bytes).toString())).rootfs.diff_ids;
}
