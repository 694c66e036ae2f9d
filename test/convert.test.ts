import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import {
  convert,
  failedImages,
  inspectImages,
  parsePlatform,
  type ConvertOptions,
  type Format,
  type Place,
  type Plan,
  type Report,
} from '../src/index.js';
import { imgconv } from './support/cli.js';
import { damage } from './support/damage.js';
import { refusal } from './support/errors.js';
import { digestsOf, expected, fixture, syncTree } from './support/fixtures.js';
import { digestText, DOCKER, hex, imageOf, indexOf, layStore, layTree } from './support/images.js';
import { LOCAL_FORMATS, namesOf, newPlace, place } from './support/places.js';
import { contentsOf, filesIn, stagingIn, stateOf } from './support/snapshot.js';
import { tempFolder, tempFolderElsewhere } from './support/temp.js';

const KEEP = { compression: 'keep' } as const;

function selectors(...texts: readonly string[]) {
  return texts.map((text) => ({ text, rename: undefined, where: 'test' }));
}

/** The fixtures' images in every format. */
const sources = new Map<string, Place>();
before(async () => {
  for (const format of LOCAL_FORMATS) {
    const there = newPlace(format);
    await convert(place('dir', syncTree()), there, { ...KEEP, link: 'copy' });
    sources.set(format.short, there);
  }
});
function sourceOf({ short = '' }: Format): Place {
  const source = sources.get(short);
  assert.ok(source !== undefined);
  return source;
}

const PAIRS = LOCAL_FORMATS.flatMap((from) =>
  LOCAL_FORMATS.map((to) => ({ from, to, title: `${from.short} to ${to.short}` })),
);

describe('a dry run', () => {
  /** What the plan promised, and what the run says it did. */
  function expectKept({ link, copy, compress, present }: Plan, { tally }: Report): void {
    const { linked, reflinked, copied, compressed, reused } = tally;
    assert.deepEqual(
      {
        linked: reflinked.blobs + linked.blobs,
        copied: copied.blobs,
        compressed: compressed.blobs + reused.blobs,
        present: tally.present.blobs,
      },
      {
        linked: link.blobs,
        copied: copy.blobs,
        compressed: compress.blobs,
        present: present.blobs,
      },
    );
    assert.deepEqual([linked.bytes + reflinked.bytes, tally.present.bytes], [link.bytes, present.bytes]);
    if (compress.blobs === 0) assert.equal(copied.bytes, copy.bytes);
  }

  async function planned(from: Place, to: Place, options: ConvertOptions): Promise<Plan> {
    const [state, around] = [stateOf(to.path), contentsOf(join(to.path, '..'))];
    const { images, plan } = await convert(from, to, { ...options, dryRun: true });
    assert.ok(plan !== undefined);
    assert.ok(images.every(({ status }) => status === 'planned'));
    assert.equal(plan.images, images.length);
    assert.deepEqual(stateOf(to.path), state);
    assert.deepEqual(contentsOf(join(to.path, '..')), around);
    return plan;
  }

  for (const { from, to, title } of PAIRS) {
    test(`from ${title} writes nothing and says what the run then does`, async () => {
      const there = newPlace(to);
      const plan = await planned(sourceOf(from), there, KEEP);
      assert.equal(existsSync(there.path), false);
      expectKept(plan, await convert(sourceOf(from), there, KEEP));
    });

    test(`from ${title} knows what is there already`, async () => {
      const there = newPlace(to);
      await convert(sourceOf(from), there, { ...KEEP, selectors: selectors('demo/app:2.0', 'demo/base:1') });
      expectKept(await planned(sourceOf(from), there, KEEP), await convert(sourceOf(from), there, KEEP));
      expectKept(await planned(sourceOf(from), there, KEEP), await convert(sourceOf(from), there, KEEP));
    });
  }

  for (const to of LOCAL_FORMATS) {
    test(`from an engine's archive to ${to.short} knows what is to be compressed`, async () => {
      const [saved, there] = [place('tar', fixture('docker20.tar')), newPlace(to)];
      expectKept(await planned(saved, there, {}), await convert(saved, there));
    });
  }

  test('says no digest of an image whose layers are to be compressed', async () => {
    const saved = place('tar', fixture('docker20.tar'));
    for (const compression of ['gzip', 'none', 'keep'] as const) {
      const options = { compression, dryRun: true };
      const { images } = await convert(saved, newPlace('reg'), options);
      assert.ok(images.length > 0);
      for (const { digest, sourceDigest, notes } of images) {
        const note = notes.find((one) =>
          /^\d+ layers? will be gzip, so the digest is known only after a conversion$/.test(one),
        );
        assert.equal(digest, compression === 'gzip' ? undefined : sourceDigest);
        assert.equal(note !== undefined, compression === 'gzip');
      }
    }
    const there = newPlace('reg');
    const written = await convert(saved, there);
    const planned = await convert(saved, there, { dryRun: true, overwrite: false });
    assert.deepEqual(
      planned.images.map(({ status, digest, previousDigest }) => [status, digest, previousDigest]),
      written.images.map(({ digest }) => ['planned', undefined, digest]),
    );
  });
});

