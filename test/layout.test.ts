import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { before, describe, test } from 'node:test';
import {
  collectGarbage,
  convert,
  inspectImages,
  listImages,
  parsePlatform,
  verify,
  type ConvertOptions,
  type Format,
  type Place,
  type Report,
} from '../src/index.js';
import { ownerName } from '../src/storage/owner.js';
import { imgconv } from './support/cli.js';
import { digestsOf, fixture, projectRoot, syncTree, unpacked } from './support/fixtures.js';
import {
  artifactOf,
  descriptorOf,
  DOCKER,
  hex,
  imageOf,
  indexOf,
  layDir,
  layStore,
  layTree,
  OCI,
  part,
  put,
  type Sample,
} from './support/images.js';
import {
  archiveOf,
  blobFile,
  CONTAINERD,
  entriesOf,
  layFiles,
  layoutFiles,
  nestedOf,
  readIndex,
  REF,
  referrerOf,
  savedFiles,
  type LayoutEntry,
} from './support/layouts.js';
import { LOCAL_FORMATS, namesOf, newPlace, place } from './support/places.js';
import { contentsOf, filesIn, inodeOf, stagingIn, stateOf } from './support/snapshot.js';
import { tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';

const KEEP = { compression: 'keep' } as const;

async function convertAll(from: Place, to: Place, options: ConvertOptions = KEEP): Promise<Report> {
  const report = await convert(from, to, options);
  for (const { source, status, error } of report.images)
    assert.ok(['written', 'updated', 'unchanged'].includes(status), `${source}: ${error?.message ?? status}`);
  return report;
}

/** A layout of these files in a folder of this name, or the same as an archive. */
async function layIn(short: 'oci' | 'ocitar', name: string, files: Record<string, Buffer>): Promise<Place> {
  const path = join(tempFolder(), short === 'oci' ? name : `${name}.tar`);
  if (short === 'oci') layFiles(path, files);
  else writeFileSync(path, await archiveOf(files));
  return place(short, path);
}

let image: Sample;
let other: Sample;

before(async () => {
  image = await imageOf('one', { family: OCI });
  other = await imageOf('other');
});

describe('names of a layout:', () => {
  const cases: readonly { what: string; annotations: Record<string, string>; name: string }[] = [
    { what: 'a whole reference', annotations: { [REF]: 'demo/app:1.0' }, name: 'demo/app:1.0' },
    {
      what: 'a reference with a host',
      annotations: { [REF]: 'localhost:5000/demo/app:1.0' },
      name: 'localhost:5000/demo/app:1.0',
    },
    {
      what: 'a tag alone, in the repository that the layout is called',
      annotations: { [REF]: '1.0' },
      name: 'place:1.0',
    },
    {
      what: "containerd's name beside a tag",
      annotations: { [CONTAINERD]: 'docker.io/library/app:1.0', [REF]: '1.0' },
      name: 'app:1.0',
    },
    {
      what: "containerd's name alone",
      annotations: { [CONTAINERD]: 'quay.io/demo/app:1.0' },
      name: 'quay.io/demo/app:1.0',
    },
    {
      what: 'a tag beside the containerd name of the image that it was made from, as umoci repack leaves it',
      annotations: { [CONTAINERD]: 'docker.io/library/app:1.0', [REF]: 'repacked' },
      name: 'app:repacked',
    },
    {
      what: "a whole reference before containerd's name",
      annotations: { [CONTAINERD]: 'docker.io/demo/app:2.0', [REF]: 'demo/app:1.0' },
      name: 'demo/app:1.0',
    },
  ];
  for (const short of ['oci', 'ocitar'] as const) {
    for (const { what, annotations, name } of cases) {
      test(`${what} (${short})`, async () => {
        const from = await layIn(short, 'place', layoutFiles([{ image, annotations }]));
        assert.deepEqual(await namesOf(from), { [name]: image.root.digest });
        const target = newPlace('oci');
        await convertAll(from, target);
        assert.deepEqual(await namesOf(target), { [name]: image.root.digest });
      });
    }

    test(`none: refused without -t, and named by it (${short})`, async () => {
      const from = await layIn(short, 'place', layoutFiles([{ image }]));
      const target = newPlace('reg');
      const { images } = await convert(from, target);
      assert.deepEqual(
        images.map(({ error }) => error?.code),
        ['NAME_MISSING'],
      );
      assert.match(images[0]?.error?.hint ?? '', /-t NAME:TAG/);
      assert.deepEqual(filesIn(target.path), []);
      await convertAll(from, target, { tag: 'demo/named:1' });
      assert.deepEqual(await namesOf(target), { 'demo/named:1': image.root.digest });
    });

    test(`none of one among others: the others are converted (${short})`, async () => {
      const entries = [{ image }, { image: other, annotations: { [REF]: 'demo/other:1' } }];
      const from = await layIn(short, 'place', layoutFiles(entries));
      const target = newPlace('reg');
      const { images } = await convert(from, target, KEEP);
      assert.deepEqual(
        images.map(({ error, name }) => [name, error?.code]),
        [
          [undefined, 'NAME_MISSING'],
          ['demo/other:1', undefined],
        ],
      );
      assert.deepEqual(await namesOf(target), { 'demo/other:1': other.root.digest });
    });

    test(`two of one image (${short})`, async () => {
      const entries = ['demo/app:1', 'demo/app:latest'].map((name) => ({
        image,
        annotations: { [REF]: name },
      }));
      const target = newPlace('reg');
      await convertAll(await layIn(short, 'place', layoutFiles(entries)), target);
      const { digest } = image.root;
      assert.deepEqual(await namesOf(target), { 'demo/app:1': digest, 'demo/app:latest': digest });
    });
  }

  test('an entry that skopeo took the name from does not stand in the way of the one that it gave it to', async () => {
    const containerd = { [CONTAINERD]: 'docker.io/demo/app:1' };
    const entries = [
      { image: other, annotations: containerd },
      { image, annotations: { [REF]: 'demo/app:1' } },
    ];
    const target = newPlace('reg');
    const selectors = [{ text: 'demo/app:1', rename: undefined, where: 'test' }];
    await convertAll(await layIn('oci', 'place', layoutFiles(entries)), target, { ...KEEP, selectors });
    assert.deepEqual(await namesOf(target), { 'demo/app:1': image.root.digest });
  });

  test('two images of one name are refused before anything is written', async () => {
    const entries = [image, other].map((one) => ({ image: one, annotations: { [REF]: 'demo/app:1' } }));
    const from = await layIn('oci', 'place', layoutFiles(entries));
    const target = newPlace('reg');
    await assert.rejects(convert(from, target), { code: 'NAME_CONFLICT' });
    assert.deepEqual(filesIn(target.path), []);
  });
});

describe('a layout', () => {
  test('keeps Docker schema 2 manifests as they are', async () => {
    const layout = newPlace('oci');
    await convertAll(place('dir', syncTree()), layout);
    const names = digestsOf('sync.tar');
    assert.deepEqual(await namesOf(layout), names);
    for (const [name, digest] of Object.entries(names)) {
      const bytes = readFileSync(join(layout.path, blobFile(digest)));
      assert.deepEqual(bytes, readFileSync(join(syncTree(), name, 'manifest.json')), name);
      const entry = readIndex(layout.path).manifests.find((one) => one.annotations?.[REF] === name);
      assert.equal(entry?.digest, digest);
      assert.equal(entry.size, bytes.length);
      const said = JSON.parse(bytes.toString()) as { mediaType?: string };
      assert.equal(entry.mediaType, said.mediaType);
    }
    assert.equal(readFileSync(join(layout.path, 'oci-layout'), 'utf8'), '{"imageLayoutVersion":"1.0.0"}');
  });

  test('says what engines and other tools go by: both names of an image', async () => {
    const layout = newPlace('oci');
    await convertAll(place('dir', layTree(tempFolder(), { 'demo/app:1.0': image })), layout);
    assert.deepEqual(readIndex(layout.path).manifests, [
      {
        ...descriptorOf(image.root),
        annotations: { [CONTAINERD]: 'docker.io/demo/app:1.0', [REF]: 'demo/app:1.0' },
      },
    ]);
  });

  test('passes over blobs that nothing refers to', async () => {
    const files = layoutFiles([{ image, annotations: { [REF]: 'demo/app:1' } }]);
    const junk = part('', Buffer.from('left by another tool'));
    const from = await layIn('oci', 'place', {
      ...files,
      [blobFile(junk.digest)]: junk.bytes,
      [`blobs/sha256/${'0'.repeat(64)}`]: Buffer.from('not what its name says'),
      'blobs/sha256/tmp-123': Buffer.from('no digest at all'),
    });
    const before = stateOf(from.path);
    for (const short of ['dir', 'reg', 'oci', 'tar', 'ocitar']) {
      const target = newPlace(short);
      await convertAll(from, target);
      assert.deepEqual(await namesOf(target), { 'demo/app:1': image.root.digest });
      const bytes = Object.values(contentsOf(target.path)).join('');
      for (const text of ['left by another tool', 'not what its name says', 'no digest at all'])
        assert.ok(!bytes.includes(text), `${text} in ${short}`);
    }
    assert.deepEqual(stateOf(from.path), before, 'and leaves them where they are');
  });

  test('hard links blobs from and to dir and reg', async () => {
    const layout = newPlace('oci');
    layFiles(layout.path, layoutFiles(entriesOf({ 'demo/app:1': image })));
    const layer = image.blobs.at(-1)?.digest ?? '';
    const inLayout = join(layout.path, blobFile(layer));
    const [tree, store, again] = [newPlace('dir'), newPlace('reg'), newPlace('oci')];
    await convertAll(layout, tree, { ...KEEP, link: 'hard' });
    await convertAll(tree, store, { ...KEEP, link: 'hard' });
    await convertAll(store, again, { ...KEEP, link: 'hard' });
    assert.equal(inodeOf(join(tree.path, 'demo/app:1', hex(layer))), inodeOf(inLayout));
    assert.equal(inodeOf(join(again.path, blobFile(layer))), inodeOf(inLayout));
  });

  const damages: Readonly<Record<string, (folder: string) => void>> = {
    'a layer with one byte more': (folder) => {
      const path = join(folder, blobFile(image.blobs.at(-1)?.digest ?? ''));
      writeFileSync(path, Buffer.concat([readFileSync(path), Buffer.from('x')]));
    },
    'a config with another byte': (folder) => {
      const path = join(folder, blobFile(image.blobs[0]?.digest ?? ''));
      const bytes = readFileSync(path);
      bytes[5] = (bytes[5] ?? 0) ^ 1;
      writeFileSync(path, bytes);
    },
    'a manifest with another byte': (folder) => {
      const path = join(folder, blobFile(image.root.digest));
      writeFileSync(
        path,
        readFileSync(path, 'latin1').replace('"schemaVersion":2', '"schemaVersion":2 '),
        'latin1',
      );
    },
    'no layer': (folder) => {
      rmSync(join(folder, blobFile(image.blobs.at(-1)?.digest ?? '')));
    },
    'a layer of zero bytes': (folder) => {
      writeFileSync(join(folder, blobFile(image.blobs.at(-1)?.digest ?? '')), '');
    },
  };
  for (const [what, damage] of Object.entries(damages)) {
    test(`with ${what} is refused, and the sound image beside it is not`, async () => {
      const files = layoutFiles(entriesOf({ 'demo/app:1': image, 'demo/other:1': other }));
      for (const short of ['reg', 'oci', 'dir', 'tar', 'ocitar']) {
        const from = await layIn('oci', 'place', files);
        damage(from.path);
        const target = newPlace(short);
        const { images } = await convert(from, target, KEEP);
        const failed = images.filter(({ status }) => status === 'failed');
        assert.deepEqual(
          failed.map(({ source }) => source),
          ['demo/app:1'],
          short,
        );
        assert.deepEqual(await namesOf(target), { 'demo/other:1': other.root.digest }, short);
        assert.deepEqual(stagingIn(dirname(target.path)), []);
      }
    });
  }

  const refused: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    'a version that is not known': { 'oci-layout': '{"imageLayoutVersion":"2.0.0"}' },
    'an index.json that is no JSON': { 'index.json': '{' },
    'an index.json with layers': { 'index.json': '{"schemaVersion":2,"manifests":[],"layers":[]}' },
    'a digest that leads out of it': {
      'index.json':
        '{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:../../../etc/passwd","size":1}]}',
    },
  };
  for (const [what, files] of Object.entries(refused)) {
    test(`with ${what} is refused`, async () => {
      const from = newPlace('oci');
      layFiles(from.path, layoutFiles(entriesOf({ 'demo/app:1': image })));
      for (const [name, text] of Object.entries(files)) put(join(from.path, name), text);
      const target = newPlace('reg');
      await assert.rejects(convert(from, target), { name: 'ImgconvError' });
      assert.deepEqual(filesIn(target.path), []);
    });
  }
});

