import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, linkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { convert, type ErrorCode, type Place } from '../src/index.js';
import { withLock } from '../src/storage/lock.js';
import { gatePath, Staging } from '../src/storage/staging.js';
import { collectGarbage, type GarbageOptions, type GarbageReport } from '../src/upkeep/gc.js';
import { verify } from '../src/upkeep/verify.js';
import { imgconv } from './support/cli.js';
import { refusal } from './support/errors.js';
import { unpacked } from './support/fixtures.js';
import {
  digestText,
  imageOf,
  indexOf,
  layStore,
  layTree,
  put,
  storedBlob,
  type Sample,
} from './support/images.js';
import {
  blobFile,
  digestTag,
  entriesOf,
  layFiles,
  layoutFiles,
  nestedOf,
  oldReferrerOf,
  recordOf,
  REF,
  referrerOf,
} from './support/layouts.js';
import { namesOf, newPlace, place } from './support/places.js';
import { filesIn, stagingIn, stateOf } from './support/snapshot.js';
import { tempFolder } from './support/temp.js';

type Images = Readonly<Record<string, Sample>>;

/** All that was there when it began. */
const ALL = { olderThan: 0, untagged: true } as const;

function collect(store: string, options: GarbageOptions = ALL): Promise<GarbageReport> {
  return collectGarbage(place('reg', store), options);
}

function below(store: string, repository: string): string {
  return join(store, 'docker/registry/v2/repositories', repository);
}

function revision(store: string, repository: string, digest: string): string {
  return join(below(store, repository), '_manifests/revisions', digest.replace(':', '/'), 'link');
}

/** As a push of the same name would: the manifest that had it stays as a revision. */
function untag(store: string, name: string): void {
  const [repository = '', tag = ''] = name.split(':');
  rmSync(join(below(store, repository), '_manifests/tags', tag), { recursive: true });
}

function partsOf({ root, members, blobs }: Sample): string[] {
  return [root, ...members, ...blobs].map(({ digest }) => digest);
}

function storedOf(store: string, image: Sample): boolean[] {
  return [...new Set(partsOf(image).map((digest) => existsSync(storedBlob(store, digest))))];
}

let one: Sample;
let other: Sample;
let arm: Sample;
let multi: Sample;

before(async () => {
  one = await imageOf('one');
  other = await imageOf('other');
  arm = await imageOf('arm', { platform: 'linux/arm64' });
  multi = indexOf([other, arm]);
});

