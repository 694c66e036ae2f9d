import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { headOf, type LocalBytes } from '../src/bytes/region.js';
import { indexFile } from '../src/codecs/tar-file.js';
import type { TarIndex } from '../src/codecs/tar-index.js';
import { indexStream } from '../src/codecs/tar-pipe.js';
import { ImgconvError } from '../src/model/errors.js';
import { Random } from './bench/random.js';
import { chunksOf, concat } from './support/chunks.js';
import { fixture } from './support/fixtures.js';
import { digestText } from './support/images.js';
import { tempFolder } from './support/temp.js';
import { mutateSaved } from './torture/mutate-saved.js';
import { mutateTar } from './torture/mutate-tar.js';
import { pick } from './torture/nasty-values.js';
import { soundArchives } from './torture/pipe.js';
import { pax, rawHeader, rawMember, rawTar } from './torture/raw-tar.js';

/** `IMGCONV_TARS=5000 node --test dist/test/tar-decoders.test.js` is the long run; IMGCONV_SEED gives one again. */
const RUNS = Number(process.env['IMGCONV_TARS'] ?? 400);
const SEED = process.env['IMGCONV_SEED'] ?? 'decoders';

const spool = {
  add: async (path: string, chunks: AsyncIterable<Uint8Array>): Promise<LocalBytes> => {
    const bytes = await concat(chunks);
    return { kind: 'memory', path, size: bytes.length, bytes };
  },
};

/** The members and what they lead to, or the code of the refusal. */
async function outcomeOf(read: () => TarIndex | Promise<TarIndex>): Promise<unknown> {
  const orCode = (error: unknown) => {
    assert.ok(error instanceof ImgconvError, String(error));
    return error.code;
  };
  try {
    const index = await read();
    const members = index.names().map((name) => {
      try {
        const at = index.get(name);
        assert.ok(at !== undefined);
        return [name, at.size, digestText(Buffer.from(headOf(at, at.size)))];
      } catch (error) {
        return [name, orCode(error)];
      }
    });
    return { members, endedAt: index.endedAt };
  } catch (error) {
    return orCode(error);
  }
}

const path = join(tempFolder(), 'archive.tar');

/** Reads an archive in place, and as a stream with tar-stream; gives what both made of it. */
async function expectSame(bytes: Buffer, piece: number, what: string): Promise<unknown> {
  writeFileSync(path, bytes);
  const inPlace = await outcomeOf(() => indexFile(path));
  const passing = await outcomeOf(() => indexStream(chunksOf(bytes, piece), path, spool));
  assert.deepEqual(passing, inPlace, what);
  return inPlace;
}

const tars = readdirSync(fixture('.')).filter((name) => /\.tar(?:\.gz)?$/.test(name));
const contentOf = (name: string) => {
  const bytes = readFileSync(fixture(name));
  return name.endsWith('.gz') ? gunzipSync(bytes) : bytes;
};

describe('the decoder that seeks and tar-stream find the same members', () => {
  for (const name of tars) {
    test(name, async () => {
      for (const piece of [511, 4096, 1024 * 1024]) {
        const outcome = await expectSame(contentOf(name), piece, name);
        assert.equal(typeof outcome, 'object', name);
      }
    });
  }

  const one = { name: 'a', body: Buffer.from('one') };
  for (const [title, bytes] of [
    ['records that are empty', rawTar([pax(['path', ''], ['linkpath', '']), one])],
    ['two extended headers', rawTar([pax(['path', 'b'], ['size', '1']), pax(['path', 'c']), one])],
    ['a byte order mark', rawTar([{ ...one, name: '\ufeffa' }, pax(['path', '\ufeffb']), one])],
    ['a folder with a size', rawTar([{ name: 'd/', flag: '5', size: 512 }, one])],
    ['a folder of old', rawTar([{ name: 'd/', flag: '\0' }, one])],
    ['a block that has a checksum alone', Buffer.concat([rawHeader({ name: '' }), rawTar([one])])],
    ['members after the end', Buffer.concat([rawTar([one]), rawTar([{ name: 'b' }])])],
    ['garbage after the end', Buffer.concat([rawTar([one]), Buffer.alloc(5000, 'garbage')])],
  ] as const)
    test(`of an archive with ${title}`, async () => {
      assert.equal(typeof (await expectSame(bytes, 1000, title)), 'object');
    });

  for (const [title, bytes] of [
    ['a global path', rawTar([{ name: 'g', flag: 'g', body: pax(['path', 'b']).body }, one])],
    ['a link with a size', rawTar([{ name: 'l', flag: '2', link: 'a', size: 512 }, one])],
    ['a folder of old with a size', rawTar([{ name: 'd/', size: 512 }, one])],
    ['an empty extended header', rawTar([{ name: 'x', flag: 'x' }, one])],
    ["old GNU's long name", rawTar([{ name: 'x', flag: 'N', body: Buffer.from('b') }, one])],
    ['a size after NULs', rawTar([{ ...one, size: Buffer.from('\0\0       3\0\0') }])],
    ['half an extended header', rawMember(pax(['path', 'b'])).subarray(0, 700)],
    ['an extended header without its padding', rawMember(pax(['path', 'b'])).subarray(0, 530)],
  ] as const)
    test(`and both refuse one with ${title}`, async () => {
      assert.equal(await expectSame(bytes, 1000, title), 'ARCHIVE_INVALID');
    });

  test(`of ${RUNS} archives that were changed`, async () => {
    const saved = await soundArchives();
    let refused = 0;
    for (let i = 0; i < RUNS; i++) {
      const random = new Random(`${SEED} ${i}`);
      const bytes =
        random.below(4) === 0
          ? mutateSaved(pick(random, saved), random)
          : mutateTar(contentOf(pick(random, tars)), random);
      const outcome = await expectSame(bytes, pick(random, [997, 65_536]), `IMGCONV_SEED=${SEED}, ${i}`);
      if (typeof outcome === 'string') refused++;
    }
    // Changes that all readers refuse, or none, would show nothing.
    assert.ok(refused > RUNS / 5 && refused < (RUNS * 4) / 5, `${refused} of ${RUNS} refused`);
  });
});
