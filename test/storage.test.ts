import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { convert } from '../src/index.js';
import { parseDigest } from '../src/model/digest.js';
import { digestOf } from '../src/bytes/hash.js';
import { VerifiedBlob } from '../src/proof/verified-blob.js';
import type { TreeFile } from '../src/bytes/tree.js';
import {
  allBelow,
  allBelowByThread,
  filesBelow,
  foldersIn,
  keyOf,
  STEPS,
  type Storage,
} from '../src/storage/driver.js';
import { LocalStorage } from '../src/storage/local.js';
import { MemoryObjects, ObjectStorage } from '../src/storage/objects.js';
import { Pool } from '../src/threads/pool.js';
import { verify } from '../src/upkeep/verify.js';
import { refusal } from './support/errors.js';
import { syncTree } from './support/fixtures.js';
import { formatOf, place } from './support/places.js';
import { contentsIn, STORED } from './support/storages.js';
import { tempFolder } from './support/temp.js';

const pool = new Pool(1);
after(() => pool.close());

function blobOf(text: string): VerifiedBlob {
  const bytes = Buffer.from(text);
  return VerifiedBlob.of(bytes, digestOf(bytes), pool, 'test');
}

function wrongBlob(): VerifiedBlob {
  const digest = parseDigest(`sha256:${'0'.repeat(64)}`, 'test');
  return VerifiedBlob.of(Buffer.from('other'), digest, pool, 'test');
}

async function filled(storage: Storage, files: Readonly<Record<string, string>>): Promise<void> {
  const transaction = storage.begin();
  for (const [key, text] of Object.entries(files)) transaction.put(key, text);
  await transaction.commit();
  transaction.close();
}

test('a thread that finds files follows no link and reads no long document', async () => {
  const root = tempFolder();
  for (const name of ['in', 'out']) mkdirSync(join(root, name));
  writeFileSync(join(root, 'in/link'), 'short');
  writeFileSync(join(root, 'out/link'), 'x'.repeat(257));
  symlinkSync(join(root, 'out'), join(root, 'in/elsewhere'));
  symlinkSync('link', join(root, 'in/other'));
  const found: TreeFile[] = [];
  for await (const file of allBelowByThread(new LocalStorage(root), '', pool, { document: 'link' }))
    found.push(file);
  assert.deepEqual(found, [
    { key: 'in/elsewhere', kind: 'link' },
    { key: 'in/link', kind: 'file', content: 'short' },
    { key: 'in/other', kind: 'link' },
    { key: 'out/link', kind: 'file', content: undefined },
  ]);
  const parts = allBelowByThread(new LocalStorage(root), 'in/elsewhere', pool, {});
  await assert.rejects(parts.next(), refusal('IO', 'symbolic link'));
});

test('a folder that a thread cannot read is an error when all others were read', async () => {
  const root = tempFolder();
  for (const name of ['a', 'b']) mkdirSync(join(root, name));
  for (const name of ['a/1', 'b/2']) writeFileSync(join(root, name), name);
  // No file system takes such a name.
  const folders = ['b', 'x'.repeat(300), 'a'];
  const { files, failure } = await pool.tree({ kind: 'tree', root, folders, most: 9, wants: {} });
  assert.deepEqual(
    files.map(({ key }) => key),
    ['a/1', 'b/2'],
  );
  assert.equal(failure?.code, 'IO');
  const storage = new LocalStorage(root);
  const found: string[] = [];
  const all = allBelowByThread(storage, '', pool, {});
  storage.tree = async (job, threads) => ({
    ...(await threads.tree({ kind: 'tree', root, ...job })),
    failure,
  });
  await assert.rejects(async () => {
    for await (const { key } of all) found.push(key);
  }, refusal('IO'));
  assert.deepEqual(found.sort(), ['a/1', 'b/2']);
});

/** What a storage driver has to do: a new driver is one more line. */
const DRIVERS: readonly (readonly [name: string, make: () => Storage])[] = [
  ['local', () => new LocalStorage(join(tempFolder(), 'root'))],
  ['memory', () => new ObjectStorage(new MemoryObjects(), 'memory')],
  ['memory, below another root', () => new ObjectStorage(new MemoryObjects(), 'memory').below('a/b')],
];