describe('what stays in a registry', () => {
  const cases: readonly (readonly [string, () => Images, readonly string[]])[] = [
    ['what has a tag', () => ({ 'demo/one:1': one, 'demo/multi:1': multi }), []],
    [
      'members of an index without tags of their own (distribution#3178)',
      () => ({ 'demo/multi:1': multi }),
      [],
    ],
    ['members of an index in an index', () => ({ 'demo/multi:1': nestedOf([multi, one]) }), []],
    [
      'what speaks of an image by subject, and what speaks of that',
      () => {
        const sbom = referrerOf(one.root, 'sbom');
        return { 'demo/one:1': one, 'demo/one:a': sbom, 'demo/one:b': referrerOf(sbom.root, 'signature') };
      },
      ['demo/one:a', 'demo/one:b'],
    ],
    [
      'what an artifact manifest has and speaks of, and an artifact that speaks of an image with a tag',
      () => ({
        'demo/one:1': one,
        'demo/one:a': oldReferrerOf(one.root, 'sbom'),
        'demo/two:sbom': oldReferrerOf(other.root, 'of the other'),
        'demo/two:1': other,
      }),
      ['demo/one:a', 'demo/two:1'],
    ],
    [
      'what speaks of a member of an index',
      () => ({ 'demo/multi:1': multi, 'demo/multi:a': referrerOf(arm.root, 'sbom') }),
      ['demo/multi:a'],
    ],
    [
      'an image that something with a tag speaks of',
      () => ({ 'demo/one:1': one, 'demo/one:sbom': referrerOf(one.root, 'sbom') }),
      ['demo/one:1'],
    ],
    [
      'an image that a tag of cosign speaks of',
      () => ({ 'demo/one:1': one, [`demo/one:${digestTag(one.root.digest, '.sig')}`]: other }),
      ['demo/one:1'],
    ],
  ];
  for (const [title, images, untagged] of cases) {
    test(title, async () => {
      const store = layStore(tempFolder(), images());
      for (const name of untagged) untag(store, name);
      const before = stateOf(store);
      const report = await collect(store);
      assert.deepEqual(stateOf(store), before);
      assert.equal(report.blobs.blobs, 0);
    });
  }

  test('layers of a member whose revision link is lost (distribution#4461)', async () => {
    // With the member's digest marked by the first repository, Distribution passes over it in the second.
    const store = layStore(tempFolder(), { 'a/multi:1': multi, 'b/multi:1': multi });
    rmSync(revision(store, 'a/multi', arm.root.digest));
    const before = stateOf(store);
    await collect(store);
    assert.deepEqual(stateOf(store), before);
    rmSync(below(store, 'b/multi'), { recursive: true });
    await collect(store);
    assert.deepEqual(storedOf(store, multi), [true]);
  });

  test('revisions without a tag, unless they are asked for', async () => {
    const store = layStore(tempFolder(), { 'demo/one:1': one, 'demo/one:2': other });
    untag(store, 'demo/one:1');
    const before = stateOf(store);
    await collect(store, { olderThan: 0 });
    assert.deepEqual(stateOf(store), before);
  });

  test('what changed lately', async () => {
    const store = layStore(tempFolder(), { 'demo/one:1': one, 'demo/one:2': other });
    untag(store, 'demo/one:1');
    put(storedBlob(store, digestText(Buffer.from('orphan'))), 'orphan');
    const before = stateOf(store);
    assert.equal((await collect(store, { untagged: true })).young.blobs, 1);
    assert.deepEqual(stateOf(store), before);
  });

  test('an old layer that was pushed once more and waits for its manifest', async () => {
    const store = layStore(tempFolder(), { 'demo/one:1': one });
    const digest = digestText(Buffer.from('orphan'));
    put(storedBlob(store, digest), 'orphan');
    await sleep(60);
    put(join(below(store, 'demo/one'), '_layers', digest.replace(':', '/'), 'link'), digest);
    await collect(store, { olderThan: 30 });
    assert.ok(existsSync(storedBlob(store, digest)));
    await collect(store);
    assert.equal(existsSync(storedBlob(store, digest)), false);
  });
});

