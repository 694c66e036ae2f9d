import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import zlib from 'node:zlib';
import { z } from 'zod';
import {
  convert,
  listImages,
  type ConvertOptions,
  type ImageReport,
  type Place,
  type Report,
} from '../src/index.js';
import { verify } from '../src/upkeep/verify.js';
import { imgconv } from './support/cli.js';
import { FakeRegistry } from './support/fake-registry.js';
import { expected, fixture, syncTree } from './support/fixtures.js';
import {
  artifactOf,
  descriptorOf,
  digestText,
  imageOf,
  indexOf,
  layDir,
  layStore,
  layTree,
  OCI,
  part,
  storedBlob,
  type Sample,
} from './support/images.js';
import {
  archiveOf,
  ARTIFACTS,
  digestTag,
  nestedOf,
  oldReferrerOf,
  parseImage,
  referrerOf,
  savedFiles,
} from './support/layouts.js';
import { LOCAL_FORMATS, formatOf, imageIdsOf, namesOf, newPlace, place } from './support/places.js';
import { contentsOf, filesIn, stagingIn } from './support/snapshot.js';
import { tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';

const KEEP = { compression: 'keep' } as const;
const ZSTD_LAYER = 'application/vnd.oci.image.layer.v1.tar+zstd';

function selectorsOf(...texts: string[]) {
  return texts.map((text) => ({ text, rename: undefined, where: 'test' }));
}

function reportOf({ images }: Report, name: string): ImageReport {
  const found = images.find((one) => one.name === name);
  assert.ok(found !== undefined, `${name} is not in the report`);
  return found;
}

async function convertAll(from: Place, to: Place, options: ConvertOptions): Promise<Report> {
  const report = await convert(from, to, options);
  for (const { source, status, error } of report.images)
    assert.equal(status, 'written', `${source}: ${error?.message ?? ''}`);
  return report;
}

/** The names of a place, sorted; a registry's storage lists revisions without a tag only when they are asked for. */
async function namesIn(from: Place, untagged: readonly string[] = []): Promise<string[]> {
  const names = Object.keys(await namesOf(from));
  if (from.format.short !== 'reg' || untagged.length === 0) return names.sort();
  const tree = newPlace('dir');
  await convertAll(from, tree, { ...KEEP, selectors: selectorsOf(...untagged) });
  return [...names, ...Object.keys(await namesOf(tree))].sort();
}

/** A store with an image, all that can be attached to one, and another image that has a signature, too. */
interface Signed {
  readonly store: Place;
  readonly app: Sample;
  readonly referrer: Sample;
  /** What the referrers tag lists. */
  readonly listed: Sample;
  readonly tags: Readonly<Record<string, Sample>>;
}

async function signedStore(): Promise<Signed> {
  const app = await imageOf('app', { family: OCI });
  const other = await imageOf('other', { family: OCI });
  const referrer = referrerOf(app.root, 'without a tag');
  const listed = referrerOf(app.root, 'in the referrers index');
  const tag = (suffix: string) => `demo/app:${digestTag(app.root.digest, suffix)}`;
  const tags = {
    [tag('.sig')]: artifactOf('a signature'),
    [tag('.att')]: artifactOf('an attestation'),
    [tag('.sbom')]: artifactOf('a bill of materials'),
    [tag('')]: nestedOf([listed]),
  };
  const path = tempFolder();
  layStore(path, {
    'demo/app:1': app,
    'demo/other:1': other,
    'demo/other:untagged': referrerOf(other.root, 'of the other'),
    [`demo/other:${digestTag(other.root.digest, '.sig')}`]: artifactOf('of the other'),
    'demo/app:untagged': referrer,
    ...tags,
  });
  for (const repository of ['demo/app', 'demo/other'])
    rmSync(join(path, 'docker/registry/v2/repositories', repository, '_manifests/tags/untagged'), {
      recursive: true,
    });
  return { store: place('reg', path), app, referrer, listed, tags };
}

describe('what is attached to an image', () => {
  let signed: Signed;

  before(async () => {
    signed = await signedStore();
  });

  for (const { short } of LOCAL_FORMATS) {
    test(`goes with it into ${short}: tags, referrers tag, referrers without a tag`, async () => {
      const target = newPlace(short);
      const report = await convertAll(signed.store, target, {
        ...KEEP,
        selectors: selectorsOf('demo/app:1'),
      });
      const untagged = `demo/app@${signed.referrer.root.digest}`;
      const names = ['demo/app:1', ...Object.keys(signed.tags), untagged].sort();
      assert.deepEqual(await namesIn(target, [untagged]), names);
      for (const name of Object.keys(signed.tags))
        assert.match(reportOf(report, name).notes.join('\n'), /attached to demo\/app:1/);
      const tree = newPlace('dir');
      await convertAll(target, tree, { ...KEEP, selectors: selectorsOf('**', untagged) });
      const samples = { 'demo/app:1': signed.app, ...signed.tags, [untagged]: signed.referrer };
      for (const [name, sample] of Object.entries(samples)) {
        const wanted = join(tempFolder(), 'wanted');
        layDir(wanted, sample);
        assert.deepEqual(contentsOf(join(tree.path, name)), contentsOf(wanted), name);
      }
    });

    test(`stays behind with --no-extras: ${short}`, async () => {
      const target = newPlace(short);
      await convertAll(signed.store, target, {
        ...KEEP,
        extras: false,
        selectors: selectorsOf('demo/app:1'),
      });
      assert.deepEqual(await namesIn(target), ['demo/app:1']);
      const { digest } = signed.referrer.root;
      assert.ok(
        !filesIn(target.path).some((name) => name.includes(digest.slice(7))),
        'nor those without a tag',
      );
      const all = newPlace(short);
      await convertAll(signed.store, all, { ...KEEP, extras: false });
      assert.deepEqual(Object.keys(await namesOf(all)).sort(), ['demo/app:1', 'demo/other:1']);
    });
  }

  test('goes under the new name of its image', async () => {
    const target = newPlace('reg');
    const selectors = [{ text: 'demo/app:1', rename: 'team/web:2', where: 'test' }];
    await convertAll(signed.store, target, { ...KEEP, selectors });
    const tags = Object.keys(signed.tags).map((name) => name.replace('demo/app', 'team/web'));
    assert.deepEqual(Object.keys(await namesOf(target)).sort(), ['team/web:2', ...tags].sort());
  });

  test('stays with --no-extras when it is asked for by its own name', async () => {
    const target = newPlace('reg');
    const [signature = ''] = Object.keys(signed.tags);
    const selectors = selectorsOf('demo/app:1', signature);
    await convertAll(signed.store, target, { ...KEEP, extras: false, selectors });
    assert.deepEqual(Object.keys(await namesOf(target)).sort(), ['demo/app:1', signature].sort());
  });

  for (const [what, options] of Object.entries({
    '--recompress --compression zstd': { compression: 'zstd', recompress: true },
    '--layers uncompressed': { compression: 'none', recompress: true },
  } as const)) {
    test(`stays behind when the digest changes, and the report says so: ${what}`, async () => {
      const target = newPlace('reg');
      const report = await convertAll(signed.store, target, {
        ...options,
        selectors: selectorsOf('demo/app:1'),
      });
      const { digest, sourceDigest, notes } = reportOf(report, 'demo/app:1');
      assert.notEqual(digest, sourceDigest);
      assert.match(notes.join('\n'), /6 attached artifacts left out: made for the digest that the image had/);
      assert.deepEqual(Object.keys(await namesOf(target)), ['demo/app:1']);
    });

    test(`stays behind as the report says when all of a store is converted: ${what}`, async () => {
      const target = newPlace('reg');
      const report = await convertAll(signed.store, target, options);
      const note = reportOf(report, 'demo/app:1').notes.find((text) => text.includes('left out: made for'));
      const said = Number(/^\d+/.exec(note ?? '0')?.[0]);
      const attached = [...Object.values(signed.tags), signed.listed, signed.referrer];
      const behind = attached.filter(({ root }) => !existsSync(storedBlob(target.path, root.digest)));
      assert.equal(said, behind.length, note);
    });
  }

  for (const mediaType of ARTIFACTS) {
    for (const { short } of LOCAL_FORMATS) {
      test(`an ${mediaType} goes into ${short} and back, and ls and verify know it`, async () => {
        const old = oldReferrerOf(signed.app.root, 'old', mediaType);
        const images = { 'demo/app:1': signed.app, 'demo/app:old': old };
        const target = newPlace(short);
        await convertAll(place('reg', layStore(tempFolder(), images)), target, KEEP);
        const listed: unknown[] = [];
        for await (const { name, kind, size } of listImages(target)) listed.push([name, kind, size]);
        const sizeOf = (sample: Sample) =>
          [sample.root, ...sample.blobs].reduce((sum, { bytes }) => sum + bytes.length, 0);
        assert.deepEqual(listed.sort(), [
          ['demo/app:1', 'image', sizeOf(signed.app)],
          ['demo/app:old', 'artifact', sizeOf(old)],
        ]);
        const sound = await verify(target);
        assert.deepEqual([sound.images, sound.findings], [2, []]);
        const back = newPlace('dir');
        await convertAll(target, back, KEEP);
        const wanted = layTree(tempFolder(), { 'demo/app:1': signed.app, 'demo/app:old': old });
        assert.deepEqual(contentsOf(back.path), contentsOf(wanted));
        if (short === 'tar' || short === 'ocitar') return;
        const [blob] = old.blobs;
        const hexOf = blob?.digest.slice(7) ?? '';
        const [file = ''] = filesIn(target.path).filter(
          (path) => path.includes(hexOf) && !path.endsWith('link'),
        );
        rmSync(join(target.path, file));
        const broken = await verify(target);
        assert.ok(
          broken.findings.some(
            ({ kind, images }) => kind === 'blob-missing' && images.includes('demo/app:old'),
          ),
        );
      });
    }

    test(`an ${mediaType} goes with its subject`, async () => {
      const old = oldReferrerOf(signed.app.root, 'old', mediaType);
      const store = layStore(tempFolder(), { 'demo/app:1': signed.app, 'demo/app:old': old });
      const tree = newPlace('dir');
      await convertAll(place('reg', store), tree, { ...KEEP, selectors: selectorsOf('demo/app:1') });
      const attached = `demo/app@${old.root.digest}`;
      const wanted = layTree(tempFolder(), { 'demo/app:1': signed.app, [attached]: old });
      assert.deepEqual(contentsOf(tree.path), contentsOf(wanted));
    });

    test(`an ${mediaType} goes through registries`, async () => {
      const old = oldReferrerOf(signed.app.root, 'old', mediaType);
      await using from = (await FakeRegistry.start()).add({ 'demo/app:1': signed.app, 'demo/app:old': old });
      await using to = await FakeRegistry.start();
      const at = ({ host }: FakeRegistry): Place => ({
        format: formatOf('docker'),
        path: `${host}/demo/app`,
      });
      const { images } = await convert(at(from), { format: formatOf('docker'), path: to.host }, KEEP);
      for (const { error } of images) assert.equal(error, undefined);
      const stored = to.manifests.get('demo/app')?.get('old');
      assert.deepEqual([stored?.type, stored?.bytes], [mediaType, old.root.bytes]);
      assert.ok(to.blobs.has(old.blobs[0]?.digest ?? ''));
    });
  }

  test('a chain of referrers, and no loop', async () => {
    const first = referrerOf(signed.app.root, 'first');
    const second = referrerOf(first.root, 'of the first');
    const path = layStore(tempFolder(), {
      'demo/app:1': signed.app,
      'demo/app:a': first,
      'demo/app:b': second,
    });
    const target = newPlace('oci');
    await convertAll(place('reg', path), target, { ...KEEP, selectors: selectorsOf('demo/app:1') });
    const digests = Object.values(await namesOf(target));
    for (const { root } of [signed.app, first, second]) assert.ok(digests.includes(root.digest));
  });
});

describe('attestations in an index', () => {
  let attested: Sample;
  let bare: Sample;
  let store: Place;

  before(async () => {
    const images = [
      await imageOf('x', { platform: 'linux/amd64', family: OCI }),
      await imageOf('y', { platform: 'linux/arm64', family: OCI }),
    ];
    bare = indexOf(images);
    const attestations = await Promise.all(
      images.map(async ({ root }) => ({
        of: root.digest,
        image: await imageOf(`attests ${root.digest}`, { platform: 'unknown/unknown', family: OCI }),
      })),
    );
    const { manifests } = z
      .object({ manifests: z.array(z.looseObject({ mediaType: z.string(), digest: z.string() })) })
      .parse(JSON.parse(bare.root.bytes.toString()));
    const root = part(OCI.index, {
      schemaVersion: 2,
      mediaType: OCI.index,
      manifests: [
        ...manifests,
        ...attestations.map(({ of, image }) =>
          descriptorOf(image.root, {
            annotations: {
              'vnd.docker.reference.digest': of,
              'vnd.docker.reference.type': 'attestation-manifest',
            },
            platform: { architecture: 'unknown', os: 'unknown' },
          }),
        ),
      ],
    });
    attested = {
      root,
      members: [...bare.members, ...attestations.map(({ image }) => image.root)],
      blobs: [...bare.blobs, ...attestations.flatMap(({ image }) => image.blobs)],
      platform: undefined,
    };
    store = place('reg', layStore(tempFolder(), { 'demo/multi:1': attested }));
  });

  for (const { short } of LOCAL_FORMATS) {
    test(`go into ${short}, and the digest stays`, async () => {
      const target = newPlace(short);
      await convertAll(store, target, KEEP);
      const tree = newPlace('dir');
      await convertAll(target, tree, KEEP);
      assert.deepEqual(
        contentsOf(tree.path),
        contentsOf(layTree(tempFolder(), { 'demo/multi:1': attested })),
      );
    });

    test(`are left out of ${short} with --no-extras, and the report says that the index is new`, async () => {
      const target = newPlace(short);
      const report = await convertAll(store, target, { ...KEEP, extras: false });
      assert.match(
        reportOf(report, 'demo/multi:1').notes.join('\n'),
        /attestations are left out, so the index is a new one/,
      );
      const tree = newPlace('dir');
      await convertAll(target, tree, KEEP);
      assert.deepEqual(contentsOf(tree.path), contentsOf(layTree(tempFolder(), { 'demo/multi:1': bare })));
    });
  }

  test('go with the platform that they speak of', async () => {
    const target = newPlace('reg');
    await convertAll(store, target, { ...KEEP, platforms: [{ os: 'linux', architecture: 'arm64' }] });
    const [digest = ''] = Object.values(await namesOf(target));
    const index = JSON.parse(readFileSync(storedBlob(target.path, digest), 'utf8')) as {
      manifests?: { annotations?: Record<string, string> }[];
    };
    const of = index.manifests?.find(({ annotations }) => annotations !== undefined)?.annotations?.[
      'vnd.docker.reference.digest'
    ];
    assert.equal(of, bare.members[1]?.digest);
    assert.equal(index.manifests?.length, 2);
  });

  test('are not what an engine loads', async () => {
    const target = newPlace('tar');
    const report = await convertAll(store, target, { ...KEEP, platforms: [] });
    assert.match(
      reportOf(report, 'demo/multi:1').notes.join('\n'),
      /engines will load linux\/\w+ of its 2 platforms/,
    );
  });
});

describe("skopeo's signature files", () => {
  let tree: string;
  let app: Sample;
  let multi: Sample;

  before(async () => {
    app = await imageOf('app', { family: OCI });
    multi = indexOf([
      await imageOf('x', { platform: 'linux/amd64', family: OCI }),
      await imageOf('y', { platform: 'linux/arm64', family: OCI }),
    ]);
    tree = layTree(tempFolder(), { 'demo/app:1': app, 'demo/multi:1': multi });
    writeFileSync(join(tree, 'demo/app:1/signature-1'), 'signature one');
    writeFileSync(join(tree, 'demo/app:1/signature-2'), 'signature two');
    writeFileSync(join(tree, 'demo/multi:1/signature-1'), 'of the index');
    const member = multi.members[1]?.digest.slice(7) ?? '';
    writeFileSync(join(tree, `demo/multi:1/${member}.signature-1`), 'of a member');
  });

  test('go from dir to dir', async () => {
    const target = newPlace('dir');
    const report = await convertAll(place('dir', tree), target, KEEP);
    assert.deepEqual(contentsOf(target.path), contentsOf(tree));
    assert.deepEqual(
      report.images.flatMap(({ notes }) => notes),
      [],
    );
  });

  test('are left out with --no-extras', async () => {
    const target = newPlace('dir');
    await convertAll(place('dir', tree), target, { ...KEEP, extras: false });
    assert.deepEqual(
      filesIn(target.path).filter((name) => name.includes('signature')),
      [],
    );
  });

  for (const short of ['reg', 'oci', 'tar', 'ocitar']) {
    test(`stay behind where they have no place, and the report says so: ${short}`, async () => {
      const target = newPlace(short);
      const report = await convertAll(place('dir', tree), target, KEEP);
      for (const name of ['demo/app:1', 'demo/multi:1'])
        assert.match(reportOf(report, name).notes.join('\n'), /2 signature files left out: only/);
      const bytes = Object.values(contentsOf(target.path)).join('');
      for (const text of ['signature one', 'of the index', 'of a member']) assert.ok(!bytes.includes(text));
      const quiet = await convertAll(place('dir', tree), newPlace(short), { ...KEEP, extras: false });
      assert.doesNotMatch(
        reportOf(quiet, 'demo/app:1').notes.join('\n'),
        /signature/,
        'what was not wanted is not missed',
      );
    });
  }

  test('stay behind when the digest changes, and the report says so', async () => {
    const target = newPlace('dir');
    const options = { compression: 'zstd', recompress: true, selectors: selectorsOf('demo/app:1') } as const;
    const report = await convertAll(place('dir', tree), target, options);
    assert.deepEqual(
      filesIn(target.path).filter((name) => name.includes('signature')),
      [],
      'they sign another digest',
    );
    assert.match(reportOf(report, 'demo/app:1').notes.join('\n'), /2 signature files left out/);
  });

  test('of one platform go with it, those of the index stay behind', async () => {
    const target = newPlace('dir');
    const platforms = [{ os: 'linux', architecture: 'arm64' }];
    const report = await convertAll(place('dir', tree), target, {
      ...KEEP,
      platforms,
      selectors: selectorsOf('demo/multi:1'),
    });
    const signatures = Object.entries(contentsOf(target.path)).filter(([name]) => name.includes('signature'));
    assert.deepEqual(signatures, [['demo/multi:1/signature-1', 'of a member']]);
    assert.match(reportOf(report, 'demo/multi:1').notes.join('\n'), /1 signature file left out/);
  });
});

const hasZstd = spawnSync('zstd', ['--version'], { stdio: 'ignore' }).error === undefined;

/** Proves with the zstd program that each layer of a stored image is a sound stream of what its config says. */
function assertZstdLayers(store: string, digest: string): void {
  const { config, layers } = parseImage(readFileSync(storedBlob(store, digest)));
  const diffIds = z
    .object({ rootfs: z.object({ diff_ids: z.array(z.string()) }) })
    .parse(JSON.parse(readFileSync(storedBlob(store, config.digest), 'utf8'))).rootfs.diff_ids;
  for (const layer of layers) {
    assert.equal(layer.mediaType, ZSTD_LAYER);
    execFileSync('zstd', ['-tq'], { input: readFileSync(storedBlob(store, layer.digest)) });
  }
  const unpacked = layers.map((layer) =>
    digestText(
      execFileSync('zstd', ['-dcq'], {
        input: readFileSync(storedBlob(store, layer.digest)),
        maxBuffer: 1 << 28,
      }),
    ),
  );
  assert.deepEqual(unpacked, diffIds);
}

describe('--compression zstd', { skip: hasZstd ? false : 'no zstd here' }, () => {
  test('of OCI manifests, out of an archive', async () => {
    const store = newPlace('reg');
    await convertAll(place('tar', fixture('docker28.tar')), store, { compression: 'zstd' });
    assert.deepEqual(await imageIdsOf(store), expected.imageIds['docker28.tar']);
    for (const digest of Object.values(await namesOf(store))) assertZstdLayers(store.path, digest);
  });

  test('of a layer of many pieces', async () => {
    const noise = Buffer.alloc(9 * 1024 * 1024, 'some text that is compressed ');
    const sample = await imageOf('large', { family: OCI, compress: false, base: await tarOf({ noise }) });
    const store = newPlace('reg');
    await convertAll(place('dir', layTree(tempFolder(), { 'demo/large:1': sample })), store, {
      compression: 'zstd',
    });
    const [digest = ''] = Object.values(await namesOf(store));
    assertZstdLayers(store.path, digest);
    const back = newPlace('reg');
    await convertAll(store, back, { compression: 'none', recompress: true });
    assert.deepEqual(
      Object.values(await namesOf(back)),
      [sample.root.digest],
      'uncompressed again, it is what it was',
    );
  });

  test('leaves compressed layers alone without --recompress', async () => {
    const app = await imageOf('app', { family: OCI });
    const store = newPlace('reg');
    await convertAll(place('dir', layTree(tempFolder(), { 'demo/app:1': app })), store, {
      compression: 'zstd',
    });
    assert.deepEqual(await namesOf(store), { 'demo/app:1': app.root.digest });
  });

  test('is refused for Docker schema 2, with what would help', async () => {
    for (const [from, flags] of [
      [fixture('docker20.tar'), []],
      [join(tempFolder(), 'schema2.tar'), ['--recompress']],
    ] as const) {
      if (flags.length > 0)
        writeFileSync(from, await archiveOf(savedFiles({ 'demo/app:1': await imageOf('docker') })));
      const target = newPlace('reg');
      const { status, stderr } = await imgconv([
        'tar2reg',
        from,
        target.path,
        '--compression',
        'zstd',
        ...flags,
      ]);
      assert.equal(status, 1);
      assert.match(stderr, /no zstd form of application\/vnd\.docker\.image\.rootfs\.diff\.tar/);
      assert.match(stderr, /--compression gzip/);
      assert.deepEqual(filesIn(target.path), []);
      assert.deepEqual(stagingIn(dirname(target.path)), []);
    }
  });

  test('is refused for Docker schema 2 and done for OCI in one run', async () => {
    const images = {
      'demo/docker:1': await imageOf('a', { compress: false }),
      'demo/oci:1': await imageOf('b', { compress: false, family: OCI }),
    };
    const target = newPlace('reg');
    const { images: reports } = await convert(place('dir', layTree(tempFolder(), images)), target, {
      compression: 'zstd',
    });
    assert.deepEqual(
      Object.fromEntries(reports.map(({ source, status, error }) => [source, error?.code ?? status])),
      { 'demo/docker:1': 'FORMAT_UNSUPPORTED', 'demo/oci:1': 'written' },
    );
    const names = await namesOf(target);
    assert.deepEqual(Object.keys(names), ['demo/oci:1']);
    assertZstdLayers(target.path, names['demo/oci:1'] ?? '');
  });
});

describe('--recompress', { skip: hasZstd ? false : 'no zstd here' }, () => {
  let app: Sample;
  let tree: Place;

  before(async () => {
    app = await imageOf('app', { family: OCI, base: await tarOf({ 'etc/base': 'b'.repeat(5000) }) });
    const multi = indexOf([app, await imageOf('arm', { family: OCI, platform: 'linux/arm64' })]);
    tree = place('dir', layTree(tempFolder(), { 'demo/app:1': app, 'demo/multi:1': multi }));
  });

  test('gzip to zstd to gzip keeps the image ID, and the report says that digests change', async () => {
    const [zstd, gzip] = [newPlace('reg'), newPlace('reg')];
    const report = await convertAll(tree, zstd, { compression: 'zstd', recompress: true });
    for (const { notes, digest, sourceDigest } of report.images) {
      assert.notEqual(digest, sourceDigest);
      assert.match(notes.join('\n'), /layers are now zstd, so the digest is a new one/);
    }
    assertZstdLayers(zstd.path, (await namesOf(zstd))['demo/app:1'] ?? '');
    await convertAll(zstd, gzip, { compression: 'gzip', recompress: true });
    const ids = await imageIdsOf(tree);
    assert.deepEqual(await imageIdsOf(zstd), ids);
    assert.deepEqual(await imageIdsOf(gzip), ids);
    const { layers } = parseImage(
      readFileSync(storedBlob(gzip.path, (await namesOf(gzip))['demo/app:1'] ?? '')),
    );
    assert.deepEqual(
      layers.map(({ mediaType }) => mediaType),
      [OCI.gzip, OCI.gzip],
    );
    const unzipped = layers.map(({ digest }) =>
      digestText(zlib.gunzipSync(readFileSync(storedBlob(gzip.path, digest)))),
    );
    const before = parseImage(app.root.bytes).layers.map(({ digest }) => {
      const blob = app.blobs.find((one) => one.digest === digest);
      return digestText(zlib.gunzipSync(blob?.bytes ?? Buffer.alloc(0)));
    });
    assert.deepEqual(unzipped, before);
  });

  test('needs to be told into what', async () => {
    for (const flags of [[], ['--compression', 'keep']]) {
      const target = newPlace('reg');
      const { status, stderr } = await imgconv(['dir2reg', tree.path, target.path, '--recompress', ...flags]);
      assert.equal(status, 2);
      assert.match(stderr, /--recompress: say into what with --compression/);
      assert.deepEqual(filesIn(target.path), []);
    }
  });

  test('gives the same bytes with any number of threads, whichever layer is done first', async () => {
    const large = await tarOf({ large: Buffer.alloc(12 * 1024 * 1024, 'large ') });
    const sample = await imageOf('small', { family: OCI, base: large });
    const from = place('dir', layTree(tempFolder(), { 'demo/large:1': sample }));
    for (const options of [
      { compression: 'none', recompress: true },
      { compression: 'zstd', recompress: true },
    ] as const) {
      const files = await Promise.all(
        [1, 4, 4].map(async (jobs) => {
          const target = newPlace('ocitar');
          await convertAll(from, target, { ...options, jobs });
          return readFileSync(target.path);
        }),
      );
      const [one, ...others] = files;
      for (const other of others) assert.ok(one?.equals(other) === true, options.compression);
    }
  });

  test('leaves artifacts alone', async () => {
    const from = newPlace('dir');
    mkdirSync(from.path);
    layDir(join(from.path, 'charts/demo:1'), artifactOf('chart'));
    const target = newPlace('reg');
    const { images } = await convertAll(from, target, { compression: 'zstd', recompress: true });
    assert.deepEqual(
      images.map(({ digest }) => digest),
      [artifactOf('chart').root.digest],
    );
  });
});

test('the referrers tag of a fixture goes with its image, and its artifact with it', async () => {
  const target = newPlace('oci');
  await convertAll(place('dir', syncTree()), target, { ...KEEP, selectors: selectorsOf('demo/app:2.0') });
  const names = Object.keys(await namesOf(target));
  assert.ok(names.includes('demo/app:2.0'));
  assert.ok(
    names.some((name) => name.startsWith('demo/app:sha256-')),
    names.join(', '),
  );
});

describe('images without a tag in a store that is converted whole', () => {
  let store: string;
  let untagged: Readonly<Record<'image' | 'index' | 'orphan', string>>;

  before(async () => {
    const [app, old, arm, amd] = [
      await imageOf('app', { family: OCI }),
      await imageOf('old', { family: OCI }),
      await imageOf('arm', { family: OCI, platform: 'linux/arm64' }),
      await imageOf('amd', { family: OCI }),
    ];
    const gone = await imageOf('gone', { family: OCI });
    const [tagged, index] = [indexOf([app, arm]), indexOf([amd, arm])];
    const samples = {
      image: old,
      index,
      orphan: referrerOf(gone.root, 'of what is gone'),
      // No images of their own: members, and referrers of what is there.
      member: arm,
      referrer: referrerOf(app.root, 'of a member'),
      'referrer-of-untagged': referrerOf(old.root, 'of an untagged image'),
    };
    store = tempFolder();
    layStore(store, { 'demo/app:1': tagged, 'demo/app:2': app });
    for (const [tag, sample] of Object.entries(samples)) {
      layStore(store, { [`demo/app:${tag}`]: sample });
      rmSync(join(store, 'docker/registry/v2/repositories/demo/app/_manifests/tags', tag), {
        recursive: true,
      });
    }
    const name = ({ root }: Sample) => `demo/app@${root.digest}`;
    untagged = { image: name(old), index: name(index), orphan: name(samples.orphan) };
  });

  for (const words of [[], ['--no-extras'], ['--dry-run'], ['--platform', 'linux/amd64']])
    test(`are counted in the report: ${words.join(' ')}`, async () => {
      const said = await imgconv(['reg2reg', store, join(tempFolder(), 'target'), ...words]);
      assert.deepEqual([said.status, said.stderr], [0, '']);
      assert.match(said.stdout, /\n3 untagged images were left out: --untagged takes them\n$/);
      const json = await imgconv(['reg2tar', store, join(tempFolder(), 'target'), '--json', ...words]);
      assert.equal((JSON.parse(json.stdout) as Report).untaggedLeftOut, 3);
    });

  for (const { short } of LOCAL_FORMATS)
    test(`go into ${short} with --untagged, and with them what refers to them`, async () => {
      const target = newPlace(short);
      const report = await convertAll(place('reg', store), target, { ...KEEP, untagged: true });
      assert.equal(report.untaggedLeftOut, 0);
      const written = report.images.map(({ name }) => name ?? '');
      for (const name of Object.values(untagged)) assert.ok(written.includes(name), name);
      const names = await namesIn(target, Object.values(untagged));
      for (const name of ['demo/app:1', 'demo/app:2', ...Object.values(untagged)])
        assert.ok(names.includes(name), name);
      // The two tagged ones, the three, and a referrer of one of each.
      assert.equal(report.images.length, 7);
      if (short === 'reg') {
        const again = await convert(target, newPlace('reg'), KEEP);
        assert.equal(again.untaggedLeftOut, 3);
      }
    });

  test('--untagged leaves out referrers with --no-extras', async () => {
    const report = await convertAll(place('reg', store), newPlace('reg'), {
      ...KEEP,
      untagged: true,
      extras: false,
    });
    assert.deepEqual(
      report.images.map(({ name }) => name),
      ['demo/app:1', 'demo/app:2', ...Object.values(untagged)].sort(),
    );
  });

  test('are converted with --untagged where nothing has a tag', async () => {
    const path = tempFolder();
    const old = await imageOf('old');
    layStore(path, { 'demo/app:old': old });
    rmSync(join(path, 'docker/registry/v2/repositories/demo/app/_manifests/tags'), { recursive: true });
    const target = newPlace('dir');
    const { status, stderr } = await imgconv(['reg2dir', path, target.path]);
    assert.equal(status, 1);
    assert.match(stderr, /there are no tagged images in it\n {2}--untagged takes images without a tag/);
    assert.equal((await imgconv(['reg2dir', path, target.path, '--untagged'])).status, 0);
    assert.deepEqual(await namesOf(target), { [`demo/app@${old.root.digest}`]: old.root.digest });
  });

  test('are not counted where references choose images', async () => {
    const said = await imgconv(['reg2reg', store, join(tempFolder(), 'target'), 'demo/*:*']);
    assert.doesNotMatch(said.stdout, /untagged/);
  });
});
