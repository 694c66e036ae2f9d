import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { buffer } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

const exec = promisify(execFile);
const bin = path.resolve(import.meta.dirname, '../../../bin');

const missing = ['skopeo', 'docker-registry'].filter((tool) =>
  (process.env['PATH'] ?? '').split(path.delimiter).every((dir) => {
    try {
      accessSync(path.join(dir, tool), constants.X_OK);
      return false;
    } catch {
      return true;
    }
  }),
);
// A user's machine may lack the peers; where CI says that it is one, their absence is a failure.
const skip = missing.length > 0 && !process.env['CI'] ? `not installed: ${missing.join(', ')}` : false;

interface Document {
  readonly digest: string;
  readonly bytes: Buffer;
}

const type = 'application/vnd.docker';

function documentOf(content: unknown): Document {
  const bytes = Buffer.from(JSON.stringify(content));
  return { digest: digestOf(bytes), bytes };
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Writes the blobs of an image of one layer into the skopeo directory `dir`; returns its manifest. */
async function layImage(dir: string, text: string, architecture: string): Promise<Document> {
  const entries = pack();
  entries.entry({ name: 'text', mtime: new Date(0) }, text);
  entries.finalize();
  const tar = await buffer(entries);
  const layer = gzipSync(tar);
  const config = documentOf({
    architecture,
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
  });
  await mkdir(dir, { recursive: true });
  await writeFile(path.join(dir, config.digest.slice(7)), config.bytes);
  await writeFile(path.join(dir, digestOf(layer).slice(7)), layer);
  return documentOf({
    schemaVersion: 2,
    mediaType: `${type}.distribution.manifest.v2+json`,
    config: {
      mediaType: `${type}.container.image.v1+json`,
      size: config.bytes.length,
      digest: config.digest,
    },
    layers: [
      { mediaType: `${type}.image.rootfs.diff.tar.gzip`, size: layer.length, digest: digestOf(layer) },
    ],
  });
}

async function layDir(dir: string, text: string): Promise<Document> {
  const manifest = await layImage(dir, text, 'amd64');
  await writeFile(path.join(dir, 'manifest.json'), manifest.bytes);
  await writeFile(path.join(dir, 'version'), 'Directory Transport Version: 1.1\n');
  return manifest;
}

/** The same for an index of two platforms; returns the index and its amd64 member. */
async function layIndex(dir: string, text: string): Promise<{ list: Document; amd64: Document }> {
  const amd64 = await layImage(dir, text, 'amd64');
  const arm64 = await layImage(dir, `${text} on arm`, 'arm64');
  const list = documentOf({
    schemaVersion: 2,
    mediaType: `${type}.distribution.manifest.list.v2+json`,
    manifests: Object.entries({ arm64, amd64 }).map(([architecture, member]) => ({
      mediaType: `${type}.distribution.manifest.v2+json`,
      size: member.bytes.length,
      digest: member.digest,
      platform: { architecture, os: 'linux' },
    })),
  });
  for (const member of [amd64, arm64]) {
    await writeFile(path.join(dir, `${member.digest.slice(7)}.manifest.json`), member.bytes);
  }
  await writeFile(path.join(dir, 'manifest.json'), list.bytes);
  await writeFile(path.join(dir, 'version'), 'Directory Transport Version: 1.1\n');
  return { list, amd64 };
}

/** Starts a docker-registry on `store` at a port that the system chooses; returns its host and port. */
async function serve(t: TestContext, store: string): Promise<string> {
  await mkdir(store, { recursive: true });
  const config = `${store}.yml`;
  const lines = [
    'version: 0.1',
    'log: { level: info }',
    `storage: { filesystem: { rootdirectory: ${JSON.stringify(store)} } }`,
    'http: { addr: "127.0.0.1:0" }',
  ];
  await writeFile(config, `${lines.join('\n')}\n`);
  const registry = spawn('docker-registry', ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = once(registry, 'exit');
  t.after(async () => {
    registry.kill();
    await exited;
  });
  const log: string[] = [];
  for await (const line of createInterface({ input: registry.stderr })) {
    log.push(line);
    const address = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
    if (address === undefined) continue;
    registry.stderr.resume();
    return address;
  }
  throw new Error(`docker-registry did not start:\n${log.join('\n')}`);
}

const plain = ['--insecure-policy', '--src-tls-verify=false', '--dest-tls-verify=false'];

/** Asserts that the registry serves exactly these manifests, and that skopeo can pull all that they name. */
async function assertServed(
  host: string,
  pulled: string,
  images: Readonly<Record<string, Document>>,
): Promise<void> {
  const response = await fetch(`http://${host}/v2/_catalog`);
  const names = [...new Set(Object.keys(images).map((reference) => reference.replace(/:[^:]*$/, '')))];
  assert.deepEqual(await response.json(), { repositories: names.sort() });
  for (const [reference, manifest] of Object.entries(images)) {
    const dir = path.join(pulled, reference.replaceAll('/', '_'));
    await mkdir(dir, { recursive: true });
    await exec('skopeo', [
      'copy',
      '--all',
      '--preserve-digests',
      ...plain,
      `docker://${host}/${reference}`,
      `dir:${dir}`,
    ]);
    assert.equal(digestOf(await readFile(path.join(dir, 'manifest.json'))), manifest.digest, reference);
  }
}

/** A registry, filled by skopeo, that holds four images: nested to several depths, one an index. */
async function source(t: TestContext, home: string) {
  const store = path.join(home, 'source');
  const host = await serve(t, store);
  const dirs = path.join(home, 'made');
  const top = await layDir(path.join(dirs, 'top'), 'top');
  const app = await layDir(path.join(dirs, 'app'), 'app');
  const deep = await layDir(path.join(dirs, 'deep'), 'deep');
  const { list, amd64 } = await layIndex(path.join(dirs, 'multi'), 'multi');
  const places = { top: 'top:1', app: 'lib/app:1.0', deep: 'lib/x/y/app:1.0', multi: 'lib/multi:1' };
  for (const [dir, reference] of Object.entries(places)) {
    await exec('skopeo', [
      'copy',
      '--all',
      '--preserve-digests',
      ...plain,
      `dir:${path.join(dirs, dir)}`,
      `docker://${host}/${reference}`,
    ]);
  }
  return {
    store,
    host,
    images: { 'top:1': top, 'lib/app:1.0': app, 'lib/x/y/app:1.0': deep, 'lib/multi:1': list },
    amd64,
  };
}

async function scratch(t: TestContext): Promise<string> {
  assert.deepEqual(missing, [], 'these tests need what is missing');
  const home = await mkdtemp(path.join(tmpdir(), 'imgconv scripts '));
  t.after(() => rm(home, { recursive: true, force: true, maxRetries: 5 }));
  return home;
}

for (const [how, told] of [
  ['with imgconv alone', {}],
  ['with skopeo', { IMGCONV_USE_SKOPEO: '1' }],
] as const) {
  test(`convert-images.sh, ${how}: from a registry into what docker-registry serves`, { skip }, async (t) => {
    const home = await scratch(t);
    const { host, images, amd64 } = await source(t, home);
    const work = path.join(home, 'converted');
    await mkdir(work);
    await writeFile(path.join(home, 'list'), Object.keys(images).join('\n'));
    const env = { ...process.env, ...told, IMAGES_LIST_FILE: path.join(home, 'list') };
    await exec(path.join(bin, 'convert-images.sh'), [host, '../the tree'], { cwd: work, env });
    // As skopeo sync without --all: the one image of the index that fits.
    const expected = { ...images, 'lib/multi:1': amd64 };
    await assertServed(await serve(t, work), path.join(home, 'pulled'), expected);

    await writeFile(path.join(home, 'list'), 'lib/app:1.0\nlib/unknown:1\n');
    const failure: unknown = await exec(path.join(bin, 'convert-images.sh'), [host, '../the tree'], {
      cwd: work,
      env,
    }).catch((error: unknown) => error);
    assert.ok(failure instanceof Error && 'code' in failure && 'stderr' in failure);
    assert.equal(failure.code, 1);
    assert.match(String(failure.stderr), /1 of 2 images not fetched: lib\/unknown:1/);
  });

  test(
    `install-images.sh, ${how}: from the storage of a registry into another registry`,
    { skip },
    async (t) => {
      const home = await scratch(t);
      const { store, images } = await source(t, home);
      const target = await serve(t, path.join(home, 'target'));
      const env = { ...process.env, ...told };
      await exec(path.join(bin, 'install-images.sh'), [store, target], { env });
      await assertServed(target, path.join(home, 'pulled'), images);
    },
  );
}

test('image-select.sh: some images of a pool, served by docker-registry', { skip }, async (t) => {
  const home = await scratch(t);
  const { store, images } = await source(t, home);
  await mkdir(path.join(home, 'lists/more'), { recursive: true });
  await writeFile(path.join(home, 'lists/a.list'), '# two\r\nlib/multi:1\r\n');
  await writeFile(path.join(home, 'lists/more/b.list'), '/ignored\nlib/x/y/app:1.0');
  const selected = path.join(home, 'selected');
  await exec(path.join(bin, 'image-select.sh'), [path.join(home, 'lists'), store, selected]);
  const expected = {
    'lib/multi:1': images['lib/multi:1'],
    'lib/x/y/app:1.0': images['lib/x/y/app:1.0'],
  };
  await assertServed(await serve(t, selected), path.join(home, 'pulled'), expected);
});