describe('"manifests": null is an empty list', () => {
  const NULL = Buffer.from('{"schemaVersion":2,"manifests":null}');
  let empty: Sample;

  before(() => {
    const root = part(OCI.index, { schemaVersion: 2, mediaType: OCI.index, manifests: null });
    empty = { root, members: [], blobs: [], platform: undefined };
  });

  for (const short of ['oci', 'ocitar'] as const)
    test(`in index.json (${short})`, async () => {
      const from = await layIn(short, 'place', { ...layoutFiles([]), 'index.json': NULL });
      assert.deepEqual(await namesOf(from), {});
      assert.deepEqual((await verify(from)).findings, []);
      await assert.rejects(convert(from, newPlace('reg')), { code: 'NOT_FOUND' });
    });

  test('in an archive of Docker 25, whose manifest.json has the image', async () => {
    const archive = newPlace('tar');
    const files = { ...savedFiles({ 'demo/app:1': image }), 'index.json': NULL };
    writeFileSync(archive.path, await archiveOf(files));
    const target = newPlace('reg');
    await convertAll(archive, target, { compression: 'keep' });
    assert.deepEqual(Object.keys(await namesOf(target)), ['demo/app:1']);
  });

  test('in a layout that is written into, and that garbage is collected in', async () => {
    const layout = layFiles(join(tempFolder(), 'place'), { ...layoutFiles([]), 'index.json': NULL });
    put(join(layout, 'blobs/sha256', '1'.repeat(64)), 'garbage');
    const report = await collectGarbage(place('oci', layout), { olderThan: 0, untagged: true });
    assert.equal(report.blobs.blobs, 1);
    const tree = layTree(tempFolder(), { 'demo/app:1': image });
    await convertAll(place('dir', tree), place('oci', layout));
    assert.deepEqual(await namesOf(place('oci', layout)), { 'demo/app:1': image.root.digest });
  });

  test('in an index, whose bytes stay as they are', async () => {
    const tree = place('dir', layTree(tempFolder(), { 'demo/empty:1': empty }));
    for (const { short } of LOCAL_FORMATS) {
      const [there, back] = [newPlace(short), newPlace('dir')];
      await convertAll(tree, there);
      await convertAll(there, back);
      assert.deepEqual(contentsOf(back.path), contentsOf(tree.path), short);
    }
  });
});

