import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { convert, ImgconvError, type Format, type Place } from '../src/index.js';
import type { FaultKind, Severity } from '../src/formats/audit.js';
import { digestOf } from '../src/bytes/hash.js';
import type { Bytes } from '../src/bytes/region.js';
import { Pool } from '../src/threads/pool.js';
import { Proofs } from '../src/upkeep/proof.js';
import { collectGarbage } from '../src/upkeep/gc.js';
import { verify, type VerifyReport } from '../src/upkeep/verify.js';
import { imgconv } from './support/cli.js';
import { damage, DAMAGES } from './support/damage.js';
import { refusal } from './support/errors.js';
import {
  artifactOf,
  descriptorOf,
  digestText,
  hex,
  imageOf,
  indexOf,
  layDir,
  layStore,
  layTree,
  OCI,
  part,
  put,
  storedBlob,
  type Part,
  type Sample,
} from './support/images.js';
import { blobFile, entriesOf, layFiles, layoutFiles } from './support/layouts.js';
import { LOCAL_FORMATS, newPlace, place } from './support/places.js';
import { contentsOf, stagingIn, stateOf } from './support/snapshot.js';
import { readTarFile, tarOf, writeTar } from './support/tars.js';
import { tempFolder } from './support/temp.js';

type Images = Readonly<Record<string, Sample>>;

let one: Sample;
let arm: Sample;
let multi: Sample;
let images: Images;
let tree: Place;

before(async () => {
  const base = await tarOf({ 'etc/base': 'shared' });
  one = await imageOf('one', { base });
  arm = await imageOf('arm', { base, platform: 'linux/arm64' });
  multi = indexOf([await imageOf('other', { base }), arm]);
  images = { 'demo/one:1': one, 'demo/multi:1': multi, 'helm/chart:1': artifactOf('chart') };
  tree = place('dir', layTree(tempFolder(), images));
});

const prepared = new Map<Format, Place>();

/** The same images in a place of this format, with files of their own. */
async function placeOf(format: Format): Promise<Place> {
  const sound = prepared.get(format) ?? newPlace(format);
  if (!prepared.has(format)) await convert(tree, sound, { compression: 'keep', link: 'copy' });
  prepared.set(format, sound);
  const there = newPlace(format);
  cpSync(sound.path, there.path, { recursive: true });
  return there;
}

/** Severity, kind and images of all findings. */
function told({ findings }: VerifyReport): [Severity, FaultKind, ...string[]][] {
  return findings.map(({ severity, kind, images: touched }) => [severity, kind, ...touched]);
}

function isMendable({ short = '' }: Format): boolean {
  return ['dir', 'reg', 'oci'].includes(short);
}

/** All files but those that a repair put aside. */
function soundFiles(path: string): Record<string, string> {
  return Object.fromEntries(Object.entries(contentsOf(path)).filter(([name]) => !name.includes('.damaged/')));
}

describe('sound places', () => {
  for (const format of LOCAL_FORMATS) {
    test(`${format.short}: nothing is found, and nothing is touched`, async () => {
      const there = await placeOf(format);
      const before = stateOf(there.path);
      const report = await verify(there, { deep: true });
      assert.deepEqual(told(report), []);
      assert.equal(report.images, 3);
      assert.deepEqual(stateOf(there.path), before);
    });
  }

  test('a blob that many images name is read once, also under several names of one file', async () => {
    const linked = newPlace('dir');
    await convert(tree, linked, { link: 'copy' });
    const unique = new Map(
      Object.values(images).flatMap(({ blobs }) => blobs.map(({ digest, bytes }) => [digest, bytes.length])),
    );
    const bytes = [...unique.values()].reduce((sum, size) => sum + size, 0);
    for (const short of ['reg', 'oci'] as const)
      assert.deepEqual(
        (await verify(await placeOf(linked.format.short === short ? linked.format : formatOf(short)))).blobs,
        { blobs: unique.size, bytes },
      );
    assert.deepEqual((await verify(linked)).blobs, { blobs: unique.size, bytes });
  });
});

function formatOf(short: string): Format {
  return place(short, '').format;
}