describe('what goes from a registry', () => {
  test('blobs that nothing names, with links to them', async () => {
    const store = layStore(tempFolder(), { 'demo/one:1': one });
    const before = filesIn(store);
    const digest = digestText(Buffer.from('orphan'));
    put(storedBlob(store, digest), 'orphan');
    put(join(below(store, 'demo/one'), '_layers', digest.replace(':', '/'), 'link'), digest);
    const report = await collect(store, { olderThan: 0 });
    assert.deepEqual(filesIn(store), before);
    assert.deepEqual([report.blobs, report.layerLinks], [{ blobs: 1, bytes: 6 }, 1]);
    assert.equal(report.bytesFreed, 6);
  });

  test('an image whose tag another one took, with its entry in the tag', async () => {
    const store = layStore(tempFolder(), { 'demo/app:1': one });
    layStore(store, { 'demo/app:1': multi });
    const report = await collect(store);
    assert.deepEqual([report.revisions, report.tagIndexLinks, report.layerLinks], [1, 1, 2]);
    assert.deepEqual([storedOf(store, one), storedOf(store, multi)], [[false], [true]]);
    assert.deepEqual(filesIn(store), filesIn(layStore(tempFolder(), { 'demo/app:1': multi })));
  });

  test('an index and its members, when nothing else names them; what speaks of it too', async () => {
    const store = layStore(tempFolder(), {
      'demo/app:1': one,
      'demo/app:2': multi,
      'demo/app:3': referrerOf(multi.root, 'sbom'),
    });
    untag(store, 'demo/app:2');
    untag(store, 'demo/app:3');
    assert.equal((await collect(store)).revisions, 4);
    assert.deepEqual(filesIn(store), filesIn(layStore(tempFolder(), { 'demo/app:1': one })));
  });

  test('a revision in one repository, while another has it with a tag', async () => {
    const store = layStore(tempFolder(), { 'a/app:1': one, 'a/app:2': other, 'b/app:1': one });
    untag(store, 'a/app:1');
    assert.equal((await collect(store)).revisions, 1);
    assert.deepEqual(storedOf(store, one), [true]);
    assert.deepEqual(await namesOf(place('reg', store)), {
      'a/app:2': other.root.digest,
      'b/app:1': one.root.digest,
    });
  });

  test('a dry run deletes nothing and says the same', async () => {
    const store = layStore(tempFolder(), { 'demo/app:1': one, 'demo/app:2': multi });
    untag(store, 'demo/app:2');
    const before = stateOf(store);
    const planned = await collect(store, { ...ALL, dryRun: true });
    assert.deepEqual(stateOf(store), before);
    assert.deepEqual({ ...planned, deleted: true }, await collect(store));
  });

  test('a blob with another name on the disk frees nothing', async () => {
    const store = layStore(tempFolder(), { 'demo/app:1': one });
    const orphan = storedBlob(store, digestText(Buffer.from('orphan')));
    put(orphan, 'orphan');
    linkSync(orphan, join(tempFolder(), 'elsewhere'));
    const report = await collect(store);
    assert.deepEqual([report.linkedElsewhere, report.bytesFreed], [{ blobs: 1, bytes: 6 }, 0]);
  });

  test('uploads that were given up, and not those under way', async () => {
    const store = layStore(tempFolder(), { 'demo/app:1': one });
    const upload = join(below(store, 'demo/app'), '_uploads/8f3b');
    put(join(upload, 'startedat'), '2026-01-01T00:00:00Z');
    put(join(upload, 'data'), 'half a layer');
    await collect(store, { olderThan: 60_000 });
    assert.ok(existsSync(join(upload, 'data')));
    assert.deepEqual((await collect(store)).uploads, { blobs: 1, bytes: 32 });
    assert.equal(existsSync(upload), false);
  });
});

describe('a manifest that cannot be read: nothing is deleted', () => {
  const unknown = Buffer.from('{"schemaVersion":2,"mediaType":"application/x-new","refs":[]}');
  const cases: readonly (readonly [string, ErrorCode, (blob: string) => void])[] = [
    [
      'damaged',
      'DIGEST_MISMATCH',
      (blob) => {
        writeFileSync(blob, 'x');
      },
    ],
    [
      'not there',
      'BLOB_MISSING',
      (blob) => {
        rmSync(blob);
      },
    ],
  ];
  for (const [title, code, spoil] of cases) {
    for (const [which, victim] of [
      ['with a tag', () => one],
      ['of a revision', () => other],
    ] as const) {
      test(`${title}, ${which}`, async () => {
        const store = layStore(tempFolder(), { 'demo/app:1': one, 'demo/app:2': other });
        untag(store, 'demo/app:2');
        put(storedBlob(store, digestText(Buffer.from('orphan'))), 'orphan');
        spoil(storedBlob(store, victim().root.digest));
        const before = stateOf(store);
        await assert.rejects(collect(store), refusal(code));
        assert.deepEqual(stateOf(store), before);
      });
    }
  }

  test('of a kind that is not known', async () => {
    const store = layStore(tempFolder(), { 'demo/app:1': one });
    const digest = digestText(unknown);
    put(storedBlob(store, digest), unknown);
    put(revision(store, 'demo/app', digest), digest);
    await assert.rejects(collect(store), refusal('FORMAT_UNSUPPORTED'));
  });

  test('a link that holds no digest', async () => {
    const store = layStore(tempFolder(), { 'demo/app:1': one });
    writeFileSync(join(below(store, 'demo/app'), '_manifests/tags/1/current/link'), 'sha256:');
    await assert.rejects(collect(store), refusal('DIGEST_INVALID'));
  });
});

