import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { z } from 'zod';
import { shell } from '../support/engine-shell.js';
import { Engine } from './engine-peer.js';
import {
  differences,
  imgconv,
  missingPeers,
  newFolder,
  outcomeOf,
  projectRoot,
  run,
  scratchFolder,
  sha256,
  tidy,
  unpack,
} from './peers.js';
import { Registry } from './registry-peer.js';
import { expected, fixtureFolder, samples, tagsOfStore } from './samples.js';

const [sample] = samples;
if (sample === undefined) throw new Error('no samples');
const digests = sample.digests;
/** Without the referrers tag: an older skopeo rewrites its index. */
const names = Object.keys(digests).filter((name) => !name.includes(':sha256-'));
const indexSchema = z.object({
  manifests: z.array(
    z.object({ digest: z.string(), annotations: z.record(z.string(), z.string()).optional() }),
  ),
});
const REF = 'org.opencontainers.image.ref.name';

async function indexOf(layout: string): Promise<z.infer<typeof indexSchema>> {
  return indexSchema.parse(JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')));
}

function fixture(file: string): string {
  return join(fixtureFolder, file);
}

describe('skopeo and our OCI layouts', { skip: missingPeers('skopeo') }, () => {
  let scratch: string;
  let tree: string;
  let layout: string;
  let archive: string;

  before(async () => {
    scratch = await scratchFolder();
    tree = join(await unpack(sample.tree.tar, join(scratch, 'tree')), sample.tree.folder);
    layout = join(scratch, 'layout');
    archive = join(scratch, 'images.tar');
    await imgconv('dir2oci', tree, layout);
    await imgconv('dir2ocitar', tree, archive);
  });

  after(() => tidy(scratch));

  /**
   * How skopeo finds an image: by its name, if index.json gives it one of OCI's media types; of Docker's it takes none
   * but the only one of a layout (containers/image oci/layout/oci_transport.go `getManifestDescriptor`).
   */
  async function placesOf(name: string): Promise<string[]> {
    const { mediaType } = z
      .object({ mediaType: z.string() })
      .parse(JSON.parse(await readFile(join(tree, name, 'manifest.json'), 'utf8')));
    if (mediaType.startsWith('application/vnd.oci.'))
      return [`oci:${layout}:${name}`, `oci-archive:${archive}:${name}`];
    const alone = await newFolder(scratch);
    await imgconv('dir2oci', tree, join(alone, 'layout'), name, '--no-extras');
    await imgconv('dir2ocitar', tree, join(alone, 'images.tar'), name, '--no-extras');
    return [`oci:${join(alone, 'layout')}`, `oci-archive:${join(alone, 'images.tar')}`];
  }

  for (const name of names) {
    test(`skopeo inspect --raw gives the bytes that the digest names: ${name}`, async () => {
      for (const place of await placesOf(name)) {
        const raw = await run('skopeo', ['inspect', '--raw', place]);
        assert.equal(sha256(Buffer.from(raw)), digests[name], place);
      }
    });

    test(`skopeo copy gives the directory that the registry gave: ${name}`, async () => {
      for (const place of await placesOf(name)) {
        const out = await newFolder(scratch);
        await run('skopeo', ['copy', '-q', '--all', place, `dir:${out}`]);
        assert.equal(await differences(join(tree, name), out), '', place);
      }
    });
  }

  test('skopeo adds an image to a layout of ours, and we to the one that it wrote; nothing is lost', async () => {
    const both = join(scratch, 'both');
    const oci = await unpack(fixture('oci.tar'), join(scratch, 'oci'));
    await imgconv('oci2oci', oci, both, 'demo/app:1.0');
    await run('skopeo', ['copy', '-q', `dir:${join(tree, 'demo/dup:1')}`, `oci:${both}:demo/dup:1`]);
    await imgconv('oci2oci', oci, both, 'demo/multi:1');
    const entries = (await indexOf(both)).manifests.map(({ annotations }) => annotations?.[REF]);
    assert.deepEqual(entries, ['demo/app:1.0', 'demo/dup:1', 'demo/multi:1']);
    for (const name of ['demo/app:1.0', 'demo/dup:1', 'demo/multi:1'])
      await run('skopeo', ['inspect', '--raw', `oci:${both}:${name}`]);
    const store = join(scratch, 'store-of-both');
    await imgconv('oci2reg', both, store);
    assert.deepEqual(Object.keys(await tagsOfStore(store)), ['demo/app:1.0', 'demo/dup:1', 'demo/multi:1']);
  });

  test('skopeo gives a name of ours to another image: it takes one annotation from the old entry, and leaves that', async () => {
    const moved = join(scratch, 'moved');
    await imgconv(
      'oci2oci',
      await unpack(fixture('oci.tar'), join(scratch, 'oci-again')),
      moved,
      'demo/app:1.0',
    );
    await run('skopeo', ['copy', '-q', `dir:${join(tree, 'demo/base:1')}`, `oci:${moved}:demo/app:1.0`]);
    const raw = await run('skopeo', ['inspect', '--raw', `oci:${moved}:demo/app:1.0`]);
    const store = join(scratch, 'store-of-moved');
    await imgconv('oci2reg', moved, store, 'demo/app:1.0');
    assert.deepEqual(await tagsOfStore(store), { 'demo/app:1.0': sha256(Buffer.from(raw)) });
  });

  for (const transport of ['oci', 'oci-archive']) {
    test(`what skopeo wrote as ${transport}: is read, with its digests`, async () => {
      const path = join(scratch, `skopeo-${transport}`);
      const wanted: Record<string, string> = {};
      for (const name of transport === 'oci' ? names : ['demo/multi:1']) {
        await run('skopeo', [
          'copy',
          '-q',
          '--all',
          `dir:${join(tree, name)}`,
          `${transport}:${path}:${name}`,
        ]);
        wanted[name] = sha256(
          Buffer.from(await run('skopeo', ['inspect', '--raw', `${transport}:${path}:${name}`])),
        );
      }
      const store = join(scratch, `store-of-${transport}`);
      await imgconv('copy', `${transport}:${path}`, `reg:${store}`);
      assert.deepEqual(await tagsOfStore(store), wanted);
      const [name = ''] = Object.keys(wanted);
      const one = join(scratch, `one-of-${transport}`);
      await imgconv('copy', `${transport}:${path}:${name}`, `reg:${one}`);
      assert.deepEqual(await tagsOfStore(one), { [name]: wanted[name] ?? '' });
    });
  }

  test('a tag alone, as skopeo writes it', async () => {
    const app = join(scratch, 'webapp');
    await run('skopeo', ['copy', '-q', `dir:${join(tree, 'demo/app:1.0')}`, `oci:${app}:1.0`]);
    const raw = await run('skopeo', ['inspect', '--raw', `oci:${app}:1.0`]);
    const store = join(scratch, 'store-of-tag');
    await imgconv('copy', `oci:${app}:1.0`, `reg:${store}`);
    assert.deepEqual(await tagsOfStore(store), { 'webapp:1.0': sha256(Buffer.from(raw)) });
    const ours = join(scratch, 'ours');
    await imgconv('copy', `reg:${store}`, `oci:${ours}:2.0`);
    assert.equal(await run('skopeo', ['inspect', '--raw', `oci:${ours}:2.0`]), raw);
  });
});

describe('umoci and our OCI layouts', { skip: missingPeers('skopeo', 'umoci') }, () => {
  let scratch: string;
  let layout: string;

  before(async () => {
    scratch = await scratchFolder();
    const oci = await unpack(fixture('oci.tar'), join(scratch, 'oci'));
    const store = join(scratch, 'store');
    await imgconv('oci2reg', oci, store);
    layout = join(scratch, 'webapp');
    // umoci knows tags alone: the layout's own name is the repository.
    await imgconv('copy', `reg:${store}:demo/app:1.0`, `oci:${layout}:1.0`);
    await imgconv('copy', `reg:${store}:demo/dup:1`, `oci:${layout}:dup`);
  });

  after(() => tidy(scratch));

  test('umoci ls names the images', async () => {
    const listed = (await run('umoci', ['ls', '--layout', layout])).trim().split('\n');
    assert.deepEqual(listed.sort(), ['1.0', 'dup']);
  });

  test('umoci unpacks an image, layers laid right', async () => {
    const bundle = join(scratch, 'bundle');
    await run('umoci', ['unpack', '--rootless', '--image', `${layout}:1.0`, bundle]);
    assert.match(await readFile(join(bundle, 'rootfs/etc/greeting'), 'utf8'), /demo\/app 1\.0/);
  });

  test('what umoci repacked is read, beside what was there', async () => {
    const bundle = join(scratch, 'changed');
    await run('umoci', ['unpack', '--rootless', '--image', `${layout}:1.0`, bundle]);
    await writeFile(join(bundle, 'rootfs/etc/added'), 'by umoci\n');
    await run('umoci', ['repack', '--image', `${layout}:repacked`, bundle]);
    const store = join(scratch, 'repacked');
    await imgconv('oci2reg', layout, store);
    const tags = await tagsOfStore(store);
    assert.deepEqual(Object.keys(tags), ['webapp:1.0', 'webapp:dup', 'webapp:repacked']);
    const entries = (await indexOf(layout)).manifests;
    const repacked = entries.find(({ annotations }) => annotations?.[REF] === 'repacked');
    assert.equal(tags['webapp:repacked'], repacked?.digest);
    const again = join(scratch, 'again');
    await imgconv('reg2oci', store, again);
    const out = await newFolder(scratch);
    await run('skopeo', ['copy', '-q', `oci:${again}:webapp:repacked`, `dir:${out}`]);
    assert.ok((await readdir(out)).length > 3);
  });

  test('a layout that umoci made takes images of ours, and its own stay', async () => {
    const made = join(scratch, 'made');
    await run('umoci', ['init', '--layout', made]);
    await run('umoci', ['new', '--image', `${made}:own`]);
    const [own] = (await indexOf(made)).manifests;
    await imgconv('oci2oci', layout, made, 'webapp:dup');
    const entries = (await indexOf(made)).manifests;
    assert.deepEqual(entries[0], own);
    assert.equal(entries.length, 2);
    const store = join(scratch, 'store-of-made');
    await imgconv('oci2reg', made, store);
    assert.deepEqual(Object.keys(await tagsOfStore(store)), ['made:own', 'webapp:dup']);
  });

  test("umoci's garbage collection leaves all that we wrote", async () => {
    const before = (await readdir(join(layout, 'blobs/sha256'))).sort();
    await run('umoci', ['gc', '--layout', layout]);
    const kept = (await readdir(join(layout, 'blobs/sha256'))).sort();
    assert.deepEqual(
      before.filter((name) => !kept.includes(name)),
      [],
    );
  });
});

describe('docker loads every tar we write', { skip: missingPeers('dockerd', 'docker', 'zstd') }, () => {
  let scratch: string;
  let engine: Engine;

  before(async () => {
    scratch = await scratchFolder();
    engine = await Engine.start(scratch);
  });

  beforeEach(() => engine.forgetImages());

  after(async () => {
    await engine.stop();
    await tidy(scratch);
  });

  async function assertLoaded(imageIds: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, imageId] of Object.entries(imageIds)) {
      const short = name.replace(/^docker\.io\//, '');
      assert.equal(await engine.imageId(short), imageId, name);
      const says = expected.says[short] ?? expected.says[name];
      if (says !== undefined) assert.equal(await engine.says(short), says, name);
    }
  }

  for (const file of Object.keys(expected.imageIds)) {
    const imageIds = expected.imageIds[file] ?? {};
    for (const through of ['tar', 'oci']) {
      test(`${file}, through ${through}`, async () => {
        const loaded = 'untagged' in imageIds ? { 'demo/named:1': imageIds['untagged'] ?? '' } : imageIds;
        const flags = 'untagged' in imageIds ? ['-t', 'demo/named:1'] : [];
        const archive = join(await newFolder(scratch), 'images.tar');
        if (through === 'oci') {
          const layout = join(await newFolder(scratch), 'layout');
          await imgconv('tar2oci', fixture(file), layout, ...flags);
          await imgconv('oci2tar', layout, archive);
        } else await imgconv('tar2tar', fixture(file), archive, ...flags);
        await engine.docker('load', '-q', '-i', archive);
        await assertLoaded(loaded);
      });
    }
  }

  test('oci.tar, an index among its images', async () => {
    const archive = join(await newFolder(scratch), 'images.tar');
    await imgconv('ocitar2tar', fixture('oci.tar'), archive);
    await engine.docker('load', '-q', '-i', archive);
    assert.deepEqual(await engine.names(), ['demo/app:1.0', 'demo/dup:1', 'demo/multi:1']);
    for (const name of await engine.names())
      assert.equal(await engine.says(name), expected.says[name === 'demo/multi:1' ? 'demo/app:2.0' : name]);
  });

  for (const name of ['images.tar.gz', 'images.tar.zst']) {
    test(`${name}, by the pipe`, async () => {
      const archive = join(await newFolder(scratch), name);
      await imgconv('tar2tar', fixture('docker28.tar'), archive);
      const unpacker = name.endsWith('gz') ? 'gzip' : 'zstd';
      for (const line of [
        `${unpacker} -dc "$1" | imgconv tar2tar - - | docker load -q`,
        'imgconv tar2tar - - < "$1" | docker load -q',
      ]) {
        await engine.forgetImages();
        await shell(scratch, line, archive);
        await assertLoaded(expected.imageIds['docker28.tar'] ?? {});
      }
    });
  }

  // Docker 20.10 unpacks gzip, bzip2 and xz by itself; zstd came with 23.
  test('images.tar.gz as it is', async () => {
    const archive = join(await newFolder(scratch), 'images.tar.gz');
    await imgconv('tar2tar', fixture('docker20.tar'), archive);
    await engine.docker('load', '-q', '-i', archive);
    await assertLoaded(expected.imageIds['docker20.tar'] ?? {});
  });
});