for (const [name, make] of DRIVERS) {
  describe(`the ${name} storage driver`, () => {
    test('has nothing at first', async () => {
      const storage = make();
      assert.equal(await storage.stat(''), undefined);
      assert.equal(await storage.stat('a/b'), undefined);
      assert.deepEqual(await storage.list(''), []);
      assert.deepEqual(await storage.list('a'), []);
      assert.equal(await storage.bytes('a/b'), undefined);
      assert.equal(await storage.read('a/b', 10), undefined);
    });

    test('finds as many files by a thread as without one', async () => {
      const storage = make();
      // More folders than are read at once, some of them deep.
      const names = Array.from(
        { length: 700 },
        (_, i) => `a/${i % 7}/${i}/${i % 3 === 0 ? 'b/link' : 'data'}`,
      );
      await filled(storage, { 'z/last': 'x', ...Object.fromEntries(names.map((key) => [key, key])) });
      const found = new Map<string, TreeFile>();
      for await (const file of allBelowByThread(storage, '', pool, { document: 'link', sizes: true }))
        found.set(file.key, file);
      const expected: string[] = [];
      for await (const { key } of allBelow(storage, '')) expected.push(key);
      assert.deepEqual([...found.keys()].sort(), expected.sort());
      assert.equal(expected.length, names.length + 1);
      for (const { key, content, size } of found.values()) {
        if (storage.tree === undefined) continue;
        assert.equal(content, key.endsWith('link') ? key : undefined);
        assert.equal(size, key.endsWith('link') ? undefined : key === 'z/last' ? 1 : key.length);
      }
    });

    test('gives what was committed, by key, and lists folders by name', async () => {
      const storage = make();
      await filled(storage, { 'b/2': 'two', 'b/1': 'one', a: 'file', 'b/c/d': '' });
      assert.deepEqual(await storage.list(''), [
        { name: 'a', kind: 'file' },
        { name: 'b', kind: 'folder' },
      ]);
      assert.deepEqual(
        (await storage.list('b')).map((entry) => entry.name),
        ['1', '2', 'c'],
      );
      assert.deepEqual(await foldersIn(storage, 'b'), ['c']);
      assert.equal((await storage.stat('b'))?.kind, 'folder');
      const stat = await storage.stat('b/1');
      assert.deepEqual([stat?.kind, stat?.size, stat?.links], ['file', 3, 1]);
      assert.ok(Math.abs((stat?.changed ?? 0) - Date.now()) < 60_000);
      assert.equal(String(Buffer.from((await storage.read('b/1', 2)) ?? '')), 'on');
      assert.equal((await storage.bytes('b/1'))?.size, 3);
      assert.equal((await storage.bytes('b/1'))?.path, storage.nameOf('b/1'));
      const below: string[] = [];
      for await (const { key } of filesBelow(storage, 'b')) below.push(key);
      assert.deepEqual(below, ['b/1', 'b/2', 'b/c/d']);
      assert.equal(keyOf(storage, storage.nameOf('b/1')), 'b/1');
      assert.equal(keyOf(storage, storage.name), '');
    });

    test('a folder is no file, and a file is no folder', async () => {
      const storage = make();
      await filled(storage, { 'a/b': 'x' });
      await assert.rejects(storage.bytes('a'), refusal('IO', storage.nameOf('a')));
      await assert.rejects(storage.list('a/b'), refusal('IO', storage.nameOf('a/b')));
    });

    test('a small document takes no more memory than it has bytes', async () => {
      const storage = make();
      await filled(storage, { a: 'small' });
      const read = await storage.read('a', 2 ** 22);
      assert.deepEqual([read?.length, (read?.buffer.byteLength ?? Infinity) < 100_000], [5, true]);
    });

    test('another root is the same storage', async () => {
      const storage = make();
      await filled(storage.below('x/y'), { 'b/1': 'one' });
      assert.deepEqual(await contentsIn(storage), { 'x/y/b/1': 'one' });
      assert.equal(storage.below('x/y').nameOf('b/1'), storage.nameOf('x/y/b/1'));
    });

    test('nothing of a transaction is there before its commit, nor after it is closed without', async () => {
      const storage = make();
      const transaction = storage.begin(pool);
      transaction.put('tags/t', 'tag', 'tag');
      await transaction.stage('blobs/x', blobOf('x'), 'auto');
      transaction.keep('blobs/x');
      assert.equal(await storage.stat('tags/t'), undefined);
      assert.equal(await storage.stat('blobs/x'), undefined);
      transaction.close();
      assert.deepEqual(await contentsIn(storage), {});
    });

    test('a staged blob is there when it is kept, also in a later commit, and not otherwise', async () => {
      const storage = make();
      const transaction = storage.begin(pool);
      for (const text of ['kept', 'late', 'left']) await transaction.stage(text, blobOf(text), 'auto');
      transaction.keep('kept');
      await transaction.commit();
      assert.deepEqual(
        Object.keys(await contentsIn(storage)).filter((key) => !key.startsWith('.')),
        ['kept'],
      );
      transaction.keep('late');
      await transaction.commit();
      transaction.close();
      assert.deepEqual(await contentsIn(storage), { kept: 'kept', late: 'late' });
    });

    test('a blob of the wrong digest is not staged, and another may take its place', async () => {
      const storage = make();
      const transaction = storage.begin(pool);
      await assert.rejects(transaction.stage('a', wrongBlob(), 'auto'), refusal('DIGEST_MISMATCH'));
      await transaction.stage('a', blobOf('right'), 'auto');
      transaction.keep('a');
      await transaction.commit();
      transaction.close();
      assert.deepEqual(await contentsIn(storage), { a: 'right' });
    });

    test('a folder is replaced as a whole', async () => {
      const storage = make();
      await filled(storage, { 'i/old': '1', 'i/both': '1', 'j/other': '1' });
      const transaction = storage.begin(pool);
      const put: string[] = [];
      const onPut = ({ digest }: VerifiedBlob) => put.push(digest);
      const blob = blobOf('blob');
      const blobs = new Map([
        ['one', blob],
        ['two', blob],
      ]);
      const documents = new Map([['both', Buffer.from('2')]]);
      await transaction.replaceFolder('i', { blobs, documents }, 'auto', onPut);
      await transaction.replaceFolder('k', { blobs, documents: new Map() }, 'auto', onPut);
      await transaction.commit();
      transaction.close();
      assert.deepEqual(put, [blob.digest]);
      assert.deepEqual(await contentsIn(storage), {
        'i/both': '2',
        'i/one': 'blob',
        'i/two': 'blob',
        'j/other': '1',
        'k/one': 'blob',
        'k/two': 'blob',
      });
    });

    test('a folder with a wrong blob is not replaced', async () => {
      const storage = make();
      await filled(storage, { 'i/old': '1' });
      const transaction = storage.begin(pool);
      const contents = { blobs: new Map([['one', wrongBlob()]]), documents: new Map() };
      await assert.rejects(transaction.replaceFolder('i', contents, 'auto', () => undefined));
      await transaction.commit();
      transaction.close();
      assert.deepEqual(await contentsIn(storage), { 'i/old': '1' });
    });

    test('a file gets another key', async () => {
      const storage = make();
      await filled(storage, { 'a/b': 'x' });
      await storage.rename('a/b', 'c/d');
      assert.deepEqual(await contentsIn(storage), { 'c/d': 'x' });
    });

    test('work under one key is done one after another, also after a failure', async () => {
      const storage = make();
      const order: number[] = [];
      const work = (number: number) => async () => {
        order.push(number);
        await new Promise((resolve) => setTimeout(resolve, 20));
        order.push(number);
        if (number === 1) throw new Error('one');
      };
      const [one, two] = await Promise.allSettled([
        storage.exclusively('lock', work(1)),
        storage.exclusively('lock', work(2)),
      ]);
      assert.deepEqual([one.status, two.status], ['rejected', 'fulfilled']);
      assert.deepEqual([order[0], order[2]], [order[1], order[3]]);
      assert.deepEqual(await contentsIn(storage), {});
    });

    test('deletes while no writer relies on what is there', async () => {
      const storage = make();
      await filled(storage, { 'a/b': 'x', 'a/c': 'x', 'd/e/f': 'x', g: 'x' });
      const transaction = storage.begin(pool);
      await transaction.claim();
      await assert.rejects(
        storage.withoutWriters(50, () => Promise.resolve()),
        refusal('IO', storage.name),
      );
      transaction.close();
      await storage.withoutWriters(1000, async (deletion) => {
        assert.equal(await deletion.file('a/b', true), true);
        assert.equal(await deletion.file('a/b', true), false);
        await deletion.folder('d');
        await deletion.folder('nothing');
        await deletion.flush();
      });
      assert.deepEqual(await contentsIn(storage), { 'a/c': 'x', g: 'x' });
    });

    test('a writer waits while something is deleted', async () => {
      const storage = make();
      await filled(storage, { a: 'x' });
      const transaction = storage.begin(pool);
      let claimed: Promise<void> | undefined;
      let isClaimed = false;
      await storage.withoutWriters(1000, async () => {
        claimed = transaction.claim().then(() => {
          isClaimed = true;
        });
        await new Promise((resolve) => setTimeout(resolve, 60));
        assert.equal(isClaimed, false);
      });
      await claimed;
      transaction.close();
    });

    test('has no leftovers of transactions that were closed', async () => {
      const storage = make();
      const transaction = storage.begin(pool);
      await transaction.stage('a', blobOf('a'), 'auto');
      transaction.close();
      await storage.sweep();
      assert.deepEqual(await storage.leftovers(), []);
      assert.deepEqual(await contentsIn(storage), {});
    });
  });
}

