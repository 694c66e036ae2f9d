import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  constants,
  copyFileSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { parseDigest, type ErrorCode } from '../src/index.js';
import { Pool } from '../src/threads/pool.js';
import type { Bytes } from '../src/bytes/region.js';
import type { LinkMode } from '../src/proof/linking.js';
import { VerifiedBlob } from '../src/proof/verified-blob.js';
import { concat } from './support/chunks.js';
import { refusal } from './support/errors.js';
import { digestText } from './support/images.js';
import { inodeOf } from './support/snapshot.js';
import { tempFolder, tempFolderElsewhere } from './support/temp.js';
import { arm, disarm } from './torture/injector.js';

const pool = new Pool(1);
after(() => pool.close());

/** More than is read at once, so that there is something to leave early. */
const right = Buffer.alloc(2_600_000, 'right bytes ');
const digest = parseDigest(digestText(right), 'test');
const expected = { digest, size: right.length };

function fileOf(bytes: Buffer): string {
  const path = join(tempFolder(), 'blob');
  writeFileSync(path, bytes);
  return path;
}

function tempFile(): string {
  return join(tempFolder(), 'file');
}

/** Where a blob may lie; `bytes` is what is there, `size` what is said of it. */
const PLACES: Readonly<Record<string, (bytes: Buffer, size: number) => Bytes>> = {
  'a file': (bytes, size) => ({ kind: 'file', path: fileOf(bytes), offset: 0, size, whole: true }),
  'a region of a file': (bytes, size) => ({
    kind: 'file',
    path: fileOf(Buffer.concat([Buffer.from('before'), bytes])),
    offset: 6,
    size,
    whole: false,
  }),
  memory: (bytes, size) => ({ kind: 'memory', path: 'memory', size, bytes }),
  'a file that is fetched': (bytes, size) => ({
    kind: 'remote',
    path: 'https://registry.example/blob',
    size,
    stage: () => Promise.resolve({ kind: 'file', path: fileOf(bytes), offset: 0, size, whole: true }),
  }),
};

/** Every way out of a `VerifiedBlob`; `at` is where a file may be made. */
const WAYS: Readonly<Record<string, (blob: VerifiedBlob, at: string) => Promise<unknown>>> = {
  prove: (blob) => blob.prove(),
  'place by link': (blob, at) => blob.place(at, 'auto'),
  'place by copy': (blob, at) => blob.place(at, 'copy'),
  chunks: (blob) => concat(blob.chunks()),
  uncompressed: (blob) => concat(blob.uncompressed()),
  read: (blob) => blob.read(4_000_000),
  'write into a file': async (blob, at) => {
    writeFileSync(at, '');
    try {
      await blob.writeInto(at, 0);
    } catch (error) {
      rmSync(at); // What takes a failed one back is the caller's business.
      throw error;
    }
  },
};

/** Bytes that do not compress, always the same. */
function noise(length: number): Buffer {
  return Buffer.concat(
    Array.from({ length: length / 50 }, (_, i) =>
      createHash('sha512').update(String(i)).digest().subarray(0, 50),
    ),
  );
}

function changed(bytes: Buffer, at: number): Buffer {
  const other = Buffer.from(bytes);
  other.writeUInt8(other.readUInt8(at) ^ 1, at);
  return other;
}

