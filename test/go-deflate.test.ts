import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { GoGzip, MOST } from '../src/codecs/go-deflate.js';
import { randomOf } from './support/deflate-samples.js';
import { projectRoot } from './support/fixtures.js';
import {
  digestInputs,
  encode,
  goKinds,
  goSampleOf,
  LEVELS,
  slidingInput,
  slidingWrites,
  type Writes,
} from './support/go-deflate-samples.js';

const WHOLE = { longest: 0, seed: 1 };
const encoder = new GoGzip(6);
/** SHA-256 of what Go 1.19 makes, by level and kind; test/interop/go-deflate.test.ts makes the file. */
const digests = JSON.parse(
  readFileSync(join(projectRoot, 'test/support/go-gzip-digests.json'), 'utf8'),
) as Record<string, Record<string, string>>;

for (const level of LEVELS) {
  test(`level ${level}: the bytes of Go's compress/gzip, which unpack to the input`, () => {
    const found = goKinds.map((kind) => {
      const hash = createHash('sha256');
      for (const bytes of digestInputs(kind)) {
        encoder.start(level);
        const made = encode(encoder, bytes, WHOLE, true);
        assert.ok(gunzipSync(made).equals(bytes), `${kind}: ${bytes.length}`);
        hash.update(made);
      }
      return [kind, hash.digest('hex')] as const;
    });
    assert.deepEqual(Object.fromEntries(found), digests[String(level)]);
  });

  test(`level ${level}: the output does not depend on how the input is cut into writes`, () => {
    for (const kind of ['copies', 'mixed', 'text'] as const) {
      const bytes = goSampleOf(kind, 150_000, randomOf(level + 20));
      encoder.start(level);
      const whole = encode(encoder, bytes, WHOLE, false);
      for (const longest of [300, 70_000])
        for (const seed of [1, 2, 3]) {
          encoder.start(level);
          assert.ok(
            encode(encoder, bytes, { longest, seed }, false).equals(whole),
            `${kind} ${longest} ${seed}`,
          );
        }
    }
  });
}

test('an encoder that is started again gives what a new one gives', () => {
  const bytes = goSampleOf('copies', 100_000, randomOf(1));
  for (const level of LEVELS) {
    const fresh = encode(new GoGzip(level), bytes, WHOLE, true);
    encoder.start(level === 1 ? 6 : 1);
    encoder.write(goSampleOf('text', 300_001, randomOf(2)));
    encoder.start(level);
    assert.ok(encode(encoder, bytes, WHOLE, true).equals(fresh), `level ${level}`);
  }
});

test('-1 is level 6', () => {
  const bytes = goSampleOf('tar', 100_000, randomOf(3));
  const made = [-1, 6].map((level) => encode(new GoGzip(level), bytes, WHOLE, true));
  assert.deepEqual(made[0], made[1]);
});

test('a cut from which Go slides its window early changes the output, others do not', () => {
  const bytes = slidingInput();
  const digestOf = (writes: Writes, isCut: boolean): string => {
    encoder.start(6);
    const made = encode(encoder, bytes, writes, isCut);
    assert.ok(gunzipSync(made).equals(bytes));
    return createHash('sha256').update(made).digest('hex');
  };
  const whole = digestOf(WHOLE, true);
  const cut = digestOf(slidingWrites(), true);
  assert.deepEqual({ whole, cut }, digests['slide']);
  assert.notEqual(cut, whole);
  assert.equal(digestOf(slidingWrites(), false), whole);
  assert.equal(digestOf({ longest: 40, seed: 1 }, false), whole);
});

test('the header is that of Go, the trailer has size and checksum', () => {
  for (const [level, flags] of [
    [1, 4],
    [6, 0],
    [9, 2],
    [0, 0],
    [-2, 0],
  ] as const) {
    const empty = Buffer.from(new GoGzip(level).end());
    assert.equal(empty.toString('hex'), `1f8b0800000000000${flags}ff010000ffff${'0'.repeat(16)}`);
  }
});

test('refuses levels that Go has not, and more than fits', () => {
  for (const level of [-3, 10, 1.5, NaN]) assert.throws(() => new GoGzip(level), RangeError);
  assert.throws(() => encoder.write(new Uint8Array(MOST + 1)), RangeError);
});

test('the output of a write of the most bytes fits, whatever is in them', () => {
  for (const level of LEVELS)
    for (const kind of ['random', 'fours', 'sixteenth', 'mixed'] as const) {
      const bytes = goSampleOf(kind, MOST, randomOf(9));
      encoder.start(level);
      assert.ok(gunzipSync(encode(encoder, bytes, WHOLE, true)).equals(bytes), `${kind}, level ${level}`);
    }
});
