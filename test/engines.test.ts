import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { documentAt } from '../src/bytes/document.js';
import { wholeFile } from '../src/bytes/there.js';
import {
  convert,
  failedImages,
  findPlace,
  inspectImages,
  listImages,
  parseImagesFile,
  verify,
  type ListedImage,
  type Place,
} from '../src/index.js';
import {
  ENGINES,
  enginePlace,
  engineRoot,
  expectedImages,
  expectedRecords,
  GRAPH_STORES,
  stateOfTree,
  unpackEngine,
} from './support/engines.js';
import { newPlace, place } from './support/places.js';
import { tempFolder } from './support/temp.js';

async function listed(from: Place): Promise<ListedImage[]> {
  const all: ListedImage[] = [];
  for await (const image of listImages(from)) all.push(image);
  return all;
}

/** Layers that no tool can rebuild, by image. */
const SPARSE = 'odd/pax-sparse:1';

for (const engine of GRAPH_STORES) {
  describe(`images of ${engine}`, () => {
    test('names, IDs and digests are those that the engine gave', async () => {
      const there = await listed(enginePlace(engine));
      for (const { id, names, repo_digests: digests, intermediate, manifest_list: isList } of expectedImages(
        engine,
      )) {
        const mine = there.filter((image) =>
          isList === true ? names.includes(image.name ?? '') : image.imageId === id,
        );
        const tags = names.filter((name) => !name.includes('@'));
        assert.deepEqual(mine.flatMap(({ name }) => (name?.includes('@') ? [] : (name ?? []))).sort(), tags);
        // A step of a build is no image of its own.
        if (intermediate) assert.deepEqual(mine, []);
        else assert.ok(mine.length > 0, id);
        for (const image of mine) {
          assert.equal(image.error, undefined);
          const known = image.repoDigests ?? [];
          for (const one of digests) assert.ok(known.includes(one), `${one} of ${known.join(', ')}`);
        }
      }
      assert.equal(there.filter(({ error }) => error !== undefined).length, 0);
    });

    test('layers are rebuilt to the bytes that their diffIDs name', async () => {
      const to = newPlace('oci');
      const report = await convert(enginePlace(engine), to, { compression: 'keep' });
      const failed = failedImages(report).map(({ source }) => source);
      assert.deepEqual(failed, engine === 'docker20-odd' ? [SPARSE] : []);
      for (const { names, diff_ids: diffIds, intermediate } of expectedImages(engine)) {
        if (intermediate || names.length === 0 || names.includes(SPARSE)) continue;
        for (const diffId of diffIds) {
          const blob = readFileSync(join(to.path, 'blobs/sha256', diffId.slice('sha256:'.length)));
          assert.equal(`sha256:${createHash('sha256').update(blob).digest('hex')}`, diffId);
        }
      }
    });

    test('an image is chosen by its ID, and by a digest that it had in a registry', async () => {
      const images = expectedImages(engine).filter(
        (one) => !one.intermediate && one.names.every((name) => name !== SPARSE),
      );
      for (const { id, repo_digests: digests, manifest_list: isList } of images) {
        for (const choice of [...(isList === true ? [] : [id]), ...digests]) {
          const selectors = parseImagesFile(`${choice} chosen:1`, 'test');
          const report = await convert(enginePlace(engine), newPlace('oci'), { selectors });
          assert.deepEqual(
            report.images.map(({ status, name }) => `${status} ${name ?? ''}`),
            ['written chosen:1'],
            choice,
          );
        }
      }
    });
  });
}

test('a layer of which the engine lost the map of its sparse files is named, and the others come', async () => {
  const report = await verify(enginePlace('docker20-odd'), { deep: true });
  assert.equal(report.brokenImages, 1);
  const [finding] = report.findings;
  assert.match(finding?.what ?? '', /sparse files: the engine did not record/);
  assert.deepEqual(finding?.images, [SPARSE]);
});