describe('an entry of index.json with a wrong size', () => {
  const said = /expected 7 bytes, as its descriptor says, found \d+/;

  async function expectRefused(from: Place, broken: string[], sound: Record<string, string>): Promise<void> {
    const target = newPlace('reg');
    const { images } = await convert(from, target, KEEP);
    const failed = images.filter(({ status }) => status === 'failed');
    assert.deepEqual(
      failed.map(({ error }) => error?.code),
      broken.map(() => 'DIGEST_MISMATCH'),
    );
    for (const { error } of failed) assert.match(error?.message ?? '', said);
    assert.deepEqual(await namesOf(target), sound);
    for await (const { error, name } of listImages(from))
      assert.equal(error?.code, name !== undefined && name in sound ? undefined : 'DIGEST_MISMATCH', name);
    const { findings } = await verify(from);
    assert.deepEqual(
      findings.map(({ severity, kind }) => [severity, kind]),
      broken.map((kind) => ['broken', kind]),
    );
    for (const { what } of findings) assert.match(what, said);
  }

  /** As these, where the entry of this number says seven bytes. */
  function withSize(files: ReturnType<typeof layoutFiles>, number: number): Record<string, Buffer> {
    const index = JSON.parse(files['index.json']?.toString() ?? '') as { manifests: { size: number }[] };
    const manifests = index.manifests.map((one, i) => (i === number ? { ...one, size: 7 } : one));
    return { ...files, 'index.json': Buffer.from(JSON.stringify({ ...index, manifests })) };
  }

  for (const short of ['oci', 'ocitar'] as const) {
    const named = () => entriesOf({ 'demo/app:1': image, 'demo/other:1': other });
    const sound = () => ({ 'demo/other:1': other.root.digest });

    test(`with a name (${short})`, async () => {
      const from = await layIn(short, 'place', withSize(layoutFiles(named()), 0));
      await expectRefused(from, ['entry-wrong'], sound());
      await assert.rejects(inspectImages(from).next(), { code: 'DIGEST_MISMATCH' });
    });

    test(`without a name (${short})`, async () => {
      const files = layoutFiles([{ image }, ...named().slice(1)]);
      await expectRefused(await layIn(short, 'place', withSize(files, 0)), ['image-unreadable'], sound());
    });

    test(`without a name, beside one with the same digest (${short})`, async () => {
      for (const number of [2, 3]) {
        const files = layoutFiles([...named(), { image }, { image }]);
        const from = await layIn(short, 'place', withSize(files, number));
        await expectRefused(from, ['image-unreadable'], { 'demo/app:1': image.root.digest, ...sound() });
      }
    });

    test(`of a member of a listed index (${short})`, async () => {
      const multi = indexOf([image]);
      const files = layoutFiles([{ image }, ...entriesOf({ 'demo/multi:1': multi })]);
      const from = await layIn(short, 'place', withSize(files, 0));
      await expectRefused(from, ['image-unreadable'], { 'demo/multi:1': multi.root.digest });
    });
  }

  test('of an image that manifest.json lists', async () => {
    const archive = newPlace('tar');
    const files = savedFiles({ 'demo/app:1': image, 'demo/other:1': other });
    writeFileSync(archive.path, await archiveOf(withSize(files, 0)));
    await expectRefused(archive, ['image-unreadable'], { 'demo/other:1': other.root.digest });
  });

  test('is no damage that a repair mends', async () => {
    const layout = await layIn('oci', 'place', withSize(layoutFiles(entriesOf({ 'demo/app:1': image })), 0));
    const before = stateOf(layout.path);
    const source = place('reg', layStore(tempFolder(), { 'demo/app:1': image }));
    const { repaired, brokenImages } = await verify(layout, { repair: [source] });
    assert.deepEqual([repaired, brokenImages], [[], 1]);
    assert.deepEqual(stateOf(layout.path), before);
  });
});

