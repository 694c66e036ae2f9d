import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { EncodeJob } from '../src/codecs/encode.js';
import { ENCODER_NAMES, type EncoderName } from '../src/codecs/encoders.js';
import { parseDigest, type Digest } from '../src/model/digest.js';
import { ImgconvError } from '../src/model/errors.js';
import { parseManifest } from '../src/model/manifest.js';
import { VerifiedBlob } from '../src/proof/verified-blob.js';
import { Staging } from '../src/storage/staging.js';
import { Pool } from '../src/threads/pool.js';
import type { Closure } from '../src/transfer/closure.js';
import { ManifestSearch } from '../src/transfer/manifest-search.js';
import { Restorer } from '../src/transfer/restore.js';
import { refusal } from './support/errors.js';
import { DOCKER, descriptorOf, digestText, part, type Part } from './support/images.js';
import { tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';

/** Keeps account of what is compressed. */
class CountingPool extends Pool {
  readonly jobs: EncodeJob[] = [];

  override encode(job: EncodeJob, onBytes?: (count: number) => void) {
    this.jobs.push(job);
    return super.encode(job, onBytes);
  }

  get kept(): number {
    return this.jobs.filter(({ to }) => to !== undefined).length;
  }
}

/** Layers and the programs that made them, from the base on. */
type Made = readonly (readonly [tar: Part, encoder: EncoderName])[];

class Bench {
  readonly folder = tempFolder();
  readonly pool = new CountingPool(2);
  readonly staging = new Staging(join(this.folder, 'store'));
  /** How often each tar was put together to its end. */
  readonly unpacked = new Map<string, number>();
  /** Digests of tars that are not what they are said to be. */
  readonly damaged = new Set<string>();
  readonly told: number[] = [];
  readonly #oracle = new Pool(1);

  restorer(most?: number): Restorer {
    const { pool, staging } = this;
    return new Restorer(
      { pool, staging, asFiles: false, onDone: (_, size) => void this.told.push(size) },
      most,
    );
  }

  async layer(text: string): Promise<Part> {
    return part(DOCKER.layer, await tarOf({ [`etc/${text}`]: text.repeat(2000) }));
  }

  /** An image as an engine holds it; its tars lie nowhere but in their pieces. */
  closure(layers: readonly Part[]): Closure {
    const config = part(DOCKER.config, { rootfs: { diff_ids: layers.map(({ digest }) => digest) } });
    const manifest = part(DOCKER.manifest, {
      schemaVersion: 2,
      mediaType: DOCKER.manifest,
      config: descriptorOf(config),
      layers: layers.map((one) => descriptorOf(one)),
    });
    const root = {
      descriptor: { mediaType: DOCKER.manifest, ...named(manifest) },
      bytes: manifest.bytes,
      manifest: parseManifest(manifest.bytes, 'made here'),
      children: [],
      absent: [],
    };
    const blobs = [manifest, config, ...layers].map((one) => this.#blob(one));
    return { root, blobs: new Map(blobs.map((blob) => [blob.digest, blob])), notes: [] };
  }

  #blob(one: Part): VerifiedBlob {
    const { digest, size } = named(one);
    const { unpacked, damaged } = this;
    const open = async function* () {
      await Promise.resolve();
      yield damaged.has(digest) ? Buffer.alloc(size) : Uint8Array.from(one.bytes);
      unpacked.set(digest, (unpacked.get(digest) ?? 0) + 1);
    };
    return VerifiedBlob.at({ kind: 'rebuilt', path: digest, size, open }, { digest, size }, this.pool);
  }

  /** The digest of the manifest that crane or skopeo would write. */
  async expected(made: Made): Promise<Digest> {
    const { manifest } = this.closure(made.map(([tar]) => tar)).root;
    assert.ok(manifest.kind === 'image');
    const { digest, size } = manifest.config;
    const layers = await Promise.all(made.map(([tar, encoder]) => this.#encoded(tar, encoder)));
    const text = JSON.stringify({
      schemaVersion: 2,
      mediaType: DOCKER.manifest,
      config: { mediaType: DOCKER.config, size, digest },
      layers: layers.map((one) => ({ mediaType: DOCKER.gzip, size: one.size, digest: one.digest })),
    });
    return parseDigest(digestText(Buffer.from(text)), 'made here');
  }

  async #encoded({ bytes, digest }: Part, encoder: EncoderName) {
    const path = join(this.folder, digest);
    writeFileSync(path, bytes);
    const from = { kind: 'file', path, offset: 0, size: bytes.length, whole: true } as const;
    const job = { kind: 'encode', from, algorithm: 'sha256', encoder, to: undefined } as const;
    return (await this.#oracle.encode(job)).encoded;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.pool.close(), this.#oracle.close()]);
    this.staging[Symbol.dispose]();
  }
}

function named({ digest, bytes }: Part): { digest: Digest; size: number } {
  return { digest: parseDigest(digest, 'made here'), size: bytes.length };
}

describe('images get the digests that they had', () => {
  test('layers that two images share are compressed once, and unpacked once an image', async () => {
    await using bench = new Bench();
    const [base, one, two] = [await bench.layer('base'), await bench.layer('one'), await bench.layer('two')];
    const images = await Promise.all(
      [one, two].map(async (own) => {
        const made: Made = [base, own].map((tar) => [tar, 'pgzip-1.15.11']);
        return { closure: bench.closure([base, own]), digest: await bench.expected(made) };
      }),
    );
    const restorer = bench.restorer();
    const restored = await Promise.all(
      images.map(({ closure, digest }) => restorer.restore(closure, [digest])),
    );
    for (const [i, { root, blobs }] of restored.entries()) {
      assert.equal(root.descriptor.digest, images[i]?.digest);
      for (const blob of blobs.values()) await blob.prove();
    }
    // Three tars for each encoder as far as pgzip, of which the first is kept; then three files.
    const tries = ENCODER_NAMES.indexOf('pgzip-1.15.11') + 1;
    assert.equal(bench.pool.jobs.length, 3 * tries + 3);
    assert.equal(bench.pool.kept, 3 + 3);
    for (const { digest } of [one, two]) assert.equal(bench.unpacked.get(digest), 1);
    assert.ok((bench.unpacked.get(base.digest) ?? 0) <= 2);
    assert.equal(bench.told.length, 3);
    // What was kept and not taken is gone, and so is what was unpacked.
    assert.equal(readdirSync(bench.staging.folder).length, 3);
  });

  test('what the most likely program made is compressed once', async () => {
    await using bench = new Bench();
    const layers = [await bench.layer('base'), await bench.layer('own')];
    const digest = await bench.expected(layers.map((tar) => [tar, 'go-6']));
    const { root } = await bench.restorer().restore(bench.closure(layers), [digest]);
    assert.equal(root.descriptor.digest, digest);
    assert.deepEqual([bench.pool.jobs.length, bench.pool.kept], [2, 2]);
  });

  test('a damaged layer of one image does no harm to another that shares layers with it', async () => {
    await using bench = new Bench();
    const [base, own, bad] = [await bench.layer('base'), await bench.layer('own'), await bench.layer('bad')];
    bench.damaged.add(bad.digest);
    const digest = await bench.expected([base, own].map((tar) => [tar, 'go-1']));
    const restorer = bench.restorer();
    const [failed, restored] = await Promise.allSettled(
      [bad, own].map((tar) => restorer.restore(bench.closure([base, tar]), [digest])),
    );
    assert.ok(failed?.status === 'rejected' && refusal('DIGEST_MISMATCH', bad.digest)(failed.reason));
    assert.ok(restored?.status === 'fulfilled');
    assert.equal(restored.value.root.descriptor.digest, digest);
  });

  for (const [title, encoders] of [
    ['a base of one program, and a layer of another', ['go-6', 'go-6', 'pgzip-1.15.11']],
    ['layers of three programs, one above the other', ['go-1', 'go-9', 'go-9', 'go-6']],
  ] satisfies [string, EncoderName[]][])
    test(title, async () => {
      await using bench = new Bench();
      const made = await Promise.all(
        encoders.map(async (encoder, i) => [await bench.layer(String(i)), encoder] as const),
      );
      const digest = await bench.expected(made);
      const { root, notes } = await bench
        .restorer()
        .restore(bench.closure(made.map(([tar]) => tar)), [digest]);
      assert.equal(root.descriptor.digest, digest);
      assert.match(notes.join(), /^as expected: /);
    });

  test('the search ends when it has taken too long, and says what was tried', async () => {
    await using bench = new Bench();
    const layers = await Promise.all(['a', 'b', 'c', 'd'].map((text) => bench.layer(text)));
    const wanted = [parseDigest(`sha256:${'0'.repeat(64)}`, 'made here')];
    const gives = (restorer: Restorer, text: string) =>
      assert.rejects(restorer.restore(bench.closure(layers), wanted), refusal('DIGEST_MISMATCH', text));
    await gives(bench.restorer(20_000), '3 combinations tried, each in 8 forms of manifests; there are more');
    assert.ok(bench.pool.jobs.length < ENCODER_NAMES.length * layers.length);
    assert.deepEqual(readdirSync(bench.staging.folder), []);
    await gives(
      bench.restorer(),
      'none of 11 ways to compress its layers in 8 forms of manifests gives it; ',
    );
  });

  test('a search of many combinations ends when the run is interrupted', async () => {
    await using bench = new Bench();
    const wanted = parseDigest(`sha256:${'0'.repeat(64)}`, 'made here');
    const search = new ManifestSearch({ digest: wanted, size: 1 }, [wanted], bench.pool);
    const layers = Array.from({ length: 30 }, (_, size) => ({ digest: wanted, size }));
    for (const encoder of ENCODER_NAMES) await search.add(encoder, layers);
    setTimeout(() => {
      bench.pool.abort(new ImgconvError('INTERRUPTED', 'interrupted'));
    }, 50);
    await assert.rejects(search.tryThree(), refusal('INTERRUPTED'));
    assert.ok(!search.gaveUp);
  });
});
