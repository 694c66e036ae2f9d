import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import { z } from 'zod';
import { collectGarbage } from '../src/upkeep/gc.js';
import { verify } from '../src/upkeep/verify.js';
import { convert, inspectImages, type ConvertOptions, type Format, type Place } from '../src/index.js';
import { FakeRegistry, reply } from './support/fake-registry.js';
import { digestsOf, expected, fixture, syncTree, unpacked } from './support/fixtures.js';
import {
  descriptorOf,
  digestText,
  hex,
  imageOf,
  indexOf,
  layStore,
  OCI,
  part,
  widened,
  type Sample,
} from './support/images.js';
import { nestedOf, referrerOf } from './support/layouts.js';
import { formatOf, imageIdsOf, LOCAL_FORMATS, namesOf, newPlace, place } from './support/places.js';
import { contentsOf, stagingIn, stateOf } from './support/snapshot.js';
import { contentsAt, newMemoryPlace, STORED } from './support/storages.js';
import { bodyOf, readTarFile } from './support/tars.js';
import { tempFolder } from './support/temp.js';

/*
 * What "a format works" means, for every sample of another tool and every format: a new format is covered by being in
 * the table, and a new sample by a line here.
 */
const KEEP = { compression: 'keep' } as const;
const NAMES = digestsOf('sync.tar');
const INDEX = 'demo/multi:1';

interface Foreign {
  /** Who made it, or how. */
  readonly by: string;
  readonly short: string;
  /** The fixture, by which `expected.json` knows it. */
  readonly file: string;
  readonly path: () => string | Promise<string>;
  /** Digests by name, without hosts, as its maker gives them; undefined where it holds no manifests. */
  readonly digests: Readonly<Record<string, string>> | undefined;
  /** The name of an index that it holds. */
  readonly index?: string | undefined;
}

function sample(by: string, short: string, file: string, path = () => fixture(file)): Foreign {
  const { [file]: known } = expected.digests;
  const digests = known === undefined ? undefined : hostless(known);
  return { by, short, file, path, digests, index: digests?.[INDEX] === undefined ? undefined : INDEX };
}

/** oras gives a tag alone: the rest of the name is that of the layout or archive. */
function oras(short: string, file: string, name: string, digest = ''): Foreign {
  const path = () => (short === 'oci' ? unpacked(file) : fixture(file));
  const index = digest === NAMES[INDEX] ? name : undefined;
  return { by: 'oras', short, file, path, digests: { [name]: digest }, index };
}

/** For the formats whose samples lack some of what skopeo's tree has. */
function fromTree(short: string): Foreign {
  const path = async () => (await converted(place('dir', syncTree()), formatOf(short))).path;
  return { by: "imgconv from skopeo's tree", short, file: 'sync.tar', path, digests: NAMES, index: INDEX };
}

const SAMPLES: readonly Foreign[] = [
  sample('skopeo sync', 'dir', 'sync.tar', syncTree),
  sample('docker-registry', 'reg', 'registry.tar', () => unpacked('registry.tar')),
  sample('skopeo', 'oci', 'oci.tar', () => unpacked('oci.tar')),
  oras('oci', 'oras-index.tar', 'oras-index.tar:1', NAMES[INDEX]),
  sample('skopeo', 'ocitar', 'oci.tar'),
  sample('podman', 'ocitar', 'podman-oci.tar'),
  oras('ocitar', 'oras.tar', 'oras:2.0', digestsOf('oras.tar')['2.0']),
  sample('Docker 20.10', 'tar', 'docker20.tar'),
  sample('Docker 28', 'tar', 'docker28.tar'),
  sample('Docker 28 with containerd', 'tar', 'containerd28-platforms.tar'),
  sample('skopeo', 'tar', 'skopeo-archive.tar'),
  sample('crane', 'tar', 'crane.tar'),
  sample('podman', 'tar', 'podman.tar'),
  ...['tar', 'oci', 'ocitar'].map(fromTree),
];