describe('a descriptor with another media type than its manifest', () => {
  const said = (sample: Sample, mediaType: string) => ({ ...sample, root: { ...sample.root, mediaType } });
  /** At the root of a layout, without a name, as a member, and as a member that is listed too. */
  const places = (sample: Sample, arm: Sample): Record<string, LayoutEntry[]> => ({
    root: entriesOf({ 'demo/app:1': sample }),
    'root, twice': [...entriesOf({ 'demo/app:1': sample }), { image: sample }],
    child: entriesOf({ 'demo/app:1': indexOf([sample, arm]) }),
    'child, listed': [{ image: sample }, ...entriesOf({ 'demo/app:1': indexOf([sample, arm]) })],
  });

  test("of the same kind is taken everywhere, and the manifest's own is passed on", async () => {
    const arm = await imageOf('arm', { family: OCI, platform: 'linux/arm64' });
    for (const sample of [said(other, OCI.manifest), said(image, DOCKER.manifest)]) {
      for (const [where, entries] of Object.entries(places(sample, arm))) {
        for (const short of ['oci', 'ocitar'] as const) {
          const from = await layIn(short, 'place', layoutFiles(entries));
          assert.deepEqual((await verify(from)).findings, [], where);
          for (const format of LOCAL_FORMATS) {
            const there = newPlace(format);
            await convertAll(from, there, { ...KEEP, platforms: [parsePlatform('linux/amd64')] });
            assert.deepEqual(await namesOf(there), { 'demo/app:1': sample.root.digest }, where);
          }
          const layout = newPlace('oci');
          await convertAll(from, layout, { ...KEEP, platforms: [parsePlatform('linux/amd64')] });
          const own = sample.root.bytes.toString().includes(OCI.manifest) ? OCI.manifest : DOCKER.manifest;
          assert.equal(readIndex(layout.path).manifests[0]?.mediaType, own, where);
        }
      }
    }
  });

  test('of another kind is refused everywhere, in words', async () => {
    const sample = said(image, OCI.index);
    for (const [where, entries] of Object.entries(places(sample, other))) {
      const from = await layIn('oci', 'place', layoutFiles(entries));
      const { images } = await convert(from, newPlace('reg'), KEEP);
      const errors = images.flatMap(({ error }) => error ?? []);
      assert.ok(errors.length > 0, where);
      for (const { code, message } of errors) {
        assert.equal(code, 'MANIFEST_INVALID', where);
        assert.match(message, /its descriptor says application.*index.*, it is an image manifest \(/);
      }
      assert.ok((await verify(from)).brokenImages > 0, where);
    }
  });
});

describe('entries without a name', () => {
  let amd: Sample;
  let arm: Sample;
  let multi: Sample;
  let ofIndex: Sample;
  let ofMember: Sample;
  let ofReferrer: Sample;

  before(async () => {
    amd = await imageOf('amd', { family: OCI });
    arm = await imageOf('arm', { family: OCI, platform: 'linux/arm64' });
    multi = indexOf([amd, arm]);
    ofIndex = referrerOf(multi.root, 'of the index');
    ofMember = referrerOf(arm.root, 'of a member');
    ofReferrer = referrerOf(ofMember.root, 'of a referrer');
  });

  function atDigest(repository: string, { root }: Sample): [string, string] {
    return [`${repository}@${root.digest}`, root.digest];
  }

  for (const short of ['oci', 'ocitar'] as const) {
    const placeOf = (file: string) =>
      short === 'ocitar' ? place(short, fixture(`${file}.tar`)) : place(short, unpacked(`${file}.tar`));
    const repositoryOf = (file: string) => (short === 'ocitar' ? file : `${file}.tar`);

    test(`members that oras lists, with their referrers (${short})`, async () => {
      const from = placeOf('oras-index');
      const repository = repositoryOf('oras-index');
      const digest = digestsOf('sync.tar')['demo/multi:1'] ?? '';
      const names = await namesOf(from);
      assert.equal(names[`${repository}:1`], digest);
      assert.equal(Object.keys(names).length, 3, 'and two referrers');
      const { images, findings } = await verify(from, { deep: true });
      assert.deepEqual([images, findings], [3, []]);
      for (const format of LOCAL_FORMATS) {
        const target = newPlace(format);
        const chosen = [{ text: `${repository}:1`, rename: undefined, where: 'test' }];
        const attached = await convertAll(from, target, { ...KEEP, selectors: chosen });
        assert.deepEqual(
          Object.fromEntries(attached.images.map((one) => [one.name ?? '', one.digest])),
          names,
          `${format.short}: chosen by name`,
        );
        assert.deepEqual((await convertAll(from, newPlace(format))).images.length, 3, format.short);
        assert.deepEqual((await verify(target, { deep: true })).findings, [], format.short);
      }
    });

    test(`members that oras backup lists (${short})`, async () => {
      const from = placeOf('oras-backup');
      const digest = digestsOf('sync.tar')['demo/multi:1'] ?? '';
      const names = { [`${repositoryOf('oras-backup')}:1`]: digest };
      assert.deepEqual(await namesOf(from), names);
      const target = newPlace('reg');
      await convertAll(from, target);
      assert.deepEqual(await namesOf(target), names);
    });

    test(`of members, of the index again, and of referrers at any depth (${short})`, async () => {
      const outer = nestedOf([multi, await imageOf('alone', { family: OCI, platform: 'linux/s390x' })]);
      const own = [ofReferrer, multi, ofMember, arm, ofIndex, outer, amd, amd].map((one) => ({ image: one }));
      const named = { image: outer, annotations: { [REF]: 'demo/nested:1' } };
      const from = await layIn(short, 'place', layoutFiles([...own, named]));
      const names = Object.fromEntries([
        ['demo/nested:1', outer.root.digest],
        ...[ofIndex, ofMember, ofReferrer].map((one) => atDigest('demo/nested', one)),
      ]);
      assert.deepEqual(await namesOf(from), names);
      const { images, findings } = await verify(from);
      assert.deepEqual([images, findings], [4, []]);
      for (const to of ['reg', 'tar', 'oci'] as const) {
        const target = newPlace(to);
        await convertAll(from, target);
        assert.deepEqual(Object.keys(await namesOf(target)).length, to === 'reg' ? 1 : 4);
      }
    });

    test(`of an index that has none itself: -t names it, and its referrers follow (${short})`, async () => {
      const own = [amd, ofMember, arm, ofReferrer, multi, ofIndex].map((one) => ({ image: one }));
      const from = await layIn(short, 'place', layoutFiles(own));
      const target = newPlace('dir');
      await convertAll(from, target, { ...KEEP, tag: 'demo/multi:1' });
      assert.deepEqual(
        await namesOf(target),
        Object.fromEntries([
          ['demo/multi:1', multi.root.digest],
          ...[ofIndex, ofMember, ofReferrer].map((one) => atDigest('demo/multi', one)),
        ]),
      );
      assert.equal((await verify(from)).images, 4);
    });
  }

  test('of referrers of what two repositories share: they go with each', async () => {
    const other = indexOf([arm]);
    const files = layoutFiles(entriesOf({ 'demo/a:1': multi, 'demo/b:1': other, '@': ofMember }));
    const from = await layIn('oci', 'place', files);
    for (const [name, repository] of [
      ['demo/a:1', 'demo/a'],
      ['demo/b:1', 'demo/b'],
    ] as const) {
      const target = newPlace('dir');
      const selectors = [{ text: name, rename: undefined, where: 'test' }];
      await convertAll(from, target, { ...KEEP, selectors });
      assert.deepEqual(Object.keys(await namesOf(target)), [name, atDigest(repository, ofMember)[0]]);
    }
  });

  test('of a referrer that another index lists, or that has a tag: found by its subject all the same', async () => {
    for (const holder of [nestedOf([ofMember]), ofMember]) {
      const files = layoutFiles(entriesOf({ 'demo/a:1': multi, 'demo/holder:1': holder, '@': ofMember }));
      const from = await layIn('oci', 'place', files);
      const names = { 'demo/a:1': multi.root.digest, 'demo/holder:1': holder.root.digest };
      assert.deepEqual(await namesOf(from), names);
      const target = newPlace('dir');
      const selectors = [{ text: 'demo/a:1', rename: undefined, where: 'test' }];
      await convertAll(from, target, { ...KEEP, selectors });
      assert.deepEqual(Object.keys(await namesOf(target)), ['demo/a:1', atDigest('demo/a', ofMember)[0]]);
    }
  });

  test('of an index of referrers, as olareg keeps one for each subject', async () => {
    const list = nestedOf([ofMember]);
    const annotations = { 'org.opencontainers.image.referrer.subject': arm.root.digest };
    const files = layoutFiles([...entriesOf({ 'demo/a:1': multi }), { image: list, annotations }]);
    const target = newPlace('dir');
    await convertAll(await layIn('oci', 'place', files), target);
    assert.deepEqual(Object.keys(await namesOf(target)), ['demo/a:1', atDigest('demo/a', list)[0]]);
  });

  test('of an index whose subject is a referrer of its own member: one of the two is an image', async () => {
    const member = referrerOf(arm.root, 'of nothing that is here');
    const between = referrerOf(member.root, 'of the member');
    const list = nestedOf([member]);
    const text = list.root.bytes.toString().replace(/}$/, ',"subject":');
    const subject = JSON.stringify(descriptorOf(between.root));
    const circle = { ...list, root: part(OCI.index, Buffer.from(`${text}${subject}}`)) };
    const from = await layIn('oci', 'place', layoutFiles([{ image: circle }, { image: between }]));
    const target = newPlace('dir');
    await convertAll(from, target, { ...KEEP, tag: 'demo/circle:1' });
    assert.deepEqual(Object.values(await namesOf(target)).length, 2);
  });

  test('of members beside an image that manifest.json lists', async () => {
    const files = savedFiles({ 'demo/a:1': multi });
    const index = JSON.parse(files['index.json']?.toString() ?? '') as { manifests: object[] };
    for (const one of [amd, arm, ofMember]) index.manifests.push(descriptorOf(one.root));
    const parts = [ofMember.root, ...ofMember.blobs];
    const archive = newPlace('tar');
    const more = Object.fromEntries(parts.map(({ digest, bytes }) => [blobFile(digest), bytes] as const));
    const all = { ...files, ...more, 'index.json': Buffer.from(JSON.stringify(index)) };
    writeFileSync(archive.path, await archiveOf(all));
    const names = Object.fromEntries([['demo/a:1', multi.root.digest], atDigest('demo/a', ofMember)]);
    assert.deepEqual(await namesOf(archive), names);
    const target = newPlace('dir');
    await convertAll(archive, target);
    assert.deepEqual(await namesOf(target), names);
  });

  test('a damaged member is told once, with its index', async () => {
    const own = [multi, amd, arm].map((one) => ({ image: one }));
    const from = await layIn('oci', 'place', layoutFiles([...entriesOf({ 'demo/a:1': multi }), ...own]));
    writeFileSync(join(from.path, blobFile(arm.root.digest)), '{}');
    const { images } = await convert(from, newPlace('reg'), KEEP);
    assert.deepEqual(
      images.map(({ source, error }) => [source, error?.code]),
      [['demo/a:1', 'DIGEST_MISMATCH']],
    );
    const { findings } = await verify(from);
    assert.deepEqual(
      findings.map(({ kind, images: touched }) => [kind, touched]),
      [['manifest-damaged', ['demo/a:1']]],
    );
  });
});

