import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import {
  convert,
  failedImages,
  verify,
  type ConvertOptions,
  type ErrorCode,
  type Place,
  type Report,
} from '../src/index.js';
import { refusal } from './support/errors.js';
import { expected, fixture } from './support/fixtures.js';
import {
  artifactOf,
  descriptorOf,
  digestText,
  DOCKER,
  hex,
  imageOf,
  OCI,
  part,
  put,
  type Part,
  type Sample,
} from './support/images.js';
import { entriesOf, layFiles, layoutFiles, savedFiles } from './support/layouts.js';
import { imageIdsOf, namesOf, newPlace, place } from './support/places.js';
import { piped } from './support/processes.js';
import { contentsOf, filesIn, stagingIn } from './support/snapshot.js';
import { bodyOf, file, link, readTarFile, tarOf, writeTar, type TarMember } from './support/tars.js';
import { tempFolder } from './support/temp.js';

const KEEP = { compression: 'keep' } as const;

/** Names as the fixtures' table has them, told apart by what Docker shows. */
function shown(name: string): string {
  return name.replace(/^docker\.io\//, '');
}

interface Laid {
  readonly manifest: {
    readonly mediaType: string;
    readonly config: { digest: string };
    readonly layers: { digest: string; mediaType: string }[] | null;
  };
  readonly config: { readonly rootfs: { readonly diff_ids: string[] | null } };
  readonly layers: readonly Buffer[];
}

/** An image of a tree, read and proved without imgconv. */
function laid(folder: string): Laid {
  const blob = (digest: string) => {
    const bytes = readFileSync(join(folder, hex(digest)));
    assert.equal(digestText(bytes), digest);
    return bytes;
  };
  const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as Laid['manifest'];
  const config = JSON.parse(blob(manifest.config.digest).toString()) as Laid['config'];
  const layers = (manifest.layers ?? []).map(({ digest }) => blob(digest));
  return { manifest, config, layers };
}

function unzipped(layer: Buffer): Buffer {
  return layer[0] === 0x1f ? gunzipSync(layer) : layer;
}

async function toTree(
  archive: string,
  options: ConvertOptions = KEEP,
): Promise<{ tree: string; report: Report }> {
  const tree = newPlace('dir');
  const report = await convert(place('tar', archive), tree, { scoped: true, ...options });
  return { tree: tree.path, report };
}

/** Where a tree has the image of this name. */
function folderOf(tree: string, name: string): string {
  return (
    [name, `docker.io/${name}`].map((one) => join(tree, one)).find((path) => existsSync(path)) ??
    join(tree, name)
  );
}

describe('the fixtures', () => {
  for (const [archive, imageIds] of Object.entries(expected.imageIds)) {
    for (const compression of ['keep', 'gzip'] as const) {
      test(`${archive} gives the image IDs that its tools gave, layers: ${compression}`, async () => {
        const untagged = 'untagged' in imageIds;
        const { tree, report } = await toTree(fixture(archive), {
          compression,
          tag: untagged ? 'untagged:1' : undefined,
        });
        assert.deepEqual(
          failedImages(report).map(({ source, error }) => `${source}: ${error?.message ?? ''}`),
          [],
        );
        assert.equal(report.images.length, Object.keys(imageIds).length);
        for (const [name, imageId] of Object.entries(imageIds)) {
          const { manifest, config, layers } = laid(folderOf(tree, untagged ? 'untagged:1' : shown(name)));
          assert.equal(manifest.config.digest, imageId, name);
          assert.deepEqual(
            layers.map((layer) => digestText(unzipped(layer))),
            config.rootfs.diff_ids ?? [],
            name,
          );
          if (compression !== 'keep')
            assert.ok(
              layers.every((layer) => layer[0] === 0x1f && layer[1] === 0x8b),
              name,
            );
        }
      });
    }
  }

  for (const archive of ['docker28.tar', 'containerd28.tar', 'containerd28-bare.tar']) {
    test(`${archive} keeps its own manifests, byte for byte`, async () => {
      const digests = expected.digests[archive] ?? {};
      assert.ok(Object.keys(digests).length > 0);
      const { tree, report } = await toTree(fixture(archive));
      const members = await readTarFile(fixture(archive));
      for (const [name, digest] of Object.entries(digests)) {
        const manifest = readFileSync(join(folderOf(tree, shown(name)), 'manifest.json'));
        assert.equal(digestText(manifest), digest, name);
        assert.ok(manifest.equals(bodyOf(members, `blobs/sha256/${hex(digest)}`)));
      }
      assert.deepEqual(
        report.images.flatMap(({ notes }) => notes),
        [],
      );
    });
  }

  test('an index whose members the engine did not keep is refused, and says by platform what is missing', async () => {
    const store = newPlace('reg');
    const { images } = await convert(place('tar', fixture('containerd28-multiarch.tar')), store, KEEP);
    assert.deepEqual(
      images.map(({ status }) => status),
      ['failed'],
    );
    const error = images[0]?.error;
    assert.equal(error?.code, 'BLOB_MISSING');
    for (const word of ['linux/amd64: 1 config, 2 layers', 'linux/arm64/v8: 1 manifest', 'linux/arm/v7: 1'])
      assert.ok(error.message.includes(word), `no ${word} in: ${error.message}`);
    assert.deepEqual(filesIn(store.path), []);
  });

  for (const archive of [
    'docker20.tar',
    'legacy-v1.tar',
    'skopeo-archive.tar',
    'crane.tar',
    'nix-stream.tar',
  ]) {
    test(`${archive}, which has no manifests, always gives the same ones`, async () => {
      const [one, other] = [
        await toTree(fixture(archive)),
        await toTree(fixture(archive), { ...KEEP, jobs: 1 }),
      ];
      assert.deepEqual(contentsOf(other.tree), contentsOf(one.tree));
    });
  }
});

describe('the same archive in another shape', () => {
  const SHAPES: Readonly<Record<string, (members: readonly TarMember[]) => TarMember[]>> = {
    'its entries backwards': (members) => members.toReversed(),
    'its entries in the order of their names': (members) =>
      members.toSorted((a, b) => (a.header.name < b.header.name ? -1 : 1)),
    'manifest.json first': (members) => [
      ...members.filter(isManifest),
      ...members.filter((one) => !isManifest(one)),
    ],
    'manifest.json last': (members) => [
      ...members.filter((one) => !isManifest(one)),
      ...members.filter(isManifest),
    ],
    './ before names': (members) =>
      members.map((one) => ({ ...one, header: { ...one.header, name: `./${one.header.name}` } })),
    'no entries for folders': (members) => members.filter(({ header }) => header.type !== 'directory'),
    'hard links for symbolic ones': (members) =>
      members.map((one) => {
        const { name, type, linkname } = one.header;
        if (type !== 'symlink' || linkname === undefined) return one;
        return link('link', name, join(name, '..', linkname));
      }),
    'links to links': (members) =>
      members.flatMap((one) => {
        const { name, type, linkname } = one.header;
        if (type !== 'symlink' || linkname === undefined) return [one];
        return [
          link('symlink', name, 'other-name'),
          link('symlink', join(name, '..', 'other-name'), linkname),
        ];
      }),
    'every entry twice, the first time with other bytes': (members) => [
      ...members
        .filter(({ body }) => body.length > 0)
        .map(({ header, body }) => ({ header, body: Buffer.alloc(body.length, 'x') })),
      ...members,
    ],
    'files that nothing names': (members) => [
      file('extra/file', 'x'),
      ...members,
      file('blobs/sha256/ff', 'x'),
    ],
  };
  function isManifest({ header }: TarMember): boolean {
    return header.name === 'manifest.json';
  }

  for (const archive of [
    'docker20.tar',
    'docker28.tar',
    'skopeo-archive.tar',
    'crane.tar',
    'containerd28.tar',
  ]) {
    for (const [title, reshape] of Object.entries(SHAPES)) {
      test(`${archive} with ${title} gives the same images`, async () => {
        const reshaped = join(tempFolder(), archive);
        writeFileSync(reshaped, await writeTar(reshape(await readTarFile(fixture(archive)))));
        const [{ tree: one }, { tree: other }] = [await toTree(fixture(archive)), await toTree(reshaped)];
        assert.deepEqual(contentsOf(other), contentsOf(one));
      });
    }
  }
});

/** An image as Docker 1.10 to 24 saved it. */
interface Saved {
  readonly config: Buffer;
  readonly layers: readonly Buffer[];
  readonly tags: readonly string[] | null;
  /** Names in the archive, where they are not what Docker makes of the content. */
  readonly configName?: string;
  readonly layerNames?: readonly string[];
}

async function savedImage(
  text: string,
  tags: readonly string[] | null,
): Promise<Saved & { readonly layers: readonly [Buffer, Buffer] }> {
  const layers = [await tarOf({ base: 'base' }), await tarOf({ text })] as const;
  const rootfs = { type: 'layers', diff_ids: layers.map((layer) => digestText(layer)) };
  return {
    config: Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs })),
    layers,
    tags,
  };
}

