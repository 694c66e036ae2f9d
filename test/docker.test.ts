import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { convert, inspectImages, parsePlace, type ConvertOptions, type Place } from '../src/index.js';
import { refusal } from './support/errors.js';
import { cutAfter, errorOf, FakeRegistry, reply } from './support/fake-registry.js';
import { digestsOf, fixture, projectRoot, syncTree } from './support/fixtures.js';
import {
  artifactOf,
  descriptorOf,
  hex,
  imageOf,
  indexOf,
  layStore,
  layTree,
  OCI,
  part,
  type Sample,
} from './support/images.js';
import { nestedOf, recordOf } from './support/layouts.js';
import { LOCAL_FORMATS, namesOf, newPlace, place } from './support/places.js';
import { until } from './support/processes.js';
import { contentsOf, filesIn, stagingIn, stateOf } from './support/snapshot.js';
import { tempFolder } from './support/temp.js';

const NAMES = digestsOf('sync.tar');
const FAST = { retryDelay: 1 } as const;
const SIZE = 3 * 1024 * 1024;

function remote(registry: FakeRegistry, below = ''): Place {
  return parsePlace(`docker://${registry.host}${below}`);
}

function selectors(...texts: readonly string[]) {
  return texts.map((text) => ({ text, rename: undefined, where: 'test' }));
}

/** Converts, and expects of every image that this became of it. */
async function converted(
  from: Place,
  to: Place,
  options: ConvertOptions = {},
  expected: string = 'written',
): Promise<void> {
  const { images } = await convert(from, to, { sourceAccess: FAST, targetAccess: FAST, ...options });
  assert.ok(images.length > 0);
  for (const { source, status, error } of images)
    assert.equal(status, expected, `${source}: ${error?.message ?? ''}`);
}

/** The error of the one image that fails. */
async function failure(from: Place, to: Place, options: ConvertOptions = {}): Promise<unknown> {
  const { images } = await convert(from, to, { sourceAccess: FAST, targetAccess: FAST, ...options });
  assert.deepEqual(
    images.map(({ status }) => status),
    ['failed'],
  );
  return images[0]?.error;
}

/** An image with a layer that does not compress: its bytes are what is counted. */
async function largeImage(size = SIZE): Promise<{ image: Sample; digest: string }> {
  const image = await imageOf('large', { base: randomBytes(size), compress: false });
  const layer = image.blobs.reduce((a, b) => (b.bytes.length > a.bytes.length ? b : a));
  return { image, digest: layer.digest };
}

describe('pushed, and pulled into every format', () => {
  let registry: FakeRegistry;
  before(async () => {
    registry = await FakeRegistry.start();
    await converted(place('dir', syncTree()), remote(registry, '/mirror'));
  });
  after(() => registry[Symbol.asyncDispose]());

  test('has the names and digests of the source', async () => {
    const prefixed = Object.fromEntries(
      Object.entries(NAMES).map(([name, digest]) => [`${registry.host}/mirror/${name}`, digest]),
    );
    assert.deepEqual(await namesOf(remote(registry)), prefixed);
    assert.deepEqual(await namesOf(remote(registry, '/mirror/')), prefixed);
  });

  for (const to of LOCAL_FORMATS) {
    test(`and from ${to.short} gives skopeo's own tree, byte for byte`, async () => {
      const there = newPlace(to);
      await converted(remote(registry), there, { stripPrefix: 'mirror' });
      const tree = newPlace('dir');
      await converted(there, tree, { compression: 'keep' });
      assert.deepEqual(contentsOf(tree.path), contentsOf(syncTree()));
      assert.deepEqual(stagingIn(there.path), []);
    });
  }

  test('gives configs and platforms to who looks at it', async () => {
    const from = remote(registry, '/mirror/demo/multi:1');
    for await (const { digest, manifests } of inspectImages(from, selectors(from.reference ?? ''))) {
      assert.equal(digest, NAMES['demo/multi:1']);
      assert.equal(manifests.filter(({ config }) => config !== undefined).length, 3);
    }
  });

  test('and pushed again changes nothing, and sends nothing', async () => {
    registry.forget();
    await converted(place('dir', syncTree()), remote(registry, '/mirror'), {}, 'unchanged');
    assert.deepEqual(registry.asked(/^(?:PUT|POST|PATCH)/), []);
  });
});

