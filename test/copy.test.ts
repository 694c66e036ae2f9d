import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { imgconv } from './support/cli.js';
import { FakeRegistry } from './support/fake-registry.js';
import { fixture } from './support/fixtures.js';
import { artifactOf, imageOf, indexOf, layTree, type Sample } from './support/images.js';
import { namesOf, place } from './support/places.js';
import { tempFolder } from './support/temp.js';

const OLD = await imageOf('old');
const NEW = await imageOf('new');
const IMAGES = { 'team/app:1': await imageOf('one'), 'team/app:latest': await imageOf('two') };

/** Runs it, and expects that it succeeds. */
async function run(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await imgconv(args);
  assert.equal(status, 0, stderr);
  return stdout;
}

async function refused(...args: readonly string[]): Promise<string> {
  const { status, stderr } = await imgconv(args);
  assert.equal(status, 2, stderr);
  return stderr;
}

async function serving(images: Readonly<Record<string, Sample>> = IMAGES): Promise<FakeRegistry> {
  return (await FakeRegistry.start()).add(images);
}

function hasSkopeo(): boolean {
  try {
    execFileSync('skopeo', ['--version']);
    return true;
  } catch {
    return false;
  }
}

describe('copy of one image that SRC names', () => {
  test("is skopeo's directory itself, and is unchanged when it is copied again", async () => {
    await using registry = await serving();
    const folder = join(tempFolder(), 'x');
    const copy = ['copy', `docker://${registry.host}/team/app:1`, `dir:${folder}`];
    assert.match(await run(...copy, '--dry-run'), /^planned {3}team\/app:1 /);
    assert.equal(existsSync(folder), false);
    assert.match(await run(...copy), /^written {3}team\/app:1 /);
    assert.ok(existsSync(join(folder, 'manifest.json')));
    assert.match(await run(...copy), /^unchanged team\/app:1 /);
    assert.match(await run('verify', folder), /1 image checked, 0 broken/);
    assert.match(await run('ls', `dir:${folder}`), new RegExp(IMAGES['team/app:1'].root.digest));
    if (hasSkopeo())
      execFileSync('skopeo', ['--insecure-policy', 'copy', '-q', `dir:${folder}`, `oci:${folder}-oci:1`]);
  });

  test('goes into no folder with something else in it, unless --tree is given', async () => {
    const tree = layTree(tempFolder(), IMAGES);
    const from = `dir:${join(tree, 'team/app:1')}`;
    const before = readdirSync(tree);
    assert.match(
      (await imgconv(['copy', from, `dir:${tree}`])).stderr,
      /not the directory of one image\n {2}add --tree/,
    );
    assert.deepEqual(readdirSync(tree), before);
    const other = tempFolder();
    writeFileSync(join(other, 'notes.txt'), 'mine');
    assert.equal((await imgconv(['copy', from, `dir:${other}`])).status, 1);
    assert.deepEqual(readdirSync(other), ['notes.txt']);
    await run('copy', from, `dir:${join(other, 'tree')}`, '--tree', '-t', 'a/b:2');
    assert.deepEqual(Object.keys(await namesOf(place('dir', join(other, 'tree')))), ['a/b:2']);
  });

  test('says how many attached artifacts a directory of one image leaves out', async () => {
    const image = await imageOf('signed');
    await using registry = await serving({
      'app:1': image,
      [`app:${image.root.digest.replace(':', '-')}.sig`]: artifactOf('signature'),
    });
    const stdout = await run('copy', `docker://${registry.host}/app:1`, `dir:${join(tempFolder(), 'x')}`);
    assert.match(stdout, /note: 1 attached artifact left out: .*--tree takes them/);
  });

  test('gets the name of the target reference, :latest without a tag', async () => {
    await using registry = await FakeRegistry.start();
    const layout = join(tempFolder(), 'l');
    const tree = layTree(tempFolder(), IMAGES);
    await run('copy', `dir:${tree}`, `oci:${layout}`);
    await run('copy', `oci:${layout}:team/app:1`, `docker://${registry.host}/zz/p`);
    await run('copy', `oci:${layout}:team/app:1`, `docker://${registry.host}/zz/p:7`);
    assert.deepEqual([...registry.manifests.keys()], ['zz/p']);
    assert.deepEqual(
      [...(registry.manifests.get('zz/p')?.keys() ?? [])].filter((key) => !key.startsWith('sha256:')).sort(),
      ['7', 'latest'],
    );
    assert.match(
      await refused('copy', `oci:${layout}`, `docker://${registry.host}/zz/q`),
      /zz\/q:latest is the name of one image, and there are 2\n.*docker:\/\/\S+\/zz\/q\/, puts all/,
    );
    await run('copy', `oci:${layout}`, `docker://${registry.host}/zz/q/`);
    assert.deepEqual([...registry.manifests.keys()].sort(), ['zz/p', 'zz/q/team/app']);
  });

  test('is latest of a repository without a tag; --all-tags and :* are all', async () => {
    await using registry = await serving();
    const from = `docker://${registry.host}/team/app`;
    const [one, all, glob] = [tempFolder(), tempFolder(), tempFolder()];
    await run('copy', from, `reg:${one}`);
    await run('copy', '--all-tags', from, `reg:${all}`);
    await run('copy', `${from}:*`, `reg:${glob}`);
    assert.deepEqual(Object.keys(await namesOf(place('reg', one))), ['team/app:latest']);
    const names = Object.keys(IMAGES);
    for (const store of [all, glob]) assert.deepEqual(Object.keys(await namesOf(place('reg', store))), names);
    assert.match(await refused('copy', '--all-tags', `${from}:1`, `reg:${one}`), /--all-tags: /);
  });
});

