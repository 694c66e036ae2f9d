import assert from 'node:assert/strict';
import { appendFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { convert, parseDigest } from '../src/index.js';
import { openPlace } from '../src/formats/open.js';
import { MemoryDownloads } from '../src/storage/memory-downloads.js';
import { Pool } from '../src/threads/pool.js';
import { isThere } from '../src/bytes/there.js';
import { PeekSpool } from '../src/storage/spool.js';
import { MAX_MANIFEST } from '../src/model/json.js';
import { readManifest } from '../src/proof/manifest.js';
import { findClosure } from '../src/transfer/closure.js';
import { readTree } from '../src/transfer/tree.js';
import { refusal } from './support/errors.js';
import { imageOf, indexOf, layTree, put } from './support/images.js';
import { namesOf, newPlace, place } from './support/places.js';
import { tempFolder } from './support/temp.js';

test('a manifest whose file grows after it was parsed is passed on as it was parsed', async () => {
  const image = indexOf([await imageOf('one')]);
  const tree = layTree(tempFolder(), { 'demo/app:1': image });
  await using pool = new Pool(1);
  const reader = await openPlace(place('dir', tree), {
    pool,
    spool: new PeekSpool(),
    downloads: new MemoryDownloads(),
    access: {},
  });
  for await (const source of reader.images({ untagged: false })) {
    assert.ok(!('error' in source));
    const root = await readTree(source);
    appendFileSync(join(tree, 'demo/app:1/manifest.json'), 'more');
    const { blobs } = await findClosure(source, root, pool, { allowAbsent: false, onBytes: undefined });
    const bytes = await blobs.get(root.descriptor.digest)?.read(MAX_MANIFEST);
    assert.deepEqual(bytes && Buffer.from(bytes), image.root.bytes);
  }
});

test('a manifest whose file grew before it was read is refused, though its first bytes are right', async () => {
  const { root } = await imageOf('one');
  const path = join(tempFolder(), 'manifest.json');
  put(path, Buffer.concat([root.bytes, Buffer.from('more')]));
  const at = { kind: 'file', path, offset: 0, size: root.bytes.length, whole: true } as const;
  assert.throws(
    () => readManifest(at, { digest: parseDigest(root.digest, 'test') }),
    refusal('SOURCE_CHANGED', path),
  );
});

test('nothing is there below a file, and what cannot be looked at is no such answer', () => {
  const folder = tempFolder();
  put(join(folder, 'file'), 'a file');
  symlinkSync('loop', join(folder, 'loop'));
  assert.deepEqual(
    ['file', 'none', 'file/below'].map((name) => isThere(join(folder, name))),
    [true, false, false],
  );
  assert.throws(() => isThere(join(folder, 'loop')), { code: 'ELOOP' });
});

test('an image of a tree that cannot be looked at is told, and does not stop the others', async () => {
  const tree = layTree(tempFolder(), { 'demo/app:1': await imageOf('one') });
  // A link to itself: the kernel fails with ELOOP, for whoever asks.
  put(join(tree, 'demo/bad:1/version'), 'Directory Transport Version: 1.1\n');
  symlinkSync('manifest.json', join(tree, 'demo/bad:1/manifest.json'));
  const target = newPlace('reg');
  const { images } = await convert(place('dir', tree), target);
  assert.deepEqual(images.map(({ name, source, status }) => [name ?? source, status]).sort(), [
    ['demo/app:1', 'written'],
    ['demo/bad:1', 'failed'],
  ]);
  assert.deepEqual(Object.keys(await namesOf(target)), ['demo/app:1']);
});