describe('images of containerd', () => {
  for (const engine of ['containerd2', 'containerd2-discarded'] as const) {
    for (const [namespace, { images }] of Object.entries(expectedRecords(engine))) {
      test(`${engine}: names and digests of namespace ${namespace} are those that containerd gave`, async () => {
        const there = await listed({ ...enginePlace(engine), part: namespace });
        const tagged = images.filter(({ name }) => !name.includes('@') && !name.startsWith('sha256:'));
        assert.deepEqual(there.map(({ name }) => name).sort(), tagged.map(({ name }) => name).sort());
        for (const { name, digest, id } of tagged) {
          const mine = there.find((one) => one.name === name);
          // One whose layers lie there under other digests has a new manifest, and its ID.
          assert.ok(mine?.digest === digest || (id !== undefined && mine?.imageId === id), name);
        }
      });
    }
  }

  test('what is there keeps its digest; layers that lie under other digests are found by their diffIDs', async () => {
    const to = newPlace('reg');
    const { images } = await convert(enginePlace('containerd2'), to);
    const of = (name: string) => images.find((one) => one.source === name);
    assert.equal(
      of('localhost:5102/sample/app:1.0')?.digest,
      'sha256:53a7569802c3c9ae7ce20ed342f0239c8fb83d144b201d5e45f5d59c28dc1081',
    );
    assert.equal(of('localhost:5102/sample/raw:1')?.status, 'written');
    assert.match(
      of('localhost:5102/sample/raw:1')?.notes.join() ?? '',
      /keeps its ID and has a new manifest/,
    );
    const ids: Record<string, string | undefined> = {};
    for await (const { name = '', manifests } of inspectImages(to)) ids[name] = manifests[0]?.imageId;
    assert.equal(
      ids['sample/raw:1'],
      'sha256:acfa86ad863cd1cbb81cea8fa0aea5af27ededbfc479832f05dc3d3c990a18ef',
    );
    const missing = of('localhost:5102/sample/app:2.0')?.error;
    assert.equal(missing?.code, 'BLOB_MISSING');
    assert.match(missing.hint ?? '', /blobsFrom PLACE/);
  });

  test('of an index, the platforms that were fetched come', async () => {
    const from = { ...enginePlace('containerd2'), part: 'default' };
    const selectors = parseImagesFile('sample/three:1', 'test');
    const refused = await convert(from, newPlace('reg'), { selectors });
    assert.equal(failedImages(refused)[0]?.error?.code, 'BLOB_MISSING');
    const pruned = await convert(from, newPlace('reg'), { selectors, missing: 'prune' });
    assert.match(pruned.images[0]?.notes.join() ?? '', /1 of 3 members/);
    const arm = await convert(from, newPlace('reg'), {
      selectors,
      platforms: [{ os: 'linux', architecture: 'arm64', variant: undefined }],
    });
    assert.equal(arm.images[0]?.status, 'written');
  });

  test('the data root of a Docker engine with the containerd store is read in namespace moby', async () => {
    // The sample has no such namespace, which is the point: it is asked for.
    const root = engineRoot('containerd2');
    await assert.rejects(listed({ ...place('containerd', root), part: 'moby' }), {
      code: 'NOT_FOUND',
      message: /no namespace moby/,
      hint: 'there are: default, k8s.io',
    });
  });
});

