import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { artifactOf, imageOf, indexOf, layStore, type Sample } from '../support/images.js';
import { contentsOf, stateOf } from '../support/snapshot.js';
import { skopeoManual } from '../support/skopeo-manual.js';
import {
  imgconv,
  missingPeers,
  newFolder,
  outcomeOf,
  projectRoot,
  run,
  scratchFolder,
  tidy,
} from './peers.js';
import { Registry } from './registry-peer.js';
import { tagsOfStore } from './samples.js';

const skip = missingPeers('docker-registry', 'skopeo');

/** What an imgconv that may fail says. */
function attempt(...words: string[]) {
  return outcomeOf(process.execPath, [join(projectRoot, 'bin/imgconv.js'), ...words]);
}

/** Images of the names of skopeo's manual and of the Helm example, in a registry of their own. */
async function content(): Promise<Record<string, Sample>> {
  const one = (text: string) => imageOf(text);
  const multi = indexOf([
    await imageOf('amd64', { platform: 'linux/amd64' }),
    await imageOf('arm64', { platform: 'linux/arm64' }),
  ]);
  return {
    'team/multi:1': multi,
    'charts/demo:0.1.0': artifactOf('demo'),
    'library/ubuntu:latest': await one('ubuntu'),
    'busybox:1-glibc': await one('glibc'),
    'busybox:1-musl': multi,
    'redis:1.0': await one('redis 1'),
    'redis:2.0': await one('redis 2'),
    'redis:3.0': await one('redis 3'),
    'redis:pinned': await one('redis by digest'),
    'nginx:1.13.1-alpine-perl': await one('nginx 1'),
    'nginx:1.13.2-alpine-perl': await one('nginx 2'),
    'nginx:1.13.3-alpine-perl': await one('nginx 3'),
    'alpine:3.11.9': await one('alpine 3.11'),
    'alpine:3.12.0': await one('alpine 3.12'),
    'alpine:v4.0.0': await one('alpine 4'),
    'alpine:3.13.0-rc1': await one('alpine rc'),
    'coreos/etcd:latest': await one('etcd'),
    'coreos/etcd:old': await one('old etcd'),
  };
}

