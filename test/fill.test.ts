import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { convert, inspectImages, parseImagesFile, saveImages, type Place } from '../src/index.js';
import { parseArguments } from '../src/cli/command-line.js';
import { COMMANDS } from '../src/cli/commands.js';
import { forPlatform } from '../src/requests/multi-arch.js';
import { targetsOf } from '../src/requests/fill.js';
import { chartPlace } from '../src/requests/chart-artifact.js';
import { imgconv } from './support/cli.js';
import { digestsOf, syncTree } from './support/fixtures.js';
import { imageIdsOf, namesOf, newPlace, place } from './support/places.js';
import { SmallRegistry } from './support/small-registry.js';
import { contentsOf } from './support/snapshot.js';
import { tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';

const digests = digestsOf('sync.tar');

/** Stands for the internet: images of the sample tree, below its own names and as Docker Hub's own. */
let internet: SmallRegistry;

before(async () => {
  internet = await SmallRegistry.start();
  const access = { tlsVerify: false };
  const all = ['demo/app:1.0', 'demo/app:2.0', 'demo/base:1', 'demo/multi:1', 'helm-charts/demo:0.1.0'];
  const lines = [...all, 'demo/app:1.0 library/mysql:latest', 'demo/base:1 library/redis:7'];
  await convert(place('dir', syncTree()), docker(internet.host), {
    selectors: parseImagesFile(lines.join('\n'), 'test'),
    targetAccess: access,
  });
});

after(() => internet.stop());

function docker(host: string): Place {
  return place('docker', host);
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** A root folder as sealer's documentation describes it. */
async function sealerRoot(): Promise<string> {
  const root = join(tempFolder(), 'rootfs');
  const { host } = internet;
  write(
    join(root, 'manifests/imageList'),
    `# images\nmysql:latest\n${host}/demo/multi:1\noci://${host}/helm-charts/demo:0.1.0\n`,
  );
  write(
    join(root, 'manifests/dashboard/deployment.yaml'),
    `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: dashboard}\nspec: {template: {spec: {containers: [{name: web, image: "${host}/demo/app:2.0"}]}}}\n`,
  );
  write(join(root, 'charts/nginx/Chart.yaml'), 'apiVersion: v2\nname: nginx\nversion: 1.0.0\n');
  write(join(root, 'charts/nginx/values.yaml'), 'image: {repository: redis, tag: "7"}\n');
  mkdirSync(join(root, 'images'));
  const tree = place('dir', syncTree());
  for (const [file, line] of [
    ['one.tar', 'demo/dup:1'],
    ['two.tar', 'demo/base:1 demo/copy:1'],
  ] as const)
    await convert(tree, place('tar', join(root, 'images', file)), {
      selectors: parseImagesFile(line, 'test'),
    });
  write(join(root, 'images/registry.tar'), 'no archive at all');
  return root;
}

const SEALER = {
  'demo/app:2.0': digests['demo/app:2.0'],
  'demo/copy:1': digests['demo/base:1'],
  'demo/dup:1': digests['demo/dup:1'],
  'demo/multi:1': digests['demo/multi:1'],
  'helm-charts/demo:0.1.0': digests['helm-charts/demo:0.1.0'],
  'library/mysql:latest': digests['demo/app:1.0'],
  'library/redis:7': digests['demo/base:1'],
  'mysql:latest': digests['demo/app:1.0'],
  'redis:7': digests['demo/base:1'],
};

function fill(root: string, ...words: string[]) {
  return imgconv([
    'fill',
    root,
    '--registry-mirror',
    `docker.io=http://${internet.host}`,
    '--tls-verify=false',
    '--retry-times',
    '0',
    ...words,
  ]);
}

/** Without what is attached to an image. */
async function storedNames(root: string): Promise<Record<string, string>> {
  const names = await namesOf(place('reg', join(root, 'registry')));
  return Object.fromEntries(Object.entries(names).filter(([name]) => !name.includes(':sha256-')));
}

describe('imgconv fill', () => {
  test('fills the registry of a sealer folder: archives, lists, manifests and charts', async () => {
    const root = await sealerRoot();
    const { status, stderr } = await fill(root);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /registry\.tar: left in place/);
    assert.deepEqual(await storedNames(root), SEALER);
    const checked = await imgconv(['fill', root, '--check']);
    assert.deepEqual([checked.status, checked.stdout], [0, '7 images named, 0 differences\n']);
  });

  test('a second run fetches nothing', async () => {
    const root = await sealerRoot();
    await fill(root);
    const before = contentsOf(join(root, 'registry'));
    internet.requests.length = 0;
    const { status, stdout } = await fill(root);
    assert.equal(status, 0);
    assert.match(stdout, /0 written, \d+ unchanged/);
    assert.deepEqual(
      internet.requests.filter((one) => /^GET .*\/blobs\//.test(one)),
      [],
    );
    assert.deepEqual(contentsOf(join(root, 'registry')), before);
  });

  test('goes on where a run broke off', async () => {
    const root = await sealerRoot();
    const { status } = await imgconv([
      'fill',
      root,
      '--registry-mirror',
      `docker.io=http://127.0.0.1:1`,
      '--retry-times',
      '0',
    ]);
    assert.equal(status, 1);
    const { stdout } = await fill(root);
    assert.match(stdout, /^unchanged demo\/dup:1/m);
    assert.deepEqual(await storedNames(root), SEALER);
  });

  test('takes images from other places before their registries', async () => {
    const root = await sealerRoot();
    const store = newPlace('reg');
    await convert(place('dir', syncTree()), store, {
      selectors: parseImagesFile('demo/app:1.0 library/mysql:latest\ndemo/multi:1\ndemo/app:2.0', 'test'),
    });
    internet.requests.length = 0;
    const { status } = await fill(root, '--from', `reg:${store.path}`);
    assert.equal(status, 0);
    assert.deepEqual(
      internet.requests.filter((one) => /mysql|demo\/multi|demo\/app\//.test(one)),
      [],
    );
    assert.deepEqual(await storedNames(root), SEALER);
  });

  test('--dry-run writes nothing', async () => {
    const root = await sealerRoot();
    const { status, stdout } = await fill(root, '--dry-run');
    assert.equal(status, 0);
    assert.match(stdout, /^planned +mysql:latest/m);
    assert.deepEqual(contentsOf(join(root, 'registry')), {});
  });

  test('two registries with different images of one name are refused before anything is written', async () => {
    const root = await sealerRoot();
    const other = await SmallRegistry.start();
    try {
      await convert(place('dir', syncTree()), docker(other.host), {
        selectors: parseImagesFile('demo/app:1.0 demo/app:2.0', 'test'),
        targetAccess: { tlsVerify: false },
      });
      write(join(root, 'manifests/more/imageList'), `${other.host}/demo/app:2.0\n`);
      const { status, stderr } = await fill(root);
      assert.equal(status, 1);
      assert.match(stderr, /demo\/app:2\.0/);
      assert.deepEqual(contentsOf(join(root, 'registry')), {});
    } finally {
      await other.stop();
    }
  });

  test('--check finds each difference that was planted', async () => {
    const root = await sealerRoot();
    await fill(root);
    const store = join(root, 'registry');
    assert.equal((await imgconv(['rm', store, 'demo/multi:1'])).status, 0);
    await convert(place('dir', syncTree()), place('reg', store), {
      selectors: parseImagesFile('demo/base:1 extra/one:1', 'test'),
    });
    const config =
      Object.values(await imageIdsOf(place('tar', join(root, 'images/one.tar'))))[0]?.slice(
        'sha256:'.length,
      ) ?? '';
    const blob = join(store, 'docker/registry/v2/blobs/sha256', config.slice(0, 2), config, 'data');
    const bytes = readFileSync(blob);
    bytes[10] = (bytes[10] ?? 0) ^ 1;
    rmSync(blob);
    writeFileSync(blob, bytes);
    const { status, stdout } = await imgconv(['fill', root, '--check', '--platform', 'linux/arm64']);
    assert.equal(status, 1);
    assert.match(stdout, /^missing +demo\/multi:1: named by .*imageList:3$/m);
    assert.match(stdout, /^unnamed +extra\/one:1: no file of the folder names it$/m);
    assert.match(stdout, /^platform +mysql:latest: is for linux\/amd64, not for linux\/arm64$/m);
    assert.match(stdout, new RegExp(`^damaged .*${config}`, 'm'));
    const json = await imgconv(['fill', root, '--check', '--json']);
    assert.equal(json.status, 1);
    assert.deepEqual(
      (JSON.parse(json.stdout) as { differences: { kind: string }[] }).differences
        .map(({ kind }) => kind)
        .sort(),
      ['damaged', 'missing', 'unnamed'],
    );
  });

  test('what cannot be determined is listed with file, line and field', async () => {
    const root = await sealerRoot();
    write(
      join(root, 'manifests/odd.yaml'),
      'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: "${REGISTRY}/x"}]}\n',
    );
    write(
      join(root, 'Kubefile'),
      'FROM kubernetes:v1.22.15\nCOPY imageList manifests\nCOPY images images\nCOPY https://example.com/a.yaml manifests\n',
    );
    const { stderr } = await imgconv(['fill', root, '--check']);
    assert.match(stderr, /not determined: .*odd\.yaml:4 spec\.containers\.0\.image: /);
    assert.match(stderr, /not determined: .*Kubefile:2 COPY: imageList is copied from elsewhere/);
    assert.match(stderr, /not determined: .*Kubefile:4 COPY: https:/);
    assert.doesNotMatch(stderr, /Kubefile:3/);
  });

  test('a folder without any of that is refused', async () => {
    const { status, stderr } = await imgconv(['fill', tempFolder()]);
    assert.equal(status, 2);
    assert.match(stderr, /no images, manifests or charts in it/);
  });
});

describe('other distributions', () => {
  test('sealos: lists in images/shim, and archives with names in images/skopeo', async () => {
    const root = join(tempFolder(), 'rootfs');
    write(
      join(root, 'images/shim/DefaultImageList'),
      `mysql:latest\n"${internet.host}/demo/multi:1"\n`.replaceAll('"', ''),
    );
    mkdirSync(join(root, 'images/skopeo'), { recursive: true });
    const tree = place('dir', syncTree());
    await convert(tree, place('tar', join(root, 'images/skopeo/base.tar')), {
      selectors: parseImagesFile('demo/base:1', 'test'),
    });
    await convert(tree, place('ocitar', join(root, 'images/skopeo/app.tar')), {
      selectors: parseImagesFile('demo/app:2.0', 'test'),
    });
    write(
      join(root, 'images/skopeo/tar.txt'),
      'docker-archive:base.tar@docker.io/library/nginx:1.25\noci-archive:app.tar@site/app:2\ndocker-archive:../../etc.tar@x:1\n',
    );
    const { status, stderr } = await fill(root);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /tar\.txt:3: not docker-archive:FILE@NAME with a file of this folder/);
    assert.deepEqual(await storedNames(root), {
      'demo/multi:1': digests['demo/multi:1'],
      'library/mysql:latest': digests['demo/app:1.0'],
      'library/nginx:1.25': digests['demo/base:1'],
      'mysql:latest': digests['demo/app:1.0'],
      'nginx:1.25': digests['demo/base:1'],
      'site/app:2': digests['demo/app:2.0'],
    });
  });

  test('KubeKey: images for single platforms of one layout become one index', async () => {
    const root = join(tempFolder(), 'rootfs');
    const layout = place('oci', join(root, 'images'));
    const tree = place('dir', syncTree());
    for (const [architecture, variant] of [['amd64'], ['arm64'], ['arm', 'v7']] as const)
      await convert(tree, layout, {
        selectors: parseImagesFile(
          `demo/multi:1 docker.io/demo/multi:1-${architecture}${variant === undefined ? '' : `-${variant}`}`,
          'test',
        ),
        platforms: [{ os: 'linux', architecture, variant }],
        systemImages: true,
      });
    const { status, stderr } = await fill(root);
    assert.equal(status, 0, stderr);
    assert.deepEqual(Object.keys(await storedNames(root)), ['demo/multi:1']);
    for await (const { manifests } of inspectImages(place('reg', join(root, 'registry'))))
      assert.deepEqual(
        manifests.flatMap(({ platform, imageId }) => (imageId === undefined ? [] : platform)).sort(),
        ['linux/amd64', 'linux/arm/v7', 'linux/arm64'],
      );
    const again = await fill(root);
    assert.match(again.stdout, /0 written, 1 unchanged/);
  });

  test('imageListWithAuth.yaml: the credentials of a registry', async () => {
    const root = join(tempFolder(), 'rootfs');
    write(
      join(root, 'imageListWithAuth.yaml'),
      `- registry: ${internet.host}\n  username: user1\n  password: pw\n  images: [demo/app:2.0, "${internet.host}/demo/base:1"]\n`,
    );
    const { status, stderr } = await fill(root);
    assert.equal(status, 0, stderr);
    assert.deepEqual(Object.keys(await storedNames(root)), ['demo/app:2.0', 'demo/base:1']);
    assert.doesNotMatch(stderr, /pw/);
  });

  test('names of images for one platform', () => {
    assert.deepEqual(forPlatform('docker.io/a/b:v1.2-rc.1-arm64')?.name, 'docker.io/a/b:v1.2-rc.1');
    assert.deepEqual(forPlatform('a/b:1-arm-v7'), {
      name: 'a/b:1',
      platform: { architecture: 'arm', os: 'linux', variant: 'v7' },
    });
    for (const name of ['a/b:1', 'a/b:amd64', 'a/b-amd64:1', 'a/b:1-alpine'])
      assert.equal(forPlatform(name), undefined, name);
  });

  test('names in the registry of a cluster', () => {
    assert.deepEqual(targetsOf('docker.io/library/mysql:8'), ['library/mysql:8', 'mysql:8']);
    assert.deepEqual(targetsOf('docker.io/calico/cni:v3'), ['calico/cni:v3']);
    assert.deepEqual(targetsOf('quay.io/library/mysql:8'), ['library/mysql:8']);
  });
});

test('packed charts are stored as `helm push` does', async () => {
  const file = join(tempFolder(), 'web-1.2.3+b.1.tgz');
  const yaml = [
    'apiVersion: v2\nname: web\nversion: 1.2.3+b.1\ntype: application\nappVersion: "2.0"\ndescription: A <web> server',
    'home: https://example.com\nsources: [https://example.com/src]\nkeywords: [a, b]\nmaintainers: [{name: Ann, email: a@example.com}, {name: Bob}]',
    'annotations: {zeta: "1", alpha: "2"}\ndependencies: [{name: db, version: 1.x.x, repository: "oci://example.com/charts"}]\n',
  ].join('\n');
  const { gzipSync } = await import('node:zlib');
  writeFileSync(file, gzipSync(await tarOf({ 'web/Chart.yaml': Buffer.from(yaml) })));
  utimesSync(file, 1700000000, 1700000000);
  const to = newPlace('reg');
  await convert(await chartPlace([file], 'charts'), to);
  const [image] = Object.entries(await namesOf(to));
  assert.equal(image?.[0], 'charts/web:1.2.3_b.1');
  for await (const { manifests } of inspectImages(to)) {
    const [one] = manifests;
    // The order and the escapes of Go's encoding/json.
    assert.equal(
      JSON.stringify(one?.manifest).replace(/"(digest|size)":("[^"]*"|\d+),?/g, ''),
      '{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json",},"layers":[{"mediaType":"application/vnd.cncf.helm.chart.content.v1.tar+gzip",}],"annotations":{"alpha":"2","org.opencontainers.image.authors":"Ann (a@example.com), Bob","org.opencontainers.image.created":"2023-11-14T22:13:20Z","org.opencontainers.image.description":"A <web> server","org.opencontainers.image.source":"https://example.com/src","org.opencontainers.image.title":"web","org.opencontainers.image.url":"https://example.com","org.opencontainers.image.version":"1.2.3+b.1","zeta":"1"}}',
    );
  }
  const config = await imgconv(['inspect', '--raw', `reg:${to.path}`, 'charts/web:1.2.3_b.1']);
  assert.match(config.stdout, /A \\u003cweb\\u003e server/);
});

test('--no-creds is an option of its own, not the negation of --creds', () => {
  const save = COMMANDS.find(({ name }) => name === 'save');
  assert.ok(save !== undefined);
  const { creds, noCreds } = parseArguments(['save', 'a', 'b', '--no-creds'], save);
  assert.deepEqual([creds, noCreds], [undefined, true]);
});

describe('saveImages', () => {
  test('gives a result for each reference, in their order', async () => {
    const { host } = internet;
    const dir = join(tempFolder(), 'store');
    const images = [
      `${host}/demo/multi:1`,
      `${host}/nothing:1`,
      `oci://${host}/helm-charts/demo:0.1.0`,
      `${host}/demo/app:2.0`,
    ];
    const saved = await saveImages(images, dir, {
      access: { tlsVerify: false, retryTimes: 0 },
      credentials: { [host]: { username: 'a', password: 'b' } },
    });
    assert.deepEqual(
      saved.map(({ image, status, name, digest }) => [image, status, name, digest]),
      [
        [images[0], 'written', 'demo/multi:1', digests['demo/multi:1']],
        [images[1], 'failed', undefined, undefined],
        [images[2], 'written', 'helm-charts/demo:0.1.0', digests['helm-charts/demo:0.1.0']],
        [images[3], 'written', 'demo/app:2.0', digests['demo/app:2.0']],
      ],
    );
    assert.equal(saved[1]?.error?.code, 'NOT_FOUND');
    const again = await saveImages(images.slice(0, 1), dir, { access: { tlsVerify: false } });
    assert.equal(again[0]?.status, 'unchanged');
  });

  test('only the platforms that are asked for', async () => {
    const dir = join(tempFolder(), 'store');
    await saveImages([`${internet.host}/demo/multi:1`], dir, {
      platforms: [{ os: 'linux', architecture: 'arm64', variant: undefined }],
      access: { tlsVerify: false },
    });
    for await (const { manifests } of inspectImages(place('reg', dir)))
      assert.deepEqual(
        manifests.flatMap(({ platform, imageId }) => (imageId === undefined ? [] : platform)),
        ['linux/arm64/v8'],
      );
  });
});
