import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { convert, findPlace, listImages, parsePlace, type Place } from '../src/index.js';
import { verify } from '../src/upkeep/verify.js';
import { refusal } from './support/errors.js';
import { imageOf, layTree } from './support/images.js';
import { LOCAL_FORMATS, namesOf, newPlace, place } from './support/places.js';
import { tempFolder } from './support/temp.js';

let tree = '';
before(async () => {
  tree = layTree(tempFolder(), { 'demo/app:1': await imageOf('x') });
});

async function made(short: string): Promise<Place> {
  const there = newPlace(short);
  await convert(place('dir', tree), there);
  return there;
}

describe('a place', () => {
  for (const { prefix, short } of LOCAL_FORMATS) {
    test(`of ${short} is recognised by what is in it`, async () => {
      const { format, path } = await made(short);
      const found = findPlace(path);
      assert.deepEqual([found.format.short, found.path], [format.short, path]);
    });

    test(`of ${short} may have its prefix`, async () => {
      const { path } = await made(short);
      assert.deepEqual(
        [parsePlace(`${prefix}:${path}`).format.short, parsePlace(`${prefix}:${path}`).path],
        [short, path],
      );
      assert.deepEqual(
        [findPlace(`${prefix}:${path}`).format.short, findPlace(`${prefix}:${path}`).path],
        [short, path],
      );
    });

    test(`of ${short} may have a colon in its path`, async () => {
      const path = join(tempFolder(), 'a:b');
      await convert(place('dir', tree), place(short, path));
      assert.equal(parsePlace(`${prefix}:${path}`).path, path);
      assert.equal(findPlace(path).format.short, short);
      assert.deepEqual(Object.keys(await namesOf(parsePlace(`${prefix}:${path}`))), ['demo/app:1']);
    });

    test(`of ${short} needs a path`, () => {
      assert.throws(() => parsePlace(`${prefix}:`), refusal('USAGE'));
    });
  }

  for (const text of ['', 'store', './store', 'docker:store', 'REG:store', 'constructor:x', ':x']) {
    test(`is not ${JSON.stringify(text)}`, () => {
      assert.throws(() => parsePlace(text), refusal('USAGE'));
    });
  }

  test('that is not there is not found', () => {
    const path = join(tempFolder(), 'not-there');
    assert.throws(() => findPlace(path), refusal('NOT_FOUND', path));
    for (const { prefix } of LOCAL_FORMATS)
      assert.throws(() => findPlace(`${prefix}:${path}`), refusal('NOT_FOUND', path));
  });

  for (const [title, hint, make] of [
    [
      'an empty folder',
      'holds docker/registry/v2',
      (path: string) => {
        mkdirSync(path);
      },
    ],
    [
      'a folder of other things',
      'holds docker/registry/v2',
      (path: string) => mkdirSync(join(path, 'a/b'), { recursive: true }),
    ],
    [
      'a page of zeros',
      'docker save',
      (path: string) => {
        writeFileSync(path, Buffer.alloc(10_240));
      },
    ],
  ] as const) {
    test(`is not ${title}, and the error says what would be one`, () => {
      const path = join(tempFolder(), 'x');
      make(path);
      assert.throws(
        () => findPlace(path),
        (error: unknown) => {
          refusal('FORMAT_UNKNOWN', path)(error);
          return error instanceof Error && 'hint' in error && String(error.hint).includes(hint);
        },
      );
    });
  }

  for (const [title, text] of [
    ['a text', 'no image'],
    ['an empty file', ''],
  ] as const) {
    test(`is not ${title}, and the error says what is wrong with it as an archive`, () => {
      const path = join(tempFolder(), 'x');
      writeFileSync(path, text);
      assert.throws(
        () => findPlace(path),
        refusal('ARCHIVE_INVALID', path, text === '' ? 'the file is empty' : `${text.length} bytes`),
      );
    });
  }
});

test('a source that is not there is not found, whatever its format is said to be', async () => {
  for (const { short } of LOCAL_FORMATS) {
    const path = join(tempFolder(), 'nothing');
    const from = place(short, path);
    const refused = refusal('NOT_FOUND', `${path}: no such file or folder`);
    await assert.rejects(convert(from, newPlace('reg')), refused);
    await assert.rejects(listImages(from).next(), refused);
    await assert.rejects(verify(from), refused);
  }
});
