import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { z } from 'zod';
import {
  convert,
  findPlace,
  type ConvertOptions,
  type ImageReport,
  type Place,
  type Report,
} from '../src/index.js';
import { digestOf } from '../src/bytes/hash.js';
import { Pool } from '../src/threads/pool.js';
import { TarStream, tarToFile } from '../src/storage/tar-sink.js';
import { VerifiedBlob } from '../src/proof/verified-blob.js';
import { ImgconvError } from '../src/model/errors.js';
import { ownPlatform, platformText } from '../src/model/platform.js';
import { imgconv } from './support/cli.js';
import { refusal } from './support/errors.js';
import { digestsOf, expected, fixture, syncTree, unpacked } from './support/fixtures.js';
import {
  descriptorOf,
  digestText,
  DOCKER,
  imageOf,
  indexOf,
  layStore,
  OCI,
  part,
  storedBlob,
  type Sample,
} from './support/images.js';
import {
  archiveOf,
  blobFile,
  CONTAINERD,
  engineEntry,
  layFiles,
  layoutFiles,
  mixedArchive,
  parseImage,
  readIndex,
  REF,
  type LayoutFiles,
} from './support/layouts.js';
import { imageIdsOf, LOCAL_FORMATS, namesOf, newPlace, place } from './support/places.js';
import { contentsOf, filesIn, stagingIn } from './support/snapshot.js';
import { readTarFile } from './support/tars.js';
import { tempFolder } from './support/temp.js';
import { arm, disarm } from './torture/injector.js';

const KEEP = { compression: 'keep' } as const;
const COMPRESSIONS = ['keep', 'gzip'] as const;

/** Converts, and asserts that every image was written. */
async function convertAll(from: Place, to: Place, options: ConvertOptions = {}): Promise<Report> {
  const report = await convert(from, to, options);
  for (const { source, status, error } of report.images)
    assert.equal(status, 'written', `${source}: ${error?.message ?? ''}`);
  return report;
}

function withoutHost(name: string): string {
  const [first = '', ...rest] = name.split('/');
  return rest.length > 0 && (first === 'localhost' || /[.:]/.test(first)) ? rest.join('/') : name;
}

const configSchema = z.object({ rootfs: z.object({ diff_ids: z.array(z.string()).nullable() }) });

/** Every layer in a store unpacks to what its image's config says; told without imgconv. */
function assertDiffIds(store: string, manifestDigest: string): void {
  const { config, layers } = parseImage(readFileSync(storedBlob(store, manifestDigest)));
  const { rootfs } = configSchema.parse(JSON.parse(readFileSync(storedBlob(store, config.digest), 'utf8')));
  const found = layers.map(({ digest, size, mediaType }) => {
    const bytes = readFileSync(storedBlob(store, digest));
    assert.equal(digestText(bytes), digest);
    assert.equal(bytes.length, size);
    const gzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
    assert.equal(mediaType.endsWith('gzip'), gzip, `${mediaType} of ${digest}`);
    return digestText(gzip ? gunzipSync(bytes) : bytes);
  });
  assert.deepEqual(found, rootfs.diff_ids ?? []);
}

function assertNothingAt(path: string): void {
  assert.deepEqual(filesIn(path), [], 'nothing was written');
  assert.deepEqual(stagingIn(dirname(path)), [], 'no unfinished work is left');
}

