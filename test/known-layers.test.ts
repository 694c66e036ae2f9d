import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import type { GlanceJob } from '../src/bytes/glance.js';
import { createPlace } from '../src/formats/open.js';
import type { KeptManifests } from '../src/formats/kept-manifests.js';
import type { Digest } from '../src/model/digest.js';
import { parseReference } from '../src/model/reference.js';
import { Pool } from '../src/threads/pool.js';
import { convert } from '../src/index.js';
import { LayerIndex, type LookOptions } from '../src/transfer/layer-index.js';
import { imgconv } from './support/cli.js';
import { digestText, imageOf, indexOf, layStore, layTree, storedBlob } from './support/images.js';
import type { Sample } from './support/images.js';
import { place } from './support/places.js';
import { tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';

const MANY = 400;
/** A folder that was changed just now is listed again. */
const SETTLED_MS = 2100;

const cache = tempFolder();
process.env['XDG_CACHE_HOME'] = cache;

class CountingPool extends Pool {
  files = 0;

  override glance(job: GlanceJob) {
    this.files += job.files.length;
    return super.glance(job);
  }
}

const ALL: LookOptions = { most: Infinity, names: [] };

async function keptIn(short: string, path: string, pool: Pool): Promise<KeptManifests> {
  const context = { pool, link: 'auto', platforms: [], access: {}, onPut: () => undefined } as const;
  const writer = await createPlace(place(short, path), context);
  await writer.close();
  assert.ok(writer.kept);
  return writer.kept;
}

/** How many files are read to know which layers a place has, and whether it has this one. */
async function look(short: string, path: string, diffId: string, options = ALL) {
  await using pool = new CountingPool(2);
  const index = await LayerIndex.of(await keptIn(short, path, pool), pool, options);
  return { read: pool.files, holders: [...index.holders(diffId as Digest, 'gzip')].length };
}

async function images(count: number): Promise<Record<string, Sample>> {
  const samples: Record<string, Sample> = {};
  for (let i = 0; i < count; i++) samples[`app${i % 7}:${i}`] = await imageOf(`top ${i}`);
  return samples;
}

function diffIdOf({ root, blobs }: Sample): string {
  const manifest = JSON.parse(root.bytes.toString()) as { config: { digest: string } };
  const config = blobs.find(({ digest }) => digest === manifest.config.digest);
  assert.ok(config);
  const { rootfs } = JSON.parse(config.bytes.toString()) as { rootfs: { diff_ids: string[] } };
  return rootfs.diff_ids[0] ?? '';
}

const LAY = { reg: layStore, dir: layTree } as const;

for (const short of ['reg', 'dir'] as const) {
  describe(`layers that a place holds, ${short}`, () => {
    test('are found again without reading its images', async () => {
      const all = await images(MANY);
      const path = LAY[short](tempFolder(), all);
      const [one] = Object.values(all);
      assert.ok(one);
      const diffId = diffIdOf(one);
      await sleep(SETTLED_MS);
      const first = await look(short, path, diffId);
      assert.ok(first.read >= 2 * MANY, `${first.read} files`);
      assert.equal(first.holders, 1);
      assert.deepEqual(await look(short, path, diffId), { read: 0, holders: 1 });
    });

    test('are found as far as is looked, and at once where they are related', async () => {
      const all = await images(MANY);
      const path = LAY[short](tempFolder(), all);
      const entries = Object.entries(all);
      const lookFor = async (most: number) => {
        await using pool = new CountingPool(2);
        const index = await LayerIndex.of(await keptIn(short, path, pool), pool, { most, names: [] });
        const found = entries.filter(
          ([, image]) => [...index.holders(diffIdOf(image) as Digest, 'gzip')].length > 0,
        );
        return { read: pool.files, found: found.length };
      };
      // Of an image the folders of a registry storage have three files, those of a tree its manifest.
      const most = short === 'reg' ? 900 : 300;
      const first = await lookFor(most);
      // Configs that are not among them are read too.
      assert.ok(first.read <= 2 * most, `${first.read} files`);
      assert.ok(first.found > 0 && first.found < MANY, `${first.found} images`);
      assert.deepEqual(await lookFor(most), { read: 0, found: first.found });
      const last = await lookFor(Infinity);
      assert.equal(last.found, MANY);
      if (short === 'dir') return;
      const elsewhere = layStore(tempFolder(), all);
      const [name = '', image] = entries[5] ?? [];
      assert.ok(image !== undefined);
      const names = [parseReference(`${name.split(':')[0] ?? ''}:new`)];
      const { read, holders } = await look(short, elsewhere, diffIdOf(image), { most: 1, names });
      assert.ok(holders > 0);
      assert.ok(read < MANY / 2, `${read} files`);
    });

    test('are found when another tool adds an image, and are not when it takes one away', async () => {
      const path = LAY[short](tempFolder(), await images(MANY));
      await look(short, path, 'sha256:');
      const added = await imageOf('added');
      const diffId = diffIdOf(added);
      LAY[short](path, { 'other:1': added });
      const { read, holders } = await look(short, path, diffId);
      assert.equal(holders, 1);
      assert.ok(read > 0 && read < 20, `${read} files`);
      if (short === 'dir') rmSync(join(path, 'other:1'), { recursive: true });
      else rmSync(join(storedBlob(path, added.root.digest), '..'), { recursive: true });
      assert.equal((await look(short, path, diffId)).holders, 0);
    });
  });
}

describe('of a place that is not looked into', () => {
  const options = { most: 1, names: [parseReference('aaa/other:1'), parseReference('zed/app:2')] };

  test('members of an index of the repository are known, in each format', async () => {
    const member = await imageOf('member');
    const many = Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`aaa/other:${i}`, member]));
    const store = layStore(tempFolder(), { ...many, 'zed/app:1': indexOf([await imageOf('wanted')]) });
    const layout = join(tempFolder(), 'layout');
    await convert(place('reg', store), place('oci', layout), { compression: 'keep' });
    const diffId = diffIdOf(await imageOf('wanted'));
    for (const [short, path] of [
      ['reg', store],
      ['oci', layout],
    ] as const)
      assert.ok((await look(short, path, diffId, options)).holders > 0, short);
  });

  test('a repository that cannot be listed has none', async () => {
    const store = layStore(tempFolder(), { 'zed/app:1': await imageOf('wanted'), ...(await images(20)) });
    const folder = join(store, 'docker/registry/v2/repositories/zed/app/_manifests');
    symlinkSync('/etc', join(folder, 'revisions/zz'));
    rmSync(join(folder, 'tags'), { recursive: true });
    symlinkSync('/etc', join(folder, 'tags'));
    const { holders } = await look('reg', store, diffIdOf(await imageOf('wanted')), options);
    assert.equal(holders, 0);
  });
});