describe('what is asked for', () => {
  let registry: FakeRegistry;
  before(async () => {
    registry = (await FakeRegistry.start({ pageSize: 2 })).add({
      'team/app:1.0': await imageOf('one'),
      'team/app:1.1': await imageOf('two'),
      'team/app:2.0': await imageOf('three'),
      'team/app/sub:1': await imageOf('four'),
      'team/apple:1': await imageOf('five'),
    });
  });
  after(() => registry[Symbol.asyncDispose]());

  for (const [below, refs, names] of [
    ['', [], ['team/app/sub:1', 'team/app:1.0', 'team/app:1.1', 'team/app:2.0', 'team/apple:1']],
    ['/team/app', [], ['team/app:1.0', 'team/app:1.1', 'team/app:2.0']],
    ['/team/app/', [], ['team/app/sub:1', 'team/app:1.0', 'team/app:1.1', 'team/app:2.0']],
    ['/team', [], ['team/app/sub:1', 'team/app:1.0', 'team/app:1.1', 'team/app:2.0', 'team/apple:1']],
    ['', ['team/app:1.*'], ['team/app:1.0', 'team/app:1.1']],
    ['', ['team/*:1'], ['team/apple:1']],
    ['', ['**/*:1'], ['team/app/sub:1', 'team/apple:1']],
    ['/team/app', ['team/app:2.0'], ['team/app:2.0']],
  ] as const) {
    test(`docker://HOST${below} ${refs.join(' ')}`, async () => {
      const tree = newPlace('dir');
      await converted(remote(registry, below), tree, { selectors: selectors(...refs) });
      assert.deepEqual(Object.keys(await namesOf(tree)).sort(), [...names].sort());
    });
  }

  test('by name alone, of several hosts, is all that is asked of them', async () => {
    await using other = (await FakeRegistry.start()).add({ 'tools/x:latest': await imageOf('x') });
    registry.forget();
    const tree = newPlace('dir');
    const refs = selectors(`${registry.host}/team/app:1.0`, `${other.host}/tools/x`);
    await converted(parsePlace('docker://'), tree, { selectors: refs });
    assert.deepEqual(Object.keys(await namesOf(tree)), ['team/app:1.0', 'tools/x:latest']);
    assert.deepEqual(registry.asked(/_catalog|tags\/list/), []);
  });

  test('and is not there fails alone', async () => {
    const { images } = await convert(remote(registry), newPlace('dir'), {
      selectors: selectors('team/app:1.0', 'team/app:9'),
    });
    assert.deepEqual(
      images.map(({ status, error }) => error?.code ?? status),
      ['NOT_FOUND', 'written'],
    );
  });

  test('without references, of no host, is refused', async () => {
    await assert.rejects(convert(parsePlace('docker://'), newPlace('dir')), refusal('USAGE'));
    await assert.rejects(convert(remote(registry), parsePlace('docker://')), refusal('USAGE'));
  });
});

