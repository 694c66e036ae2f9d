import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { before, describe, test } from 'node:test';
import { extract, pack, type Header } from 'tar-stream';
import { decodeTar, tarName, type TarEntry } from '../src/codecs/tar-decode.js';
import { tarHead } from '../src/codecs/tar-head.js';
import { BLOCK, decodeTarHeader, paddedSize } from '../src/codecs/tar-header.js';
import { refusal } from './support/errors.js';
import { tempFolder } from './support/temp.js';
import { pax, rawHeader, rawMember } from './torture/raw-tar.js';

const GIB = 1024 ** 3;

/** What tar-stream reads of an archive's first entry, without its content. */
function firstHeader(bytes: Buffer): Promise<Header> {
  return new Promise((resolve, reject) => {
    const reader = extract();
    reader.on('entry', (header) => {
      resolve(header);
      reader.destroy();
    });
    reader.on('error', reject);
    Readable.from([bytes]).on('data', (chunk: Buffer) => reader.write(chunk));
  });
}

/** The blocks that tar-stream writes before an entry's content. */
async function headerBlocks(header: Partial<Header> & Pick<Header, 'name'>): Promise<Buffer> {
  const archive = pack();
  archive.on('error', () => undefined); // It ends too early for the size that was said.
  archive.entry({ mtime: new Date(0), ...header });
  const blocks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) {
    blocks.push(chunk);
    const all = Buffer.concat(blocks);
    // A PAX header stands before the entry's own.
    const own =
      all[156] === 'x'.charCodeAt(0) ? 2 * BLOCK + paddedSize(decodeTarHeader(all, '')?.size ?? 0) : BLOCK;
    if (all.length >= own) return all.subarray(0, own);
  }
  return Buffer.concat(blocks);
}

/** What is read of an archive that begins with these blocks: its first entries. */
function entriesOf(blocks: Buffer, options?: { layer: boolean }): TarEntry[] {
  const decoder = decodeTar('test', options);
  const entries: TarEntry[] = [];
  let at = 0;
  for (let bytes = blocks.subarray(0, 0); ;) {
    const { done, value: step } = decoder.next(bytes);
    if (done === true || ('bytes' in step && at >= blocks.length)) return entries;
    if ('entry' in step) {
      entries.push(step.entry);
      continue;
    }
    bytes = blocks.subarray(at, at + step.bytes);
    at += step.bytes;
  }
}

function decoded(blocks: Buffer, options?: { layer: boolean }): TarEntry | undefined {
  return entriesOf(blocks, options)[0];
}

const NAMES = ['a', 'manifest.json', `blobs/sha256/${'ab'.repeat(32)}`, `blobs/sha512/${'ab'.repeat(64)}`];
const SIZES = [0, 1, 511, 512, 513, 8 * GIB - 1, 8 * GIB, 8 * GIB + 1, 20 * GIB, Number.MAX_SAFE_INTEGER];

describe('what is written', () => {
  for (const name of [...NAMES, 'x'.repeat(99), 'x'.repeat(100), 'x'.repeat(101), 'd/'.repeat(120) + 'x']) {
    for (const size of SIZES) {
      test(`tar-stream reads a name of ${name.length} characters and ${size} bytes`, async () => {
        const header = await firstHeader(await tarHead(name, size));
        const { type, mode, uid, gid, mtime, uname, gname } = header;
        assert.deepEqual(
          {
            name: header.name,
            size: header.size,
            type,
            mode,
            uid,
            gid,
            mtime: mtime.getTime(),
            uname,
            gname,
          },
          { name, size, type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, uname: '', gname: '' },
        );
      });

      test(`and is read back, a name of ${name.length} characters and ${size} bytes`, async () => {
        const blocks = await tarHead(name, size);
        assert.equal(blocks.length % BLOCK, 0);
        assert.deepEqual(decoded(blocks), { name, type: 'file', target: '', offset: blocks.length, size });
      });
    }
  }

  test('the system tar lists', async () => {
    const content = Buffer.alloc(BLOCK, 'x');
    const names = [...NAMES, 'd/'.repeat(120) + 'x'];
    const heads = await Promise.all(names.map((name) => tarHead(name, content.length)));
    const blocks = heads.flatMap((head) => [head, content]);
    const file = join(tempFolder(), 'a.tar');
    writeFileSync(file, Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]));
    const listed = execFileSync('tar', ['--utc', '-tvf', file], { encoding: 'utf8' }).trimEnd().split('\n');
    assert.deepEqual(
      listed.map((line) => line.replace(/ +/g, ' ')),
      names.map((name) => `-rw-r--r-- 0/0 512 1970-01-01 00:00 ${name}`),
    );
  });
});