/** A docker save archive of an image whose only layer holds `text`, as those of `imageOf` do. */
async function saved(text: string, name: string): Promise<string> {
  const layer = await tarOf({ 'etc/text': text });
  const config = JSON.stringify({
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [digestText(layer)] },
  });
  const manifest = JSON.stringify([{ Config: 'c.json', RepoTags: [name], Layers: ['l/layer.tar'] }]);
  const path = join(tempFolder(), 'saved.tar');
  writeFileSync(path, await tarOf({ 'c.json': config, 'l/layer.tar': layer, 'manifest.json': manifest }));
  return path;
}

const bytesOf = (store: string, digest: string) => readFileSync(storedBlob(store, digest));

/** Converts an archive of `text` into the store; gives the digest of the layer that the image got, which is proved. */
async function layerMade(store: string, text: string, name: string, env: Record<string, string>) {
  const { status, stderr } = await imgconv(['tar2reg', '--quiet', await saved(text, name), store], { env });
  assert.equal(status, 0, stderr);
  const [repository = '', tag = ''] = name.split(':');
  const link = join(store, 'docker/registry/v2/repositories', repository, '_manifests/tags', tag);
  const manifest = bytesOf(store, readFileSync(join(link, 'current/link'), 'utf8'));
  const { layers } = JSON.parse(manifest.toString()) as { layers: { digest: string }[] };
  const digest = layers[0]?.digest ?? '';
  const tar = gunzipSync(bytesOf(store, digest));
  assert.ok(tar.equals(await tarOf({ 'etc/text': text })));
  return digest;
}