test('what was proved holds for that state of that file', async () => {
  await using pool = new Pool(1);
  const proofs = new Proofs(pool);
  const bytes = Buffer.from('a blob');
  const digest = digestOf(bytes);
  const folder = tempFolder();
  const fileOf = (name: string, content: Uint8Array) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return { kind: 'file', path, offset: 0, size: content.length, whole: true } as const;
  };
  const codeOf = async (at: Bytes, size?: number) => (await proofs.ofBlob(at, digest, size))?.code;
  const right = fileOf('right', bytes);
  const copy = fileOf('copy', bytes);
  const damaged = fileOf('damaged', Buffer.from('a blub'));
  for (const size of [bytes.length, undefined]) {
    assert.equal(await codeOf(right, size), undefined);
    assert.equal(await codeOf(damaged, size), 'DIGEST_MISMATCH');
    assert.equal(await codeOf(copy, size), undefined);
    assert.equal(await codeOf(right, size), undefined);
  }
  assert.equal(proofs.count.blobs, 4, 'each of two files once for each size');
  assert.equal(await codeOf(right, bytes.length + 1), 'DIGEST_MISMATCH');
  assert.equal(
    (await proofs.ofLayer(right, digest, bytes.length, digest))?.code,
    'ARCHIVE_INVALID',
    'no tar',
  );
  fileOf('right', Buffer.from('b blob'));
  assert.equal(await codeOf(right, bytes.length), 'DIGEST_MISMATCH');
});

test('what is asked for side by side is read once of each file', async () => {
  await using pool = new Pool(1);
  const bytes = Buffer.from('a blob');
  const digest = digestOf(bytes);
  const folder = tempFolder();
  const [one, copy] = ['one', 'copy'].map((name) => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return { kind: 'file', path, offset: 0, size: bytes.length, whole: true } as const;
  });
  assert.ok(one !== undefined && copy !== undefined);
  for (const asked of [
    [one, copy, one, copy].map((at) => [at, bytes.length] as const),
    [bytes.length, undefined, bytes.length, undefined].map((size) => [one, size] as const),
  ]) {
    const proofs = new Proofs(pool);
    for (const _ of [1, 2])
      assert.deepEqual(await Promise.all(asked.map(([at, size]) => proofs.ofBlob(at, digest, size))), [
        ...asked.map(() => undefined),
      ]);
    assert.equal(proofs.count.blobs, 2);
  }
});

test('a file that came while another one was read is read itself', async () => {
  await using pool = new Pool(1);
  const [right, wrong] = [Buffer.from('{"a":1}'), Buffer.from('{"a":2}')];
  const expected = { digest: digestOf(right), size: right.length };
  const path = join(tempFolder(), 'file');
  const at = { kind: 'file', path, offset: 0, size: right.length, whole: true } as const;
  for (let turns = 0; turns < 60; turns++) {
    const proofs = new Proofs(pool);
    writeFileSync(path, right);
    writeFileSync(`${path}-wrong`, wrong);
    const first = proofs.ofDocument(at, expected, 1000);
    for (let turn = 0; turn < turns; turn++) await Promise.resolve();
    renameSync(`${path}-wrong`, path);
    await first;
    const second = await proofs.ofDocument(at, expected, 1000);
    assert.ok(second instanceof ImgconvError && second.code === 'DIGEST_MISMATCH', `after ${turns} turns`);
    assert.equal((await proofs.ofBlob(at, expected.digest, expected.size))?.code, 'DIGEST_MISMATCH');
  }
});

