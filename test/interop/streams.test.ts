import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { shell } from '../support/engine-shell.js';
import { filesIn } from '../support/snapshot.js';
import { Engine } from './engine-peer.js';
import { imgconv, missingPeers, newFolder, scratchFolder, tidy, unpack } from './peers.js';
import { Registry } from './registry-peer.js';
import { expected, fixtureFolder, samples, tagsOfStore } from './samples.js';

const skip = missingPeers('dockerd', 'docker', 'docker-registry');

for (const sample of samples) {
  describe(`docker and pipes: ${sample.title}`, { skip: skip || sample.skip }, () => {
    const [saved = ''] = sample.archives;
    const two = ['demo/app:1.0', 'demo/dup:1'];
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

    async function assertImages(names: readonly string[], prefix = ''): Promise<void> {
      for (const name of names) {
        assert.equal(await engine.imageId(prefix + name), sample.imageIds[name], name);
        const says = sample.says[name];
        if (says !== undefined) assert.equal(await engine.says(prefix + name), says);
      }
    }

    async function pullAndCompare(store: string, names: readonly string[]): Promise<void> {
      await engine.forgetImages();
      const registry = await Registry.start(store, await newFolder(scratch));
      try {
        assert.deepEqual(await registry.names(), [...names].sort());
        for (const name of names) await engine.docker('pull', '-q', `${registry.host}/${name}`);
        await assertImages(names, `${registry.host}/`);
      } finally {
        await registry.stop();
      }
    }

    for (const flags of ['', '--compression keep', '--compression-level 9']) {
      test(`docker save a b | imgconv tar2reg - STORE ${flags}: served and pulled with equal image IDs`, async () => {
        const store = join(await newFolder(scratch), 'store');
        await engine.docker('load', '-q', '-i', saved);
        await shell(scratch, `docker save ${two.join(' ')} | imgconv tar2reg - "$1" ${flags}`, store);
        assert.deepEqual(Object.keys(await tagsOfStore(store)), two);
        const left = (await readdir(store, { recursive: true })).filter((name) => name.includes('.imgconv-'));
        assert.deepEqual(left, []);
        await pullAndCompare(store, two);
      });
    }

    test('docker save a b | gzip | imgconv tar2oci - LAYOUT, and on into a store', async () => {
      const folder = await newFolder(scratch);
      await engine.docker('load', '-q', '-i', saved);
      await shell(
        scratch,
        `docker save ${two.join(' ')} | gzip -1 | imgconv tar2oci - "$1"`,
        join(folder, 'layout'),
      );
      await imgconv('oci2reg', join(folder, 'layout'), join(folder, 'store'));
      await pullAndCompare(join(folder, 'store'), two);
    });

    test('imgconv reg2tar STORE - REF | docker load: that image, and no other', async () => {
      const store = await unpack(sample.store, await newFolder(scratch));
      for (const flags of ['', '--layers uncompressed', '--archive-compression gzip']) {
        await engine.forgetImages();
        await shell(scratch, `imgconv reg2tar "$1" - demo/app:1.0 ${flags} | docker load -q`, store);
        assert.deepEqual(await engine.names(), ['demo/app:1.0']);
        await assertImages(['demo/app:1.0']);
      }
    });

    test('many images by the pipe: every one that an engine can hold', async () => {
      const store = await unpack(sample.store, await newFolder(scratch));
      const names = Object.keys(sample.digests).join(' ');
      await shell(scratch, `imgconv reg2tar "$1" - ${names} | docker load -q`, store);
      assert.deepEqual(await engine.names(), Object.keys(sample.imageIds).sort());
      await assertImages(Object.keys(sample.imageIds));
    });

    test('out of the engine and into it again, by two pipes', async () => {
      const store = join(await newFolder(scratch), 'store');
      await engine.docker('load', '-q', '-i', saved);
      await shell(scratch, `docker save ${two.join(' ')} | imgconv tar2reg - "$1"`, store);
      await engine.forgetImages();
      await shell(scratch, 'imgconv reg2tar "$1" - | docker load -q', store);
      assert.deepEqual(await engine.names(), two);
      await assertImages(two);
    });

    test('docker save IMAGE_ID has no name: it is given one', async () => {
      const store = join(await newFolder(scratch), 'store');
      await engine.docker('load', '-q', '-i', saved);
      const id = sample.imageIds['demo/app:1.0'] ?? '';
      await assert.rejects(
        shell(scratch, `docker save ${id} | imgconv tar2reg - "$1"`, store),
        /name it: imgconv tar2reg - \S+ @0 -t image:[0-9a-f]{12}\n/,
      );
      assert.deepEqual(filesIn(store), [], 'nothing is left of it');
      await shell(scratch, `docker save ${id} | imgconv tar2reg - "$1" -t demo/named:1`, store);
      assert.deepEqual(Object.keys(await tagsOfStore(store)), ['demo/named:1']);
    });

    test('a save that fails half-way stores nothing', async () => {
      const store = join(await newFolder(scratch), 'store');
      await engine.docker('load', '-q', '-i', saved);
      const line = `docker save ${two.join(' ')} | head -c 30000 | imgconv tar2reg - "$1"`;
      await assert.rejects(shell(scratch, line, store), /stdin: cut off after 30000 bytes/);
      assert.deepEqual(filesIn(store), []);
    });
  });
}

describe(
  'docker and pipes: archives of before Docker 1.10',
  { skip: missingPeers('dockerd', 'docker') },
  () => {
    test('loaded by the engine itself and through imgconv they have the same image IDs', async () => {
      const scratch = await scratchFolder();
      const engine = await Engine.start(scratch);
      try {
        const archive = join(fixtureFolder, 'legacy-v1.tar');
        const imageIds = expected.imageIds['legacy-v1.tar'] ?? {};
        for (const line of ['docker load -q < "$1"', 'imgconv tar2tar - - < "$1" | docker load -q']) {
          await engine.forgetImages();
          await shell(scratch, line, archive);
          for (const [name, id] of Object.entries(imageIds))
            assert.equal(await engine.imageId(name), id, line);
        }
      } finally {
        await engine.stop();
        await tidy(scratch);
      }
    });
  },
);