function layersFile(folder: string): string {
  const [name, ...others] = readdirSync(join(folder, 'imgconv')).filter((one) => one.endsWith('.layers'));
  assert.ok(name !== undefined && others.length === 0);
  return join(folder, 'imgconv', name);
}

/** A store of many images, a cache that knows it, and a layer of it: `text 7`, as another program compressed it. */
async function known() {
  const all = await images(MANY);
  const store = layStore(tempFolder(), all);
  const env = { XDG_CACHE_HOME: tempFolder(), CI: '' };
  await layerMade(store, 'something new', 'first:1', env);
  const path = layersFile(env.XDG_CACHE_HOME);
  return { store, env, path, layer: all['app0:7']?.blobs[1]?.digest ?? '' };
}

describe('a layer that a store holds', () => {
  for (const [what, env] of [
    ['without a home', { HOME: '', XDG_CACHE_HOME: '' }],
    ['where nothing can be kept', { XDG_CACHE_HOME: '/dev/null' }],
    ['where nothing can be made', { XDG_CACHE_HOME: '/proc/self' }],
  ] as const)
    test(`is not compressed again ${what}`, async () => {
      const all = await images(MANY);
      const store = layStore(tempFolder(), all);
      assert.equal(await layerMade(store, 'top 7', 'new:1', env), all['app0:7']?.blobs[1]?.digest);
    });

  test('is not compressed again, whatever the cache holds', async () => {
    const { store, env, path, layer } = await known();
    const sound = readFileSync(path);
    const folders = (value: unknown) => JSON.stringify({ version: 1, folders: value });
    for (const [i, content] of [
      sound,
      sound.subarray(0, sound.length / 2),
      Buffer.alloc(0),
      Buffer.alloc(sound.length),
      folders(null),
      folders({ 'blobs/sha256/00': { changed: 'now' } }),
      folders({ '../..': { changed: 1, others: '', manifests: ' : : \n' } }),
    ].entries()) {
      writeFileSync(path, content);
      assert.equal(await layerMade(store, 'top 7', `new:${i}`, env), layer);
    }
    rmSync(path);
    mkdirSync(path);
    assert.equal(await layerMade(store, 'top 7', 'new:folder', env), layer);
  });

  test('is never another one, even if the cache says so', async () => {
    const { store, env, path } = await known();
    const elsewhere = join(tempFolder(), 'store');
    cpSync(store, elsewhere, { recursive: true });
    const expected = await layerMade(elsewhere, 'unheard of', 'new:1', { HOME: '', XDG_CACHE_HOME: '' });
    const short = digestText(await tarOf({ 'etc/text': 'unheard of' })).slice(7, 23);
    const lies = readFileSync(path, 'utf8').replace(/ [0-9a-f]{16}:/g, ` ${short}:`);
    assert.ok(lies.includes(` ${short}:`));
    writeFileSync(path, lies);
    assert.equal(await layerMade(store, 'unheard of', 'new:1', env), expected);
    const { status, stdout } = await imgconv(['verify', '--deep', `reg:${store}`]);
    assert.equal(status, 0, stdout);
  });

  test('is made anew when its blob is gone or damaged', async () => {
    const { store, env, layer } = await known();
    const path = storedBlob(store, layer);
    writeFileSync(path, Buffer.alloc(readFileSync(path).length));
    assert.notEqual(await layerMade(store, 'top 7', 'new:1', env), layer);
    const other = (await imageOf('top 8')).blobs[1]?.digest ?? '';
    rmSync(storedBlob(store, other));
    assert.notEqual(await layerMade(store, 'top 8', 'new:2', env), other);
  });

  test('is not compressed again by runs at the same time', async () => {
    const { store, env, path, layer } = await known();
    const names = ['a:1', 'b:1', 'c:1', 'd:1'];
    const made = await Promise.all(names.map((name) => layerMade(store, 'top 7', name, env)));
    assert.deepEqual([...new Set(made)], [layer]);
    const { folders } = JSON.parse(readFileSync(path, 'utf8')) as { folders: object };
    assert.ok(Object.keys(folders).length > 0);
    assert.deepEqual(
      readdirSync(join(env.XDG_CACHE_HOME, 'imgconv')).filter((name) => name.endsWith('.new')),
      [],
    );
  });
});
