import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { Containerd } from './containerd-peer.js';
import { hardArchive, makeContext } from './engine-context.js';
import { copied, digestBySkopeo, layersOfLayout, layersOfSaved, listed } from './engine-images.js';
import { Engine } from './engine-peer.js';
import { storeSamples, unpackStore, type EngineImage } from './engine-stores.js';
import { missingPeers, newFolder, scratchFolder, tidy, unpack, withoutHost } from './peers.js';
import { Podman } from './podman-peer.js';
import { Registry } from './registry-peer.js';
import { fixtureFolder } from './samples.js';

const skip = missingPeers('dockerd', 'docker', 'docker-registry', 'skopeo', 'podman', 'containerd', 'ctr');

/** `use`, while `change` is done again and again. */
async function during(change: (turn: number) => Promise<unknown>, use: () => Promise<void>): Promise<void> {
  const state = { isOver: false, turns: 0 };
  const changing = (async () => {
    for (; !state.isOver; state.turns++) await change(state.turns);
  })();
  try {
    await use();
  } finally {
    state.isOver = true;
    await changing;
  }
  assert.ok(state.turns > 0);
}

/** Names as containerd completes them. */
function asInContainerd([name, digest]: readonly [string, string]): [string, string] {
  const hasHost = withoutHost(name) !== name;
  return [hasHost ? name : `docker.io/${name}`, digest];
}