test('objects are put in the order content, index, tag: none comes after one that fails', async () => {
  for (const failing of ['content', 'index', 'tag']) {
    const objects = new MemoryObjects();
    const put: string[] = [];
    const storage = new ObjectStorage(
      {
        list: (prefix) => objects.list(prefix),
        stat: (key) => objects.stat(key),
        read: (key) => objects.read(key),
        delete: (key) => objects.delete(key),
        put: (key) => {
          if (key === failing) return Promise.reject(new Error('no'));
          put.push(key);
          return Promise.resolve();
        },
      },
      'memory',
    );
    const transaction = storage.begin();
    for (const step of ['tag', 'index', 'content'] as const) transaction.put(step, 'x', step);
    await assert.rejects(transaction.commit());
    transaction.close();
    assert.deepEqual(
      put,
      STEPS.slice(
        0,
        STEPS.findIndex((step) => step === failing),
      ),
    );
  }
});

test('the local driver follows no link below its root', async () => {
  const [outside, root] = [tempFolder(), tempFolder()];
  writeFileSync(join(outside, 'secret'), 'secret');
  symlinkSync(outside, join(root, 'link'));
  symlinkSync(join(outside, 'secret'), join(root, 'file'));
  const storage = new LocalStorage(root);
  assert.deepEqual(
    (await storage.list('')).map(({ kind }) => kind),
    ['link', 'link'],
  );
  assert.equal((await storage.stat('link'))?.kind, 'link');
  for (const reached of [
    storage.stat('link/secret'),
    storage.list('link'),
    storage.bytes('link/secret'),
    storage.bytes('file'),
    storage.read('link/secret', 10),
    storage.read('file', 10),
    storage.rename('link/secret', 'x'),
    storage.withoutWriters(1000, (deletion) => deletion.file('link/secret')),
  ])
    await assert.rejects(reached, refusal('IO'));
  const transaction = storage.begin();
  transaction.put('link/new', 'x');
  await assert.rejects(transaction.commit(), refusal('IO'));
  transaction.close();
  assert.equal(existsSync(join(outside, 'new')), false);
  assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'secret');
});

