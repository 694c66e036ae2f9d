import assert from 'node:assert/strict';
import { renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { convert, listImages, type ListedImage, type Place } from '../src/index.js';
import { imgconv } from './support/cli.js';
import { digestsOf, expected, fixture, syncTree, unpacked } from './support/fixtures.js';
import { artifactOf, digestText, imageOf, layStore, storedBlob } from './support/images.js';
import { LOCAL_FORMATS, newPlace, place } from './support/places.js';
import { tempFolder } from './support/temp.js';

const NAMES = digestsOf('sync.tar');
const KINDS: Readonly<Record<string, string>> = {
  'demo/list:1': 'index',
  'demo/multi:1': 'index',
  'demo/app:sha256-821752347e1fb915bc56b1a0c9e6ca87863dff8c225b8b180b4b404109f49a54': 'index',
  'helm-charts/demo:0.1.0': 'artifact',
};
const PLATFORMS: Readonly<Record<string, string>> = {
  'demo/list:1': 'linux/amd64,linux/arm64/v8',
  'demo/multi:1': 'linux/amd64,linux/arm64/v8,linux/arm/v7',
  'demo/app:sha256-821752347e1fb915bc56b1a0c9e6ca87863dff8c225b8b180b4b404109f49a54': '-',
  'helm-charts/demo:0.1.0': '-',
};

const made: Place[] = [];
before(async () => {
  for (const format of LOCAL_FORMATS) {
    const there = newPlace(format);
    await convert(place('dir', syncTree()), there, { compression: 'keep' });
    made.push(there);
  }
});

describe('ls', { concurrency: 3 }, () => {
  for (const [i, { short, prefix }] of LOCAL_FORMATS.entries()) {
    test(`lists what is in ${short}: name, digest, kind, size and platforms`, async () => {
      const path = made[i]?.path ?? '';
      // With its prefix or without, with a table or JSON: half of the cases each way.
      const { status, stdout, stderr } = await imgconv(['ls', i % 2 === 0 ? path : `${prefix}:${path}`]);
      assert.deepEqual([status, stderr], [0, '']);
      const rows = stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.split(/ {2,}/));
      assert.deepEqual(
        rows.map(([name, digest, kind, , platforms]) => [name, digest, kind, platforms]).sort(),
        Object.entries(NAMES)
          .map(([name, digest]) => [name, digest, KINDS[name] ?? 'image', PLATFORMS[name] ?? 'linux/amd64'])
          .sort(),
      );
      for (const [, , , size] of rows) assert.match(size ?? '', /^[0-9.]+ [kM]?B$/);
    });
  }

  test('takes what cosign attaches for artifacts, and an encrypted image for an image', async () => {
    const kinds: Record<string, string | undefined> = {};
    for await (const { name = '', kind } of listImages(place('reg', unpacked('signed.tar'))))
      kinds[name.replace(/sha256-[0-9a-f]+/, '')] = kind;
    assert.deepEqual(kinds, {
      'demo/app:.att': 'artifact',
      'demo/app:.sbom': 'artifact',
      'demo/app:.sig': 'artifact',
      'demo/app:1.0': 'image',
      'demo/secret:1': 'image',
    });
  });

  test('chooses by reference and glob', async () => {
    const { status, stdout } = await imgconv(['ls', syncTree(), 'demo/base:1', 'demo/app:?.0']);
    assert.equal(status, 0);
    assert.deepEqual(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.split(' ')[0]),
      ['demo/app:1.0', 'demo/app:2.0', 'demo/base:1'],
    );
  });

  test('with --json gives one list', async () => {
    const { status, stdout } = await imgconv(['ls', unpacked('registry.tar'), '--json']);
    assert.equal(status, 0);
    const images = JSON.parse(stdout) as ListedImage[];
    assert.deepEqual(Object.fromEntries(images.map(({ name, digest }) => [name, digest])), NAMES);
    const multi = images.find(({ name }) => name === 'demo/multi:1');
    assert.deepEqual(multi?.platforms, Object.keys(expected.children['demo/multi:1'] ?? {}));
    assert.equal(multi.kind, 'index');
    const base = images.find(({ name }) => name === 'demo/base:1');
    assert.equal(base?.size, 524 + 1671 + 809);
  });

  test('with --json gives an empty list too', async () => {
    const { status, stdout } = await imgconv(['ls', unpacked('registry.tar'), 'demo/none:1', '--json']);
    assert.equal(status, 1);
    const images = JSON.parse(stdout) as ListedImage[];
    assert.deepEqual(
      images.map(({ error }) => error?.code),
      ['NOT_FOUND'],
    );
  });

  test('shows an image without a name by what chooses it', async () => {
    const { status, stdout } = await imgconv(['ls', fixture('docker20-untagged.tar')]);
    assert.equal(status, 0);
    assert.match(stdout, /^@0 {2}sha256:[0-9a-f]{64} {2}image /);
  });

  test('says why images cannot be read, and once what is wrong with all', async () => {
    const store = layStore(tempFolder(), {
      'demo/app:1': await imageOf('one'),
      'demo/app:2': await imageOf('two'),
    });
    const blobs = join(store, 'docker/registry/v2/blobs');
    renameSync(blobs, join(store, 'elsewhere'));
    symlinkSync(join(store, 'elsewhere'), blobs);
    const { status, stdout, stderr } = await imgconv(['ls', store]);
    assert.equal(status, 1);
    assert.match(stdout, /^demo\/app:1 .* unreadable .*\ndemo\/app:2 .* unreadable .*\n$/);
    assert.match(stderr, /^imgconv: .*blobs: is a symbolic link; .*\n {2}give the real folder.*\n$/);
  });

  test('shows what is missing or cannot be read, and the others', async () => {
    const [good, gone] = [await imageOf('good'), artifactOf('gone')];
    const store = layStore(tempFolder(), { 'demo/good:1': good, 'demo/gone:1': gone });
    rmSync(storedBlob(store, gone.root.digest));
    const { stdout } = await imgconv(['ls', store]);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/).slice(0, 3));
    assert.deepEqual(lines, [
      ['demo/gone:1', gone.root.digest, 'missing'],
      ['demo/good:1', good.root.digest, 'image'],
    ]);
  });
});