for (const [where, lay] of Object.entries(PLACES)) {
  for (const [way, leave] of Object.entries(WAYS)) {
    describe(`${way}, of a blob in ${where}`, () => {
      test('gives the right bytes', async () => {
        const at = join(tempFolder(), 'out');
        const out = await leave(VerifiedBlob.at(lay(right, right.length), expected, pool), at);
        if (Buffer.isBuffer(out)) assert.ok(out.equals(right));
        if (existsSync(at)) assert.ok(readFileSync(at).equals(right));
      });

      for (const [title, bytes, codes] of [
        ['wrong in their first byte', changed(right, 0), ['DIGEST_MISMATCH']],
        ['wrong in their last byte', changed(right, right.length - 1), ['DIGEST_MISMATCH']],
        ['all zeros', Buffer.alloc(right.length), ['DIGEST_MISMATCH']],
        ['short', right.subarray(0, -1), ['SOURCE_CHANGED', 'DIGEST_MISMATCH']],
        ['gone', Buffer.alloc(0), ['SOURCE_CHANGED', 'DIGEST_MISMATCH']],
      ] as const) {
        test(`refuses bytes that are ${title}, though they are said to be right`, async () => {
          const at = join(tempFolder(), 'out');
          const blob = VerifiedBlob.at(lay(bytes, right.length), expected, pool);
          await assert.rejects(leave(blob, at), (error: unknown) => {
            assert.ok(error instanceof Error && 'code' in error);
            assert.ok(
              codes.some((code: ErrorCode) => code === error.code),
              `${String(error.code)}: ${error.message}`,
            );
            return true;
          });
          assert.equal(existsSync(at), false);
        });
      }
    });
  }

  for (const size of [right.length - 1, right.length + 1, 0]) {
    test(`refuses a blob in ${where} that is said to have ${size} bytes, before it is read`, () => {
      const bytes = size > right.length ? Buffer.concat([right, Buffer.from('!')]) : right.subarray(0, size);
      assert.throws(
        () => VerifiedBlob.at(lay(bytes, size), expected, pool),
        refusal('DIGEST_MISMATCH', digest),
      );
    });
  }
}

test('remote bytes are fetched when they are needed, and once', async () => {
  let fetched = 0;
  const at: Bytes = {
    kind: 'remote',
    path: 'https://registry.example/blob',
    size: right.length,
    stage: () => {
      fetched++;
      return Promise.resolve({ kind: 'memory', path: 'memory', size: right.length, bytes: right });
    },
  };
  const blob = VerifiedBlob.at(at, expected, pool);
  assert.deepEqual([blob.isRemote, blob.isFileOn(0), blob.size, fetched], [true, false, right.length, 0]);
  assert.equal(await blob.place(join(tempFolder(), 'out'), 'auto'), 'fetched');
  await Promise.all([blob.prove(), concat(blob.chunks()), blob.unpackedSize()]);
  assert.equal(fetched, 1);
});

test('remote bytes that come in another size are refused', async () => {
  const shorter = right.subarray(1);
  const at: Bytes = {
    kind: 'remote',
    path: 'https://registry.example/blob',
    size: right.length,
    stage: () => Promise.resolve({ kind: 'memory', path: 'memory', size: shorter.length, bytes: shorter }),
  };
  const out = join(tempFolder(), 'out');
  await assert.rejects(VerifiedBlob.at(at, expected, pool).place(out, 'auto'), refusal('DIGEST_MISMATCH'));
  assert.equal(existsSync(out), false);
});

for (const way of ['prove', 'place by link', 'place by copy'] as const) {
  test(`${way} refuses a file that grew after its size was looked at`, async () => {
    const at = join(tempFolder(), 'out');
    const path = fileOf(Buffer.concat([right, Buffer.from('!')]));
    const blob = VerifiedBlob.at(
      { kind: 'file', path, offset: 0, size: right.length, whole: true },
      expected,
      pool,
    );
    await assert.rejects(WAYS[way]?.(blob, at) ?? Promise.resolve(), refusal('SOURCE_CHANGED', path));
    assert.equal(existsSync(at), false);
  });
}

