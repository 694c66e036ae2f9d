import assert from 'node:assert/strict';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Engine } from './engine-peer.js';
import {
  differences,
  imgconv,
  missingPeers,
  newFolder,
  outcomeOf,
  run,
  scratchFolder,
  sha256,
  tidy,
  unpack,
  withoutHost,
} from './peers.js';
import { Registry } from './registry-peer.js';
import { expected, fixtureFolder, samples } from './samples.js';

const skip = missingPeers('dockerd', 'docker', 'docker-registry', 'skopeo');
const [sample] = samples;
const four = ['demo/app:1.0', 'demo/app:2.0', 'demo/base:1', 'demo/dup:1'];

describe('docker', { skip }, () => {
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

  function folder(): Promise<string> {
    return newFolder(scratch);
  }

  /** Serves a store while `use` runs. */
  async function withRegistry(store: string, use: (registry: Registry) => Promise<void>): Promise<void> {
    const registry = await Registry.start(store, await folder());
    try {
      await use(registry);
    } finally {
      await registry.stop();
    }
  }

  /** Pulls `name` and proves that it is that image and that it runs. */
  async function assertPulls(
    registry: Registry,
    name: string,
    imageId: string,
    says?: string,
  ): Promise<void> {
    const local = `${registry.host}/${name}`;
    await engine.docker('pull', '-q', local);
    assert.equal(await engine.imageId(local), imageId, name);
    if (says !== undefined) assert.equal(await engine.says(local), says);
  }

  for (const sample of samples) {
    describe(sample.title, { skip: sample.skip }, () => {
      const loadable = Object.entries(sample.imageIds);

      async function treeOf(): Promise<string> {
        return join(await unpack(sample.tree.tar, await folder()), sample.tree.folder);
      }

      async function assertLoads(archive: string): Promise<void> {
        await engine.docker('load', '-q', '-i', archive);
        assert.deepEqual(await engine.names(), loadable.map(([name]) => name).sort());
        for (const [name, imageId] of loadable) {
          assert.equal(await engine.imageId(name), imageId, name);
          const says = sample.says[name];
          if (says !== undefined) assert.equal(await engine.says(name), says);
        }
      }

      for (const layers of [[], ['--layers', 'uncompressed']]) {
        test(['loads and runs what reg2tar wrote', ...layers].join(' '), async () => {
          const store = await unpack(sample.store, await folder());
          const archive = join(await folder(), 'images.tar');
          await imgconv('reg2tar', store, archive, ...Object.keys(sample.digests), ...layers);
          await assertLoads(archive);
        });

        test(['loads and runs what dir2tar wrote', ...layers].join(' '), async () => {
          const archive = join(await folder(), 'images.tar');
          await imgconv('dir2tar', await treeOf(), archive, ...layers);
          await assertLoads(archive);
        });
      }

      test('pulls from a store that dir2reg wrote', async () => {
        const store = join(await folder(), 'store');
        await imgconv('dir2reg', await treeOf(), store);
        await withRegistry(store, async (registry) => {
          for (const [name, imageId] of loadable)
            await assertPulls(registry, name, imageId, sample.says[name]);
        });
      });

      test('pulls what save fetched from a registry, and what push sent to one', async () => {
        const [served, saved] = [join(await folder(), 'store'), join(await folder(), 'store')];
        await imgconv('dir2reg', await treeOf(), served);
        await withRegistry(served, async ({ host }) => {
          await imgconv('save', ...loadable.map(([name]) => `${host}/${name}`), saved);
        });
        await withRegistry(saved, async (registry) => {
          for (const [name, imageId] of loadable)
            await assertPulls(registry, name, imageId, sample.says[name]);
        });
        await engine.forgetImages();
        await withRegistry(await folder(), async (registry) => {
          await imgconv('push', saved, `docker://${registry.host}/site`);
          for (const [name, imageId] of loadable)
            await assertPulls(registry, `site/${name}`, imageId, sample.says[name]);
        });
      });

      for (const archive of sample.archives) {
        test(`pulls from a store that tar2reg made of ${basename(archive)}`, async () => {
          const store = join(await folder(), 'store');
          await imgconv('tar2reg', archive, store);
          await withRegistry(store, async (registry) => {
            for (const name of four)
              await assertPulls(registry, name, sample.imageIds[name] ?? '', sample.says[name]);
          });
        });
      }

      test('docker save, tar2reg and docker pull give the same image IDs', async () => {
        const saved = join(await folder(), 'saved.tar');
        const store = join(await folder(), 'store');
        await engine.docker('load', '-q', '-i', sample.archives[0] ?? '');
        await engine.docker('save', '-o', saved, ...four);
        await engine.forgetImages();
        await imgconv('tar2reg', saved, store);
        await withRegistry(store, async (registry) => {
          for (const name of four)
            await assertPulls(registry, name, sample.imageIds[name] ?? '', sample.says[name]);
        });
      });

      test('what docker pushes into a store of ours, imgconv reads', async () => {
        const store = join(await folder(), 'store');
        await imgconv('tar2reg', sample.archives[0] ?? '', store, 'demo/base:1');
        await engine.docker('load', '-q', '-i', sample.archives[0] ?? '');
        await withRegistry(store, async (registry) => {
          const pushed = `${registry.host}/demo/pushed:1`;
          await engine.docker('tag', 'demo/app:1.0', pushed);
          await engine.docker('push', '-q', pushed);
          const [ours, skopeos] = [await folder(), await folder()];
          await imgconv('reg2dir', store, ours, 'demo/pushed:1');
          await run('skopeo', [
            'copy',
            '-q',
            '--src-tls-verify=false',
            `docker://${pushed}`,
            `dir:${skopeos}`,
          ]);
          assert.equal(await differences(skopeos, join(ours, 'demo/pushed:1')), '');
          await assertPulls(registry, 'demo/base:1', sample.imageIds['demo/base:1'] ?? '');
        });
      });
    });
  }

  test('loads every container image of an archive in which there are signatures and an encrypted image', async () => {
    const [store, back] = [join(await folder(), 'store'), join(await folder(), 'back')];
    const archive = join(await folder(), 'images.tar');
    const signed = await unpack(join(fixtureFolder, 'signed.tar'), await folder());
    const plain = await unpack(join(fixtureFolder, 'registry.tar'), await folder());
    await imgconv('reg2reg', signed, store);
    // Named so that it comes after what is not to be loaded.
    await imgconv('reg2reg', plain, store, 'demo/app:2.0', '-t', 'zz/last:1');
    await imgconv('reg2tar', store, archive);
    await engine.docker('load', '-q', '-i', archive);
    assert.deepEqual(await engine.names(), ['demo/app:1.0', 'zz/last:1']);
    assert.equal(await engine.says('demo/app:1.0'), expected.says['demo/app:1.0']);
    assert.equal(await engine.says('zz/last:1'), expected.says['demo/app:2.0']);
    await imgconv('tar2reg', archive, back);
    assert.equal(await differences(store, back), '');
  });

  describe('loads, and so do skopeo and imgconv, an archive with', () => {
    type Entry = Record<string, unknown> & { Config: string; Layers: string[] };
    const lowerCase = (entry: Entry) =>
      Object.fromEntries(Object.entries(entry).map(([key, value]) => [key.toLowerCase(), value]));
    const packedBy = (program: string) => async (work: string, entry: Entry) => {
      for (const layer of new Set(entry.Layers)) {
        const packed = await outcomeOf(program, ['-k', '-f', join(work, layer)]);
        assert.equal(packed.status, 0, packed.stderr);
        await rename(join(work, `${layer}.${program === 'xz' ? 'xz' : 'bz2'}`), join(work, layer));
      }
      return entry;
    };
    const cases: [title: string, change: (work: string, entry: Entry) => Promise<object>][] = [
      ['keys in lower case', (_, entry) => Promise.resolve(lowerCase(entry))],
      ['layers in bzip2', packedBy('bzip2')],
      ['layers in xz', packedBy('xz')],
      [
        'a config named after another digest',
        async (work, entry) => {
          const Config = `${'ab'.repeat(32)}.json`;
          await rename(join(work, entry.Config), join(work, Config));
          return { ...entry, Config };
        },
      ],
      [
        'gzip layers and zeros after them',
        async (work, entry) => {
          for (const layer of new Set(entry.Layers)) {
            const path = join(work, layer);
            await writeFile(path, Buffer.concat([gzipSync(await readFile(path)), Buffer.alloc(300_000)]));
          }
          return entry;
        },
      ],
    ];
    for (const [title, change] of cases) {
      test(title, async () => {
        const work = await unpack(join(fixtureFolder, 'docker20.tar'), await folder());
        const entries = JSON.parse(await readFile(join(work, 'manifest.json'), 'utf8')) as Entry[];
        const entry = entries.find(({ RepoTags }) => String(RepoTags) === 'demo/app:1.0');
        assert.ok(entry !== undefined);
        const changed = await change(work, entry);
        await writeFile(join(work, 'manifest.json'), JSON.stringify([changed]));
        const archive = join(await folder(), 'changed.tar');
        await run('tar', ['-C', work, '-cf', archive, '.']);
        const imageId = expected.imageIds['docker20.tar']?.['demo/app:1.0'] ?? '';
        await engine.docker('load', '-q', '-i', archive);
        assert.equal(await engine.imageId('demo/app:1.0'), imageId);
        // Go's gzip, as skopeo has it, takes no zeros.
        if (!title.includes('zeros')) {
          const copied = await folder();
          await run('skopeo', ['copy', '-q', `docker-archive:${archive}`, `dir:${copied}`]);
          assert.match(await readFile(join(copied, 'manifest.json'), 'utf8'), new RegExp(imageId));
        }
        await engine.forgetImages();
        const store = join(await folder(), 'store');
        await imgconv('tar2reg', archive, store);
        await withRegistry(store, (registry) =>
          assertPulls(registry, 'demo/app:1.0', imageId, expected.says['demo/app:1.0']),
        );
      });
    }
  });

  describe('pulls what tar2reg made of the archive of', () => {
    const builders = [
      'skopeo-archive',
      'crane',
      'podman',
      'buildah',
      'kaniko',
      'ko',
      'jib',
      'rules_docker',
      'rules_oci',
      'nix-stream',
    ];
    for (const builder of builders) {
      test(builder, async () => {
        const store = join(await folder(), 'store');
        await imgconv('tar2reg', join(fixtureFolder, `${builder}.tar`), store);
        const imageIds = Object.entries(expected.imageIds[`${builder}.tar`] ?? {});
        assert.notEqual(imageIds.length, 0);
        await withRegistry(store, async (registry) => {
          for (const [name, imageId] of imageIds) {
            await assertPulls(
              registry,
              withoutHost(name),
              imageId,
              expected.says[name] ?? expected.says[withoutHost(name)],
            );
          }
        });
      });
    }

    test('an image without layers, which docker load and skopeo take too', async () => {
      const name = 'demo/bare:1';
      const [store, archive] = [join(await folder(), 'store'), join(await folder(), 'bare.tar')];
      await imgconv('tar2reg', join(fixtureFolder, 'containerd28-bare.tar'), store);
      await imgconv('reg2tar', store, archive);
      await engine.docker('load', '-q', '-i', archive);
      assert.equal(await engine.imageId(name), expected.imageIds['containerd28-bare.tar']?.[name]);
      await withRegistry(store, async (registry) => {
        const copied = await folder();
        await run('skopeo', [
          ...['copy', '-q', '--src-tls-verify=false'],
          ...[`docker://${registry.host}/${name}`, `dir:${copied}`],
        ]);
        const [digest = ''] = Object.values(expected.digests['containerd28-bare.tar'] ?? {});
        assert.equal(sha256(await readFile(join(copied, 'manifest.json'))), digest);
      });
    });

    test('images without a name among others, by number as skopeo has it and by digest', async () => {
      const [app, dup] = [sample?.imageIds['demo/app:1.0'] ?? '', sample?.imageIds['demo/dup:1'] ?? ''];
      await engine.docker('load', '-q', '-i', join(fixtureFolder, 'docker20.tar'));
      for (const saved of [
        ['demo/base:1', app, dup],
        [app, dup],
      ]) {
        const [archive, list] = [join(await folder(), 'saved.tar'), join(await folder(), 'list')];
        const store = join(await folder(), 'store');
        await engine.docker('save', '-o', archive, ...saved);
        const numbers = new Map<string, string>();
        for (const number of saved.keys()) {
          const config = await run('skopeo', ['inspect', '--raw', `docker-archive:${archive}:@${number}`]);
          for (const id of saved) if (config.includes(id)) numbers.set(id, `@${number}`);
        }
        const digest = /(sha256:\S+)/.exec(await imgconv('ls', archive, numbers.get(dup) ?? ''))?.[1] ?? '';
        await writeFile(list, `${numbers.get(app) ?? ''} demo/app:3\n${digest} demo/dup:3\n`);
        await imgconv('tar2reg', archive, store, '--images-file', list);
        await withRegistry(store, async (registry) => {
          await assertPulls(registry, 'demo/app:3', app);
          await assertPulls(registry, 'demo/dup:3', dup);
        });
      }
    });

    test('an image without a name, given one', async () => {
      const store = join(await folder(), 'store');
      await imgconv('tar2reg', join(fixtureFolder, 'docker20-untagged.tar'), store, '-t', 'demo/named:1');
      await withRegistry(store, (registry) =>
        assertPulls(registry, 'demo/named:1', expected.imageIds['docker20-untagged.tar']?.['untagged'] ?? ''),
      );
    });
  });
});
