import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { convert, inspectImages, verify, type ConvertOptions, type Place } from '../src/index.js';
import { FakeRegistry } from './support/fake-registry.js';
import { descriptorOf, imageOf, layStore, OCI, part, storedBlob } from './support/images.js';
import type { Part, Sample } from './support/images.js';
import { LOCAL_FORMATS, namesOf, newPlace, place } from './support/places.js';
import { RebuiltImages, type RebuiltOptions } from './support/rebuilt.js';
import { contentsOf, stagingIn } from './support/snapshot.js';
import { bodyOf, readTar, tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';

/*
 * A reader may give bytes that lie nowhere and are put together whenever they are read. All that is done with a part of
 * a file is done with them, whether or not the reader knows how many there are.
 */
const KEEP = { compression: 'keep' } as const;
const MEGABYTE = 1024 * 1024;

/** Bytes that do not compress, always the same. */
function noise(size: number): Buffer {
  return createHash('shake256', { outputLength: size }).update('noise').digest();
}

const images: Record<string, Sample> = {};
/** A layer of more than any piece; `tar` is its content. */
let large: { readonly packed: Part; readonly plain: Part; readonly tar: Buffer };

before(async () => {
  const tar = await tarOf({ 'usr/large': noise(MEGABYTE + MEGABYTE / 8) });
  images['demo/app:1'] = await imageOf('app', { base: tar });
  images['demo/plain:1'] = await imageOf('plain', { base: tar, compress: false, family: OCI });
  const [, packed] = images['demo/app:1'].blobs;
  const [, plain] = images['demo/plain:1'].blobs;
  assert.ok(packed !== undefined && plain !== undefined);
  large = { packed, plain, tar };
});

function rebuilt(options: Partial<RebuiltOptions> = {}, of = images): RebuiltImages {
  return new RebuiltImages(of, { sized: true, ...options });
}

/** What became of each image: its status, or the code and text of its error. */
async function statusesOf(from: Place, to: Place, options: ConvertOptions = KEEP): Promise<string[]> {
  const { images: reports } = await convert(from, to, options);
  return reports.map(({ status, error }) =>
    error === undefined ? status : `${error.code} ${error.message}`,
  );
}

for (const sized of [true, false]) {
  describe(`images that are rebuilt ${sized ? 'with' : 'without'} known sizes`, () => {
    for (const to of LOCAL_FORMATS) {
      test(`go to ${to.short} with their digests, and from there into the same store`, async () => {
        const there = newPlace(to);
        assert.deepEqual(await statusesOf(rebuilt({ sized }).place, there), ['written', 'written']);
        assert.deepEqual((await verify(there, { deep: true })).findings, []);
        const names = Object.entries(images).map(([name, { root }]) => [name, root.digest]);
        assert.deepEqual(await namesOf(there), Object.fromEntries(names));
        const store = newPlace('reg');
        assert.deepEqual(await statusesOf(there, store), ['written', 'written']);
        assert.deepEqual(contentsOf(store.path), contentsOf(layStore(tempFolder(), images)));
        assert.deepEqual(stagingIn(dirname(there.path)), []);
        assert.deepEqual(await statusesOf(rebuilt({ sized }).place, there), ['unchanged', 'unchanged']);
      });
    }

    test('go into a packed archive, for which they are read twice', async () => {
      const source = rebuilt({ sized });
      const { format, path } = newPlace('tar');
      assert.deepEqual(await statusesOf(source.place, { format, path: `${path}.tar.gz` }), [
        'written',
        'written',
      ]);
      const members = await readTar(gunzipSync(readFileSync(`${path}.tar.gz`)));
      const name = `blobs/${large.packed.digest.replace(':', '/')}`;
      assert.ok(bodyOf(members, name).equals(large.packed.bytes));
      assert.equal(source.opened.get(large.packed.digest), 2);
    });

    for (const maxBody of [undefined, 1_200_000]) {
      test(`go to a registry${maxBody === undefined ? '' : ' in chunks'}`, async () => {
        await using registry = await FakeRegistry.start(maxBody === undefined ? {} : { maxBody });
        const source = rebuilt({ sized }).place;
        assert.deepEqual(await statusesOf(source, place('docker', registry.host)), ['written', 'written']);
        for (const { digest, bytes } of [large.packed, large.plain])
          assert.ok(registry.blobs.get(digest)?.equals(bytes));
      });
    }

    for (const to of ['reg', 'tar']) {
      for (const compression of ['gzip', 'none'] as const) {
        test(`get ${compression} layers on their way to ${to}, as from a store`, async () => {
          const options = { compression, recompress: true };
          const store = place('reg', layStore(tempFolder(), images));
          const [there, expected] = [newPlace(to), newPlace(to)];
          await statusesOf(store, expected, options);
          assert.deepEqual(await statusesOf(rebuilt({ sized }).place, there, options), [
            'written',
            'written',
          ]);
          assert.deepEqual(contentsOf(there.path), contentsOf(expected.path));
        });
      }
    }

    test('are listed and verified', async () => {
      const source = rebuilt({ sized }).place;
      const ids: (string | undefined)[] = [];
      for await (const { manifests } of inspectImages(source))
        ids.push(...manifests.map(({ imageId }) => imageId));
      assert.deepEqual(
        ids,
        Object.values(images).map(({ blobs }) => blobs[0]?.digest),
      );
      const { findings, blobs } = await verify(source, { deep: true });
      assert.deepEqual([findings, blobs.blobs], [[], 6]);
    });

    test('mend a store', async () => {
      const store = place('reg', layStore(tempFolder(), images));
      rmSync(storedBlob(store.path, large.packed.digest));
      const { findings, repaired } = await verify(store, { repair: [rebuilt({ sized }).place] });
      assert.deepEqual([findings, repaired.length], [[], 1]);
    });

    test('of schema 1, which says no sizes, are written', async () => {
      const manifest = part('application/vnd.docker.distribution.manifest.v1+json', {
        schemaVersion: 1,
        name: 'demo/old',
        tag: '1',
        architecture: 'amd64',
        fsLayers: [{ blobSum: large.packed.digest }],
        history: [],
      });
      const old = { root: manifest, members: [], blobs: [large.packed], platform: undefined };
      for (const to of ['dir', 'reg', 'oci']) {
        const there = newPlace(to);
        const source = rebuilt({ sized }, { 'demo/old:1': old }).place;
        assert.deepEqual(await statusesOf(source, there), ['written'], to);
        assert.deepEqual((await verify(there)).findings, []);
      }
    });

    for (const mode of ['hard', 'reflink'] as const)
      test(`cannot become links: --link ${mode} says so`, async () => {
        const there = newPlace('reg');
        const statuses = await statusesOf(rebuilt({ sized }).place, there, { ...KEEP, link: mode });
        for (const status of statuses)
          assert.match(status, new RegExp(`no ${mode} link can be made: it is not a file on this machine`));
      });
  });
}

test("pieces that the reader keeps stay the reader's, and are not written to", async () => {
  const kept = [0, 1].map((i) => noise(2 * MEGABYTE).subarray(i * MEGABYTE, (i + 1) * MEGABYTE));
  const own = kept.map((bytes) => new Uint8Array(bytes));
  const bytes = Buffer.concat(own);
  const blob = part(OCI.layer, bytes);
  const config = part(OCI.config, {
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [blob.digest] },
  });
  const root = part(OCI.manifest, {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    config: descriptorOf(config),
    layers: [descriptorOf(blob)],
  });
  const sample = { root, members: [], blobs: [config, blob], platform: undefined };
  const pieces = (of: Part) => (of.digest === blob.digest ? given(own) : undefined);
  const source = rebuilt({ pieces }, { 'demo/own:1': sample });
  for (const compression of ['gzip', 'zstd', 'none'] as const)
    assert.deepEqual(await statusesOf(source.place, newPlace('oci'), { compression }), ['written']);
  assert.ok(Buffer.concat(own).equals(bytes));
});