describe('from and into registries', { skip }, () => {
  let scratch = '';
  let images: Record<string, Sample> = {};
  let registry: Registry;
  const digest = (name: string) => images[name]?.root.digest ?? '';

  before(async () => {
    scratch = await scratchFolder();
    images = await content();
    registry = await Registry.start(layStore(await newFolder(scratch), images), scratch);
  });
  after(async () => {
    await registry.stop();
    await tidy(scratch);
  });

  /** What the registry was asked since the last look: `HEAD /v2/…`. */
  let seen = 0;
  async function requests(): Promise<string[]> {
    const log = await readFile(join(scratch, `${registry.host.replace(':', '-')}.yml.log`), 'utf8');
    const all = [...log.matchAll(/"((?:GET|HEAD|PUT|POST|PATCH) \S+) HTTP/g)].map(
      ([, request = '']) => request,
    );
    const fresh = all.slice(seen);
    seen = all.length;
    return fresh;
  }

  test('save: a list with an index and a Helm chart, served with the same digests', async () => {
    const store = await newFolder(scratch);
    const list = join(store, 'list.txt');
    const { host } = registry;
    await writeFile(
      list,
      `# a list\n${host}/team/multi:1\noci://${host}/charts/demo:0.1.0\n${host}/team/multi:1 # again\n`,
    );
    const target = join(store, 'store');
    const report = await imgconv('save', `${host}/library/ubuntu`, target, '--images-file', list);
    assert.match(report, /^3 images: 3 written; /m);
    const names = ['team/multi:1', 'charts/demo:0.1.0', 'library/ubuntu:latest'];
    const expected = Object.fromEntries(names.map((name) => [name, digest(name)]));
    assert.deepEqual(await tagsOfStore(target), expected);
    const served = await Registry.start(target, scratch);
    try {
      for (const name of names) assert.equal(await served.pullWhole(name), digest(name), name);
      for (const name of names) {
        const dir = await newFolder(scratch);
        const words = [
          'copy',
          '--all',
          '--src-tls-verify=false',
          `docker://${served.host}/${name}`,
          `dir:${dir}`,
        ];
        await run('skopeo', ['--insecure-policy', ...words]);
        const { root, members } = images[name] ?? { root: undefined, members: [] };
        assert.deepEqual(await readFile(join(dir, 'manifest.json')), root?.bytes, name);
        for (const { digest: of, bytes } of members)
          assert.deepEqual(await readFile(join(dir, `${of.slice(7)}.manifest.json`)), bytes);
      }
    } finally {
      await served.stop();
    }

    const before = stateOf(target);
    await requests();
    const again = await imgconv('save', target, '--images-file', list);
    assert.match(again, /^2 images: 0 written, 2 unchanged; /m);
    assert.deepEqual(stateOf(target), before, 'the second run touched the store');
    const asked = (await requests()).filter((request) => !/\/referrers\/|\/manifests\/sha256-/.test(request));
    assert.deepEqual(
      asked.filter((request) => request !== 'GET /v2/').sort(),
      ['HEAD /v2/charts/demo/manifests/0.1.0', 'HEAD /v2/team/multi/manifests/1'],
      'what the store holds is asked for no more',
    );
  });

  test('save: --platform, --scoped, another format, and an image that is not there', async () => {
    const folder = await newFolder(scratch);
    const { host } = registry;
    const { status, stdout, stderr } = await attempt(
      ...['save', `${host}/team/multi:1`, `${host}/no/such:1`, `oci:${folder}/layout`],
      ...['--platform', 'linux/arm64'],
    );
    assert.equal(status, 1);
    assert.match(stderr, /no\/such:1: no such image/);
    const member = images['team/multi:1']?.members[1]?.digest ?? '';
    assert.ok(stdout.includes(`team/multi:1 ${member} (from ${digest('team/multi:1')})`), stdout);
    await imgconv('save', `${host}/coreos/etcd`, `dir:${folder}/tree`, '--scoped');
    assert.ok(
      Object.keys(contentsOf(join(folder, 'tree', host))).includes('coreos/etcd:latest/manifest.json'),
    );
  });

  test('push: a store below a prefix, chosen images, again without a change', async () => {
    const target = await Registry.start(await newFolder(scratch), scratch);
    try {
      const store = layStore(await newFolder(scratch), images);
      const words = ['push', store, `docker://${target.host}/mirror/site`, 'team/*:*', 'charts/**'];
      assert.match(await imgconv(...words), /^2 images: 2 written; /m);
      assert.deepEqual(await target.names(), ['mirror/site/charts/demo:0.1.0', 'mirror/site/team/multi:1']);
      for (const name of ['charts/demo:0.1.0', 'team/multi:1'])
        assert.equal(await target.pullWhole(`mirror/site/${name}`), digest(name));
      assert.match(await imgconv(...words), /^2 images: 0 written, 2 unchanged; /m);
    } finally {
      await target.stop();
    }
  });

  const manual = () => skopeoManual(digest('redis:pinned'));
  const mirrors = () =>
    ['registry.example.com', 'quay.io'].flatMap((host) => [
      '--registry-mirror',
      `${host}=http://${registry.host}`,
    ]);

  test("sync: the YAML of skopeo's manual into a registry; a second run changes nothing", async () => {
    const file = join(await newFolder(scratch), 'sync.yml');
    await writeFile(file, manual());
    const store = await newFolder(scratch);
    const target = await Registry.start(store, scratch);
    const digests = join(scratch, 'digests.txt');
    try {
      const words = ['sync', '--src', 'yaml', '--dest', 'docker', '--all', file, `${target.host}/repo/`];
      const said = await imgconv(...words, ...mirrors(), '--digestfile', digests);
      assert.match(said, /^10 images: 10 written; /m);
      const expected = {
        ...Object.fromEntries(
          [
            ...['busybox:1-glibc', 'busybox:1-musl', 'redis:1.0', 'redis:2.0'],
            ...['nginx:1.13.1-alpine-perl', 'nginx:1.13.2-alpine-perl', 'alpine:3.12.0', 'alpine:v4.0.0'],
          ].map((name) => [`repo/${name}`, digest(name)]),
        ),
        'repo/etcd:latest': digest('coreos/etcd:latest'),
      };
      assert.deepEqual(await tagsOfStore(store), expected);
      const pinned = `repo/redis@${digest('redis:pinned')}`;
      for (const name of [...Object.keys(expected), pinned]) await target.pullWhole(name);
      const lines = [...Object.entries(expected), [pinned, digest('redis:pinned')]];
      assert.deepEqual(
        (await readFile(digests, 'utf8')).trim().split('\n').sort(),
        lines.map(([name = '', of = '']) => `${of} docker://${target.host}/${name}`).sort(),
      );
      const before = stateOf(store);
      assert.match(await imgconv(...words, ...mirrors()), /^10 images: 0 written, 10 unchanged; /m);
      assert.deepEqual(stateOf(store), before);
    } finally {
      await target.stop();
    }
  });

  test("sync: a repository into a tree as skopeo's, with this machine's platform or all", async () => {
    const { host } = registry;
    const [ours, theirs] = [await newFolder(scratch), await newFolder(scratch)];
    for (const all of [[], ['--all']]) {
      const name = all.join('') || 'one';
      const words = ['sync', '--src', 'docker', '--dest', 'dir', ...all];
      await imgconv(...words, `${host}/busybox`, join(ours, name));
      await run('skopeo', [
        ...['--insecure-policy', ...words, '--src-tls-verify=false', `${host}/busybox`, join(theirs, name)],
      ]);
    }
    assert.deepEqual(contentsOf(ours), contentsOf(theirs));
    const before = stateOf(ours);
    await imgconv('sync', '--src', 'docker', '--dest', 'dir', `${host}/busybox`, join(ours, 'one'));
    assert.deepEqual(stateOf(ours), before);
  });

  test('sync: names, suffixes, lists, and what fails', async () => {
    const { host } = registry;
    const store = await newFolder(scratch);
    const reg = (...words: string[]) => attempt('sync', '--src', 'docker', '--dest', 'reg', ...words);
    assert.equal((await reg(`${host}/coreos/etcd`, store, '--append-suffix', '-mirror')).status, 0);
    assert.equal((await reg(`${host}/coreos/etcd:old`, store, '--rename', 'coreos=kept/deep')).status, 0);
    const list = join(await newFolder(scratch), 'list');
    await writeFile(list, `${host}/redis:1.0 cache/redis:one\n${host}/no/such:1\n${host}/redis:2.0\n`);
    const failing = ['sync', '--src', 'list', '--dest', 'reg', list, store];
    const stopped = await attempt(...failing);
    assert.equal(stopped.status, 1, stopped.stderr);
    const going = await attempt(...failing, '--keep-going');
    assert.equal(going.status, 1);
    assert.match(going.stderr, /no\/such:1/);
    assert.deepEqual(await tagsOfStore(store), {
      'cache/redis:one': digest('redis:1.0'),
      'etcd:latest-mirror': digest('coreos/etcd:latest'),
      'etcd:old-mirror': digest('coreos/etcd:old'),
      'kept/deep/etcd:old': digest('coreos/etcd:old'),
      'redis:2.0': digest('redis:2.0'),
    });
    const dry = await reg(`${host}/nginx`, join(store, 'dry'), '--dry-run');
    assert.match(dry.stdout, /^planned {3}nginx:1\.13\.1-alpine-perl sha256:/m);
    assert.deepEqual(stateOf(join(store, 'dry')), {});
  });

  test('sync: what a sync file asks for in vain fails, and says its line', async () => {
    const file = join(await newFolder(scratch), 'sync.yml');
    const store = await newFolder(scratch);
    const yaml = `${registry.host}:\n  images:\n    redis: ["1.0"]\n    no/such: []\n  images-by-semver:\n    nginx: ">99"\n`;
    await writeFile(file, yaml);
    const words = ['sync', '--src', 'yaml', '--dest', 'reg', file, store];
    const stopped = await attempt(...words);
    assert.equal(stopped.status, 1);
    assert.match(stopped.stderr, /sync\.yml:4: .*no\/such: there is no such repository/);
    assert.deepEqual(stateOf(join(store, 'docker')), {});
    const going = await attempt(...words, '--keep-going');
    assert.equal(going.status, 1);
    assert.match(going.stderr, /sync\.yml:6: .*nginx: no tag fits/);
    assert.deepEqual(await tagsOfStore(store), { 'redis:1.0': digest('redis:1.0') });
  });
});