describe('layers that containerd has deleted', () => {
  const NAME = 'localhost:5102/sample/app:1.0';
  const selectors = parseImagesFile(NAME, 'test');

  test('come from other places by their digests, so that the digest of the image stays', async () => {
    const whole = newPlace('oci');
    const [before] = (await convert(enginePlace('containerd2'), whole, { selectors })).images;
    const root = unpackEngine('containerd2');
    const [layer = ''] =
      expectedRecords('containerd2')['default']?.images.flatMap(({ name, layers }) =>
        name === NAME ? (layers ?? []).map(({ digest }) => digest) : [],
      ) ?? [];
    rmSync(join(root, 'io.containerd.content.v1.content/blobs/sha256', layer.slice('sha256:'.length)));
    const from = { ...enginePlace('containerd2', root), part: 'default' };
    const [failed] = (await convert(from, newPlace('reg'), { selectors })).images;
    assert.equal(failed?.error?.code, 'BLOB_MISSING');
    assert.match(failed.error.message, new RegExp(layer));
    const empty = newPlace('oci');
    await convert(enginePlace('docker20-odd'), empty, {
      selectors: parseImagesFile('odd/zero-bytes:1', 'test'),
    });
    const report = await convert(from, newPlace('reg'), { selectors, blobsFrom: [empty, whole] });
    assert.deepEqual(
      report.images.map(({ status, digest }) => [status, digest]),
      [['written', before?.digest]],
    );
  });

  test('a blob from another place that is damaged is refused', async () => {
    const other = newPlace('oci');
    await convert(enginePlace('containerd2'), other, { selectors });
    const root = unpackEngine('containerd2');
    const [layer = ''] =
      expectedRecords('containerd2')['default']?.images.flatMap(({ name, layers }) =>
        name === NAME ? (layers ?? []).map(({ digest }) => digest.slice('sha256:'.length)) : [],
      ) ?? [];
    rmSync(join(root, 'io.containerd.content.v1.content/blobs/sha256', layer));
    const blob = join(other.path, 'blobs/sha256', layer);
    const bytes = readFileSync(blob);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    writeFileSync(blob, bytes);
    const from = { ...enginePlace('containerd2', root), part: 'default' };
    const [image] = (await convert(from, newPlace('reg'), { selectors, blobsFrom: [other] })).images;
    assert.equal(image?.error?.code, 'DIGEST_MISMATCH');
  });

  const root = process.getuid?.() === 0 ? false : 'root is needed, for whiteouts';
  test('are made anew of their unpacked files, as a new image that says so', { skip: root }, async () => {
    const place = { ...enginePlace('containerd2-discarded'), part: 'k8s.io' };
    const to = newPlace('oci');
    const report = await convert(place, to, { rebuild: true });
    const was = expectedRecords('containerd2-discarded')['k8s.io']?.images ?? [];
    assert.deepEqual(
      report.images.map(({ status }) => status),
      ['written', 'written'],
    );
    for (const { notes, source, digest } of report.images) {
      assert.match(notes.join(), /5 of 5 layers rebuilt from the unpacked files: a new image/);
      assert.notEqual(digest, was.find(({ name }) => name === source)?.digest);
    }
    for await (const { name, manifests } of inspectImages(to)) {
      const [one] = manifests;
      assert.match(
        JSON.stringify(one?.config),
        /"comment":"rebuilt by imgconv from the unpacked files of sha256:/,
      );
      const tars = (one?.layers ?? []).map(({ digest }) => {
        const blob = join(to.path, 'blobs/sha256', digest.slice('sha256:'.length));
        return execFileSync('tar', ['-tf', blob], { encoding: 'utf8' }).split('\n');
      });
      if (name !== 'localhost:5102/sample/hard:1') continue;
      const [, , changed, , last] = tars;
      // What the image's build deleted (shared samples: fixtures/README.md).
      for (const file of [
        './h/.wh.del-file',
        './h/.wh.del-dir',
        './h/opaque/.wh..wh..opq',
        './h/file-to-link',
      ])
        assert.ok(changed?.includes(file), `${file} of ${changed?.join(' ') ?? ''}`);
      assert.deepEqual(
        last?.filter((file) => file.includes('.wh.')),
        ['./s/.wh.b', './s/.wh.fifo'],
      );
    }
    const again = await convert(place, newPlace('oci'), { rebuild: true });
    assert.deepEqual(
      again.images.map(({ digest }) => digest),
      report.images.map(({ digest }) => digest),
    );
  });
});

describe('a store of an engine', () => {
  for (const engine of ENGINES) {
    test(`${engine} is recognised by its path`, () => {
      assert.equal(findPlace(engineRoot(engine)).format.prefix, enginePlace(engine).format.prefix);
    });

    test(`${engine} is not changed by reading it, nor are access times of its files`, async () => {
      const root = unpackEngine(engine);
      const before = stateOfTree(root);
      await convert(enginePlace(engine, root), newPlace('reg'));
      await verify(enginePlace(engine, root), { deep: true });
      assert.deepEqual(stateOfTree(root), before);
    });
  }

  test('is read whole where the engine replaced a file by a larger one since it was found', () => {
    const folder = tempFolder();
    const path = join(folder, 'repositories.json');
    writeFileSync(path, '{}');
    const at = wholeFile(path, folder);
    assert.ok(at !== undefined);
    writeFileSync(`${path}.new`, '{"Repositories":{}}');
    renameSync(`${path}.new`, path);
    assert.equal(Buffer.from(documentAt(at, path, 100)).toString(), '{"Repositories":{}}');
    assert.throws(() => documentAt(at, path, 10), { code: 'ARCHIVE_INVALID' });
  });

  test('cannot be written', async () => {
    for (const engine of ENGINES)
      await assert.rejects(convert(place('tar', 'unused'), enginePlace(engine)), { code: 'USAGE' });
  });
});
