import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { convert, ImgconvError, listImages, type Place } from '../src/index.js';
import { holdersOf } from './support/damage.js';
import { expectAllRight, sha256, storeFiles } from './support/engine-oracle.js';
import { ENGINES, enginePlace, unpackEngine, type Engine } from './support/engines.js';
import { newPlace, place } from './support/places.js';
import { tempFolder } from './support/temp.js';

/** No store here takes longer, on a machine that does other things too. */
const SOON = 10_000;
/** What lies outside of the stores. */
const CANARY = Buffer.from('what is read here was stolen from outside of the store');

interface Outcome {
  readonly written: readonly string[];
  /** Messages of all errors. */
  readonly said: string;
  readonly target: string;
}

/** What comes of a store, soon and without another error than imgconv's own. */
async function outcomeOf(from: Place): Promise<Outcome> {
  const to = newPlace('oci');
  const start = performance.now();
  const errors: unknown[] = [];
  let written: string[] = [];
  try {
    const { images } = await convert(from, to, { compression: 'keep', untagged: true, jobs: 1 });
    written = images.filter(({ status }) => status === 'written').map(({ source }) => source);
    errors.push(...images.flatMap(({ error }) => error ?? []));
  } catch (error) {
    errors.push(error);
  }
  assert.ok(performance.now() - start < SOON, `took ${performance.now() - start} ms`);
  for (const error of errors) assert.ok(error instanceof ImgconvError, String(error));
  assert.deepEqual(holdersOf(to.path, [CANARY]), []);
  return { written, said: errors.map(String).join('\n'), target: to.path };
}

/** The first file or folder of a store that matches. */
function firstIn(root: string, pattern: string): string {
  return pattern.split('/').reduce((folder, part) => {
    const names = readdirSync(join(root, folder)).sort();
    const name = names.find((one) => new RegExp(`^(?:${part})$`).test(one));
    assert.ok(name !== undefined, `${part} in ${folder}`);
    return join(folder, name);
  }, '');
}

const HEX = '[0-9a-f]{64}';
/** Folders, and files, that a reader goes through. */
const PARTS: Readonly<Partial<Record<Engine, readonly string[]>>> = {
  'docker20-odd': [
    'overlay2',
    `overlay2/${HEX}`,
    `overlay2/${HEX}/diff`,
    'image',
    'image/overlay2',
    'image/overlay2/imagedb',
    'image/overlay2/imagedb/content',
    'image/overlay2/imagedb/content/sha256',
    `image/overlay2/imagedb/content/sha256/${HEX}`,
    'image/overlay2/layerdb',
    'image/overlay2/layerdb/sha256',
    `image/overlay2/layerdb/sha256/${HEX}`,
    `image/overlay2/layerdb/sha256/${HEX}/cache-id`,
    `image/overlay2/layerdb/sha256/${HEX}/tar-split.json.gz`,
    'image/overlay2/repositories.json',
  ],
  'docker-vfs': ['vfs', 'vfs/dir', `image/vfs/imagedb/metadata/sha256/${HEX}/parent`],
  containerd2: [
    'io.containerd.content.v1.content',
    'io.containerd.content.v1.content/blobs',
    'io.containerd.content.v1.content/blobs/sha256',
    'io.containerd.content.v1.content/blobs/sha256/0289a5.*',
    'io.containerd.metadata.v1.bolt',
    'io.containerd.metadata.v1.bolt/meta.db',
  ],
  'containers-storage-vfs': [
    'vfs',
    'vfs/dir',
    'vfs/dir/1ace5d.*',
    'vfs-layers',
    'vfs-layers/layers.json',
    'vfs-layers/volatile-layers.json',
    'vfs-layers/1ace5d.*',
    'vfs-images',
    'vfs-images/images.json',
    'vfs-images/eba567.*',
    'vfs-images/eba567.*/manifest',
    'vfs-images/eba567.*/=c2.*',
  ],
};

/** Those that are files. */
const FILES =
  /(?:\.json|\.gz|\.db|cache-id|parent|manifest|content\/sha256\/ID|vfs-layers\/1ace5d\.\*|\/0289a5\.\*|=c2\.\*)$/;

