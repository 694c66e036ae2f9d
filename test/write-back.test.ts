import assert from 'node:assert/strict';
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { WriteBack } from '../src/bytes/write-back.js';
import { refusal } from './support/errors.js';
import { tempFolder } from './support/temp.js';
import { arm, disarm } from './torture/injector.js';

/** What is flushed at once. */
const MUCH = 16 * 1024 ** 2;

afterEach(() => disarm());

/** A new file; with `fails`, its first flush does. */
function opened(fails: boolean) {
  const folder = tempFolder();
  const path = join(folder, 'out');
  const fd = openSync(path, 'wx');
  writeSync(fd, 'x');
  arm({ action: fails ? 'EIO' : 'none', at: 1, root: folder });
  return {
    path,
    back: new WriteBack(fd, path),
    [Symbol.dispose]: () => {
      closeSync(fd);
    },
  };
}

test('the disk is set to work while more is written', async () => {
  using file = opened(true);
  assert.equal(file.back.wrote(MUCH - 1), false);
  assert.equal(file.back.wrote(1), true);
  await file.back.rest();
  assert.equal(file.back.failure?.code, 'IO');
});

test('a flush that failed is not forgotten when the next one would succeed', async () => {
  using file = opened(true);
  file.back.wrote(MUCH);
  await file.back.rest();
  file.back.wrote(MUCH);
  await assert.rejects(file.back.end(), refusal('IO', file.path));
});

test('what is left is flushed at the end, unless it is little', async () => {
  using small = opened(true);
  small.back.wrote(1000);
  await small.back.end();
  assert.equal(disarm().fired, undefined);
  using large = opened(true);
  large.back.wrote(2_000_000);
  await assert.rejects(large.back.end(), refusal('IO', large.path));
});