function members(images: readonly Saved[]): TarMember[] {
  const files = new Map<string, Buffer>();
  const entries = images.map(({ config, layers, tags, configName, layerNames }) => {
    const Config = configName ?? `${hex(digestText(config))}.json`;
    files.set(Config, config);
    const Layers = layers.map(
      (layer, i) => layerNames?.[i] ?? `${hex(digestText(layer)).slice(0, 12)}/layer.tar`,
    );
    for (const [i, layer] of layers.entries()) files.set(Layers[i] ?? '', layer);
    return { Config, RepoTags: tags, Layers };
  });
  return [
    ...[...files].map(([name, body]) => file(name, body)),
    file('manifest.json', JSON.stringify(entries)),
  ];
}

async function saved(entries: readonly TarMember[]): Promise<string> {
  const path = join(tempFolder(), 'saved.tar');
  writeFileSync(path, await writeTar(entries));
  return path;
}

const GOOD = 'demo/good:1';

/** Both ways: as a file, and as a stream that passes once. Gives the digests that came of it, which have to be the same. */
async function bothWays(archive: string, options: ConvertOptions): Promise<Report> {
  const [byName, streamed] = [newPlace('reg'), newPlace('reg')];
  const report = await convert(place('tar', archive), byName, options);
  const words = ['tar2reg', '-', streamed.path, '--compression', options.compression ?? 'gzip'];
  const { status, stderr } = await piped(words, readFileSync(archive));
  assert.equal(status, 0, stderr);
  assert.deepEqual(contentsOf(streamed.path), contentsOf(byName.path));
  return report;
}

