import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { convert, listImages, type ConvertOptions, type ErrorCode, type Place } from '../src/index.js';
import { start, within, peakMemory } from './support/processes.js';
import { contentsOf } from './support/snapshot.js';
import {
  artifactOf,
  descriptorOf,
  digestText,
  DOCKER,
  hex,
  imageOf,
  layStore,
  layTree,
  OCI,
  part,
  put,
  storedBlob,
  type Part,
  type Sample,
} from './support/images.js';
import {
  archiveOf,
  blobFile,
  CONTAINERD,
  entriesOf,
  layFiles,
  layoutFiles,
  REF,
  referrerOf,
  savedFiles,
} from './support/layouts.js';
import { formatOf, namesOf, newPlace, place } from './support/places.js';
import { tempFolder } from './support/temp.js';
import { runHere } from './torture/campaign.js';
import { fuzz } from './torture/fuzz.js';
import { NAMES, nested } from './torture/nasty-values.js';
import { END, pax, rawHeader, rawMember, rawTar, type RawMember } from './torture/raw-tar.js';
import { tryPlace, type Verdict } from './torture/trial.js';

/*
 * Places that somebody made to do harm. Whatever they hold: nothing outside the destination is touched, every error
 * is an ImgconvError, and time is bounded (`tryPlace` and `attack` see to that in each test). Memory is, where that
 * is at stake, that of a process of its own.
 */
const SECONDS = 30;

function attack(from: Place, options: ConvertOptions = {}, to = 'oci'): Promise<Verdict> {
  return within(SECONDS, 'the conversion', tryPlace(from, formatOf(to), options));
}

function archive(bytes: Buffer): Place {
  const path = join(tempFolder(), 'archive.tar');
  writeFileSync(path, bytes);
  return place('tar', path);
}