describe('the image IDs of', () => {
  for (const [file, imageIds] of Object.entries(expected.imageIds)) {
    const untagged = 'untagged' in imageIds;
    const options = untagged ? { tag: 'demo/named:1' } : {};
    const wanted = Object.fromEntries(
      Object.entries(imageIds).map(([name, id]) => [untagged ? 'demo/named:1' : name, id]),
    );
    for (const compression of COMPRESSIONS) {
      test(`${file}, ${compression}`, async () => {
        const store = newPlace('reg');
        await convertAll(place('tar', fixture(file)), store, { compression, ...options });
        const inStore = Object.fromEntries(
          Object.entries(wanted).map(([name, id]) => [withoutHost(name), id]),
        );
        assert.deepEqual(await imageIdsOf(store), inStore);
        for (const digest of Object.values(await namesOf(store))) assertDiffIds(store.path, digest);

        const layout = newPlace('oci');
        await convertAll(place('tar', fixture(file)), layout, { compression, ...options });
        assert.deepEqual(await imageIdsOf(layout), wanted, 'an OCI layout keeps the hosts in names');
      });
    }

    test(`${file}, which is recognised for what it is`, () => {
      assert.equal(findPlace(fixture(file)).format.short, 'tar');
    });
  }

  test('legacy-v1.tar are those that docker load gave', () => {
    const lines = readFileSync(fixture('legacy-v1.image-ids.txt'), 'utf8').trim().split('\n');
    const loaded: Record<string, string> = {};
    for (const [name = '', id = ''] of lines.map((line) => line.trim().split(/\s+/))) loaded[name] = id;
    assert.deepEqual(loaded, expected.imageIds['legacy-v1.tar']);
  });
});

describe('the digests of', () => {
  for (const file of ['docker28.tar', 'containerd28.tar']) {
    for (const [what, options] of Object.entries({ 'unless it is asked otherwise': {}, 'with keep': KEEP })) {
      for (const { short } of LOCAL_FORMATS) {
        test(`${file} are kept ${what}: ${short}`, async () => {
          const target = newPlace(short);
          await convertAll(place('tar', fixture(file)), target, options);
          const wanted = Object.entries(digestsOf(file)).map(([name, digest]) => [withoutHost(name), digest]);
          assert.deepEqual(
            Object.fromEntries(
              Object.entries(await namesOf(target)).map(([name, digest]) => [withoutHost(name), digest]),
            ),
            Object.fromEntries(wanted),
          );
        });
      }
    }

    test(`${file} change with gzip, which the report says`, async () => {
      const { images } = await convertAll(place('tar', fixture(file)), newPlace('reg'), {
        compression: 'gzip',
      });
      for (const { name, digest, sourceDigest, notes } of images) {
        assert.equal(sourceDigest, digestsOf(file)[`docker.io/${name ?? ''}`]);
        assert.notEqual(digest, sourceDigest);
        assert.match(notes.join('\n'), /layers? (?:is|are) now gzip, so the digest is a new one/);
      }
    });
  }

  test('archives that imgconv writes are kept, also where layers are unpacked in them', async () => {
    for (const options of [KEEP, { compression: 'none', recompress: true }] as const) {
      const [archive, back] = [newPlace('tar'), newPlace('reg')];
      await convertAll(place('dir', syncTree()), archive, options);
      await convertAll(archive, back);
      assert.deepEqual(await namesOf(back), await namesOf(archive));
    }
  });

  test('those of images with manifests are kept, and layers of the others compressed, in one archive', async () => {
    const archive = join(tempFolder(), 'mixed.tar');
    writeFileSync(archive, await mixedArchive());
    for (const short of ['reg', 'dir']) {
      const target = newPlace(short);
      const { images } = await convertAll(place('tar', archive), target);
      for (const { name = '', digest, sourceDigest, notes } of images) {
        const kept = name !== 'demo/made:1';
        assert.equal(digest === sourceDigest, kept, name);
        assert.deepEqual(notes, kept ? [] : ['1 layer is now gzip, so the digest is a new one']);
        if (short === 'reg') assertDiffIds(target.path, digest ?? '');
      }
      assert.equal(images.length, 5);
    }
  });

  for (const file of ['oci.tar', 'podman-oci.tar']) {
    for (const compression of COMPRESSIONS) {
      for (const short of ['ocitar', 'tar']) {
        test(`${file}, read as ${short}, ${compression}`, async () => {
          const compressed = file === 'oci.tar' || compression === 'keep';
          const store = newPlace('reg');
          const { images } = await convertAll(place(short, fixture(file)), store, { compression });
          const wanted = Object.entries(digestsOf(file)).map(([name, digest]) => [withoutHost(name), digest]);
          assert.deepEqual(
            Object.fromEntries(images.map(({ name, sourceDigest }) => [name, sourceDigest])),
            Object.fromEntries(wanted),
          );
          if (compressed) assert.deepEqual(await namesOf(store), Object.fromEntries(wanted));
        });
      }
    }
  }

  for (const compression of COMPRESSIONS) {
    test(`oras.tar, whose tag belongs to the archive's own name, ${compression}`, async () => {
      const { '2.0': image = '', unnamed: referrer = '' } = digestsOf('oras.tar');
      const store = newPlace('reg');
      const { images } = await convertAll(place('ocitar', fixture('oras.tar')), store, { compression });
      assert.deepEqual(
        images.map(({ name, digest }) => [name, digest]),
        [
          ['oras:2.0', image],
          [`oras@${referrer}`, referrer],
        ],
      );
    });
  }
});