describe('a file that this run has hashed', () => {
  const bytes = Buffer.from('right bytes');
  const known = () => {
    const path = fileOf(bytes);
    const { dev, ino, size, mtimeNs } = statSync(path, { bigint: true });
    const of = { digest: parseDigest(digestText(bytes), 'test'), size: bytes.length };
    const id = { dev, ino, size, mtimeNs };
    const at = {
      kind: 'file',
      path,
      offset: 0,
      size: of.size,
      whole: true,
      known: { digest: of.digest, id },
    } as const;
    return { path, blob: VerifiedBlob.at(at, of, pool) };
  };

  test('is linked as it is', async () => {
    const { blob } = known();
    const out = join(tempFolder(), 'new/out');
    assert.equal(await blob.place(out, 'auto'), 'linked');
    await blob.prove();
  });

  for (const change of ['written to', 'replaced']) {
    test(`and that was ${change} since is refused by all ways`, async () => {
      for (const [way, code] of [
        ['prove', 'DIGEST_MISMATCH'],
        ['place by link', 'SOURCE_CHANGED'],
        ['place by copy', 'DIGEST_MISMATCH'],
        ['read', 'DIGEST_MISMATCH'],
      ] as const) {
        const { path, blob } = known();
        if (change === 'replaced') rmSync(path);
        writeFileSync(path, 'wrong bytes');
        utimesSync(path, 1, 1);
        const out = join(tempFolder(), 'out');
        await assert.rejects(async () => WAYS[way]?.(blob, out), refusal(code), way);
        assert.equal(existsSync(out), false);
      }
    });
  }
});

describe('a disk that fails while a blob is read', () => {
  // An error of its own must not become one of the bytes, which were never seen.
  const small = Buffer.from('right bytes');
  const known = { digest: parseDigest(digestText(small), 'test'), size: small.length };
  const idle = new Pool(); // It has no threads, where the failure would not be heard of.
  for (const way of ['prove', 'place by copy', 'read', 'uncompressed', 'write into a file']) {
    test(`is told by ${way}, with the file, whatever it was asked for`, async () => {
      const path = fileOf(small);
      const told: string[] = [];
      for (let at = 1; ; at++) {
        const out = join(tempFolder(), 'out');
        const blob = VerifiedBlob.at(
          { kind: 'file', path, offset: 0, size: small.length, whole: true },
          known,
          idle,
        );
        arm({ action: 'EIO', at, root: path });
        const outcome = await WAYS[way]?.(blob, out).catch((error: unknown) => error);
        const { fired } = disarm();
        if (fired === undefined) break;
        assert.ok(refusal('IO', path)(outcome), fired);
        assert.equal(existsSync(out), false);
        told.push(fired.split(' ', 1)[0] ?? '');
      }
      for (const kind of ['open', 'look', 'read', 'close']) assert.ok(told.includes(kind), told.join(' '));
    });
  }
});

describe('a consumer that leaves early', () => {
  // A `break` ends a generator without an error of its own: what was not read must not pass for proved.
  for (const [where, lay] of Object.entries(PLACES)) {
    if (where === 'memory') continue; // All of it comes at once.
    test(`of chunks from ${where} is told`, async () => {
      const blob = VerifiedBlob.at(lay(right, right.length), expected, pool);
      await assert.rejects(async () => {
        for await (const chunk of blob.chunks()) if (chunk.length >= 0) break;
      }, refusal('DIGEST_MISMATCH'));
    });

    for (const [title, bytes] of [
      ['a plain layer', right],
      ['a gzip layer', gzipSync(noise(2_500_000))],
    ] as const) {
      test(`of the tar of ${title} from ${where} is told`, async () => {
        const own = { digest: parseDigest(digestText(bytes), 'test'), size: bytes.length };
        const wrong = changed(bytes, bytes.length - 1);
        const blob = VerifiedBlob.at(lay(wrong, wrong.length), own, pool);
        await assert.rejects(async () => {
          for await (const chunk of blob.uncompressed()) if (chunk.length >= 0) break;
        }, refusal('DIGEST_MISMATCH'));
      });
    }
  }

  test('with an error of its own gets that one', async () => {
    const blob = VerifiedBlob.at(
      { kind: 'file', path: fileOf(right), offset: 0, size: right.length, whole: true },
      expected,
      pool,
    );
    await assert.rejects(async () => {
      for await (const chunk of blob.chunks()) throw new Error(`its own, after ${chunk.length}`);
    }, /its own/);
  });
});

