import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { conversionsOf } from '../src/cli/commands.js';
import { commandWords } from '../src/cli/shell.js';
import { expectFitting } from '../src/cli/rules.js';
import { prefixOf } from '../src/formats/table.js';
import { convert, listImages, verify, type Format, type Place } from '../src/index.js';
import { refusal } from './support/errors.js';
import { imageOf, layTree } from './support/images.js';
import { formatOf, namesOf, newPlace, place } from './support/places.js';
import { tempFolder } from './support/temp.js';

let tree = '';
before(async () => {
  tree = layTree(tempFolder(), { 'demo/app:1': await imageOf('x') });
});

function without(format: Format, ...keys: readonly (keyof Format)[]): Format {
  return Object.fromEntries(
    Object.entries(format).filter(([key]) => !(keys as readonly string[]).includes(key)),
  ) as unknown as Format;
}

const READ_ONLY: Format = { ...without(formatOf('dir'), 'create'), prefix: 'ro', short: 'ro' };
const WRITE_ONLY: Format = { ...without(formatOf('oci'), 'open'), prefix: 'wo', short: 'wo' };
const UNNAMED: Format = { ...without(formatOf('reg'), 'short'), prefix: 'nameless' };
/** Not on this machine's file system, and yet no registry: as an engine behind a socket. */
const ENGINE: Format = {
  ...formatOf('dir'),
  prefix: 'engine',
  short: 'engine',
  recognises: () => false,
  traits: { ...formatOf('dir').traits, remote: true },
};

describe('a format that can only be read', () => {
  test('is read', async () => {
    const target = newPlace('oci');
    await convert({ format: READ_ONLY, path: tree }, target);
    assert.deepEqual(Object.keys(await namesOf(target)), ['demo/app:1']);
  });

  test('is no target', async () => {
    const target = { format: READ_ONLY, path: join(tempFolder(), 'x') };
    await assert.rejects(
      convert(place('dir', tree), target),
      refusal('USAGE', target.path, 'ro: can be read but not written'),
    );
  });
});

describe('a format that can only be written', () => {
  test('is written', async () => {
    const target = newPlace(WRITE_ONLY);
    await convert(place('dir', tree), target);
    assert.deepEqual(Object.keys(await namesOf(place('oci', target.path))), ['demo/app:1']);
  });

  const source: Place = { format: WRITE_ONLY, path: '/nowhere' };
  for (const [what, work] of Object.entries({
    'is no source': () => convert(source, newPlace('reg')),
    'is not listed': () => listImages(source).next(),
    'is not verified': () => verify(source),
  }))
    test(what, async () => {
      await assert.rejects(work, refusal('USAGE', '/nowhere', 'wo: can be written but not read'));
    });
});

describe('X2Y', () => {
  test('is for formats that have a short name, from those that can be read into those that can be written', () => {
    const commands = conversionsOf([formatOf('dir'), READ_ONLY, WRITE_ONLY, UNNAMED]);
    assert.deepEqual(
      commands.map(({ name }) => name),
      ['dir2dir', 'dir2wo', 'ro2dir', 'ro2wo'],
    );
  });

  test('is proposed for no format without a short name', () => {
    const target: Place = { format: UNNAMED, path: './x' };
    assert.deepEqual(commandWords(place('dir', './tree'), target), ['copy', 'dir:./tree', 'nameless:./x']);
  });
});

describe('a format whose places are neither paths nor registries', () => {
  test('is written with one colon', () => {
    assert.equal(prefixOf(ENGINE), 'engine:');
    assert.equal(prefixOf(formatOf('docker')), 'docker://');
  });

  test('takes no options of registries', () => {
    const engine: Place = { format: ENGINE, path: 'socket' };
    assert.throws(
      () => {
        expectFitting({ srcTlsVerify: false }, engine, newPlace('reg'));
      },
      refusal('USAGE', '--src-tls-verify: engine: is no registry'),
    );
  });
});