describe('what Docker loads though Docker does not write it:', () => {
  /** manifest.json, its keys renamed. */
  async function withKeys(rename: (json: string) => string): Promise<{ plain: string; renamed: string }> {
    const all = members([await savedImage('keys', [GOOD])]);
    const other = all.map((one) =>
      one.header.name === 'manifest.json' ? file('manifest.json', rename(one.body.toString())) : one,
    );
    return { plain: await saved(all), renamed: await saved(other) };
  }
  const KEYS = /"(?:Config|RepoTags|Layers)"(?=:)/g;

  for (const [title, rename] of [
    ['lower case, as in jib', (json: string) => json.replace(KEYS, (key) => key.toLowerCase())],
    ['upper case', (json: string) => json.replace(KEYS, (key) => key.toUpperCase())],
    ['letters that Go folds', (json: string) => json.replace('"Layers"', '"layer\u017f"')],
  ] as const) {
    test(`keys of manifest.json in ${title}`, async () => {
      const { plain, renamed } = await withKeys(rename);
      const [{ tree: one }, { tree: other }] = [await toTree(plain), await toTree(renamed)];
      assert.deepEqual(contentsOf(other), contentsOf(one));
    });
  }

  for (const key of ['Config', 'RepoTags', 'Layers']) {
    test(`but not two spellings of ${key}`, async () => {
      const { renamed } = await withKeys((json) =>
        json.replace(`{"Config"`, `{${JSON.stringify(key.toLowerCase())}:null,"Config"`),
      );
      const target = newPlace('reg');
      await assert.rejects(
        convert(place('tar', renamed), target),
        refusal('MANIFEST_INVALID', renamed, key, key.toLowerCase()),
      );
      assert.equal(existsSync(target.path), false);
    });
  }

  for (const configName of [`${'ab'.repeat(32)}.json`, `sha256:${'ab'.repeat(32)}`]) {
    test(`a config that is named ${configName.slice(0, 9)}… and has another digest`, async () => {
      const sound = await savedImage('misnamed', [GOOD]);
      const { tree, report } = await toTree(await saved(members([{ ...sound, configName }])));
      assert.equal(laid(join(tree, GOOD)).manifest.config.digest, digestText(sound.config));
      assert.deepEqual(
        report.images.map(({ status, notes }) => [status, notes]),
        [
          [
            'written',
            [`${configName} is named after another digest: its own is ${digestText(sound.config)}`],
          ],
        ],
      );
    });
  }

  for (const zeros of [1, 512, 300_000]) {
    test(`gzip layers with ${zeros} zero(s) after their end`, async () => {
      const plain = await savedImage('zeros', [GOOD]);
      const layers = plain.layers.map((layer) => Buffer.concat([gzipSync(layer), Buffer.alloc(zeros)]));
      const archive = await saved(members([{ ...plain, layers }]));
      for (const compression of ['keep', 'gzip'] as const) await bothWays(archive, { compression });
      const { tree } = await toTree(archive);
      assert.deepEqual(laid(join(tree, GOOD)).layers, layers);
      const unpacked = newPlace('tar');
      const report = await convert(place('tar', archive), unpacked, {
        compression: 'none',
        recompress: true,
      });
      assert.deepEqual(failedImages(report), []);
      const { blobs, findings } = await verify(place('tar', archive), { deep: true });
      assert.deepEqual([blobs.blobs > 0, findings], [true, []]);
      const streamed = await piped(['verify', '-', '--deep'], readFileSync(archive));
      assert.equal(streamed.status, 0, streamed.stderr);
    });
  }

  test('an archive in gzip with zeros after its end', async () => {
    const packed = join(tempFolder(), 'saved.tar.gz');
    writeFileSync(
      packed,
      Buffer.concat([gzipSync(readFileSync(fixture('docker20.tar'))), Buffer.alloc(3_000_000)]),
    );
    const { report } = await toTree(packed);
    assert.deepEqual(failedImages(report), []);
    await bothWays(packed, { compression: 'gzip' });
  });

  for (const program of ['bzip2', 'xz']) {
    const skip =
      spawnSync(program, ['--version'], { stdio: 'ignore' }).error !== undefined && `no ${program} here`;
    const pack = (layer: Buffer) => execFileSync(program, ['-c'], { input: layer });

    for (const compression of ['keep', 'gzip'] as const) {
      test(`layers in ${program}, ${compression}`, { skip }, async () => {
        const plain = await savedImage('packed', [GOOD]);
        const [base, own] = plain.layers;
        // One of two members, as parallel packers write them.
        const layers = [pack(base), Buffer.concat([pack(own.subarray(0, 700)), pack(own.subarray(700))])];
        const packed = await saved(members([{ ...plain, layers }]));
        const { tree: wanted } = await toTree(await saved(members([plain])), { compression });
        const { tree, report } = await toTree(packed, { compression });
        assert.deepEqual(contentsOf(tree), contentsOf(wanted));
        const note = `2 layers in ${program}, which no media type stands for: unpacked`;
        assert.ok(report.images[0]?.notes.includes(note), report.images[0]?.notes.join());
        await bothWays(packed, { compression });
      });
    }

    test(`layers in ${program} are listed and verified, also as a stream`, { skip }, async () => {
      const plain = await savedImage('packed', [GOOD]);
      const packed = await saved(members([{ ...plain, layers: plain.layers.map(pack) }]));
      const digests = await namesOf(place('tar', await saved(members([plain]))));
      assert.deepEqual(await namesOf(place('tar', packed)), digests);
      const listed = await piped(['ls', '-', '--json'], readFileSync(packed));
      assert.match(listed.stdout.toString(), new RegExp(digests[GOOD] ?? 'no such digest'));
      for (const deep of [[], ['--deep']])
        for (const input of [undefined, readFileSync(packed)]) {
          const { status, stderr } = await piped(
            ['verify', input === undefined ? packed : '-', ...deep],
            input ?? Buffer.alloc(0),
          );
          assert.equal(status, 0, stderr);
        }
    });

    test(`layers in ${program} in an archive of before Docker 1.10`, { skip }, async () => {
      const all = await readTarFile(fixture('legacy-v1.tar'));
      const packed = all.map((one) =>
        one.header.name.endsWith('/layer.tar') && one.header.type === 'file'
          ? file(one.header.name, pack(one.body))
          : one,
      );
      assert.deepEqual(
        await imageIdsOf(place('tar', await saved(packed))),
        expected.imageIds['legacy-v1.tar'],
      );
    });
  }
});