function layout(files: Readonly<Record<string, Buffer>>): Place {
  return place('oci', layFiles(join(tempFolder(), 'place'), files));
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** An image that is refused, and nothing of it written. */
async function refuses(
  from: Place,
  code: ErrorCode,
  words = '',
  options: ConvertOptions = {},
): Promise<void> {
  const { codes, errors, written } = await attack(from, options);
  assert.ok(
    codes.includes(code),
    `${codes.join(' ') || 'nothing'} refused: ${errors.map(({ message }) => message).join('; ')}`,
  );
  assert.ok(
    errors.some(({ message }) => message.includes(words)),
    errors[0]?.message,
  );
  assert.equal(written, 0);
}

const app = imageOf('app');
async function saved(): Promise<RawMember[]> {
  return Object.entries(savedFiles({ 'demo/app:1': await app })).map(([name, body]) => ({ name, body }));
}

describe('names that lead out of an archive', () => {
  // A name that ends in a slash, or does when it is cut to its field, is a folder's, which has no content.
  for (const name of NAMES.filter((one) => one !== '' && !/\/$/.test(one.slice(0, 100))))
    test(`of a member: ${JSON.stringify(name.slice(0, 40))}`, async () => {
      const { written } = await attack(
        archive(rawTar([...(await saved()), { name, body: Buffer.from('evil') }])),
      );
      // Unless it takes the place of a document, it is a key like any other.
      assert.equal(written, /^(?:manifest|index)\.json$/.test(name) ? 0 : 1);
    });

  for (const name of NAMES)
    test(`of an image: ${JSON.stringify(name.slice(0, 40))}`, async () => {
      const files = savedFiles({ 'demo/app:1': await app });
      const [entry] = JSON.parse(String(files['manifest.json'])) as object[];
      const bytes = await archiveOf({ ...files, 'manifest.json': json([{ ...entry, RepoTags: [name] }]) });
      for (const to of ['dir', 'reg', 'oci', 'tar']) await attack(archive(bytes), { scoped: true }, to);
    });

  for (const field of ['Config', 'Layers'])
    test(`of ${field}`, async () => {
      const files = savedFiles({ 'demo/app:1': await app });
      const [entry] = JSON.parse(String(files['manifest.json'])) as { Layers: string[] }[];
      for (const name of ['/etc/passwd', '../secret', '../../../etc/passwd', 'blobs/../../secret']) {
        const changed = { ...entry, [field]: field === 'Layers' ? entry?.Layers.map(() => name) : name };
        const without = Object.entries({ ...files, 'manifest.json': json([changed]) }).filter(
          ([one]) => one !== 'index.json' && one !== 'oci-layout',
        );
        await refuses(archive(await archiveOf(Object.fromEntries(without))), 'BLOB_MISSING');
      }
    });
});

describe('links in an archive', () => {
  async function withLinks(...links: readonly RawMember[]): Promise<Place> {
    const config = (await app).blobs[0];
    assert.ok(config !== undefined);
    const victim = blobFile(config.digest);
    const others = (await saved()).filter(({ name }) => name !== victim);
    return archive(
      rawTar([...others, ...links.map((link) => ({ ...link, name: link.name === '' ? victim : link.name }))]),
    );
  }
  for (const [what, ...links] of [
    ['out of it', { name: '', flag: '2', link: '../../../../../secret' }],
    ['to an absolute path', { name: '', flag: '2', link: '/etc/passwd' }],
    ['hard, to an absolute path', { name: '', flag: '1', link: '/etc/passwd' }],
    ['hard, out of it', { name: '', flag: '1', link: '../secret' }],
    ['to itself', { name: '', flag: '1', link: '' }],
    [
      'in a loop',
      { name: '', flag: '1', link: 'b' },
      { name: 'b', flag: '1', link: 'c' },
      { name: 'c', flag: '1', link: 'b' },
    ],
    ['to a folder', { name: '', flag: '1', link: 'd' }, { name: 'd/', flag: '5' }],
    [
      'in a chain of a thousand',
      { name: '', flag: '1', link: 'l0' },
      ...Array.from({ length: 1000 }, (_, i) => ({ name: `l${i}`, flag: '1', link: `l${i + 1}` })),
    ],
  ] as const)
    test(what, async () => {
      await refuses(await withLinks(...links), 'ARCHIVE_INVALID');
    });

  test('with targets of a megabyte are refused before they fill memory', async () => {
    const link = pax(['linkpath', 'x'.repeat(1_000_000)]);
    await refuses(archive(rawTar([link, { name: 'l', flag: '2' }])), 'ARCHIVE_INVALID', '1000000 characters');
  });
});

describe('members that an archive of images has no use for', () => {
  for (const [what, flag] of Object.entries({
    'a character device': '3',
    'a block device': '4',
    'a FIFO': '6',
    'a sparse file': 'S',
    'a volume label': 'V',
    'what no tar has': '?',
  }))
    test(what, async () => {
      await refuses(archive(rawTar([...(await saved()), { name: 'odd', flag }])), 'ARCHIVE_INVALID', 'odd');
    });
});

describe('sizes that lie', () => {
  for (const [what, size] of [
    ['2^53 bytes', 2 ** 53],
    ['2^62 bytes', 2 ** 62],
    ['-1 byte', -1],
    ['a terabyte', 1024 ** 4],
    ['no number', Buffer.from('not a number')],
    ['all bits set', Buffer.alloc(12, 0xff)],
  ] as const)
    for (const how of ['in place', 'packed'])
      test(`a header says ${what}, ${how}`, async () => {
        const bytes = rawTar([{ name: 'large', size, body: Buffer.from('small') }]);
        const { codes } = await attack(archive(how === 'packed' ? gzipSync(bytes) : bytes));
        assert.match(codes.join(), /^(?:ARCHIVE_INVALID|NO_SPACE)$/);
      });

  for (const size of ['-1', '1.5', '1e9', '0x10', '9007199254740993', '9'.repeat(40), '', ' 1'])
    test(`a PAX record says ${JSON.stringify(size)}`, async () => {
      const { codes } = await attack(
        archive(rawTar([pax(['size', size]), { name: 'a', body: Buffer.from('a') }])),
      );
      assert.deepEqual(codes, ['ARCHIVE_INVALID']);
    });

  test('a PAX size hides no member in the content of another', async () => {
    const hidden = rawMember({ name: 'manifest.json', body: json({}) });
    const members = await saved();
    const bytes = rawTar([...members, pax(['size', '0']), { name: 'cover', body: hidden }]);
    // As for every tool: the size that counts is that of the record, so the hidden member is one.
    assert.equal((await attack(archive(bytes))).written, 0);
    const sound = rawTar([...members, { name: 'cover', body: hidden }]);
    assert.equal((await attack(archive(sound))).written, 1);
  });

  for (const size of [-1, 0.5, 2 ** 53, 1e300, '1', null])
    test(`a descriptor says ${JSON.stringify(size)}`, async () => {
      const { root, blobs } = await app;
      const raw = JSON.parse(root.bytes.toString()) as { layers: object[] };
      const changed = part(DOCKER.manifest, {
        ...raw,
        layers: raw.layers.map((layer) => ({ ...layer, size })),
      });
      const sample = { root: changed, members: [], blobs, platform: undefined };
      await refuses(layout(layoutFiles(entriesOf({ 'a:1': sample }))), 'MANIFEST_INVALID', 'layers.0.size');
    });

  test('a second descriptor of one manifest gives it another size', async () => {
    const { root, blobs } = await app;
    const index = part(OCI.index, {
      schemaVersion: 2,
      mediaType: OCI.index,
      manifests: [descriptorOf(root), descriptorOf(root, { size: 1 })],
    });
    const sample = { root: index, members: [root], blobs, platform: undefined };
    await refuses(layout(layoutFiles(entriesOf({ 'a:1': sample }))), 'DIGEST_MISMATCH');
  });
});

/** An image whose manifest or config is this text. */
async function imageOfText(
  document: 'manifest' | 'config',
  change: (text: string) => string,
): Promise<Sample> {
  const { root, blobs, platform } = await app;
  if (document === 'manifest') {
    const changed = part(root.mediaType, Buffer.from(change(root.bytes.toString())));
    return { root: changed, members: [], blobs, platform };
  }
  const [config, ...layers] = blobs;
  assert.ok(config !== undefined);
  const changed = part(config.mediaType, Buffer.from(change(config.bytes.toString())));
  const raw = JSON.parse(root.bytes.toString()) as object;
  return {
    root: part(root.mediaType, { ...raw, config: descriptorOf(changed) }),
    members: [],
    blobs: [changed, ...layers],
    platform,
  };
}

describe('JSON that two readers take for two documents, or that wears one out', () => {
  for (const [what, change] of Object.entries<(text: string) => string>({
    'layers twice': (text) => text.replace('"layers"', '"layers":[],"layers"'),
    'config twice, once with an escape': (text) => text.replace('"config"', '"c\\u006fnfig":{},"config"'),
    'Layers beside layers': (text) => text.replace('"layers"', '"Layers":[],"layers"'),
    'Layers for layers': (text) => text.replace('"layers"', '"Layers"'),
    'layers with a long s beside layers': (text) => text.replace('"layers"', '"layer\u017f":[],"layers"'),
    'a digest in capitals beside the digest': (text) => text.replace('"digest"', '"DIGEST":"x","digest"'),
    'a digest twice': (text) => text.replace('"digest"', '"digest":"x","digest"'),
    'manifests and layers': (text) => text.replace('"layers"', '"manifests":[],"layers"'),
    'annotations nested a thousand deep': (text) =>
      text.replace('"layers"', `"x":${JSON.stringify(nested(1000))},"layers"`),
    'a key said twice, deep in it': (text) => text.replace('"layers"', '"x":[{"y":{"a":1,"a":2}}],"layers"'),
    'invalid UTF-8': (text) => text.replace('"layers"', '"\ufffd":1,"layers"'),
  }))
    test(`a manifest with ${what}`, async () => {
      let sample = await imageOfText('manifest', change);
      if (what === 'invalid UTF-8') {
        const bytes = Buffer.from(
          sample.root.bytes.toString('latin1').replace('\xef\xbf\xbd', '\xff\xfe'),
          'latin1',
        );
        sample = { ...sample, root: part(sample.root.mediaType, bytes) };
      }
      await refuses(layout(layoutFiles(entriesOf({ 'a:1': sample }))), 'MANIFEST_INVALID');
      const store = layStore(tempFolder(), { 'demo/a:1': sample });
      assert.equal((await attack(place('reg', store))).written, 0);
    });

  test('keys of Object.prototype are keys like any other', async () => {
    const sample = await imageOfText('manifest', (text) =>
      text.replace('"layers"', '"annotations":{"__proto__":"p","constructor":"c","toString":"t"},"layers"'),
    );
    const { written } = await attack(layout(layoutFiles(entriesOf({ 'a:1': sample }))), {
      compression: 'none',
      recompress: true,
    });
    assert.equal(written, 1);
    assert.equal(Reflect.get({}, 'polluted'), undefined);
  });

  for (const change of [
    (text: string) => text.replace('"rootfs"', '"rootfs":{"type":"layers","diff_ids":[]},"rootfs"'),
    (text: string) => text.replace('"rootfs"', '"RootFS":{"type":"layers","diff_ids":[]},"rootfs"'),
    (text: string) => text.replace('"diff_ids"', '"Diff_IDs":[],"diff_ids"'),
  ])
    test(`a config with another root file system beside its own: ${change('"rootfs" "diff_ids"').slice(0, 30)}`, async () => {
      const files = savedFiles({ 'demo/app:1': await imageOfText('config', change) });
      await refuses(archive(await archiveOf(files)), 'MANIFEST_INVALID');
    });

  for (const document of ['index.json', 'manifest.json', 'oci-layout'])
    for (const [what, bytes] of Object.entries({
      'nested 100,000 deep': Buffer.from('['.repeat(100_000) + ']'.repeat(100_000)),
      'cut off in a nest': Buffer.from('{"a":'.repeat(50_000)),
      'of ten megabytes': Buffer.from(`[${'0,'.repeat(5_000_000)}0]`),
      'a string': Buffer.from('"x"'),
      'a number': Buffer.from('9'.repeat(10_000)),
      nothing: Buffer.alloc(0),
      NULs: Buffer.alloc(1000),
    }))
      test(`${document} ${what}`, async () => {
        const { codes, written } = await attack(
          archive(await archiveOf({ ...savedFiles({ 'demo/app:1': await app }), [document]: bytes })),
        );
        assert.match(codes.join(), /^(?:MANIFEST_INVALID|ARCHIVE_INVALID)$/);
        assert.equal(written, 0);
      });
});

/** An index of these, as often as said. */
function indexTimes(members: readonly Part[], times: number, more: object = {}): Part {
  const manifests = members.flatMap((member) => Array.from({ length: times }, () => descriptorOf(member)));
  return part(OCI.index, { schemaVersion: 2, mediaType: OCI.index, manifests, ...more });
}

describe('few bytes that mean much work', () => {
  /** Eight levels of indexes that each name the one below a hundred times: 10^16 ways down. */
  async function tower(levels: number, times: number): Promise<Sample> {
    const { root, blobs } = await app;
    const members = [root];
    for (let i = 1; i < levels; i++) members.push(indexTimes(members.slice(-1), times));
    const top = indexTimes(members.slice(-1), times, { annotations: { level: 'top' } });
    return { root: top, members, blobs, platform: undefined };
  }
  for (const [what, options] of Object.entries<ConvertOptions>({
    plainly: {},
    'with --missing prune': { missing: 'prune' },
    'with --missing sparse': { missing: 'sparse' },
    'with --platform': { platforms: [{ os: 'linux', architecture: 'arm64' }] },
    'with other layers': { compression: 'none', recompress: true },
    'without extras': { extras: false },
  }))
    test(`indexes that name each other a hundred times, ${what}`, async () => {
      const files = layoutFiles(entriesOf({ 'a:1': await tower(7, 100) }));
      await refuses(layout(files), 'MANIFEST_INVALID', 'members', options);
    });

  test('the same in an archive of docker save, where manifest.json has to find its config', async () => {
    const files = layoutFiles(entriesOf({ 'demo/tower:1': await tower(7, 100) }));
    const config = (await app).blobs[0];
    const entries = ['demo/tower:1', undefined].map((name) => ({
      Config: blobFile(config?.digest ?? ''),
      RepoTags: name === undefined ? null : [name],
      Layers: [],
    }));
    const { codes } = await attack(archive(await archiveOf({ ...files, 'manifest.json': json(entries) })));
    assert.ok(codes.length > 0);
  });

  test('an index with all the members that fit into it', async () => {
    const { root, blobs } = await app;
    const one = descriptorOf(root);
    const count = Math.floor((4 * 1024 * 1024 - 200) / (JSON.stringify(one).length + 1));
    const sample = { root: indexTimes([root], count), members: [root], blobs, platform: undefined };
    await refuses(layout(layoutFiles(entriesOf({ 'a:1': sample }))), 'MANIFEST_INVALID', 'members');
  });

  test('an index of 100,000 entries', async () => {
    const { root, blobs } = await app;
    const sample = { root: indexTimes([root], 100_000), members: [root], blobs, platform: undefined };
    await refuses(layout(layoutFiles(entriesOf({ 'a:1': sample }))), 'MANIFEST_INVALID');
    const files = layoutFiles(entriesOf({ 'a:1': await app }));
    const index = (length: number) => ({
      schemaVersion: 2,
      manifests: Array.from({ length }, () => descriptorOf(root)),
    });
    await refuses(layout({ ...files, 'index.json': json(index(100_000)) }), 'NAME_MISSING');
    // Over 32 MiB.
    await refuses(layout({ ...files, 'index.json': json(index(300_000)) }), 'ARCHIVE_INVALID');
  });

  test('an index that names itself is none: its digest cannot be known before it', async () => {
    const self = 'a'.repeat(64);
    const bytes = json({
      schemaVersion: 2,
      mediaType: OCI.index,
      manifests: [{ mediaType: OCI.index, digest: `sha256:${self}`, size: 200 }],
    });
    const root: Part = { mediaType: OCI.index, digest: `sha256:${self}`, bytes };
    const sample = { root, members: [], blobs: [], platform: undefined };
    await refuses(layout(layoutFiles(entriesOf({ 'a:1': sample }))), 'DIGEST_MISMATCH');
    const tree = layTree(tempFolder(), {
      'demo/a:1': { ...sample, root: part(OCI.index, bytes), members: [root] },
    });
    await refuses(place('dir', tree), 'DIGEST_MISMATCH');
  });

  test('one config of megabytes under ten thousand names', async () => {
    const config = json({
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: [] },
      x: 'x'.repeat(4_000_000),
    });
    const names = Array.from({ length: 10_000 }, (_, i) => `demo/app:${i}`);
    const entries = [{ Config: 'c.json', RepoTags: names, Layers: [] }];
    const there = archive(
      rawTar([
        { name: 'c.json', body: config },
        { name: 'manifest.json', body: json(entries) },
      ]),
    );
    const listed: unknown[] = [];
    await within(
      SECONDS,
      'ls',
      (async () => {
        for await (const { error } of listImages(there)) listed.push(error);
      })(),
    );
    assert.equal(listed.length, 10_000);
  });

  test('links that give one config of megabytes two thousand names', async () => {
    const config = json({
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: [] },
      x: 'x'.repeat(4_000_000),
    });
    const links = Array.from({ length: 2000 }, (_, i) => ({ name: `l${i}`, flag: '2', link: 'c.json' }));
    const entries = links.map(({ name }, i) => ({ Config: name, RepoTags: [`demo/app:${i}`], Layers: [] }));
    const bytes = rawTar([
      { name: 'c.json', body: config },
      ...links,
      { name: 'manifest.json', body: json(entries) },
    ]);
    const there = archive(bytes);
    let refused = 0;
    await within(
      SECONDS,
      'ls',
      (async () => {
        for await (const { error } of listImages(there)) refused += error?.code === 'ARCHIVE_INVALID' ? 1 : 0;
      })(),
    );
    assert.ok(refused > 1900, `${refused} refused`);
  });

  test('one layer named five thousand times', async () => {
    const layer = gzipSync(Buffer.alloc(3_000_000, 'layer'), { level: 0 });
    const diffId = digestText(Buffer.alloc(3_000_000, 'layer'));
    const diffIds = Array.from({ length: 5000 }, () => diffId);
    const config = json({
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: diffIds },
    });
    const entries = [{ Config: 'c.json', RepoTags: ['demo/app:1'], Layers: diffIds.map(() => 'l') }];
    const bytes = rawTar([
      { name: 'l', body: layer },
      { name: 'c.json', body: config },
      { name: 'manifest.json', body: json(entries) },
    ]);
    assert.equal((await attack(archive(bytes))).written, 1);
  });

  test('more names than anyone has images', async () => {
    const entries = Array.from({ length: 150_000 }, () => ({ Config: 'c' }));
    await refuses(
      archive(rawTar([{ name: 'manifest.json', body: json(entries) }])),
      'ARCHIVE_INVALID',
      '150000',
    );
  });

  test('a chain of two thousand referrers, listed last first', async () => {
    const { root, blobs } = await app;
    const chain: Sample[] = [];
    for (let i = 0; i < 2000; i++) chain.push(referrerOf(chain.at(-1)?.root ?? root, String(i)));
    const images = chain.reverse().map((image) => [`x@${image.root.digest}`, image] as const);
    const files = layoutFiles(
      entriesOf({
        ...Object.fromEntries(images),
        'demo/app:1': { root, members: [], blobs, platform: undefined },
      }),
    );
    const listed: unknown[] = [];
    await within(
      SECONDS,
      'ls',
      (async () => {
        for await (const image of listImages(layout(files))) listed.push(image);
      })(),
    );
    assert.equal(listed.length, 2001);
  });

  describe('in an index.json of entries without names', () => {
    /** What `ls` lists, in a bounded time. */
    async function listedIn(files: Record<string, Buffer>): Promise<number> {
      let count = 0;
      const listing = (async () => {
        for await (const _ of listImages(layout(files))) count++;
      })();
      await within(SECONDS, 'ls', listing);
      return count;
    }

    test('that are members of a tower of indexes, where there is one way in 10^16', async () => {
      const image = await app;
      const entries = [...entriesOf({ 'a:1': await tower(7, 100) }), { image }];
      assert.equal(await listedIn(layoutFiles(entries)), 1);
      await refuses(layout(layoutFiles(entries)), 'MANIFEST_INVALID', 'members');
    });

    test('a chain of two thousand indexes, listed in either order', async () => {
      const { root, blobs } = await app;
      const chain: Sample[] = [];
      for (let i = 0; i < 2000; i++) {
        const below = chain.at(-1)?.root ?? root;
        const top = indexTimes([below], 1, { annotations: { level: String(i) } });
        chain.push({ root: top, members: [], blobs: i === 0 ? [root, ...blobs] : [], platform: undefined });
      }
      for (const images of [chain, chain.toReversed()])
        assert.equal(await listedIn(layoutFiles(images.map((image) => ({ image })))), 1);
    });

    test('twenty thousand times one index with twenty thousand members', async () => {
      const { root, blobs } = await app;
      const index = { root: indexTimes([root], 20_000), members: [root], blobs, platform: undefined };
      const entries = Array.from({ length: 20_000 }, () => descriptorOf(index.root));
      const files = layoutFiles([{ image: index }]);
      const json = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: entries }));
      assert.equal(await listedIn({ ...files, 'index.json': json }), 1);
    });

    test('that thousands of names and thousands of referrers share', async () => {
      const image = await app;
      const names = Array.from({ length: 3000 }, (_, i) => [`a${i}/b:1`, image] as const);
      const referrers = Array.from({ length: 3000 }, (_, i) => ({
        image: referrerOf(image.root, String(i)),
      }));
      const files = layoutFiles([...entriesOf(Object.fromEntries(names)), ...referrers]);
      assert.equal(await listedIn(files), 6000);
      const options = { compression: 'keep', failFast: true } as const;
      const { images } = await within(SECONDS, 'it', convert(layout(files), newPlace('reg'), options));
      const failed = images.filter(({ status }) => status === 'failed');
      assert.match(failed.map(({ error }) => error?.message).join(), /share their referrers more than 30000/);
    });
  });

  test('a host name of a megabyte', async () => {
    const files = layoutFiles([{ image: await app, annotations: { [REF]: `${'a.'.repeat(500_000)}!/a:1` } }]);
    await refuses(layout(files), 'NAME_INVALID');
  });
});