describe('--link', () => {
  for (const { from, to, title } of PAIRS) {
    if (from.traits.sequential || to.traits.sequential) continue;
    for (const [link, linked] of [
      ['hard', true],
      ['auto', true],
      ['copy', false],
    ] as const) {
      test(`${link} from ${title} ${linked ? 'shares' : 'shares no'} files`, async () => {
        const there = newPlace(to);
        await convert(sourceOf(from), there, { ...KEEP, link });
        const inodes = new Set(
          filesIn(sourceOf(from).path).map((name) => statSync(join(sourceOf(from).path, name)).ino),
        );
        const names = new Set(Object.values(digestsOf('sync.tar')).map(hex));
        let blobs = 0;
        for (const name of filesIn(there.path)) {
          const path = join(there.path, name);
          const own = digestText(readFileSync(path));
          // What is a blob in both places, and no link or index that the format itself makes.
          if (!name.includes(hex(own)) && !(name.endsWith('manifest.json') && names.has(hex(own)))) continue;
          blobs++;
          assert.equal(inodes.has(statSync(path).ino), linked, name);
        }
        assert.ok(blobs > 20, `${blobs} blobs`);
      });
    }
  }

  test('hard is refused across file systems, for each image, and leaves nothing', async (t) => {
    const folder = tempFolderElsewhere();
    if (folder === undefined) {
      t.skip('there is no other file system here');
      return;
    }
    const tree = syncTree();
    for (const to of LOCAL_FORMATS.filter(({ traits }) => !traits.sequential)) {
      const there: Place = { format: to, path: join(folder, to.short) };
      const report = await convert(place('dir', tree), there, { ...KEEP, link: 'hard' });
      assert.ok(report.images.every(({ status, error }) => status === 'failed' && error?.code === 'IO'));
      assert.deepEqual(filesIn(there.path), []);
      await convert(place('dir', tree), there, { ...KEEP, link: 'auto' });
      assert.equal(Object.keys(await namesOf(there)).length, Object.keys(digestsOf('sync.tar')).length);
    }
  });
});