describe('an image that is not right is refused, and it alone', () => {
  const rootfs = (...layers: Buffer[]) => ({
    type: 'layers',
    diff_ids: layers.map((layer) => digestText(layer)),
  });
  const configOf = (fields: object) =>
    Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', ...fields }));

  const CASES: Readonly<
    Record<
      string,
      readonly [
        ErrorCode,
        (bad: Awaited<ReturnType<typeof savedImage>>) => Saved | Promise<Saved>,
        ...string[],
      ]
    >
  > = {
    'fewer layers than diffIDs': ['ARCHIVE_INVALID', (bad) => ({ ...bad, layers: bad.layers.slice(1) })],
    'more layers than diffIDs': [
      'ARCHIVE_INVALID',
      (bad) => ({ ...bad, layers: [...bad.layers, bad.layers[0]] }),
    ],
    'no layers, and diffIDs': ['ARCHIVE_INVALID', (bad) => ({ ...bad, layers: [] })],
    'layers in another order': ['DIGEST_MISMATCH', (bad) => ({ ...bad, layers: bad.layers.toReversed() })],
    'a layer of other bytes': [
      'DIGEST_MISMATCH',
      async (bad) => ({ ...bad, layers: [bad.layers[0], await tarOf({ text: 'evil' })] }),
    ],
    'a compressed layer of other bytes': [
      'DIGEST_MISMATCH',
      async (bad) => ({ ...bad, layers: [bad.layers[0], gzipSync(await tarOf({ text: 'evil' }))] }),
    ],
    'a compressed layer that is damaged': [
      'DIGEST_MISMATCH',
      (bad) => ({ ...bad, layers: [bad.layers[0], gzipSync(bad.layers[1]).subarray(0, -5)] }),
    ],
    'a config without rootfs': ['MANIFEST_INVALID', (bad) => ({ ...bad, config: configOf({}) }), 'rootfs'],
    'a config that is a list': ['MANIFEST_INVALID', (bad) => ({ ...bad, config: Buffer.from('[]') })],
    'a config that is null': ['MANIFEST_INVALID', (bad) => ({ ...bad, config: Buffer.from('null') })],
    'a config that is no JSON': [
      'MANIFEST_INVALID',
      (bad) => ({ ...bad, config: Buffer.from('{"rootfs":') }),
      'JSON',
    ],
    'a diffID that is no digest': [
      'MANIFEST_INVALID',
      (bad) => ({ ...bad, config: configOf({ rootfs: { type: 'layers', diff_ids: ['sha256:x', 'y'] } }) }),
      'diff_ids',
    ],
    'a config that is a blob of a layout, whose name is the digest of another': [
      'DIGEST_MISMATCH',
      (bad) => ({ ...bad, configName: `blobs/sha256/${'ab'.repeat(32)}` }),
      'ab'.repeat(32),
    ],
    'a damaged bzip2 layer': [
      'DIGEST_MISMATCH',
      (bad) => ({ ...bad, layers: [bad.layers[0], Buffer.from('BZh9 and no more')] }),
      'bzip2',
    ],
    'a damaged xz layer': [
      'DIGEST_MISMATCH',
      (bad) => ({
        ...bad,
        layers: [bad.layers[0], Buffer.from('\xfd7zXZ\0 and no more', 'latin1')],
      }),
      'xz',
    ],
    'a name out of the tree': ['NAME_INVALID', (bad) => ({ ...bad, tags: ['demo/../../evil:1'] })],
    'a name of upper case': ['NAME_INVALID', (bad) => ({ ...bad, tags: ['demo/Evil:1'] })],
    'a name with a broken tag': ['NAME_INVALID', (bad) => ({ ...bad, tags: ['demo/evil:../x'] })],
    'no name': ['NAME_MISSING', (bad) => ({ ...bad, tags: null })],
    'no names': ['NAME_MISSING', (bad) => ({ ...bad, tags: [] })],
    'diffIDs of an image it is not': [
      'DIGEST_MISMATCH',
      async (bad) => ({
        ...bad,
        config: configOf({ rootfs: rootfs(bad.layers[1], await tarOf({ x: 'y' })) }),
      }),
    ],
  };

  for (const [title, [code, spoil, ...words]] of Object.entries(CASES)) {
    for (const to of ['reg', 'dir', 'tar'] as const) {
      test(`${title}, into ${to}`, async () => {
        const bad = await spoil(await savedImage('bad', ['demo/bad:1']));
        const archive = await saved(members([bad, await savedImage('good', [GOOD])]));
        const target = newPlace(to);
        const report = await convert(place('tar', archive), target, KEEP);
        const failed = failedImages(report);
        assert.equal(failed.length, 1);
        assert.equal(failed[0]?.error?.code, code, failed[0]?.error?.message);
        for (const word of words) assert.ok(failed[0].error.message.includes(word), failed[0].error.message);
        assert.deepEqual(Object.keys(await namesOf(target)), [GOOD]);
        assert.deepEqual(stagingIn(join(target.path, '..')), []);
      });
    }
  }

  /** Which entries to spoil: the layers of the bad image, and its config. */
  interface Marks {
    readonly base: string;
    readonly own: string;
    readonly config: string;
  }
  function relink(
    entries: TarMember[],
    { own }: Marks,
    type: 'link' | 'symlink',
    target: string,
  ): TarMember[] {
    return entries.map((one) => (digestText(one.body) === own ? link(type, one.header.name, target) : one));
  }

  for (const [title, code, spoil] of [
    [
      'a config that is not there',
      'BLOB_MISSING',
      (all: TarMember[], { config }: Marks) => all.filter(({ body }) => digestText(body) !== config),
    ],
    [
      'a layer that is not there',
      'BLOB_MISSING',
      (all: TarMember[], { own }: Marks) => all.filter(({ body }) => digestText(body) !== own),
    ],
    [
      'a layer that links out of the archive',
      'ARCHIVE_INVALID',
      (all: TarMember[], marks: Marks) => relink(all, marks, 'symlink', '../../../etc/passwd'),
    ],
    [
      'a layer that links to an absolute path',
      'ARCHIVE_INVALID',
      (all: TarMember[], marks: Marks) => relink(all, marks, 'link', '/etc/passwd'),
    ],
    [
      'a layer that links to itself',
      'ARCHIVE_INVALID',
      (all: TarMember[], marks: Marks) => relink(all, marks, 'symlink', 'layer.tar'),
    ],
    [
      'a layer that links to another one',
      'DIGEST_MISMATCH',
      (all: TarMember[], marks: Marks) =>
        relink(all, marks, 'symlink', `../${hex(marks.base).slice(0, 12)}/layer.tar`),
    ],
  ] as const) {
    test(title, async () => {
      const bad = await savedImage('bad', ['demo/bad:1']);
      const [base, own] = bad.layers.map((layer) => digestText(layer));
      const marks = { base: base ?? '', own: own ?? '', config: digestText(bad.config) };
      const entries = members([bad, await savedImage('good', [GOOD])]);
      const target = newPlace('reg');
      const report = await convert(place('tar', await saved(spoil(entries, marks))), target, KEEP);
      assert.deepEqual(
        failedImages(report).map(({ source, error }) => [source, error?.code]),
        [['demo/bad:1', code]],
      );
      assert.deepEqual(Object.keys(await namesOf(target)), [GOOD]);
    });
  }

  test('paths in manifest.json lead to no file outside', async () => {
    const folder = tempFolder();
    const { config, layers } = await savedImage('outside', null);
    put(join(folder, 'config.json'), config);
    put(join(folder, 'layer.tar'), layers[0]);
    for (const outside of [folder, `../${folder.split('/').at(-1) ?? ''}`, '.']) {
      const entry = {
        Config: `${outside}/config.json`,
        RepoTags: ['demo/bad:1'],
        Layers: [`${outside}/layer.tar`, `${outside}/layer.tar`],
      };
      const archive = join(folder, 'saved.tar');
      writeFileSync(archive, await writeTar([file('manifest.json', JSON.stringify([entry]))]));
      const target = newPlace('dir');
      const { images } = await convert(place('tar', archive), target, KEEP);
      assert.deepEqual(
        images.map(({ error }) => error?.code),
        ['BLOB_MISSING'],
      );
      assert.deepEqual(filesIn(target.path), []);
    }
  });
});

