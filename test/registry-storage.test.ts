import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openRegistry } from '../src/formats/registry/read.js';
import { LocalStorage } from '../src/storage/local.js';
import { convert, failedImages, listImages, type ListedImage } from '../src/index.js';
import { digestsOf, unpacked } from './support/fixtures.js';
import { hex, imageOf, indexOf, layStore, layTree, put, storedBlob } from './support/images.js';
import { namesOf, newPlace, place } from './support/places.js';
import { contentsOf, filesIn, inodeOf, stateOf } from './support/snapshot.js';
import { tempFolder } from './support/temp.js';

const KEEP = { compression: 'keep' } as const;
const V2 = 'docker/registry/v2';

function selectors(...texts: readonly string[]) {
  return texts.map((text) => ({ text, rename: undefined, where: 'test' }));
}

async function listed(store: string, ...texts: readonly string[]): Promise<ListedImage[]> {
  const images: ListedImage[] = [];
  for await (const image of listImages(place('reg', store), selectors(...texts))) images.push(image);
  return images;
}

describe('reading', () => {
  for (const below of ['', 'docker', 'docker/registry', V2]) {
    test(`takes the store's path ${below === '' ? 'as a registry has it' : `down to ${below}`}`, async () => {
      assert.deepEqual(
        await namesOf(place('reg', join(unpacked('registry.tar'), below))),
        digestsOf('registry.tar'),
      );
    });
  }

  test('finds repositories within repositories', async () => {
    const [a, b, c] = [await imageOf('a'), await imageOf('b'), await imageOf('c')];
    const store = layStore(tempFolder(), { 'a:1': a, 'a/b:1': b, 'a/b/c/d:1': c, 'a/b:2': a });
    assert.deepEqual(await namesOf(place('reg', store)), {
      'a:1': a.root.digest,
      'a/b:1': b.root.digest,
      'a/b:2': a.root.digest,
      'a/b/c/d:1': c.root.digest,
    });
  });

  test('lists only what a wanted name can mean, and all tags of a repository that lacks one', async () => {
    const a = await imageOf('a');
    const store = layStore(tempFolder(), { 'a:1': a, 'a:2': a, 'a/b:1': a, 'library/c:1': a });
    for (const [wanted, expected] of [
      [undefined, ['a/b:1', 'a:1', 'a:2', 'library/c:1']],
      [['a'], ['a:1', 'a:2']],
      [['a:2'], ['a:2']],
      [[`localhost:5000/a:2@${a.root.digest}`], ['a:1', 'a:2']],
      [
        ['a:2', `a@${a.root.digest}`],
        ['a:1', 'a:2'],
      ],
      [
        ['a:2', 'a:3'],
        ['a:1', 'a:2'],
      ],
      [
        ['localhost:5000/a/b:9', 'docker.io/c@sha256:0'],
        ['a/b:1', 'library/c:1'],
      ],
      [['b'], []],
      [
        ['b', '*:1'],
        ['a/b:1', 'a:1', 'a:2', 'library/c:1'],
      ],
    ] as const) {
      const reader = await openRegistry(new LocalStorage(store));
      const names: (string | undefined)[] = [];
      for await (const { name } of reader.images({ untagged: false, wanted })) names.push(name);
      assert.deepEqual(names.sort(), expected);
    }
  });

  test('lists what is attached to a tag that is asked for', async () => {
    const a = await imageOf('a');
    const attached = `a:sha256-${hex(a.root.digest)}`;
    const store = layStore(tempFolder(), { 'a:1': a, 'a:2': a, [`${attached}.sig`]: a, [attached]: a });
    const reader = await openRegistry(new LocalStorage(store));
    const names: (string | undefined)[] = [];
    for await (const { name } of reader.images({ untagged: false, wanted: ['a:1'] })) names.push(name);
    assert.deepEqual(names, ['a:1', attached, `${attached}.sig`]);
  });

  test('passes over uploads, and what deleted tags and revisions left', async () => {
    const [kept, gone] = [await imageOf('kept'), await imageOf('gone')];
    const store = layStore(tempFolder(), { 'demo/app:1': kept, 'demo/app:2': gone });
    const repository = join(store, V2, 'repositories/demo/app');
    put(join(repository, '_uploads/6a5b/startedat'), '2026-01-01T00:00:00Z');
    put(join(repository, '_uploads/6a5b/data'), 'unfinished');
    rmSync(join(repository, '_manifests/tags/2/current'), { recursive: true });
    rmSync(join(repository, '_manifests/revisions/sha256', hex(gone.root.digest), 'link'));
    mkdirSync(join(repository, '_manifests/tags/3'));
    mkdirSync(join(store, V2, 'repositories/empty/_layers'), { recursive: true });
    put(join(store, V2, 'repositories/_catalog'), 'x');
    assert.deepEqual(await namesOf(place('reg', store)), { 'demo/app:1': kept.root.digest });
    const target = newPlace('dir');
    const { images } = await convert(place('reg', store), target, KEEP);
    assert.deepEqual(
      images.map(({ name, status }) => [name, status]),
      [['demo/app:1', 'written']],
    );
    const untagged = await listed(store, `demo/app@${gone.root.digest}`);
    assert.equal(untagged[0]?.error?.code, 'NOT_FOUND');
  });

  test('takes links that end in a newline', async () => {
    const image = await imageOf('x');
    const store = layStore(tempFolder(), { 'demo/app:1': image });
    writeFileSync(
      join(store, V2, 'repositories/demo/app/_manifests/tags/1/current/link'),
      `${image.root.digest}\n`,
    );
    assert.deepEqual(await namesOf(place('reg', store)), { 'demo/app:1': image.root.digest });
  });

  test('reaches by digest what no tag names', async () => {
    const [tagged, other] = [await imageOf('tagged'), await imageOf('other')];
    const store = layStore(tempFolder(), { 'demo/app:1': tagged, 'demo/app:2': other });
    rmSync(join(store, V2, 'repositories/demo/app/_manifests/tags/2'), { recursive: true });
    assert.deepEqual(await namesOf(place('reg', store)), { 'demo/app:1': tagged.root.digest });
    const name = `demo/app@${other.root.digest}`;
    const target = newPlace('dir');
    await convert(place('reg', store), target, { ...KEEP, selectors: selectors(name) });
    assert.ok(readFileSync(join(target.path, name, 'manifest.json')).equals(other.root.bytes));
    assert.deepEqual(Object.keys(await namesOf(target)), [name]);
  });

  test('reaches by digest what a tag names too, and a member of an index', async () => {
    const member = await imageOf('member');
    const index = indexOf([member, await imageOf('other', { platform: 'linux/arm64' })]);
    const store = layStore(tempFolder(), { 'demo/app:1': index });
    for (const { digest, bytes } of [index.root, member.root]) {
      const target = newPlace('reg');
      const { images } = await convert(place('reg', store), target, {
        ...KEEP,
        selectors: selectors(`demo/app@${digest}`),
      });
      assert.deepEqual(
        images.map((image) => image.error?.message ?? image.digest),
        [digest],
      );
      assert.ok(readFileSync(storedBlob(target.path, digest)).equals(bytes));
    }
  });

  test('reads sha512', async () => {
    const wide = await imageOf('wide', { algorithm: 'sha512' });
    const store = layStore(tempFolder(), { 'demo/wide:1': wide });
    assert.deepEqual(await namesOf(place('reg', store)), { 'demo/wide:1': wide.root.digest });
    const back = newPlace('reg');
    await convert(place('reg', store), back, KEEP);
    assert.deepEqual(contentsOf(back.path), contentsOf(store));
  });

  for (const [title, spoil, code] of [
    [
      'a tag whose manifest is gone',
      (store: string, digest: string) => {
        rmSync(storedBlob(store, digest));
      },
      'BLOB_MISSING',
    ],
    [
      'a tag whose manifest is empty',
      (store: string, digest: string) => {
        writeFileSync(storedBlob(store, digest), '');
      },
      'DIGEST_MISMATCH',
    ],
    [
      'a tag whose manifest has a space more',
      (store: string, digest: string) => {
        const path = storedBlob(store, digest);
        writeFileSync(path, `${readFileSync(path, 'utf8')} `);
      },
      'DIGEST_MISMATCH',
    ],
    [
      'a tag whose link is empty',
      (store: string) => {
        writeFileSync(linkOf(store), '');
      },
      'DIGEST_INVALID',
    ],
    [
      'a tag whose link is a path',
      (store: string) => {
        writeFileSync(linkOf(store), 'sha256:../../../../../../etc/passwd');
      },
      'DIGEST_INVALID',
    ],
    [
      'a tag whose link is a symbolic link',
      (store: string) => {
        rmSync(linkOf(store));
        symlinkSync('/etc/passwd', linkOf(store));
      },
      'IO',
    ],
    [
      'a tag whose manifest is a symbolic link',
      (store: string, digest: string) => {
        const path = storedBlob(store, digest);
        cpSync(path, `${path}.elsewhere`);
        rmSync(path);
        symlinkSync(`${path}.elsewhere`, path);
      },
      'IO',
    ],
    [
      'a tag whose manifest is a folder',
      (store: string, digest: string) => {
        rmSync(storedBlob(store, digest));
        mkdirSync(storedBlob(store, digest));
      },
      'IO',
    ],
  ] as const) {
    test(`names ${title}, and gives the others`, async () => {
      const [good, bad] = [await imageOf('good'), await imageOf('bad')];
      const store = layStore(tempFolder(), { 'demo/bad:1': bad, 'demo/good:1': good });
      spoil(store, bad.root.digest);
      const images = await listed(store);
      assert.deepEqual(
        images.map(({ name, error }) => [name, error?.code]),
        [
          ['demo/bad:1', code],
          ['demo/good:1', undefined],
        ],
      );
      const target = newPlace('dir');
      const report = await convert(place('reg', store), target, KEEP);
      assert.deepEqual(
        failedImages(report).map(({ source, error }) => [source, error?.code]),
        [['demo/bad:1', code]],
      );
      assert.deepEqual(await namesOf(target), { 'demo/good:1': good.root.digest });
    });
  }

  function linkOf(store: string): string {
    return join(store, V2, 'repositories/demo/bad/_manifests/tags/1/current/link');
  }
});

