import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { GrowingIndex } from '../src/formats/oci/index-file.js';
import { JsonList } from '../src/bytes/json-list.js';
import { LocalStorage } from '../src/storage/local.js';
import { Pool } from '../src/threads/pool.js';
import { randomOf } from './support/deflate-samples.js';
import { tempFolder } from './support/temp.js';

type Entry = Readonly<Record<string, unknown>>;

const nameOf = ({ name }: Entry) => (typeof name === 'string' ? name : undefined);
const digestOfText = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;

function entryOf(number: number, version: number): Entry {
  const digest = digestOfText(`${number} ${version}`);
  return number % 5 === 0 ? { digest } : { name: `app:${number}`, digest };
}

test('index.json has what this run and others add and take, however they take turns', async () => {
  await using pool = new Pool(1);
  for (let seed = 0; seed < 40; seed++) {
    const below = randomOf(seed);
    const folder = tempFolder();
    const path = join(folder, 'index.json');
    const runs = [new GrowingIndex(nameOf), new GrowingIndex(nameOf)];
    let model: Entry[] = [];
    for (let step = 0; step < 25; step++) {
      if (step > 0 && below(5) === 0) {
        // Another program, in its own way.
        if (below(2) === 0) model = model.filter(() => below(3) > 0);
        else model = [...model, { ...entryOf(1000 + step, seed), 'x-own': [step] }];
        writeFileSync(
          path,
          JSON.stringify({ manifests: model, schemaVersion: 2, 'x-note': 'kept' }, null, 2),
        );
        continue;
      }
      const numbers = new Set(Array.from({ length: 1 + below(4) }, () => below(60)));
      const batch = [...numbers].map((number) => entryOf(number, below(3)));
      const run = runs[below(4) === 0 ? 1 : 0];
      assert.ok(run);
      const storage = new LocalStorage(folder);
      const transaction = storage.begin();
      await transaction.claim();
      await run.add({ layout: storage, transaction, pool }, batch);
      transaction.close();
      const isThere = (entry: Entry) =>
        model.some((one) => one['digest'] === entry['digest'] && nameOf(one) === nameOf(entry));
      const fresh = batch.filter((entry) => !isThere(entry));
      const names = new Set(fresh.map(nameOf).filter((name) => name !== undefined));
      model = [...model.filter((one) => !names.has(nameOf(one) ?? '')), ...fresh];
      const index = JSON.parse(readFileSync(path, 'utf8')) as { manifests: Entry[] };
      assert.deepEqual(index.manifests, model, `seed ${seed}, step ${step}`);
      const found = await run.names(storage);
      for (const entry of model) assert.ok(run.has(found, entry), `seed ${seed}, step ${step}`);
      assert.equal([...found.values()].flat().length, model.length);
    }
    assert.ok(existsSync(join(folder, 'oci-layout')));
  }
});

test('a list that is more than is held comes out as it went in, each time', () => {
  const file = join(tempFolder(), 'list');
  const list = new JsonList(() => file);
  const entries: object[] = [];
  const expectSame = () => {
    const { size, pieces } = list.content('{"manifests":', '}');
    const text = Buffer.concat(Array.from(pieces, (piece) => Buffer.from(piece)));
    assert.equal(text.length, size);
    assert.deepEqual(JSON.parse(text.toString()), { manifests: entries });
  };
  expectSame();
  for (const size of [10, 600_000, 600_000, 3_000_000, 5, 1024 * 1024 - 12]) {
    entries.push({ text: 'ä€'.repeat(size / 5) });
    list.add(entries.at(-1) ?? {});
    expectSame();
  }
  assert.ok(existsSync(file));
  assert.equal(list.length, entries.length);
});

test('a list of which a part could not be written gives nothing any more', () => {
  const list = new JsonList(() => join(tempFolder(), 'no/folder'));
  list.add({ text: 'a' });
  const isLost = { code: 'NOT_FOUND', message: /no\/folder/ };
  assert.throws(() => {
    list.add({ text: 'b'.repeat(2_000_000) });
  }, isLost);
  assert.throws(() => {
    list.add({ text: 'c' });
  }, isLost);
  assert.throws(() => list.content(), isLost);
});

test('an index.json that is larger than what is read again is not written', async () => {
  await using pool = new Pool(1);
  const storage = new LocalStorage(tempFolder());
  const transaction = storage.begin();
  await transaction.claim();
  const entry = { ...entryOf(1, 0), note: 'x'.repeat(32 * 1024 * 1024) };
  const adding = new GrowingIndex(nameOf).add({ layout: storage, transaction, pool }, [entry]);
  await assert.rejects(adding, { code: 'ARCHIVE_INVALID', message: /index\.json has \d+ bytes, more than/ });
  transaction.close();
  assert.ok(!existsSync(storage.nameOf('index.json')));
});
