import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDigest } from '../src/index.js';
import { algorithmOf, hexOf, isDigest } from '../src/model/digest.js';
import { refusal } from './support/errors.js';

const hex = (length: number) => '0123456789abcdef'.repeat(length / 16);

for (const [algorithm, length] of [
  ['sha256', 64],
  ['sha384', 96],
  ['sha512', 128],
] as const) {
  test(`a ${algorithm} digest has ${length} hex digits`, () => {
    const text = `${algorithm}:${hex(length)}`;
    const digest = parseDigest(text, 'test');
    assert.equal(digest, text);
    assert.ok(isDigest(text));
    assert.deepEqual([algorithmOf(digest), hexOf(digest)], [algorithm, hex(length)]);
  });
}

for (const [title, text] of [
  ['nothing', ''],
  ['bare hex', hex(64)],
  ['no hex', 'sha256:'],
  ['no algorithm', `:${hex(64)}`],
  ['an unknown algorithm', `md5:${hex(32)}`],
  ['a name of Object.prototype', `constructor:${hex(64)}`],
  ['an upper-case algorithm', `SHA256:${hex(64)}`],
  ['upper-case hex', `sha256:${hex(64).toUpperCase()}`],
  ['one digit less', `sha256:${hex(64).slice(1)}`],
  ['one digit more', `sha256:${hex(64)}0`],
  ['the length of another algorithm', `sha256:${hex(128)}`],
  ['a letter after f', `sha256:g${hex(64).slice(1)}`],
  ['a newline at its end', `sha256:${hex(64)}\n`],
  ['a newline in it', `sha256:${hex(64).slice(1)}\n`],
  ['a space before it', ` sha256:${hex(64)}`],
  ['a path', `sha256:../../${hex(64).slice(6)}`],
  ['a NUL', `sha256:\0${hex(64).slice(1)}`],
  ['digits of another script', `sha256:${'٣'.repeat(64)}`],
  ['SRI syntax', `sha256-${hex(64)}`],
  ['a hundred thousand digits', `sha256:${hex(64).repeat(1600)}`],
] as const) {
  test(`${title} is no digest`, () => {
    assert.equal(isDigest(text), false);
    assert.throws(
      () => parseDigest(text, 'somewhere'),
      (error: unknown) => {
        refusal('DIGEST_INVALID', 'somewhere')(error);
        return error instanceof Error && error.message.length < 400;
      },
    );
  });
}
