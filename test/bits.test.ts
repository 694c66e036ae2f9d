import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { convert } from '../src/index.js';
import { refusal } from './support/errors.js';
import { digestText, hex, imageOf } from './support/images.js';
import { archiveOf, blobFile, savedFiles } from './support/layouts.js';
import { newPlace, place } from './support/places.js';
import { within } from './support/processes.js';
import { put } from './support/images.js';
import { tempFolder } from './support/temp.js';
import { join } from 'node:path';
import { execFileSync, spawnSync } from 'node:child_process';
import { bits } from './torture/bits.js';
import { runHere } from './torture/campaign.js';

test(
  'places of every format with a damaged byte fail naming the file, or give the same',
  { timeout: 60_000 },
  async () => {
    const failed: string[] = [];
    const outcomes = new Set<string>();
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    await runHere(bits, 'short', numbers, ({ number, outcome, why }) => {
      if (why !== undefined)
        failed.push(`npm run test:hostile -- bits --seed short --only ${number}: ${why}`);
      if (outcome !== undefined) outcomes.add(outcome);
    });
    assert.deepEqual(failed, []);
    for (const outcome of ['refused', 'identical']) assert.ok(outcomes.has(outcome), [...outcomes].join());
  },
);

describe('damage that was found to go unnoticed, or unexplained', () => {
  test('an index.json that names a manifest which is not in the archive', async () => {
    const image = await imageOf('x');
    const files = savedFiles({ 'demo/app:1': image });
    const other = hex(digestText(Buffer.from('another')));
    const index = String(files['index.json']).replaceAll(hex(image.root.digest), other);
    const path = join(tempFolder(), 'archive.tar');
    put(path, await archiveOf({ ...files, 'index.json': Buffer.from(index) }));
    const { images } = await convert(place('tar', path), newPlace('oci'));
    assert.equal(images[0]?.error?.code, 'BLOB_MISSING');
    assert.ok(images[0].error.message.includes(other));
  });

  for (const program of ['bzip2', 'zstd', 'xz'])
    test(
      `a ${program} archive with a damaged layer is named, and not the file that it was unpacked to`,
      {
        skip:
          spawnSync(program, ['--version'], { stdio: 'ignore' }).error !== undefined && `no ${program} here`,
      },
      async () => {
        const image = await imageOf('x', { compress: false });
        const [, layer] = image.blobs;
        assert.ok(layer !== undefined);
        const wrong = Buffer.from(layer.bytes);
        wrong.writeUInt8(1, 600);
        const files = { ...savedFiles({ 'demo/app:1': image }), [blobFile(layer.digest)]: wrong };
        const path = join(tempFolder(), 'archive.packed');
        put(path, execFileSync(program, ['-c', '-q'], { input: await archiveOf(files) }));
        const { images } = await convert(place('tar', path), newPlace('oci'));
        assert.ok(refusal('DIGEST_MISMATCH', `${path}: ${blobFile(layer.digest)}`)(images[0]?.error));
      },
    );

  test('a bzip2 archive that is cut off is told without words of the decoder', async () => {
    const packed = execFileSync('bzip2', ['-c'], {
      input: await archiveOf(savedFiles({ 'a:1': await imageOf('x') })),
    });
    for (let cut = 100; cut < packed.length; cut += 97) {
      const path = join(tempFolder(), 'cut.tar.bz2');
      put(path, packed.subarray(0, cut));
      await assert.rejects(convert(place('tar', path), newPlace('oci')), (error) => {
        assert.ok(refusal('ARCHIVE_INVALID', path, 'damaged bzip2 data')(error));
        assert.doesNotMatch(String(error), /undefined|propert/);
        return true;
      });
    }
  });

  test('a name that is none says where it was read', async () => {
    const files = savedFiles({ 'demo/app:1': await imageOf('x') });
    const named = String(files['manifest.json']).replace('demo/app:1', 'demo/app:1:0');
    const path = join(tempFolder(), 'archive.tar');
    put(path, await archiveOf({ ...files, 'manifest.json': Buffer.from(named) }));
    const { images } = await convert(place('tar', path), newPlace('oci'));
    assert.ok(images.some(({ error }) => error?.code === 'NAME_INVALID' && error.message.includes(path)));
  });

  test(
    'an xz archive that holds no tar, and then a sound one in the same process',
    { skip: spawnSync('xz', ['--version'], { stdio: 'ignore' }).error !== undefined && 'no xz here' },
    async () => {
      const sound = await archiveOf(savedFiles({ 'demo/app:1': await imageOf('x') }));
      for (const [content, fails] of [
        [Buffer.alloc(5_000_000, 'no tar'), true],
        [sound, false],
      ] as const) {
        const path = join(tempFolder(), 'archive.tar.xz');
        put(path, execFileSync('xz', ['-c', '-q', '-0'], { input: content }));
        const converting = convert(place('tar', path), newPlace('oci'));
        if (fails) await assert.rejects(converting, refusal('ARCHIVE_INVALID', path));
        else assert.equal((await within(10, 'the second', converting)).images[0]?.status, 'written');
      }
    },
  );

  test('an archive with a layout in it whose index.json was lost', async () => {
    const { 'index.json': _, ...files } = savedFiles({ 'demo/app:1': await imageOf('x') });
    const path = join(tempFolder(), 'archive.tar');
    put(path, await archiveOf(files));
    await assert.rejects(
      convert(place('tar', path), newPlace('oci')),
      refusal('ARCHIVE_INVALID', 'index.json'),
    );
  });
});
