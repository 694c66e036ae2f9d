import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { type FlateVersion, flateLevels } from '../../src/codecs/klauspost-deflate.js';
import { type Random, randomOf } from '../support/deflate-samples.js';
import {
  digestInputs,
  encode,
  type Form,
  formsOf,
  type KlauspostKind,
  klauspostKinds,
  klauspostSampleOf,
  versions,
} from '../support/klauspost-samples.js';
import { missingPeers, projectRoot, run, scratchFolder, tidy } from './peers.js';

/** How many random inputs for each Go and package; more with FUZZ=10000. */
const FUZZ = Number(process.env['FUZZ'] ?? 300);
const DIGESTS = join(projectRoot, 'test/support/klauspost-digests.json');
const SOURCE = join(projectRoot, 'test/interop/klauspost-gzip.go');
/** Where Debian's packages golang-github-klauspost-compress-dev and -pgzip-dev put the sources. */
const GOCODE = 'usr/share/gocode';
/** A folder with another Debian, whose Go, packages and skopeo are tried too. */
const OTHER = process.env['IMGCONV_SID'];
/** More folders with sources, GOPATH of Go, with colons between. */
const PATHS = process.env['IMGCONV_GOPATHS']?.split(':') ?? [];

const KINDS = { go: 0, gzip: 1, pgzip: 2 } as const;
type Asked = keyof typeof KINDS;

/** Compiles klauspost-gzip.go and runs it, which answers one request after another. */
class KlauspostPeer {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #output: AsyncIterator<Buffer<ArrayBuffer>, undefined>;
  #rest: Buffer<ArrayBuffer> = Buffer.alloc(0);

  private constructor(program: string) {
    this.#process = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#output = this.#process.stdout[Symbol.asyncIterator]() as AsyncIterator<
      Buffer<ArrayBuffer>,
      undefined
    >;
  }

  static async start(scratch: string, { go, root, path }: Toolchain): Promise<KlauspostPeer> {
    const program = join(
      scratch,
      `klauspost-gzip-${createHash('sha256')
        .update(go + path)
        .digest('hex')}`,
    );
    const env = {
      GOCACHE: join(scratch, 'cache'),
      GOPATH: path,
      GO111MODULE: 'off',
      CGO_ENABLED: '0',
      GOTOOLCHAIN: 'local',
      ...(root !== undefined && { GOROOT: root }),
    };
    await run(go, ['build', '-o', program, SOURCE], env);
    return new KlauspostPeer(program);
  }

  async #read(size: number): Promise<Buffer> {
    const parts = [this.#rest];
    for (let have = this.#rest.length; have < size;) {
      const { value, done } = await this.#output.next();
      if (done === true) throw new Error('klauspost-gzip ended');
      parts.push(value);
      have += value.length;
    }
    const whole = Buffer.concat(parts);
    this.#rest = whole.subarray(size);
    return whole.subarray(0, size);
  }

  async compress(
    kind: Asked,
    level: number,
    bytes: Uint8Array,
    sizes: readonly number[] = [],
  ): Promise<Buffer> {
    const rest = bytes.length - sizes.reduce((sum, size) => sum + size, 0);
    const all = rest > 0 ? [...sizes, rest] : sizes;
    const head = Buffer.alloc(12 + 4 * all.length);
    head.writeInt32LE(KINDS[kind], 0);
    head.writeInt32LE(level, 4);
    head.writeInt32LE(all.length, 8);
    all.forEach((size, i) => head.writeUInt32LE(size, 12 + 4 * i));
    this.#process.stdin.write(head);
    this.#process.stdin.write(bytes);
    return await this.#read((await this.#read(4)).readUInt32LE());
  }

  stop(): void {
    this.#process.stdin.end();
  }
}

interface Toolchain {
  readonly title: string;
  readonly go: string;
  readonly root?: string | undefined;
  readonly path: string;
}

function toolchains(): Toolchain[] {
  const found: Toolchain[] = [];
  let [go, root]: [string, string | undefined] = ['go', undefined];
  if (missingPeers('go') === false) found.push({ title: 'here', go, path: join('/', GOCODE) });
  if (OTHER !== undefined) {
    root = join(OTHER, 'usr/lib/go');
    go = join(root, 'bin/go');
    found.push({ title: 'IMGCONV_SID', go, root, path: join(OTHER, GOCODE) });
  }
  for (const path of PATHS) found.push({ title: path, go, root, path });
  return found.filter(({ path }) => existsSync(join(path, 'src/github.com/klauspost/pgzip')));
}

/** A size: mostly small ones and those around borders of windows, blocks and counts, up to 8 MiB. */
function randomSize(random: Random): number {
  const choice = random(1000);
  if (choice < 300) return random(400);
  if (choice < 500) return random(8000);
  const border = [250, 32_768, 65_535, 65_536, 131_070, 131_072, 327_675, 1 << 20, 2 << 20][random(9)] ?? 0;
  if (choice < 700) return Math.max(0, border - 150 + random(300));
  if (choice < 970) return random(300_000);
  return random(choice === 999 ? 8 << 20 : 3 << 19);
}

