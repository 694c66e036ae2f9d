import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import {
  flateLevels,
  KlauspostGzip,
  PGZIP_BLOCK,
  PGZIP_TAIL,
  PgzipBlocks,
} from '../src/codecs/klauspost-deflate.js';
import { randomOf } from './support/deflate-samples.js';
import { projectRoot } from './support/fixtures.js';
import {
  digestInputs,
  encode,
  formsOf,
  klauspostKinds,
  klauspostSampleOf,
  versions,
} from './support/klauspost-samples.js';

/** SHA-256 of what each version makes, by form and level, then kind; test/interop/klauspost-deflate.test.ts makes the file. */
const digests = JSON.parse(
  readFileSync(join(projectRoot, 'test/support/klauspost-digests.json'), 'utf8'),
) as Record<string, Record<string, Record<string, string>>>;

for (const version of versions)
  for (const form of formsOf(version))
    for (const level of flateLevels(version))
      test(`${version}, ${form}, level ${level}: the bytes of the original, which unpack to the input`, () => {
        const found = klauspostKinds.map((kind) => {
          const hash = createHash('sha256');
          for (const bytes of digestInputs(kind)) {
            const made = encode(form, version, level, bytes);
            assert.ok(gunzipSync(made).equals(bytes), `${kind}: ${bytes.length}`);
            hash.update(made);
          }
          return [kind, hash.digest('hex')] as const;
        });
        assert.deepEqual(Object.fromEntries(found), digests[version]?.[`${form} ${level}`]);
      });

test('the output does not depend on how the input is cut into writes', () => {
  const bytes = klauspostSampleOf('drifting', 1_200_000, randomOf(20));
  for (const form of ['gzip', 'pgzip'] as const) {
    const whole = encode(form, '1.18.2', -1, bytes);
    for (const sizes of [[1, 2, 3, 65_530], [65_535, 65_535], [65_536, 0, 1_048_576 - 65_536], [1_048_577]])
      assert.ok(encode(form, '1.18.2', -1, bytes, sizes).equals(whole), `${form} ${sizes.join()}`);
  }
});

test('-1 is level 5 of klauspost and level 6 of Go', () => {
  const bytes = klauspostSampleOf('copies', 100_000, randomOf(3));
  assert.ok(encode('pgzip', '1.15.11', -1, bytes).equals(encode('pgzip', '1.15.11', 5, bytes)));
  assert.ok(encode('gzip', 'go1.27', -1, bytes).equals(encode('gzip', 'go1.27', 6, bytes)));
});

test('levels that a version does not have here are refused', () => {
  assert.throws(() => new KlauspostGzip('go1.27', 9), RangeError);
  assert.throws(() => new PgzipBlocks('1.14.3', 1), RangeError);
});

test('blocks of pgzip can be made in any order, by any encoder', () => {
  const bytes = klauspostSampleOf('drifting', 3 * PGZIP_BLOCK + 5000, randomOf(21));
  const encoders = [new PgzipBlocks('1.18.2'), new PgzipBlocks('1.18.2')] as const;
  const blocks = [3, 1, 0, 2].map((i) => {
    const from = i * PGZIP_BLOCK;
    const made = encoders[i % 2 === 0 ? 0 : 1].compress({
      dictionary: i === 0 ? undefined : bytes.subarray(from - PGZIP_TAIL, from),
      bytes: bytes.subarray(from, from + PGZIP_BLOCK),
      isLast: i === 3,
    });
    return [i, made] as const;
  });
  const made = Buffer.concat(blocks.sort(([a], [b]) => a - b).map(([, block]) => block));
  const whole = encode('pgzip', '1.18.2', -1, bytes);
  assert.ok(whole.subarray(10, -8).equals(made));
});