describe('oci:PATH:REF', () => {
  let folder: string;
  let layout: string;
  /** The path of a layout that has a colon in it. */
  let colon: string;

  before(() => {
    folder = tempFolder();
    const files = layoutFiles([
      ...entriesOf({ 'demo/app:1.0': image, 'demo/other:2': other }),
      { image: other, annotations: { [REF]: '3.0' } },
    ]);
    layout = layFiles(join(folder, 'place'), files);
    colon = layFiles(join(folder, 'with:colon', 'a:b'), files);
  });

  async function copied(source: string, ...rest: string[]): Promise<Record<string, string>> {
    const target = newPlace('reg');
    const { status, stderr } = await imgconv(['copy', source, `reg:${target.path}`, ...rest]);
    assert.equal(status, 0, stderr);
    return namesOf(target);
  }

  test('a reference after the path', async () => {
    assert.deepEqual(await copied(`oci:${layout}:demo/app:1.0`), { 'demo/app:1.0': image.root.digest });
  });

  test('a tag after the path, of the repository that the layout is called', async () => {
    assert.deepEqual(await copied(`oci:${layout}:3.0`), { 'place:3.0': other.root.digest });
  });

  test('a path with colons, with a reference and without', async () => {
    assert.deepEqual(await copied(`oci:${colon}:demo/other:2`), { 'demo/other:2': other.root.digest });
    assert.deepEqual(await copied(`oci:${colon}`, 'demo/app:1.0'), { 'demo/app:1.0': image.root.digest });
  });

  test('a reference that is not there is refused, and nothing is written', async () => {
    const target = newPlace('reg');
    const { status, stderr } = await imgconv(['copy', `oci:${layout}:demo/app:9`, `reg:${target.path}`]);
    assert.equal(status, 1);
    assert.match(stderr, /demo\/app:9: no such image/);
    assert.deepEqual(filesIn(target.path), []);
  });

  test('as a target: the name that the image gets', async () => {
    const target = join(folder, 'new');
    const { status, stderr } = await imgconv([
      'copy',
      `oci:${layout}:demo/app:1.0`,
      `oci:${target}:team/app:2`,
    ]);
    assert.equal(status, 0, stderr);
    assert.deepEqual(await namesOf(place('oci', target)), { 'team/app:2': image.root.digest });
  });

  test('as a target, a tag alone', async () => {
    const target = join(folder, 'tagged');
    const { status, stderr } = await imgconv(['copy', `oci:${layout}:demo/app:1.0`, `oci:${target}:v2`]);
    assert.equal(status, 0, stderr);
    assert.deepEqual(await namesOf(place('oci', target)), { 'tagged:v2': image.root.digest });
    assert.equal(readIndex(target).manifests[0]?.annotations?.[REF], 'v2', 'as skopeo would write it');
  });

  test('as a target that exists and has colons', async () => {
    const target = layFiles(join(folder, 'old:one'), layoutFiles(entriesOf({ 'demo/other:2': other })));
    const { status, stderr } = await imgconv([
      'copy',
      `oci:${layout}:demo/app:1.0`,
      `oci:${target}:team/app:2`,
    ]);
    assert.equal(status, 0, stderr);
    assert.deepEqual(await namesOf(place('oci', target)), {
      'demo/other:2': other.root.digest,
      'team/app:2': image.root.digest,
    });
  });

  test('oci-archive:PATH:REF, from and to', async () => {
    const archive = join(folder, 'images.tar');
    const to = await imgconv(['copy', `oci:${layout}:demo/app:1.0`, `oci-archive:${archive}:team/app:2`]);
    assert.equal(to.status, 0, to.stderr);
    assert.deepEqual(await copied(`oci-archive:${archive}:team/app:2`), { 'team/app:2': image.root.digest });
  });
});