const files = [
  process.execPath,
  join(projectRoot, 'dist/bundle/main.js'),
  join(projectRoot, 'package-lock.json'),
].map((path) => readFileSync(path));

function randomInput(random: Random): [kind: string, bytes: Uint8Array] {
  const size = randomSize(random);
  const kind = klauspostKinds[random(klauspostKinds.length + 2)];
  if (kind !== undefined) return [kind, klauspostSampleOf(kind, size, random)];
  const file = files[random(files.length)] ?? Buffer.alloc(0);
  const from = random(Math.max(1, file.length - size));
  return ['file', file.subarray(from, from + size)];
}

function randomSizes(size: number, random: Random): number[] {
  const longest = random(2) === 0 ? 0 : ([40, 5000, 70_000, 1_100_000][random(4)] ?? 0);
  const sizes: number[] = [];
  for (let left = size; longest > 0 && left > 0 && sizes.length < 200;) {
    const part = Math.min(left, random(longest));
    sizes.push(part);
    left -= part;
  }
  return sizes;
}

type OfKinds = Partial<Record<KlauspostKind, string>>;
/** By form and level. */
type Digests = Record<string, OfKinds>;

async function digestsOf(peer: KlauspostPeer, asked: Asked): Promise<Digests> {
  const found: Digests = {};
  for (const level of [1, 5, 6]) {
    const ofLevel: OfKinds = {};
    for (const kind of klauspostKinds) {
      const hash = createHash('sha256');
      for (const bytes of digestInputs(kind)) hash.update(await peer.compress(asked, level, bytes));
      ofLevel[kind] = hash.digest('hex');
    }
    found[`${asked === 'pgzip' ? 'pgzip' : 'gzip'} ${level}`] = ofLevel;
  }
  return found;
}

const known = (existsSync(DIGESTS) ? JSON.parse(readFileSync(DIGESTS, 'utf8')) : {}) as Partial<
  Record<FlateVersion, Digests>
>;
/** UPDATE=1.15.11 writes the digests of the last folder of IMGCONV_GOPATHS as those of that version. */
const UPDATE = process.env['UPDATE'];

async function update(peer: KlauspostPeer, updated: string): Promise<void> {
  const version = versions.find((one) => one === updated);
  if (version === undefined) throw new Error(`UPDATE=${updated}: not one of ${versions.join()}`);
  const all: Digests = {};
  for (const form of formsOf(version))
    Object.assign(all, await digestsOf(peer, version === 'go1.27' ? 'go' : form));
  const levels = flateLevels(version);
  known[version] = Object.fromEntries(
    Object.entries(all).filter(([name]) => levels.includes(Number(name.split(' ')[1]))),
  );
  writeFileSync(DIGESTS, `${JSON.stringify(known, null, 2)}\n`);
}

/** The version that makes what a peer makes, by the digests that test/klauspost-deflate.test.ts holds. */
async function versionOf(peer: KlauspostPeer, asked: Asked): Promise<FlateVersion | undefined> {
  const made = await digestsOf(peer, asked);
  const form = asked === 'pgzip' ? 'pgzip' : 'gzip';
  return versions
    .filter((version) => (version === 'go1.27') === (asked === 'go'))
    .find((version) =>
      flateLevels(version).every((level) => {
        const name = `${form} ${level}`;
        return isDeepStrictEqual(made[name], known[version]?.[name]);
      }),
    );
}

const tools = toolchains();
const skip =
  tools.length === 0 && (missingPeers('go') || "the sources of klauspost's compress and pgzip are missing");