describe('blobs', () => {
  const victims: readonly (readonly [string, string, () => Part | undefined])[] = [
    ['config', 'demo/one:1', () => one.blobs[0]],
    ['layer', 'demo/one:1', () => one.blobs.at(-1)],
    ['member', 'demo/multi:1', () => arm.root],
    ['config of a member', 'demo/multi:1', () => arm.blobs[0]],
    ['layer of a member', 'demo/multi:1', () => arm.blobs.at(-1)],
  ];
  for (const format of LOCAL_FORMATS) {
    for (const [what, name, partOf] of victims) {
      for (const how of DAMAGES.filter(
        (one) => format.short === 'reg' || one === 'changed' || one === 'gone',
      )) {
        test(`${format.short}: a ${what} ${how}`, async () => {
          const there = await placeOf(format);
          const sound = contentsOf(there.path);
          const victim = partOf();
          assert.ok(victim !== undefined);
          await damage(there.path, [[victim.bytes, how]]);
          const before = stateOf(there.path);
          const report = await verify(there);
          const broken = report.findings.filter(({ severity }) => severity === 'broken');
          assert.equal(broken.length > 0, true);
          assert.deepEqual(new Set(broken.flatMap((finding) => finding.images)), new Set([name]));
          assert.equal(report.brokenImages, 1);
          if (broken.every(({ kind }) => kind !== 'image-unreadable'))
            assert.deepEqual(
              broken.map(({ kind }) => kind),
              [`${what === 'member' ? 'manifest' : 'blob'}-${how === 'gone' ? 'missing' : 'damaged'}`],
            );
          assert.deepEqual(stateOf(there.path), before);
          if (!isMendable(format)) {
            await assert.rejects(verify(there, { repair: [tree] }), refusal('USAGE', 'cannot be repaired'));
            assert.deepEqual(stateOf(there.path), before);
            return;
          }
          const after = await verify(there, { repair: [tree] });
          assert.deepEqual(told(after), how === 'gone' ? [] : [['space', 'set-aside']]);
          assert.equal(after.repaired.length, 1);
          assert.deepEqual(soundFiles(there.path), sound);
          assert.deepEqual(stagingIn(there.path), []);
        });
      }
    }
  }

  for (const from of LOCAL_FORMATS) {
    test(`of all kinds are fetched from ${from.short}, what they name too`, async () => {
      const source = await placeOf(from);
      const there = await placeOf(formatOf('reg'));
      const sound = contentsOf(there.path);
      for (const { digest } of [multi.root, ...multi.members, ...multi.blobs])
        rmSync(dirname(storedBlob(there.path, digest)), { recursive: true, force: true });
      const report = await verify(there, { repair: [place('dir', tempFolder()), source] });
      assert.deepEqual(told(report), []);
      assert.deepEqual(contentsOf(there.path), sound);
    });
  }

  test('a damaged one is put aside, never deleted', async () => {
    const there = await placeOf(formatOf('reg'));
    const path = storedBlob(there.path, arm.root.digest);
    for (const text of ['first', 'second']) {
      rmSync(path); // A repair may have linked it to the tree.
      writeFileSync(path, text);
      const [repaired] = (await verify(there, { repair: [tree] })).repaired;
      assert.equal(readFileSync(repaired?.setAside ?? '', 'utf8'), text);
    }
    assert.deepEqual(readFileSync(path), arm.root.bytes);
  });

  test('one that is damaged everywhere stays where it is', async () => {
    const there = await placeOf(formatOf('reg'));
    const source = await placeOf(formatOf('oci'));
    const [, layer] = one.blobs;
    assert.ok(layer !== undefined);
    for (const { path } of [there, source]) await damage(path, [[layer.bytes, 'changed']]);
    const before = stateOf(there.path);
    const report = await verify(there, { repair: [source] });
    assert.deepEqual(report.repaired, []);
    assert.equal(report.brokenImages > 0, true);
    assert.deepEqual(stateOf(there.path), before);
  });
});

interface Case {
  readonly title: string;
  readonly spoil: (path: string) => void;
  readonly expected: readonly (readonly [Severity, FaultKind, ...string[]])[];
  /** What is left after a repair from the tree. */
  readonly left?: 'same';
}

function caseTests(short: string, cases: readonly Case[]): void {
  for (const { title, spoil, expected, left } of cases) {
    test(`${short}: ${title}`, async () => {
      const there = await placeOf(formatOf(short));
      const sound = contentsOf(there.path);
      spoil(there.path);
      const before = stateOf(there.path);
      assert.deepEqual(told(await verify(there)), expected);
      assert.deepEqual(stateOf(there.path), before);
      const after = await verify(there, { repair: [tree] });
      assert.deepEqual(told(after), left === 'same' ? expected : []);
      if (left !== 'same') assert.deepEqual(contentsOf(there.path), sound);
    });
  }
}

const ORPHAN = digestText(Buffer.from('orphan'));
const link = (digest: string) => join(digest.replace(':', '/'), 'link');
const at = (store: string, repository: string) => join(store, 'docker/registry/v2/repositories', repository);
const layer = () => one.blobs.at(-1)?.digest ?? '';

