import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { GoGzip } from '../../src/codecs/go-deflate.js';
import { type Random, randomOf } from '../support/deflate-samples.js';
import {
  digestInputs,
  encode,
  type GoKind,
  goKinds,
  goSampleOf,
  LEVELS,
  slidingInput,
  slidingWrites,
  type Writes,
} from '../support/go-deflate-samples.js';
import { missingPeers, projectRoot, run, scratchFolder, tidy } from './peers.js';

/** How many random inputs; more with FUZZ=10000. */
const FUZZ = Number(process.env['FUZZ'] ?? 500);
const DIGESTS = join(projectRoot, 'test/support/go-gzip-digests.json');
const WHOLE = { longest: 0, seed: 1 };

/** test/interop/go-gzip.go, which answers one request after another. */
class GoPeer {
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

  static async start(scratch: string): Promise<GoPeer> {
    const program = join(scratch, 'go-gzip');
    const env = {
      GOCACHE: join(scratch, 'cache'),
      GOFLAGS: '',
      GOPROXY: 'off',
      GOTOOLCHAIN: 'local',
      GO111MODULE: 'on',
    };
    await run('go', ['build', '-o', program, join(projectRoot, 'test/interop/go-gzip.go')], env);
    return new GoPeer(program);
  }

  async #read(size: number): Promise<Buffer> {
    const parts = [this.#rest];
    for (let have = this.#rest.length; have < size;) {
      const { value, done } = await this.#output.next();
      if (done === true) throw new Error('go-gzip ended');
      parts.push(value);
      have += value.length;
    }
    const whole = Buffer.concat(parts);
    this.#rest = whole.subarray(size);
    return whole.subarray(0, size);
  }

  async gzip(level: number, bytes: Uint8Array, { longest, seed }: Writes): Promise<Buffer> {
    const head = Buffer.alloc(13);
    head.writeInt8(level, 0);
    head.writeUInt32LE(longest, 1);
    head.writeUInt32LE(seed, 5);
    head.writeUInt32LE(bytes.length, 9);
    this.#process.stdin.write(head);
    this.#process.stdin.write(bytes);
    return await this.#read((await this.#read(4)).readUInt32LE());
  }

  stop(): void {
    this.#process.stdin.end();
  }
}

const files = [
  process.execPath,
  join(projectRoot, 'dist/bundle/main.js'),
  join(projectRoot, 'package-lock.json'),
].map((path) => readFileSync(path));

/** A size: mostly small ones and those around borders of windows and blocks, up to 8 MiB. */
function randomSize(random: Random): number {
  const choice = random(1000);
  if (choice < 350) return random(400);
  if (choice < 600) return random(8000);
  const border = [16_384, 32_768, 65_274, 65_535, 65_536, 98_304, 131_070, 131_072][random(8)] ?? 0;
  if (choice < 800) return border - 300 + random(600);
  if (choice < 980) return random(200_000);
  return random(choice === 999 ? 8 << 20 : 1 << 20);
}

function randomInput(random: Random): [kind: string, bytes: Uint8Array] {
  const size = randomSize(random);
  const choice = random(goKinds.length + 2);
  const kind = goKinds[choice];
  if (kind !== undefined) return [kind, goSampleOf(kind, size, random)];
  const file = files[random(files.length)] ?? Buffer.alloc(0);
  const from = random(Math.max(1, file.length - size));
  return ['file', file.subarray(from, from + size)];
}

/** Go's calls of Write: one, or of random sizes. */
function randomWrites(random: Random): Writes {
  const longest = random(2) === 0 ? 0 : ([40, 512, 5000, 40_000, 100_000][random(5)] ?? 0);
  return { longest, seed: 1 + random(1e9) };
}

/** From 1.27 on, Go has another encoder. */
async function whyNot(): Promise<string | false> {
  const missing = missingPeers('go');
  if (missing !== false) return missing;
  const version = await run('go', ['version']);
  return Number(/go1\.(\d+)/.exec(version)?.[1]) < 27 ? false : version;
}
const skip = await whyNot();

describe("the bytes of Go's compress/gzip", { skip }, () => {
  const encoder = new GoGzip(6);
  let scratch: string;
  let go: GoPeer;

  before(async () => {
    scratch = await scratchFolder();
    go = await GoPeer.start(scratch);
  });

  after(async () => {
    go.stop();
    await tidy(scratch);
  });

  async function isSame(level: number, bytes: Uint8Array, writes: Writes): Promise<boolean> {
    const theirs = await go.gzip(level, bytes, writes);
    encoder.start(level);
    return encode(encoder, bytes, writes, true).equals(theirs);
  }

  /** Leaves out parts as long as the outputs differ. */
  async function shrink(level: number, bytes: Uint8Array, writes: Writes): Promise<Uint8Array> {
    for (let part = bytes.length >> 1; part > 0; part >>= 1)
      for (let at = 0; at < bytes.length;) {
        const fewer = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + part)]);
        if (fewer.length < bytes.length && !(await isSame(level, fewer, writes))) bytes = fewer;
        else at += part;
      }
    return bytes;
  }

  test('the digests that test/go-deflate.test.ts holds are those of Go; UPDATE=1 writes them', async () => {
    const found: Record<string, unknown> = {};
    for (const level of LEVELS) {
      const ofLevel: Partial<Record<GoKind, string>> = {};
      for (const kind of goKinds) {
        const hash = createHash('sha256');
        for (const bytes of digestInputs(kind)) hash.update(await go.gzip(level, bytes, WHOLE));
        ofLevel[kind] = hash.digest('hex');
      }
      found[String(level)] = ofLevel;
    }
    const ofSlide = async (writes: Writes) =>
      createHash('sha256')
        .update(await go.gzip(6, slidingInput(), writes))
        .digest('hex');
    found['slide'] = { whole: await ofSlide(WHOLE), cut: await ofSlide(slidingWrites()) };
    if (process.env['UPDATE'] === '1') writeFileSync(DIGESTS, `${JSON.stringify(found, null, 2)}\n`);
    assert.deepEqual(found, JSON.parse(readFileSync(DIGESTS, 'utf8')));
  });

  test(`${FUZZ} random inputs, written in random parts`, async () => {
    for (let seed = 1; seed <= FUZZ; seed++) {
      const random = randomOf(seed);
      for (let i = 0; i < 10; i++) random(2);
      const level = random(2) === 0 ? (LEVELS[random(2)] ?? 6) : (LEVELS[random(LEVELS.length)] ?? 6);
      const [kind, bytes] = randomInput(random);
      const writes = randomWrites(random);
      const theirs = await go.gzip(level, bytes, writes);
      encoder.start(level);
      const ours = encode(encoder, bytes, writes, true);
      const what = `seed ${seed}, ${kind}, ${bytes.length} bytes, level ${level}, writes up to ${writes.longest}`;
      if (!ours.equals(theirs)) {
        const small = await shrink(level, bytes, writes);
        const shown = Buffer.from(small.subarray(0, 3000)).toString('base64');
        assert.fail(`${what}, seed of writes ${writes.seed}; ${small.length} bytes are enough: ${shown}`);
      }
      assert.ok(gunzipSync(ours).equals(bytes), what);
      if (writes.longest > 0) continue;
      encoder.start(level);
      const parts = { longest: 1 + random(100_000), seed: writes.seed };
      assert.ok(encode(encoder, bytes, parts, false).equals(theirs), `${what}, without cuts`);
    }
  });
});