describe('archives without an end', () => {
  test('a million extended headers before a member', async () => {
    const headers = Buffer.concat(Array.from({ length: 1000 }, () => rawMember(pax(['comment', 'x']))));
    await refuses(archive(gzipSync(Buffer.concat([headers, END]))), 'ARCHIVE_INVALID', 'extended headers');
  });

  for (const [what, header] of [
    ['folders', rawHeader({ name: 'd/', flag: '5' })],
    ['empty files of one name', rawHeader({ name: 'f' })],
  ] as const)
    test(`ten million ${what} are counted, not kept`, { timeout: 60_000 }, async () => {
      const thousands = gzipSync(Buffer.concat(Array.from({ length: 20_000 }, () => header)), { level: 1 });
      const file = join(tempFolder(), 'many.tar.gz');
      writeFileSync(file, Buffer.concat(Array.from({ length: 500 }, () => thousands)));
      const { stderr, peak } = await measured(['ls', file]);
      assert.match(stderr, /more than 300000 entries/);
      assert.ok(peak < 250e6, `${Math.round(peak / 1e6)} MB`);
    });

  test('gigabytes of zeros after the end', { timeout: 60_000 }, async () => {
    const zeros = gzipSync(Buffer.alloc(100_000_000), { level: 1 });
    const file = join(tempFolder(), 'zeros.tar.gz');
    const parts = [gzipSync(rawTar(await saved())), ...Array.from({ length: 100 }, () => zeros)];
    writeFileSync(file, Buffer.concat(parts));
    const { stderr, peak } = await measured(['ls', file]);
    assert.match(stderr, /after its end/);
    assert.ok(peak < 250e6, `${Math.round(peak / 1e6)} MB`);
  });
});