describe('--platform', () => {
  const MULTI = 'demo/multi:1';
  const children = expected.children[MULTI] ?? {};
  const platforms = (...texts: string[]) => texts.map(parsePlatform);

  async function chosen(from: Format, to: Format, ...texts: string[]) {
    const there = newPlace(to);
    const { images } = await convert(sourceOf(from), there, {
      ...KEEP,
      selectors: selectors(MULTI),
      platforms: platforms(...texts),
    });
    return { there, image: images[0], images };
  }

  for (const { from, to, title } of PAIRS) {
    test(`of one member, from ${title}, takes that image as it is`, async () => {
      for (const [text, digest] of [
        ['linux/amd64', children['linux/amd64']],
        ['linux/arm64', children['linux/arm64/v8']],
        ['linux/arm/v7', children['linux/arm/v7']],
      ] as const) {
        const { there, image } = await chosen(from, to, text);
        assert.deepEqual(
          [image?.status, image?.digest, image?.sourceDigest],
          ['written', digest, digestsOf('sync.tar')[MULTI]],
        );
        assert.ok(
          image?.notes.some((note) => note.includes(digestsOf('sync.tar')[MULTI] ?? '')),
          'the report does not say so',
        );
        assert.deepEqual(await namesOf(there), { [MULTI]: digest });
      }
    });

    test(`of some members, from ${title}, makes an index of them, always the same`, async () => {
      const [{ there, image }, other] = [
        await chosen(from, to, 'linux/arm', 'linux/amd64'),
        await chosen(from, to, 'linux/amd64', 'linux/arm/v7'),
      ];
      assert.equal(image?.status, 'written');
      assert.notEqual(image.digest, image.sourceDigest);
      assert.equal(other.image?.digest, image.digest);
      assert.ok(image.notes.length > 0);
      for await (const { digest, manifests } of inspectImages(there)) {
        assert.equal(digest, image.digest);
        const index = manifests.find((one) => one.digest === digest);
        const kept = index?.manifest as {
          mediaType: string;
          manifests: { digest: string; platform: object }[];
        };
        assert.deepEqual(
          kept.manifests.map((one) => one.digest),
          [children['linux/amd64'], children['linux/arm/v7']],
        );
        assert.deepEqual(
          manifests.filter((one) => one !== index).map((one) => one.platform),
          ['linux/amd64', 'linux/arm/v7'],
        );
      }
    });

    test(`of all members, from ${title}, keeps the index`, async () => {
      const { there, image } = await chosen(from, to, 'linux/arm', 'linux/amd64', 'linux/arm64');
      assert.equal(image?.digest, image?.sourceDigest);
      assert.equal((await namesOf(there))[MULTI], digestsOf('sync.tar')[MULTI]);
    });

    test(`of no member, from ${title}, is an error, and nothing is written`, async () => {
      const { there, images } = await chosen(from, to, 'linux/s390x');
      assert.deepEqual(
        images.map(({ error }) => error?.code),
        ['PLATFORM_MISSING'],
      );
      for (const word of ['s390x', 'linux/amd64', 'linux/arm64', 'linux/arm/v7'])
        assert.ok(images[0]?.error?.message.includes(word));
      assert.deepEqual(filesIn(there.path), []);
    });
  }

  test('of all members keeps an index byte for byte, however it is written', async () => {
    const index = indexOf([await imageOf('a'), await imageOf('b', { platform: 'linux/arm64' })]);
    const bytes = Buffer.from(`${JSON.stringify(JSON.parse(index.root.bytes.toString()), null, 3)}\n`);
    const root = { ...index.root, bytes, digest: digestText(bytes) };
    const tree = layTree(tempFolder(), { 'demo/index:1': { ...index, root } });
    const there = newPlace('dir');
    const { images } = await convert(place('dir', tree), there, {
      ...KEEP,
      platforms: platforms('linux/arm64', 'linux/amd64'),
    });
    assert.deepEqual(
      images.map(({ digest, notes }) => [digest, notes]),
      [[root.digest, []]],
    );
    assert.deepEqual(contentsOf(there.path), contentsOf(tree));
  });

  test('passes over images of other platforms, and keeps what has none', async () => {
    const there = newPlace('reg');
    const report = await convert(place('dir', syncTree()), there, {
      ...KEEP,
      platforms: platforms('linux/arm64'),
    });
    const failed = failedImages(report).map(({ source }) => source);
    assert.ok(failed.includes('demo/app:1.0'));
    const names = await namesOf(there);
    assert.equal(names['helm-charts/demo:0.1.0'], digestsOf('sync.tar')['helm-charts/demo:0.1.0']);
    assert.equal(names['demo/list:1'], expected.children['demo/list:1']?.['linux/arm64/v8']);
  });
});