test('each blob is fetched once, however many images name it, and none that the target has', async () => {
  const base = randomBytes(100_000);
  const images = Object.fromEntries(
    await Promise.all(
      Array.from(
        { length: 12 },
        async (_, i) => [`app${i % 3}:${i}`, await imageOf(`${i}`, { base })] as const,
      ),
    ),
  );
  await using registry = (await FakeRegistry.start()).add(images);
  const store = newPlace('reg');
  await converted(remote(registry), store);
  for (const [digest, count] of registry.sent)
    assert.equal(count, registry.blobs.get(digest)?.length, digest);
  const heads = () => registry.asked(/^HEAD .*\/manifests\/\d+$/).length;
  const manifests = () => registry.asked(/^GET .*\/manifests\/\d+$/).length;
  // A new place has no manifest that need not be fetched.
  assert.deepEqual([heads(), manifests()], [0, 12]);
  registry.forget();
  await converted(remote(registry), store, {}, 'unchanged');
  assert.deepEqual(registry.asked(/GET .*\/blobs\//), []);
  assert.deepEqual([heads(), manifests()], [12, 0]);
});

describe('a download that breaks off', () => {
  for (const [what, on] of [
    ['a manifest', /GET .*manifests\/sha256/],
    ['a list of tags', /GET .*tags/],
    ['a list of repositories', /GET .*_catalog/],
    ['a list of referrers', /GET .*referrers/],
  ] as const)
    test(`is asked for again: ${what}`, async () => {
      await using registry = (await FakeRegistry.start({ referrers: true })).add({
        'app:1': indexOf([await imageOf('x')]),
      });
      registry.fail(on, cutAfter(registry, 5));
      const { images } = await convert(remote(registry), newPlace('dir'), {
        sourceAccess: { retryTimes: 1, retryDelay: 1 },
      });
      assert.deepEqual(
        images.map(({ status, error }) => error?.message ?? status),
        ['written'],
      );
    });

  for (const at of [0, 1, 70_000, SIZE - 1]) {
    test(`after ${at} bytes goes on there, in the same run`, async () => {
      const { image, digest } = await largeImage();
      await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
      registry.fail(new RegExp(`GET .*${digest}`), cutAfter(registry, at));
      const tree = newPlace('dir');
      await converted(remote(registry), tree);
      const { length = 0 } = registry.blobs.get(digest) ?? {};
      const sent = registry.sent.get(digest) ?? 0;
      assert.ok(sent >= length && sent <= length + at, `${sent} bytes for ${length}`);
      if (at >= 70_000) assert.ok(sent < length + 70_000, `${sent} bytes for ${length}`);
      assert.deepEqual(stagingIn(tree.path), []);
    });
  }

  /** A run that fails in the middle; gives the file that it leaves. */
  async function broken(registry: FakeRegistry, digest: string, target: Place, at: number): Promise<string> {
    registry.fail(new RegExp(`GET .*${digest}`), cutAfter(registry, at));
    const error = await failure(remote(registry), target, { sourceAccess: { retryTimes: 0 } });
    assert.ok(refusal('NETWORK')(error));
    assert.equal(existsSync(join(target.path, 'app:1')), false);
    return join(target.path, '.imgconv-partial', digest.replace(':', '-'));
  }

  test('goes on in the next run', async () => {
    const { image, digest } = await largeImage();
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
    const tree = newPlace('dir');
    const partial = await broken(registry, digest, tree, 2_000_000);
    const { size } = statSync(partial);
    assert.ok(size > 1_000_000 && size <= 2_000_000, `${size}`);
    registry.forget();
    await converted(remote(registry), tree);
    const ranges = registry.seen.filter(({ path }) => path.endsWith(digest)).map(({ range }) => range);
    assert.deepEqual(ranges, [`bytes=${size}-`]);
    assert.deepEqual(stagingIn(tree.path), []);
  });

  for (const [title, change] of [
    [
      'changed',
      (path: string) => {
        writeFileSync(path, Buffer.alloc(1000));
      },
    ],
    [
      'too long',
      (path: string) => {
        appendFileSync(path, Buffer.alloc(SIZE * 2));
      },
    ],
    [
      'empty',
      (path: string) => {
        truncateSync(path);
      },
    ],
  ] as const) {
    test(`and whose beginning is ${title} when the next run comes, is fetched anew`, async () => {
      const { image, digest } = await largeImage();
      await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
      const tree = newPlace('dir');
      change(await broken(registry, digest, tree, 2_000_000));
      await converted(remote(registry), tree);
      const layer = join(tree.path, 'app:1', hex(digest));
      assert.equal(contentsOf(layer)[''], contentsOf(layer)['']);
      assert.equal(statSync(layer).size, registry.blobs.get(digest)?.length);
      await converted(remote(registry), tree, {}, 'unchanged');
      assert.deepEqual(stagingIn(tree.path), []);
    });
  }

  for (const [title, plant] of Object.entries<(path: string, victim: string) => void>({
    'a hard link to another file': (path, victim) => {
      linkSync(victim, path);
    },
    'a symbolic link': (path, victim) => {
      symlinkSync(victim, path);
    },
    'a file that others may write to': (path, victim) => {
      copyFileSync(victim, path);
      chmodSync(path, 0o666);
    },
    'a file with set-user-ID': (path, victim) => {
      copyFileSync(victim, path);
      chmodSync(path, 0o4755);
    },
    "another user's file": (path, victim) => {
      copyFileSync(victim, path);
      if (process.getuid?.() === 0) chownSync(path, 12_345, 12_345);
    },
    'a FIFO': (path) => {
      execFileSync('mkfifo', [path]);
    },
    'a folder': (path, victim) => {
      mkdirSync(path);
      copyFileSync(victim, join(path, 'file'));
    },
  }))
    test(`and is ${title} when the next run comes, is made anew`, async () => {
      const { image, digest } = await largeImage();
      await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
      const tree = newPlace('dir');
      const partial = await broken(registry, digest, tree, 2_000_000);
      const victim = join(tempFolder(), 'victim');
      writeFileSync(victim, readFileSync(partial));
      const before = stateOf(victim);
      rmSync(partial);
      plant(partial, victim);
      await converted(remote(registry), tree);
      assert.deepEqual(stateOf(victim), before);
      const { uid, mode, nlink } = statSync(join(tree.path, 'app:1', hex(digest)));
      assert.deepEqual([uid, mode & 0o7777, nlink], [process.getuid?.(), 0o644 & statSync(victim).mode, 1]);
      assert.deepEqual(stagingIn(tree.path), []);
    });

  test('goes to no folder that a planted link leads to, and nothing there is deleted', async () => {
    const { image, digest } = await largeImage();
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
    const [tree, victim] = [newPlace('dir'), tempFolder()];
    const old = join(victim, digest.replace(':', '-'));
    writeFileSync(old, 'precious');
    utimesSync(old, 0, 0);
    mkdirSync(tree.path);
    symlinkSync(victim, join(tree.path, '.imgconv-partial'));
    const error = await failure(remote(registry), tree);
    assert.ok(refusal('IO', join(tree.path, '.imgconv-partial'), 'is a symbolic link')(error));
    assert.deepEqual(contentsOf(victim), { [digest.replace(':', '-')]: 'precious' });
  });

  test('uses no folder that others may write to', async () => {
    const { image, digest } = await largeImage();
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
    const tree = newPlace('dir');
    const folder = join(tree.path, '.imgconv-partial');
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o777);
    const planted = join(folder, digest.replace(':', '-'));
    writeFileSync(planted, 'planted');
    await converted(remote(registry), tree);
    assert.deepEqual(contentsOf(folder), { [digest.replace(':', '-')]: 'planted' });
  });

  test('and is whole when the next run comes is not asked for again', async () => {
    const { image, digest } = await largeImage();
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
    const store = newPlace('reg');
    const [config = image.root] = image.blobs;
    // Twice: on a connection that was used before, a request is sent again over a new one.
    registry.fail(
      new RegExp(`GET .*${config.digest}`),
      (_, response) => setTimeout(() => response.destroy(), 600),
      2,
    );
    await failure(remote(registry), store, { sourceAccess: { retryTimes: 0 } });
    const folder = join(store.path, 'docker/registry/v2/.imgconv-partial');
    assert.ok(readdirSync(folder).includes(digest.replace(':', '-')));
    registry.forget();
    await converted(remote(registry), store);
    assert.equal(registry.sent.get(digest), undefined);
    assert.deepEqual(stagingIn(store.path), []);
  });

  test('from a server that knows no ranges is read from its beginning, and right', async () => {
    const { image, digest } = await largeImage();
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
    registry.fail(new RegExp(`GET .*${digest}`), cutAfter(registry, 1_000_000));
    registry.fail(new RegExp(`GET .*${digest}`), (request, response) => {
      delete request.headers.range;
      return registry.answer(request, response);
    });
    await converted(remote(registry), newPlace('dir'));
  });
});

describe('a failure that may pass is tried again', { concurrency: 5 }, () => {
  for (const [title, act] of [
    [
      '500',
      (_: unknown, response) => {
        reply(response, 500);
      },
    ],
    [
      '503',
      (_: unknown, response) => {
        reply(response, 503, { 'retry-after': '0' });
      },
    ],
    [
      '429',
      (_: unknown, response) => {
        reply(response, 429, { 'retry-after': '1' }, errorOf('TOOMANYREQUESTS'));
      },
    ],
    ['a cut connection', (_: unknown, response) => response.destroy()],
    ['silence', () => undefined],
  ] as const satisfies readonly (readonly [string, Parameters<FakeRegistry['fail']>[1]])[]) {
    test(`${title}, of a manifest and of a blob`, async () => {
      const image = await imageOf('x');
      await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
      registry.fail(/GET .*manifests\/1/, act);
      registry.fail(new RegExp(`GET .*${image.blobs[0]?.digest ?? ''}`), act);
      const begun = Date.now();
      await converted(remote(registry), newPlace('dir'), { sourceAccess: { ...FAST, idleTimeout: 300 } });
      if (title === '429') assert.ok(Date.now() - begun >= 1000, 'Retry-After is heeded');
    });
  }

  test('so often as it is asked, and no more', async () => {
    await using registry = (await FakeRegistry.start()).add({ 'app:1': await imageOf('x') });
    registry.fail(
      /GET .*manifests\/1/,
      (_, response) => {
        reply(response, 500);
      },
      100,
    );
    const error = await failure(remote(registry), newPlace('dir'), {
      selectors: selectors('app:1'),
      sourceAccess: { retryTimes: 2, retryDelay: 1 },
    }).catch((thrown: unknown) => thrown);
    assert.ok(refusal('REGISTRY', '500')(error));
    assert.equal(registry.asked(/manifests\/1/).length, 3);
  });
});

describe('push', () => {
  test('sends blobs, members, the index, and the tag last', async () => {
    const multi = indexOf([await imageOf('a'), await imageOf('b', { platform: 'linux/arm64' })]);
    const tree = layTree(tempFolder(), { 'app:1': multi });
    await using registry = await FakeRegistry.start();
    await converted(place('dir', tree), remote(registry));
    const puts = registry
      .asked(/^PUT/)
      .map((line) => (line.includes('/blobs/') ? 'blob' : line.split('/').at(-1)));
    assert.equal(puts.at(-1), '1');
    assert.deepEqual(puts.slice(-3, -1).sort(), multi.members.map(({ digest }) => digest).sort());
    assert.ok(puts.slice(0, -3).every((one) => one === 'blob'));
  });

  test('sends a manifest that another one has as a layer as a blob too', async () => {
    const one = await imageOf('a');
    const both = nestedOf([one, recordOf(one.root, 'layer')]);
    await using registry = await FakeRegistry.start();
    await converted(place('reg', layStore(tempFolder(), { 'app:1': both })), remote(registry));
    const blobs = registry.asked(/^PUT.*\/blobs\//).map((line) => /digest=([^&]*)/.exec(line)?.[1] ?? '');
    assert.ok(blobs.map(decodeURIComponent).includes(one.root.digest));
    const back = newPlace('dir');
    await converted(remote(registry), back);
    assert.deepEqual(await namesOf(back), { 'app:1': both.root.digest });
  });

  test('sends a blob once, and mounts it in other repositories', async () => {
    const base = randomBytes(100_000);
    const tree = layTree(tempFolder(), {
      'one:1': await imageOf('1', { base }),
      'two:1': await imageOf('2', { base }),
      'three:1': await imageOf('3', { base }),
    });
    await using registry = await FakeRegistry.start();
    await converted(place('dir', tree), remote(registry));
    const baseDigest = (await imageOf('1', { base })).blobs[1]?.digest ?? '';
    const about = registry.asked(new RegExp(encodeURIComponent(baseDigest)));
    assert.equal(about.filter((line) => line.startsWith('PUT')).length, 1);
    assert.equal(about.filter((line) => /^POST .*mount=/.test(line)).length, 2);
  });

  test('asks for the blobs of an image side by side', async () => {
    const tree = layTree(tempFolder(), { 'app:1': await imageOf('1', { base: randomBytes(1000) }) });
    await using registry = await FakeRegistry.start();
    const asked = () => registry.asked(/^HEAD .*blobs/).length;
    registry.fail(
      /^HEAD .*blobs/,
      async (request, response) => {
        await until('the others', () => asked() === 3); // Its config and layers.
        await registry.answer(request, response);
      },
      Infinity,
    );
    await converted(place('dir', tree), remote(registry));
    assert.equal(asked(), 3);
  });

  test('a plan asks for manifests as such, and knows those that are there', async () => {
    const multi = indexOf([await imageOf('a'), await imageOf('b', { platform: 'linux/arm64' })]);
    const tree = layTree(tempFolder(), { 'multi:1': multi });
    await using registry = await FakeRegistry.start();
    await converted(place('dir', tree), remote(registry));
    const { plan } = await convert(place('dir', tree), remote(registry), { dryRun: true });
    const manifests = [multi.root, ...multi.members];
    assert.equal(plan?.present.blobs, manifests.length + multi.blobs.length);
    for (const { digest } of manifests)
      assert.deepEqual(registry.asked(new RegExp(`blobs/(?:${digest}|${encodeURIComponent(digest)})`)), []);
  });

  test('from the same registry moves no bytes', async () => {
    await using registry = (await FakeRegistry.start()).add({ 'app:1': await imageOf('x') });
    await converted(remote(registry, '/app:1'), remote(registry, '/copy'), { selectors: selectors('app:1') });
    assert.deepEqual(registry.asked(/GET .*blobs\/sha|^PUT .*blobs/), []);
    assert.ok(registry.manifests.get('copy/app')?.has('1'));
  });

  test('in chunks, where the registry takes no large bodies', async () => {
    const { image } = await largeImage(9 * 1024 * 1024);
    const tree = layTree(tempFolder(), { 'app:1': image });
    await using registry = await FakeRegistry.start({ maxBody: 5 * 1024 * 1024 });
    await converted(place('dir', tree), remote(registry));
    assert.ok(registry.asked(/^PATCH/).length > 2);
    await converted(remote(registry), newPlace('dir'));
  });

  test('that breaks off goes on where the registry stands', async () => {
    const { image, digest } = await largeImage(12 * 1024 * 1024);
    const tree = layTree(tempFolder(), { 'app:1': image });
    await using registry = await FakeRegistry.start();
    let received = 0;
    registry.fail(new RegExp(`^PUT .*blobs.*${encodeURIComponent(digest)}`), async (request, response) => {
      const answering = registry.answer(request, response);
      request.on('data', (chunk: Buffer) => {
        received += chunk.length;
        if (received > 4_000_000) request.destroy();
      });
      await answering;
    });
    await converted(place('dir', tree), remote(registry));
    const whole = registry.asked(new RegExp(`^PUT .*${encodeURIComponent(digest)}`)).length;
    assert.deepEqual([whole, registry.asked(/^GET .*uploads/).length], [2, 1]);
    assert.ok(registry.asked(/^PATCH/).length >= 1);
    assert.ok(registry.blobs.has(digest));
  });

  test('lists what speaks of an image under the referrers tag, where the registry does not', async () => {
    const image = await imageOf('x');
    const speaking = ['a', 'b'].map((text) => {
      const { root, ...rest } = artifactOf(text);
      const manifest = JSON.parse(root.bytes.toString()) as object;
      return { ...rest, root: part(OCI.manifest, { ...manifest, subject: descriptorOf(image.root) }) };
    });
    const [one, other] = speaking;
    assert.ok(one !== undefined && other !== undefined);
    const tree = layTree(tempFolder(), {
      'app:1': image,
      [`app@${one.root.digest}`]: one,
      [`app@${other.root.digest}`]: other,
    });
    for (const referrers of [false, true]) {
      await using registry = await FakeRegistry.start({ referrers });
      await converted(place('dir', tree), remote(registry));
      const tag = `sha256-${hex(image.root.digest)}`;
      const index = registry.manifests.get('app')?.get(tag);
      assert.equal(index === undefined, referrers);
      if (index !== undefined) {
        const { manifests } = JSON.parse(index.bytes.toString()) as { manifests: { digest: string }[] };
        assert.deepEqual(
          manifests.map((entry) => entry.digest).sort(),
          speaking.map(({ root }) => root.digest).sort(),
        );
      }
      const back = newPlace('dir');
      await converted(remote(registry), back, { selectors: selectors('app:1') });
      const names = filesIn(back.path).filter((name) => name.endsWith('/manifest.json'));
      assert.equal(names.length, referrers ? 3 : 2);
      await converted(place('dir', tree), remote(registry), {}, 'unchanged');
    }
  });

  test('carries layers that an engine saved without a manifest compressed, as docker push does', async () => {
    await using registry = await FakeRegistry.start();
    await converted(place('tar', fixture('docker20.tar')), remote(registry));
    const { bytes } = registry.manifests.get('demo/base')?.get('1') ?? { bytes: Buffer.alloc(0) };
    assert.match(bytes.toString(), /tar\.gzip/);
    assert.ok(
      [...registry.blobs.values()].some((blob) => blob.subarray(0, 2).equals(gzipSync('').subarray(0, 2))),
    );
  });

  test('fails where the registry lacks what it took, and shows nothing', async () => {
    const tree = layTree(tempFolder(), { 'app:1': await imageOf('x') });
    await using registry = await FakeRegistry.start();
    registry.fail(/^PUT .*manifests/, (request, response) => {
      request.resume();
      reply(response, 400, {}, errorOf('MANIFEST_INVALID', 'no'));
    });
    const error = await failure(place('dir', tree), remote(registry));
    assert.ok(refusal('REGISTRY', 'MANIFEST_INVALID: no')(error));
    assert.equal(registry.manifests.get('app')?.has('1') ?? false, false);
  });
});

describe('a list of references from a pipe', () => {
  const LINES = {
    save: (host: string) =>
      `imgconv images deploy | sed s,host.example,${host}, | imgconv save ./store --images-file - --src-tls-verify=false`,
    'save with references beside it': (host: string) =>
      `echo ${host}/app:1 | imgconv save ${host}/other:1 ./store --images-file - --src-tls-verify=false`,
    copy: (host: string) =>
      `echo ${host}/app:1 | imgconv copy docker://${host} reg:./store --images-file - --src-tls-verify=false`,
    sync: (host: string) =>
      `echo ${host}/app:1 | imgconv sync --src list --dest reg - ./store --src-tls-verify=false`,
  } as const;
  for (const [title, line] of Object.entries(LINES))
    test(title, async () => {
      await using registry = await FakeRegistry.start();
      const tree = layTree(tempFolder(), {
        'app:1': await imageOf('app'),
        'other:1': await imageOf('other'),
      });
      await converted(place('dir', tree), remote(registry));
      const folder = tempFolder();
      mkdirSync(join(folder, 'deploy'));
      writeFileSync(
        join(folder, 'deploy/pod.yaml'),
        'apiVersion: v1\nkind: Pod\nspec: {containers: [{image: host.example/app:1}]}\n',
      );
      const imgconv = `imgconv() { ${process.execPath} ${join(projectRoot, 'bin/imgconv.js')} "$@"; }`;
      // It throws what stderr says when the exit status is not 0.
      await promisify(execFile)('bash', ['-o', 'pipefail', '-c', `${imgconv}; ${line(registry.host)}`], {
        cwd: folder,
      });
      const names = Object.keys(await namesOf(place('reg', join(folder, 'store'))));
      assert.ok(names.includes('app:1'), names.join(' '));
    });
});
