import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import {
  differences,
  imagesInTree,
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
import { samples, tagsOfStore } from './samples.js';

const skip = missingPeers('skopeo');
const ImageManifestSchema = z.object({ config: z.object({ digest: z.string() }) });

for (const sample of samples) {
  describe(`skopeo: ${sample.title}`, { skip: skip || sample.skip }, () => {
    const names = Object.keys(sample.digests);
    let scratch: string;
    let skopeoTree: string;
    let store: string;

    before(async () => {
      scratch = await scratchFolder();
      skopeoTree = join(await unpack(sample.tree.tar, join(scratch, 'tree')), sample.tree.folder);
      store = await unpack(sample.store, join(scratch, 'store'));
    });

    after(() => tidy(scratch));

    test('reg2dir writes the tree that skopeo sync writes', async () => {
      const tree = join(scratch, 'reg2dir');
      await imgconv('reg2dir', store, tree, ...names);
      await assertSameImages(tree, skopeoTree);
    });

    test('skopeo copies every directory that reg2dir wrote', async () => {
      const tree = join(scratch, 'reg2dir-all');
      await imgconv('reg2dir', store, tree);
      const tagged = (await imagesInTree(tree)).filter((name) => !name.includes('@'));
      assert.deepEqual(tagged, Object.keys(await tagsOfStore(store)).sort());
      for (const name of await imagesInTree(tree)) {
        const out = await newFolder(scratch);
        await run('skopeo', ['copy', '-q', '--all', `dir:${join(tree, name)}`, `dir:${out}`]);
        if (!isRewrittenBySkopeo(name)) assert.equal(await differences(join(tree, name), out), '');
      }
    });

    test('reg2tar and tar2dir --compression keep give that tree again', async () => {
      const archive = join(scratch, 'reg2tar.tar');
      const tree = join(scratch, 'tar2dir');
      await imgconv('reg2tar', store, archive, ...names);
      await imgconv('tar2dir', archive, tree, '--compression', 'keep');
      await assertSameImages(tree, skopeoTree);
    });

    test('reg2tar and tar2reg give back every digest, indexes and charts included', async () => {
      const archive = join(scratch, 'round.tar');
      const round = join(scratch, 'round');
      await imgconv('reg2tar', store, archive);
      await imgconv('tar2reg', archive, round);
      assert.deepEqual(await tagsOfStore(round), await tagsOfStore(store));
    });

    test('dir2reg keeps every digest', async () => {
      const out = join(scratch, 'dir2reg');
      await imgconv('dir2reg', skopeoTree, out);
      assert.deepEqual(await tagsOfStore(out), sample.digests);
    });

    for (const layers of ['kept', 'uncompressed']) {
      test(`skopeo reads each image out of a docker-archive, layers ${layers}`, async () => {
        const archive = join(scratch, `${layers}.tar`);
        await imgconv(
          'dir2tar',
          skopeoTree,
          archive,
          ...(layers === 'kept' ? [] : ['--layers', 'uncompressed']),
        );
        for (const [name, imageId] of Object.entries(sample.imageIds)) {
          const out = await newFolder(scratch);
          await run('skopeo', ['copy', '-q', `docker-archive:${archive}:${name}`, `dir:${out}`]);
          const manifest = ImageManifestSchema.parse(
            JSON.parse(await run('cat', [join(out, 'manifest.json')])),
          );
          assert.equal(manifest.config.digest, imageId, name);
        }
      });
    }

    test('a docker-archive is also an OCI layout that skopeo reads', async () => {
      const archive = join(scratch, 'layout.tar');
      await imgconv('reg2tar', store, archive, 'demo/multi:1');
      const layout = await unpack(archive, join(scratch, 'layout'));
      const raw = await run('skopeo', ['inspect', '--raw', `oci:${layout}`]);
      assert.equal(sha256(Buffer.from(raw)), sample.digests['demo/multi:1']);
    });
  });
}

/** Every directory of skopeo's tree is in ours to the byte; what else is there belongs to one of them, by its name. */
async function assertSameImages(tree: string, skopeoTree: string): Promise<void> {
  const images = await imagesInTree(skopeoTree);
  for (const name of images) assert.equal(await differences(join(skopeoTree, name), join(tree, name)), '');
  const others = (await imagesInTree(tree)).filter((name) => !images.includes(name));
  assert.deepEqual(
    others.filter((name) => !/[:@]sha256[-:]/.test(name)),
    [],
  );
}
