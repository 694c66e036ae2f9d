import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { before, describe, test } from 'node:test';
import { convert, inspectImages, type ConvertOptions, type Format, type Place } from '../src/index.js';
import { digestsOf, expected, fixture, syncTree, unpacked } from './support/fixtures.js';
import { LOCAL_FORMATS, namesOf, newPlace, place } from './support/places.js';
import { contentsOf, stagingIn, stateOf } from './support/snapshot.js';

/*
 * What "a format works" means, for every ordered pair of formats: a new one is covered by being in the table.
 */
const KEEP = { compression: 'keep' } as const;
const NAMES = digestsOf('sync.tar');
const MEMBERS = expected.children['demo/multi:1'] ?? {};

/** Fixtures that other tools made in this very format; the others are made from skopeo's tree. */
const FIXTURES: Readonly<Record<string, () => string>> = {
  dir: syncTree,
  reg: () => unpacked('registry.tar'),
};

const sources = new Map<Format, Place>();
const trees = new Map<string, Record<string, string>>();
const sourceless = newPlace('dir');

async function converted(from: Place, to: Format, options: ConvertOptions = KEEP): Promise<Place> {
  const target = newPlace(to);
  const { images } = await convert(from, target, options);
  for (const { source, status, error } of images)
    assert.equal(status, 'written', `${source}: ${error?.message ?? ''}`);
  return target;
}

function sourceOf(format: Format): Place {
  const source = sources.get(format);
  assert.ok(source !== undefined);
  return source;
}

before(async () => {
  for (const format of LOCAL_FORMATS) {
    const path = FIXTURES[format.short]?.();
    sources.set(
      format,
      path === undefined ? await converted(place('dir', syncTree()), format) : { format, path },
    );
  }
});

/** Without what is there by its digest alone: artifacts that speak of an image, which some formats list beside it. */
function tagged(names: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(names).filter(([name]) => !name.includes('@')));
}

/** All that a place holds, by what it is as skopeo's tree, which has no order of its own. */
async function treeOf(from: Place): Promise<Record<string, string>> {
  const known = trees.get(from.path);
  const tree =
    known ?? contentsOf(from.format.short === 'dir' ? from.path : (await converted(from, formatDir())).path);
  trees.set(from.path, tree);
  return tree;
}

const PAIRS = LOCAL_FORMATS.flatMap((from) => LOCAL_FORMATS.map((to) => ({ from, to })));

for (const { from, to } of PAIRS) {
  describe(`${from.short} to ${to.short}`, () => {
    let there = sourceless;
    before(async () => {
      there = await converted(sourceOf(from), to, { ...KEEP, jobs: 1 });
    });

    test('keeps names and digests', async () => {
      assert.deepEqual(tagged(await namesOf(there)), NAMES);
    });

    test('and back gives the same names, digests and bytes', async () => {
      const back = await converted(there, from);
      assert.deepEqual(await namesOf(back), await namesOf(sourceOf(from)));
      assert.deepEqual(await treeOf(back), await treeOf(sourceOf(from)));
    });

    test('carries an index with all its members, configs and layers', async () => {
      const selectors = [{ text: 'demo/multi:1', rename: undefined, where: 'test' }];
      let seen = 0;
      for await (const { digest, manifests } of inspectImages(there, selectors)) {
        seen++;
        assert.equal(digest, NAMES['demo/multi:1']);
        const members = manifests.filter(({ imageId }) => imageId !== undefined);
        assert.deepEqual(Object.fromEntries(members.map((one) => [one.platform, one.digest])), MEMBERS);
        assert.ok(
          members.every(
            ({ config, layers }) => config !== undefined && layers.every(({ present }) => present),
          ),
        );
      }
      assert.equal(seen, 1);
    });

    test('gives the same bytes twice, with any number of threads', async () => {
      const other = await converted(sourceOf(from), to, { ...KEEP, jobs: 4 });
      assert.deepEqual(contentsOf(other.path), contentsOf(there.path));
    });

    test('changes nothing the second time', async () => {
      await expectUnchanged(sourceOf(from), there, KEEP);
    });

    test('leaves no unfinished work behind', () => {
      assert.ok(existsSync(there.path));
      assert.deepEqual(stagingIn(dirname(there.path)), []);
    });
  });
}

async function expectUnchanged(from: Place, there: Place, options: ConvertOptions): Promise<void> {
  const state = stateOf(there.path);
  const { images } = await convert(from, there, options);
  assert.ok(images.length > 0);
  for (const { name, status } of images) assert.equal(status, 'unchanged', name);
  assert.deepEqual(stateOf(there.path), state);
}

for (const to of LOCAL_FORMATS) {
  test(`an engine's archive gives ${to.short} the same bytes twice and changes nothing the second time`, async () => {
    const saved = place('tar', fixture('docker20.tar'));
    const [one, other] = [await converted(saved, to, { jobs: 1 }), await converted(saved, to, { jobs: 4 })];
    assert.deepEqual(contentsOf(other.path), contentsOf(one.path));
    await expectUnchanged(saved, one, {});
  });

  test(`dir to ${to.short} and back gives skopeo's own tree, byte for byte`, async () => {
    const back = await converted(await converted(place('dir', syncTree()), to), formatDir());
    assert.deepEqual(contentsOf(back.path), contentsOf(syncTree()));
  });

  test(`an image that is named by its digest goes to ${to.short} and back`, async () => {
    const there = await converted(place('dir', unpacked('sync-digest.tar') + '/sync-digest'), to);
    const back = newPlace('dir');
    const selectors = Object.keys(digestsOf('sync-digest.tar')).map((text) => ({
      text,
      rename: undefined,
      where: 'test',
    }));
    const { images } = await convert(there, back, { ...KEEP, selectors });
    assert.deepEqual(
      images.map(({ name, status, error }) => [name, error?.message ?? status]),
      selectors.map(({ text }) => [text, 'written']),
    );
    assert.deepEqual(await namesOf(back), digestsOf('sync-digest.tar'));
  });

  if (to.traits.dropsHost && !to.traits.takesPort) continue;
  test(`--scoped keeps a host with a port to ${to.short} and back`, async () => {
    const scoped = place('dir', `${unpacked('sync-scoped.tar')}/sync-scoped`);
    const there = await converted(scoped, to, { ...KEEP, scoped: true });
    const back = await converted(there, formatDir(), { ...KEEP, scoped: true });
    assert.deepEqual(await namesOf(back), digestsOf('sync-scoped.tar'));
    assert.deepEqual(contentsOf(back.path), contentsOf(scoped.path));
  });
}

function formatDir(): Format {
  return place('dir', '').format;
}