describe('links of a registry, and what else lies there', () => {
  caseTests('reg', [
    {
      title: 'a link to a layer is missing',
      spoil: (store) => {
        rmSync(join(at(store, 'demo/one'), '_layers', link(layer())));
      },
      expected: [['broken', 'link-missing', 'demo/one:1']],
    },
    {
      title: 'a link to a layer holds another digest',
      spoil: (store) => {
        writeFileSync(join(at(store, 'demo/one'), '_layers', link(layer())), one.root.digest);
      },
      expected: [['broken', 'link-wrong', 'demo/one:1']],
    },
    {
      title: 'a link to a layer holds no digest',
      spoil: (store) => {
        writeFileSync(join(at(store, 'demo/one'), '_layers', link(layer())), 'sha256:');
      },
      expected: [['broken', 'link-wrong', 'demo/one:1']],
    },
    {
      title: 'the revision link of a member of an index is missing (distribution#3178)',
      spoil: (store) => {
        rmSync(join(at(store, 'demo/multi'), '_manifests/revisions', link(arm.root.digest)));
      },
      expected: [['broken', 'link-missing', 'demo/multi:1']],
    },
    {
      title: 'the revision link of what a tag names is missing',
      spoil: (store) => {
        rmSync(join(at(store, 'demo/one'), '_manifests/revisions', link(one.root.digest)));
      },
      expected: [
        ['broken', 'link-missing', 'demo/one:1'],
        ['broken', 'manifest-missing', 'demo/one:1'],
      ],
    },
    {
      title: "an entry of a tag's index holds another digest",
      spoil: (store) => {
        const entry = join(at(store, 'demo/one'), '_manifests/tags/1/index', link(one.root.digest));
        writeFileSync(entry, arm.root.digest);
      },
      expected: [['cosmetic', 'link-wrong', 'demo/one:1']],
    },
    {
      title: "a tag's index lacks what the tag names",
      spoil: (store) => {
        rmSync(join(at(store, 'demo/one'), '_manifests/tags/1/index'), { recursive: true });
      },
      expected: [['cosmetic', 'link-missing', 'demo/one:1']],
    },
    {
      title: 'a tag holds no digest',
      spoil: (store) => {
        writeFileSync(join(at(store, 'demo/one'), '_manifests/tags/1/current/link'), 'latest');
      },
      expected: [['broken', 'image-unreadable', 'demo/one:1']],
      left: 'same',
    },
    {
      title: 'a link that no image needs leads nowhere',
      spoil: (store) => {
        put(join(at(store, 'demo/one'), '_layers', link(ORPHAN)), ORPHAN);
      },
      expected: [['cosmetic', 'link-dangling']],
      left: 'same',
    },
    {
      title: 'a blob that nothing names',
      spoil: (store) => {
        put(storedBlob(store, ORPHAN), 'orphan');
      },
      expected: [['space', 'unreachable']],
      left: 'same',
    },
    {
      title: 'a push that was given up',
      spoil: (store) => {
        put(join(at(store, 'demo/one'), '_uploads/8f3b/data'), 'half a layer');
      },
      expected: [['space', 'upload']],
      left: 'same',
    },
    {
      title: 'files that have no place there',
      spoil: (store) => {
        put(join(at(store, 'demo/one'), 'README'), '');
        put(join(at(store, 'demo/one'), '_layers/sha256/short/link'), '');
        put(join(store, 'docker/registry/v2/blobs/sha256/ab/data'), '');
      },
      expected: [
        ['cosmetic', 'stray'],
        ['cosmetic', 'stray'],
        ['cosmetic', 'stray'],
      ],
      left: 'same',
    },
    {
      title: 'names that no client can ask for',
      spoil: (store) => {
        layStore(store, { 'Demo/one:1': one, 'demo/one:-1': one });
      },
      expected: [
        ['broken', 'name-invalid', 'Demo/one'],
        ['broken', 'name-invalid', 'demo/one:-1'],
      ],
      left: 'same',
    },
    {
      title: 'a revision without a tag, whose manifest is gone',
      spoil: (store) => {
        put(join(at(store, 'demo/one'), '_manifests/revisions', link(ORPHAN)), ORPHAN);
      },
      expected: [['broken', 'manifest-missing', `demo/one@${ORPHAN}`]],
      left: 'same',
    },
  ]);
});