test('platforms for indexes alone: images that stand by themselves are taken, whatever theirs is', async () => {
  const there = newPlace('reg');
  const report = await convert(place('dir', syncTree()), there, {
    ...KEEP,
    platforms: [parsePlatform('linux/arm64')],
    systemImages: true,
  });
  assert.deepEqual(failedImages(report), []);
  const names = await namesOf(there);
  assert.equal(names['demo/app:1.0'], digestsOf('sync.tar')['demo/app:1.0']);
  assert.equal(names['demo/list:1'], expected.children['demo/list:1']?.['linux/arm64/v8']);
});

describe('names', () => {
  test('that two images would get are refused before anything is written', async () => {
    for (const to of LOCAL_FORMATS) {
      const there = newPlace(to);
      const clash = [
        { text: 'demo/app:1.0', rename: 'x:1', where: 'test' },
        { text: 'demo/app:2.0', rename: 'x:1', where: 'test' },
      ];
      await assert.rejects(
        convert(place('dir', syncTree()), there, { ...KEEP, selectors: clash }),
        refusal('NAME_CONFLICT', 'x:1', 'demo/app:1.0', 'demo/app:2.0'),
      );
      assert.equal(existsSync(there.path), false);
      assert.deepEqual(stagingIn(join(there.path, '..')), []);
    }
  });

  test('that two images of one digest get are one', async () => {
    const there = newPlace('reg');
    const both = [
      { text: 'demo/app:2.0', rename: 'x:1', where: 'test' },
      { text: 'demo/app:stable', rename: 'x:1', where: 'test' },
    ];
    await convert(place('dir', syncTree()), there, { ...KEEP, selectors: both, extras: false });
    assert.deepEqual(Object.keys(await namesOf(there)), ['x:1']);
  });

  test('of a host that is dropped may clash too', async () => {
    const [one, other] = [await imageOf('one'), await imageOf('other')];
    const tree = layTree(tempFolder(), { 'quay.io/demo/app:1': one, 'ghcr.io/demo/app:1': other });
    const there = newPlace('reg');
    await assert.rejects(
      convert(place('dir', tree), there, KEEP),
      refusal('NAME_CONFLICT', 'demo/app:1', 'quay.io', 'ghcr.io'),
    );
    assert.equal(existsSync(there.path), false);
    await convert(place('dir', tree), there, { ...KEEP, scoped: true });
    assert.deepEqual(await namesOf(there), {
      'ghcr.io/demo/app:1': other.root.digest,
      'quay.io/demo/app:1': one.root.digest,
    });
  });

  test('are mapped by --strip-prefix, --add-prefix and --rename', async () => {
    const there = newPlace('reg');
    const { images } = await convert(place('dir', syncTree()), there, {
      ...KEEP,
      selectors: selectors('demo/base:1', 'helm-charts/**'),
      rename: ['helm-charts=demo/charts'],
      stripPrefix: 'demo',
      addPrefix: 'mirror/x',
    });
    assert.deepEqual(
      images.map(({ source, name }) => [source, name]),
      [
        ['demo/base:1', 'mirror/x/base:1'],
        ['helm-charts/demo:0.1.0', 'mirror/x/charts/demo:0.1.0'],
      ],
    );
    assert.deepEqual(Object.keys(await namesOf(there)), ['mirror/x/base:1', 'mirror/x/charts/demo:0.1.0']);
  });
});

