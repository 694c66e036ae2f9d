import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { convert, failedImages, listImages, type ErrorCode } from '../src/index.js';
import { refusal } from './support/errors.js';
import { digestsOf, syncTree, unpacked } from './support/fixtures.js';
import {
  digestText,
  DOCKER,
  hex,
  imageOf,
  indexOf,
  layDir,
  layTree,
  put,
  storedBlob,
} from './support/images.js';
import { namesOf, newPlace, place } from './support/places.js';
import { contentsOf, filesIn, stagingIn } from './support/snapshot.js';
import { tempFolder } from './support/temp.js';

const KEEP = { compression: 'keep' } as const;

async function expectRefused(tree: string, name: string, code: ErrorCode, ...words: string[]): Promise<void> {
  const target = newPlace('reg');
  const report = await convert(place('dir', tree), target, KEEP);
  const failed = failedImages(report);
  assert.deepEqual(
    failed.map(({ source, error }) => [source, error?.code]),
    [[name, code]],
  );
  for (const word of words) assert.ok(failed[0]?.error?.message.includes(word), failed[0]?.error?.message);
  assert.deepEqual(
    filesIn(join(target.path, 'docker/registry/v2/repositories')).filter((one) => one.includes(name)),
    [],
  );
}

describe('reading', () => {
  test('finds the images of a tree by their paths', async () => {
    assert.deepEqual(await namesOf(place('dir', syncTree())), digestsOf('sync.tar'));
    assert.deepEqual(
      await namesOf(place('dir', `${unpacked('sync-scoped.tar')}/sync-scoped`)),
      digestsOf('sync-scoped.tar'),
    );
    assert.deepEqual(
      await namesOf(place('dir', `${unpacked('sync-digest.tar')}/sync-digest`)),
      digestsOf('sync-digest.tar'),
    );
  });

  test('takes one image as well as a tree', async () => {
    const image = await imageOf('x');
    const folder = tempFolder();
    layDir(join(folder, 'app:1.0'), image);
    assert.deepEqual(await namesOf(place('dir', join(folder, 'app:1.0'))), { 'app:1.0': image.root.digest });
    layDir(join(folder, 'unnamed'), image);
    const target = newPlace('reg');
    const { images } = await convert(place('dir', join(folder, 'unnamed')), target, KEEP);
    assert.equal(images[0]?.error?.code, 'NAME_MISSING');
    assert.deepEqual(filesIn(target.path), []);
    await convert(place('dir', join(folder, 'unnamed')), target, { ...KEEP, tag: 'team/app:2' });
    assert.deepEqual(await namesOf(target), { 'team/app:2': image.root.digest });
  });

  for (const [title, version, taken] of [
    ['1.1', 'Directory Transport Version: 1.1\n', true],
    ['1.2', 'Directory Transport Version: 1.2\n', true],
    ['none', undefined, true],
    ['1.3', 'Directory Transport Version: 1.3\n', false],
    ['2.0', 'Directory Transport Version: 2.0\n', false],
    ['11.1', 'Directory Transport Version: 11.1\n', false],
    ['no number', 'Directory Transport Version: x\n', false],
    ['another text', 'something else\n', false],
    ['nothing', '', false],
  ] as const) {
    test(`${taken ? 'takes' : 'refuses'} version ${title}`, async () => {
      const image = await imageOf('x');
      const tree = layTree(tempFolder(), { 'demo/app:1': image });
      const path = join(tree, 'demo/app:1/version');
      if (version === undefined) rmSync(path);
      else writeFileSync(path, version);
      if (taken) assert.deepEqual(await namesOf(place('dir', tree)), { 'demo/app:1': image.root.digest });
      else await expectRefused(tree, 'demo/app:1', 'FORMAT_UNSUPPORTED', path);
    });
  }

  test('passes over the unfinished work of another imgconv', async () => {
    const image = await imageOf('x');
    const tree = layTree(tempFolder(), { 'demo/app:1': image, '.imgconv-0badf00d-1-1-abcdef/0': image });
    assert.deepEqual(await namesOf(place('dir', tree)), { 'demo/app:1': image.root.digest });
  });

  for (const [title, name, spoil, code] of [
    [
      'a folder that is named by another digest',
      `app@sha256:${'ab'.repeat(32)}`,
      () => undefined,
      'DIGEST_MISMATCH',
    ],
    ['a folder whose name is upper case', 'demo/App:1', () => undefined, 'NAME_INVALID'],
    ['a folder whose tag is none', 'demo/app:-x', () => undefined, 'NAME_INVALID'],
    [
      'a blob that is a symbolic link',
      'demo/app:1',
      (folder: string, name: string) => {
        cpSync(join(folder, name), join(folder, '../elsewhere'));
        rmSync(join(folder, name));
        symlinkSync('../elsewhere', join(folder, name));
      },
      'IO',
    ],
    [
      'a manifest that is a symbolic link',
      'demo/app:1',
      (folder: string) => {
        cpSync(join(folder, 'manifest.json'), join(folder, '../elsewhere'));
        rmSync(join(folder, 'manifest.json'));
        symlinkSync('../elsewhere', join(folder, 'manifest.json'));
      },
      'IO',
    ],
    [
      'a blob that is a folder',
      'demo/app:1',
      (folder: string, name: string) => {
        rmSync(join(folder, name));
        mkdirSync(join(folder, name));
      },
      'IO',
    ],
    [
      'a manifest of five megabytes',
      'demo/app:1',
      (folder: string) => {
        const path = join(folder, 'manifest.json');
        writeFileSync(path, `${' '.repeat(5_000_000)}${readFileSync(path, 'utf8')}`);
      },
      'MANIFEST_INVALID',
    ],
  ] as const) {
    test(`refuses ${title}, and it alone`, async () => {
      const [bad, good] = [await imageOf('bad'), await imageOf('good')];
      const tree = layTree(tempFolder(), { [name]: bad, 'demo/good:1': good });
      spoil(join(tree, name), hex(bad.blobs[1]?.digest ?? ''));
      await expectRefused(tree, name, code);
      const target = newPlace('dir');
      await convert(place('dir', tree), target, KEEP);
      assert.deepEqual(await namesOf(target), { 'demo/good:1': good.root.digest });
      assert.deepEqual(stagingIn(target.path), []);
    });
  }

  test('reads no folder outside through a symbolic link', async () => {
    const [inside, outside] = [await imageOf('inside'), await imageOf('outside')];
    const elsewhere = layTree(tempFolder(), { 'demo/out:1': outside });
    const tree = layTree(tempFolder(), { 'demo/in:1': inside });
    symlinkSync(join(elsewhere, 'demo'), join(tree, 'linked'));
    symlinkSync(tree, join(tree, 'demo/loop'));
    const listed: unknown[] = [];
    for await (const { name, digest, error } of listImages(place('dir', tree)))
      listed.push([name, digest ?? error?.message]);
    const refused = (name: string) =>
      `${join(tree, name)}: is a symbolic link; imgconv follows none below ${tree}`;
    assert.deepEqual(listed, [
      ['demo/in:1', inside.root.digest],
      ['demo/loop', refused('demo/loop')],
      ['linked', refused('linked')],
    ]);
  });
});