describe('a part of a store that is not what it should be', () => {
  for (const [engine, patterns = []] of Object.entries(PARTS)) {
    const name = ENGINES.find((one) => one === engine);
    for (const pattern of patterns) {
      const shown = pattern.replaceAll(HEX, 'ID');
      test(`${engine}: ${shown} as a link that leads out of it is not followed`, async () => {
        assert.ok(name !== undefined);
        const root = unpackEngine(name);
        const part = firstIn(root, pattern);
        // What is there is right: only that it lies elsewhere can be the reason.
        const outside = join(tempFolder(), 'outside');
        renameSync(join(root, part), outside);
        symlinkSync(outside, join(root, part));
        const { said, target } = await outcomeOf(enginePlace(name, root));
        assert.ok(said.includes(`${part}: is a symbolic link`), said);
        expectAllRight(target);
      });

      if (!FILES.test(shown)) continue;
      test(`${engine}: ${shown} as a FIFO is not waited for`, async () => {
        assert.ok(name !== undefined);
        const root = unpackEngine(name);
        const part = firstIn(root, pattern);
        unlinkSync(join(root, part));
        execFileSync('mkfifo', [join(root, part)]);
        const { said } = await outcomeOf(enginePlace(name, root));
        assert.ok(said.includes(part), said);
      });
    }
  }

  for (const link of ['containerd', 'containerd/daemon'])
    test(`docker20-odd: ${link} as a link to another containerd is not followed`, async () => {
      const root = unpackEngine('docker20-odd');
      const outside = unpackEngine('containerd2', join(tempFolder(), 'daemon'));
      mkdirSync(dirname(join(root, link)), { recursive: true });
      symlinkSync(link === 'containerd' ? dirname(outside) : outside, join(root, link));
      const { said, written } = await outcomeOf(enginePlace('docker20-odd', root));
      assert.ok(said.includes(`${link}: is a symbolic link`), said);
      assert.deepEqual(written, []);
    });

  test('a containerd without images beside a graph driver takes nothing from it', async () => {
    const root = unpackEngine('docker20-odd');
    unpackEngine('containerd2', join(root, 'containerd/daemon'));
    const { written } = await outcomeOf(enginePlace('docker20-odd', root));
    assert.equal(written.length, 10);
    writeFileSync(join(root, 'containerd/daemon/io.containerd.metadata.v1.bolt/meta.db'), 'damaged');
    const damaged = await outcomeOf(enginePlace('docker20-odd', root));
    assert.equal(damaged.written.length, 10);
    assert.match(damaged.said, /meta\.db: not a bbolt database/);
  });

  test('a parent that cannot be read leaves the images', async () => {
    const root = unpackEngine('docker-vfs');
    writeFileSync(
      join(root, firstIn(root, `image/vfs/imagedb/metadata/sha256/${HEX}/parent`)),
      'x'.repeat(2000),
    );
    const { said, written } = await outcomeOf(enginePlace('docker-vfs', root));
    assert.match(said, /parent/);
    assert.equal(written.length, 4);
  });
});

/** A data root with one image of one layer. Its digests are right if `body` is what imgconv finds under the name. */
interface MadeRoot {
  readonly root: string;
  readonly folder: string;
}

const HEADER = Buffer.alloc(512, 'header');

function makeRoot(records: readonly object[] | Buffer, tar: Buffer): MadeRoot {
  const root = tempFolder();
  const diffId = sha256(tar);
  const config = Buffer.from(
    JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [diffId] } }),
  );
  const put = (name: string, bytes: string | Uint8Array) => {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), bytes);
  };
  const id = sha256(config);
  const layer = `image/overlay2/layerdb/${diffId.replace(':', '/')}`;
  put(`image/overlay2/imagedb/content/${id.replace(':', '/')}`, config);
  put('image/overlay2/repositories.json', JSON.stringify({ Repositories: { made: { 'made:1': id } } }));
  put(`${layer}/cache-id`, 'cafe');
  const lines = Buffer.isBuffer(records)
    ? records
    : records.map((one) => `${JSON.stringify(one)}\n`).join('');
  put(`${layer}/tar-split.json.gz`, gzipSync(lines));
  const folder = join(root, 'overlay2/cafe/diff');
  mkdirSync(folder, { recursive: true });
  return { root, folder };
}