describe('a target', () => {
  test('of another digest under a name is replaced, others stay', async () => {
    for (const to of LOCAL_FORMATS.filter(({ traits }) => !traits.sequential)) {
      const [one, other, third] = [await imageOf('one'), await imageOf('other'), await imageOf('third')];
      const there = newPlace(to);
      await convert(place('dir', layTree(tempFolder(), { 'a/b:1': one, 'a/c:1': third })), there, KEEP);
      const { images } = await convert(place('dir', layTree(tempFolder(), { 'a/b:1': other })), there, KEEP);
      assert.deepEqual(
        images.map(({ status }) => status),
        ['updated'],
      );
      assert.deepEqual(await namesOf(there), { 'a/b:1': other.root.digest, 'a/c:1': third.root.digest });
    }
  });

  test('takes in more, whatever a killed process left there, and clears it away', async () => {
    for (const to of LOCAL_FORMATS.filter(({ traits }) => !traits.sequential)) {
      const there = newPlace(to);
      await convert(place('dir', layTree(tempFolder(), { 'a/b:1': await imageOf('one') })), there, KEEP);
      // By where it writes: a store's folders begin deeper.
      const root = to.short === 'reg' ? join(there.path, 'docker/registry/v2') : there.path;
      const then = new Date(Date.now() - 48 * 3_600_000);
      // A layout's index.json is rewritten under a lock.
      for (const name of to.short === 'oci' ? ['lock', 'lock-0badf00d-1-1-abcdef'] : []) {
        const path = join(root, `.imgconv-${name}`);
        writeFileSync(path, '0badf00d-1-1-abcdef');
        utimesSync(path, then, then);
      }
      mkdirSync(join(root, '.imgconv-0badf00d-1-1-abcdef'));
      utimesSync(join(root, '.imgconv-0badf00d-1-1-abcdef'), then, then);
      const report = await convert(
        place('dir', layTree(tempFolder(), { 'a/c:1': await imageOf('other') })),
        there,
        KEEP,
      );
      assert.deepEqual(
        report.images.map(({ error, status }) => error?.message ?? status),
        ['written'],
      );
      assert.deepEqual(Object.keys(await namesOf(there)), ['a/b:1', 'a/c:1']);
      assert.deepEqual(stagingIn(there.path), []);
    }
  });

  test('may be the source', async () => {
    for (const format of LOCAL_FORMATS) {
      const there = newPlace(format);
      await convert(place('dir', syncTree()), there, { ...KEEP, link: 'copy' });
      const contents = contentsOf(there.path);
      const { images } = await convert(there, there, KEEP);
      assert.deepEqual(
        images.filter(({ status }) => status === 'failed'),
        [],
      );
      if (!format.traits.sequential) assert.deepEqual(contentsOf(there.path), contents);
      assert.equal(Object.keys(await namesOf(there)).length, Object.keys(digestsOf('sync.tar')).length);
    }
  });
});

describe('--fail-fast', () => {
  test('stops at the first image that fails, and the report still names each', async () => {
    const images = {
      'demo/a:1': await imageOf('a'),
      'demo/b:1': await imageOf('b'),
      'demo/c:1': await imageOf('c'),
    };
    const tree = layTree(tempFolder(), images);
    const [config] = images['demo/a:1'].blobs;
    assert.ok(config !== undefined);
    await damage(tree, [[config.bytes, 'gone']]);
    const there = newPlace('reg');
    const report = await convert(place('dir', tree), there, { ...KEEP, failFast: true });
    assert.deepEqual(
      failedImages(report).map(({ source }) => source),
      ['demo/a:1'],
    );
    assert.deepEqual(filesIn(there.path), []);
    assert.deepEqual(report.images.map(({ source }) => source).sort(), Object.keys(images));
    const without = newPlace('reg');
    await convert(place('dir', tree), without, KEEP);
    assert.deepEqual(Object.keys(await namesOf(without)), ['demo/b:1', 'demo/c:1']);
  });

  test('stops when a blob is found to be wrong, and says what was skipped', async () => {
    const names = Array.from({ length: 40 }, (_, i) => `demo/app:${100 + i}`);
    const images = await Promise.all(names.map(async (name) => [name, await imageOf(name)] as const));
    const tree = layTree(tempFolder(), Object.fromEntries(images));
    const layer = images[0]?.[1].blobs.at(-1);
    assert.ok(layer !== undefined);
    await damage(tree, [[layer.bytes, 'changed']]);
    for (const to of LOCAL_FORMATS) {
      const there = newPlace(to);
      const report = await convert(place('dir', tree), there, { ...KEEP, failFast: true });
      assert.deepEqual(report.images.map(({ source }) => source).sort(), names);
      const skipped = report.images.filter(({ status }) => status === 'skipped').map(({ source }) => source);
      assert.ok(skipped.length > 20, `${to.short}: ${skipped.length} skipped`);
      const written = existsSync(there.path) ? Object.keys(await namesOf(there)) : [];
      assert.deepEqual(
        written.filter((name) => skipped.includes(name) || name === names[0]),
        [],
      );
      assert.deepEqual(stagingIn(join(there.path, '..')), []);
    }
  });

  test('stops at a reference that is not there', async () => {
    const there = newPlace('reg');
    const options = { ...KEEP, failFast: true, selectors: selectors('demo/base:1', 'demo/none:1') };
    const report = await convert(place('dir', syncTree()), there, options);
    assert.deepEqual(
      failedImages(report).map(({ source }) => source),
      ['demo/none:1'],
    );
    assert.deepEqual(filesIn(there.path), []);
  });
});