describe('stores of engines', { skip }, () => {
  let scratch: string;
  let engine: Engine;
  let podman: Podman;
  let containerd: Containerd;

  before(async () => {
    scratch = await scratchFolder();
    podman = new Podman(scratch, 'overlay');
    [engine, containerd] = await Promise.all([Engine.start(scratch), Containerd.start(scratch)]);
  });

  after(async () => {
    await Promise.all([engine.stop(), containerd.stop(), podman.stop()]);
    await tidy(scratch);
  });

  /** Asks the engine for images by name; each has to have its ID and layers. */
  async function assertHas(
    inspect: (...words: string[]) => Promise<string>,
    images: readonly EngineImage[],
    nameOf = ({ name }: EngineImage) => name,
  ): Promise<void> {
    const said = await inspect('-f', '{{.Id}} {{json .RootFS.Layers}}', ...images.map(nameOf));
    const wanted = images.map(({ id, diffIds }) => `${id} ${JSON.stringify(diffIds)}`);
    assert.deepEqual(said.trim().split('\n'), wanted);
  }

  const inDocker = (...words: string[]) => engine.docker('image', 'inspect', ...words);

  for (const sample of storeSamples) {
    const { title, layers, tagged, untagged, lost, says } = sample;
    if (!sample.skip && tagged.length === 0) {
      test(`nothing comes of ${title}, of which the layers are gone`, async () => {
        const place = await unpackStore(sample, join(await newFolder(scratch), title));
        const archive = join(await newFolder(scratch), 'images.tar');
        assert.deepEqual(await copied(lost, place, `docker-archive:${archive}`), {});
        await assert.rejects(readFile(archive), { code: 'ENOENT' });
      });
      continue;
    }

    describe(title, { skip: sample.skip, concurrency: 2 }, () => {
      let place: string;
      let archive: string;
      let store: string;
      /** The digests that were printed for `archive` and `store`. */
      let archived: Record<string, string>;
      let stored: Record<string, string>;

      before(async () => {
        place = await unpackStore(sample, join(await newFolder(scratch), title));
        archive = join(await newFolder(scratch), 'images.tar');
        store = join(await newFolder(scratch), 'store');
        stored = await copied(lost, place, `reg:${store}`, '--missing', 'prune');
        const list = join(await newFolder(scratch), 'images.txt');
        const lines = untagged.map(({ id }, i) => `${id} sample/untagged:${String(i)}\n`);
        await writeFile(list, lines.join(''));
        const chosen = [...tagged.map(({ name }) => name), '--images-file', list];
        archived = await copied(
          [],
          place,
          `docker-archive:${archive}`,
          '--missing',
          'prune',
          ...layers,
          ...chosen,
        );
      });

      describe('docker load', { concurrency: 1 }, () => {
        beforeEach(() => engine.forgetImages());

        test('gives images their IDs and layers, and they run', async () => {
          await engine.docker('load', '-q', '-i', archive);
          await assertHas(inDocker, [...tagged, ...untagged]);
          for (const [name, answer] of Object.entries(says)) assert.match(await engine.says(name), answer);
        });

        test('does so by way of a registry store', async () => {
          const second = join(await newFolder(scratch), 'images.tar');
          await copied([], `reg:${store}`, `docker-archive:${second}`, ...layers);
          await engine.docker('load', '-q', '-i', second);
          await assertHas(inDocker, tagged, ({ name }) => withoutHost(name));
        });
      });

      test('podman load gives images their IDs and layers, and they run', async () => {
        await podman.podman('load', '-q', '-i', archive);
        // podman shows IDs without the algorithm.
        const images = [...tagged, ...untagged].map((image) => ({
          ...image,
          id: image.id.slice('sha256:'.length),
        }));
        await assertHas((...words) => podman.podman('image', 'inspect', ...words), images);
        for (const [name, answer] of Object.entries(says))
          assert.match(await podman.run('--rm', name), answer);
      });

      test('ctr images import gives the digests that were printed, and images run', async () => {
        const imported = join(await newFolder(scratch), 'images.tar');
        const names = tagged.map(({ name }) => name);
        const ofImported = await copied([], place, `oci-archive:${imported}`, '--missing', 'prune', ...names);
        for (const [kind, from, printed] of [
          ['docker-archive', archive, archived],
          ['oci-archive', imported, ofImported],
        ] as const) {
          const namespace = `${title}-${kind}`;
          // What is unpacked has to be for this machine; `run` unpacks.
          await containerd.ctr(namespace, 'images', 'import', '--all-platforms', '--no-unpack', from);
          const there = await containerd.digests(namespace);
          assert.deepEqual(there, Object.fromEntries(Object.entries(printed).map(asInContainerd)));
        }
        for (const [name, answer] of Object.entries(says))
          assert.match(await containerd.says(`${title}-oci-archive`, asInContainerd([name, ''])[0]), answer);
      });

      test('skopeo inspect gives the digests that were printed', async () => {
        // skopeo finds images with a manifest of Docker's only where they are alone (oci.test.ts).
        const layout = join(await newFolder(scratch), 'layout');
        const [first] = tagged.map(({ name }) => name);
        assert.ok(first !== undefined);
        const printed = await copied([], place, `oci:${layout}`, '--missing', 'prune', first);
        assert.equal(await digestBySkopeo(`oci:${layout}`), printed[first]);
        const registry = await Registry.start(store, await newFolder(scratch));
        try {
          assert.ok(Object.keys(stored).length >= tagged.length);
          for (const [name, digest] of Object.entries(stored)) {
            const from = `docker://${registry.host}/${name}`;
            assert.equal(await digestBySkopeo(from, '--tls-verify=false'), digest, name);
          }
        } finally {
          await registry.stop();
        }
      });
    });
  }
});