describe('a layer of an archive', () => {
  const tar = Buffer.alloc(50_000, 'tar');
  const layer = gzipSync(tar);
  const own = { digest: parseDigest(digestText(layer), 'test'), size: layer.length };
  const at = () =>
    ({ kind: 'file', path: fileOf(layer), offset: 0, size: layer.length, whole: true }) as const;

  for (const way of ['prove', 'place by link', 'place by copy', 'write into a file'] as const) {
    test(`is proved as what it unpacks to: ${way}`, async () => {
      const out = join(tempFolder(), 'out');
      const sound = VerifiedBlob.at(at(), own, pool, { diffId: parseDigest(digestText(tar), 'test') });
      await WAYS[way]?.(sound, out);
      rmSync(out, { force: true });
      const diffId = parseDigest(digestText(Buffer.from('another tar')), 'test');
      const wrong = VerifiedBlob.at(at(), own, pool, { diffId });
      await assert.rejects(WAYS[way]?.(wrong, out) ?? Promise.resolve(), refusal('DIGEST_MISMATCH', diffId));
      assert.equal(existsSync(out), false);
    });
  }
});

describe('a layer unpacked to a file', () => {
  // More than a thread's message costs, so that a thread does it; and less.
  for (const [title, tar] of [
    ['large', noise(3_000_000)],
    ['small', noise(3_000)],
  ] as const) {
    const packed = gzipSync(tar);
    const diffId = parseDigest(digestText(tar), 'test');
    const said = { digest: parseDigest(digestText(packed), 'test'), size: packed.length };
    for (const [where, at] of Object.entries(PLACES)) {
      test(`holds the ${title} tar from ${where}, known by its digest`, async () => {
        const path = join(tempFolder(), 'out');
        const staged = await VerifiedBlob.at(at(packed, packed.length), said, pool).unpackTo(path, diffId);
        assert.ok(readFileSync(path).equals(tar));
        assert.deepEqual([staged.size, staged.staged?.digest], [tar.length, diffId]);
        assert.equal(await VerifiedBlob.staged(staged, pool).place(join(tempFolder(), 'x'), 'hard'), 'moved');
      });

      for (const [wrong, bytes, asDiffId] of [
        ['another diffID', packed, digest],
        ['a changed byte', changed(packed, packed.length >> 1), diffId],
        ['no diffID and a changed byte', changed(packed, packed.length >> 1), undefined],
      ] as const) {
        test(`is not left there from ${where} with ${wrong}: ${title}`, async () => {
          const path = join(tempFolder(), 'out');
          const blob = VerifiedBlob.at(at(bytes, packed.length), said, pool);
          await assert.rejects(blob.unpackTo(path, asDiffId), refusal('DIGEST_MISMATCH'));
          assert.equal(existsSync(path), false);
        });
      }
    }
  }
});

describe('a layer that is unpacked where its bytes are asked for', () => {
  const tar = noise(3_000_000);
  const packed = gzipSync(tar);
  const diffId = parseDigest(digestText(tar), 'test');
  const said = { digest: parseDigest(digestText(packed), 'test'), size: packed.length };
  const layerFrom = (where: string, bytes: Buffer) => {
    const at = PLACES[where];
    assert.ok(at);
    return VerifiedBlob.at(at(bytes, packed.length), said, pool);
  };

  for (const where of Object.keys(PLACES)) {
    test(`is written between what stands there already, from ${where}`, async () => {
      const out = fileOf(Buffer.alloc(tar.length + 20, '-'));
      const blob = await layerFrom(where, packed).unpacked({ digest: diffId, size: tar.length });
      await blob.writeInto(out, 10);
      assert.ok(readFileSync(out).equals(Buffer.concat([Buffer.alloc(10, '-'), tar, Buffer.alloc(10, '-')])));
    });

    test(`leaves what follows alone when it is longer than was said, from ${where}`, async () => {
      const out = fileOf(Buffer.alloc(tar.length + 20, '-'));
      const size = tar.length - 1000;
      const blob = await layerFrom(where, packed).unpacked({ digest: diffId, size });
      await assert.rejects(blob.writeInto(out, 10), refusal('DIGEST_MISMATCH'));
      assert.ok(
        readFileSync(out)
          .subarray(10 + size)
          .equals(Buffer.alloc(1010, '-')),
      );
    });

    for (const [wrong, bytes, expected] of [
      ['shorter than was said', packed, { digest: diffId, size: tar.length + 1 }],
      ['another diffID', packed, { digest, size: tar.length }],
      ['a changed byte', changed(packed, packed.length >> 1), { digest: diffId, size: tar.length }],
    ] as const) {
      test(`is refused, from ${where}: ${wrong}`, async () => {
        const blob = await layerFrom(where, bytes).unpacked(expected);
        const out = fileOf(Buffer.alloc(tar.length + 20));
        await assert.rejects(blob.writeInto(out, 10), refusal('DIGEST_MISMATCH'));
        await assert.rejects(blob.prove(), refusal('DIGEST_MISMATCH'));
        await assert.rejects(concat(blob.chunks()), refusal('DIGEST_MISMATCH'));
      });
    }

    test(`is a file where one is asked for, from ${where}`, async () => {
      const blob = await layerFrom(where, packed).unpacked({ digest: diffId, size: tar.length });
      const path = tempFile();
      assert.equal(await blob.place(path, 'auto'), 'moved');
      assert.ok(readFileSync(path).equals(tar));
    });
  }
});