describe('a source', () => {
  for (const { short } of LOCAL_FORMATS) {
    test(`that is not there, of ${short}, is an error, and no target is made`, async () => {
      const there = newPlace('reg');
      await assert.rejects(
        convert(newPlace(short), there),
        (error: unknown) => error instanceof Error && error.name === 'ImgconvError',
      );
      assert.equal(existsSync(there.path), false);
    });
  }

  test('without images is an error, and no target is made', async () => {
    const empty = tempFolder();
    mkdirSync(join(empty, 'docker/registry/v2/repositories'), { recursive: true });
    for (const from of [place('dir', tempFolder()), place('reg', empty)]) {
      const there = newPlace('reg');
      await assert.rejects(convert(from, there), refusal('NOT_FOUND', from.path));
      assert.equal(existsSync(there.path), false);
    }
  });

  test("of an artifact whose config only looks like an image's goes to every format and back", async () => {
    // An empty config under the type of an image's, as older ORAS and Flux versions pushed.
    const config = {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: digestText(Buffer.from('{}')),
      size: 2,
    };
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config,
        layers: [],
      }),
    );
    const root = { mediaType: DOCKER.manifest, digest: digestText(bytes), bytes };
    const blob = { mediaType: config.mediaType, digest: config.digest, bytes: Buffer.from('{}') };
    const tree = layTree(tempFolder(), {
      'demo/artifact:1': { root, members: [], blobs: [blob], platform: undefined },
    });
    for (const to of LOCAL_FORMATS) {
      const [there, back] = [newPlace(to), newPlace('dir')];
      const { images } = await convert(place('dir', tree), there, KEEP);
      assert.deepEqual(
        images.map(({ error, status }) => error?.message ?? status),
        ['written'],
        to.short,
      );
      const report = await convert(there, back, KEEP);
      assert.deepEqual(
        report.images.map(({ error, status }) => error?.message ?? status),
        ['written'],
        to.short,
      );
      assert.deepEqual(contentsOf(back.path), contentsOf(tree));
    }
  });

  test('with indexes within an index is carried whole', async () => {
    const inner = indexOf([await imageOf('inner'), await imageOf('inner arm', { platform: 'linux/arm64' })]);
    const outer = indexOf([inner, await imageOf('outer', { platform: 'linux/s390x' })]);
    const tree = layTree(tempFolder(), { 'demo/nested:1': outer });
    for (const to of LOCAL_FORMATS) {
      const [there, back] = [newPlace(to), newPlace('dir')];
      await convert(place('dir', tree), there, KEEP);
      await convert(there, back, KEEP);
      assert.deepEqual(contentsOf(back.path), contentsOf(tree), to.short);
    }
  });

  test('with a zstd layer is carried as it is', async () => {
    const tar = Buffer.alloc(10_240);
    const zstd = zstdOf(tar);
    const image = await imageOf('x');
    const manifest = JSON.parse(image.root.bytes.toString()) as { config: { digest: string } };
    const configBytes = Buffer.from(
      JSON.stringify({
        os: 'linux',
        architecture: 'amd64',
        rootfs: { type: 'layers', diff_ids: [digestText(tar)] },
      }),
    );
    const config = {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: digestText(configBytes),
      bytes: configBytes,
    };
    const layer = {
      mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd',
      digest: digestText(zstd),
      bytes: zstd,
    };
    const bytes = Buffer.from(
      JSON.stringify({
        ...manifest,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: { mediaType: config.mediaType, digest: config.digest, size: configBytes.length },
        layers: [{ mediaType: layer.mediaType, digest: layer.digest, size: zstd.length }],
      }),
    );
    const root = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: digestText(bytes),
      bytes,
    };
    const tree = layTree(tempFolder(), {
      'demo/zstd:1': { root, members: [], blobs: [config, layer], platform: undefined },
    });
    for (const to of LOCAL_FORMATS) {
      const [there, back] = [newPlace(to), newPlace('dir')];
      await convert(place('dir', tree), there, KEEP);
      const { images } = await convert(there, back, KEEP);
      assert.deepEqual(
        images.map(({ error, status }) => error?.message ?? status),
        ['written'],
        to.short,
      );
      assert.deepEqual(contentsOf(back.path), contentsOf(tree), to.short);
    }
  });
});