/** What packs an archive; undefined when this machine has no such program. */
const PACKERS: Readonly<Record<string, ((bytes: Buffer) => Buffer) | undefined>> = {
  gzip: (bytes) => gzipSync(bytes),
  ...Object.fromEntries(
    ['zstd', 'xz', 'bzip2'].map((program) => [
      program,
      spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined
        ? (bytes: Buffer) => execFileSync(program, ['-c', '-q'], { input: bytes, maxBuffer: 1 << 28 })
        : undefined,
    ]),
  ),
};

describe('an archive file is recognised by its content:', () => {
  const misleading = { gzip: 'images.tar', zstd: 'images.gz', xz: 'images.bz2', bzip2: 'images.tar.zst' };
  let plain: Record<string, string>;

  before(async () => {
    const store = newPlace('reg');
    await convertAll(place('tar', fixture('docker20.tar')), store);
    plain = contentsOf(store.path);
  });

  for (const [packing, name] of Object.entries(misleading)) {
    const pack = PACKERS[packing];
    const skip = pack === undefined ? `no ${packing} here` : false;
    test(`${packing} under the name ${name}`, { skip }, async () => {
      assert.ok(pack !== undefined);
      const packed = join(tempFolder(), name);
      writeFileSync(packed, pack(readFileSync(fixture('docker20.tar'))));
      assert.equal(findPlace(packed).format.short, 'tar');
      const store = newPlace('reg');
      await convertAll(place('tar', packed), store);
      assert.deepEqual(contentsOf(store.path), plain, 'the same store as from the plain archive');
      assert.deepEqual(await imageIdsOf(place('tar', packed)), expected.imageIds['docker20.tar']);
    });

    test(`${packing} around an OCI archive`, { skip }, async () => {
      assert.ok(pack !== undefined);
      const packed = join(tempFolder(), name);
      writeFileSync(packed, pack(readFileSync(fixture('oci.tar'))));
      const store = newPlace('reg');
      await convertAll(place('ocitar', packed), store);
      assert.deepEqual(await namesOf(store), digestsOf('oci.tar'));
    });

    test(`${packing} that is cut off is refused`, { skip }, async () => {
      assert.ok(pack !== undefined);
      const bytes = pack(readFileSync(fixture('docker20.tar')));
      const packed = join(tempFolder(), name);
      writeFileSync(packed, bytes.subarray(0, bytes.length >> 1));
      const target = newPlace('reg');
      const { status, stdout, stderr } = await imgconv(['tar2reg', packed, target.path]);
      assert.deepEqual([status, stdout], [1, '']);
      assert.match(stderr, new RegExp(`${name}.*cut off`));
      assertNothingAt(target.path);
    });
  }

  for (const to of LOCAL_FORMATS)
    test(`into ${to.short}, and its report counts the blobs that a plain archive's does`, async () => {
      const packed = join(tempFolder(), 'saved.tar.gz');
      const pipe = readFileSync(fixture('docker28.tar'));
      writeFileSync(packed, gzipSync(pipe));
      const said = [];
      for (const [from, stdin] of [
        [fixture('docker28.tar'), undefined],
        [packed, undefined],
        ['-', pipe],
      ] as const)
        said.push((await imgconv([`tar2${to.short}`, from, newPlace(to.short).path], { stdin })).stdout);
      assert.match(said[0] ?? '', /; blobs: \d+ copied \([0-9.]+ kB\)\n$/);
      assert.deepEqual(said.slice(1), [said[0], said[0]]);
    });

  test('a plain archive under the name images.gz', async () => {
    const packed = join(tempFolder(), 'images.gz');
    writeFileSync(packed, readFileSync(fixture('docker20.tar')));
    const store = newPlace('reg');
    await convertAll(place('tar', packed), store);
    assert.deepEqual(contentsOf(store.path), plain);
  });
});