describe('read', () => {
  test('refuses more than its limit, and reads up to it', async () => {
    const blob = VerifiedBlob.of(right, digest, pool, 'memory');
    await assert.rejects(blob.read(right.length - 1), refusal('MANIFEST_INVALID'));
    assert.equal((await blob.read(right.length)).length, right.length);
  });
});

/** True when files can share their blocks here. */
function canReflink(folder: string): boolean {
  const [one, other] = [join(folder, 'probe'), join(folder, 'probe2')];
  writeFileSync(one, 'probe');
  try {
    copyFileSync(one, other, constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(one);
    rmSync(other, { force: true });
  }
}

async function placed(source: string, target: string, mode: LinkMode): Promise<string> {
  const at = { kind: 'file', path: source, offset: 0, size: right.length, whole: true } as const;
  return await VerifiedBlob.at(at, expected, pool).place(target, mode);
}

describe('place', () => {
  const here = tempFolder();
  const reflink = canReflink(here);

  test('by hard link makes the same inode', async () => {
    const [source, target] = [fileOf(right), join(tempFolder(), 'out')];
    assert.equal(await placed(source, target, 'hard'), 'linked');
    assert.equal(inodeOf(target), inodeOf(source));
  });

  test('by auto makes the same inode on one file system', async () => {
    const [source, target] = [fileOf(right), join(tempFolder(), 'out')];
    assert.equal(await placed(source, target, 'auto'), 'linked');
    assert.equal(inodeOf(target), inodeOf(source));
  });

  for (const [title, change] of Object.entries<(path: string) => void>({
    'set-user-ID': (path) => {
      chmodSync(path, 0o4777);
    },
    'set-group-ID': (path) => {
      chmodSync(path, 0o2755);
    },
    'a sticky bit': (path) => {
      chmodSync(path, 0o1644);
    },
    'rights for all to write': (path) => {
      chmodSync(path, 0o666);
    },
    ...(process.getuid?.() === 0 && {
      'another owner': (path) => {
        chownSync(path, 12_345, 0);
      },
      'rights for another group to write': (path) => {
        chownSync(path, 0, 12_345);
        chmodSync(path, 0o664);
      },
    }),
  }))
    for (const mode of ['hard', 'auto'] as const)
      test(`by ${mode} copies a file with ${title}`, async () => {
        const [source, target] = [fileOf(right), join(tempFolder(), 'out')];
        const ordinary = statSync(source).mode;
        change(source);
        assert.match(
          await placed(source, target, mode),
          mode === 'hard' ? /^copied$/ : /^(?:copied|reflinked)$/,
        );
        const { uid, mode: made } = statSync(target);
        assert.deepEqual([uid, made & 0o7777], [process.getuid?.(), ordinary & 0o644]);
        assert.ok(readFileSync(target).equals(right));
      });

  test('by copy makes another inode', async () => {
    const [source, target] = [fileOf(right), join(tempFolder(), 'out')];
    assert.equal(await placed(source, target, 'copy'), 'copied');
    assert.notEqual(inodeOf(target), inodeOf(source));
    assert.ok(readFileSync(target).equals(right));
  });

  test('by reflink shares blocks', { skip: reflink ? false : 'this file system cannot' }, async () => {
    const [source, target] = [fileOf(right), join(tempFolder(), 'out')];
    assert.equal(await placed(source, target, 'reflink'), 'reflinked');
    assert.notEqual(inodeOf(target), inodeOf(source));
  });

  test(
    'by reflink fails where that cannot be',
    { skip: reflink ? 'this file system can' : false },
    async () => {
      const [source, target] = [fileOf(right), join(tempFolder(), 'out')];
      await assert.rejects(placed(source, target, 'reflink'), refusal('IO', source, 'reflink'));
      assert.equal(existsSync(target), false);
    },
  );

  for (const mode of ['auto', 'hard', 'copy'] as const) {
    test(`by ${mode} never replaces a file`, async () => {
      const [source, target] = [fileOf(right), fileOf(Buffer.from('mine'))];
      await assert.rejects(placed(source, target, mode));
      if (mode !== 'copy') assert.equal(readFileSync(target, 'utf8'), 'mine');
    });

    test(`by ${mode} follows no symbolic link`, async () => {
      const [source, target] = [join(tempFolder(), 'link'), join(tempFolder(), 'out')];
      symlinkSync(fileOf(right), source);
      await assert.rejects(placed(source, target, mode), refusal('IO', source));
      assert.equal(existsSync(target), false);
    });

    test(`by ${mode} does not wait for a FIFO's writer`, { timeout: 10_000 }, async () => {
      const [source, target] = [join(tempFolder(), 'fifo'), join(tempFolder(), 'out')];
      execFileSync('mkfifo', [source]);
      await assert.rejects(placed(source, target, mode), refusal('IO', source));
      assert.equal(existsSync(target), false);
    });
  }

  for (const [title, meddle] of [
    [
      'replaced',
      (path: string) => {
        writeFileSync(`${path}.new`, Buffer.alloc(right.length, 'evil bytes '));
        renameSync(`${path}.new`, path);
      },
    ],
    [
      'replaced by one of the same times',
      (path: string) => {
        const { atime, mtime } = statSync(path);
        writeFileSync(`${path}.new`, Buffer.alloc(right.length, 'evil bytes '));
        utimesSync(`${path}.new`, atime, mtime);
        renameSync(`${path}.new`, path);
      },
    ],
    [
      'written to',
      (path: string) => {
        writeFileSync(path, Buffer.alloc(right.length, 'evil bytes '));
      },
    ],
  ] as const) {
    test(`links no file that was ${title} after it was proved`, async () => {
      const [source, target] = [fileOf(right), join(tempFolder(), 'out')];
      const at = { kind: 'file', path: source, offset: 0, size: right.length, whole: true } as const;
      const blob = VerifiedBlob.at(at, expected, pool);
      await blob.prove();
      meddle(source);
      await assert.rejects(blob.place(target, 'hard'), refusal('SOURCE_CHANGED', source));
      assert.equal(existsSync(target), false);
    });
  }

  const folder = tempFolderElsewhere() ?? '';
  describe('on another file system', { skip: folder === '' ? 'there is none here' : false }, () => {
    test('by auto copies', async () => {
      const target = join(folder, 'auto');
      assert.equal(await placed(fileOf(right), target, 'auto'), 'copied');
      assert.ok(readFileSync(target).equals(right));
    });

    for (const mode of ['hard', 'reflink'] as const) {
      test(`by ${mode} fails`, async () => {
        const [source, target] = [fileOf(right), join(folder, mode)];
        await assert.rejects(placed(source, target, mode), refusal('IO', source));
        assert.equal(existsSync(target), false);
      });
    }

    test('by auto copies no wrong bytes', async () => {
      const target = join(folder, 'wrong');
      await assert.rejects(placed(fileOf(changed(right, 7)), target, 'auto'), refusal('DIGEST_MISMATCH'));
      assert.equal(existsSync(target), false);
    });
  });
});