describe('in an OCI layout', () => {
  const layout = (images: Images) => layFiles(tempFolder(), layoutFiles(entriesOf(images)));
  const collectIn = (path: string, options: GarbageOptions = ALL) =>
    collectGarbage(place('oci', path), options);

  test('what index.json names stays, with all that it reaches; the rest goes', async () => {
    const path = layout({ 'demo/app:1': multi, '@': referrerOf(arm.root, 'sbom') });
    const before = filesIn(path);
    put(join(path, blobFile(digestText(Buffer.from('orphan')))), 'orphan');
    assert.deepEqual((await collectIn(path)).blobs, { blobs: 1, bytes: 6 });
    assert.deepEqual(filesIn(path), before);
  });

  test('an entry with a tag alone stays, whatever the folder is called', async () => {
    for (const name of ['app', 'My Layout']) {
      const entries = [{ image: multi, annotations: { [REF]: '1.0' } }];
      const path = layFiles(join(tempFolder(), name), layoutFiles(entries));
      const before = stateOf(path);
      await collectIn(path);
      assert.deepEqual(stateOf(path), before);
    }
  });

  test('members of a tagged index that index.json lists too, and their referrers', async () => {
    const referrer = referrerOf(arm.root, 'sbom');
    const listed = { 'demo/app:1': multi, '1@': arm, '2@': referrer, '3@': multi };
    const path = layout(listed);
    const before = stateOf(path);
    assert.equal((await collectIn(path)).revisions, 0);
    assert.deepEqual(stateOf(path), before);
  });

  test('entries without a tag go with --untagged alone', async () => {
    const path = layout({ 'demo/app:1': one, '@': multi });
    const before = stateOf(path);
    await collectIn(path, { olderThan: 0 });
    assert.deepEqual(stateOf(path), before);
    assert.equal((await collectIn(path)).revisions, 1);
    assert.deepEqual(filesIn(path), filesIn(layout({ 'demo/app:1': one })));
    assert.deepEqual(await namesOf(place('oci', path)), { 'demo/app:1': one.root.digest });
    assert.deepEqual(stagingIn(path), []);
  });

  test('a damaged manifest: nothing is deleted', async () => {
    const path = layout({ 'demo/app:1': multi });
    put(join(path, blobFile(digestText(Buffer.from('orphan')))), 'orphan');
    writeFileSync(join(path, blobFile(arm.root.digest)), 'x');
    const before = stateOf(path);
    await assert.rejects(collectIn(path), refusal('DIGEST_MISMATCH'));
    assert.deepEqual(stateOf(path), before);
  });
});