/** All formats on disk, and those whose files lie in a storage in memory too. */
const TARGETS = [
  ...LOCAL_FORMATS.map((to) => ({ to, where: 'on disk', make: (format: Format) => newPlace(format) })),
  ...STORED.map((short) => ({ to: formatOf(short), where: 'in memory', make: newMemoryPlace })),
];

const trees = new Map<string, Record<string, string>>();
const sourceless = newPlace('dir');

async function converted(
  from: Place,
  to: Format,
  options: ConvertOptions = KEEP,
  target = newPlace(to),
): Promise<Place> {
  const { images } = await convert(from, target, options);
  for (const { source, status, error } of images)
    assert.equal(status, 'written', `${source}: ${error?.message ?? ''}`);
  return target;
}

/** Names as the formats have them that keep no host. */
function hostless<T>(byName: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(
    Object.entries(byName).map(([name, one]) => [
      name.replace(/^(?:localhost(?::\d+)?|docker\.io)\//, ''),
      one,
    ]),
  );
}

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

/** The members of the index that a place's fixture holds, by platform. */
function membersOf(file: string): Record<string, string> {
  if (file !== 'oci.tar') return expected.children[INDEX] ?? {};
  const digest = digestsOf(file)[INDEX] ?? '';
  const bytes = readFileSync(join(unpacked(file), 'blobs', digest.replace(':', '/')), 'utf8');
  return Object.fromEntries(
    indexSchema
      .parse(JSON.parse(bytes))
      .manifests.map(({ digest: member, platform: { os, architecture, variant } }) => [
        [os, architecture, variant].filter((part) => part !== undefined).join('/'),
        member,
      ]),
  );
}
const indexSchema = z.object({
  manifests: z.array(
    z.object({
      digest: z.string(),
      platform: z.object({ os: z.string(), architecture: z.string(), variant: z.string().optional() }),
    }),
  ),
});

for (const { by, short, file, path, digests, index } of SAMPLES) {
  describe(`${short} by ${by} (${file})`, () => {
    let source = sourceless;
    const { [file]: imageIds } = expected.imageIds;
    before(async () => {
      source = place(short, await path());
    });

    test('is read with the names and digests that its maker gives', async () => {
      assert.ok(digests !== undefined || imageIds !== undefined);
      if (digests !== undefined) assert.deepEqual(hostless(tagged(await namesOf(source))), digests);
      if (imageIds !== undefined) assert.deepEqual(hostless(await imageIdsOf(source)), hostless(imageIds));
    });

    for (const { to, where, make } of TARGETS) {
      describe(`to ${to.short} ${where}`, () => {
        let there = sourceless;
        const named = <T>(names: Record<string, T>) => (to.traits.dropsHost ? hostless(names) : names);
        before(async () => {
          there = await converted(source, to, { ...KEEP, jobs: 1 }, make(to));
        });

        test('keeps names, digests and image IDs', async () => {
          assert.deepEqual(tagged(await namesOf(there)), named(tagged(await namesOf(source))));
          assert.deepEqual(tagged(await imageIdsOf(there)), named(tagged(await imageIdsOf(source))));
        });

        test('and back gives the same names, digests and bytes', async () => {
          const back = await converted(there, source.format);
          assert.deepEqual(named(await namesOf(back)), named(await namesOf(source)));
          assert.deepEqual(await treeOf(back), await treeOf(source));
        });

        if (index !== undefined)
          test('carries an index with all its members, configs and layers', async () => {
            const selectors = [{ text: index, rename: undefined, where: 'test' }];
            let seen = 0;
            for await (const { digest, manifests } of inspectImages(there, selectors)) {
              seen++;
              assert.equal(digest, digests?.[index]);
              const members = manifests.filter(({ imageId }) => imageId !== undefined);
              assert.deepEqual(
                Object.fromEntries(members.map((one) => [one.platform, one.digest])),
                membersOf(file),
              );
              assert.ok(
                members.every(
                  ({ config, layers }) => config !== undefined && layers.every(({ present }) => present),
                ),
              );
            }
            assert.equal(seen, 1);
          });

        test('gives the same bytes twice, with any number of threads', async () => {
          const other = await converted(source, to, { ...KEEP, jobs: 4 }, make(to));
          assert.deepEqual(await contentsAt(other), await contentsAt(there));
        });

        test('changes nothing the second time', async () => {
          await expectUnchanged(source, there, KEEP);
        });

        test('is sound, and keeps all that has a tag when garbage is collected', async () => {
          const { images, findings } = await verify(there, { deep: true });
          assert.ok(images > 0);
          assert.deepEqual(
            findings.filter(({ severity }) => severity === 'broken'),
            [],
          );
          if (to.blobStore === undefined) return;
          const before = await contentsAt(there);
          await collectGarbage(there, { olderThan: 0 });
          assert.deepEqual(await contentsAt(there), before);
        });

        test('leaves no unfinished work behind', async () => {
          const left = Object.keys(await contentsAt(there));
          assert.ok(left.length > 0);
          assert.deepEqual(
            left.filter((key) => key.includes('.imgconv-')),
            [],
          );
          assert.deepEqual(stagingIn(dirname(there.path)), []);
        });
      });
    }
  });
}

async function expectUnchanged(from: Place, there: Place, options: ConvertOptions): Promise<void> {
  const [state, contents] = [stateOf(there.path), await contentsAt(there)];
  const { images } = await convert(from, there, options);
  assert.ok(images.length > 0);
  for (const { name, status } of images) assert.equal(status, 'unchanged', name);
  assert.deepEqual(stateOf(there.path), state);
  assert.deepEqual(await contentsAt(there), contents);
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

describe('digests that are not sha256', () => {
  const images: Record<string, Sample> = {};
  /** Named by tags; a folder keeps no digest but its own name's. */
  const wideRoots = ['demo/root:1', 'demo/subject:1', 'demo/subject:sbom'];

  before(async () => {
    const plain = await imageOf('plain', { family: OCI, compress: false });
    const arm = await imageOf('arm', { family: OCI, platform: 'linux/arm64/v8' });
    const own = await imageOf('own', { family: OCI });
    const [wide, root] = [await imageOf('wide', { algorithm: 'sha512' }), widened(own, 'root')];
    const subject = widened(await imageOf('subject'), 'root');
    Object.assign(images, {
      'demo/root:1': root,
      'demo/config:1': widened(await imageOf('config'), 'config'),
      'demo/layers:1': widened(own, 'layers'),
      'demo/plain:1': widened(plain, 'layers'),
      'demo/member:1': indexOf([wide, arm]),
      'demo/members:1': indexOf([widened(plain, 'config'), widened(arm, 'root'), widened(own, 'layers')]),
      'demo/subject:1': subject,
    });
    const { root: sbom, ...rest } = referrerOf(subject.root, 'sbom');
    images['demo/subject:sbom'] = { root: part(sbom.mediaType, sbom.bytes, 'sha512'), ...rest };
  });

  for (const from of LOCAL_FORMATS) {
    for (const to of LOCAL_FORMATS) {
      test(`stay from reg to ${from.short} to ${to.short} and back`, async () => {
        const hasRoots = ![from, to].some(({ short }) => short === 'dir');
        const wanted = Object.entries(images).filter(([name]) => hasRoots || !wideRoots.includes(name));
        const store = place('reg', layStore(tempFolder(), Object.fromEntries(wanted)));
        const there = await converted(await converted(store, from), to);
        assert.deepEqual(
          await namesOf(there),
          Object.fromEntries(wanted.map(([name, { root }]) => [name, root.digest])),
        );
        const back = await converted(there, place('reg', '').format);
        assert.deepEqual(contentsOf(back.path), contentsOf(store.path));
      });
    }
  }

  test('of a manifest are refused in a folder that a tag names, in words, and nothing is written of it', async () => {
    const store = place('reg', layStore(tempFolder(), images));
    const tree = newPlace('dir');
    const { images: reports } = await convert(store, tree, KEEP);
    for (const { name = '', source, status, error } of reports) {
      const isWide = wideRoots.includes(source);
      assert.equal(status, isWide ? 'failed' : 'written', `${name} ${error?.message ?? ''}`);
      if (isWide)
        assert.match(
          error?.message ?? '',
          /has a sha512 digest, which a folder named by a tag does not keep/,
        );
      assert.equal(existsSync(join(tree.path, source)), !isWide);
    }
  });

  test('of a manifest are refused where it is pushed by tag, and nothing of it is pushed', async () => {
    await using registry = await FakeRegistry.start();
    const { 'demo/root:1': root, 'demo/member:1': member } = images;
    assert.ok(root !== undefined && member !== undefined);
    const store = place('reg', layStore(tempFolder(), { 'demo/root:1': root, 'demo/member:1': member }));
    const { images: reports } = await convert(store, place('docker', registry.host), KEEP);
    const [pushed, refused] = reports
      .map(({ status, error }) => error?.message ?? status)
      .sort()
      .reverse();
    assert.equal(pushed, 'written');
    assert.match(
      refused ?? '',
      /has a sha512 digest, and a registry gives a sha256 one to what is pushed by tag/,
    );
    assert.deepEqual([...registry.manifests.keys()], ['demo/member']);
  });

  test('of a blob are refused where the registry keeps the sha256 one, and the image is not pushed', async () => {
    await using registry = await FakeRegistry.start();
    registry.fail(/^PUT .*uploads.*sha512/, (request, response) => {
      request.resume();
      reply(response, 201, { 'docker-content-digest': `sha256:${'0'.repeat(64)}` });
    });
    const { 'demo/layers:1': layers } = images;
    assert.ok(layers !== undefined);
    const store = place('reg', layStore(tempFolder(), { 'demo/layers:1': layers }));
    const [report] = (await convert(store, place('docker', registry.host), KEEP)).images;
    assert.match(
      report?.error?.message ?? '',
      /the registry keeps no sha512 digests: it stored sha512:.* as sha256:/,
    );
    assert.equal(registry.manifests.size, 0);
  });

  test('of a subject: the referrers tag, which has but a part of it, goes with the image', async () => {
    const { 'demo/subject:1': subject, 'demo/subject:sbom': sbom } = images;
    assert.ok(subject !== undefined && sbom !== undefined);
    const tag = `demo/subject:sha512-${hex(subject.root.digest).slice(0, 64)}`;
    const named = { 'demo/subject:1': subject, [tag]: nestedOf([sbom]) };
    const layout = newPlace('oci');
    const selectors = [{ text: 'demo/subject:1', rename: undefined, where: 'test' }];
    await convert(place('reg', layStore(tempFolder(), named)), layout, { ...KEEP, selectors });
    assert.deepEqual(Object.keys(await namesOf(layout)).sort(), ['demo/subject:1', tag]);
    const bare = newPlace('oci');
    await convert(place('reg', layStore(tempFolder(), named)), bare, { ...KEEP, extras: false });
    assert.deepEqual(Object.keys(await namesOf(bare)), ['demo/subject:1']);
  });

  test('an engine is given no image whose diffIDs it cannot compare', async () => {
    const image = await imageOf('diff', { family: OCI, compress: false });
    const [config, layer] = image.blobs;
    assert.ok(config !== undefined && layer !== undefined);
    const rootfs = { type: 'layers', diff_ids: [digestText(layer.bytes, 'sha512')] };
    const wide = part(config.mediaType, { ...(JSON.parse(config.bytes.toString()) as object), rootfs });
    const manifest = { ...(JSON.parse(image.root.bytes.toString()) as object), config: descriptorOf(wide) };
    const sample = { ...image, root: part(OCI.manifest, manifest), blobs: [wide, layer] };
    const archive = newPlace('tar');
    const { images: reports } = await convert(
      place('reg', layStore(tempFolder(), { 'demo/x:1': sample })),
      archive,
      KEEP,
    );
    assert.match(reports[0]?.notes.join('\n') ?? '', /`docker load` ignores it: its diffIDs are not sha256/);
    assert.equal(String(bodyOf(await readTarFile(archive.path), 'manifest.json')), '[]');
    const back = newPlace('reg');
    await convert(archive, back, KEEP);
    assert.deepEqual(await namesOf(back), { 'demo/x:1': sample.root.digest });
  });
});