/** One frame of one raw block (RFC 8878, 3.1.1): no compressor is needed to make it. */
function zstdOf(bytes: Buffer): Buffer {
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0]);
  header.writeUInt32LE(bytes.length, 5);
  const block = Buffer.alloc(3);
  block.writeUIntLE((bytes.length << 3) | 1, 0, 3);
  return Buffer.concat([header, block, bytes]);
}

describe('too little space', () => {
  const isRoot = process.getuid?.() === 0;

  test(
    'is an error before anything is written',
    { skip: isRoot ? false : 'mounting a small file system needs root' },
    async (t) => {
      const folder = tempFolder();
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'imgconv-test', folder], {
          stdio: 'ignore',
        });
      } catch {
        t.skip('no file system can be mounted here');
        return;
      }
      try {
        const large = await imageOf('large', { base: Buffer.alloc(600_000, 'x'), compress: false });
        const tree = layTree(tempFolder(), { 'demo/large:1': large });
        for (const to of LOCAL_FORMATS) {
          const path = join(folder, to.short);
          await assert.rejects(
            convert(place('dir', tree), { format: to, path }, KEEP),
            refusal('NO_SPACE', path),
          );
          assert.deepEqual(filesIn(folder), []);
          const { plan } = await convert(place('dir', tree), { format: to, path }, { ...KEEP, dryRun: true });
          assert.ok(plan !== undefined && plan.bytesNeeded > plan.bytesFree);
        }
        const { status, stderr } = await imgconv(['dir2reg', tree, join(folder, 'store')]);
        assert.equal(status, 1);
        assert.match(stderr, /[\d.]+ [kMG]?B needed, [\d.]+ [kMG]?B free/);
        assert.deepEqual(filesIn(folder), []);
      } finally {
        execFileSync('umount', [folder]);
      }
    },
  );
});