/** Runs the command in a process of its own, and says how much memory it took. */
async function measured(
  args: readonly string[],
): Promise<{ status: number | undefined; stderr: string; peak: number }> {
  const { child, ended } = start(args);
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, peakMemory(child.pid ?? 0));
  }, 20);
  try {
    const { status, stderr } = await within(50, args.join(' '), ended);
    return { status, stderr, peak };
  } finally {
    clearInterval(timer);
    child.kill('SIGKILL');
  }
}

describe('bombs', () => {
  test('a layer that unpacks to half a gigabyte takes no memory to prove', { timeout: 60_000 }, async () => {
    const tar = Buffer.concat([rawHeader({ name: 'zeros', size: 1_000_000_000 }), Buffer.alloc(1_000_000)]);
    const layer = gzipSync(tar, { level: 1 });
    const zeros = gzipSync(Buffer.alloc(50_000_000), { level: 1 });
    const bomb = Buffer.concat([layer, ...Array.from({ length: 10 }, () => zeros)]);
    const config = json({
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: [digestText(Buffer.from('another'))] },
    });
    const entries = [{ Config: 'c.json', RepoTags: ['demo/bomb:1'], Layers: ['l'] }];
    const file = join(tempFolder(), 'bomb.tar');
    writeFileSync(
      file,
      rawTar([
        { name: 'l', body: bomb },
        { name: 'c.json', body: config },
        { name: 'manifest.json', body: json(entries) },
      ]),
    );
    const target = newPlace('reg').path;
    const { status, stderr, peak } = await measured(['tar2reg', file, target]);
    assert.equal(status, 1);
    assert.match(stderr, /expected sha256/);
    assert.ok(peak < 250e6, `${Math.round(peak / 1e6)} MB`);
    assert.deepEqual(contentsOf(target), {});
  });

  test('an xz archive that asks for a dictionary of 4 GB', async () => {
    const sound = execFileSync('xz', ['-c', '-q'], { input: rawTar(await saved()) });
    // The block header: its size, its flags, one filter: LZMA2 (0x21), one byte of properties, the dictionary's size.
    const header = Buffer.from(sound.subarray(0, 24));
    header.writeUInt8(40, sound.indexOf(Buffer.from([0x21, 0x01]), 12) + 2);
    header.writeUInt32LE(crc32(header.subarray(12, 20)), 20);
    const file = join(tempFolder(), 'dictionary.tar.xz');
    writeFileSync(file, Buffer.concat([header, sound.subarray(24)]));
    const { stderr, peak } = await measured(['ls', file]);
    assert.doesNotMatch(stderr, /\n\s+at /);
    assert.ok(peak < 400e6, `${Math.round(peak / 1e6)} MB`);
  });
});