describe('a Docker engine', { skip }, () => {
  let scratch: string;
  let context: string;
  let engine: Engine;
  let place: string;
  /** Image IDs by name, and hashes of layers, as the engine gives them. */
  let ids: Record<string, string>;
  let saved: Record<string, string[]>;

  before(async () => {
    scratch = await scratchFolder();
    engine = await Engine.start(scratch);
    place = `docker-root:${engine.dataRoot}`;
    context = await makeContext(scratch);
    await engine.docker('load', '-q', '-i', join(fixtureFolder, 'docker20.tar'));
    await engine.docker('load', '-q', '-i', await hardArchive(scratch));
    await engine.docker('tag', 'demo/app:1.0', 'registry.example.com:5000/team/app:v1');
    await engine.docker('tag', 'demo/app:1.0', 'alias');
    await engine.docker('build', '-q', '--network', 'none', '-t', 'live/built:1', context);
    await engine.docker('import', join(context, 'files.tar'), 'live/imported:1');
    await engine.docker('import', join(context, 'attributes.tar'), 'live/attributes:1');
    const words = ['rm', '/files/large', 'write', '/committed', 'yes'];
    await engine.docker('run', '--name', 'work', '--network', 'none', 'live/built:1', '/t', ...words);
    await engine.docker('commit', 'work', 'live/committed:1');
    ids = await engine.ids();
    const archive = join(await newFolder(scratch), 'saved.tar');
    await engine.docker('save', '-o', archive, ...Object.keys(ids));
    saved = await layersOfSaved(await unpack(archive, join(await newFolder(scratch), 'saved')));
  });

  after(async () => {
    await engine.stop();
    await tidy(scratch);
  });

  async function assertReads(): Promise<void> {
    assert.deepEqual(await listed(place), ids);
    const layout = join(await newFolder(scratch), 'layout');
    await copied([], place, `oci:${layout}`, '--compression', 'none');
    assert.deepEqual(await layersOfLayout(layout), saved);
  }

  test('has images of which the layers that it saves have the hashes that it says', async () => {
    assert.equal(Object.keys(saved).length, 11);
    for (const [name, hashes] of Object.entries(saved)) {
      const said = await engine.docker('image', 'inspect', '-f', '{{json .RootFS.Layers}}', name);
      assert.deepEqual(JSON.parse(said), hashes, name);
    }
  });

  test('is read while it runs: names, IDs and layers are its own', assertReads);

  test('is read while images come and go', async () => {
    const change = async (turn: number) => {
      await engine.docker(
        'import',
        '-c',
        `LABEL turn=${String(turn)}`,
        join(context, 'attributes.tar'),
        'live/new:1',
      );
      await engine.docker('tag', 'live/new:1', `live/new:${String(turn + 2)}`);
      await engine.docker('rmi', 'live/new:1', `live/new:${String(turn + 2)}`);
    };
    await during(change, async () => {
      for (let i = 0; i < 2; i++) {
        assert.deepEqual(await listed(place, ids), ids);
        const layout = join(await newFolder(scratch), 'layout');
        await copied([], place, `oci:${layout}`, '--compression', 'none', ...Object.keys(ids));
        assert.deepEqual(await layersOfLayout(layout), saved);
      }
    });
  });

  test('is read after it was killed', async () => {
    await engine.kill();
    await assertReads();
  });

  test('is read after it stopped, and has what it had', async () => {
    engine = await engine.restart();
    assert.deepEqual(await engine.ids(), ids);
    await engine.stop();
    await assertReads();
  });
});