describe('Docker 25.0.0 to 25.0.2 wrote OCI manifests that are wrong: manifest.json wins', () => {
  /** docker28.tar with other layers in its OCI manifests. */
  async function faulty(change: (layers: unknown[]) => unknown[]): Promise<string> {
    const members = await readTarFile(fixture('docker28.tar'));
    const files = new Map(members.map(({ header, body }) => [header.name, body]));
    const index = JSON.parse(String(files.get('index.json'))) as {
      manifests: { digest: string; size: number }[];
    };
    for (const descriptor of index.manifests) {
      const name = blobFile(descriptor.digest);
      const manifest = JSON.parse(String(files.get(name))) as { layers: unknown[] };
      const changed = part(OCI.manifest, { ...manifest, layers: change(manifest.layers) });
      files.delete(name);
      files.set(blobFile(changed.digest), changed.bytes);
      Object.assign(descriptor, { digest: changed.digest, size: changed.bytes.length });
    }
    files.set('index.json', Buffer.from(JSON.stringify(index)));
    const archive = join(tempFolder(), 'docker25.tar');
    const kept = [...files].filter(([name]) => !name.endsWith('/'));
    writeFileSync(archive, await archiveOf(Object.fromEntries(kept)));
    return archive;
  }

  const faults = {
    'without layers': () => [],
    'with layers in the wrong order': (layers: unknown[]) => [...layers].reverse(),
    'without the top layer': (layers: unknown[]) => layers.slice(0, -1),
  };
  for (const [what, change] of Object.entries(faults)) {
    for (const compression of COMPRESSIONS) {
      test(`${what}, ${compression}`, async () => {
        const archive = await faulty(change);
        const store = newPlace('reg');
        const { images } = await convertAll(place('tar', archive), store, { compression });
        assert.deepEqual(await imageIdsOf(store), expected.imageIds['docker28.tar']);
        for (const { name, digest, notes } of images) {
          assertDiffIds(store.path, digest ?? '');
          // An image of one layer has no wrong order.
          const sound = name === 'demo/base:1' && what.includes('order');
          assert.equal(
            notes.some((note) => /index\.json disagrees with manifest\.json/.test(note)),
            !sound,
            name,
          );
        }
      });
    }

    test(`${what}: the command warns, and succeeds`, async () => {
      const { status, stdout } = await imgconv(['tar2reg', await faulty(change), newPlace('reg').path]);
      assert.equal(status, 0);
      assert.match(
        stdout,
        /demo\/app:1\.0 .*\n\s+note: index\.json disagrees with manifest\.json, which counts/,
      );
    });
  }
});

const PLATFORMS = ['linux/amd64', 'linux/arm64/v8', 'linux/arm/v7'] as const;

/** An index of three platforms of which only the first is all there, as Docker's containerd store saves it. */
interface SparseSample {
  readonly files: LayoutFiles;
  readonly index: Sample;
  readonly members: readonly Sample[];
}