describe('an archive that is not right is refused whole', () => {
  for (const [title, code, entries] of [
    ['no manifest.json', 'FORMAT_UNKNOWN', [file('other', 'x')]],
    ['a manifest.json that is no JSON', 'MANIFEST_INVALID', [file('manifest.json', '[')]],
    ['a manifest.json that is no list', 'MANIFEST_INVALID', [file('manifest.json', '{}')]],
    [
      'an entry without a config',
      'MANIFEST_INVALID',
      [file('manifest.json', '[{"RepoTags":["a:1"],"Layers":[]}]')],
    ],
    ['layers that are no list', 'MANIFEST_INVALID', [file('manifest.json', '[{"Config":"c","Layers":"l"}]')]],
    [
      'names that are no texts',
      'MANIFEST_INVALID',
      [file('manifest.json', '[{"Config":"c","RepoTags":[1],"Layers":[]}]')],
    ],
    ['no images', 'NOT_FOUND', [file('manifest.json', '[]')]],
    [
      'a device',
      'ARCHIVE_INVALID',
      [
        { header: { name: 'null', type: 'character-device' }, body: Buffer.alloc(0) },
        file('manifest.json', '[]'),
      ],
    ],
    [
      'an index.json that is no JSON',
      'MANIFEST_INVALID',
      [file('manifest.json', '[]'), file('index.json', '[')],
    ],
    [
      'a manifest.json that is a link out',
      'ARCHIVE_INVALID',
      [link('symlink', 'manifest.json', '../../etc/passwd')],
    ],
  ] as const satisfies readonly (readonly [string, ErrorCode, readonly TarMember[]])[]) {
    test(title, async () => {
      const archive = await saved(entries);
      const target = newPlace('reg');
      await assert.rejects(convert(place('tar', archive), target), refusal(code, archive));
      assert.equal(existsSync(target.path), false);
    });
  }

  test('a cut-off one, and says where', async () => {
    const whole = readFileSync(fixture('docker20.tar'));
    const archive = join(tempFolder(), 'cut.tar');
    writeFileSync(archive, whole.subarray(0, 30_000));
    const target = newPlace('reg');
    await assert.rejects(
      convert(place('tar', archive), target),
      refusal('ARCHIVE_INVALID', archive, '30000'),
    );
    assert.equal(existsSync(target.path), false);
  });
});