describe('what tar-stream writes', () => {
  for (const [title, header, expected] of [
    ['a file', { name: 'a/b', size: 5 }, { name: 'a/b', type: 'file', size: 5 }],
    ['a name of 100 characters', { name: 'x'.repeat(100), size: 0 }, { name: 'x'.repeat(100) }],
    [
      'a name with a ustar prefix',
      { name: `${'d'.repeat(120)}/${'x'.repeat(90)}` },
      { name: `${'d'.repeat(120)}/${'x'.repeat(90)}` },
    ],
    ['a name too long for ustar', { name: 'x'.repeat(300) }, { name: 'x'.repeat(300) }],
    ['a name beyond ASCII', { name: 'grüße/日本.json', size: 3 }, { name: 'grüße/日本.json', size: 3 }],
    ['./ before a name', { name: './a//b' }, { name: 'a/b' }],
    ['an absolute name', { name: '/a/b' }, { name: 'a/b' }],
    ['8 GiB less one', { name: 'a', size: 8 * GIB - 1 }, { size: 8 * GIB - 1 }],
    ['8 GiB', { name: 'a', size: 8 * GIB }, { size: 8 * GIB }],
    ['20 GiB', { name: 'a', size: 20 * GIB }, { size: 20 * GIB }],
    ['the largest size', { name: 'a', size: Number.MAX_SAFE_INTEGER }, { size: Number.MAX_SAFE_INTEGER }],
    ['a directory', { name: 'a', type: 'directory' }, { name: 'a', type: 'directory', size: 0 }],
    [
      'a symbolic link',
      { name: 'a/l', type: 'symlink', linkname: '../b/l' },
      { type: 'symlink', target: '../b/l', size: 0 },
    ],
    ['a hard link', { name: 'a/l', type: 'link', linkname: 'b/l' }, { type: 'link', target: 'b/l', size: 0 }],
    [
      'a long link',
      { name: 'a', type: 'symlink', linkname: 'x/'.repeat(120) + 'y' },
      { type: 'symlink', target: 'x/'.repeat(120) + 'y' },
    ],
    ['a FIFO', { name: 'a', type: 'fifo' }, { type: 'other' }],
    ['a character device', { name: 'a', type: 'character-device' }, { type: 'other' }],
    ['a block device', { name: 'a', type: 'block-device' }, { type: 'other' }],
    ['a contiguous file', { name: 'a', type: 'contiguous-file' }, { type: 'file' }],
  ] as const) {
    test(`is read: ${title}`, async () => {
      const blocks = await headerBlocks(header);
      const entry = decoded(blocks);
      assert.ok(entry !== undefined);
      assert.equal(entry.offset, blocks.length);
      for (const [key, value] of Object.entries(expected))
        assert.equal(Object.entries(entry).find(([one]) => one === key)?.[1], value, key);
    });
  }
});

/** A header with some bytes changed and the checksum made good. */
function forged(patch: (block: Buffer) => void, name = 'a', size = 0): Buffer {
  return rawHeader({ name, size, patch });
}

/** An extended header with this content, followed by the header of a file. */
function extended(
  flag: string,
  content: string | Buffer,
  file = rawHeader({ name: 'plain', size: 7 }),
): Buffer {
  return Buffer.concat([rawMember({ name: 'PaxHeader', flag, body: Buffer.from(content) }), file]);
}

/** A PAX record with its own length before it. */
function record(text: string): string {
  const [key = '', ...value] = text.split('=');
  return String(pax([key, value.join('=')]).body);
}