for (const tool of tools.length === 0 ? [undefined] : tools)
  describe(`the bytes of klauspost/compress: ${tool?.title ?? ''}`, { skip }, () => {
    let scratch: string;
    let peer: KlauspostPeer;

    before(async () => {
      scratch = await scratchFolder();
      if (tool !== undefined) peer = await KlauspostPeer.start(scratch, tool);
    });

    after(async () => {
      peer.stop();
      await tidy(scratch);
    });

    async function isSame(
      asked: Asked,
      version: FlateVersion,
      level: number,
      bytes: Uint8Array,
    ): Promise<boolean> {
      const form: Form = asked === 'pgzip' ? 'pgzip' : 'gzip';
      return encode(form, version, level, bytes).equals(await peer.compress(asked, level, bytes));
    }

    /** Leaves out parts as long as the outputs differ. */
    async function shrink(
      asked: Asked,
      version: FlateVersion,
      level: number,
      bytes: Uint8Array,
    ): Promise<Uint8Array> {
      for (let part = bytes.length >> 1; part > 0; part >>= 1)
        for (let at = 0; at < bytes.length;) {
          const fewer = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + part)]);
          if (fewer.length < bytes.length && !(await isSame(asked, version, level, fewer))) bytes = fewer;
          else at += part;
        }
      return bytes;
    }

    const versionsOf = new Map<Asked, FlateVersion>();

    test('are those of one version, whose digests test/klauspost-deflate.test.ts holds', async (context) => {
      if (UPDATE !== undefined && tool === tools.at(-1)) await update(peer, UPDATE);
      for (const asked of ['go', 'gzip', 'pgzip'] as const) {
        const version = await versionOf(peer, asked);
        if (version !== undefined) versionsOf.set(asked, version);
        // Go before 1.27 has another encoder.
        else assert.equal(asked, 'go');
      }
      context.diagnostic([...versionsOf].map(([asked, version]) => `${asked}: ${version}`).join(', '));
    });

    test(`of ${FUZZ} random inputs, written in random parts`, async () => {
      const askable = [...versionsOf];
      for (let seed = 1; seed <= FUZZ; seed++) {
        const random = randomOf(seed);
        for (let i = 0; i < 10; i++) random(2);
        const [asked, version] = askable[random(askable.length)] ?? ['pgzip', '1.18.2'];
        const levels = flateLevels(version);
        const level = random(2) === 0 ? -1 : (levels[random(levels.length)] ?? -1);
        const [kind, bytes] = randomInput(random);
        const sizes = randomSizes(bytes.length, random);
        const theirs = await peer.compress(asked, level, bytes, sizes);
        const ours = encode(asked === 'pgzip' ? 'pgzip' : 'gzip', version, level, bytes, sizes);
        const what = `seed ${seed}, ${kind}, ${bytes.length} bytes, ${asked} ${version}, level ${level}`;
        if (!ours.equals(theirs)) {
          const small = await shrink(asked, version, level, bytes);
          const shown = Buffer.from(small.subarray(0, 3000)).toString('base64');
          assert.fail(`${what}; ${small.length} bytes are enough: ${shown}`);
        }
        assert.ok(gunzipSync(ours).equals(bytes), what);
      }
    });
  });

/** An image whose layers are not compressed, as an OCI layout. */
function makeLayout(folder: string, layers: readonly Uint8Array[]): void {
  mkdirSync(join(folder, 'blobs/sha256'), { recursive: true });
  const blob = (bytes: Uint8Array, mediaType: string) => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(folder, 'blobs/sha256', hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const document = (value: unknown, mediaType: string) => blob(Buffer.from(JSON.stringify(value)), mediaType);
  const prefix = 'application/vnd.oci.image';
  const list = layers.map((layer) => blob(layer, `${prefix}.layer.v1.tar`));
  const diffIds = list.map(({ digest }) => digest);
  const config = document(
    { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: diffIds } },
    `${prefix}.config.v1+json`,
  );
  const mediaType = `${prefix}.manifest.v1+json`;
  const manifest = document({ schemaVersion: 2, mediaType, config, layers: list }, mediaType);
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }));
}

describe('the layers of skopeo', { skip: missingPeers('skopeo') }, () => {
  const layers = [
    ...klauspostKinds.map((kind) => klauspostSampleOf(kind, 1_500_000, randomOf(31))),
    ...files,
  ].map((bytes) => bytes.subarray(0, 20_000_000));

  async function check(
    from: string,
    to: string,
    copy: (from: string, to: string) => Promise<unknown>,
  ): Promise<string> {
    makeLayout(from, layers);
    await copy(from, to);
    const blobs = new Set(readdirSync(join(to, 'blobs/sha256')));
    const found = versions.filter(
      (version) =>
        version !== 'go1.27' &&
        layers.every((layer) => {
          const hash = createHash('sha256').update(encode('pgzip', version, -1, layer));
          return blobs.has(hash.digest('hex'));
        }),
    );
    assert.ok(found.length > 0, 'layers are those of no version');
    return found.join();
  }
  const WORDS = ['copy', '--insecure-policy', '--quiet'];

  test('have the digests of one version', async (context) => {
    const scratch = await scratchFolder();
    const found = await check(join(scratch, 'a'), join(scratch, 'b'), (from, to) =>
      run('skopeo', [...WORDS, `oci:${from}`, `oci:${to}:t`]),
    );
    context.diagnostic(found);
    await tidy(scratch);
  });

  test(
    'of IMGCONV_SID have the digests of one version',
    { skip: OTHER === undefined && 'IMGCONV_SID is not set' },
    async () => {
      const inside = `/tmp/imgconv-${process.pid}`;
      const scratch = join(OTHER ?? '', inside);
      mkdirSync(scratch);
      await check(join(scratch, 'a'), join(scratch, 'b'), () =>
        run('chroot', [OTHER ?? '', 'skopeo', ...WORDS, `oci:${inside}/a`, `oci:${inside}/b:t`]),
      );
      await tidy(scratch);
    },
  );
});