describe('names', () => {
  test('an image without one is refused, and takes the one it is given', async () => {
    for (const tags of [null, []]) {
      const archive = await saved(members([await savedImage('untagged', tags)]));
      const target = newPlace('reg');
      const { images } = await convert(place('tar', archive), target);
      assert.equal(images[0]?.error?.code, 'NAME_MISSING');
      assert.match(images[0].error.hint ?? '', /-t/);
      assert.deepEqual(filesIn(target.path), []);
      await convert(place('tar', archive), target, { tag: 'my/name:2' });
      assert.deepEqual(Object.keys(await namesOf(target)), ['my/name:2']);
    }
  });

  test('a name is not given to two images', async () => {
    const archive = await saved(
      members([await savedImage('one', ['a:1']), await savedImage('two', ['b:1'])]),
    );
    const target = newPlace('reg');
    await assert.rejects(convert(place('tar', archive), target, { tag: 'my/name:2' }), refusal('USAGE'));
    assert.equal(existsSync(target.path), false);
  });

  test('an image may have several', async () => {
    const archive = await saved(members([await savedImage('one', ['a:1', 'b/c:2', 'localhost:5000/d:3'])]));
    const target = newPlace('reg');
    await convert(place('tar', archive), target);
    const names = await namesOf(target);
    assert.deepEqual(Object.keys(names), ['a:1', 'b/c:2', 'd:3']);
    assert.equal(new Set(Object.values(names)).size, 1);
  });

  test('an image without layers is one too', async () => {
    const config = Buffer.from(
      '{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":null}}',
    );
    const archive = await saved([
      file('c.json', config),
      file('manifest.json', '[{"Config":"c.json","RepoTags":["scratch:1"],"Layers":null}]'),
    ]);
    const { tree } = await toTree(archive);
    assert.equal(laid(join(tree, 'scratch:1')).manifest.config.digest, digestText(config));
  });
});

