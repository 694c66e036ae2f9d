import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { before, describe, test } from 'node:test';
import { convert, type Format, type ImageReport, type Place, type Report } from '../src/index.js';
import { imgconv } from './support/cli.js';
import { damage, damaged, DAMAGES, holdersOf, type Damage } from './support/damage.js';
import {
  artifactOf,
  digestText,
  hex,
  imageOf,
  indexOf,
  layTree,
  type Part,
  type Sample,
} from './support/images.js';
import { LOCAL_FORMATS, namesOf, newPlace, place } from './support/places.js';
import { contentsOf, stagingIn, stateOf } from './support/snapshot.js';
import { tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';

/*
 * A place of several images, of which each but the sound ones has one damaged blob: for every pair of formats, every
 * kind of blob and every way of being wrong, that image fails, and it alone, and nothing of it is in the target.
 */
const KEEP = { compression: 'keep' } as const;

interface Victim {
  readonly name: string;
  readonly kind: string;
  readonly how: Damage;
  readonly image: Sample;
  readonly part: Part;
}

const KINDS = [
  'manifest',
  'config',
  'layer',
  'index',
  'child manifest',
  'child config',
  'child layer',
] as const;
/** Without its manifest a folder is no image, and an archive is what its manifest.json says. */
const MANIFESTS: readonly string[] = ['manifest', 'index', 'child manifest'];

let sound: Readonly<Record<string, Sample>> = {};
const victims: Victim[] = [];
/** One place of every format, with the same damage in it. */
const places = new Map<Format, Place>();

/** A config is the first blob of an image, its own layer the last. */
function partOf(image: Sample, kind: (typeof KINDS)[number]): Part {
  const parts: Record<(typeof KINDS)[number], Part | undefined> = {
    manifest: image.root,
    config: image.blobs[0],
    layer: image.blobs.at(-1),
    index: image.root,
    'child manifest': image.members.at(-1),
    'child config': image.blobs.at(-3),
    'child layer': image.blobs.at(-1),
  };
  const part = parts[kind];
  assert.ok(part !== undefined);
  return part;
}

before(async () => {
  const base = await tarOf({ 'etc/base': 'shared by the sound and the damaged' });
  sound = {
    'demo/good:1': await imageOf('good', { base }),
    'demo/more:1': indexOf([await imageOf('more'), await imageOf('more', { platform: 'linux/arm64' })]),
    'helm/chart:1': artifactOf('chart'),
  };
  for (const kind of KINDS) {
    for (const how of DAMAGES.filter((one) => one !== 'gone' || !MANIFESTS.includes(kind))) {
      const text = `${kind} ${how}`;
      const isIndex = kind === 'index' || kind.startsWith('child');
      const image = isIndex
        ? indexOf([
            await imageOf(text, { base }),
            await imageOf(`${text} arm`, { base, platform: 'linux/arm64' }),
          ])
        : await imageOf(text, { base });
      victims.push({
        name: `bad/${text.replaceAll(' ', '-')}:1`,
        kind,
        how,
        image,
        part: partOf(image, kind),
      });
    }
  }
  const images = { ...sound, ...Object.fromEntries(victims.map(({ name, image }) => [name, image])) };
  const tree = place('dir', layTree(tempFolder(), images));
  for (const format of LOCAL_FORMATS) {
    const there = newPlace(format);
    await convert(tree, there, { ...KEEP, link: 'copy' });
    await damage(
      there.path,
      victims.map(({ part, how }) => [part.bytes, how]),
    );
    places.set(format, there);
  }
});

function damagedPlace(format: Format): Place {
  const there = places.get(format);
  assert.ok(there !== undefined);
  return there;
}

/** Bytes that no sound image has. */
function ownParts({ image: { root, members, blobs } }: Victim): Part[] {
  const shared = new Set(Object.values(sound).flatMap((one) => one.blobs.map(({ digest }) => digest)));
  return [root, ...members, ...blobs].filter(({ digest }) => !shared.has(digest));
}

for (const from of LOCAL_FORMATS) {
  for (const to of LOCAL_FORMATS) {
    describe(`${from.short} to ${to.short}`, () => {
      const target = newPlace(to);
      let report: Report | undefined;
      before(async () => {
        report = await convert(damagedPlace(from), target, KEEP);
      });

      function reportOn(name: string): ImageReport | undefined {
        return report?.images.find(({ source }) => source === name);
      }

      test('converts the sound images, and no others', async () => {
        const names = Object.entries(sound).map(([name, { root }]) => [name, root.digest]);
        assert.deepEqual(await namesOf(target), Object.fromEntries(names));
        for (const name of Object.keys(sound)) assert.equal(reportOn(name)?.status, 'written');
        assert.equal(report?.images.length, victims.length + names.length);
        assert.deepEqual(stagingIn(dirname(target.path)), []);
      });

      for (const kind of KINDS) {
        for (const how of DAMAGES.filter((one) => one !== 'gone' || !MANIFESTS.includes(kind))) {
          test(`refuses an image whose ${kind} ${how === 'gone' ? 'is gone' : `has a byte ${how}`}`, () => {
            const victim = victims.find((one) => one.kind === kind && one.how === how);
            assert.ok(victim !== undefined);
            const { part } = victim;
            const reported = reportOn(victim.name);
            assert.equal(reported?.status, 'failed');
            const { error } = reported;
            assert.ok(error !== undefined);
            assert.ok(
              error.message.includes(damagedPlace(from).path),
              `does not name the file: ${error.message}`,
            );
            if (how === 'changed' && !MANIFESTS.includes(kind)) {
              assert.equal(error.code, 'DIGEST_MISMATCH');
              const said = [part.digest, digestText(damaged(part.bytes, how))].map(hex);
              for (const one of said)
                assert.ok(error.message.includes(one), `no ${one} in: ${error.message}`);
            }
            if (how === 'gone') assert.ok(error.message.includes(hex(part.digest)), error.message);

            const bytes = ownParts(victim).map((one) => one.bytes);
            if (how !== 'gone') bytes.push(damaged(part.bytes, how));
            assert.deepEqual(holdersOf(target.path, bytes), []);
          });
        }
      }

      test('does not touch what was there when nothing can be converted', async () => {
        const name = 'bad/layer-changed:1';
        const earlier = newPlace(to);
        const before_ = layTree(tempFolder(), { [name]: await imageOf('what was there before') });
        await convert(place('dir', before_), earlier, KEEP);
        const [state, contents] = [stateOf(earlier.path), contentsOf(earlier.path)];
        const selectors = [{ text: name, rename: undefined, where: 'test' }];
        const { images } = await convert(damagedPlace(from), earlier, { ...KEEP, selectors });
        assert.deepEqual(
          images.map(({ status }) => status),
          ['failed'],
        );
        assert.deepEqual(contentsOf(earlier.path), contents);
        assert.deepEqual(stateOf(earlier.path), state);
      });
    });
  }
}

// Each format once as a source and once as a target.
for (const [i, from] of LOCAL_FORMATS.entries()) {
  const to = LOCAL_FORMATS[(i + 1) % LOCAL_FORMATS.length] ?? from;
  test(`${from.short}2${to.short} exits with 1 and names what failed`, async () => {
    const target = newPlace(to);
    const command = `${from.short}2${to.short}`;
    const { status, stdout, stderr } = await imgconv([
      command,
      damagedPlace(from).path,
      target.path,
      '--compression',
      'keep',
    ]);
    assert.equal(status, 1);
    for (const { name } of victims) assert.ok(stderr.includes(name), stderr);
    assert.match(stdout, new RegExp(`${Object.keys(sound).length} written, ${victims.length} failed`));
    assert.deepEqual(Object.keys(await namesOf(target)).sort(), Object.keys(sound).sort());
  });
}