/** The CRC of xz, gzip and zip (ISO 3309). */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

describe('trees and stores that are not what they seem', () => {
  const secret = join(tempFolder(), 'secret');
  writeFileSync(secret, 'the secret');

  for (const victim of ['manifest.json', 'version', 'config', 'layer'])
    for (const [what, lay] of Object.entries<(path: string) => void>({
      'a link to another file': (path) => {
        symlinkSync(secret, path);
      },
      'a link to itself': (path) => {
        symlinkSync(path, path);
      },
      'a device by a link': (path) => {
        symlinkSync('/dev/zero', path);
      },
      'a folder': (path) => {
        mkdirSync(path);
      },
      'a pipe that nobody writes to': (path) => {
        execFileSync('mkfifo', [path]);
      },
    }))
      test(`a directory whose ${victim} is ${what}`, async () => {
        const tree = tempFolder();
        const { root, blobs } = await app;
        const names: Readonly<Record<string, string>> = {
          config: hex(blobs[0]?.digest ?? ''),
          layer: hex(blobs[1]?.digest ?? ''),
        };
        const skip = names[victim] ?? victim;
        for (const [name, bytes] of [
          ['manifest.json', root.bytes],
          ['version', Buffer.from('Directory Transport Version: 1.1\n')],
          ...blobs.map(({ digest, bytes: b }) => [hex(digest), b] as const),
        ] as const)
          if (name !== skip) put(join(tree, 'demo/app:1', name), bytes);
        lay(join(tree, 'demo/app:1', skip));
        await refuses(place('dir', tree), 'IO');
      });

  test('a store nested deeper than any repository', async () => {
    const store = layStore(tempFolder(), { 'demo/app:1': await app });
    mkdirSync(join(store, 'docker/registry/v2/repositories', 'a/'.repeat(400)), { recursive: true });
    assert.equal((await attack(place('reg', store))).written, 1);
  });

  for (const text of [
    '',
    'sha256:',
    'x',
    '../../../../../secret',
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'a'.repeat(64)}/../x`,
    '\0'.repeat(71),
    'x'.repeat(1_000_000),
  ])
    test(`a store whose tag link says ${JSON.stringify(text.slice(0, 30))}`, async () => {
      const store = layStore(tempFolder(), { 'demo/app:1': await app });
      writeFileSync(
        join(store, 'docker/registry/v2/repositories/demo/app/_manifests/tags/1/current/link'),
        text,
      );
      await refuses(place('reg', store), 'DIGEST_INVALID', 'current/link');
    });

  test('a million signatures are not held in memory', async () => {
    const tree = layTree(tempFolder(), { 'demo/app:1': await app });
    for (let i = 1; i <= 5; i++) put(join(tree, `demo/app:1/signature-${i}`), Buffer.alloc(1_000_000));
    await refuses(place('dir', tree), 'MANIFEST_INVALID', 'signatures');
  });

  test('a pipe in the place of an archive is refused, and how it can be read is said', async () => {
    const path = join(tempFolder(), 'pipe');
    execFileSync('mkfifo', [path]);
    await refuses(place('tar', path), 'ARCHIVE_INVALID', 'not a regular file');
  });
});

describe('a revision without a tag that is damaged is not left behind in silence', () => {
  async function storeWith(change: (store: string, referrer: Sample) => void): Promise<Place> {
    const image = await app;
    const store = layStore(tempFolder(), { 'demo/app:1': image });
    const referrer = referrerOf(image.root, 'what is attached');
    const below = join(store, 'docker/registry/v2/repositories/demo/app');
    for (const { digest, bytes } of [referrer.root, ...referrer.blobs]) put(storedBlob(store, digest), bytes);
    put(
      join(below, '_manifests/revisions', referrer.root.digest.replace(':', '/'), 'link'),
      referrer.root.digest,
    );
    change(store, referrer);
    return place('reg', store);
  }
  const revision = (store: string, { root }: Sample) =>
    join(
      store,
      'docker/registry/v2/repositories/demo/app/_manifests/revisions',
      root.digest.replace(':', '/'),
      'link',
    );

  for (const [what, code, change] of [
    [
      'whose manifest says another subject',
      'DIGEST_MISMATCH',
      (store: string, one: Sample) => {
        const text = one.root.bytes.toString().replace(/("subject":.*?sha256:)./, '$1x');
        writeFileSync(storedBlob(store, one.root.digest), text);
      },
    ],
    [
      'whose manifest is empty',
      'DIGEST_MISMATCH',
      (store: string, one: Sample) => {
        writeFileSync(storedBlob(store, one.root.digest), '');
      },
    ],
    [
      'whose link is cut off',
      'DIGEST_INVALID',
      (store: string, one: Sample) => {
        writeFileSync(revision(store, one), one.root.digest.slice(0, -1));
      },
    ],
    [
      'whose link says another digest',
      'DIGEST_MISMATCH',
      (store: string, one: Sample) => {
        writeFileSync(revision(store, one), digestText(Buffer.from('another')));
      },
    ],
  ] as const)
    test(what, async () => {
      const there = await storeWith(change);
      const { codes, written } = await attack(there, {}, 'reg');
      assert.deepEqual([codes, written], [[code], 1]);
      assert.deepEqual((await attack(there, { extras: false }, 'reg')).codes, []);
    });
});

describe('a tree that images are written into', () => {
  const port = 'localhost:5000/demo/app:1';
  test('keeps what a host has when its port looks like a tag', async () => {
    const tree = newPlace('dir');
    await convert(place('dir', layTree(tempFolder(), { [port]: await app })), tree, { scoped: true });
    const before = contentsOf(tree.path);
    const { images } = await convert(
      layout(layoutFiles(entriesOf({ 'localhost:5000': await imageOf('evil') }))),
      tree,
    );
    assert.deepEqual(
      images.map(({ error }) => error?.code),
      ['NAME_CONFLICT'],
    );
    assert.deepEqual(contentsOf(tree.path), before);
  });

  test('holds no image within the folder of another', async () => {
    const both = { 'localhost:5000': await imageOf('evil'), [port]: await app };
    const { images } = await convert(layout(layoutFiles(entriesOf(both))), newPlace('dir'), { scoped: true });
    assert.deepEqual(images.map(({ status }) => status).sort(), ['failed', 'written']);
  });
});

test('names that differ by case only stay apart, or are refused', async () => {
  const files = layoutFiles([
    { image: await app, annotations: { [REF]: 'demo/app:V1' } },
    { image: await imageOf('other'), annotations: { [REF]: 'demo/app:v1' } },
    { image: artifactOf('third'), annotations: { [REF]: 'demo/App:v1', [CONTAINERD]: 'demo/App:v1' } },
  ]);
  const target = newPlace('reg');
  const { images } = await convert(layout(files), target);
  assert.deepEqual(images.map(({ status }) => status).sort(), ['failed', 'written', 'written']);
  assert.deepEqual(Object.keys(await namesOf(target)).sort(), ['demo/app:V1', 'demo/app:v1']);
});

test('places that were made by chance', { timeout: 60_000 }, async () => {
  const failed: string[] = [];
  const numbers = Array.from({ length: 100 }, (_, i) => i);
  await runHere(fuzz, 'short', numbers, ({ number, why }) => {
    if (why !== undefined) failed.push(`${number}: ${why}`);
  });
  assert.deepEqual(failed, []);
});
