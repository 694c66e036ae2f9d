import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { compress } from '../src/threads/compress.js';
import { decompress } from '../src/codecs/decompress.js';
import { Pool } from '../src/threads/pool.js';
import { ZstdFrames } from '../src/codecs/zstd-frames.js';
import { CHUNK_SIZES, chunksAround, chunksOf, concat } from './support/chunks.js';
import { digestText } from './support/images.js';

const MIB = 1024 * 1024;

/** Half of it repeats, half does not; always the same. */
function bytesOf(length: number): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; parts.length * 64 < length; i++)
    parts.push(
      createHash('sha512')
        .update(String(i % 3 === 0 ? i : i % 100))
        .digest(),
    );
  return Buffer.concat(parts).subarray(0, length);
}

async function packed(bytes: Buffer, chunkSize: number, threads: number, level?: number): Promise<Buffer> {
  await using pool = new Pool(threads);
  return await concat(compress(chunksOf(bytes, chunkSize), 'gzip', pool, level)); // Before the pool is closed.
}

describe('gzip', () => {
  for (const level of [undefined, 2]) {
    const at = level === undefined ? '' : ` at level ${level}`;
    for (const length of [0, 1, 511, 32 * 1024, MIB - 1, MIB, MIB + 1, 3 * MIB + 123_457]) {
      test(`of ${length} bytes${at} is unpacked by zlib and by gzip`, async () => {
        const bytes = bytesOf(length);
        const made = await packed(bytes, 64 * 1024, 2, level);
        assert.ok(gunzipSync(made).equals(bytes));
        assert.ok(execFileSync('gzip', ['-dc'], { input: made, maxBuffer: 8 * MIB }).equals(bytes));
      });
    }

    test(`is the same bytes however its input comes and however many threads there are${at}`, async () => {
      const bytes = bytesOf(2 * MIB + 4321);
      const digests = new Set<string>();
      for (const threads of [1, 2, 4]) digests.add(digestText(await packed(bytes, MIB + 7, threads, level)));
      await using pool = new Pool(2);
      for (const size of CHUNK_SIZES)
        digests.add(digestText(await concat(compress(chunksAround(bytes, MIB, size), 'gzip', pool, level))));
      assert.equal(digests.size, 1);
    });
  }

  test('says no time, no name and no system', async () => {
    const made = await packed(Buffer.from('x'), 1, 1);
    assert.deepEqual([...made.subarray(0, 10)], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
  });

  test('is one member', async () => {
    // RFC 1952: the last four bytes of a member are its input's length, which of several would be the last one's.
    const made = await packed(bytesOf(3 * MIB), MIB, 2);
    assert.equal(made.readUInt32LE(made.length - 4), 3 * MIB);
  });

  test('is smaller at a higher level', async () => {
    const bytes = bytesOf(2 * MIB);
    const sizes = await Promise.all([1, 9].map(async (level) => (await packed(bytes, MIB, 2, level)).length));
    assert.ok((sizes[0] ?? 0) > (sizes[1] ?? Infinity), sizes.join(' '));
  });

  test('refers back from one piece to the one before', async () => {
    const noise = createHash('shake256', { outputLength: 16 * 1024 })
      .update('noise')
      .digest();
    const made = await packed(Buffer.concat([Buffer.alloc(MIB - noise.length), noise, noise]), MIB, 2);
    assert.ok(made.length < noise.length * 1.5, `${made.length} bytes`);
  });

  test('hands on the failure of its input', async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      await Promise.resolve();
      yield bytesOf(MIB + 1);
      throw new Error('no more');
    }
    await using pool = new Pool(2);
    await assert.rejects(concat(compress(failing(), 'gzip', pool)), /no more/);
  });

  test('may be left early, and the pool goes on working', async () => {
    await using pool = new Pool(2);
    for await (const chunk of compress(chunksOf(bytesOf(4 * MIB), MIB), 'gzip', pool))
      if (chunk.length >= 0) break;
    const made = await concat(compress(chunksOf(bytesOf(2 * MIB), MIB), 'gzip', pool));
    assert.ok(gunzipSync(made).equals(bytesOf(2 * MIB)));
  });
});