describe('an archive with index.json and manifest.json', () => {
  const WARNING = /index\.json disagrees with manifest\.json/;

  /** An archive whose manifest.json tells of one image and whose index.json tells of these. */
  async function hybrid(
    ours: Saved,
    named: Readonly<Record<string, Part>>,
    blobs: readonly Part[],
  ): Promise<string> {
    const manifests = Object.entries(named).map(([name, one]) =>
      descriptorOf(one, {
        annotations: {
          'io.containerd.image.name': `docker.io/${name}`,
          'org.opencontainers.image.ref.name': name.split(':')[1],
        },
      }),
    );
    const parts = new Map(
      [...Object.values(named), ...blobs].map((one) => [`blobs/sha256/${hex(one.digest)}`, one.bytes]),
    );
    return saved([
      ...[...parts].map(([name, bytes]) => file(name, bytes)),
      file('index.json', JSON.stringify({ schemaVersion: 2, mediaType: OCI.index, manifests })),
      file('oci-layout', '{"imageLayoutVersion":"1.0.0"}'),
      ...members([ours]),
    ]);
  }

  /** A manifest of these layers with the image's own config. */
  async function manifestOf(
    ours: Saved,
    layers: readonly Part[],
  ): Promise<{ root: Part; blobs: readonly Part[] }> {
    const config = part(OCI.config, ours.config);
    const root = part(OCI.manifest, {
      schemaVersion: 2,
      mediaType: OCI.manifest,
      config: descriptorOf(config),
      layers: layers.map((layer) => descriptorOf(layer)),
      annotations: { made: 'elsewhere' },
    });
    return Promise.resolve({ root, blobs: [config, ...layers] });
  }

  test('that agree keeps the manifest, also with compressed layers', async () => {
    const ours = await savedImage('ours', ['demo/app:1']);
    for (const layers of [
      ours.layers.map((layer) => part(OCI.layer, layer)),
      ours.layers.map((layer) => part(OCI.gzip, gzipSync(layer))),
    ]) {
      const { root, blobs } = await manifestOf(ours, layers);
      const { tree, report } = await toTree(await hybrid(ours, { 'demo/app:1': root }, blobs));
      assert.deepEqual(
        report.images.map(({ digest, notes }) => [digest, notes]),
        [[root.digest, []]],
      );
      assert.ok(readFileSync(join(tree, 'demo/app:1/manifest.json')).equals(root.bytes));
    }
  });

  test('that lacks the member of an index that manifest.json may mean says so, and makes no new manifest', async () => {
    const ours = await savedImage('ours', ['demo/app:1']);
    const { root } = await manifestOf(
      ours,
      ours.layers.map((layer) => part(OCI.layer, layer)),
    );
    const index = part(OCI.index, {
      schemaVersion: 2,
      mediaType: OCI.index,
      manifests: [descriptorOf(root)],
    });
    const { report } = await toTree(await hybrid(ours, { 'demo/app:1': index }, []));
    assert.deepEqual(
      failedImages(report).map(({ error }) => error?.code),
      ['BLOB_MISSING'],
    );
    assert.match(failedImages(report)[0]?.error?.message ?? '', new RegExp(`manifest ${root.digest}`));
  });

  for (const [title, theirs] of [
    [
      'names another image',
      (ours: Saved) => imageOf('another').then(({ root, blobs }) => ({ root, blobs, ours })),
    ],
    // Docker 25.0.0 to 25.0.2 wrote such ones.
    ['has no layers', (ours: Saved) => manifestOf(ours, [])],
    [
      'has the layers in another order',
      (ours: Saved) =>
        manifestOf(
          ours,
          ours.layers.toReversed().map((layer) => part(OCI.layer, layer)),
        ),
    ],
    [
      'has a layer more',
      (ours: Saved) =>
        manifestOf(
          ours,
          [...ours.layers, Buffer.alloc(1024)].map((layer) => part(OCI.layer, layer)),
        ),
    ],
    [
      'lacks its layers',
      async (ours: Saved) => ({
        ...(await manifestOf(
          ours,
          ours.layers.map((layer) => part(OCI.gzip, gzipSync(layer))),
        )),
        blobs: [],
      }),
    ],
    ['is of an artifact', () => Promise.resolve(artifactOf('no image'))],
  ] as const) {
    test(`whose index.json ${title} goes by manifest.json, and says so`, async () => {
      const ours = await savedImage('ours', ['demo/app:1']);
      const { root, blobs } = await theirs(ours);
      const { tree, report } = await toTree(await hybrid(ours, { 'demo/app:1': root }, blobs));
      assert.deepEqual(
        report.images.map(({ status, name }) => [name, status]),
        [['demo/app:1', 'written']],
      );
      assert.match(report.images[0]?.notes.join('\n') ?? '', WARNING);
      const { manifest, layers } = laid(join(tree, 'demo/app:1'));
      assert.equal(manifest.config.digest, digestText(ours.config));
      assert.deepEqual(layers, ours.layers);
      assert.equal(manifest.mediaType, DOCKER.manifest);
    });
  }

  test('whose index.json names compressed layers of other content is refused', async () => {
    const ours = await savedImage('ours', ['demo/app:1']);
    const evil = [ours.layers[0], await tarOf({ text: 'evil' })].map((layer) =>
      part(OCI.gzip, gzipSync(layer)),
    );
    const { root, blobs } = await manifestOf(ours, evil);
    const target = newPlace('dir');
    const { images } = await convert(
      place('tar', await hybrid(ours, { 'demo/app:1': root }, blobs)),
      target,
      KEEP,
    );
    assert.deepEqual(
      images.map(({ error }) => error?.code),
      ['DIGEST_MISMATCH'],
    );
    assert.deepEqual(filesIn(target.path), []);
  });

  test('carries what index.json alone names', async () => {
    const ours = await savedImage('ours', ['demo/app:1']);
    const chart = artifactOf('chart');
    const { root, blobs } = await manifestOf(
      ours,
      ours.layers.map((layer) => part(OCI.layer, layer)),
    );
    const archive = await hybrid(ours, { 'charts/demo:1': chart.root, 'demo/app:1': root }, [
      ...blobs,
      ...chart.blobs,
    ]);
    const target = newPlace('reg');
    await convert(place('tar', archive), target, KEEP);
    assert.deepEqual(await namesOf(target), {
      'charts/demo:1': chart.root.digest,
      'demo/app:1': root.digest,
    });
  });
});