describe('writing', () => {
  test('takes nothing for right because it is there: a damaged blob is replaced', async () => {
    const image = await imageOf('x');
    const tree = layTree(tempFolder(), { 'demo/app:1': image });
    for (const { digest, bytes } of [image.root, ...image.blobs]) {
      const store = newPlace('reg');
      await convert(place('dir', tree), store, { ...KEEP, link: 'copy' });
      const whole = contentsOf(store.path);
      const path = storedBlob(store.path, digest);
      const wrong = Buffer.from(bytes);
      wrong.writeUInt8(wrong.readUInt8(5) ^ 1, 5);
      writeFileSync(path, wrong);
      const { images } = await convert(place('dir', tree), store, { ...KEEP, link: 'copy' });
      assert.deepEqual(
        images.map(({ status }) => status),
        ['written'],
      );
      assert.deepEqual(contentsOf(store.path), whole);
    }
  });

  test('mends a link that is missing or wrong', async () => {
    const image = await imageOf('x');
    const tree = layTree(tempFolder(), { 'demo/app:1': image });
    const store = newPlace('reg');
    await convert(place('dir', tree), store, KEEP);
    const whole = contentsOf(store.path);
    for (const name of filesIn(store.path).filter((one) => one.endsWith('/link'))) {
      const missing = () => {
        rmSync(join(store.path, name));
      };
      const another = () => {
        writeFileSync(join(store.path, name), `sha256:${'0'.repeat(64)}`);
      };
      for (const spoil of [missing, another]) {
        spoil();
        const { images } = await convert(place('dir', tree), store, KEEP);
        assert.deepEqual(
          images.map(({ status }) => status),
          [spoil === another && name.endsWith('current/link') ? 'updated' : 'written'],
          name,
        );
        assert.deepEqual(contentsOf(store.path), whole);
      }
    }
  });

  test('adds to a store that a registry made, and touches nothing of it', async () => {
    const store = tempFolder();
    cpSync(unpacked('registry.tar'), store, { recursive: true });
    const before = stateOf(store);
    const image = await imageOf('new');
    await convert(place('dir', layTree(tempFolder(), { 'demo/new:1': image })), place('reg', store), KEEP);
    const after = stateOf(store);
    assert.deepEqual(Object.fromEntries(Object.keys(before).map((name) => [name, after[name]])), before);
    assert.deepEqual(await namesOf(place('reg', store)), {
      ...digestsOf('registry.tar'),
      'demo/new:1': image.root.digest,
    });
  });

  test('selects images out of a pool, and their blobs alone', async () => {
    const store = newPlace('reg');
    const pool = place('reg', unpacked('registry.tar'));
    await convert(pool, store, { ...KEEP, selectors: selectors('demo/base:*', 'helm-charts/**') });
    assert.deepEqual(Object.keys(await namesOf(store)).sort(), ['demo/base:1', 'helm-charts/demo:0.1.0']);
    const blobs = filesIn(join(store.path, V2, 'blobs'));
    assert.equal(blobs.length, 3 + 3);
    const file = join(V2, 'blobs', blobs[0] ?? '');
    assert.equal(inodeOf(join(store.path, file)), inodeOf(join(pool.path, file)));
  });
});