describe('a manifest that is a blob of another manifest too', () => {
  const places = {
    reg: (images: Images) => layStore(tempFolder(), images),
    oci: (images: Images) => layFiles(tempFolder(), layoutFiles(entriesOf(images))),
  } as const;
  const sound = async (short: 'reg' | 'oci', path: string) => {
    const { findings } = await verify(place(short, path));
    assert.deepEqual(findings, []);
  };

  for (const short of ['reg', 'oci'] as const)
    for (const role of ['layer', 'config', 'subject'] as const)
      for (const tag of ['a', 'z'])
        for (const untagged of [true, false])
          test(`${short}: tagged, and named as ${role} by :${tag}, ${untagged ? 'with' : 'without'} --untagged`, async () => {
            const path = places[short]({
              [`demo/app:${tag}-record`]: recordOf(multi.root, role),
              'demo/app:m': multi,
            });
            await sound(short, path);
            const before = stateOf(path);
            const report = await collectGarbage(place(short, path), { olderThan: 0, untagged });
            assert.deepEqual(stateOf(path), before);
            assert.equal(report.blobs.blobs, 0);
            await sound(short, path);
          });

  for (const untagged of [true, false])
    test(`as oras pushes it: nothing goes ${untagged ? 'with' : 'without'} --untagged`, async () => {
      const path = tempFolder();
      cpSync(unpacked('oras-record.tar'), path, { recursive: true });
      const before = stateOf(path);
      await collectGarbage(place('oci', path), { olderThan: 0, untagged });
      assert.deepEqual(stateOf(path), before);
    });

  test('without a tag it stays as a layer, and what it names goes', async () => {
    const record = recordOf(one.root, 'layer');
    const store = layStore(tempFolder(), { 'demo/app:record': record, 'demo/app:1': one });
    untag(store, 'demo/app:1');
    await collect(store);
    await sound('reg', store);
    assert.ok(existsSync(storedBlob(store, one.root.digest)));
    assert.deepEqual(
      one.blobs.map(({ digest }) => existsSync(storedBlob(store, digest))),
      one.blobs.map(() => false),
    );
  });

  test('a young layer link to a tagged manifest: what that names stays', async () => {
    const store = layStore(tempFolder(), { 'demo/app:1': one });
    const { digest } = one.root;
    await sleep(60);
    put(join(below(store, 'demo/app'), '_layers', digest.replace(':', '/'), 'link'), digest);
    const before = stateOf(store);
    await collect(store, { olderThan: 30, untagged: true });
    assert.deepEqual(stateOf(store), before);
  });

  for (const short of ['dir', 'reg', 'oci', 'tar', 'ocitar'] as const)
    test(`in one index with that other one: whole in ${short}`, async () => {
      const both = nestedOf([one, recordOf(one.root, 'layer')]);
      const store = place('reg', layStore(tempFolder(), { 'demo/both:1': both }));
      const target = newPlace(short);
      await convert(store, target, { compression: 'keep' });
      assert.deepEqual((await verify(target)).findings, []);
      assert.deepEqual(await namesOf(target), { 'demo/both:1': both.root.digest });
    });
});