describe('signatures', () => {
  test("go along between directories, an index's members' too", async () => {
    const member = await imageOf('member');
    const tree = layTree(tempFolder(), {
      'demo/app:1': indexOf([member, await imageOf('other', { platform: 'linux/arm64' })]),
    });
    const folder = join(tree, 'demo/app:1');
    put(join(folder, 'signature-1'), 'first');
    put(join(folder, 'signature-2'), 'second');
    put(join(folder, `${hex(member.root.digest)}.signature-1`), "a member's");
    const target = newPlace('dir');
    await convert(place('dir', tree), target, KEEP);
    assert.deepEqual(contentsOf(target.path), contentsOf(tree));
  });

  for (const to of ['reg', 'tar']) {
    test(`stay behind on the way to ${to}, and the report says so`, async () => {
      const tree = layTree(tempFolder(), { 'demo/app:1': await imageOf('x') });
      put(join(tree, 'demo/app:1/signature-1'), 'a signature of its own');
      const target = newPlace(to);
      const { images } = await convert(place('dir', tree), target, KEEP);
      assert.match(images[0]?.notes.join('\n') ?? '', /1 signature/);
      for (const name of filesIn(target.path))
        assert.equal(readFileSync(join(target.path, name)).includes('a signature of its own'), false);
    });
  }
});