describe('a header', () => {
  for (const [title, block, expected] of [
    ['of zeros ends the archive', Buffer.alloc(BLOCK), undefined],
    ['may be of the time before POSIX', forged((b) => b.fill(0, 257, 265)), 'a'],
    [
      "may be GNU's, which keeps times where POSIX has a prefix",
      forged((b) => {
        b.write('ustar  \0', 257);
        b.write('00000000000', 345);
      }),
      'a',
    ],
    ['may fill its fields with spaces', forged((b) => b.write('          7 ', 124)), 'a'],
    ['may leave its size empty', forged((b) => b.fill(0, 124, 136)), 'a'],
    ['may have no type', forged((b) => b.writeUInt8(0, 156)), 'a'],
  ] as const) {
    test(title, () => {
      assert.equal(decodeTarHeader(block, 'here')?.name, expected);
    });
  }

  for (const [title, block] of [
    ['with a changed byte', rawHeader({ name: 'a', size: 1 }).fill('b', 0, 1)],
    ['of text', Buffer.alloc(BLOCK, '{"no": "tar"}')],
    ['of ones', Buffer.alloc(BLOCK, 0xff)],
    ['with a negative size', forged((b) => b.fill(0xff, 124, 136))],
    ['with a size that is no number', forged((b) => b.write('0000000008x\0', 124))],
    ['with a minus before its size', forged((b) => b.write('-0000000001\0', 124))],
    [
      'with a size beyond safe integers',
      forged((b) => {
        b.fill(0, 124, 136);
        b.writeUInt8(0x80, 124);
        b.fill(0xff, 128, 136);
      }),
    ],
  ] as const) {
    test(`${title} is refused`, () => {
      assert.throws(() => decodeTarHeader(block, 'here'), refusal('ARCHIVE_INVALID', 'here'));
    });
  }

  test('marks a folder by a slash, as archives before POSIX do', () => {
    assert.equal(decoded(rawHeader({ name: 'a/' }))?.type, 'directory');
  });

  test('of a link or a folder has no content, whatever its size says', () => {
    for (const flag of ['1', '2', '5'])
      assert.equal(decoded(rawHeader({ name: 'a', flag, size: 512 }), { layer: true })?.size, 0);
    assert.equal(decoded(rawHeader({ name: 'a', flag: '5', size: 512 }))?.size, 0);
  });
});