describe('inspect', { concurrency: 3 }, () => {
  test('gives the manifests and configs of an index', async () => {
    const { status, stdout } = await imgconv(['inspect', syncTree(), 'demo/multi:1']);
    assert.equal(status, 0);
    const details = JSON.parse(stdout) as {
      name: string;
      digest: string;
      mediaType: string;
      manifests: {
        digest: string;
        platform?: string;
        imageId?: string;
        manifest: object;
        config?: { architecture: string };
        layers: { present: boolean }[];
      }[];
    };
    assert.deepEqual(
      [details.name, details.digest, details.mediaType],
      ['demo/multi:1', NAMES['demo/multi:1'], 'application/vnd.oci.image.index.v1+json'],
    );
    const members = details.manifests.filter(({ platform }) => platform !== undefined);
    assert.deepEqual(
      Object.fromEntries(members.map(({ platform, digest }) => [platform, digest])),
      expected.children['demo/multi:1'],
    );
    assert.deepEqual(
      members.map(({ config }) => config?.architecture),
      ['amd64', 'arm64', 'arm'],
    );
    assert.ok(members.every(({ layers }) => layers.length > 0 && layers.every(({ present }) => present)));
    assert.equal(members[0]?.imageId, expected.imageIds['docker20.tar']?.['demo/app:2.0']);
    for (const { digest, manifest } of details.manifests.filter(({ platform }) => platform === undefined)) {
      assert.equal(digest, NAMES['demo/multi:1']);
      assert.ok('manifests' in manifest);
    }
  });

  test('gives all images without a reference', async () => {
    const { status, stdout } = await imgconv(['inspect', unpacked('registry.tar')]);
    assert.equal(status, 0);
    const all = JSON.parse(stdout) as { name: string; digest: string }[];
    assert.deepEqual(Object.fromEntries(all.map(({ name, digest }) => [name, digest])), NAMES);
  });

  test('gives no config of an artifact', async () => {
    const { status, stdout } = await imgconv(['inspect', syncTree(), 'helm-charts/demo:0.1.0']);
    assert.equal(status, 0);
    const { manifests } = JSON.parse(stdout) as { manifests: { config?: object; imageId?: string }[] };
    assert.deepEqual(
      manifests.map(({ config, imageId }) => [config, imageId]),
      [[undefined, undefined]],
    );
  });
});

test('a list says of each image how large it is, each blob once', async () => {
  const base = Buffer.alloc(2048);
  const image = await imageOf('x', { base });
  const store = layStore(tempFolder(), { 'demo/app:1': image });
  const sizes: (number | undefined)[] = [];
  for await (const { size, digest } of listImages(place('reg', store))) {
    sizes.push(size);
    assert.equal(digest, digestText(image.root.bytes));
  }
  assert.deepEqual(sizes, [[image.root, ...image.blobs].reduce((sum, { bytes }) => sum + bytes.length, 0)]);
});