async function* given(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield* pieces;
}

/** What a reader may give in the place of a layer. */
const WRONG: Readonly<
  Record<string, { readonly pieces: (blob: Part) => Iterable<Uint8Array>; code: RegExp }>
> = {
  'is other bytes': {
    pieces: ({ bytes }) => [bytes.subarray(0, 1000), Buffer.alloc(bytes.length - 1000)],
    code: /^DIGEST_MISMATCH rebuilt sha256:/,
  },
  'is one byte short': {
    pieces: ({ bytes }) => [bytes.subarray(0, -1)],
    code: /^DIGEST_MISMATCH rebuilt sha256:/,
  },
  'is one byte too long': {
    pieces: ({ bytes }) => [bytes, Buffer.from('!')],
    code: /^DIGEST_MISMATCH rebuilt sha256:.*and more came/,
  },
  'never ends': {
    *pieces({ bytes }) {
      for (;;) yield bytes;
    },
    code: /^DIGEST_MISMATCH rebuilt sha256:.*and more came/,
  },
  'fails in the middle': {
    *pieces({ bytes }) {
      yield bytes.subarray(0, 1000);
      throw new Error('a part is not there');
    },
    code: /^IO rebuilt sha256:.*a part is not there/,
  },
};

for (const sized of [true, false]) {
  for (const [what, { pieces, code }] of Object.entries(WRONG)) {
    describe(`a layer rebuilt ${sized ? 'with' : 'without'} a known size that ${what}`, () => {
      const source = () =>
        rebuilt({
          sized,
          pieces: (blob) => (blob.digest === large.packed.digest ? given(pieces(blob)) : undefined),
        }).place;

      for (const to of LOCAL_FORMATS) {
        for (const options of [KEEP, { compression: 'none', recompress: true } as const])
          test(`fails its image alone into ${to.short}, compression ${options.compression}`, async () => {
            const there = newPlace(to);
            const [failed = '', written] = await statusesOf(source(), there, options);
            assert.match(failed, code);
            assert.equal(written, 'written');
            assert.deepEqual(Object.keys(await namesOf(there)), ['demo/plain:1']);
            assert.deepEqual((await verify(there)).findings, []);
            assert.deepEqual(stagingIn(dirname(there.path)), []);
          });
      }

      test('fails its image alone into a packed archive', async () => {
        const { format, path } = newPlace('tar');
        const there = { format, path: `${path}.tar.gz` };
        const [failed = '', written] = await statusesOf(source(), there);
        assert.match(failed, code);
        assert.equal(written, 'written');
        assert.deepEqual(Object.keys(await namesOf(there)), ['demo/plain:1']);
      });

      test('fails its image alone into a registry', async () => {
        await using registry = await FakeRegistry.start();
        const [failed = '', written] = await statusesOf(source(), place('docker', registry.host));
        assert.match(failed, code);
        assert.equal(written, 'written');
        assert.deepEqual([...registry.manifests.keys()], ['demo/plain']);
      });

      test('is found by verify, and mends nothing', async () => {
        const { findings } = await verify(source(), { deep: true });
        assert.deepEqual(
          findings.map(({ kind }) => kind),
          ['blob-damaged'],
        );
        const store = place('reg', layStore(tempFolder(), images));
        rmSync(storedBlob(store.path, large.packed.digest));
        const mended = await verify(store, { repair: [source()] }).catch(() => undefined);
        assert.deepEqual(mended?.repaired ?? [], []);
        assert.equal(existsSync(storedBlob(store.path, large.packed.digest)), false);
      });
    });
  }
}
