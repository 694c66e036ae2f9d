import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { bunzip2 } from '../src/codecs/bunzip2.js';
import { decompress } from '../src/codecs/decompress.js';
import { Random } from './bench/random.js';
import { CHUNK_SIZES, chunksOf, concat } from './support/chunks.js';

const skip = spawnSync('bzip2', ['--version'], { stdio: 'ignore' }).error !== undefined && 'no bzip2 here';

function packed(bytes: Uint8Array, level = 9): Buffer {
  return execFileSync('bzip2', ['-c', `-${level}`], { input: bytes, maxBuffer: 1 << 28 });
}

function unpacked(bytes: Uint8Array, size = 4096): Promise<Buffer> {
  return concat(bunzip2(chunksOf(bytes, size)));
}

const random = new Random('bzip2');
/** Bytes of few values, in runs of all lengths around those that are coded otherwise. */
const runs = Buffer.concat(
  Array.from({ length: 400 }, () =>
    Buffer.alloc(random.below(10) === 0 ? 250 + random.below(20) : random.below(7), random.below(3)),
  ),
);
const noise = Buffer.from(Array.from({ length: 250_000 }, () => random.below(256)));

/** A stream from numbers, each in so many bits. */
function streamOf(fields: readonly (readonly [value: number, bits: number])[]): Buffer {
  const bits = fields.map(([value, count]) => value.toString(2).padStart(count, '0')).join('');
  return Buffer.from((bits.match(/.{1,8}/g) ?? []).map((byte) => parseInt(byte.padEnd(8, '0'), 2)));
}

/** One block of the byte 0 alone; codes are 0 and 10 for the digits of a run, 11 for the block's end. */
function blockOf(...codes: readonly (readonly [value: number, bits: number])[]): Buffer {
  const tree = [
    [1, 5],
    [0, 1],
    [0b100, 3],
    [0, 1],
  ] as const; // Lengths 1, 2 and 2.
  return streamOf([
    [0x425a6831, 32],
    [0x314159, 24],
    [0x265359, 24],
    [0, 32], // Its checksum.
    [0, 1],
    [0, 24], // Where it begins.
    [0x8000, 16],
    [0x8000, 16],
    [2, 3],
    [1, 15],
    [0, 1],
    ...tree,
    ...tree,
    ...codes,
    [0, 32],
  ]);
}

const digits = (count: number) => Array.from({ length: count }, () => [0, 1] as const);

describe('bzip2', { skip }, () => {
  for (const [what, bytes] of [
    ['nothing', Buffer.alloc(0)],
    ['a byte', Buffer.from('x')],
    ['four that are the same', Buffer.from('aaaab')],
    ['the longest run', Buffer.alloc(259)],
    ['a longer one', Buffer.alloc(260)],
    ['every byte', Buffer.from(Array.from({ length: 256 }, (_, i) => i))],
    ['many runs', runs],
    ['several blocks', noise],
  ] as const) {
    test(`of ${what} is unpacked, whatever pieces it comes in`, async () => {
      const made = packed(bytes, 1);
      const sizes = bytes.length > 100_000 ? [1000, made.length] : CHUNK_SIZES;
      for (const size of sizes) assert.ok((await unpacked(made, size)).equals(bytes), `${size} at a time`);
    });
  }

  test('in several streams in a row, of blocks of other sizes', async () => {
    const made = Buffer.concat([packed(runs, 1), packed(Buffer.alloc(0)), packed(noise, 9)]);
    assert.ok((await unpacked(made)).equals(Buffer.concat([runs, noise])));
  });

  test('is handed on in small pieces, also of a block of a few bytes that unpacks to 45 MB', async () => {
    const made = packed(Buffer.alloc(45_000_000));
    assert.ok(made.length < 100, `${made.length} bytes`);
    let [length, longest] = [0, 0];
    for await (const piece of bunzip2(chunksOf(made, 10))) {
      length += piece.length;
      longest = Math.max(longest, piece.length);
    }
    assert.equal(length, 45_000_000);
    assert.ok(longest <= 256 * 1024, `${longest} bytes`);
  });

  test('lets others have their turn while it is unpacked, such as who hears of an interruption', async () => {
    const made = packed(Buffer.alloc(45_000_000));
    let turns = 0;
    const clock = setInterval(() => turns++, 1);
    try {
      for await (const _ of decompress(
        chunksOf(Buffer.concat([made, made, made, made]), 1000),
        'bzip2',
        'here',
      ));
    } finally {
      clearInterval(clock);
    }
    assert.ok(turns >= 3, `${turns} turns`);
  });

  test('that is cut off anywhere is refused', async () => {
    const made = packed(runs);
    for (let length = 0; length < made.length; length++)
      await assert.rejects(unpacked(made.subarray(0, length)), { message: 'unexpected end of data' });
  });

  test('with any byte changed is refused, or is the same', async () => {
    const made = packed(runs);
    let refused = 0;
    for (let at = 0; at < made.length; at++) {
      const damaged = Buffer.from(made);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << random.below(8));
      const outcome = await unpacked(damaged).catch((error: unknown) => error);
      // A code that no symbol has, and the last bits of the last byte, mean nothing.
      if (outcome instanceof Buffer) assert.ok(outcome.equals(runs), `byte ${at}`);
      else {
        assert.ok(outcome instanceof Error && outcome.name === 'Error', String(outcome));
        refused++;
      }
    }
    assert.ok(refused > 0.9 * made.length, `${refused} of ${made.length}`);
  });

  for (const [what, made, message] of [
    [
      'a run whose length is more than a number holds',
      blockOf(...digits(40), [3, 2]),
      /run that is too long/,
    ],
    ['a run of more than a block', blockOf(...digits(17), [3, 2]), /block that is too long/],
    ['a block of nothing', blockOf([3, 2]), /begins outside itself/],
    [
      'garbage after it',
      streamOf([
        [0x425a6839, 32],
        [0x177245, 24],
        [0x385090, 24],
        [0, 32],
        [0x676172, 24],
        [0x67, 8],
      ]),
      /no bzip2 data/,
    ],
    ['a level that is none', Buffer.from('BZh0'), /no bzip2 data/],
  ] as const) {
    test(`with ${what} is refused`, async () => {
      await assert.rejects(unpacked(made), { message });
    });
  }
});
