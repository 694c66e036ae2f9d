import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { headOf, type LocalBytes } from '../src/bytes/region.js';
import { indexFile } from '../src/codecs/tar-file.js';
import { tarHead } from '../src/codecs/tar-head.js';
import type { TarIndex } from '../src/codecs/tar-index.js';
import { indexStream } from '../src/codecs/tar-pipe.js';
import { CHUNK_SIZES, chunksOf, concat } from './support/chunks.js';
import { refusal } from './support/errors.js';
import { file, link, writeTar, type TarMember } from './support/tars.js';
import { tempFolder } from './support/temp.js';

/** Keeps what passes in memory; what the product's own keeps on disk. */
const spool = {
  add: async (path: string, chunks: AsyncIterable<Uint8Array>): Promise<LocalBytes> => {
    const bytes = await concat(chunks);
    return { kind: 'memory', path, size: bytes.length, bytes };
  },
};

/** The ways in which an archive is read; all have to see the same. */
const READERS: Readonly<Record<string, (bytes: Buffer) => Promise<TarIndex>>> = {
  'in place': (bytes) => {
    const path = join(tempFolder(), 'archive.tar');
    writeFileSync(path, bytes);
    return Promise.resolve().then(() => indexFile(path));
  },
  ...Object.fromEntries(
    CHUNK_SIZES.map((size) => [
      `as a stream of ${size} byte(s) at a time`,
      (bytes: Buffer) => indexStream(chunksOf(bytes, size), 'archive.tar', spool),
    ]),
  ),
};

function contentOf(index: TarIndex, name: string): string | undefined {
  const at = index.get(name);
  return at && Buffer.from(headOf(at, at.size)).toString();
}

const device: TarMember = { header: { name: 'dev/null', type: 'character-device' }, body: Buffer.alloc(0) };
const fifo: TarMember = { header: { name: 'pipe', type: 'fifo' }, body: Buffer.alloc(0) };
const folder: TarMember = { header: { name: 'd/', type: 'directory' }, body: Buffer.alloc(0) };