describe('an extended header', () => {
  for (const [title, blocks, expected] of [
    ['gives a path', extended('x', record('path=long/name')), { name: 'long/name', size: 7 }],
    ['gives a size', extended('x', record(`size=${20 * GIB}`)), { name: 'plain', size: 20 * GIB }],
    ['gives both', extended('x', record('path=p') + record('size=9')), { name: 'p', size: 9 }],
    [
      'has other records',
      extended('x', record('mtime=1.5') + record('SCHILY.xattr.a=\0b') + record('path=p')),
      { name: 'p', size: 7 },
    ],
    [
      'has values with an equals sign and a newline',
      extended('x', record('path=a=b\nc')),
      { name: 'a=b\nc', size: 7 },
    ],
    [
      'gives the last of two paths',
      extended('x', record('path=a') + record('path=b')),
      { name: 'b', size: 7 },
    ],
    ['is global and has no say', extended('g', record('comment=x')), { name: 'plain', size: 7 }],
    ["is GNU's long name", extended('L', 'long/name\0'), { name: 'long/name', size: 7 }],
    ["is GNU's long name without a NUL", extended('L', 'long/name'), { name: 'long/name', size: 7 }],
    [
      'is followed by another',
      extended('L', 'gnu\0', extended('x', record('size=9'))),
      { name: 'gnu', size: 9 },
    ],
  ] as const) {
    test(title, () => {
      const entry = decoded(blocks);
      assert.deepEqual({ name: entry?.name, size: entry?.size }, expected);
    });
  }

  for (const [title, blocks, layer] of [
    ['is empty', extended('x', ''), { name: 'plain', size: 7 }],
    ['is global and gives a path', extended('g', record('path=other')), { name: 'plain', size: 7 }],
    ['is global and gives a size', extended('g', record('size=9')), { name: 'plain', size: 7 }],
    [
      'has another path than GNU',
      extended('L', 'gnu', extended('x', record('path=pax'))),
      { name: 'pax', size: 7 },
    ],
    [
      'is followed by a link with a size',
      extended('x', record('size=9'), rawHeader({ name: 'l', flag: '2', link: 'a' })),
      { name: 'l', size: 0 },
    ],
    [
      'gives a folder of old a size',
      extended('x', record('path=a/') + record('size=9')),
      { name: 'a', size: 0 },
    ],
  ] as const) {
    test(`is taken in a layer, and refused in an archive of images, in which tar readers differ: ${title}`, () => {
      const entry = decoded(blocks, { layer: true });
      assert.deepEqual({ name: entry?.name, size: entry?.size }, layer);
      assert.throws(() => decoded(blocks), refusal('ARCHIVE_INVALID'));
    });
  }

  test("gives a link's target", () => {
    const link = forged((block) => block.write('2', 156));
    assert.equal(decoded(extended('x', record('linkpath=to/here'), link))?.target, 'to/here');
    assert.equal(decoded(extended('K', 'to/here\0', link))?.target, 'to/here');
  });

  test('counts for one entry alone', () => {
    const file = rawHeader({ name: 'plain', size: 7 });
    const blocks = Buffer.concat([extended('x', record('path=once') + record('size=9'), file), file]);
    assert.deepEqual(
      entriesOf(blocks).map(({ name, size }) => `${name} ${size}`),
      ['once 9', 'plain 7'],
    );
  });

  // A size that counted for the next extended header would hide entries from one reader and not from another.
  test('gives a size to the entry, not to another extended header before it', () => {
    const blocks = extended('x', record('size=4096'), extended('L', 'name\0'));
    const entry = decoded(blocks);
    assert.deepEqual(
      { name: entry?.name, size: entry?.size, offset: entry?.offset },
      { name: 'name', size: 4096, offset: blocks.length },
    );
  });

  const refused = [
    ['a negative length', '-5 path=a\n'],
    ['a length of zero', '0 path=a\n'],
    ['no length', ' path=a\n'],
    ['no space', '12'],
    ['a length that is no number', '1x path=a\n'],
    ['a length in hex', '0x9 path=a\n'],
    ['a length past its end', '99 path=a\n'],
    ['a length of a gigabyte', '1073741824 path=a\n'],
    ['a length beyond all numbers', `${'9'.repeat(400)} path=a\n`],
    ['a length that ends in itself', '1 path=a\n'],
    ['a length that ends at the space', '2 path=a\n'],
    ['no equals sign', '7 path\n'],
    ['zeros after a record', `${record('path=a')}\0\0\0`],
    ['a negative size', record('size=-1')],
    ['a size that is no number', record('size=1e9')],
    ['an empty size', record('size=')],
    ['a size beyond safe integers', record('size=99999999999999999999')],
    ["a sparse file's map", record('GNU.sparse.map=0,1')],
    ["a sparse file's name", record('GNU.sparse.name=x')],
  ] as const;
  let outcomes: readonly string[] = [];
  before(() => {
    // In a process of its own, which can be ended: what does not come to an end here would never be found out.
    const files = refused.map(([, content]) => {
      const path = join(tempFolder(), 'hostile.tar');
      writeFileSync(path, Buffer.concat([extended('x', content), Buffer.alloc(2 * BLOCK)]));
      return path;
    });
    const script = `import { indexFile } from ${JSON.stringify(new URL('../src/codecs/tar-file.js', import.meta.url).href)};
      const read = (path) => { try { indexFile(path); return 'taken'; } catch (error) { return error.code; } };
      console.log(JSON.stringify(process.argv.slice(1).map(read)));`;
    const args = ['--input-type=module', '-e', script, ...files];
    const { stdout, signal } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 });
    assert.equal(signal, null, 'one of them is read for ever');
    outcomes = JSON.parse(stdout) as string[];
  });
  for (const [i, [title]] of refused.entries()) {
    test(`with ${title} is refused`, () => {
      assert.equal(outcomes[i], 'ARCHIVE_INVALID');
    });
  }

  test('of more than a megabyte is refused before it is read', () => {
    const header = forged((block) => {
      block.write('x', 156);
      block.write(`${(2 * 1024 * 1024).toString(8).padStart(11, '0')}\0`, 124);
    });
    assert.throws(() => decoded(header), refusal('ARCHIVE_INVALID', 'test'));
  });

  test('with a name of more than 4,096 characters is refused', () => {
    assert.throws(
      () => decoded(extended('x', record(`path=${'a/'.repeat(3000)}`))),
      refusal('ARCHIVE_INVALID'),
    );
  });
});

for (const [name, plain] of [
  ['a', 'a'],
  ['./a', 'a'],
  ['././a/./b/.', 'a/b'],
  ['/a//b///', 'a/b'],
  ['', ''],
  ['.', ''],
  ['./', ''],
  ['../a', '../a'],
  ['...', '...'],
] as const) {
  test(`${JSON.stringify(name)} is the entry ${JSON.stringify(plain)}`, () => {
    assert.equal(tarName(name), plain);
  });
}