describe('decompress', () => {
  const bytes = bytesOf(20_000);
  const made = packed(bytes, 64 * 1024, 1);

  for (const size of [...CHUNK_SIZES, MIB]) {
    test(`gives back what gzip packed, ${size} byte(s) at a time`, async () => {
      assert.ok((await concat(decompress(chunksOf(await made, size), 'gzip', 'here'))).equals(bytes));
    });
  }

  test('gives back several members one after another', async () => {
    const two = Buffer.concat([await made, execFileSync('gzip', ['-nc'], { input: 'more' })]);
    const out = await concat(decompress(chunksOf(two, 1000), 'gzip', 'here'));
    assert.ok(out.equals(Buffer.concat([bytes, Buffer.from('more')])));
  });

  test('passes what is not packed', async () => {
    assert.ok((await concat(decompress(chunksOf(bytes, 1000), 'none', 'here'))).equals(bytes));
  });

  for (const [title, change] of [
    ['cut off', (packed_: Buffer) => packed_.subarray(0, -100)],
    ['without its trailer', (packed_: Buffer) => packed_.subarray(0, -8)],
    ['its last byte away', (packed_: Buffer) => packed_.subarray(0, -1)],
    ['a bit of its checksum changed', (packed_: Buffer) => flipped(packed_, packed_.length - 6)],
    ['a bit in the middle changed', (packed_: Buffer) => flipped(packed_, packed_.length >> 1)],
    ['no gzip at all', () => Buffer.from('\x1f\x8bnot gzip', 'latin1')],
  ] as const) {
    test(`refuses gzip with ${title}`, { timeout: 10_000 }, async () => {
      const damaged = change(await made);
      await assert.rejects(concat(decompress(chunksOf(damaged, 1000), 'gzip', 'here')), {
        name: 'ImgconvError',
        code: 'DIGEST_MISMATCH',
        message: /here/,
      });
    });
  }

  // As gzip(1) and Docker take it: zeros, which fill blocks, may follow the last member, however much and however cut.
  for (const [title, tail, taken] of [
    ['a zero', Buffer.alloc(1), true],
    ['zeros', Buffer.alloc(5000), true],
    ['many zeros', Buffer.alloc(3 * MIB), true],
    ['garbage', Buffer.alloc(3 * MIB, 'garbage'), false],
    ['zeros and garbage', Buffer.concat([Buffer.alloc(5000), Buffer.from('garbage')]), false],
    ['zeros and a member', Buffer.concat([Buffer.alloc(7), gzipSync('more')]), false],
    ['the first byte of a member', Buffer.of(0x1f), false],
  ] as const) {
    for (const size of [...CHUNK_SIZES, 1000, 64 * 1024, 8 * MIB]) {
      if (tail.length / size > 10_000) continue;
      test(`${taken ? 'takes' : 'refuses'} ${title} after it, ${size} byte(s) at a time`, async () => {
        const input = Buffer.concat([await made, tail]);
        const out = concat(decompress(chunksOf(input, size), 'gzip', 'here'));
        if (taken) assert.ok((await out).equals(bytes));
        else await assert.rejects(out, { name: 'ImgconvError', code: 'DIGEST_MISMATCH', message: /here/ });
      });
    }
  }

  test('takes zeros that come after its end, in a chunk of their own', async () => {
    const whole = await made;
    async function* chunks() {
      yield whole;
      await Promise.resolve();
      yield new Uint8Array(10);
      yield new Uint8Array(10);
    }
    assert.ok((await concat(decompress(chunks(), 'gzip', 'here'))).equals(bytes));
  });

  test('lets its consumer leave early', { timeout: 10_000 }, async () => {
    const many = await packed(bytesOf(4 * MIB), MIB, 2);
    let seen = 0;
    for await (const chunk of decompress(chunksOf(many, 1000), 'gzip', 'here')) {
      seen = chunk.length;
      break;
    }
    assert.ok(seen > 0);
  });

  test('hands on the failure of its input, not one of its own', async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield (await made).subarray(0, 1000);
      throw new Error('the disk is gone');
    }
    await assert.rejects(concat(decompress(failing(), 'gzip', 'here')), /the disk is gone/);
  });
});

