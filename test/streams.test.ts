import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { before, describe, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { convert, type Place } from '../src/index.js';
import type { LocalBytes } from '../src/bytes/region.js';
import { indexFile } from '../src/codecs/tar-file.js';
import type { TarIndex } from '../src/codecs/tar-index.js';
import { indexStream } from '../src/codecs/tar-pipe.js';
import { expected, fixture, unpacked } from './support/fixtures.js';
import {
  artifactOf,
  descriptorOf,
  digestText,
  imageOf,
  layStore,
  OCI,
  part,
  type Sample,
} from './support/images.js';
import { archiveOf, entriesOf, layoutFiles, mixedArchive, savedFiles } from './support/layouts.js';
import { LOCAL_FORMATS, imageIdsOf, newPlace, place } from './support/places.js';
import { peakMemory, piped, start, until, within, type Ended } from './support/processes.js';
import { contentsOf, filesIn, stagingIn } from './support/snapshot.js';
import { bodyOf, file, link, readTarFile, tarOf, writeTar, type TarMember } from './support/tars.js';
import { tempFolder } from './support/temp.js';
import { runHere } from './torture/campaign.js';
import { ARCHIVES, expectSameWays, pipe as pipeCampaign } from './torture/pipe.js';
import { rawTar } from './torture/raw-tar.js';

async function convertAll(
  from: Place,
  to: Place,
  options: Parameters<typeof convert>[2] = {},
): Promise<void> {
  const { images } = await convert(from, to, options);
  for (const { source, status, error } of images)
    assert.equal(status, 'written', `${source}: ${error?.message ?? ''}`);
}

function assertDone({ status, stderr }: Ended): void {
  assert.equal(status, 0, stderr);
}

/** A folder to be the system's for temporary files: nothing of ours may be in it. */
function ownTmp(): { folder: string; env: NodeJS.ProcessEnv } {
  const folder = tempFolder();
  return { folder, env: { TMPDIR: folder } };
}

function assertNothingAt(path: string): void {
  assert.deepEqual(filesIn(path), [], 'no file is left');
  assert.deepEqual(stagingIn(dirname(path)), [], 'no unfinished work is left');
}

/** The members of an archive with manifest.json where it is wanted. */
async function withManifest(name: string, where: 'first' | 'last'): Promise<Buffer> {
  const members = await readTarFile(fixture(name));
  const isManifest = ({ header }: TarMember) => header.name === 'manifest.json';
  const others = members.filter((member) => !isManifest(member));
  const manifest = members.filter(isManifest);
  return writeTar(where === 'first' ? [...manifest, ...others] : [...others, ...manifest]);
}

describe('an archive on standard input is as one in a file:', () => {
  for (const name of ['docker20.tar', 'docker28.tar', 'crane.tar']) {
    for (const where of ['first', 'last'] as const) {
      for (const { short } of LOCAL_FORMATS) {
        for (const compression of ['keep', 'gzip']) {
          // The order matters to the reader, the target to the writer: each pair once is enough.
          if (name === 'crane.tar' && short !== 'reg') continue;
          if (name === 'docker28.tar' && short !== 'oci') continue;
          if (name === 'docker20.tar' && where === 'first' && compression === 'keep') continue;
          test(`${name}, manifest.json ${where}, to ${short}, ${compression}`, async () => {
            const archive = join(tempFolder(), 'images.tar');
            writeFileSync(archive, await withManifest(name, where));
            const byName = newPlace(short);
            await convertAll(place('tar', archive), byName, {
              compression: compression === 'gzip' ? 'gzip' : 'keep',
            });
            const target = newPlace(short);
            const { folder, env } = ownTmp();
            const words = [`tar2${short}`, '-', target.path, '--compression', compression];
            assertDone(await piped(words, readFileSync(archive), { env }));
            assert.deepEqual(contentsOf(target.path), contentsOf(byName.path));
            assert.deepEqual(stagingIn(dirname(target.path)), []);
            assert.deepEqual(readdirSync(folder), [], 'no copy in the folder for temporary files');
          });
        }
      }
    }
  }

  const untold = {
    'with manifests of its own': () => readFileSync(fixture('docker28.tar')),
    'without any': () => readFileSync(fixture('docker20.tar')),
    'with manifests of some images': () => mixedArchive(),
    'whose blobs are links to what is compressed on its way': () => mixedArchive('linked'),
  };
  for (const [what, make] of Object.entries(untold)) {
    for (const short of ['reg', 'dir']) {
      test(`${what}, to ${short}, with no word of compression`, async () => {
        const archive = join(tempFolder(), 'images.tar');
        writeFileSync(archive, await make());
        const [byName, target] = [newPlace(short), newPlace(short)];
        await convertAll(place('tar', archive), byName);
        assertDone(await piped([`tar2${short}`, '-', target.path], readFileSync(archive)));
        assert.deepEqual(contentsOf(target.path), contentsOf(byName.path));
      });
    }
  }

  test('with a tar in it that is no layer, to be compressed: it stays as it is', async () => {
    const blob = part('application/x-tar', await tarOf({ 'etc/data': 'no file system' }));
    const { root, blobs } = artifactOf('data');
    const manifest = JSON.parse(root.bytes.toString()) as object;
    const data = {
      root: part(OCI.manifest, { ...manifest, layers: [descriptorOf(blob)] }),
      members: [],
      blobs: [...blobs.slice(0, 1), blob],
      platform: undefined,
    };
    const [archive, byName, target] = [join(tempFolder(), 'data.tar'), newPlace('reg'), newPlace('reg')];
    writeFileSync(archive, await archiveOf(layoutFiles(entriesOf({ 'demo/data:1': data }))));
    await convertAll(place('ocitar', archive), byName, { compression: 'gzip' });
    const words = ['ocitar2reg', '-', target.path, '--compression', 'gzip'];
    assertDone(await piped(words, readFileSync(archive)));
    assert.deepEqual(contentsOf(target.path), contentsOf(byName.path));
  });

  test('from before Docker 1.10', async () => {
    const target = newPlace('reg');
    assertDone(await piped(['tar2reg', '-', target.path], readFileSync(fixture('legacy-v1.tar'))));
    assert.deepEqual(await imageIdsOf(target), expected.imageIds['legacy-v1.tar']);
  });

  for (const short of ['reg', 'ocitar', 'oci']) {
    test(`an OCI archive to ${short}`, async () => {
      const [byName, target] = [newPlace(short), newPlace(short)];
      await convertAll(place('ocitar', fixture('oci.tar')), byName);
      assertDone(await piped([`ocitar2${short}`, '-', target.path], readFileSync(fixture('oci.tar'))));
      assert.deepEqual(contentsOf(target.path), contentsOf(byName.path));
    });
  }

  test('ls and inspect read it, too', async () => {
    const archive = readFileSync(fixture('docker20.tar'));
    const listed = await piped(['ls', '-', '--json'], archive);
    assertDone(listed);
    const names = (JSON.parse(listed.stdout.toString()) as { name: string }[]).map(({ name }) => name);
    assert.deepEqual(names.sort(), Object.keys(expected.imageIds['docker20.tar'] ?? {}).sort());
    const shown = await piped(['inspect', '-', 'demo/app:1.0'], archive);
    assertDone(shown);
    assert.ok(shown.stdout.includes(expected.imageIds['docker20.tar']?.['demo/app:1.0'] ?? 'no such ID'));
  });

  test('some images of it, by name', async () => {
    const target = newPlace('reg');
    assertDone(
      await piped(['tar2reg', '-', target.path, 'demo/app:1.0'], readFileSync(fixture('docker20.tar'))),
    );
    const { 'demo/app:1.0': id = '' } = expected.imageIds['docker20.tar'] ?? {};
    assert.deepEqual(await imageIdsOf(target), { 'demo/app:1.0': id });
    const byName = newPlace('reg');
    const selectors = [{ text: 'demo/app:1.0', rename: undefined, where: 'test' }];
    await convertAll(place('tar', fixture('docker20.tar')), byName, { selectors });
    assert.deepEqual(contentsOf(target.path), contentsOf(byName.path), 'and no blob of the others');
  });

  for (const program of ['gzip', 'zstd', 'xz', 'bzip2']) {
    const skip =
      spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined
        ? false
        : `no ${program} here`;
    test(`packed by ${program}`, { skip }, async () => {
      const [byName, target] = [newPlace('reg'), newPlace('reg')];
      const plain = readFileSync(fixture('docker20.tar'));
      const packed = execFileSync(program, ['-c', '-q'], { input: plain, maxBuffer: 1 << 28 });
      await convertAll(place('tar', fixture('docker20.tar')), byName);
      assertDone(await piped(['tar2reg', '-', target.path], packed));
      assert.deepEqual(contentsOf(target.path), contentsOf(byName.path));
      const cut = newPlace('reg');
      const { status, stderr } = await piped(
        ['tar2reg', '-', cut.path],
        packed.subarray(0, packed.length - 20),
      );
      assert.equal(status, 1, 'cut off by 20 bytes');
      assert.match(stderr, /stdin.*cut off/);
      assertNothingAt(cut.path);
    });
  }

  const garbage = {
    'zeros, as tar -b writes': Buffer.alloc(100_000),
    'other bytes': Buffer.from('garbage '.repeat(9000)),
  };
  for (const [what, after] of Object.entries(garbage)) {
    test(`with ${what} after its end`, async () => {
      const [byName, target] = [newPlace('oci'), newPlace('oci')];
      await convertAll(place('tar', fixture('docker28.tar')), byName);
      const archive = Buffer.concat([readFileSync(fixture('docker28.tar')), after]);
      assertDone(await piped(['tar2oci', '-', target.path], archive));
      assert.deepEqual(contentsOf(target.path), contentsOf(byName.path));
    });
  }

  for (const [what, input] of [
    ['nothing', Buffer.alloc(0)],
    ['few bytes', Buffer.from('no tar')],
    ['no tar', Buffer.from('no tar '.repeat(1000))],
    ['a tar without images', undefined],
  ] as const) {
    test(`${what} on standard input is refused`, async () => {
      const target = newPlace('reg');
      const { status, stdout, stderr } = await piped(
        ['tar2reg', '-', target.path],
        input ?? (await tarOf({ 'a/b': 'c' })),
      );
      assert.deepEqual([status, stdout.length], [1, 0]);
      assert.match(stderr, /^imgconv: stdin: /);
      assertNothingAt(target.path);
    });
  }
});

describe('a file and a pipe agree on', () => {
  for (const name of ARCHIVES)
    for (const short of ['reg', 'dir', 'oci', 'tar'])
      test(`${name} into ${short}`, async () => {
        for (const options of [{}, { compression: 'keep' }, { compression: 'gzip' }] as const)
          await expectSameWays(readFileSync(fixture(name)), short, options);
      });

  /** docker20.tar's demo/app:1.0, changed; its layers are plain, of some kilobytes, and in two folders. */
  async function changed(change: (members: TarMember[], layers: string[]) => TarMember[]): Promise<Buffer> {
    const all = await readTarFile(fixture('docker20.tar'));
    const entries = JSON.parse(bodyOf(all, 'manifest.json').toString()) as {
      RepoTags: string[];
      Layers: string[];
    }[];
    const entry = entries.find(({ RepoTags }) => RepoTags[0] === 'demo/app:1.0');
    assert.ok(entry !== undefined && entry.Layers.length > 1);
    const members = all.filter(({ header }) => header.name !== 'manifest.json');
    const now = change(members, entry.Layers);
    return writeTar([...now, file('manifest.json', JSON.stringify([entry]))]);
  }
  const [elsewhere, outside] = ['elsewhere.tar', '../../../outside/layer.tar'];

  /** Instead of the first layer a link; its content lies at the root, under another name. */
  const linked = (type: 'link' | 'symlink', to: string) => (members: TarMember[], layers: string[]) =>
    members.flatMap((one) =>
      one.header.name === layers[0] ? [file(elsewhere, one.body), link(type, layers[0], to)] : [one],
    );
  const CASES: Readonly<Record<string, [code: string, archive: () => Promise<Buffer>]>> = {
    'layers in the wrong order': [
      'DIGEST_MISMATCH',
      () =>
        changed((members, layers) => {
          layers.reverse();
          return members;
        }),
    ],
    'a link out of the archive, whose content is in it': [
      'ARCHIVE_INVALID',
      () => changed(linked('symlink', outside)),
    ],
    'an absolute link': ['ARCHIVE_INVALID', () => changed(linked('link', '/etc/passwd'))],
    'a link to a member': ['written', () => changed(linked('link', elsewhere))],
    'a link to nothing': ['ARCHIVE_INVALID', () => changed(linked('link', 'nowhere'))],
    'a layer that is only at the root of the archive': [
      'BLOB_MISSING',
      () =>
        changed((members, layers) =>
          members.map((one) => (one.header.name === layers[0] ? file(elsewhere, one.body) : one)),
        ),
    ],
    'another layer in its place, and it at the root': [
      'DIGEST_MISMATCH',
      () =>
        changed((members, layers) =>
          members.flatMap((one) =>
            one.header.name === layers[0]
              ? [file(elsewhere, one.body), file(layers[0], bodyOf(members, layers[1] ?? ''))]
              : [one],
          ),
        ),
    ],
    'a layer that is there twice, the second time damaged': [
      'DIGEST_MISMATCH',
      () =>
        changed((members, layers) => [
          ...members,
          file(layers[0] ?? '', Buffer.concat([bodyOf(members, layers[0] ?? ''), Buffer.alloc(512)])),
        ]),
    ],
    'a config that is a tar': [
      'MANIFEST_INVALID',
      () =>
        changed((members, layers) =>
          members.map((one) =>
            one.header.name.endsWith('.json') && one.body.includes('"rootfs"')
              ? file(one.header.name, bodyOf(members, layers[0] ?? ''))
              : one,
          ),
        ),
    ],
    'an artifact whose blob is a tar': [
      'written',
      async () => {
        const tar = await tarOf({ a: 'b'.repeat(2000) });
        const config = part('application/vnd.oci.empty.v1+json', Buffer.from('{}'));
        const blob = part('application/vnd.example.files.tar', tar);
        const root = part(OCI.manifest, {
          schemaVersion: 2,
          mediaType: OCI.manifest,
          artifactType: 'application/vnd.example',
          config: descriptorOf(config),
          layers: [descriptorOf(blob)],
        });
        return archiveOf(
          savedFiles({ 'demo/files:1': { root, blobs: [config, blob], members: [], platform: undefined } }),
        );
      },
    ],
    'a member that says it is larger than the disk': [
      'ARCHIVE_INVALID',
      () => Promise.resolve(rawTar([{ name: 'large', body: Buffer.alloc(100), size: 2 ** 50 }])),
    ],
    'more zeros after its end than are looked at': [
      'ARCHIVE_INVALID',
      () =>
        Promise.resolve(Buffer.concat([readFileSync(fixture('crane.tar')), Buffer.alloc(65 * 1024 ** 2)])),
    ],
  };
  for (const [title, [code, archive]] of Object.entries(CASES))
    test(title, async () => {
      const bytes = await archive();
      for (const packed of [bytes, gzipSync(bytes, { level: 1 })])
        for (const options of [{}, { compression: 'keep' }, { compression: 'zstd' }] as const) {
          // Docker's manifests have no zstd.
          if (options.compression === 'zstd' && code !== 'ARCHIVE_INVALID') continue;
          assert.equal(await expectSameWays(packed, 'reg', options), code, JSON.stringify(options));
        }
    });

  test('archives that were made by chance', { timeout: 120_000 }, async () => {
    const failed: string[] = [];
    const outcomes = new Set<string>();
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    await runHere(pipeCampaign, 'short', numbers, ({ number, outcome, why }) => {
      if (why !== undefined)
        failed.push(`npm run test:hostile -- pipe --seed short --only ${number}: ${why}`);
      if (outcome !== undefined) outcomes.add(outcome);
    });
    assert.deepEqual(failed, []);
    for (const outcome of ['written', 'ARCHIVE_INVALID', 'DIGEST_MISMATCH', 'MANIFEST_INVALID'])
      assert.ok(outcomes.has(outcome), [...outcomes].join());
  });
});

describe('an archive that is cut off', () => {
  /** Blobs of some kilobytes first, so that all of them were staged when the end comes. */
  let archive: Buffer;
  let places: Record<string, number>;

  before(async () => {
    archive = readFileSync(fixture('docker28.tar'));
    const index = indexFile(fixture('docker28.tar'));
    const members = index.names().flatMap((name) => {
      const at = index.get(name);
      return at?.kind === 'file' ? [{ name, offset: at.offset, size: at.size }] : [];
    });
    const layer = members.find(({ size }) => size === 8704);
    const later = members.find(({ name }) => name === 'manifest.json');
    assert.ok(layer !== undefined && later !== undefined);
    places = {
      'in the first header': 100,
      'in the header of a layer': layer.offset - 200,
      'in a layer': layer.offset + 5000,
      'in the middle of manifest.json': later.offset + 10,
      'after a header': layer.offset,
      'between two members': layer.offset - 512,
      'in the padding after a member': later.offset + later.size + 3,
    };
    await Promise.resolve();
  });

  for (const what of [
    'in the first header',
    'in the header of a layer',
    'in a layer',
    'in the middle of manifest.json',
    'after a header',
    'between two members',
    'in the padding after a member',
  ]) {
    test(`${what}: the error says where it ended, and nothing is left`, async () => {
      const length = places[what] ?? 0;
      for (const short of what === 'in a layer' ? ['reg', 'oci', 'dir', 'tar'] : ['reg']) {
        const target = newPlace(short);
        const { folder, env } = ownTmp();
        const cut = archive.subarray(0, length);
        const { status, stdout, stderr } = await piped([`tar2${short}`, '-', target.path], cut, { env });
        assert.deepEqual([status, stdout.length], [1, 0], stderr);
        assert.match(stderr, new RegExp(`stdin: .*\\b${length}\\b`), 'where it ended');
        assertNothingAt(target.path);
        assert.deepEqual(readdirSync(folder), []);
      }
    });
  }

  test('in gzip: an error, and nothing is left', async () => {
    const packed = gzipSync(archive);
    for (const length of [5, packed.length >> 1, packed.length - 4]) {
      const target = newPlace('reg');
      const { status, stderr } = await piped(['tar2reg', '-', target.path], packed.subarray(0, length));
      assert.equal(status, 1, `${length} bytes`);
      assert.match(stderr, /stdin: cut off/);
      assertNothingAt(target.path);
    }
  });

  test('in a file: an error, and nothing is left', async () => {
    for (const [what, length] of Object.entries(places)) {
      const path = join(tempFolder(), 'cut.tar');
      writeFileSync(path, archive.subarray(0, length));
      const target = newPlace('reg');
      await assert.rejects(convert(place('tar', path), target), { name: 'ImgconvError' }, what);
      assertNothingAt(target.path);
    }
  });

  test('does not hurt what was in the destination', async () => {
    const target = newPlace('reg');
    await convertAll(place('tar', fixture('docker20.tar')), target);
    const before = contentsOf(target.path);
    const { status } = await piped(['tar2reg', '-', target.path], archive.subarray(0, places['in a layer']));
    assert.equal(status, 1);
    assert.deepEqual(contentsOf(target.path), before);
  });
});

describe('an archive on standard output', () => {
  const store = () => unpacked('registry.tar');

  for (const short of ['tar', 'ocitar']) {
    for (const flags of [
      [],
      ['--layers', 'uncompressed'],
      ['--archive-compression', 'gzip'],
      ['--archive-compression', 'zstd'],
    ]) {
      if (short === 'ocitar' && flags[1] !== 'gzip') continue;
      test(`is the file that is written by name: reg2${short} ${flags.join(' ')}`, async () => {
        const path = join(tempFolder(), 'images');
        assertDone(await piped([`reg2${short}`, store(), path, ...flags], Buffer.alloc(0)));
        const { folder, env } = ownTmp();
        const { status, stdout, stderr } = await piped(
          [`reg2${short}`, store(), '-', ...flags],
          Buffer.alloc(0),
          { env },
        );
        assert.equal(status, 0, stderr);
        assert.ok(stdout.equals(readFileSync(path)), 'the same bytes');
        assert.match(stderr, /11 images: 11 written/, 'the report is on stderr');
        assert.deepEqual(readdirSync(folder), [], 'no unfinished work is left');
      });
    }
  }

  test('has the report as JSON on stderr with --json', async () => {
    const plain = await piped(['reg2tar', store(), '-'], Buffer.alloc(0));
    const { status, stdout, stderr } = await piped(['reg2tar', store(), '-', '--json'], Buffer.alloc(0));
    assert.equal(status, 0);
    assert.ok(stdout.equals(plain.stdout));
    const { images } = JSON.parse(stderr) as { images: { status: string }[] };
    assert.equal(images.length, 11);
  });

  test('has nothing but the archive on stdout when an image fails', async () => {
    const { status, stdout, stderr } = await piped(
      ['reg2tar', store(), '-', 'demo/base:1', 'demo/unknown:1'],
      Buffer.alloc(0),
    );
    assert.equal(status, 1);
    assert.match(stderr, /demo\/unknown:1: no such image/);
    const path = join(tempFolder(), 'images.tar');
    writeFileSync(path, stdout);
    assert.deepEqual(Object.keys(await imageIdsOf(place('tar', path))), ['demo/base:1']);
  });

  test('is empty when nothing can be converted', async () => {
    const { status, stdout } = await piped(['reg2tar', store(), '-', 'demo/unknown:1'], Buffer.alloc(0));
    assert.deepEqual([status, stdout.length], [1, 0]);
  });

  test('from standard input: tar2tar - -', async () => {
    const { status, stdout, stderr } = await piped(
      ['tar2tar', '-', '-'],
      readFileSync(fixture('docker28.tar')),
    );
    assert.equal(status, 0, stderr);
    const path = join(tempFolder(), 'images.tar');
    writeFileSync(path, stdout);
    assert.deepEqual(await imageIdsOf(place('tar', path)), expected.imageIds['docker28.tar']);
  });

  test('of a dry run is nothing, and the plan is on stderr', async () => {
    const { status, stdout, stderr } = await piped(['reg2tar', store(), '-', '--dry-run'], Buffer.alloc(0));
    assert.deepEqual([status, stdout.length], [0, 0]);
    assert.match(stderr, /nothing was written/);
  });
});

describe('the compression of an archive file', () => {
  const source = () => place('reg', unpacked('registry.tar'));
  const hasZstd = spawnSync('zstd', ['--version'], { stdio: 'ignore' }).error === undefined;
  const unzstd = (bytes: Buffer) => execFileSync('zstd', ['-dcq'], { input: bytes, maxBuffer: 1 << 28 });
  let plain: Buffer;

  before(async () => {
    const path = join(tempFolder(), 'plain');
    await convertAll(source(), place('tar', path));
    plain = readFileSync(path);
  });

  const cases = [
    { name: 'images.tar.gz', flag: undefined, packing: 'gzip' },
    { name: 'images.tgz', flag: undefined, packing: 'gzip' },
    { name: 'images.tar.zst', flag: undefined, packing: 'zstd' },
    { name: 'images.tar', flag: 'gzip', packing: 'gzip' },
    { name: 'images.tar', flag: 'zstd', packing: 'zstd' },
    { name: 'images.tar.gz', flag: 'none', packing: 'none' },
    { name: 'images.tar.zst', flag: 'gzip', packing: 'gzip' },
  ] as const;
  for (const { name, flag, packing } of cases) {
    const skip = packing === 'zstd' && !hasZstd ? 'no zstd here' : false;
    test(
      `${name}${flag === undefined ? '' : ` --archive-compression ${flag}`}: ${packing}`,
      { skip },
      async () => {
        const path = join(tempFolder(), name);
        await convertAll(source(), place('tar', path), { archiveCompression: flag });
        const bytes = readFileSync(path);
        const got = packing === 'none' ? bytes : packing === 'gzip' ? gunzipSync(bytes) : unzstd(bytes);
        assert.ok(got.equals(plain));
        assert.deepEqual(stagingIn(dirname(path)), []);
        const again = newPlace('reg');
        await convertAll(place('tar', path), again, { compression: 'keep' });
      },
    );
  }

  for (const name of ['images.tar.xz', 'images.tar.bz2', 'images.txz']) {
    test(`${name} is refused`, async () => {
      const path = join(tempFolder(), name);
      const command = name.endsWith('.txz') ? 'reg2ocitar' : 'reg2tar';
      const { status, stdout, stderr } = await piped(
        [command, unpacked('registry.tar'), path],
        Buffer.alloc(0),
      );
      assertNothingAt(path);
      assert.match(stderr, /archives are written plain, as \.gz or as \.zst/);
      assert.equal(status, 2, 'wrong usage');
      assert.equal(stdout.length, 0);
      assert.equal(stderr.split('archives are written').length, 2, 'said once');
    });
  }
});

/** An archive of one image with so many layers of so many bytes, as it passes; nothing of it is held. */
interface BigImage {
  readonly size: number;
  chunks(): AsyncGenerator<Buffer>;
}

const MEGABYTE = 1024 * 1024;

/** Bytes that do not compress to nothing: a block of noise, with its number in each megabyte. */
function bigImage(layers: number, megabytes: number, manifestFirst: boolean): BigImage {
  const noise = Buffer.alloc(MEGABYTE);
  for (let i = 0, x = 1; i < MEGABYTE; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    noise[i] = (x >>> 16) & (i % 3 === 0 ? 0xff : 0x0f);
  }
  function* layer(number: number): Generator<Buffer> {
    yield header('data', megabytes * MEGABYTE);
    for (let i = 0; i < megabytes; i++) {
      const block = Buffer.from(noise);
      block.write(`${number} ${i} `, 0);
      yield block;
    }
    yield Buffer.alloc(1024);
  }
  const layerSize = megabytes * MEGABYTE + 512 + 1024;
  const diffIds = Array.from({ length: layers }, (_, i) => {
    const hash = createHash('sha256');
    for (const block of layer(i)) hash.update(block);
    return `sha256:${hash.digest('hex')}`;
  });
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: diffIds },
    }),
  );
  const names = diffIds.map((_, i) => `${i}/layer.tar`);
  const manifest = Buffer.from(
    JSON.stringify([{ Config: 'config.json', RepoTags: ['demo/big:1'], Layers: names }]),
  );
  function* small(name: string, bytes: Buffer): Generator<Buffer> {
    yield header(name, bytes.length);
    yield bytes;
    yield Buffer.alloc((512 - (bytes.length % 512)) % 512);
  }
  async function* chunks(): AsyncGenerator<Buffer> {
    await Promise.resolve();
    if (manifestFirst) yield* small('manifest.json', manifest);
    for (const [i, name] of names.entries()) {
      yield header(name, layerSize);
      yield* layer(i);
      yield Buffer.alloc((512 - (layerSize % 512)) % 512);
    }
    yield* small('config.json', config);
    if (!manifestFirst) yield* small('manifest.json', manifest);
    yield Buffer.alloc(1024);
  }
  return { size: layers * layerSize, chunks };
}