describe('docker-registry serves what --missing gives', { skip: missingPeers('docker-registry') }, () => {
  let scratch: string;
  let layout: string;
  const index = digests['demo/multi:1'] ?? '';
  const children = expected.children['demo/multi:1'] ?? {};
  const whole = children['linux/amd64'] ?? '';

  /** demo/multi:1 of the fixtures, with all but the blobs of linux/amd64 taken out of it. */
  before(async () => {
    scratch = await scratchFolder();
    layout = join(scratch, 'layout');
    const store = await unpack(sample.store, join(scratch, 'fixture'));
    await imgconv('reg2oci', store, layout, 'demo/multi:1', '--no-extras');
    const alone = join(scratch, 'alone');
    await imgconv('reg2oci', store, alone, 'demo/multi:1', '--platform', 'linux/amd64', '--no-extras');
    const kept = new Set([...(await readdir(join(alone, 'blobs/sha256'))), index.slice(7)]);
    for (const name of await readdir(join(layout, 'blobs/sha256')))
      if (!kept.has(name)) await rm(join(layout, 'blobs/sha256', name));
  });

  after(() => tidy(scratch));

  async function statusOf(registry: Registry, path: string): Promise<number> {
    const accept =
      'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json';
    return (await fetch(`http://${registry.host}/v2/${path}`, { headers: { accept } })).status;
  }

  async function withStore(
    mode: string,
    use: (registry: Registry, store: string) => Promise<void>,
  ): Promise<void> {
    const store = join(await newFolder(scratch), 'store');
    await imgconv('oci2reg', layout, store, '--missing', mode);
    const registry = await Registry.start(store, await newFolder(scratch));
    try {
      await use(registry, store);
    } finally {
      await registry.stop();
    }
  }

  test('sparse: tag, index and the complete child are served, the absent ones are not', async () => {
    await withStore('sparse', async (registry, store) => {
      assert.deepEqual(await tagsOfStore(store), { 'demo/multi:1': index });
      assert.equal(await statusOf(registry, 'demo/multi/manifests/1'), 200);
      assert.equal(await statusOf(registry, `demo/multi/manifests/${index}`), 200);
      assert.equal((await registry.manifest('demo/multi:1')).digest, index);
      assert.equal(await registry.pullWhole(`demo/multi@${whole}`), whole);
      for (const [platform, digest] of Object.entries(children))
        assert.equal(
          await statusOf(registry, `demo/multi/manifests/${digest}`),
          digest === whole ? 200 : 404,
          platform,
        );
    });
  });

  test('pruned: the new index and all that it names', async () => {
    await withStore('prune', async (registry, store) => {
      const { 'demo/multi:1': pruned = '' } = await tagsOfStore(store);
      assert.notEqual(pruned, index);
      assert.equal(await registry.pullWhole('demo/multi:1'), pruned);
      assert.deepEqual((await registry.manifest('demo/multi:1')).children, [whole]);
      assert.equal(await statusOf(registry, `demo/multi/manifests/${index}`), 404);
    });
  });

  test('refused: nothing is stored', async () => {
    const store = join(await newFolder(scratch), 'store');
    const words = [join(projectRoot, 'bin/imgconv.js'), 'oci2reg', layout, store];
    const { status, stderr } = await outcomeOf(process.execPath, words);
    assert.equal(status, 1);
    for (const platform of ['linux/arm64/v8', 'linux/arm/v7']) assert.ok(stderr.includes(platform), stderr);
    assert.equal(basename(store), 'store');
    await assert.rejects(readdir(store), { code: 'ENOENT' });
  });

  test("the engine's own sparse archive, kept sparse: the index alone", async () => {
    const store = join(await newFolder(scratch), 'store');
    await imgconv('tar2reg', fixture('containerd28-multiarch.tar'), store, '--missing', 'sparse');
    const registry = await Registry.start(store, await newFolder(scratch));
    try {
      assert.equal((await registry.manifest('demo/multi:1')).digest, index);
      for (const digest of Object.values(children))
        assert.equal(await statusOf(registry, `demo/multi/manifests/${digest}`), 404);
    } finally {
      await registry.stop();
    }
  });
});