describe('beside writers', () => {
  const orphaned = () => {
    const store = layStore(tempFolder(), { 'demo/app:1': one, 'demo/app:2': other });
    untag(store, 'demo/app:2');
    return { store, root: join(store, 'docker/registry/v2') };
  };

  test('one that counts on what is there is waited for, and keeps it', async () => {
    const { store, root } = orphaned();
    const staging = new Staging(root);
    await staging.claim();
    const collecting = collect(store);
    await sleep(100);
    layStore(store, { 'demo/app:3': other });
    staging[Symbol.dispose]();
    const report = await collecting;
    assert.equal(report.blobs.blobs, 0);
    assert.deepEqual(storedOf(store, other), [true]);
  });

  test('one that does not end: nothing is deleted, and it is named', async () => {
    const { store, root } = orphaned();
    using staging = new Staging(root);
    await staging.claim();
    const before = filesIn(store);
    await assert.rejects(collect(store, { ...ALL, patience: 50 }), (error: unknown) => {
      assert.ok(error instanceof Error && error.message.includes(staging.folder));
      return true;
    });
    assert.deepEqual(filesIn(store), before);
    assert.equal(existsSync(gatePath(root)), false);
  });

  test('one that was killed is not waited for, and what it left is deleted', async () => {
    const { store, root } = orphaned();
    const module = new URL('../src/storage/staging.js', import.meta.url).href;
    const { signal } = spawnSync(process.execPath, [
      '--input-type=module',
      '-e',
      `import { Staging } from ${JSON.stringify(module)};
       await new Staging(${JSON.stringify(root)}).claim();
       process.kill(process.pid, 'SIGKILL');`,
    ]);
    assert.equal(signal, 'SIGKILL');
    assert.equal(stagingIn(store).length > 0, true);
    assert.equal((await collect(store)).unfinished, 1);
    assert.deepEqual(stagingIn(store), []);
    assert.deepEqual(storedOf(store, other), [false]);
  });

  test('one that begins while files are deleted waits', async () => {
    const { root } = orphaned();
    const order: string[] = [];
    using staging = new Staging(root);
    let claiming: Promise<void> | undefined;
    await withLock(gatePath(root), async () => {
      claiming = staging.claim().then(() => {
        order.push('claimed');
      });
      await sleep(100);
      order.push('opened');
    });
    await claiming;
    assert.deepEqual(order, ['opened', 'claimed']);
  });

  test('the gate of a killed collector keeps nobody out', async () => {
    const { root } = orphaned();
    const module = new URL('../src/storage/lock.js', import.meta.url).href;
    const child = spawn(process.execPath, [
      '--input-type=module',
      '-e',
      `import { withLock } from ${JSON.stringify(module)};
       await withLock(${JSON.stringify(gatePath(root))}, () => { process.kill(process.pid, 'SIGKILL'); });`,
    ]);
    await once(child, 'exit');
    assert.ok(existsSync(gatePath(root)));
    using staging = new Staging(root);
    await staging.claim();
    assert.ok(existsSync(staging.folder));
  });

  for (const short of ['reg', 'oci'] as const) {
    test(`writers whose tags move, and collectors all the while: ${short} loses nothing`, async () => {
      const tree = place(
        'dir',
        layTree(tempFolder(), { 'a/app:1': one, 'b/app:1': multi, 'c/app:1': other }),
      );
      const target: Place = newPlace(short);
      await convert(tree, target, { link: 'copy' });
      let done = false;
      const write = async (from: string, to: string) => {
        for (let i = 0; i < 6; i++) {
          const selectors = [{ text: `${from}/app:1`, rename: `demo/${to}:${i % 2}`, where: 'test' }];
          const { images } = await convert(tree, target, { selectors });
          assert.deepEqual(
            images.map(({ status }) => status === 'failed'),
            [false],
          );
        }
      };
      const collectAll = async () => {
        while (!done) {
          await collectGarbage(target, ALL);
          await sleep(1);
        }
      };
      const collecting = collectAll();
      await Promise.all([
        write('a', 'x'),
        write('b', 'x'),
        write('c', 'x'),
        write('a', 'y'),
        write('b', 'y'),
      ]);
      done = true;
      await collecting;
      // Reading all of it again proves every blob of every image.
      const copy = await convert(target, newPlace('dir'), { link: 'copy' });
      assert.deepEqual(
        copy.images.filter(({ status }) => status !== 'written'),
        [],
      );
      assert.equal(copy.images.length, 7);
      assert.deepEqual(stagingIn(target.path), []);
    });
  }
});

describe('imgconv gc', () => {
  test('says what it did, and as JSON', async () => {
    const store = layStore(tempFolder(), { 'demo/app:1': one });
    put(storedBlob(store, digestText(Buffer.from('orphan'))), 'orphan');
    const dry = await imgconv(['gc', store, '--older-than', '0', '--dry-run']);
    assert.equal(dry.stdout, 'would delete: 1 blob (6 B)\n6 B would be freed; nothing was deleted\n');
    const young = await imgconv(['gc', `reg:${store}`]);
    assert.equal(
      young.stdout,
      'deleted: nothing\n  note: 1 blob (6 B) that nothing names changed recently and stay\n0 B freed\n',
    );
    const { status, stdout } = await imgconv(['gc', store, '--older-than', '0', '--json']);
    assert.equal(status, 0);
    assert.deepEqual((JSON.parse(stdout) as GarbageReport).blobs, { blobs: 1, bytes: 6 });
  });

  test('refuses other formats, and times that are none', async () => {
    const tree = layTree(tempFolder(), { 'demo/app:1': one });
    assert.equal((await imgconv(['gc', tree])).status, 2);
    const store = layStore(tempFolder(), { 'demo/app:1': one });
    for (const time of ['x', '24', '-1h', '1w'])
      assert.equal((await imgconv(['gc', store, `--older-than=${time}`])).status, 2, time);
  });
});
