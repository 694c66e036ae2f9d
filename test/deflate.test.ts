import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import { WINDOW } from '../src/bytes/buffers.js';
import { Deflate, MOST } from '../src/codecs/deflate.js';
import { projectRoot } from './support/fixtures.js';
import { kinds, randomOf, sampleOf } from './support/deflate-samples.js';

const encoder = new Deflate();
const SYNC_FLUSH = Buffer.from('0000ffff', 'hex');
const BORDERS = [258, 32768, 65535, 65536, 131072, MOST];
const SMALL = 20;
/** How many inputs of each kind; more with FUZZ=10000. */
const FUZZ = Number(process.env['FUZZ'] ?? 300);

/** A stored block has up to 65535 bytes and 5 of its own. */
const mostOf = (size: number) => size + 5 * Math.ceil(size / 65535) + 16;

function check(whole: Uint8Array, dictionarySize: number, isLast: boolean, what: string): void {
  const dictionary = whole.subarray(0, dictionarySize);
  const bytes = whole.subarray(dictionarySize);
  const made = encoder.deflate({ dictionary, bytes, isLast });
  assert.ok(made.length <= mostOf(bytes.length), `${what}: ${made.length} bytes`);
  if (!isLast) assert.deepEqual(Buffer.from(made.subarray(-4)), SYNC_FLUSH, what);
  const options = { finishFlush: isLast ? constants.Z_FINISH : constants.Z_SYNC_FLUSH, info: true as const };
  const back = inflateRawSync(made, { ...options, ...(dictionarySize > 0 && { dictionary }) });
  const { buffer, engine } = back as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
  assert.ok(buffer.equals(bytes), `${what}: inflates to something else`);
  assert.equal(engine.bytesWritten, made.length, `${what}: bytes after the end`);
}

for (const kind of kinds) {
  test(`inflates: ${kind}`, () => {
    for (let seed = 0; seed < FUZZ; seed++) {
      const random = randomOf(seed);
      const border = BORDERS[random(seed % 20 === 0 ? 6 : seed % 3 === 0 ? 5 : 2)] ?? 0;
      const size =
        seed < SMALL ? seed : Math.min(MOST, random(4) === 0 ? random(border) : border - 5 + random(10));
      const dictionarySize = [0, 1, 2, 3, 4, 32767, WINDOW, random(WINDOW)][random(8)] ?? 0;
      const whole = sampleOf(kind, dictionarySize + size, random);
      check(whole, dictionarySize, random(2) === 0, `${kind} ${seed}: ${size} after ${dictionarySize}`);
    }
  });
}

test('inflates: repeats of every period up to 300', () => {
  for (let period = 1; period <= 300; period++)
    for (const dictionarySize of [0, 1000]) {
      const unit = sampleOf('random', period, randomOf(period));
      const whole = Uint8Array.from({ length: 3000 + period }, (_, i) => unit[i % period] ?? 0);
      check(whole, dictionarySize, true, `period ${period}`);
    }
});

test('every size around the borders of match, window and block', () => {
  for (const border of BORDERS)
    for (let size = border - 3; size <= Math.min(border + 3, MOST); size++)
      for (const kind of ['zeros', 'random', 'copies'] as const)
        check(sampleOf(kind, size, randomOf(size)), 0, true, `${kind} ${size}`);
});

test('what cannot be compressed grows by 5 bytes for each 65535 and 16', () => {
  for (const size of [0, 1, 100, 65535, 65536, MOST]) {
    const made = encoder.deflate({ bytes: sampleOf('random', size, randomOf(7)), isLast: false });
    assert.ok(made.length <= size + 5 * Math.ceil(size / 65535) + 16, `${size}: ${made.length}`);
  }
});

test('a distance of 32768 is used, one of 32769 is not', () => {
  for (const [gap, isFound] of [
    [0, true],
    [1, false],
  ] as const) {
    const bytes = sampleOf('random', 32768 + gap + 200, randomOf(3));
    bytes.copyWithin(32768 + gap, 0, 200);
    check(bytes, 0, true, `gap ${gap}`);
    assert.equal(encoder.deflate({ bytes, isLast: true }).length < bytes.length, isFound);
  }
});

test('a match reaches into the dictionary', () => {
  const bytes = sampleOf('random', 200, randomOf(4));
  assert.ok(encoder.deflate({ dictionary: bytes, bytes, isLast: true }).length < 10);
});