test('a link that is wrong is told once, with all images that it affects', async () => {
  const store = await placeOf(formatOf('reg'));
  const revision = join(at(store.path, 'demo/one'), '_manifests/revisions', link(one.root.digest));
  writeFileSync(revision, arm.root.digest);
  assert.deepEqual(told(await verify(store)), [
    ['broken', 'link-wrong', 'demo/one:1', `demo/one@${one.root.digest}`],
  ]);
});

describe('files of an OCI layout', () => {
  caseTests('oci', [
    {
      title: 'oci-layout is missing',
      spoil: (layout) => {
        rmSync(join(layout, 'oci-layout'));
      },
      expected: [['cosmetic', 'file-missing']],
    },
    {
      title: 'index.json is cut off',
      spoil: (layout) => {
        truncateSync(join(layout, 'index.json'), 40);
      },
      expected: [['broken', 'image-unreadable']],
      left: 'same',
    },
    {
      title: 'a blob that nothing names, and files that have no place there',
      spoil: (layout) => {
        put(join(layout, blobFile(ORPHAN)), 'orphan');
        put(join(layout, 'README'), '');
        put(join(layout, 'blobs/sha256/README'), '');
      },
      expected: [
        ['space', 'unreachable'],
        ['cosmetic', 'stray'],
        ['cosmetic', 'stray'],
      ],
      left: 'same',
    },
  ]);

  test('a name that breaks the grammar can be asked for by skopeo all the same', async () => {
    const layout = layFiles(tempFolder(), layoutFiles(entriesOf({ 'demo/one_:1': one })));
    assert.deepEqual(told(await verify(place('oci', layout))), [['cosmetic', 'name-invalid', 'demo/one_:1']]);
  });
});

describe("files of skopeo's directories", () => {
  caseTests('dir', [
    {
      title: 'version is missing',
      spoil: (path) => {
        rmSync(join(path, 'demo/one:1/version'));
      },
      expected: [['cosmetic', 'file-missing', 'demo/one:1']],
    },
    {
      title: 'a folder has lost its manifest',
      spoil: (path) => {
        rmSync(join(path, 'demo/one:1/manifest.json'));
      },
      expected: [['broken', 'manifest-missing', 'demo/one:1']],
      left: 'same',
    },
    {
      title: 'a manifest is cut off',
      spoil: (path) => {
        truncateSync(join(path, 'demo/one:1/manifest.json'), 100);
      },
      expected: [['broken', 'image-unreadable', 'demo/one:1']],
      left: 'same',
    },
    {
      title: 'a blob that its image does not name, and files that have no place there',
      spoil: (path) => {
        put(join(path, 'demo/one:1', hex(ORPHAN)), 'orphan');
        put(join(path, 'demo/one:1/README'), '');
        put(join(path, 'demo/README'), '');
      },
      expected: [
        ['space', 'unreachable', 'demo/one:1'],
        ['cosmetic', 'stray'],
        ['cosmetic', 'stray', 'demo/one:1'],
      ],
      left: 'same',
    },
  ]);

  for (const how of ['gone', 'cut'] as const) {
    test(`the manifest of a folder that is called by its digest, ${how}, is fetched`, async () => {
      const there = place('dir', tempFolder());
      const folder = join(there.path, `demo/one@${one.root.digest}`);
      layDir(folder, one);
      if (how === 'gone') rmSync(join(folder, 'manifest.json'));
      else truncateSync(join(folder, 'manifest.json'), 100);
      assert.equal((await verify(there)).brokenImages, 1);
      assert.equal((await verify(there, { repair: [tree] })).brokenImages, 0);
      assert.deepEqual(readFileSync(join(folder, 'manifest.json')), one.root.bytes);
    });
  }
});