test('nothing is written into a layout of another version', async () => {
  const target = join(tempFolder(), 'next');
  mkdirSync(target);
  writeFileSync(join(target, 'oci-layout'), '{"imageLayoutVersion": "2.0.0"}');
  const { status, stderr } = await imgconv(['copy', `dir:${syncTree()}`, `oci:${target}`, 'demo/base:1']);
  assert.equal(status, 1);
  assert.match(stderr, /oci-layout: layout version 2\.0\.0, known is 1\.0\.0/);
  assert.deepEqual(filesIn(target), ['oci-layout']);
});

describe('an existing layout', () => {
  const foreign = {
    subject: undefined,
    annotations: { 'org.example.note': 'kept' },
    'x-unknown': { deep: [1, 2] },
  };

  function layForeign(name: string, entries: Parameters<typeof layoutFiles>[0]): string {
    return layFiles(join(tempFolder(), name), layoutFiles(entries, foreign));
  }

  function treeOf(images: Readonly<Record<string, Sample>>): Place {
    return place('dir', layTree(tempFolder(), images));
  }

  test('keeps entries and fields of others', async () => {
    const layout = layForeign('place', [
      { image: other, annotations: { [REF]: 'demo/other:1', 'org.example.more': 'x' } },
      { image: other },
    ]);
    const before = readIndex(layout);
    await convertAll(treeOf({ 'demo/app:1': image }), place('oci', layout));
    const after = readIndex(layout);
    assert.deepEqual(after.manifests.slice(0, 2), before.manifests);
    assert.equal(after.manifests.length, 3);
    assert.deepEqual({ ...after, manifests: [] }, { ...before, manifests: [] });
    assert.deepEqual(stagingIn(layout), []);
  });

  test('keeps blobs of others, referred to or not', async () => {
    const layout = layForeign('place', [{ image: other, annotations: { [REF]: 'demo/other:1' } }]);
    put(join(layout, 'blobs/sha256', '1'.repeat(64)), 'unreferenced');
    const before = stateOf(join(layout, 'blobs'));
    await convertAll(treeOf({ 'demo/app:1': image }), place('oci', layout));
    const after = stateOf(join(layout, 'blobs'));
    for (const [name, state] of Object.entries(before)) assert.equal(after[name], state, name);
  });

  test('an image of the same name is replaced', async () => {
    const layout = layForeign('place', entriesOf({ 'demo/app:1': other, 'demo/other:1': other }));
    await convertAll(treeOf({ 'demo/app:1': image }), place('oci', layout));
    assert.deepEqual(await namesOf(place('oci', layout)), {
      'demo/app:1': image.root.digest,
      'demo/other:1': other.root.digest,
    });
  });

  const sameName: Readonly<
    Record<string, { layout: string; annotations: Record<string, string>; name: string }>
  > = {
    'a tag alone in the layout of that name': { layout: 'app', annotations: { [REF]: '1' }, name: 'app:1' },
    "containerd's name beside a tag, as Docker writes it": {
      layout: 'place',
      annotations: { [CONTAINERD]: 'docker.io/demo/app:1', [REF]: '1' },
      name: 'demo/app:1',
    },
    "containerd's name alone": {
      layout: 'place',
      annotations: { [CONTAINERD]: 'docker.io/demo/app:1' },
      name: 'demo/app:1',
    },
    'a canonical reference': {
      layout: 'place',
      annotations: { [REF]: 'docker.io/library/app:1' },
      name: 'app:1',
    },
  };
  for (const [what, { layout: name, annotations, name: written }] of Object.entries(sameName)) {
    test(`an image of the same name is replaced, whichever way it is written: ${what}`, async () => {
      const layout = layForeign(name, [{ image: other, annotations }]);
      await convertAll(treeOf({ [written]: image }), place('oci', layout));
      const listed: (string | undefined)[] = [];
      for await (const one of listImages(place('oci', layout))) listed.push(one.digest);
      assert.deepEqual(listed, [image.root.digest]);
    });
  }

  test('images of other repositories that have but the same tag stay', async () => {
    const layout = layForeign('app', [
      { image: other, annotations: { [CONTAINERD]: 'docker.io/demo/base:1', [REF]: '1' } },
      { image: other, annotations: { [CONTAINERD]: 'docker.io/demo/dup:1', [REF]: '1' } },
    ]);
    await convertAll(treeOf({ 'app:1': image }), place('oci', layout));
    assert.deepEqual(await namesOf(place('oci', layout)), {
      'demo/base:1': other.root.digest,
      'demo/dup:1': other.root.digest,
      'app:1': image.root.digest,
    });
  });

  test("Docker's own, unpacked, takes another image and loses none", async () => {
    const layout = join(tempFolder(), 'base');
    layFiles(
      layout,
      Object.fromEntries(
        filesIn(unpacked('docker28.tar')).map((name) => [
          name,
          readFileSync(join(unpacked('docker28.tar'), name)),
        ]),
      ),
    );
    await convertAll(treeOf({ 'base:1': image }), place('oci', layout));
    const names = Object.keys(await namesOf(place('oci', layout))).sort();
    assert.deepEqual(names, ['base:1', 'demo/app:1.0', 'demo/app:2.0', 'demo/base:1', 'demo/dup:1']);
  });

  test('that is damaged is refused, and stays as it was', async () => {
    const layout = layForeign('place', entriesOf({ 'demo/other:1': other }));
    writeFileSync(join(layout, 'index.json'), '{"schemaVersion":2,"manifests":');
    const before = contentsOf(layout);
    const outcome = await convert(treeOf({ 'demo/app:1': image }), place('oci', layout)).then(
      ({ images }) => images[0]?.error?.code,
      (error: unknown) => (error as { code?: string }).code,
    );
    assert.equal(outcome, 'MANIFEST_INVALID');
    assert.equal(contentsOf(layout)['index.json'], before['index.json']);
    assert.deepEqual(stagingIn(layout), []);
  });

  test('eight processes that write different images into one layout lose nothing', async () => {
    const layout = join(tempFolder(), 'shared');
    const samples = await Promise.all(Array.from({ length: 8 }, (_, i) => imageOf(`image ${i}`)));
    const outcomes = await Promise.all(
      samples.map((sample, i) => {
        const tree = layTree(tempFolder(), { [`demo/app:${i}`]: sample, [`demo/more:${i}`]: sample });
        return imgconv(['dir2oci', tree, layout]);
      }),
    );
    for (const { status, stderr } of outcomes) assert.equal(status, 0, stderr);
    const wanted = samples.flatMap(({ root }, i) => [
      [`demo/app:${i}`, root.digest],
      [`demo/more:${i}`, root.digest],
    ]);
    assert.deepEqual(await namesOf(place('oci', layout)), Object.fromEntries(wanted));
    assert.deepEqual(stagingIn(layout), []);
    const target = newPlace('reg');
    await convertAll(place('oci', layout), target);
  });

  /** The name of a process that is no more. */
  function deadOwner(): string {
    const script = `import { ownerName } from ${JSON.stringify(join(projectRoot, 'dist/src/storage/owner.js'))}; process.stdout.write(ownerName());`;
    return execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  }

  test('a lock that a dead process left is taken over', async () => {
    const layout = layForeign('place', entriesOf({ 'demo/other:1': other }));
    writeFileSync(join(layout, '.imgconv-lock'), deadOwner());
    const since = Date.now();
    await convertAll(treeOf({ 'demo/app:1': image }), place('oci', layout));
    assert.ok(Date.now() - since < 5000);
    assert.deepEqual(Object.keys(await namesOf(place('oci', layout))), ['demo/other:1', 'demo/app:1']);
    assert.deepEqual(stagingIn(layout), []);
  });

  test('a lock that a living process holds is waited for', async () => {
    const layout = layForeign('place', entriesOf({ 'demo/other:1': other }));
    const lock = join(layout, '.imgconv-lock');
    writeFileSync(lock, ownerName());
    let done = false;
    const converting = convertAll(treeOf({ 'demo/app:1': image }), place('oci', layout)).then(() => {
      done = true;
    });
    await delay(300);
    assert.equal(done, false);
    assert.deepEqual(Object.keys(await namesOf(place('oci', layout))), ['demo/other:1']);
    rmSync(lock);
    await converting;
    assert.deepEqual(Object.keys(await namesOf(place('oci', layout))), ['demo/other:1', 'demo/app:1']);
  });

  test('unfinished work of a dead process is cleared, that of a living one is not', async () => {
    const layout = layForeign('place', entriesOf({ 'demo/other:1': other }));
    const [dead, living] = [`.imgconv-${deadOwner()}`, `.imgconv-${ownerName()}`];
    for (const folder of [dead, living]) {
      mkdirSync(join(layout, folder));
      writeFileSync(join(layout, folder, '0'), 'half a blob');
    }
    await convertAll(treeOf({ 'demo/app:1': image }), place('oci', layout));
    assert.deepEqual(stagingIn(layout).sort(), [living, join(living, '0')]);
  });
});