describe('places without a prefix', () => {
  test('save writes an archive by its ending, and into what is there in its format', async () => {
    await using registry = await serving();
    const folder = tempFolder();
    const ref = `${registry.host}/team/app:1`;
    for (const file of ['out.tar', 'out.tar.gz', 'out.tgz', 'out.tar.zst']) {
      await run('save', ref, join(folder, file));
      assert.deepEqual(Object.keys(await namesOf(place('tar', join(folder, file)))), [ref]);
    }
    const layout = join(folder, 'layout');
    await run('copy', `docker://${ref}`, `oci:${layout}`);
    await run('save', `${registry.host}/team/app`, layout);
    assert.equal(Object.keys(await namesOf(place('oci', layout))).length, 2);
    await run('save', ref, join(folder, 'store'));
    assert.deepEqual(Object.keys(await namesOf(place('reg', join(folder, 'store')))), ['team/app:1']);
  });

  test('copy finds the format of a source and of a target', async () => {
    const folder = tempFolder();
    const tree = layTree(tempFolder(), IMAGES);
    await run('copy', tree, join(folder, 'a.tar'));
    await run('copy', join(folder, 'a.tar'), join(folder, 'b/'));
    assert.deepEqual(Object.keys(await namesOf(place('reg', join(folder, 'b')))), Object.keys(IMAGES));
    assert.match(await refused('copy', tree, 'ocii:x'), /did you mean oci:x\?/);
  });

  test('push takes HOST/PREFIX', async () => {
    await using registry = await FakeRegistry.start();
    await run('push', layTree(tempFolder(), IMAGES), `${registry.host}/mirror`);
    assert.deepEqual([...registry.manifests.keys()], ['mirror/team/app']);
  });
});

describe('what a tag of the target had before', () => {
  for (const kind of ['reg', 'oci', 'dir', 'docker'] as const)
    test(`is said by ${kind}:, and kept with --no-overwrite`, async () => {
      await using registry = await FakeRegistry.start();
      const target = kind === 'docker' ? `docker://${registry.host}/mirror/` : `${kind}:${tempFolder()}/t`;
      const name = kind === 'docker' ? `${registry.host}/mirror/demo/app:1` : 'demo/app:1';
      const [old, fresh] = [OLD, NEW].map((image) => `dir:${layTree(tempFolder(), { 'demo/app:1': image })}`);
      await run('copy', old ?? '', target, '--no-overwrite', '--tree');
      assert.match(await run('copy', old ?? '', target, '--no-overwrite', '--tree'), /^unchanged /);
      for (const more of [[], ['--dry-run']]) {
        const { status, stderr } = await imgconv(['copy', fresh ?? '', target, '--no-overwrite', ...more]);
        assert.equal(status, 1);
        assert.match(
          stderr,
          new RegExp(`demo/app:1: the target has another image of this name, ${OLD.root.digest}`),
        );
      }
      assert.match(
        await run('ls', kind === 'docker' ? `docker://${name}` : target),
        new RegExp(OLD.root.digest),
      );
      const said = `${name} ${NEW.root.digest} (was ${OLD.root.digest})\n`;
      assert.ok((await run('copy', fresh ?? '', target, '--dry-run')).startsWith(`planned   ${said}`));
      const stdout = await run('copy', fresh ?? '', target);
      assert.ok(stdout.startsWith(`updated   ${said}`), stdout);
      assert.match(stdout, /1 image: 0 written, 1 updated; /);
      const { images } = JSON.parse(await run('copy', old ?? '', target, '--json')) as {
        images: Record<string, unknown>[];
      };
      const [{ status, digest, previousDigest, sourceDigest, reference }] = images as [
        Record<string, unknown>,
      ];
      assert.deepEqual(
        { status, digest, previousDigest, sourceDigest, reference },
        {
          status: 'updated',
          digest: OLD.root.digest,
          previousDigest: NEW.root.digest,
          sourceDigest: OLD.root.digest,
          reference: kind === 'docker' ? name : 'demo/app:1',
        },
      );
    });
});