describe('a layer link that several images of one run share', () => {
  /** Two images with one layer, in a store, and the path of its link. */
  async function shared() {
    const [one, two] = [await imageOf('one'), await imageOf('two')];
    const [config, layer] = one.blobs;
    assert.ok(config !== undefined && layer !== undefined);
    const tree = layTree(tempFolder(), { 'demo/app:1': one, 'demo/app:2': two, 'demo/app:3': one });
    const there = newPlace('reg');
    await convert(place('dir', tree), there, { compression: 'keep' });
    const link = filesIn(there.path).find((name) => name.includes(`_layers/sha256/${hex(layer.digest)}`));
    assert.ok(link !== undefined);
    return { tree: place('dir', tree), there, link: join(there.path, link) };
  }

  test('fails each of them when it cannot be looked at, and none of them gets a tag', async () => {
    const { tree, there, link } = await shared();
    rmSync(join(there.path, 'docker/registry/v2/repositories/demo/app/_manifests'), { recursive: true });
    rmSync(link);
    mkdirSync(link);
    const { images } = await convert(tree, there, { compression: 'keep' });
    assert.deepEqual(images.map(({ source, status }) => [source, status]).sort(), [
      ['demo/app:1', 'failed'],
      ['demo/app:2', 'written'],
      ['demo/app:3', 'failed'],
    ]);
    rmSync(link, { recursive: true });
    assert.deepEqual(Object.keys(await namesOf(there)), ['demo/app:2']);
  });

  test('is replaced where it is a symbolic link', async () => {
    const { tree, there, link } = await shared();
    const before = contentsOf(there.path);
    rmSync(link);
    symlinkSync('/etc/hostname', link);
    const { images } = await convert(tree, there, { compression: 'keep' });
    assert.deepEqual([...new Set(images.map(({ status }) => status))].sort(), ['unchanged', 'written']);
    assert.deepEqual(contentsOf(there.path), before);
  });
});