/** What stands between two formats, by names that differ; each is laid down in every format without imgconv. */
const SAMPLES: Readonly<Record<string, () => Promise<Record<string, Sample>>>> = {
  'one image': async () => ({ 'one/app:1': await imageOf('a') }),
  'shared layers': async () => {
    const base = await tarOf({ 'etc/base': 'shared' });
    return {
      'shared/app:1': await imageOf('a', { base }),
      'shared/app:2': await imageOf('b', { base, family: OCI }),
      'shared/other:1': await imageOf('c', { base, family: OCI }),
    };
  },
  'an index of three platforms': async () => ({
    'demo/multi:1': indexOf([
      await imageOf('x', { platform: 'linux/amd64' }),
      await imageOf('y', { platform: 'linux/arm64/v8', family: OCI }),
      await imageOf('z', { platform: 'linux/arm/v7', family: OCI }),
    ]),
  }),
  'a nested index': async () => {
    const x = await imageOf('nested', { platform: 'linux/amd64', family: OCI });
    const inner = indexOf([x, await imageOf('nested', { platform: 'linux/arm64', family: OCI })]);
    const alone = await imageOf('nested', { platform: 'linux/s390x', family: OCI });
    return { 'demo/nested:1': nestedOf([inner, alone, indexOf([x])]) };
  },
  'a Helm chart': () => Promise.resolve({ 'charts/demo:0.1.0': artifactOf('demo') }),
  'an image with a referrer': async () => {
    const subject = await imageOf('signed', { family: OCI });
    const referrer = referrerOf(subject.root, 'one');
    const second = referrerOf(referrer.root, 'of the referrer');
    return {
      'signed/app:1': subject,
      [`signed/app@${referrer.root.digest}`]: referrer,
      [`signed/app@${second.root.digest}`]: second,
    };
  },
  'an image with a referrer whose JSON is full of escapes': async () => {
    const subject = await imageOf('escaped', { family: OCI });
    const plain = referrerOf(subject.root, 'escaped');
    const text = plain.root.bytes.toString().replace('"subject"', '"\\u0073ubject"');
    const referrer = { ...plain, root: part(OCI.manifest, Buffer.from(text)) };
    return { 'escaped/app:1': subject, [`escaped/app@${referrer.root.digest}`]: referrer };
  },
  'an empty-layer image': async () => ({
    'demo/empty:1': await imageOf('e', { base: Buffer.alloc(1024), family: OCI }),
    'demo/empty:2': await imageOf('e', { base: Buffer.alloc(1024) }),
  }),
  'a layer used twice': async () => ({
    'demo/twice:1': await imageOf('t', { base: await tarOf({ 'etc/text': 't' }) }),
    'demo/twice:2': await imageOf('t', { base: await tarOf({ 'etc/text': 't' }), family: OCI }),
  }),
  'uncompressed layers': async () => ({
    'demo/plain:1': await imageOf('p', { compress: false }),
    'demo/plain:2': await imageOf('p', { compress: false, family: OCI }),
  }),
};

