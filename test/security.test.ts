import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { projectRoot } from './support/fixtures.js';

/** A test file, and titles in quotes until the next file. */
const NAMED = /`(test\/[a-z/-]+\.test\.ts)`((?:,? "[^"]+")*)/g;

test('SECURITY.md names tests that there are', () => {
  const document = readFileSync(join(projectRoot, 'SECURITY.md'), 'utf8');
  const named = [...document.matchAll(NAMED)];
  assert.ok(named.length > 20);
  for (const [, file = '', titles = ''] of named) {
    const source = readFileSync(join(projectRoot, file), 'utf8');
    for (const [, title = ''] of titles.matchAll(/"([^"]+)"/g)) {
      const part = title.split('…').find((one) => one.trim() !== '') ?? '';
      assert.ok(source.includes(part.trim()), `${file} has no test "${title}"`);
    }
  }
});