/** `manifests`: the absent members' manifests are there, and only their blobs are not. */
async function sparseSample(manifests: boolean, family: typeof DOCKER | typeof OCI): Promise<SparseSample> {
  const members: Sample[] = [];
  for (const platform of PLATFORMS) members.push(await imageOf(`on ${platform}`, { platform, family }));
  const index = indexOf(members, family);
  const [whole, ...others] = members;
  assert.ok(whole !== undefined);
  const annotations = { [CONTAINERD]: 'docker.io/demo/multi:1', [REF]: '1' };
  const all = layoutFiles([{ image: index, annotations }]);
  const absent = new Set(
    others
      .flatMap(({ root, blobs }) => [...(manifests ? [] : [root]), ...blobs])
      .map(({ digest }) => blobFile(digest)),
  );
  const files = Object.fromEntries(Object.entries(all).filter(([name]) => !absent.has(name)));
  const manifestJson = Buffer.from(JSON.stringify([engineEntry('demo/multi:1', whole.root)]));
  return { files: { ...files, 'manifest.json': manifestJson }, index, members };
}

async function sparseArchive(sample: SparseSample): Promise<string> {
  const archive = join(tempFolder(), 'sparse.tar');
  writeFileSync(archive, await archiveOf(sample.files));
  return archive;
}

function only({ images }: Report): ImageReport {
  assert.equal(images.length, 1);
  const [image] = images;
  assert.ok(image !== undefined);
  return image;
}

