import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { imgconv, missingPeers, outcomeOf, projectRoot, run, scratchFolder, tidy, unpack } from './peers.js';
import { Registry } from './registry-peer.js';
import { samples } from './samples.js';

const skip = missingPeers('docker-registry');

/** Every file below a folder, relative to it and sorted. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

async function dataBelow(store: string): Promise<string[]> {
  return (await filesBelow(join(store, 'docker/registry/v2/blobs'))).filter((name) => name.endsWith('/data'));
}

for (const sample of samples) {
  describe(`a store of docker-registry's own: ${sample.title}`, { skip: skip || sample.skip }, () => {
    const names = Object.keys(sample.digests);
    let scratch: string;
    let count = 0;

    /** A copy of what a registry wrote. */
    const newStore = () => unpack(sample.store, join(scratch, `store-${String(count++)}`));

    const serves = async (store: string, wanted: readonly string[]) => {
      const registry = await Registry.start(store, scratch);
      try {
        for (const name of wanted) assert.equal(await registry.pullWhole(name), sample.digests[name], name);
      } finally {
        await registry.stop();
      }
    };

    before(async () => {
      scratch = await scratchFolder();
    });

    after(async () => {
      await tidy(scratch);
    });

    test('verify finds nothing broken in it', async () => {
      assert.match(await imgconv('verify', await newStore(), '--deep'), /checked, 0 broken;/);
    });

    test('after gc --untagged all that has a tag is served whole', async () => {
      const store = await newStore();
      await imgconv('gc', store, '--untagged', '--older-than', '0');
      await serves(store, names);
    });

    test('after an image was deleted through the API, gc takes its blobs away and leaves the others', async () => {
      const store = await newStore();
      const registry = await Registry.start(store, scratch);
      await registry.deleteImage('demo/multi:1');
      await registry.stop();
      const before = await dataBelow(store);
      await imgconv('gc', store, '--untagged', '--older-than', '0');
      assert.equal((await dataBelow(store)).length < before.length, true);
      await serves(
        store,
        names.filter((name) => name !== 'demo/multi:1'),
      );
    });

    test('gc deletes no blob that the registry would keep, unless only an untagged one needs it', async () => {
      const store = await newStore();
      const registry = await Registry.start(store, scratch);
      await registry.deleteImage('demo/dup:1');
      await registry.stop();
      const config = join(scratch, 'gc.yml');
      await writeFile(
        config,
        JSON.stringify({ version: '0.1', storage: { filesystem: { rootdirectory: store } } }),
      );
      const { stdout } = await outcomeOf('docker-registry', ['garbage-collect', '--dry-run', config]);
      const eligible = [...stdout.matchAll(/^blob eligible for deletion: (sha256:\w+)$/gm)].map(
        ([, one]) => one,
      );
      const before = await dataBelow(store);
      await imgconv('gc', store, '--older-than', '0');
      const left = new Set(await dataBelow(store));
      const deleted = before
        .filter((name) => !left.has(name))
        .map((name) => `sha256:${name.split('/')[2] ?? ''}`);
      assert.deepEqual(deleted.sort(), eligible.sort());
      assert.equal(deleted.length > 0, true);
    });

    test('after verify --repair everything is served again', async () => {
      const store = await newStore();
      const whole = await newStore();
      const root = join(store, 'docker/registry/v2');
      // Every third blob and every fifth link goes, and every seventh blob is cut off.
      const blobs = await dataBelow(store);
      for (const [i, name] of blobs.entries()) {
        const path = join(root, 'blobs', name);
        if (i % 3 === 0) await rm(path);
        else if (i % 7 === 0) await writeFile(path, (await readFile(path)).subarray(0, -1));
      }
      const links = (await filesBelow(join(root, 'repositories'))).filter((name) => !name.includes('/tags/'));
      for (const [i, name] of links.entries()) if (i % 5 === 0) await rm(join(root, 'repositories', name));
      assert.equal(
        (await outcomeOf('node', [join(projectRoot, 'bin/imgconv.js'), 'verify', store])).status,
        1,
      );
      assert.match(await imgconv('verify', store, '--repair', whole), /checked, 0 broken;/);
      await serves(store, names);
      await run('diff', [
        '-r',
        '-x',
        '.damaged',
        '-x',
        '_uploads',
        join(whole, 'docker'),
        join(store, 'docker'),
      ]);
    });
  });
}