describe('zstd', () => {
  const MAX = 128 * MIB;
  /** A frame (RFC 8878, 3.1.1) with this header, and these four bytes in a block as they are. */
  const frameOf = (...header: number[]) =>
    Buffer.from([0x28, 0xb5, 0x2f, 0xfd, ...header, 0x21, 0, 0, 0x74, 0x65, 0x78, 0x74]);
  const skippable = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 0x28, 0xb5, 0x2f]);
  const sound = frameOf(0, 0x88); // 10 + 17: just as much as is given.
  const summed = Buffer.concat([frameOf(0x24, 4), Buffer.from([1, 2, 3, 4])]);

  for (const [what, bytes] of [
    ['by its exponent', frameOf(0, 0xa0)],
    ['by its mantissa', frameOf(0, 0x89)],
    ['after the name of a dictionary', frameOf(0b11, 0x90, 1, 2, 3, 4)],
    ['as the size of its content', frameOf(0xa0, 1, 0, 0, 8)],
    ['as one of eight bytes', frameOf(0xe0, 0, 0, 0, 0, 0, 1, 0, 0)],
    ['in a second frame', Buffer.concat([sound, frameOf(0, 0xa0)])],
    ['after a checksum', Buffer.concat([summed, frameOf(0, 0xa0)])],
    ['after what is to be passed over', Buffer.concat([skippable, frameOf(0, 0xa0)])],
    [
      'in more blocks than one',
      Buffer.concat([frameOf(0, 0).subarray(0, 6), Buffer.from([2, 1, 0, 65, 1, 0, 0]), frameOf(0, 0xa0)]),
    ],
  ] as const) {
    test(`that asks for too large a window, ${what}, is refused before a decoder makes room for it`, async () => {
      for (const size of CHUNK_SIZES) {
        const frames = new ZstdFrames(MAX);
        await assert.rejects(
          async () => {
            for await (const chunk of chunksOf(bytes, size)) frames.split(chunk);
          },
          /a window of \d{9,} bytes/,
          `${size} at a time`,
        );
      }
      const before = process.memoryUsage().arrayBuffers;
      await assert.rejects(concat(decompress(chunksOf(bytes, 1000), 'zstd', 'here')), {
        code: 'DIGEST_MISMATCH',
      });
      assert.ok(process.memoryUsage().arrayBuffers - before < MAX);
    });
  }

  test('is cut where frames end, however it comes in', async () => {
    const parts = [skippable, sound, frameOf(0x20, 4), summed, frameOf(0x60, 0, 0), sound];
    for (const size of CHUNK_SIZES) {
      const frames = new ZstdFrames(MAX);
      const ends = new Set<number>();
      let at = 0;
      for await (const chunk of chunksOf(Buffer.concat(parts), size))
        for (const piece of frames.split(chunk)) ends.add((at += piece.length));
      let end = 0;
      for (const part of parts) assert.ok(ends.has((end += part.length)), `${size} at a time, at ${end}`);
    }
  });

  test('of many blocks of a few bytes each is handed on piece by piece, and takes no more memory', async () => {
    // Of one byte, 128 KiB times (RFC 8878, 3.1.1.2.2).
    const block = (last: 0 | 1) => {
      const header = Buffer.alloc(4);
      header.writeUIntLE((0x20000 << 3) | (1 << 1) | last, 0, 3);
      return header;
    };
    const blocks = 8000;
    const bomb = Buffer.concat([
      frameOf(0, 0x38).subarray(0, 6),
      ...Array.from({ length: blocks - 1 }, () => block(0)),
      block(1),
    ]);
    let [length, most] = [0, 0];
    for await (const piece of decompress(chunksOf(bomb, bomb.length), 'zstd', 'here')) {
      length += piece.length;
      most = Math.max(most, process.memoryUsage().arrayBuffers);
    }
    assert.equal(length, blocks * 128 * 1024);
    assert.ok(most < 300 * MIB, `${most} bytes`);
  });

  test('in the frames that are made of what is large unpacks to all of it', async () => {
    const large = bytesOf(10 * MIB);
    await using pool = new Pool(2);
    const made = await concat(compress(chunksOf(large, 100_000), 'zstd', pool));
    for (const size of [1000, 64 * 1024, made.length])
      assert.ok((await concat(decompress(chunksOf(made, size), 'zstd', 'here'))).equals(large));
  });

  test('of frames of every kind passes', async () => {
    const bytes = Buffer.concat([skippable, sound, frameOf(0x20, 4), summed, frameOf(0x60, 0, 0), sound]);
    const frames = new ZstdFrames(MAX);
    for await (const chunk of chunksOf(bytes, 1)) frames.split(chunk);
  });

  test(
    'of many frames, blocks and checksums is followed to its end',
    { skip: spawnSync('zstd', ['--version'], { stdio: 'ignore' }).error !== undefined && 'no zstd here' },
    async () => {
      const bytes = bytesOf(700_000);
      const pack = (...options: string[]) => execFileSync('zstd', ['-c', '-q', ...options], { input: bytes });
      const two = Buffer.concat([pack('--long=27'), pack('--no-check')]);
      for (const size of [5000, 100_000]) {
        const out = await concat(decompress(chunksOf(two, size), 'zstd', 'here'));
        assert.ok(out.equals(Buffer.concat([bytes, bytes])));
      }
      const frames = new ZstdFrames(MAX);
      assert.throws(() => {
        frames.split(two);
        frames.split(frameOf(0, 0xa0));
      }, /a window/);
    },
  );
});

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
  return changed;
}
