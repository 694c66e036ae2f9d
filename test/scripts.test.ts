import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import {
  access,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { SmallRegistry } from './support/small-registry.js';

const root = path.resolve(import.meta.dirname, '../..');
const bin = path.join(root, 'bin');

// All that the scripts and the stub may call. PATH holds nothing else, so that no skopeo of the machine is found.
const tools = 'bash cat cp dirname find mkdir mktemp mv readlink rm sed sort'.split(' ');

// What skopeo 1.9.3 was seen to do: it names the directory after the last part of the source, refuses one that
// exists, leaves one that holds only `version` when it fails, and talks on stdout.
const skopeo = `#!/usr/bin/env bash
set -eu
if [[ $* == 'sync --help' ]]; then printf '%s\\n' "\${SKOPEO_HELP- --all , --preserve-digests }"; exit; fi
(IFS=$'\\t'; printf '%s\\n' "$*" >>"$SKOPEO_LOG")
source=\${*: -2:1} destination=\${*: -1}
echo "Copying $source"
if [[ " $* " == *' --dest dir '* ]]; then
  target=$destination/\${source##*/}
  [[ ! -e $target ]] || { echo "Refusing to overwrite destination directory $target" >&2; exit 1; }
  mkdir -p -- "$target"
  echo 'Directory Transport Version: 1.1' >"$target/version"
  cp -- "$SKOPEO_POOL/\${source#*/}"/* "$target"
else
  [[ -f $source/manifest.json && $source != *"\${SKOPEO_REFUSES-none}" ]]
  [[ " $* " != *' --preserve-digests '*"\${SKOPEO_REWRITES-none}" ]]
fi
`;

interface Image {
  readonly digest: string;
  readonly manifest: Buffer;
  /** Config and layer, by bare hex. */
  readonly blobs: ReadonlyMap<string, Buffer>;
}

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** An image of one layer with one file; another text is another image. */
async function imageOf(text: string): Promise<Image> {
  const entries = pack();
  entries.entry({ name: 'text', mtime: new Date(0) }, text);
  entries.finalize();
  const tar = await buffer(entries);
  const layer = gzipSync(tar);
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(tar)}`] },
    }),
  );
  const type = 'application/vnd.docker';
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: `${type}.distribution.manifest.v2+json`,
      config: {
        mediaType: `${type}.container.image.v1+json`,
        size: config.length,
        digest: `sha256:${sha256(config)}`,
      },
      layers: [
        {
          mediaType: `${type}.image.rootfs.diff.tar.gzip`,
          size: layer.length,
          digest: `sha256:${sha256(layer)}`,
        },
      ],
    }),
  );
  const blobs = new Map([config, layer].map((bytes) => [sha256(bytes), bytes]));
  return { digest: `sha256:${sha256(manifest)}`, manifest, blobs };
}

async function put(file: string, content: string | Buffer): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, content);
}

/** Lays an image down as skopeo's directory. */
async function layDir(dir: string, image: Image): Promise<void> {
  await put(path.join(dir, 'version'), 'Directory Transport Version: 1.1\n');
  await put(path.join(dir, 'manifest.json'), image.manifest);
  for (const [hex, bytes] of image.blobs) await put(path.join(dir, hex), bytes);
}

const v2 = (store: string, ...parts: readonly string[]): string =>
  path.join(store, 'docker/registry/v2', ...parts);
const blobOf = (store: string, hex: string): string =>
  v2(store, 'blobs/sha256', hex.slice(0, 2), hex, 'data');

/** The files that a registry keeps of one tagged image, without its blobs: path below `repositories/` to content. */
function linksOf(name: string, tag: string, image: Image): Map<string, string> {
  const hexOf = (digest: string): string => digest.replace('sha256:', '');
  const links = new Map<string, string>();
  for (const hex of image.blobs.keys()) links.set(`${name}/_layers/sha256/${hex}/link`, `sha256:${hex}`);
  links.set(`${name}/_manifests/revisions/sha256/${hexOf(image.digest)}/link`, image.digest);
  links.set(`${name}/_manifests/tags/${tag}/index/sha256/${hexOf(image.digest)}/link`, image.digest);
  links.set(`${name}/_manifests/tags/${tag}/current/link`, image.digest);
  return links;
}

/** Lays an image down as a registry stores it. */
async function layStored(store: string, name: string, tag: string, image: Image): Promise<void> {
  for (const [hex, bytes] of image.blobs) await put(blobOf(store, hex), bytes);
  await put(blobOf(store, sha256(image.manifest)), image.manifest);
  for (const [file, digest] of linksOf(name, tag, image)) await put(v2(store, 'repositories', file), digest);
}

/** All files below `dir`, sorted; none when there is no `dir`. */
async function filesOf(dir: string): Promise<string[]> {
  if (!(await exists(dir))) return [];
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(dir, path.join(entry.parentPath, entry.name)))
    .sort();
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** Asserts that `store` holds these images and nothing else: every link, every blob, byte for byte. */
async function assertStore(store: string, images: Readonly<Record<string, Image>>): Promise<void> {
  const links = new Map<string, string>();
  const blobs = new Map<string, Buffer>();
  for (const [reference, image] of Object.entries(images)) {
    const colon = reference.lastIndexOf(':');
    for (const link of linksOf(reference.slice(0, colon), reference.slice(colon + 1), image))
      links.set(...link);
    for (const blob of image.blobs) blobs.set(...blob);
    blobs.set(sha256(image.manifest), image.manifest);
  }
  assert.deepEqual(await filesOf(v2(store, 'repositories')), [...links.keys()].sort());
  for (const [file, digest] of links) {
    assert.equal(await readFile(v2(store, 'repositories', file), 'utf8'), digest, file);
  }
  const paths = [...blobs.keys()].map((hex) => path.relative(v2(store, 'blobs'), blobOf(store, hex)));
  assert.deepEqual(await filesOf(v2(store, 'blobs')), paths.sort());
  for (const [hex, bytes] of blobs) assert.deepEqual(await readFile(blobOf(store, hex)), bytes);
}

async function assertOneFile(a: string, b: string): Promise<void> {
  const [left, right] = await Promise.all([stat(a), stat(b)]);
  assert.deepEqual([left.dev, left.ino], [right.dev, right.ino], `${a} and ${b} are two files`);
}

/** A place to work in, with spaces in its name, and a PATH of its own. */
class Bench {
  readonly home: string;
  readonly pool: string;
  readonly #log: string;
  /** Has a skopeo, which the scripts are told to use. */
  readonly #equipped: boolean;

  private constructor(home: string, equipped: boolean) {
    this.home = home;
    this.#equipped = equipped;
    this.pool = path.join(home, 'pool');
    this.#log = path.join(home, 'skopeo.log');
  }

  static async open(t: TestContext, ...extras: readonly 'skopeo'[]): Promise<Bench> {
    const bench = new Bench(
      await mkdtemp(path.join(tmpdir(), 'imgconv scripts ')),
      extras.includes('skopeo'),
    );
    t.after(() => rm(bench.home, { recursive: true, force: true }));
    await mkdir(bench.at('path'));
    await mkdir(bench.at('work'));
    await symlink(process.execPath, bench.at('path/node'));
    for (const tool of tools) await symlink(await which(tool), bench.at('path', tool));
    if (extras.includes('skopeo')) {
      await writeFile(bench.at('path/skopeo'), skopeo);
      await chmod(bench.at('path/skopeo'), 0o755);
    }
    return bench;
  }

  at(...parts: readonly string[]): string {
    return path.join(this.home, ...parts);
  }

  /** Runs a script in `work`. */
  run(script: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
    const file = path.isAbsolute(script) ? script : path.join(bin, script);
    const skopeoSays = { SKOPEO_LOG: this.#log, SKOPEO_POOL: this.pool };
    const all = {
      PATH: this.at('path'),
      ...skopeoSays,
      ...(this.#equipped && { IMGCONV_USE_SKOPEO: '1' }),
      ...env,
    };
    return new Promise((resolve, reject) => {
      execFile(file, args, { cwd: this.at('work'), env: all, timeout: 120_000 }, (error, stdout, stderr) => {
        const code = error === null ? 0 : error.code;
        if (typeof code === 'number') resolve({ code, stdout, stderr });
        else reject(new Error(`${script} did not run to its end: ${stderr}`, { cause: error }));
      });
    });
  }

  /** The arguments of each call of skopeo since the last look; the random part of a name left out. */
  async calls(): Promise<string[][]> {
    const log = (await exists(this.#log)) ? await readFile(this.#log, 'utf8') : '';
    await rm(this.#log, { force: true });
    const lines = log.split('\n').slice(0, -1);
    return lines.map((line) => line.replace(/\.fetch\.\w{6}/, '.fetch').split('\t'));
  }
}

async function which(tool: string): Promise<string> {
  for (const dir of (process.env['PATH'] ?? '').split(path.delimiter)) {
    const file = path.join(dir, tool);
    const runs = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs) return file;
  }
  throw new Error(`these tests need ${tool}`);
}

function assertExit(outcome: Outcome, code: number, ...says: readonly RegExp[]): void {
  assert.equal(outcome.code, code, outcome.stderr);
  for (const pattern of says) assert.match(outcome.stderr, pattern);
}

const insecure = ['sync', '--insecure-policy', '--src-tls-verify=false', '--dest-tls-verify=false'];
const fetching = [
  ...insecure,
  '--override-arch',
  'amd64',
  '--override-os',
  'linux',
  '--src',
  'docker',
  '--dest',
  'dir',
  '--',
];
const pushing = [...insecure, '--all', '--preserve-digests', '--src', 'dir', '--dest', 'docker', '--'];

for (const script of ['convert-images.sh', 'install-images.sh', 'image-select.sh']) {
  test(`${script}: help and wrong usage`, async (t) => {
    const bench = await Bench.open(t, 'skopeo');
    for (const args of [['-h'], ['--help'], ['a', '--help']]) {
      const help = await bench.run(script, args);
      assertExit(help, 0, /^$/);
      assert.match(help.stdout, new RegExp(`^Usage: ${script} `));
    }
    const most = ['a', 'b', ...(script === 'image-select.sh' ? ['c'] : [])];
    for (const args of [['--nonsense'], ['-x', 'b'], [...most, 'more']]) {
      const wrong = await bench.run(script, args);
      assertExit(wrong, 2, /Usage: /);
      assert.equal(wrong.stdout, '');
    }
    assert.deepEqual(await readdir(bench.at('work')), []);
    assert.deepEqual(await bench.calls(), []);
  });

  test(`${script}: runs the imgconv that IMGCONV names, and hands on its exit status`, async (t) => {
    const bench = await Bench.open(t, 'skopeo');
    await put(
      bench.at('my imgconv'),
      '#!/usr/bin/env bash\nprintf "%s|" "$@"\n[[ $* != *"-file - "* ]] || cat\nexit 2\n',
    );
    await chmod(bench.at('my imgconv'), 0o755);
    await put(bench.at('work/lists/a.list'), '  a/b:1 \r\n\r\n#c\r\na/a:1\na/b:1');
    for (const name of ['a/a:1', 'a/b:1']) await put(bench.at('work/images', name, 'manifest.json'), '{}');
    await mkdir(v2(bench.at('work/store')), { recursive: true });
    const env = { IMGCONV: bench.at('my imgconv'), IMAGES_LIST_FILE: 'lists/a.list' };
    const expected = {
      'convert-images.sh': [[], 'dir2reg|--images-file|-|--|images|.|a/a:1\na/b:1\n'],
      'install-images.sh': [['store'], 'reg2dir|--link|hard|--|store|store/docker/skopeo|'],
      'image-select.sh': [['lists', 'store', 'out'], 'reg2reg|--images-file|-|--|store|out|a/a:1\na/b:1\n'],
    } as const;
    const [args, stdout] = expected[script as keyof typeof expected];
    const outcome = await bench.run(script, args, env);
    assertExit(outcome, 2);
    assert.equal(outcome.stdout, stdout);
  });
}

test('convert-images.sh, told to use skopeo, fetches what the list names and stores it', async (t) => {
  const bench = await Bench.open(t, 'skopeo');
  const names = ['top:1', 'lib/app:1.0', 'lib/deep/er/app:2', 'lib/plain:latest'];
  const images: Record<string, Image> = {};
  for (const name of names) {
    images[name] = await imageOf(name);
    await layDir(path.join(bench.pool, name), images[name]);
  }
  const list = '# comment\r\n\r\ntop:1\r\nlib/deep/er/app:2  \n  # more\n  lib/app:1.0\ntop:1\nlib/plain';
  await put(bench.at('my list.txt'), list);
  const env = { IMAGES_LIST_FILE: bench.at('my list.txt') };
  const outcome = await bench.run('convert-images.sh', ['127.0.0.1:1', 'the images'], env);
  assertExit(outcome, 0);
  assert.doesNotMatch(outcome.stdout, /Copying/, "skopeo's talk is not a result");
  assert.deepEqual(await bench.calls(), [
    [...fetching, '127.0.0.1:1/lib/app:1.0', 'the images/.fetch/lib'],
    [...fetching, '127.0.0.1:1/lib/deep/er/app:2', 'the images/.fetch/lib/deep/er'],
    [...fetching, '127.0.0.1:1/lib/plain:latest', 'the images/.fetch/lib'],
    [...fetching, '127.0.0.1:1/top:1', 'the images/.fetch'],
  ]);
  await assertStore(bench.at('work'), images);
  assert.deepEqual((await readdir(bench.at('work/the images'))).sort(), ['lib', 'top:1']);
  for (const [name, image] of Object.entries(images)) {
    for (const hex of image.blobs.keys()) {
      await assertOneFile(bench.at('work/the images', name, hex), blobOf(bench.at('work'), hex));
    }
  }

  const again = await bench.run('convert-images.sh', ['127.0.0.1:1', 'the images'], env);
  assertExit(again, 0, /the images\/lib\/app:1\.0 is there already/);
  assert.deepEqual(await bench.calls(), [], 'what the tree holds is not fetched again');
  await assertStore(bench.at('work'), images);
});

/** A registry with these images. */
async function serving(t: TestContext, images: Readonly<Record<string, Image>>): Promise<SmallRegistry> {
  const registry = await SmallRegistry.start();
  t.after(() => registry.stop());
  const mediaType = 'application/vnd.docker.distribution.manifest.v2+json';
  for (const [name, { manifest, blobs }] of Object.entries(images))
    registry.hold(name, { mediaType, bytes: manifest }, blobs.values());
  return registry;
}

test('convert-images.sh without skopeo fetches what the list names, once, and stores it', async (t) => {
  const bench = await Bench.open(t);
  const images: Record<string, Image> = {};
  for (const name of ['top:1', 'lib/app:1.0', 'lib/deep/er/app:2', 'lib/plain:latest'])
    images[name] = await imageOf(name);
  const registry = await serving(t, images);
  await put(
    bench.at('my list.txt'),
    '# comment\r\ntop:1\r\nlib/deep/er/app:2  \n lib/app:1.0\ntop:1\nlib/plain\nno/such:1',
  );
  const env = { IMAGES_LIST_FILE: bench.at('my list.txt') };
  const first = await bench.run('convert-images.sh', [registry.host, 'the images'], env);
  assertExit(first, 1, /1 of 5 images not fetched: no\/such:1/);
  await assertStore(bench.at('work'), images);
  for (const [name, image] of Object.entries(images))
    for (const hex of image.blobs.keys())
      await assertOneFile(bench.at('work/the images', name, hex), blobOf(bench.at('work'), hex));

  const asked = registry.requests.length;
  const again = await bench.run('convert-images.sh', [registry.host, 'the images'], env);
  assertExit(again, 1, /the images\/lib\/app:1\.0 is there already/);
  assert.ok(registry.requests.slice(asked).every((one) => one === 'GET /v2/' || one.includes('/no/such/')));
  await assertStore(bench.at('work'), images);
});

test('install-images.sh without skopeo pushes every tag under its whole name', async (t) => {
  const bench = await Bench.open(t);
  const registry = await serving(t, {});
  const images: Record<string, Image> = {};
  for (const name of ['top:1', 'lib/app:1.0', 'lib/deep/er/app:2']) {
    images[name] = await imageOf(name);
    const [repository = '', tag = ''] = name.split(':');
    await layStored(bench.at('work/my store'), repository, tag, images[name]);
  }
  assertExit(await bench.run('install-images.sh', ['my store', registry.host]), 0);
  assert.deepEqual(
    registry.tags(),
    Object.fromEntries(
      Object.entries(images)
        .map(([name, { digest }]) => [name, digest])
        .sort(),
    ),
  );
  for (const [name, image] of Object.entries(images))
    for (const hex of image.blobs.keys())
      await assertOneFile(
        bench.at('work/my store/docker/skopeo', name, hex),
        blobOf(bench.at('work/my store'), hex),
      );
});

test('convert-images.sh goes on when one image cannot be fetched, and fetches only that one next time', async (t) => {
  const bench = await Bench.open(t, 'skopeo');
  const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((text) => imageOf(text)));
  assert.ok(a && b && c);
  await layDir(path.join(bench.pool, 'x/a:1'), a);
  await layDir(path.join(bench.pool, 'x/c:1'), c);
  await put(bench.at('list'), 'x/a:1\nx/b:1\nx/c:1\n');
  const env = { IMAGES_LIST_FILE: bench.at('list') };

  assertExit(await bench.run('convert-images.sh', [], env), 1, /1 of 3 images not fetched: x\/b:1/);
  const registries = (await bench.calls()).map((call) => call.at(-2));
  assert.deepEqual(registries, ['docker.io/x/a:1', 'docker.io/x/b:1', 'docker.io/x/c:1']);
  assert.deepEqual(
    (await readdir(bench.at('work/images'))).sort(),
    ['x'],
    'nothing else is left in the tree',
  );
  assert.deepEqual((await readdir(bench.at('work/images/x'))).sort(), ['a:1', 'c:1']);
  await assertStore(bench.at('work'), { 'x/a:1': a, 'x/c:1': c });

  await layDir(path.join(bench.pool, 'x/b:1'), b);
  assertExit(await bench.run('convert-images.sh', [], env), 0);
  assert.deepEqual(
    (await bench.calls()).map((call) => call.at(-2)),
    ['docker.io/x/b:1'],
  );
  await assertStore(bench.at('work'), { 'x/a:1': a, 'x/b:1': b, 'x/c:1': c });
});

test('convert-images.sh stores nothing when nothing could be fetched', async (t) => {
  const bench = await Bench.open(t, 'skopeo');
  const stray = await imageOf('not in the list');
  await layDir(bench.at('work/images/stray:1'), stray);
  // What an interrupted `skopeo sync` leaves, and would itself refuse to overwrite.
  await put(bench.at('work/images/half:1/version'), 'Directory Transport Version: 1.1\n');
  await put(bench.at('list'), 'none:1\nhalf:1\n');
  const outcome = await bench.run('convert-images.sh', [], { IMAGES_LIST_FILE: bench.at('list') });
  assertExit(outcome, 1, /2 of 2 images not fetched: half:1 none:1/, /half:1 .* has no manifest\.json/);
  assert.deepEqual(await readdir(bench.at('work')), ['images']);
  assert.deepEqual((await readdir(bench.at('work/images'))).sort(), ['half:1', 'stray:1']);
});

test('convert-images.sh without skopeo takes the tree as it lies, and the list beside the script', async (t) => {
  const bench = await Bench.open(t);
  const [a, b] = await Promise.all(['a', 'b'].map((text) => imageOf(text)));
  assert.ok(a && b);
  await layDir(bench.at('work/images/x/a:1'), a);
  await layDir(bench.at('work/images/b:2'), b);
  await layDir(bench.at('work/images/not/listed:1'), await imageOf('unlisted'));
  await put(bench.at('my place/images-list.txt'), '#list\nx/a:1\nb:2 renamed/b:3\n');
  await symlink(path.join(bin, 'convert-images.sh'), bench.at('my place/convert'));
  assertExit(await bench.run(bench.at('my place/convert'), []), 0);
  await assertStore(bench.at('work'), { 'x/a:1': a, 'renamed/b:3': b });
});

test('convert-images.sh names an image of the list that the tree lacks, and stores the others', async (t) => {
  const bench = await Bench.open(t);
  const image = await imageOf('a');
  await layDir(bench.at('work/images/x/a:1'), image);
  await put(bench.at('list'), 'x/a:1\nx/missing:1\n');
  const registry = await serving(t, {});
  const outcome = await bench.run('convert-images.sh', [registry.host], {
    IMAGES_LIST_FILE: bench.at('list'),
  });
  assertExit(outcome, 1, /1 of 2 images not fetched: x\/missing:1/);
  assert.deepEqual(
    registry.requests.filter((one) => one.includes('x/a')),
    [],
    'what the tree holds is not asked for',
  );
  await assertStore(bench.at('work'), { 'x/a:1': image });
});

test('convert-images.sh leaves no trace of an image with a damaged blob', async (t) => {
  const bench = await Bench.open(t);
  const [a, b] = await Promise.all(['a', 'b'].map((text) => imageOf(text)));
  assert.ok(a && b);
  await layDir(bench.at('work/images/x/a:1'), a);
  await layDir(bench.at('work/images/x/b:1'), b);
  const [hex] = [...b.blobs.keys()].slice(-1);
  assert.ok(hex !== undefined);
  const damaged = Buffer.from(b.blobs.get(hex) ?? []);
  damaged[damaged.length - 1] = 0xff;
  await put(bench.at('work/images/x/b:1', hex), damaged);
  await put(bench.at('list'), 'x/a:1\nx/b:1\n');
  const outcome = await bench.run('convert-images.sh', [], { IMAGES_LIST_FILE: bench.at('list') });
  assertExit(outcome, 1);
  assert.match(outcome.stdout + outcome.stderr, new RegExp(hex));
  await assertStore(bench.at('work'), { 'x/a:1': a });
});

test('convert-images.sh refuses a list that is missing or empty', async (t) => {
  const bench = await Bench.open(t);
  await put(bench.at('empty'), '# nothing\r\n\r\n  \n');
  const cases = { absent: /no list of images at .*absent/, empty: /empty lists no images/ };
  for (const [list, says] of Object.entries(cases)) {
    assertExit(await bench.run('convert-images.sh', [], { IMAGES_LIST_FILE: bench.at(list) }), 1, says);
    assert.deepEqual(await readdir(bench.at('work')), []);
  }
});

test('install-images.sh links every tag into docker/skopeo and pushes it under its whole name', async (t) => {
  const bench = await Bench.open(t, 'skopeo');
  const images: Record<string, Image> = {};
  for (const name of ['top:1', 'lib/app:1.0', 'lib/deep/er/app:2']) images[name] = await imageOf(name);
  const store = bench.at('work/my store');
  for (const [reference, image] of Object.entries(images)) {
    const [name = '', tag = ''] = reference.split(':');
    await layStored(store, name, tag, image);
  }
  const before = await filesOf(v2(store));
  const calls = [
    [...pushing, 'my store/docker/skopeo/lib/app:1.0', 'r.test/lib'],
    [...pushing, 'my store/docker/skopeo/lib/deep/er/app:2', 'r.test/lib/deep/er'],
    [...pushing, 'my store/docker/skopeo/top:1', 'r.test'],
  ];
  const ways: readonly (readonly [readonly string[], Readonly<Record<string, string>>])[] = [
    [['my store', 'r.test'], { REGISTRY_PATH: '/nonexistent', REGISTRY_DOMAIN: 'other.test' }],
    [[], { REGISTRY_PATH: 'my store', REGISTRY_DOMAIN: 'r.test' }],
    [['my store'], { REGISTRY_DOMAIN: 'r.test' }],
  ];
  for (const [args, env] of ways) {
    const outcome = await bench.run('install-images.sh', args, env);
    assertExit(outcome, 0);
    assert.doesNotMatch(outcome.stdout, /Copying/, "skopeo's talk is not a result");
    assert.deepEqual(await bench.calls(), calls);
  }
  for (const [reference, image] of Object.entries(images)) {
    const dir = path.join(store, 'docker/skopeo', reference);
    assert.deepEqual((await readdir(dir)).sort(), [...image.blobs.keys(), 'manifest.json', 'version'].sort());
    assert.deepEqual(await readFile(path.join(dir, 'manifest.json')), image.manifest);
    for (const hex of image.blobs.keys()) await assertOneFile(path.join(dir, hex), blobOf(store, hex));
  }
  assert.deepEqual(await filesOf(v2(store)), before);

  assertExit(await bench.run('install-images.sh', ['my store']), 0);
  assert.equal((await bench.calls())[0]?.at(-1), 'harbor.k8s.li/lib');
});

test('install-images.sh asks no option of a skopeo that does not know it', async (t) => {
  const bench = await Bench.open(t, 'skopeo');
  await layStored(bench.at('work'), 'a', '1', await imageOf('a'));
  const env = { SKOPEO_HELP: '  -a, --all   Copy all images' };
  assertExit(await bench.run('install-images.sh', ['.', 'r.test'], env), 0);
  const known = pushing.filter((option) => option !== '--preserve-digests');
  assert.deepEqual(await bench.calls(), [[...known, './docker/skopeo/a:1', 'r.test']]);
});

test('install-images.sh goes on when one image is refused or damaged, and names it', async (t) => {
  const bench = await Bench.open(t, 'skopeo');
  const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((text) => imageOf(text)));
  assert.ok(a && b && c);
  await layStored(bench.at('work'), 'x/a', '1', a);
  await layStored(bench.at('work'), 'x/b', '1', b);
  await layStored(bench.at('work'), 'x/c', '1', c);
  const pushed = async (): Promise<(string | undefined)[]> =>
    (await bench.calls()).map((call) => call.at(-2));

  const refused = await bench.run('install-images.sh', ['.', 'r.test'], { SKOPEO_REFUSES: '/x/a:1' });
  assertExit(refused, 1, /1 of 3 images not installed: x\/a:1/);
  assert.deepEqual(
    [...new Set(await pushed())],
    ['./docker/skopeo/x/a:1', './docker/skopeo/x/b:1', './docker/skopeo/x/c:1'],
  );

  await rm(bench.at('work/docker/skopeo'), { recursive: true });
  const [hex = ''] = b.blobs.keys();
  await writeFile(blobOf(bench.at('work'), hex), 'damaged');
  const damaged = await bench.run('install-images.sh', ['.', 'r.test']);
  assertExit(damaged, 1);
  assert.match(damaged.stdout + damaged.stderr, /x\/b:1/);
  assert.deepEqual(await pushed(), ['./docker/skopeo/x/a:1', './docker/skopeo/x/c:1']);
  assert.equal(await exists(bench.at('work/docker/skopeo/x/b:1')), false);
});

test('install-images.sh lets skopeo change a digest only where it cannot keep it, and says so', async (t) => {
  const bench = await Bench.open(t, 'skopeo');
  await layStored(bench.at('work'), 'a', '1', await imageOf('a'));
  await layStored(bench.at('work'), 'b', '1', await imageOf('b'));
  const outcome = await bench.run('install-images.sh', ['.', 'r.test'], { SKOPEO_REWRITES: 'b:1 r.test ' });
  assertExit(outcome, 0, /1 installed without --preserve-digests, maybe with another digest: b:1\n/);
  const free = pushing.filter((option) => option !== '--preserve-digests');
  assert.deepEqual(await bench.calls(), [
    [...pushing, './docker/skopeo/a:1', 'r.test'],
    [...pushing, './docker/skopeo/b:1', 'r.test'],
    [...free, './docker/skopeo/b:1', 'r.test'],
  ]);
});

test('install-images.sh does nothing without a store, or without the skopeo that it is to use', async (t) => {
  const bench = await Bench.open(t);
  await layStored(bench.at('work'), 'a', '1', await imageOf('a'));
  const told = { IMGCONV_USE_SKOPEO: '1' };
  assertExit(await bench.run('install-images.sh', ['.', 'r.test'], told), 1, /skopeo is not installed/);
  assert.deepEqual(await readdir(bench.at('work/docker')), ['registry']);

  const equipped = await Bench.open(t, 'skopeo');
  assertExit(await equipped.run('install-images.sh', ['.', 'r.test']), 1, /no registry storage at/);
  assert.deepEqual(await readdir(equipped.at('work')), []);
  assert.deepEqual(await equipped.calls(), []);
});

test('image-select.sh copies what any of the lists names', async (t) => {
  const bench = await Bench.open(t);
  const [a, b, c, d, e] = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((text) => imageOf(text)));
  assert.ok(a && b && c && d && e);
  const pool = bench.at('work/the pool');
  await layStored(pool, 'x/a', '1', a);
  await layStored(pool, 'x/b', '2', b);
  await layStored(pool, 'c', '3', c);
  await layStored(pool, 'x/y/z', '4', d);
  await layStored(pool, 'x/e', '5', e);
  // The last line of one list without its newline, and names that find, sed or awk could take for something else.
  await put(bench.at('work/my lists/k8s.list'), '# kubernetes\r\n\r\nx/a:1\r\n/usr/bin\r\nx/b:2');
  await put(bench.at('work/my lists/more/v=1/-n !.list'), '  c:3 \n#x/e:5\nx/a:1\n\n');
  await put(bench.at('work/my lists/zz.list'), 'x/y/z:4');
  await put(bench.at('work/my lists/notes.txt'), 'x/e:5\n');
  await put(bench.at('work/elsewhere.list'), 'x/e:5\n');
  assertExit(await bench.run('image-select.sh', ['my lists', 'the pool', 'new/out put']), 0);
  await assertStore(bench.at('work/new/out put'), { 'x/a:1': a, 'x/b:2': b, 'c:3': c, 'x/y/z:4': d });
  for (const hex of a.blobs.keys())
    await assertOneFile(blobOf(pool, hex), blobOf(bench.at('work/new/out put'), hex));
  await assertStore(pool, { 'x/a:1': a, 'x/b:2': b, 'c:3': c, 'x/y/z:4': d, 'x/e:5': e });
});

test('image-select.sh names an image that the pool lacks, and copies the others', async (t) => {
  const bench = await Bench.open(t);
  const image = await imageOf('a');
  await layStored(bench.at('work/pool'), 'x/a', '1', image);
  await put(bench.at('work/lists/a.list'), 'x/a:1\nx/missing:1\n');
  const outcome = await bench.run('image-select.sh', ['lists', 'pool', 'out']);
  assertExit(outcome, 1);
  assert.match(outcome.stdout + outcome.stderr, /x\/missing:1/);
  await assertStore(bench.at('work/out'), { 'x/a:1': image });
});

test('image-select.sh refuses when there is nothing to select, rather than select all', async (t) => {
  const bench = await Bench.open(t);
  await layStored(bench.at('work/pool'), 'x/a', '1', await imageOf('a'));
  await mkdir(bench.at('work/none'));
  await put(bench.at('work/other/a.txt'), 'x/a:1\n');
  await put(bench.at('work/empty/a.list'), '# x/a:1\r\n/x/a:1\n\r\n');
  for (const lists of ['absent', 'none', 'other', 'empty']) {
    const outcome = await bench.run('image-select.sh', [lists, 'pool', 'out']);
    assertExit(outcome, 1, new RegExp(lists));
    assert.equal(await exists(bench.at('work/out')), false);
  }
  assertExit(await bench.run('image-select.sh', ['lists', 'pool']), 2, /Usage: /);
});