/** Lays images down in a format. A name with a digest is a revision without a tag. */
async function lay(short: string, images: Readonly<Record<string, Sample>>): Promise<Place> {
  const target = newPlace(short);
  const { path } = target;
  if (short === 'dir') layTree(path, images);
  if (short === 'oci') layFiles(path, layoutFiles(entriesOf(images)));
  if (short === 'ocitar') writeFileSync(path, await archiveOf(layoutFiles(entriesOf(images))));
  if (short === 'tar') writeFileSync(path, await archiveOf(savedFiles(images)));
  if (short === 'reg') {
    for (const [name, sample] of Object.entries(images)) {
      const [repository = '', digest] = name.split('@');
      layStore(path, { [digest === undefined ? name : `${repository}:untagged`]: sample });
      const tags = join(path, 'docker/registry/v2/repositories', repository, '_manifests/tags');
      rmSync(join(tags, 'untagged'), { recursive: true, force: true });
    }
  }
  return target;
}

for (const a of LOCAL_FORMATS) {
  for (const b of LOCAL_FORMATS) {
    describe(`${a.short} → ${b.short} → ${a.short} keeps every byte of`, () => {
      const samples = new Map<string, Record<string, Sample>>();
      const errors = new Map<string, string>();
      let tree: Place;

      before(async () => {
        for (const [what, make] of Object.entries(SAMPLES)) samples.set(what, await make());
        let at = await lay(a.short, Object.assign({}, ...samples.values()) as Record<string, Sample>);
        for (const format of [b, a, formatDir()]) {
          const to = newPlace(format);
          const { images } = await convert(at, to, KEEP);
          for (const { name, source, error } of images)
            if (error !== undefined) errors.set(name ?? source, error.message);
          assert.deepEqual(stagingIn(dirname(to.path)), []);
          at = to;
        }
        tree = at;
      });

      for (const what of Object.keys(SAMPLES)) {
        test(what, () => {
          for (const [name, sample] of Object.entries(samples.get(what) ?? {})) {
            const folder = join(tempFolder(), 'wanted');
            layDir(folder, sample);
            const about = `${name}: ${[...errors.values()].join('; ')}`;
            assert.deepEqual(contentsOf(join(tree.path, name)), contentsOf(folder), about);
          }
        });
      }

      test('all of them, and makes nothing up', () => {
        assert.deepEqual([...errors], []);
        const names = [...samples.values()].flatMap((images) => Object.keys(images));
        const folders = filesIn(tree.path).filter((name) => name.endsWith('/version'));
        assert.deepEqual(folders, names.map((name) => `${name}/version`).sort());
      });
    });
  }
}

function formatDir(): Format {
  return place('dir', '').format;
}

test('an index.json that is larger than a manifest may be is added to', async () => {
  const layout = unpacked('oci.tar');
  const path = join(layout, 'index.json');
  writeFileSync(path, `${readFileSync(path, 'utf8').trimEnd()}${' '.repeat(5 * 1024 ** 2)}`);
  const { images } = await convert(place('dir', syncTree()), place('oci', layout), { compression: 'keep' });
  assert.ok(images.every(({ status }) => ['written', 'updated', 'unchanged'].includes(status)));
  assert.ok(Object.keys(await namesOf(place('oci', layout))).length > 5);
});