for (const [manifests, family] of [
  [false, OCI],
  [false, DOCKER],
  [true, OCI],
] as const) {
  const which = `${family === OCI ? 'OCI' : 'Docker'}, the other manifests ${manifests ? 'there' : 'absent'}`;
  describe(`an archive in which one of three platforms is complete (${which})`, () => {
    let sample: SparseSample;
    let archive: string;

    before(async () => {
      sample = await sparseSample(manifests, family);
      archive = await sparseArchive(sample);
    });

    test('is refused: the error says platform by platform what is absent, and which flags help', async () => {
      for (const flags of [[], ['--missing', 'refuse']]) {
        const target = newPlace('reg');
        const { status, stderr } = await imgconv(['tar2reg', archive, target.path, ...flags]);
        assert.equal(status, 1);
        for (const [i, platform] of PLATFORMS.entries()) {
          const said = sample.members[i];
          assert.ok(said !== undefined);
          const lacks = manifests ? '1 config, 1 layer' : `manifest ${said.root.digest}`;
          if (i === 0) assert.doesNotMatch(stderr, new RegExp(`${platform}: `));
          else assert.ok(stderr.includes(`${platform}: ${lacks}`), stderr);
        }
        for (const flag of ['--platform', '--missing prune', '--missing sparse'])
          assert.ok(stderr.includes(flag), flag);
        assertNothingAt(target.path);
      }
    });

    for (const short of ['reg', 'oci', 'dir', 'tar', 'ocitar']) {
      test(`is pruned into ${short}: a new index of the complete member, and the report says so`, async () => {
        const target = newPlace(short);
        const options = { missing: 'prune', compression: 'keep' } as const;
        const image = only(await convertAll(place('tar', archive), target, options));
        assert.equal(image.sourceDigest, sample.index.root.digest);
        assert.notEqual(image.digest, image.sourceDigest);
        assert.match(
          image.notes.join('\n'),
          /1 of 3 members of the index sha256:[0-9a-f]{64} is there; the new index has another digest/,
        );
        const whole = sample.members[0];
        assert.ok(whole !== undefined);
        const pruned = part(family.index, {
          schemaVersion: 2,
          mediaType: family.index,
          manifests: [descriptorOf(whole.root, { platform: { os: 'linux', architecture: 'amd64' } })],
        });
        assert.deepEqual(await namesOf(target), { 'demo/multi:1': pruned.digest });
        const again = newPlace('dir');
        await convertAll(target, again, { compression: 'keep' });
        assert.deepEqual(readFileSync(join(again.path, 'demo/multi:1/manifest.json')), pruned.bytes);
      });
    }

    for (const short of ['reg', 'oci', 'ocitar']) {
      test(`is kept sparse in ${short}: the index as it is, and the complete member alone`, async () => {
        const target = newPlace(short);
        const options = { missing: 'sparse', compression: 'keep' } as const;
        const image = only(await convertAll(place('tar', archive), target, options));
        assert.equal(image.digest, sample.index.root.digest);
        assert.match(image.notes.join('\n'), /1 of 3 members of the index .* is there; it is kept as it is/);
        assert.deepEqual(await namesOf(target), { 'demo/multi:1': sample.index.root.digest });
        const [whole, ...others] = sample.members;
        assert.ok(whole !== undefined);
        const present = [sample.index.root, whole.root, ...whole.blobs];
        const unpackedFiles =
          short === 'ocitar'
            ? (await readTarFile(target.path)).map(({ header }) => header.name)
            : filesIn(target.path);
        const hasBlob = (digest: string) =>
          unpackedFiles.some((name) =>
            name.endsWith(short === 'reg' ? `${digest.slice(7)}/data` : digest.slice(7)),
          );
        for (const { digest } of present) assert.ok(hasBlob(digest), digest);
        for (const { root, blobs } of others)
          for (const { digest } of [root, ...blobs]) assert.ok(!hasBlob(digest), `${digest} is not there`);

        const back = newPlace('oci');
        const again = only(await convertAll(target, back, options));
        assert.equal(again.digest, sample.index.root.digest, 'what is sparse goes on sparse');
        const refused = only(await convert(target, newPlace('reg')));
        assert.equal(refused.error?.code, 'BLOB_MISSING', 'and is refused elsewhere');
      });
    }

    for (const short of ['dir', 'tar']) {
      test(`is not kept sparse in ${short}`, async () => {
        const target = newPlace(short);
        const { status, stdout, stderr } = await imgconv([
          `tar2${short}`,
          archive,
          target.path,
          '--missing',
          'sparse',
        ]);
        assert.deepEqual([status, stdout], [2, '']);
        assert.match(stderr, /--missing sparse: .* cannot hold an incomplete index\n.*--missing prune/);
        assertNothingAt(target.path);
      });
    }

    test('gives the platform that is there', async () => {
      const store = newPlace('reg');
      const platforms = [{ os: 'linux', architecture: 'amd64' }];
      const image = only(await convertAll(place('tar', archive), store, { platforms, compression: 'keep' }));
      assert.equal(image.digest, sample.members[0]?.root.digest);
    });

    test('is refused for a platform that is not there', async () => {
      const target = newPlace('reg');
      const platforms = [{ os: 'linux', architecture: 'arm64' }];
      const image = only(await convert(place('tar', archive), target, { platforms }));
      assert.ok(['BLOB_MISSING', 'PLATFORM_MISSING'].includes(image.error?.code ?? ''));
      assertNothingAt(target.path);
    });

    for (const source of ['oci', 'ocitar']) {
      test(`is refused, pruned and kept sparse out of ${source}, too`, async () => {
        const from = newPlace(source);
        if (source === 'oci') layFiles(from.path, sample.files);
        else writeFileSync(from.path, await archiveOf(sample.files));
        assert.equal(only(await convert(from, newPlace('reg'))).error?.code, 'BLOB_MISSING');
        const pruned = only(await convertAll(from, newPlace('reg'), { missing: 'prune' }));
        assert.notEqual(pruned.digest, sample.index.root.digest);
        const layout = newPlace('oci');
        const kept = only(await convertAll(from, layout, { missing: 'sparse' }));
        assert.equal(kept.digest, sample.index.root.digest);
        assert.equal(readIndex(layout.path).manifests[0]?.digest, sample.index.root.digest);
      });
    }
  });
}