/** A ustar header (POSIX 1003.1), as far as this needs one. */
function header(name: string, size: number): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0);
  block.write(
    `0000644\x000000000\x000000000\x00${size.toString(8).padStart(11, '0')}\x0000000000000\x00        0`,
    100,
    'latin1',
  );
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\x00 `, 148, 'latin1');
  return block;
}

/** Runs the command on this input, and gives the most memory that it had. */
async function peakOf(
  words: readonly string[],
  image: BigImage,
  env: NodeJS.ProcessEnv,
): Promise<Ended & { peak: number }> {
  const { child, ended } = start(words, { env });
  let peak = 0;
  const watching = setInterval(() => {
    peak = Math.max(peak, peakMemory(child.pid ?? 0));
  }, 20);
  try {
    Readable.from(image.chunks()).pipe(child.stdin);
    return { ...(await ended), peak };
  } finally {
    clearInterval(watching);
  }
}

describe('memory stays bounded', { skip: existsSync('/proc/self/status') ? false : 'no /proc here' }, () => {
  const big = process.env['IMGCONV_BIG'] === '1';
  // Node 22 and later start larger. Compressing, up to 107 MiB were seen on 20 and 129 MiB on 24.
  const limit = (Number(process.versions.node.split('.')[0]) < 22 ? 130 : 150) * MEGABYTE;
  const runs = [
    { what: '300 MB, kept', layers: 3, megabytes: 100, flags: ['--compression', 'keep'], only: false },
    {
      what: '300 MB, compressed',
      layers: 3,
      megabytes: 100,
      flags: ['--compression-level', '1'],
      only: false,
    },
    { what: '3 GB, kept', layers: 3, megabytes: 1024, flags: ['--compression', 'keep'], only: true },
    { what: '3 GB, compressed', layers: 3, megabytes: 1024, flags: ['--compression-level', '1'], only: true },
  ];
  for (const { what, layers, megabytes, flags, only } of runs) {
    test(
      `${what}, through a pipe into a store`,
      { skip: only && !big ? 'IMGCONV_BIG=1 runs it' : false },
      async () => {
        const target = newPlace('reg');
        const { folder, env } = ownTmp();
        const image = bigImage(layers, megabytes, what.includes('kept'));
        const { status, stderr, peak } = await peakOf(['tar2reg', '-', target.path, ...flags], image, env);
        assert.equal(status, 0, stderr);
        assert.ok(peak > 20 * MEGABYTE, `measured ${peak}`);
        assert.ok(peak < limit, `${Math.round(peak / MEGABYTE)} MB`);
        const others = filesIn(target.path).filter((name) => !name.startsWith('docker/registry/v2/'));
        assert.deepEqual([others, stagingIn(target.path), readdirSync(folder)], [[], [], []]);
      },
    );
  }
});

/** An image whose layer is too large for a pipe to hold. */
async function largeStore(): Promise<string> {
  const noise = Buffer.alloc(24 * MEGABYTE);
  for (let i = 0, x = 7; i < noise.length; i += 4) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    noise.writeUInt32LE(x, i);
  }
  const tar = await tarOf({ noise });
  const [layer, config] = [
    part(OCI.layer, tar),
    part(OCI.config, {
      os: 'linux',
      architecture: 'amd64',
      config: {},
      rootfs: { type: 'layers', diff_ids: [digestText(tar)] },
    }),
  ];
  const gzip = part(OCI.gzip, gzipSync(tar, { level: 1 }));
  const manifest = (one: typeof layer) =>
    part(OCI.manifest, {
      schemaVersion: 2,
      mediaType: OCI.manifest,
      config: descriptorOf(config),
      layers: [descriptorOf(one)],
    });
  const sample = (one: typeof layer): Sample => ({
    root: manifest(one),
    members: [],
    blobs: [config, one],
    platform: undefined,
  });
  return layStore(tempFolder(), { 'demo/large:1': sample(layer), 'demo/large:gzip': sample(gzip) });
}

describe('a pipe that ends early or is slow', () => {
  let store: string;

  before(async () => {
    store = await largeStore();
  });

  for (const flags of [
    [],
    ['--layers', 'uncompressed'],
    ['--archive-compression', 'gzip'],
    ['--archive-compression', 'zstd'],
  ]) {
    test(`a reader that closes after 100 bytes makes a failure, not a hang: reg2tar ${flags.join(' ')}`, async () => {
      const { folder, env } = ownTmp();
      const { child, ended } = start(['reg2tar', store, '-', 'demo/large:gzip', ...flags], {
        env,
        readStdout: false,
      });
      await once(child.stdout, 'readable');
      child.stdout.read(100);
      child.stdout.destroy();
      const { status, signal } = await within(15, 'the end of imgconv', ended);
      assert.ok(status !== 0 || signal !== undefined, 'a failure');
      assert.deepEqual(readdirSync(folder), [], 'no unfinished work is left');
    });
  }

  const signals = [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const;
  for (const [signal, wanted] of signals) {
    for (const short of signal === 'SIGINT' ? ['reg', 'oci', 'dir', 'tar'] : ['reg']) {
      test(`${signal} while tar2${short} waits for its input: ${wanted}, and nothing is left`, async () => {
        const target = newPlace(short);
        const { folder, env } = ownTmp();
        const { child, ended } = start(['tar2' + short, '-', target.path], { env });
        const archive = readFileSync(fixture('docker20.tar'));
        child.stdin.write(archive.subarray(0, 40_000));
        await until('staged work', () => stagingIn(dirname(target.path)).some((name) => /\/\d+$/.test(name)));
        child.kill(signal);
        const { status, stderr } = await within(10, 'the end of imgconv', ended);
        assert.equal(status, wanted, stderr);
        assert.match(stderr, /interrupted/);
        assertNothingAt(target.path);
        assert.deepEqual(readdirSync(folder), []);
        child.stdin.destroy();
      });
    }

    for (const flags of [[], ['--layers', 'uncompressed'], ['--archive-compression', 'gzip']]) {
      test(`${signal} while reg2tar ${flags.join(' ')} waits for its reader: ${wanted}, and nothing is left`, async () => {
        const { folder, env } = ownTmp();
        const { child, ended } = start(['reg2tar', store, '-', 'demo/large:gzip', ...flags], {
          env,
          readStdout: false,
        });
        await once(child.stdout, 'readable');
        await delay(300); // Until the pipe is full.
        child.kill(signal);
        try {
          const { status, stderr } = await within(10, 'the end of imgconv', ended);
          assert.equal(status, wanted, stderr);
        } finally {
          child.stdout.destroy();
          child.kill('SIGKILL');
        }
        assert.deepEqual(readdirSync(folder), [], 'no unfinished work is left');
      });
    }
  }
});

/** Keeps all members in memory: what is tested is how a stream is cut into them. */
const memorySpool = {
  async add(path: string, chunks: AsyncIterable<Uint8Array>): Promise<LocalBytes> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(new Uint8Array(chunk));
    const bytes = Buffer.concat(parts);
    return { kind: 'memory', path, size: bytes.length, bytes };
  },
};

async function* inChunks(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

function bodiesOf(index: TarIndex): Record<string, string> {
  return Object.fromEntries(
    index.names().map((name) => {
      const at = index.get(name);
      return [name, at?.kind === 'memory' ? digestText(at.bytes) : (at?.kind ?? 'nothing')];
    }),
  );
}

describe('a tar comes in pieces of any size:', () => {
  const archives: Readonly<Record<string, () => Promise<Buffer>>> = {
    'docker20.tar, which has symbolic links': () => Promise.resolve(readFileSync(fixture('docker20.tar'))),
    'nix-stream.tar, which is PAX': () => Promise.resolve(readFileSync(fixture('nix-stream.tar'))),
    'oci.tar, whose names begin with ./': () => Promise.resolve(readFileSync(fixture('oci.tar'))),
    'long names': () =>
      writeTar([
        file(`${'folder/'.repeat(30)}file`, 'a'),
        file('ü'.repeat(120), 'b'),
        file('empty', ''),
        file('block', 'c'.repeat(512)),
      ]),
    "GNU tar's long names": () => {
      const folder = tempFolder();
      const name = 'n'.repeat(150);
      writeFileSync(join(folder, name), 'content');
      return Promise.resolve(execFileSync('tar', ['--format=gnu', '-cf', '-', '-C', folder, name]));
    },
    'no end blocks': async () => (await tarOf({ a: 'x', b: 'y'.repeat(1000) })).subarray(0, 512 * 5),
    'garbage after the end': async () =>
      Buffer.concat([await tarOf({ a: 'x' }), Buffer.from('garbage'.repeat(300))]),
  };
  for (const [what, make] of Object.entries(archives)) {
    test(what, async () => {
      const bytes = await make();
      const whole = bodiesOf(await indexStream(inChunks(bytes, bytes.length), 'whole', memorySpool));
      assert.notEqual(Object.keys(whole).length, 0);
      const path = join(tempFolder(), 'in.tar');
      writeFileSync(path, bytes);
      const inPlace = indexFile(path);
      const fromFile = inPlace.names().map((name) => {
        const at = inPlace.get(name);
        assert.ok(at?.kind === 'file');
        return [name, digestText(bytes.subarray(at.offset, at.offset + at.size))];
      });
      assert.deepEqual(whole, Object.fromEntries(fromFile), 'as the file is read in place');
      for (const size of [1, 3, 64, 511, 513])
        assert.deepEqual(
          bodiesOf(await indexStream(inChunks(bytes, size), 'pieces', memorySpool)),
          whole,
          `${size}`,
        );
    });
  }

  for (const size of [1, 3, 64]) {
    test(`cut off, in pieces of ${size}`, async () => {
      const bytes = readFileSync(fixture('docker20.tar'));
      for (const [length, words] of [
        [300, /not a tar, it has 300 bytes/],
        [700, /cut off after 700 bytes, in /],
      ] as const) {
        const cut = (await tarOf({ 'a/b': bytes.subarray(0, 1000) })).subarray(0, length);
        await assert.rejects(indexStream(inChunks(cut, size), 'cut.tar', memorySpool), words);
      }
    });
  }
});

test('an archive with images of every kind passes through a pipe', async () => {
  const images = {
    'demo/one:1': await imageOf('one'),
    'demo/plain:1': await imageOf('plain', { compress: false, family: OCI }),
  };
  for (const [command, bytes] of [
    ['tar2dir', await archiveOf(savedFiles(images))],
    ['ocitar2dir', await archiveOf(layoutFiles(entriesOf(images)))],
  ] as const) {
    const target = newPlace('dir');
    assertDone(await piped([command, '-', target.path, '--compression', 'keep'], bytes));
    for (const [name, { root }] of Object.entries(images))
      assert.deepEqual(readFileSync(join(target.path, name, 'manifest.json')), root.bytes);
  }
});