describe('a storage of podman', { skip }, () => {
  for (const driver of ['vfs', 'overlay'] as const) {
    describe(driver, () => {
      let scratch: string;
      let context: string;
      let podman: Podman;

      before(async () => {
        scratch = await scratchFolder();
        context = await makeContext(scratch);
        podman = new Podman(scratch, driver);
        await podman.podman('load', '-q', '-i', join(fixtureFolder, 'docker20.tar'));
        await podman.podman('load', '-q', '-i', await hardArchive(scratch));
        await podman.podman('tag', 'demo/app:1.0', 'registry.example.com:5000/team/app:v1', 'alias');
        const chroot = ['--isolation', 'chroot', '--network', 'host'];
        await podman.podman('build', '-q', ...chroot, '-t', 'live/built:1', context);
        await podman.podman('import', '-q', join(context, 'files.tar'), 'live/imported:1');
        await podman.podman('import', '-q', join(context, 'attributes.tar'), 'live/attributes:1');
        await podman.run(
          '--name',
          'work',
          'live/built:1',
          '/t',
          'rm',
          '/files/large',
          'write',
          '/committed',
          'yes',
        );
        await podman.podman('commit', '-q', 'work', 'live/committed:1');
      });

      after(async () => {
        await podman.stop();
        await tidy(scratch);
      });

      test('names, IDs, digests and layers are those that podman gives', async () => {
        const ids = await podman.ids();
        const names = Object.keys(ids);
        assert.equal(names.length, 11);
        assert.deepEqual(await listed(podman.place), ids);
        const archive = join(await newFolder(scratch), 'saved.tar');
        await podman.podman('save', '-q', '-m', '-o', archive, ...names);
        const saved = await layersOfSaved(await unpack(archive, join(await newFolder(scratch), 'saved')));
        const layout = join(await newFolder(scratch), 'layout');
        const digests = await copied([], podman.place, `oci:${layout}`, '--compression', 'none');
        const layers = await layersOfLayout(layout);
        assert.deepEqual(layers, saved);
        for (const name of names) {
          const said = await podman.podman(
            'image',
            'inspect',
            '-f',
            '{{json .RootFS.Layers}} {{.Digest}}',
            name,
          );
          const [diffIds = '', digest] = said.trim().split(' ');
          assert.deepEqual(JSON.parse(diffIds), layers[name]);
          // A manifest that podman made of an archive says gzip of layers that are not.
          if (name.startsWith('localhost/live/')) assert.equal(digests[name], digest, name);
        }
      });

      test('is read while images come and go', async () => {
        const ids = await podman.ids();
        const change = async (turn: number) => {
          const label = `LABEL turn=${String(turn)}`;
          await podman.podman('import', '-q', '-c', label, join(context, 'attributes.tar'), 'live/new:1');
          await podman.podman('tag', 'live/new:1', 'live/newer:1');
          await podman.podman('rmi', 'live/new:1', 'live/newer:1');
        };
        await during(change, async () => {
          for (let i = 0; i < 2; i++) {
            assert.deepEqual(await listed(podman.place, ids), ids);
            const layout = join(await newFolder(scratch), 'layout');
            const digests = await copied([], podman.place, `oci:${layout}`, ...Object.keys(ids));
            assert.deepEqual(Object.keys(digests).sort(), Object.keys(ids).sort());
          }
        });
      });
    });
  }
});

describe('a containerd', { skip }, () => {
  let scratch: string;
  let containerd: Containerd;
  let place: string;
  let digests: Record<string, string>;

  before(async () => {
    scratch = await scratchFolder();
    containerd = await Containerd.start(scratch);
    place = `containerd:${containerd.root}`;
    await containerd.ctr('test', 'images', 'import', join(fixtureFolder, 'docker20.tar'));
    await containerd.ctr('test', 'images', 'import', await hardArchive(scratch));
    await containerd.ctr(
      'test',
      'images',
      'tag',
      'docker.io/demo/app:1.0',
      'registry.example.com:5000/team/app:v1',
    );
    await containerd.ctr('other', 'images', 'import', join(fixtureFolder, 'docker28.tar'));
    digests = await containerd.digests('test');
  });

  after(async () => {
    await containerd.stop();
    await tidy(scratch);
  });

  async function assertReads(): Promise<void> {
    assert.deepEqual(await listed(`${place}#test`, digests), digests);
    const layout = join(await newFolder(scratch), 'layout');
    const names = Object.keys(digests);
    assert.deepEqual(await copied([], `${place}#test`, `oci:${layout}`, ...names), digests);
    assert.deepEqual(Object.keys(await layersOfLayout(layout)).sort(), names.sort());
  }

  test('is read while it runs: names and digests of each namespace are its own', async () => {
    assert.equal(Object.keys(digests).length, 6);
    await assertReads();
    assert.deepEqual(await listed(`${place}#other`), await containerd.digests('other'));
  });

  test('is read while its database is written', async () => {
    const change = async (turn: number) => {
      const name = `registry.example.com/new:${String(turn)}`;
      await containerd.ctr('test', 'images', 'tag', 'docker.io/demo/app:2.0', name);
      await containerd.ctr('test', 'images', 'rm', name);
      await containerd.ctr(
        `turn-${String(turn)}`,
        'images',
        'import',
        '--no-unpack',
        join(fixtureFolder, 'docker20.tar'),
      );
    };
    await during(change, async () => {
      for (let i = 0; i < 2; i++) await assertReads();
    });
  });

  test('is read after it was killed', async () => {
    await containerd.kill();
    await assertReads();
  });
});
