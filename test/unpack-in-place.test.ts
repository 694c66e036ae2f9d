import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { convert, type Place } from '../src/index.js';
import { failedImages } from '../src/transfer/report.js';
import { digestText, hex, descriptorOf, OCI, part, type Sample } from './support/images.js';
import { entriesOf, layFiles, layoutFiles } from './support/layouts.js';
import { newPlace, place } from './support/places.js';
import { stagingIn } from './support/snapshot.js';
import { bodyOf, readTar, tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';
import { arm, disarm } from './torture/injector.js';

const UNCOMPRESSED = { compression: 'none', recompress: true } as const;

/** Tars that compress well, of more than the main thread unpacks itself when they are packed, and of less. */
const large = await tarOf({ 'usr/large': Buffer.from(noise(150_000).toString('hex')) });
const small = await tarOf({ 'etc/small': 'small '.repeat(5000) });

function noise(size: number): Buffer {
  let state = 1;
  return Buffer.from(Array.from({ length: size }, () => (state = (state * 48_271) % 2_147_483_647) >> 8));
}

/** What a gzip file ends with is the size of its last member, or of nothing at all. */
const ODD = 'two members, the last of which is most of it';
const PACKINGS: Readonly<Record<string, (tar: Buffer) => Buffer>> = {
  'one member': (tar) => gzipSync(tar),
  [ODD]: (tar) => Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700))]),
  'a last member of nothing': (tar) => Buffer.concat([gzipSync(tar), gzipSync(Buffer.alloc(0))]),
  'zeros after its end, which are no trailer': (tar) => Buffer.concat([gzipSync(tar), Buffer.alloc(8)]),
};

function imageOf(
  layers: readonly { readonly tar: Buffer; readonly packed: Buffer }[],
  text: string,
  mediaType: string = OCI.gzip,
): Sample {
  const parts = layers.map(({ packed }) => part(mediaType, packed));
  const config = part(OCI.config, {
    os: 'linux',
    architecture: 'amd64',
    config: { Labels: { text } },
    rootfs: { type: 'layers', diff_ids: layers.map(({ tar }) => digestText(tar)) },
  });
  const root = part(OCI.manifest, {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    config: descriptorOf(config),
    layers: parts.map((one) => descriptorOf(one)),
  });
  return { root, members: [], blobs: [config, ...parts], platform: undefined };
}

function layoutOf(images: Readonly<Record<string, Sample>>): Place {
  return place('oci', layFiles(tempFolder(), layoutFiles(entriesOf(images))));
}

function packedAs(how: string, text = 'text'): Sample {
  const pack = PACKINGS[how] ?? gzipSync;
  return imageOf(
    [large, small].map((tar) => ({ tar, packed: pack(tar) })),
    text,
  );
}

/** Its layers are tars already. */
function unpackedImage(): Sample {
  return imageOf(
    [large, small].map((tar) => ({ tar, packed: tar })),
    'unpacked',
    OCI.layer,
  );
}

async function archiveOf(images: Readonly<Record<string, Sample>>, file = 'tar'): Promise<Buffer> {
  const to = newPlace('tar');
  const { images: reports } = await convert(
    layoutOf(images),
    { ...to, path: `${to.path}.${file}` },
    UNCOMPRESSED,
  );
  for (const { status, error } of reports) assert.equal(status, 'written', error?.message);
  assert.deepEqual(stagingIn(dirname(to.path)), []);
  return readFileSync(`${to.path}.${file}`);
}

/** The sizes that the archive's manifests give for each digest. */
async function sizesIn(archive: Buffer): Promise<Map<string, Set<number>>> {
  const sizes = new Map<string, Set<number>>();
  for (const { header, body } of await readTar(archive)) {
    if (!header.name.startsWith('blobs/') || !body.includes('"layers"')) continue;
    if (!body.includes(OCI.manifest)) continue;
    const { layers } = JSON.parse(body.toString()) as { layers: { digest: string; size: number }[] };
    for (const { digest, size } of layers) sizes.set(digest, (sizes.get(digest) ?? new Set()).add(size));
  }
  return sizes;
}

/** Every so many operations one fails: a prime, so that it is not always the same kind. */
const STEP = 7;

for (const [action, sticky] of [
  ['EIO', false],
  ['ENOSPC', true],
] as const)
  test(`an operation that fails with ${action}: nothing unfinished is seen, and the next run makes it`, async () => {
    const images = { 'demo/a:1': packedAs('one member'), 'demo/b:1': packedAs(ODD, 'odd') };
    const [source, undisturbed] = [layoutOf(images), await archiveOf(images)];
    let struck = 0;
    for (let at = 1; ; at += STEP) {
      const to = newPlace('tar');
      const folder = dirname(to.path);
      arm({ action, at, sticky, root: folder });
      const failed = await convert(source, to, UNCOMPRESSED).then(
        (report) => failedImages(report).length > 0,
        () => true,
      );
      if (disarm().fired === undefined) break;
      struck++;
      // An operation may fail of which nothing depends: what could not be cleared away, the next run clears.
      if (!failed) assert.ok(readFileSync(to.path).equals(undisturbed), `at ${at}`);
      else if (existsSync(to.path))
        assert.deepEqual(failedImages(await convert(to, newPlace('reg'))), [], `at ${at}`);
      await convert(source, to, UNCOMPRESSED);
      assert.ok(readFileSync(to.path).equals(undisturbed), `again, at ${at}`);
    }
    assert.ok(struck >= 4, `${struck} operations`);
  });

describe('a layer that is unpacked in its place in an archive', () => {
  for (const how of Object.keys(PACKINGS)) {
    test(`gives the same archive whatever its gzip says of its size: ${how}`, async () => {
      const archive = await archiveOf({ 'demo/app:1': packedAs(how) });
      assert.ok(archive.equals(await archiveOf({ 'demo/app:1': packedAs('one member') })));
      const members = await readTar(archive);
      for (const tar of [large, small])
        assert.ok(bodyOf(members, `blobs/sha256/${hex(digestText(tar))}`).equals(tar));
      // A compressed archive is a stream, which cannot be written out of order.
      assert.ok(gunzipSync(await archiveOf({ 'demo/app:1': packedAs(how) }, 'tar.gz')).equals(archive));
    });

    test(`has one size in all manifests, whichever was packed as ${how}`, async () => {
      const [odd, plain] = [packedAs(how, 'odd'), packedAs('one member', 'plain')];
      for (const images of [
        { 'demo/a:1': odd, 'demo/b:1': plain },
        { 'demo/a:1': plain, 'demo/b:1': odd },
        { 'demo/a:1': unpackedImage(), 'demo/b:1': odd },
      ])
        assert.deepEqual(
          await sizesIn(await archiveOf(images)),
          new Map([large, small].map((tar) => [digestText(tar), new Set([tar.length])])),
        );
    });
  }

  for (const how of Object.keys(PACKINGS)) {
    test(`fails its image alone when it is not what the config says: ${how}`, async () => {
      const sound = packedAs('one member', 'sound');
      const packed = (PACKINGS[how] ?? gzipSync)(small);
      const wrong = imageOf([{ tar: Buffer.from(large).fill(1, 600, 601), packed }], 'wrong');
      const to = newPlace('tar');
      const { images } = await convert(layoutOf({ 'demo/a:1': wrong, 'demo/b:1': sound }), to, UNCOMPRESSED);
      assert.deepEqual(
        images.map(({ status, error }) => error?.code ?? status),
        ['DIGEST_MISMATCH', 'written'],
      );
      assert.ok(readFileSync(to.path).equals(await archiveOf({ 'demo/b:1': sound })));
    });
  }
});