describe('schema 1 manifests', () => {
  const layer = Buffer.from('a layer');
  const payload = Buffer.from(
    `{\n   "schemaVersion": 1,\n   "name": "demo/old",\n   "tag": "1",\n   "architecture": "amd64",\n   "fsLayers": [\n      {\n         "blobSum": "${digestText(layer)}"\n      }\n   ],\n   "history": [{"v1Compatibility": "{}"}]\n}`,
  );
  const protect = Buffer.from(
    JSON.stringify({
      formatLength: payload.length - 2,
      formatTail: Buffer.from('\n}').toString('base64url'),
    }),
  ).toString('base64url');
  const signed = Buffer.from(
    `${payload.subarray(0, -2).toString()},\n   "signatures": [{"header": {"alg": "ES256"}, "signature": "x", "protected": "${protect}"}]\n}`,
  );

  for (const [title, manifest] of [
    ['signed', signed],
    ['unsigned', payload],
  ] as const) {
    test(`that are ${title} go from dir to reg and back under the digest of their payload`, async () => {
      const tree = tempFolder();
      put(join(tree, 'demo/old:1/manifest.json'), manifest);
      put(join(tree, 'demo/old:1', hex(digestText(layer))), layer);
      const [store, back, copy] = [newPlace('reg'), newPlace('dir'), newPlace('dir')];
      const digest = digestText(payload);
      const { images } = await convert(place('dir', tree), store, KEEP);
      assert.deepEqual(
        images.map((image) => [image.error?.message, image.digest]),
        [[undefined, digest]],
      );
      assert.ok(readFileSync(storedBlob(store.path, digest)).equals(payload));
      assert.deepEqual(await namesOf(store), { 'demo/old:1': digest });
      await convert(store, back, KEEP);
      assert.deepEqual(await namesOf(back), { 'demo/old:1': digest });
      await convert(place('dir', tree), copy, KEEP);
      assert.ok(readFileSync(join(copy.path, 'demo/old:1/manifest.json')).equals(manifest));
    });
  }
});

test('a foreign layer may be absent, and the report says so', async () => {
  const image = await imageOf('x');
  const foreign = {
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    digest: `sha256:${'ab'.repeat(32)}`,
    size: 12_345,
    urls: ['https://example.com/layer'],
  };
  const manifest = JSON.parse(image.root.bytes.toString()) as { layers: object[] };
  const bytes = Buffer.from(JSON.stringify({ ...manifest, layers: [foreign, ...manifest.layers] }));
  const root = { mediaType: DOCKER.manifest, digest: digestText(bytes), bytes };
  const tree = layTree(tempFolder(), { 'demo/windows:1': { ...image, root } });
  for (const to of ['reg', 'dir']) {
    const target = newPlace(to);
    const { images } = await convert(place('dir', tree), target, KEEP);
    assert.deepEqual(
      images.map(({ status, digest }) => [status, digest]),
      [['written', root.digest]],
    );
    assert.match(images[0]?.notes.join('\n') ?? '', /foreign layer.*abab/);
  }
});

test('a file is not a tree', async () => {
  const path = join(tempFolder(), 'file');
  writeFileSync(path, 'text');
  await assert.rejects(listImages(place('dir', path)).next(), refusal('IO', path, 'not a folder'));
});