for (const [how, read] of Object.entries(READERS)) {
  describe(`an archive that is read ${how}`, () => {
    for (const [title, members, name, content] of [
      ['a file', [file('a', 'one')], 'a', 'one'],
      ['an empty file', [file('a', '')], 'a', ''],
      ['a file of one block', [file('x', 'y'.repeat(512)), file('a', 'one')], 'a', 'one'],
      ['a file with ./ before its name', [file('./d/a', 'one')], 'd/a', 'one'],
      ['a file that is asked for with ./', [file('d/a', 'one')], './d//a', 'one'],
      [
        'the last of duplicates',
        [file('a', 'one'), file('b', 'b'), file('a', 'two'), file('./a', 'three')],
        'a',
        'three',
      ],
      ['nothing of a name that is not there', [file('a', 'one')], 'b', undefined],
      ['nothing of a folder', [folder, file('d/a', 'one')], 'd', undefined],
      ['nothing of names of Object.prototype', [file('a', 'one')], 'constructor', undefined],
      ['a file called __proto__', [file('__proto__', 'one')], '__proto__', 'one'],
      [
        'a long name',
        [file(`${'d'.repeat(90)}/${'x'.repeat(150)}`, 'one')],
        `${'d'.repeat(90)}/${'x'.repeat(150)}`,
        'one',
      ],
      ['a symbolic link', [link('symlink', 'l', 'a'), file('a', 'one')], 'l', 'one'],
      [
        'a symbolic link in a folder, which begins there',
        [file('d/a', 'one'), file('a', 'no'), link('symlink', 'd/l', 'a')],
        'd/l',
        'one',
      ],
      [
        'a symbolic link to another folder',
        [file('e/layer.tar', 'one'), link('symlink', 'd/layer.tar', '../e/layer.tar')],
        'd/layer.tar',
        'one',
      ],
      [
        'a hard link, which begins at the top',
        [file('a', 'one'), file('d/a', 'no'), link('link', 'd/l', 'a')],
        'd/l',
        'one',
      ],
      [
        'a chain of links',
        [file('a', 'one'), link('link', 'b', 'a'), link('symlink', 'c', 'b'), link('link', 'd', './c')],
        'd',
        'one',
      ],
      [
        'a link whose target is a duplicate',
        [file('a', 'one'), link('symlink', 'l', 'a'), file('a', 'two')],
        'l',
        'two',
      ],
      [
        'a link that replaces a file',
        [file('l', 'no'), file('a', 'one'), link('symlink', 'l', 'a')],
        'l',
        'one',
      ],
      ['a file that replaces a link', [link('symlink', 'l', '../../out'), file('l', 'one')], 'l', 'one'],
    ] as const) {
      test(`has ${title}`, async () => {
        const index = await read(await writeTar(members));
        assert.equal(contentOf(index, name), content);
      });
    }

    for (const [title, members] of [
      ['a link to itself', [link('symlink', 'l', 'l')]],
      ['a hard link to itself', [link('link', 'l', 'l')]],
      ['links in a loop', [link('symlink', 'l', 'm'), link('symlink', 'm', 'n'), link('link', 'n', 'l')]],
      [
        'a chain of a hundred links',
        [
          link('symlink', 'l', 'l0'),
          ...Array.from({ length: 100 }, (_, i) => link('symlink', `l${i}`, `l${i + 1}`)),
          file('l100', 'one'),
        ],
      ],
      ['a link to nothing', [link('symlink', 'l', 'a')]],
      ['a hard link to nothing', [link('link', 'l', 'a')]],
      ['a link to a folder', [folder, link('symlink', 'l', 'd')]],
      ['an absolute link', [link('symlink', 'l', '/etc/passwd'), file('etc/passwd', 'one')]],
      ['an absolute hard link', [link('link', 'l', '/etc/passwd'), file('etc/passwd', 'one')]],
      ['a link out of the archive', [link('symlink', 'l', '../a'), file('a', 'one')]],
      ['a link out of the archive and back', [link('symlink', 'l', '../x/../a'), file('a', 'one')]],
      ['a hard link out of the archive', [link('link', 'l', '../a'), file('a', 'one')]],
    ] as const) {
      test(`refuses ${title} when it is asked for, and gives the rest`, { timeout: 10_000 }, async () => {
        const index = await read(await writeTar([...members, file('other', 'sound')]));
        assert.throws(() => index.get('l'), refusal('ARCHIVE_INVALID', 'archive.tar', 'l'));
        assert.equal(contentOf(index, 'other'), 'sound');
      });
    }

    for (const [title, member] of [
      ['a device', device],
      ['a FIFO', fifo],
    ] as const) {
      test(`refuses ${title}`, async () => {
        const bytes = await writeTar([file('a', 'one'), member]);
        await assert.rejects(read(bytes), refusal('ARCHIVE_INVALID', 'archive.tar', member.header.name));
      });
    }

    test('takes a name with .. for a key, not a path', async () => {
      const index = await read(await writeTar([file('../../etc/passwd', 'one'), file('/etc/shadow', 'two')]));
      assert.equal(contentOf(index, '../../etc/passwd'), 'one');
      assert.equal(contentOf(index, 'etc/passwd'), undefined);
      assert.equal(contentOf(index, 'etc/shadow'), 'two');
    });

    const sound = writeTar([file('first', 'x'.repeat(700)), file('second', 'y'.repeat(700))]);
    for (const [title, cut, ...words] of [
      ['in its first header', 100, 'archive.tar'],
      ['after its first header', 512, 'first', '512'],
      ["in a file's content", 1100, 'first', '512'],
      ['in its second header', 512 + 1024 + 100, '1536'],
      ["in the second file's content", 512 + 1024 + 512 + 699, 'second', '2048'],
      ["in the second file's padding", 512 + 1024 + 512 + 700, 'second', '2048'],
    ] as const) {
      test(`refuses one that is cut off ${title}, and says where`, async () => {
        await assert.rejects(
          read((await sound).subarray(0, cut)),
          refusal('ARCHIVE_INVALID', 'archive.tar', ...words),
        );
      });
    }

    for (const [title, cut] of [
      ['without the blocks that end it', 512 + 1024 + 512 + 1024],
      ['with one of them', 512 + 1024 + 512 + 1024 + 512],
    ] as const) {
      test(`takes one ${title}, as tar does`, async () => {
        const index = await read((await sound).subarray(0, cut));
        assert.equal(contentOf(index, 'second'), 'y'.repeat(700));
      });
    }

    test('takes one with garbage after its end, as tar does', async () => {
      const index = await read(Buffer.concat([await sound, Buffer.alloc(5000, 'garbage')]));
      assert.deepEqual(index.names(), ['first', 'second']);
    });

    for (const [title, bytes] of [
      ['nothing', Buffer.alloc(0)],
      ['a line of text', Buffer.from('not a tar\n')],
      ['a page of text', Buffer.from('not a tar\n'.repeat(500))],
    ] as const) {
      test(`refuses ${title}`, async () => {
        await assert.rejects(read(bytes), refusal('ARCHIVE_INVALID', 'archive.tar'));
      });
    }

    test('refuses one whose second header is damaged, and says where', async () => {
      const bytes = Buffer.from(await sound);
      bytes.write('?', 1536);
      await assert.rejects(read(bytes), refusal('ARCHIVE_INVALID', 'archive.tar', '1536'));
    });

    for (const format of ['v7', 'oldgnu', 'gnu', 'ustar', 'posix']) {
      test(`may be of the system tar's ${format} format`, async () => {
        const root = tempFolder();
        const long = ['v7', 'ustar'].includes(format) ? 'd/name' : `${'d'.repeat(60)}/${'name'.repeat(20)}`;
        mkdirSync(join(root, long, '..'), { recursive: true });
        writeFileSync(join(root, long), 'one');
        linkSync(join(root, long), join(root, 'zz-hard'));
        symlinkSync(long, join(root, 'zz-soft'));
        const path = join(tempFolder(), 'made.tar');
        execFileSync('tar', [`--format=${format}`, '--sort=name', '-cf', path, '-C', root, '.']);
        const index = await read(readFileSync(path));
        for (const name of [long, 'zz-hard', 'zz-soft']) assert.equal(contentOf(index, name), 'one', name);
      });
    }
  });
}

test('an archive is read in place: members are regions of the file itself', async () => {
  const path = join(tempFolder(), 'archive.tar');
  writeFileSync(path, await writeTar([file('a', 'one'), file('b', 'two')]));
  const shown = `${path}: b`;
  assert.deepEqual(indexFile(path).get('b'), {
    ...{ kind: 'file', path, shown },
    ...{ offset: 1536, size: 3, whole: false },
  });
});

test('a member of 20 GiB is passed over, not read', { timeout: 10_000 }, async () => {
  const path = join(tempFolder(), 'large.tar');
  const size = 20 * 1024 ** 3;
  const fd = openSync(path, 'w');
  writeSync(fd, await tarHead('large', size));
  ftruncateSync(fd, 512 + size);
  writeSync(fd, await tarHead('after', 3), 0, 512, 512 + size);
  writeSync(fd, Buffer.concat([Buffer.from('two'), Buffer.alloc(509)]), 0, 512, 1024 + size);
  closeSync(fd);
  const index = indexFile(path);
  assert.deepEqual([index.get('large')?.size, index.get('after')?.size], [size, 3]);
});