describe('a read-only file system', () => {
  const isRoot = process.getuid?.() === 0;

  test(
    'is named as that by every writer, and keeps what it holds',
    { skip: isRoot ? false : 'mounting a file system needs root' },
    async (t) => {
      const folder = tempFolder();
      const mount = (options: string) => {
        execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'imgconv-test', folder], { stdio: 'ignore' });
      };
      try {
        mount('size=8m');
      } catch {
        t.skip('no file system can be mounted here');
        return;
      }
      try {
        const one = place('dir', layTree(tempFolder(), { 'demo/one:1': await imageOf('one') }));
        const other = place('dir', layTree(tempFolder(), { 'demo/other:1': await imageOf('other') }));
        for (const to of LOCAL_FORMATS)
          await convert(one, { format: to, path: join(folder, `held.${to.short}`) }, KEEP);
        execFileSync('mount', ['-o', 'remount,ro', folder]);
        const before = contentsOf(folder);
        for (const to of LOCAL_FORMATS)
          for (const below of [`new.${to.short}`, `a/b/new.${to.short}`, `held.${to.short}`]) {
            const path = join(folder, below);
            const words = ['copy', `dir:${other.path}`, `${to.prefix}:${path}`];
            const { status, stderr } = await imgconv(words);
            assert.equal(status, 1, path);
            assert.doesNotMatch(stderr, /\.imgconv-/);
            assert.deepEqual(await imgconv([...words, '--dry-run']), { status, stdout: '', stderr });
            assert.match(
              stderr,
              new RegExp(`imgconv: (?:.*: )?${folder}.*: the file system is read-only\\n`),
            );
            assert.match(stderr, /mount it read-write or choose another target/);
            assert.doesNotMatch(stderr, /no such file/);
          }
        assert.deepEqual(contentsOf(folder), before);
      } finally {
        execFileSync('umount', [folder]);
      }
    },
  );
});

test('a run that is interrupted leaves nothing unfinished', async () => {
  const tree = layTree(tempFolder(), {
    'demo/app:1': await imageOf('x', { base: Buffer.alloc(30_000_000, 'x'), compress: false }),
  });
  for (const to of LOCAL_FORMATS) {
    const there = newPlace(to);
    const controller = new AbortController();
    const progress = {
      planned: () => {
        controller.abort();
      },
    };
    await assert.rejects(
      convert(place('dir', tree), there, { ...KEEP, link: 'copy', signal: controller.signal, progress }),
      refusal('INTERRUPTED'),
    );
    assert.deepEqual(filesIn(there.path), []);
    assert.deepEqual(stagingIn(join(there.path, '..')), []);
  }
});

test('a run over many images is interrupted while they are still listed', async () => {
  const image = await imageOf('x');
  const names = Array.from({ length: 1000 }, (_, i) => [`demo/app:${i}`, image] as const);
  const store = layStore(tempFolder(), Object.fromEntries(names));
  const controller = new AbortController();
  const progress = { planned: () => assert.fail('all images were listed') };
  setTimeout(() => {
    controller.abort();
  }, 0);
  const options = { ...KEEP, signal: controller.signal, progress };
  await assert.rejects(convert(place('reg', store), newPlace('reg'), options), refusal('INTERRUPTED'));
});

test('a folder in the way is an error of that image, or of the run, and stays as it is', async () => {
  const tree = layTree(tempFolder(), { 'demo/app:1': await imageOf('x') });
  for (const to of LOCAL_FORMATS) {
    const there = newPlace(to);
    writeFileSync(join(there.path, '..', 'blocked'), 'a file');
    const path = join(there.path, '..', 'blocked/place');
    const outcome = await convert(place('dir', tree), { format: to, path }, KEEP).then(
      (report) => failedImages(report)[0]?.error,
      (error: unknown) => error,
    );
    assert.ok(outcome instanceof Error && outcome.name === 'ImgconvError', `${to.short}: ${String(outcome)}`);
    assert.deepEqual(contentsOf(join(there.path, '..')), { blocked: 'a file' });
  }
});

describe('compression, when it is not said', () => {
  for (const to of LOCAL_FORMATS) {
    const gzip = to.short === 'reg' || to.short === 'dir';
    for (const file of ['docker20.tar', 'docker28.tar']) {
      // Only the older one has no manifests.
      const changes = gzip && file === 'docker20.tar';
      test(`from ${file} into ${to.short} is ${changes ? 'gzip' : 'left as it is'}`, async () => {
        const { images } = await convert(place('tar', fixture(file)), newPlace(to));
        assert.ok(images.length > 0);
        for (const { digest, sourceDigest } of images) assert.equal(digest !== sourceDigest, changes);
      });
    }
  }
});