describe('a storage in memory is mended as one on disk', () => {
  for (const short of STORED) {
    test(short, async () => {
      const objects = new MemoryObjects();
      const storage = new ObjectStorage(objects, `/memory/${short}`);
      const there = { format: formatOf(short), path: storage.name, storage };
      const source = place('dir', syncTree());
      await convert(source, there, { compression: 'keep' });
      const before = await contentsIn(storage);
      const blobs = (await objects.list(''))
        .filter(({ key, size }) => size > 500 && !/(?:index|manifest)\.json$/.test(key))
        .map(({ key }) => key)
        .sort();
      const [damaged = '', missing = ''] = blobs;
      await objects.put(damaged, Buffer.alloc(700));
      await objects.delete(missing);
      const { findings } = await verify(there);
      const broken = findings.filter(({ severity }) => severity === 'broken').map(({ where }) => where);
      for (const key of [damaged, missing])
        assert.ok(
          broken.some((where) => where.endsWith(key)),
          `${key}: ${broken.join(' ')}`,
        );
      const { brokenImages, repaired } = await verify(there, { repair: [source] });
      assert.equal(brokenImages, 0);
      assert.deepEqual(
        repaired.map(({ path }) => path).sort(),
        [damaged, missing].map((key) => storage.nameOf(key)),
      );
      const after = Object.entries(await contentsIn(storage));
      const sound = after.filter(([key]) => !key.includes('.damaged/'));
      assert.equal(after.length - sound.length, 1);
      assert.deepEqual(Object.fromEntries(sound), before);
    });
  }
});