describe('archives', () => {
  for (const short of ['tar', 'ocitar'] as const) {
    test(`${short}: a blob that nothing names, and a file that has no place there`, async () => {
      const there = await placeOf(formatOf(short));
      const members = await readTarFile(there.path);
      const more = [
        { header: { name: blobFile(ORPHAN) }, body: Buffer.from('orphan') },
        { header: { name: 'README' }, body: Buffer.alloc(0) },
      ];
      writeFileSync(there.path, await writeTar([...members, ...more]));
      assert.deepEqual(told(await verify(there)), [
        ['space', 'unreachable'],
        ['cosmetic', 'stray'],
      ]);
    });

    test(`${short}: cut off`, async () => {
      const there = await placeOf(formatOf(short));
      truncateSync(there.path, 3000);
      assert.deepEqual(told(await verify(there)), [['broken', 'image-unreadable']]);
    });
  }

  test('from a pipe, and compressed', async () => {
    const { path } = await placeOf(formatOf('tar'));
    const bytes = readFileSync(path);
    for (const stdin of [bytes, gzipSync(bytes)]) {
      const { status, stdout } = await imgconv(['verify', '-', '--deep'], { stdin });
      assert.match(stdout, /^3 images checked, 0 broken; \d+ blobs read \(.*\)\n$/);
      assert.equal(status, 0);
    }
  });
});

describe('configs and layers', () => {
  interface Made {
    readonly diffIds?: readonly string[];
    readonly history?: readonly object[];
    readonly layers: readonly Buffer[];
  }
  function made({ layers, diffIds, history }: Made): Sample {
    const config = part(OCI.config, {
      os: 'linux',
      architecture: 'amd64',
      ...(history && { history }),
      rootfs: { type: 'layers', diff_ids: diffIds ?? layers.map((tar) => digestText(tar)) },
    });
    const parts = layers.map((tar) => part(OCI.gzip, gzipSync(tar)));
    const root = part(OCI.manifest, {
      schemaVersion: 2,
      mediaType: OCI.manifest,
      config: descriptorOf(config),
      layers: parts.map((one) => descriptorOf(one)),
    });
    return { root, members: [], blobs: [config, ...parts], platform: undefined };
  }
  let tar: Buffer;
  before(async () => {
    tar = await tarOf({ 'etc/text': 'text', 'etc/large': Buffer.alloc(100_000) });
  });
  const cases: readonly (readonly [
    string,
    () => Made,
    boolean,
    readonly [Severity, FaultKind] | undefined,
  ])[] = [
    ['sound', () => ({ layers: [tar], history: [{ empty_layer: true }, {}] }), true, undefined],
    ['no end mark', () => ({ layers: [tar.subarray(0, -1024)] }), true, undefined],
    ['an empty layer', () => ({ layers: [Buffer.alloc(1024), Buffer.alloc(0)] }), true, undefined],
    ['too few diffIDs', () => ({ layers: [tar], diffIds: [] }), false, ['broken', 'config-mismatch']],
    [
      'one layer with two diffIDs',
      () => ({ layers: [tar, tar], diffIds: [ORPHAN, digestText(tar)] }),
      false,
      ['broken', 'config-mismatch'],
    ],
    ['another diffID', () => ({ layers: [tar], diffIds: [ORPHAN] }), true, ['broken', 'config-mismatch']],
    [
      'a layer that is no tar',
      () => ({ layers: [Buffer.alloc(2000, 'x')] }),
      true,
      ['broken', 'layer-invalid'],
    ],
    ['a layer cut off', () => ({ layers: [tar.subarray(0, 5000)] }), true, ['broken', 'layer-invalid']],
    [
      'a history of more layers',
      () => ({ layers: [tar], history: [{}, {}] }),
      true,
      ['cosmetic', 'history-mismatch'],
    ],
  ];
  for (const [title, make, deep, expected] of cases) {
    test(`${title}: ${expected?.[1] ?? 'nothing is found'}${deep ? ' with --deep' : ''}`, async () => {
      const there = place('dir', layTree(tempFolder(), { 'demo/made:1': made(make()) }));
      const wanted = expected === undefined ? [] : [[...expected, 'demo/made:1']];
      // With --deep the layer itself is found to be another tar, too.
      const deeply = told(await verify(there, { deep: true }));
      assert.deepEqual([...new Map(deeply.map((one) => [one.join(), one])).values()], wanted);
      assert.deepEqual(told(await verify(there)), deep ? [] : wanted);
    });
  }
});