describe('manifest.json has only what an engine unpacks:', () => {
  const app = 'sha256:8039ed92fc140fb6dc0e4bd6706e8c2ba53aff287d906d00edb80f46c25f6378';
  const namesSchema = z.array(z.object({ RepoTags: z.array(z.string()), Layers: z.array(z.string()) }));

  async function entriesOf(file: string) {
    const members = new Map((await readTarFile(file)).map(({ header, body }) => [header.name, body]));
    const tags = z.record(z.string(), z.record(z.string(), z.string()));
    return {
      entries: namesSchema.parse(JSON.parse(String(members.get('manifest.json')))),
      repositories: tags.parse(JSON.parse(String(members.get('repositories')))),
    };
  }

  test('no signature, attestation or SBOM of cosign, and no encrypted image; all go back into a store', async () => {
    const store = place('reg', unpacked('signed.tar'));
    const archive = newPlace('tar');
    const { images } = await convertAll(store, archive);
    const { entries, repositories } = await entriesOf(archive.path);
    assert.deepEqual(
      entries.map(({ RepoTags }) => RepoTags),
      [['demo/app:1.0']],
    );
    assert.deepEqual(Object.keys(repositories), ['demo/app']);
    assert.deepEqual(Object.keys(repositories['demo/app'] ?? {}), ['1.0']);
    for (const suffix of ['.sig', '.att', '.sbom']) {
      const report = images.find(({ name }) => name === `demo/app:${app.replace(':', '-')}${suffix}`);
      assert.ok(report?.notes.includes('`docker load` ignores it: it is an artifact, not a container image'));
    }
    const encrypted =
      '`docker load` ignores it: engines do not unpack layers of type application/vnd.oci.image.layer.v1.tar+gzip+encrypted';
    assert.ok(images.find(({ name }) => name === 'demo/secret:1')?.notes.includes(encrypted));
    const back = newPlace('reg');
    await convertAll(archive, back);
    assert.deepEqual(contentsOf(back.path), contentsOf(store.path));
  });

  /** As `skopeo copy --encryption-key` names the layers of this image. */
  function encrypted(image: Sample): Sample {
    const manifest = z.looseObject({ layers: z.array(z.looseObject({})) });
    const { layers, ...rest } = manifest.parse(JSON.parse(image.root.bytes.toString()));
    const named = layers.map((layer) => ({ ...layer, mediaType: `${OCI.gzip}+encrypted` }));
    return { ...image, root: part(OCI.manifest, { ...rest, layers: named }) };
  }

  test('of an index, the platform that is not encrypted, and none in place of one that is', async () => {
    const platform = platformText(ownPlatform());
    const other = platform === 'linux/s390x' ? 'linux/arm64' : 'linux/s390x';
    const own = await imageOf('own', { family: OCI, platform });
    const foreign = await imageOf('foreign', { family: OCI, platform: other });
    const secret = encrypted(await imageOf('secret', { family: OCI, platform }));
    for (const [members, loaded, note] of [
      [[secret, own], own, /engines will load .* of its 2 platforms/],
      [[foreign, secret], undefined, /engines do not unpack layers of type .*\+encrypted/],
    ] as const) {
      const store = place('reg', layStore(tempFolder(), { 'demo/multi:1': indexOf(members) }));
      const archive = newPlace('tar');
      const { images } = await convertAll(store, archive);
      assert.match(images[0]?.notes.join('\n') ?? '', note);
      const layers = loaded === undefined ? [] : parseImage(loaded.root.bytes).layers;
      const { entries } = await entriesOf(archive.path);
      assert.deepEqual(
        entries.flatMap(({ Layers }) => Layers),
        layers.map(({ digest }) => blobFile(digest)),
      );
    }
  });
});