const ARM = await imageOf('arm', { platform: 'linux/arm64' });
const BOTH = indexOf([await imageOf('amd'), ARM]);

describe("skopeo's and crane's options", () => {
  test('choose platforms', async () => {
    const tree = `dir:${layTree(tempFolder(), { 'app:1': BOTH })}`;
    for (const [options, digest] of [
      [['--override-os', 'linux', '--override-arch', 'arm64'], ARM.root.digest],
      [['--override-arch=arm64', '--multi-arch', 'system'], ARM.root.digest],
      [['--platform', 'linux/arm64'], ARM.root.digest],
      [['-a', '--preserve-digests', '--insecure-policy', '--remove-signatures'], BOTH.root.digest],
      [['--multi-arch', 'all'], BOTH.root.digest],
    ] as const)
      assert.match(
        await run('copy', tree, `oci:${tempFolder()}/l`, ...options),
        new RegExp(`^written +app:1 ${digest}`),
      );
    for (const [options, meant] of [
      [['--multi-arch', 'index-only'], /use --all for all platforms, or --platform/],
      [['--override-arch', 'arm64', '--platform', 'linux/amd64'], /leave one of them out/],
      [['--preserve-digests', '--compression', 'zstd', '--recompress'], /new layers have new digests/],
      [['--additional-tag', 'x:2'], /for one image, whose first name follows the target/],
    ] as const)
      assert.match(await refused('copy', tree, `oci:${tempFolder()}/l`, ...options), meant);
  });

  test('keep digests: what would change one fails, also when it is only planned', async () => {
    for (const [options, meant] of [
      [[], /demo\/base:1: the digest would change from sha256:\w+ to sha256:/],
      [['--dry-run'], /demo\/base:1: the digest would change from sha256:\w+: 1 layer will be gzip/],
    ] as const) {
      const target = `${tempFolder()}/store`;
      const words = ['tar2reg', fixture('docker20.tar'), target, 'demo/base:1', '--preserve-digests'];
      const { status, stderr } = await imgconv([...words, ...options]);
      assert.equal(status, 1);
      assert.match(stderr, meant);
      assert.ok(!existsSync(target));
    }
  });

  test('speak to registries, and write the digest to a file', async () => {
    await using registry = await serving();
    const file = join(tempFolder(), 'digest');
    for (const option of ['--tls-verify=false', '--insecure'])
      await run(
        ...['copy', `docker://${registry.host}/team/app`, `oci:${tempFolder()}/l`],
        ...[option, '--digestfile', file],
      );
    assert.equal(readFileSync(file, 'utf8'), IMAGES['team/app:latest'].root.digest);
    const strict = ['ls', `docker://${registry.host}/team/app`, '--tls-verify=true', '--retry-times', '0'];
    assert.equal((await imgconv(strict)).status, 1);
  });

  test('--registry is where references without a host are', async () => {
    await using registry = await serving();
    const folder = tempFolder();
    const [list, store] = [join(folder, 'list'), join(folder, 'store')];
    writeFileSync(list, 'team/app:1\nteam/app other:2\n');
    const names = ['other:2', 'team/app:1'];
    for (const words of [
      ['save', store, '--images-file', list],
      ['copy', 'docker://', `reg:${store}2`, '--images-file', list],
    ]) {
      await run(...words, '--registry', registry.host);
    }
    for (const one of [store, `${store}2`])
      assert.deepEqual(Object.keys(await namesOf(place('reg', one))), names);
    await run('sync', '--src', 'list', '--dest', 'reg', list, `${store}3`, '--registry', registry.host);
    assert.match(
      await refused('save', 'app', store, '--registry', 'http://x/'),
      /--registry http:\/\/x\/: not a host/,
    );
  });

  test('--compression without --recompress says which layers it leaves', async () => {
    const tree = `dir:${layTree(tempFolder(), { 'app:1': OLD })}`;
    const stdout = await run('copy', tree, `oci:${tempFolder()}/l`, '--compression', 'zstd');
    assert.match(stdout, /note: 1 layer is gzip already: add --recompress to make it zstd\n/);
  });
});