test('a config that is a layer too is still compared with its manifest', async () => {
  const config = part(OCI.config, {
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [ORPHAN, digestText(Buffer.from('x'))] },
  });
  const root = part(OCI.manifest, {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    config: descriptorOf(config),
    layers: [{ ...descriptorOf(config), mediaType: OCI.gzip }],
  });
  const image = { root, members: [], blobs: [config], platform: undefined };
  const there = place('reg', layStore(tempFolder(), { 'demo/made:1': image }));
  assert.deepEqual(told(await verify(there)), [['broken', 'config-mismatch', 'demo/made:1']]);
});

describe('beside others', () => {
  test('what an interrupted run left is found, what a live one has is not', async () => {
    const there = await placeOf(formatOf('reg'));
    const module = new URL('../src/storage/staging.js', import.meta.url).href;
    const root = join(there.path, 'docker/registry/v2');
    spawnSync(process.execPath, [
      '--input-type=module',
      '-e',
      `import { Staging } from ${JSON.stringify(module)};
       await new Staging(${JSON.stringify(root)}).claim();
       process.kill(process.pid, 'SIGKILL');`,
    ]);
    assert.deepEqual(told(await verify(there)), [['space', 'unfinished']]);
  });

  test('writers and collectors at work: nothing is taken for broken', async () => {
    const target = newPlace('reg');
    await convert(tree, target, { link: 'copy' });
    const state = { done: false, looks: 0 };
    const write = async (from: string) => {
      for (let i = 0; i < 8; i++) {
        const selectors = [{ text: from, rename: `demo/moving:${i % 2}`, where: 'test' }];
        await convert(tree, target, { selectors, link: 'copy' });
      }
    };
    const watch = async () => {
      for (; !state.done; state.looks++) {
        const report = await verify(target);
        assert.deepEqual(
          report.findings.filter(({ severity }) => severity === 'broken'),
          [],
        );
        await sleep(1);
      }
    };
    const collect = async () => {
      while (!state.done) {
        await collectGarbage(target, { olderThan: 0, untagged: true });
        await sleep(1);
      }
    };
    const others = [watch(), collect()];
    await Promise.all([write('demo/one:1'), write('demo/multi:1')]);
    state.done = true;
    await Promise.all(others);
    assert.equal(state.looks > 1, true);
    assert.deepEqual(
      told(await verify(target)).filter(([severity]) => severity === 'broken'),
      [],
    );
  });
});

describe('imgconv verify', () => {
  test('says what is wrong with whom, and exits with 1', async () => {
    const there = await placeOf(formatOf('reg'));
    put(storedBlob(there.path, ORPHAN), 'orphan');
    const blob = storedBlob(there.path, layer());
    rmSync(blob);
    const { status, stdout } = await imgconv(['verify', there.path]);
    assert.equal(status, 1);
    const [broken = '', touches = '', space = '', sum = ''] = stdout.split('\n');
    assert.equal(broken, `broken    ${blob}: layer ${layer()}: not there`);
    assert.equal(touches, '          in demo/one:1');
    assert.equal(space, `space     ${storedBlob(there.path, ORPHAN)}: no image needs it (6 B)`);
    assert.match(sum, /^3 images checked, 1 broken; \d+ blobs read \(.*\); 1 of lost space \(6 B\)$/);
    const { stdout: json } = await imgconv(['verify', there.path, '--json']);
    const { findings } = JSON.parse(json) as { findings: { kind: string; repairable: boolean }[] };
    assert.deepEqual(
      findings.map(({ kind, repairable }) => [kind, repairable]),
      [
        ['blob-missing', true],
        ['unreachable', false],
      ],
    );
    const repaired = await imgconv(['verify', there.path, '--repair', tree.path]);
    assert.equal(repaired.status, 0);
    assert.ok(
      repaired.stdout.startsWith(`repaired  ${blob} from ${join(tree.path, 'demo/one:1', hex(layer()))}\n`),
    );
  });

  test('needs a place, and one to repair from', async () => {
    assert.equal((await imgconv(['verify', '/nowhere'])).status, 1);
    assert.equal((await imgconv(['verify', tree.path, '--repair', '/nowhere'])).status, 1);
  });
});