describe('containerd28-multiarch.tar, whose layers are all absent', () => {
  const file = fixture('containerd28-multiarch.tar');
  const digest = digestsOf('containerd28-multiarch.tar')['localhost:5003/demo/multi:1'] ?? '';

  test('is refused: what is absent, platform by platform, and the flags that help', async () => {
    const target = newPlace('reg');
    const { status, stderr } = await imgconv(['tar2reg', file, target.path]);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /not there: linux\/amd64: 1 config, 2 layers; linux\/arm64\/v8: 1 manifest; linux\/arm\/v7: 1 manifest\n/,
    );
    for (const flag of ['--platform', '--missing prune', '--missing sparse'])
      assert.ok(stderr.includes(flag), flag);
    assertNothingAt(target.path);
  });

  test('has nothing left when it is pruned', async () => {
    const target = newPlace('reg');
    const image = only(await convert(place('tar', file), target, { missing: 'prune' }));
    assert.equal(image.error?.code, 'BLOB_MISSING');
    assert.match(image.error.message, /none of the members of .* is all there/);
    assertNothingAt(target.path);
  });

  for (const short of ['reg', 'oci']) {
    test(`is kept sparse in ${short}, and the report says that no member is there`, async () => {
      const target = newPlace(short);
      const image = only(await convertAll(place('tar', file), target, { missing: 'sparse' }));
      assert.equal(image.digest, digest);
      assert.match(image.notes.join('\n'), /0 of 3 members/);
      const blobs = filesIn(target.path).filter((name) => name.includes('blobs/'));
      assert.equal(blobs.length, 1, 'the index, and nothing that is not whole');
    });
  }

  test('lists its platforms', async () => {
    const { status, stdout } = await imgconv(['ls', file]);
    assert.equal(status, 0);
    for (const platform of ['linux/amd64', 'linux/arm64/v8', 'linux/arm/v7'])
      assert.ok(stdout.includes(platform));
    assert.ok(stdout.includes('localhost:5003/demo/multi:1'));
    assert.ok(existsSync(file));
  });
});

test('a flush that fails while more is added spoils the archive, also when the next one would not', async () => {
  await using pool = new Pool(1);
  const blobOf = (bytes: Uint8Array) => VerifiedBlob.of(bytes, digestOf(bytes), pool, 'made here');
  const large = blobOf(new Uint8Array(16 * 1024 ** 2));
  // Writing the header, opening the file and writing to it come first, however many writes that are.
  for (let at = 1, fired = ''; !fired.startsWith('flush fdatasync '); at++) {
    assert.ok(at < 1000, fired);
    const folder = tempFolder();
    const tar = tarToFile(join(folder, 'out.tar'), 'none', pool);
    arm({ action: 'EIO', at, root: folder });
    const added = await tar.addBlobs([{ name: 'large', blob: large }]).then(
      () => true,
      () => false,
    );
    const ended = await tar.end().catch((error: unknown) => error);
    fired = disarm().fired ?? '';
    if (fired.startsWith('flush fdatasync ')) {
      assert.ok(added);
      assert.ok(ended instanceof ImgconvError && ended.code === 'IO', String(ended));
      assert.match(ended.message, /out\.tar/);
      await assert.rejects(tar.addBlobs([{ name: 'small', blob: blobOf(new Uint8Array(1)) }]), {
        code: 'IO',
      });
    }
    await tar.close();
  }
});

test('an archive whose output fails says why, however often it is written to', async () => {
  await using pool = new Pool(1);
  for (const after of [0, 1, 3]) {
    let written = 0;
    const write = () =>
      written++ < after
        ? Promise.resolve()
        : Promise.reject(new ImgconvError('NO_SPACE', 'stdout: no space left'));
    const tar = new TarStream({ write, end: () => Promise.resolve(), close: () => undefined }, 'none', pool);
    const outcomes: unknown[] = [];
    for (let i = 0; i < 5; i++) {
      const bytes = Buffer.alloc(100_000, i);
      const blob = VerifiedBlob.of(bytes, digestOf(bytes), pool, 'made here');
      outcomes.push(await tar.addBlobs([{ name: `blob-${i}`, blob }]).catch((error: unknown) => error));
    }
    outcomes.push(await tar.end().catch((error: unknown) => error));
    const failures = outcomes.filter((outcome) => outcome !== undefined);
    assert.ok(failures.length > 1);
    for (const failure of failures)
      assert.equal(failure instanceof ImgconvError ? failure.code : failure, 'NO_SPACE');
    await tar.close();
  }
});

test('a folder or a FIFO is not replaced by an archive', async () => {
  const folder = tempFolder();
  const fifo = join(folder, 'fifo');
  execFileSync('mkfifo', [fifo]);
  for (const path of [folder, fifo])
    for (const to of ['tar', 'ocitar'])
      await assert.rejects(convert(place('dir', syncTree()), place(to, path)), refusal('USAGE', path));
  assert.ok(lstatSync(fifo).isFIFO());
  assert.deepEqual(readdirSync(folder), ['fifo']);
});