/** A layer of one file of this name. If that leads to `body`, the layer is rebuilt. */
function rootWith(name: string, body = CANARY): MadeRoot {
  const segment = { type: 2, payload: HEADER.toString('base64') };
  const file = { type: 1, name, size: body.length, payload: 'AAAAAAAAAAA=' };
  return makeRoot([segment, file], Buffer.concat([HEADER, body]));
}

describe('names in a layer', () => {
  const INNER = Buffer.from('a file of the layer');

  /** Links `l1` to `l2` and so on, the last to a folder with the file. */
  function chain(folder: string, links: number, end: string): void {
    for (let i = 1; i <= links; i++) symlinkSync(i === links ? end : `l${i + 1}`, join(folder, `l${i}`));
  }

  const OUTWARD: Readonly<Record<string, (folder: string, outside: string) => string>> = {
    'an absolute link': (folder, outside) => {
      symlinkSync(outside, join(folder, 'd'));
      return 'd/secret';
    },
    'a relative link': (folder, outside) => {
      symlinkSync(`${'../'.repeat(20)}${outside.slice(1)}`, join(folder, 'd'));
      return 'd/secret';
    },
    'a chain of links': (folder, outside) => {
      chain(folder, 5, outside);
      return 'l1/secret';
    },
    'links in a folder behind a link': (folder, outside) => {
      mkdirSync(join(folder, 'real'));
      symlinkSync('real', join(folder, 'd'));
      symlinkSync(`../..${'/..'.repeat(20)}${outside}`, join(folder, 'real/e'));
      return 'd/e/secret';
    },
    'a link in place of the file': (folder, outside) => {
      symlinkSync(join(outside, 'secret'), join(folder, 'f'));
      return 'f';
    },
    'a hard way up': (_folder, outside) => `${'../'.repeat(20)}${outside.slice(1)}/secret`,
    'a way down and up': (folder, outside) => {
      mkdirSync(join(folder, 'a'));
      return `a/${'../'.repeat(20)}${outside.slice(1)}/secret`;
    },
    'an absolute name': (_folder, outside) => `${outside}/secret`,
    '/proc': (folder, outside) => {
      symlinkSync(`/proc/self/root${outside}`, join(folder, 'd'));
      return 'd/secret';
    },
  };

  for (const [title, lead] of Object.entries(OUTWARD))
    test(`${title} does not lead out of it`, async () => {
      const outside = tempFolder();
      writeFileSync(join(outside, 'secret'), CANARY);
      const scratch = tempFolder();
      const { root, folder } = rootWith(lead(scratch, outside));
      rmSync(folder, { recursive: true });
      renameSync(scratch, folder);
      const { written, said } = await outcomeOf(place('docker-root', root));
      assert.deepEqual(written, []);
      assert.match(said, /overlay2\/cafe\/diff\//);
    });

  for (const [links, isFollowed] of [
    [40, true],
    [41, false],
  ] as const)
    test(`${links} links on the way are ${isFollowed ? 'followed' : 'too many'}`, async () => {
      const { root, folder } = rootWith('l1/f', INNER);
      mkdirSync(join(folder, 'real'));
      writeFileSync(join(folder, 'real/f'), INNER);
      chain(folder, links, '/../real');
      const { written, said } = await outcomeOf(place('docker-root', root));
      assert.deepEqual(written, isFollowed ? ['made:1'] : []);
      if (!isFollowed) assert.match(said, /l1\/f: more than 40 symbolic links/);
    });

  test('a loop of links ends', async () => {
    const { root, folder } = rootWith('l1/f');
    chain(folder, 3, 'l1');
    const { said } = await outcomeOf(place('docker-root', root));
    assert.match(said, /more than 40 symbolic links/);
  });

  const NO_FILES: Readonly<Record<string, (path: string) => void>> = {
    'a FIFO': (path) => {
      execFileSync('mkfifo', [path]);
    },
    'a folder': (path) => {
      mkdirSync(path);
    },
    ...(process.getuid?.() === 0 && {
      'a device': (path: string) => {
        execFileSync('mknod', [path, 'c', '1', '5']);
      },
    }),
  };

  for (const [title, make] of Object.entries(NO_FILES))
    test(`${title} is not read`, async () => {
      const { root, folder } = rootWith('f', Buffer.alloc(40));
      make(join(folder, 'f'));
      const { written, said } = await outcomeOf(place('docker-root', root));
      assert.deepEqual(written, []);
      assert.match(said, /diff\/f: not a regular file/);
    });

  const NO_NAMES = {
    'a NUL': 'a\0b',
    'sixteen million folders': 'a/'.repeat(2 ** 24),
    nothing: '',
    'a dot': '.',
  };
  for (const [title, name] of Object.entries(NO_NAMES))
    test(`${title} in place of a name is refused`, async () => {
      const { said, written } = await outcomeOf(place('docker-root', rootWith(name).root));
      assert.deepEqual(written, []);
      assert.match(said, /a name that no file has|not a regular file/);
      assert.ok(said.length < 2000, said.slice(0, 200));
    });
});

describe('the record of a layer', () => {
  const line = (text: string, count: number) => Buffer.from(`${text}\n`.repeat(count));
  const FILE = '{"type":1,"name":"f","size":9007199254740991,"payload":"AAAAAAAAAAA="}';
  const RECORDS: Readonly<Record<string, readonly [Buffer, RegExp]>> = {
    'with an endless line': [Buffer.alloc(300_000_000, 'A'), /a record of more than 268435456 bytes/],
    'of blank lines': [Buffer.alloc(100_000_000, '\n'), /record 0: not JSON/],
    'of a million files without bytes': [line('{"type":1,"name":"f"}', 1e6), /give only 0 bytes of headers/],
    'of a million empty headers': [line('{"type":2,"payload":""}', 1e6), /give only 0 bytes of headers/],
    'with a size of 2^53 - 1': [line(FILE, 1), /1\.3 PB needed/],
    'with two of them': [line(FILE, 2), /sizes of files that no tar has/],
    'with a size of 2^53': [line(FILE.replace('0991', '0992'), 1), /record 0: size/],
    'with a size below zero': [line('{"type":1,"name":"f","size":-1}', 1), /record 0: size/],
    'with a broken size': [line('{"type":1,"name":"f","size":1.5}', 1), /record 0: size/],
    'with a size in text': [line('{"type":1,"name":"f","size":"1"}', 1), /record 0: size/],
    'with a name in a list': [line('{"type":1,"name":["f"],"size":1}', 1), /record 0: name/],
    'with an unknown type': [line('{"type":3}', 1), /record 0: type/],
    'of lists': [line('[1]', 1), /record 0: must be an object/],
    'that is null': [line('null', 1), /record 0: must be an object/],
    'that is nested deeply': [
      line(`{"type":${'['.repeat(1e5)}${']'.repeat(1e5)}}`, 1),
      /nested more than 500/,
    ],
    'with no record': [Buffer.alloc(0), /all files are as recorded|expected|size/],
  };

  for (const [title, [bytes, expected]] of Object.entries(RECORDS))
    test(`${title} is refused soon`, async () => {
      const { root } = makeRoot(bytes, HEADER);
      const { written, said } = await outcomeOf(place('docker-root', root));
      assert.deepEqual(written, []);
      assert.match(said, expected);
    });
});

describe('lists of images', () => {
  for (const id of ['../cafe', 'a/b', '/etc', '.', '..', '', 'cafe\n', 'a\0b', 'x'.repeat(2000)])
    test(`a folder's name ${JSON.stringify(id.slice(0, 10))} in cache-id is refused`, async () => {
      const { root } = rootWith('f');
      const part = firstIn(root, `image/overlay2/layerdb/sha256/${HEX}/cache-id`);
      writeFileSync(join(root, part), id);
      const { written, said } = await outcomeOf(place('docker-root', root));
      assert.deepEqual(written, []);
      assert.match(said, /cache-id/);
    });

  const STORAGE = 'containers-storage-vfs';
  /** Changes a list of podman's storage as text. */
  async function edited(list: string, edit: (text: string) => string): Promise<Outcome> {
    const root = unpackEngine(STORAGE);
    const text = readFileSync(join(root, list), 'utf8');
    const after = edit(text);
    assert.notEqual(after, text);
    writeFileSync(join(root, list), after);
    const outcome = await outcomeOf(enginePlace(STORAGE, root));
    expectAllRight(outcome.target);
    return outcome;
  }

  for (const id of ['../../../outside', '..', '/etc', 'a'.repeat(63)])
    for (const [list, field] of [
      ['vfs-images/images.json', 'id'],
      ['vfs-images/images.json', 'layer'],
      ['vfs-layers/layers.json', 'id'],
      ['vfs-layers/layers.json', 'parent'],
    ] as const)
      test(`${field} ${id.slice(0, 20)} in ${list} is refused`, async () => {
        const { said, written } = await edited(list, (text) =>
          text.replace(new RegExp(`"${field}":"${HEX}"`), `"${field}":"${id}"`),
        );
        assert.deepEqual(written, []);
        assert.ok(said.includes(`${list}: `), said);
        assert.match(said, /not an ID of 64 hex digits|Invalid input/);
      });

  test('a loop in the parents of layers ends', async () => {
    const { said } = await edited('vfs-layers/layers.json', (text) =>
      text.replace(new RegExp(`"id":"(${HEX})",`, 'g'), '"id":"$1","parent":"$1",'),
    );
    assert.match(said, /the storage more layers/);
  });

  test('names of documents do not lead out of the folder of an image', async () => {
    const { said } = await edited('vfs-images/images.json', (text) =>
      text.replaceAll('"manifest"', '"manifest-/../../../../../../../../etc/hostname"'),
    );
    assert.match(said, /vfs-images\/[0-9a-f]{64}\/=[A-Za-z0-9+=]*: not there/);
  });

  test('lists that are nested deeply or are no lists are refused', async () => {
    for (const list of ['vfs-images/images.json', 'vfs-layers/layers.json'])
      for (const text of [`${'['.repeat(1e5)}${']'.repeat(1e5)}`, '{}', '[null]', '[[]]', '"x"', '1'])
        assert.ok((await edited(list, () => text)).said.includes(list), text);
  });

  const REPOSITORIES = 'image/overlay2/repositories.json';
  function repositories(text: (id: string) => string): Place {
    const root = unpackEngine('docker20-odd');
    const id = firstIn(root, `image/overlay2/imagedb/content/sha256/${HEX}`).slice(-64);
    writeFileSync(join(root, REPOSITORIES), text(`sha256:${id}`));
    return place('docker-root', root);
  }

  test('__proto__ in repositories.json is no repository', async () => {
    const from = repositories(
      (id) => `{"Repositories":{"__proto__":{"toString":"${id}"},"ok":{"ok:1":"${id}","__proto__":"${id}"}}}`,
    );
    const { written } = await outcomeOf(from);
    assert.deepEqual(written, ['ok:1']);
    assert.equal(Object.hasOwn(Object.prototype, 'ok:1'), false);
  });

  test('repositories.json that is nested deeply is refused', async () => {
    const { said } = await outcomeOf(
      repositories(() => `{"Repositories":${'{"a":'.repeat(1e5)}1${'}'.repeat(1e5 + 1)}`),
    );
    assert.match(said, /repositories\.json: nested more than 500 deep/);
  });

  test('twenty thousand names in repositories.json are listed soon', async () => {
    const names = Array.from({ length: 20_000 }, (_, i) => `n${i}`);
    const from = repositories((id) =>
      JSON.stringify({ Repositories: Object.fromEntries(names.map((one) => [one, { [`${one}:1`]: id }])) }),
    );
    const start = performance.now();
    let found = 0;
    for await (const { name } of listImages(from)) if (name?.startsWith('n') === true) found++;
    assert.equal(found, names.length);
    assert.ok(performance.now() - start < SOON);
  });

  test('indexes of containerd that repeat their members are read once', async () => {
    const root = unpackEngine('containerd2-discarded');
    const blobs = join(root, 'io.containerd.content.v1.content/blobs/sha256');
    const INDEX = 'application/vnd.oci.image.index.v1+json';
    const name = '0133ebc1ad853751582f7d3dc0078fb0bd93e3197537978b65d43e3d0b9d8184';
    const mediaType = 'application/vnd.docker.distribution.manifest.v2+json';
    let member = { mediaType, digest: `sha256:${name}`, size: 1354 };
    for (let depth = 0; depth < 3; depth++) {
      const manifests = Array.from({ length: 100 }, () => member);
      const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
      member = { mediaType: INDEX, digest: sha256(bytes), size: bytes.length };
      writeFileSync(join(blobs, member.digest.slice('sha256:'.length)), bytes);
    }
    const database = join(root, 'io.containerd.metadata.v1.bolt/meta.db');
    const text = readFileSync(database, 'latin1').replaceAll(`sha256:${name}`, member.digest);
    writeFileSync(database, text, 'latin1');
    const { said } = await outcomeOf(enginePlace('containerd2-discarded', root));
    assert.ok(said.includes(member.digest), said);
  });
});

/** Numbers below 2^32 that are the same in every run (mulberry32). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** By hand with more: `ROUNDS=10000 SEED=7 node --test dist/test/engine-hostile.test.js`. */
const ROUNDS = Number(process.env['ROUNDS'] ?? 400);
const SEED = Number(process.env['SEED'] ?? 1);

/** Those below, and flipped bits for the rest. */
const WAYS = 8;

/** Damages files of a store in ways that a seed gives, and puts them back. */
class Vandal {
  readonly #root: string;
  readonly #outside: string;
  readonly #random: (below: number) => number;
  readonly #files: readonly string[];
  readonly #documents: readonly string[];
  readonly #saved = new Map<string, Buffer>();
  /** For messages. */
  readonly done: string[] = [];

  constructor(root: string, outside: string, seed: number) {
    this.#root = root;
    this.#outside = outside;
    this.#random = randomFrom(seed);
    this.#files = storeFiles(root);
    // Documents are few among the files of layers, and matter more.
    this.#documents = this.#files.filter((name) => !/^(?:overlay2|vfs|[^/]*snapshotter[^/]*)\//.test(name));
  }

  #at(name: string): Buffer {
    return Buffer.from(`${this.#root}/${name}`, 'latin1');
  }

  #pick(): string {
    const from = this.#random(3) === 0 ? this.#files : this.#documents;
    return from[this.#random(from.length)] ?? '';
  }

  /** One to three files. */
  damage(): void {
    for (let left = this.#random(3); left >= 0; left--) {
      const [name, other] = [this.#pick(), this.#pick()];
      if (this.#saved.has(name) || this.#saved.has(other)) continue;
      const bytes = readFileSync(this.#at(name));
      this.#saved.set(name, bytes);
      rmSync(this.#at(name));
      const way = this.#random(WAYS);
      this.done.push(`${name}: ${way}, ${other}`);
      this.#damage(name, Buffer.from(bytes), way, other);
    }
  }

  #damage(name: string, bytes: Buffer, way: number, other: string): void {
    const path = this.#at(name);
    const isSelf = name === other;
    const rest = isSelf ? bytes : readFileSync(this.#at(other));
    if (way === 0) symlinkSync(this.#random(2) === 0 ? this.#outside : this.#at(other), path);
    else if (way === 1) writeFileSync(path, bytes.subarray(0, this.#random(bytes.length)));
    else if (way === 2) writeFileSync(path, Buffer.concat([bytes, rest.subarray(0, 100)]));
    else if (way === 3) mkdirSync(path);
    else if (way === 4 && !isSelf) {
      // The two change places.
      this.#saved.set(other, rest);
      writeFileSync(path, rest);
      rmSync(this.#at(other));
      writeFileSync(this.#at(other), bytes);
    } else {
      for (let bits = this.#random(4); bits >= 0 && bytes.length > 0; bits--) {
        const position = this.#random(bytes.length);
        bytes.writeUInt8(bytes.readUInt8(position) ^ (1 << this.#random(8)), position);
      }
      writeFileSync(path, bytes);
    }
  }

  restore(): void {
    for (const [name, bytes] of this.#saved) {
      rmSync(this.#at(name), { recursive: true, force: true });
      writeFileSync(this.#at(name), bytes);
    }
    this.#saved.clear();
    this.done.length = 0;
  }
}

describe('random damage', () => {
  for (const [number, engine] of ENGINES.entries())
    test(`to ${engine} leaves only right images`, async () => {
      const root = unpackEngine(engine);
      const outside = join(tempFolder(), 'outside');
      writeFileSync(outside, CANARY);
      const vandal = new Vandal(root, outside, SEED * 1000 + number);
      for (let round = 0; round < ROUNDS / ENGINES.length; round++) {
        vandal.damage();
        try {
          expectAllRight((await outcomeOf(enginePlace(engine, root))).target);
        } catch (cause) {
          throw new Error(`seed ${SEED}, round ${round}: ${vandal.done.join('; ')}`, { cause });
        } finally {
          vandal.restore();
        }
      }
    });
});