test('the output does not depend on what was compressed before', () => {
  for (const kind of kinds) {
    const bytes = sampleOf(kind, 100_000, randomOf(5));
    const fresh = Buffer.from(new Deflate().deflate({ bytes, isLast: true }));
    encoder.deflate({ bytes: sampleOf('copies', MOST, randomOf(6)), isLast: false });
    assert.ok(fresh.equals(encoder.deflate({ bytes, isLast: true })), kind);
  }
});

test('what an earlier piece left behind the end does not change what matches are found before it', () => {
  for (let n = 0; n < 3000; n++) {
    // Four bytes again and again, with other ones between them: which of them is found is decided by what follows.
    const bytes = sampleOf('random', 40 + (n % 40), randomOf(n)).map((byte, at) =>
      at % 8 < 4 ? at % 4 : byte & 3,
    );
    const fresh = Buffer.from(new Deflate().deflate({ bytes, isLast: true }));
    for (const rest of [0, 1, 2, 3]) {
      const longer = new Uint8Array(200).fill(rest);
      longer.set(bytes);
      encoder.deflate({ bytes: longer, isLast: true });
      assert.ok(fresh.equals(encoder.deflate({ bytes, isLast: true })), String(n));
    }
  }
});

test('an empty place in the table points at nothing that an earlier dictionary left', () => {
  for (let at = 3000; at < 3020; at++)
    for (const size of [0, 1, 2, 3]) {
      const bytes = sampleOf('random', 5000, randomOf(at)).map((byte) => byte & 0x7f); // Not to be stored.
      bytes.set([0, 0x55, 0x55, 0x55], at);
      bytes.copyWithin(at + 1000, at + 100, at + 120);
      const piece = { dictionary: bytes.subarray(0, size), bytes, isLast: true };
      const fresh = Buffer.from(new Deflate().deflate(piece));
      encoder.deflate({ dictionary: new Uint8Array(WINDOW).fill(0x55), bytes, isLast: true });
      assert.ok(fresh.equals(encoder.deflate(piece)));
    }
});

test('pieces one after another are a gzip member that gzip and pigz accept', () => {
  const whole = Buffer.concat(kinds.map((kind) => sampleOf(kind, 700_001, randomOf(8))));
  const parts = [Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])];
  for (let at = 0; at < whole.length; at += MOST) {
    const dictionary = whole.subarray(Math.max(0, at - WINDOW), at);
    const bytes = whole.subarray(at, at + MOST);
    parts.push(Buffer.from(encoder.deflate({ dictionary, bytes, isLast: at + MOST >= whole.length })));
  }
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32(whole), 0);
  trailer.writeUInt32LE(whole.length, 4);
  for (const tool of ['gzip', 'pigz', 'libdeflate-gzip']) {
    const { status, stdout, error } = spawnSync(tool, ['-dc'], {
      input: Buffer.concat([...parts, trailer]),
      maxBuffer: 1e9,
    });
    if (error !== undefined && tool !== 'gzip') continue;
    assert.equal(status, 0, tool);
    assert.ok(stdout.equals(whole), tool);
  }
});

test('refuses more than fits', () => {
  assert.throws(() => encoder.deflate({ bytes: new Uint8Array(MOST + 1), isLast: true }), RangeError);
  const dictionary = new Uint8Array(WINDOW + 1);
  assert.throws(() => encoder.deflate({ dictionary, bytes: new Uint8Array(1), isLast: true }), RangeError);
});

test('gives the same bytes on every Node.js and every processor', () => {
  const hash = createHash('sha256');
  for (const kind of kinds)
    hash.update(encoder.deflate({ bytes: sampleOf(kind, MOST, randomOf(9)), isLast: true }));
  assert.equal(hash.digest('hex'), '00bea5c8e1ddd9d13064fb678691ddf56f2f33877f368faae496ff30e0a514e0');
});

test("what it makes of scripts and of a binary is no larger than what zlib's level 2 makes", () => {
  for (const path of [join(projectRoot, 'dist/bundle/main.js'), process.execPath]) {
    const bytes = readFileSync(path).subarray(0, MOST);
    const made = encoder.deflate({ bytes, isLast: true }).length;
    const zlibs = deflateRawSync(bytes, { level: 2, memLevel: 9 }).length;
    assert.ok(made <= zlibs, `${path}: ${made}, zlib's ${zlibs}`);
  }
});
