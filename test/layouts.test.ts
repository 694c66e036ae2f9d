import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { convert, parsePlatform } from '../src/index.js';
import {
  artifactOf,
  descriptorOf,
  digestText,
  hex,
  imageOf,
  indexOf,
  layTree,
  layStore,
  OCI,
  type Part,
  type Sample,
} from './support/images.js';
import { newPlace, place } from './support/places.js';
import { filesIn, inodeOf } from './support/snapshot.js';
import { bodyOf, readTarFile, tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';

/*
 * What stands where, written out once more by hand: the layouts are other programs' to define, so that the product's
 * own functions cannot be the measure of them.
 */
const KEEP = { compression: 'keep' } as const;

let one: Sample;
let many: Sample;
let chart: Sample;
let wide: Sample;
let tree = '';

before(async () => {
  const base = await tarOf({ 'etc/base': 'shared' });
  one = await imageOf('one', { base });
  many = indexOf([
    await imageOf('many', { family: OCI, base }),
    await imageOf('many arm', { family: OCI, platform: 'linux/arm64/v8' }),
  ]);
  chart = artifactOf('chart');
  wide = await imageOf('wide', { algorithm: 'sha512' });
  tree = layTree(tempFolder(), {
    'demo/one:1': one,
    'demo/many:2': many,
    'charts/nested/chart:0.1.0': chart,
  });
});

/** Bytes as text that compares whatever they are. */
function bytesAt(root: string): Record<string, string> {
  return Object.fromEntries(filesIn(root).map((name) => [name, readFileSync(join(root, name), 'latin1')]));
}

function latin1({ bytes }: Part): string {
  return bytes.toString('latin1');
}

describe('a registry store', () => {
  const V2 = 'docker/registry/v2';

  /** Links and blobs of one image under one tag. */
  function filesOf(
    repository: string,
    tag: string,
    { root, members, blobs }: Sample,
  ): Record<string, string> {
    const below = `${V2}/repositories/${repository}`;
    const files: Record<string, string> = {};
    for (const part of [root, ...members, ...blobs])
      files[`${V2}/blobs/sha256/${hex(part.digest).slice(0, 2)}/${hex(part.digest)}/data`] = latin1(part);
    for (const { digest } of blobs) files[`${below}/_layers/sha256/${hex(digest)}/link`] = digest;
    for (const { digest } of [root, ...members])
      files[`${below}/_manifests/revisions/sha256/${hex(digest)}/link`] = digest;
    files[`${below}/_manifests/tags/${tag}/index/sha256/${hex(root.digest)}/link`] = root.digest;
    files[`${below}/_manifests/tags/${tag}/current/link`] = root.digest;
    return files;
  }

  test('holds blobs once, links without a newline, revisions for members too, and both links of a tag', async () => {
    const store = newPlace('reg');
    await convert(place('dir', tree), store, KEEP);
    assert.deepEqual(bytesAt(store.path), {
      ...filesOf('demo/one', '1', one),
      ...filesOf('demo/many', '2', many),
      ...filesOf('charts/nested/chart', '0.1.0', chart),
    });
  });

  test('keeps the older index entry of a tag that moves, and the older revision', async () => {
    const store = newPlace('reg');
    const other = await imageOf('another one');
    await convert(place('dir', tree), store, KEEP);
    await convert(place('dir', layTree(tempFolder(), { 'demo/one:1': other })), store, KEEP);
    assert.deepEqual(bytesAt(store.path), {
      ...filesOf('demo/one', '1', one),
      ...filesOf('demo/many', '2', many),
      ...filesOf('charts/nested/chart', '0.1.0', chart),
      ...filesOf('demo/one', '1', other),
    });
  });

  test('names sha512 blobs as such', async () => {
    const store = newPlace('reg');
    await convert(
      place('dir', layTree(tempFolder(), { [`demo/wide@${wide.root.digest}`]: wide })),
      store,
      KEEP,
    );
    const files = filesIn(join(store.path, V2));
    for (const { digest } of [wide.root, ...wide.blobs])
      assert.ok(files.includes(`blobs/sha512/${hex(digest).slice(0, 2)}/${hex(digest)}/data`), digest);
    assert.ok(
      files.includes(`repositories/demo/wide/_manifests/revisions/sha512/${hex(wide.root.digest)}/link`),
    );
    assert.deepEqual(
      files.filter((name) => name.includes('/tags/')),
      [],
    );
  });
});

describe('a tree of directories', () => {
  function filesOf(name: string, { root, members, blobs }: Sample): Record<string, string> {
    return {
      [`${name}/version`]: 'Directory Transport Version: 1.1\n',
      [`${name}/manifest.json`]: latin1(root),
      ...Object.fromEntries(
        members.map((part) => [`${name}/${hex(part.digest)}.manifest.json`, latin1(part)]),
      ),
      ...Object.fromEntries(blobs.map((part) => [`${name}/${hex(part.digest)}`, latin1(part)])),
    };
  }

  test('is what skopeo writes', async () => {
    const store = layStore(tempFolder(), {
      'demo/one:1': one,
      'demo/many:2': many,
      'charts/nested/chart:0.1.0': chart,
    });
    const made = newPlace('dir');
    await convert(place('reg', store), made, KEEP);
    assert.deepEqual(bytesAt(made.path), {
      ...filesOf('demo/one:1', one),
      ...filesOf('demo/many:2', many),
      ...filesOf('charts/nested/chart:0.1.0', chart),
    });
  });

  test('stores a blob that images share once', async () => {
    const shared = one.blobs.at(1);
    assert.ok(shared !== undefined);
    const twice = newPlace('dir');
    const again = layTree(tempFolder(), { 'demo/one:1': one, 'demo/one:2': one });
    await convert(place('dir', again), twice, { ...KEEP, link: 'copy' });
    const [first, second] = ['1', '2'].map((tag) =>
      inodeOf(join(twice.path, `demo/one:${tag}`, hex(shared.digest))),
    );
    assert.equal(first, second);
    assert.notEqual(first, inodeOf(join(again, 'demo/one:1', hex(shared.digest))));
  });

  test('has version 1.2 and the algorithm in names when a digest is not sha256', async () => {
    const name = `demo/wide@${wide.root.digest}`;
    const made = newPlace('dir');
    await convert(place('dir', layTree(tempFolder(), { [name]: wide })), made, KEEP);
    assert.deepEqual(bytesAt(made.path), {
      [`${name}/version`]: 'Directory Transport Version: 1.2\n',
      [`${name}/manifest.json`]: latin1(wide.root),
      ...Object.fromEntries(wide.blobs.map((part) => [`${name}/sha512-${hex(part.digest)}`, latin1(part)])),
    });
  });

  test('replaces another image of the same name whole', async () => {
    const made = newPlace('dir');
    const other = await imageOf('another one');
    await convert(place('dir', layTree(tempFolder(), { 'demo/one:1': one })), made, KEEP);
    await convert(place('dir', layTree(tempFolder(), { 'demo/one:1': other })), made, KEEP);
    assert.deepEqual(bytesAt(made.path), filesOf('demo/one:1', other));
  });
});

describe('a docker archive', () => {
  const amd64 = { platforms: [parsePlatform('linux/amd64')] };

  function blobName({ digest }: Part): string {
    return `blobs/sha256/${hex(digest)}`;
  }

  function annotated({ root }: Sample, name: string): object {
    return descriptorOf(root, {
      annotations: {
        'io.containerd.image.name': `docker.io/${name}`,
        'org.opencontainers.image.ref.name': name,
      },
    });
  }

  test('is an OCI layout and what engines load in one, in a fixed order, without times and owners', async () => {
    const archive = newPlace('tar');
    await convert(place('dir', tree), archive, KEEP);
    const members = await readTarFile(archive.path);
    const order = [chart, many, one].flatMap(({ root, members: below, blobs }) => [root, ...below, ...blobs]);
    const files = members.map(({ header }) => header.name);
    assert.deepEqual(
      [...files].sort(),
      [
        ...new Set(order.map(blobName)),
        ...['index.json', 'manifest.json', 'oci-layout', 'repositories'],
      ].sort(),
    );
    assert.deepEqual(files.slice(-4), ['oci-layout', 'index.json', 'manifest.json', 'repositories']);
    for (const { header } of members) {
      const { type, mode, uid, gid, mtime, uname, gname, linkname } = header;
      assert.deepEqual(
        { type, mode, uid, gid, mtime: mtime?.getTime(), uname, gname, linkname },
        { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, uname: '', gname: '', linkname: null },
      );
    }
    for (const part of order) assert.deepEqual(bodyOf(members, blobName(part)), part.bytes);
  });

  test('says what it holds in both ways', async () => {
    const archive = newPlace('tar');
    const selectors = ['demo/one:1', 'demo/many:2', 'charts/**'].map((text) => ({
      text,
      rename: undefined,
      where: 'test',
    }));
    await convert(place('dir', tree), archive, { ...KEEP, selectors });
    const members = await readTarFile(archive.path);
    const json = (name: string) => JSON.parse(bodyOf(members, name).toString()) as unknown;
    assert.deepEqual(json('oci-layout'), { imageLayoutVersion: '1.0.0' });
    assert.deepEqual(json('index.json'), {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        annotated(chart, 'charts/nested/chart:0.1.0'),
        annotated(many, 'demo/many:2'),
        annotated(one, 'demo/one:1'),
      ],
    });
    const own = process.arch === 'arm64' ? [many.blobs[3], many.blobs[4]] : many.blobs.slice(0, 3);
    const entryOf = ([config, ...layers]: readonly (Part | undefined)[], tag: string) => ({
      Config: config && blobName(config),
      RepoTags: [tag],
      Layers: layers.map((layer) => layer && blobName(layer)),
    });
    assert.deepEqual(json('manifest.json'), [entryOf(own, 'demo/many:2'), entryOf(one.blobs, 'demo/one:1')]);
    assert.deepEqual(json('repositories'), {
      'demo/many': { 2: hex(own.at(-1)?.digest ?? '') },
      'demo/one': { 1: hex(one.blobs.at(-1)?.digest ?? '') },
    });
  });

  test('is read by the system tar too', async () => {
    const archive = newPlace('tar');
    await convert(place('dir', tree), archive, KEEP);
    const folder = tempFolder();
    execFileSync('tar', ['-xf', archive.path, '-C', folder]);
    for (const part of [chart, many, one].flatMap(({ root, members, blobs }) => [root, ...members, ...blobs]))
      assert.equal(digestText(readFileSync(join(folder, blobName(part)))), part.digest);
  });

  test('names the image of the wanted platform for engines, and keeps the index', async () => {
    for (const [platform, blobs] of [
      ['linux/amd64', many.blobs.slice(0, 3)],
      ['linux/arm64', many.blobs.slice(3)],
    ] as const) {
      const archive = newPlace('tar');
      const platforms = [platform, 'linux/amd64', 'linux/arm64'].map(parsePlatform);
      const selectors = [{ text: 'demo/many:2', rename: undefined, where: 'test' }];
      await convert(place('dir', tree), archive, { ...KEEP, platforms, selectors });
      const members = await readTarFile(archive.path);
      const [entry] = JSON.parse(bodyOf(members, 'manifest.json').toString()) as [{ Config: string }];
      assert.equal(entry.Config, blobs[0] && blobName(blobs[0]));
      assert.deepEqual(bodyOf(members, blobName(many.root)), many.root.bytes);
    }
  });

  test('says so when no image of an index fits this machine', async () => {
    const strange = indexOf([
      await imageOf('a', { platform: 'linux/riscv64' }),
      await imageOf('b', { platform: 'linux/s390x' }),
    ]);
    const archive = newPlace('tar');
    const { images } = await convert(
      place('dir', layTree(tempFolder(), { 'demo/strange:1': strange })),
      archive,
      KEEP,
    );
    assert.equal(images[0]?.status, 'written');
    assert.match(images[0].notes.join('\n'), /riscv64.*s390x/);
    const members = await readTarFile(archive.path);
    assert.deepEqual(JSON.parse(bodyOf(members, 'manifest.json').toString()), []);
    assert.deepEqual(bodyOf(members, blobName(strange.root)), strange.root.bytes);
  });

  test('takes the only image of an index whatever its platform', async () => {
    const only = indexOf([await imageOf('a', { platform: 'linux/riscv64' })]);
    const archive = newPlace('tar');
    await convert(place('dir', layTree(tempFolder(), { 'demo/only:1': only })), archive, KEEP);
    const members = await readTarFile(archive.path);
    const entries = JSON.parse(bodyOf(members, 'manifest.json').toString()) as { RepoTags: string[] }[];
    assert.deepEqual(
      entries.map(({ RepoTags }) => RepoTags),
      [['demo/only:1']],
    );
  });

  test('has plain layers with --layers uncompressed, the same bytes twice', async () => {
    const [archive, other] = [newPlace('tar'), newPlace('tar')];
    const options = { compression: 'none', recompress: true, ...amd64 } as const;
    const { images } = await convert(place('dir', tree), archive, options);
    await convert(place('dir', tree), other, { ...options, jobs: 1 });
    assert.ok(readFileSync(archive.path).equals(readFileSync(other.path)));
    assert.ok(images.every(({ status }) => status === 'written'));
    const members = await readTarFile(archive.path);
    const entries = JSON.parse(bodyOf(members, 'manifest.json').toString()) as {
      Config: string;
      Layers: string[];
    }[];
    const config = bodyOf(members, entries.at(-1)?.Config ?? '');
    const { rootfs } = JSON.parse(config.toString()) as { rootfs: { diff_ids: string[] } };
    assert.deepEqual(
      entries.at(-1)?.Layers,
      rootfs.diff_ids.map((diffId) => `blobs/sha256/${hex(diffId)}`),
    );
    assert.deepEqual(
      entries.at(-1)?.Layers.map((name) => bodyOf(members, name)),
      one.blobs.slice(1).map(({ bytes }) => gunzipSync(bytes)),
    );
    // What is no file system layer stays as it is.
    assert.deepEqual(bodyOf(members, blobName(chart.root)), chart.root.bytes);
  });

  for (const name of ['constructor:1', 'demo/app:__proto__', 'demo/app:constructor', 'hasownproperty/x:1']) {
    test(`names ${name} as any other`, async () => {
      const archive = newPlace('tar');
      const properties = Object.getOwnPropertyNames(Object);
      await convert(place('dir', layTree(tempFolder(), { [name]: one })), archive, KEEP);
      const members = await readTarFile(archive.path);
      const [repository = '', tag = ''] = name.split(':');
      const text = bodyOf(members, 'repositories').toString();
      assert.equal(text, `{"${repository}":{"${tag}":"${hex(one.blobs.at(-1)?.digest ?? '')}"}}`);
      assert.deepEqual(Object.getOwnPropertyNames(Object), properties);
    });
  }
});