describe('an image whose config and manifest do not fit together', () => {
  interface Made {
    readonly layers: readonly Buffer[];
    readonly diffIds: readonly string[];
  }
  function made({ layers, diffIds }: Made): Sample {
    const config = part(OCI.config, {
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: diffIds },
    });
    const parts = layers.map((bytes) => part(OCI.gzip, bytes));
    const root = part(OCI.manifest, {
      schemaVersion: 2,
      mediaType: OCI.manifest,
      config: descriptorOf(config),
      layers: parts.map((one) => descriptorOf(one)),
    });
    return { root, members: [], blobs: [config, ...parts], platform: undefined };
  }
  const NAME = 'demo/made:1';
  async function tars(): Promise<[Buffer, Buffer]> {
    return [await tarOf({ 'etc/a': 'a'.repeat(3000) }), await tarOf({ 'etc/b': 'b' })];
  }
  function layoutOf(sample: Sample): Place {
    return place('oci', layFiles(tempFolder(), layoutFiles(entriesOf({ [NAME]: sample }))));
  }
  test('one diffID and two layers: carried as it is, into an archive too and out of it; verify says broken', async () => {
    const [one, other] = await tars();
    for (const diffIds of [[], [digestText(one)], [one, other, one].map((tar) => digestText(tar))]) {
      const sample = made({ layers: [gzipSync(one), gzipSync(other)], diffIds });
      const from = layoutOf(sample);
      for (const short of ['dir', 'reg', 'oci', 'ocitar', 'tar']) {
        const [there, back] = [newPlace(short), newPlace('reg')];
        const { images } = await convert(from, there, KEEP);
        const notes = images.flatMap((image) => image.notes).join();
        const said = `\`docker load\` ignores it: its config has ${diffIds.length} diffIDs, and its manifest 2 layers`;
        assert.equal(notes, short === 'tar' ? said : '');
        await convert(there, back, KEEP);
        assert.deepEqual(await namesOf(back), { [NAME]: sample.root.digest }, short);
        for (const at of [from, there, back])
          assert.deepEqual(
            (await verify(at)).findings.map(({ severity, kind }) => [severity, kind]),
            [['broken', 'config-mismatch']],
          );
        if (short !== 'tar') continue;
        const members = await readTarFile(there.path);
        assert.equal(bodyOf(members, 'manifest.json').toString(), '[]');
      }
    }
  });

  test('one diffID and two layers: not in another compression, and not in manifest.json', async () => {
    const [one, other] = await tars();
    const sample = made({ layers: [gzipSync(one), gzipSync(other)], diffIds: [digestText(one)] });
    const unpacked = { compression: 'none', recompress: true } as const;
    const archive = newPlace('tar');
    for (const [from, options, code] of [
      [layoutOf(sample), unpacked, 'MANIFEST_INVALID'],
      [archive, KEEP, 'ARCHIVE_INVALID'],
    ] as const) {
      writeFileSync(archive.path, await tarOf(savedFiles({ [NAME]: sample })));
      const target = newPlace('reg');
      const { images } = await convert(from, target, options);
      assert.deepEqual(
        images.map(({ error }) => error?.code),
        [code],
      );
      assert.deepEqual(filesIn(target.path), []);
    }
  });

  test('one diffID of two layers that both unpack to it: sound everywhere, and one tar when unpacked', async () => {
    const [one] = await tars();
    const layers = [gzipSync(one, { level: 1 }), gzipSync(one, { level: 9 })];
    assert.notDeepEqual(layers[0], layers[1]);
    const sample = made({ layers, diffIds: [one, one].map((tar) => digestText(tar)) });
    const from = layoutOf(sample);
    assert.deepEqual((await verify(from, { deep: true })).findings, []);
    const [archive, store] = [newPlace('tar'), newPlace('reg')];
    await convert(from, archive, KEEP);
    await convert(archive, store, KEEP);
    assert.deepEqual(await namesOf(store), { [NAME]: sample.root.digest });
    const unpacked = newPlace('tar');
    await convert(from, unpacked, { compression: 'none', recompress: true });
    assert.deepEqual((await verify(unpacked, { deep: true })).findings, []);
    const [entry] = JSON.parse(bodyOf(await readTarFile(unpacked.path), 'manifest.json').toString()) as {
      Layers: string[];
    }[];
    assert.deepEqual(
      entry?.Layers,
      [one, one].map((tar) => `blobs/sha256/${hex(digestText(tar))}`),
    );
  });

  for (const [what, reverse] of [
    ['first', false],
    ['last', true],
  ] as const)
    test(`two diffIDs of one layer, the ${what} right: refused out of an archive, as docker load does`, async () => {
      const [one, other] = await tars();
      const diffIds = [one, other].map((tar) => digestText(tar));
      const layer = gzipSync(one);
      const sample = made({ layers: [layer, layer], diffIds: reverse ? diffIds.reverse() : diffIds });
      const archive = newPlace('tar');
      writeFileSync(archive.path, await tarOf(savedFiles({ [NAME]: sample })));
      const target = newPlace('reg');
      const { images } = await convert(archive, target, KEEP);
      assert.deepEqual(
        images.map(({ error }) => error?.code),
        ['MANIFEST_INVALID'],
      );
      assert.deepEqual(filesIn(target.path), []);
      assert.deepEqual(
        (await verify(archive)).findings.map(({ kind }) => kind),
        ['config-mismatch'],
      );
    });
});
