import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ownerName } from '../src/storage/owner.js';
import { Random } from './bench/random.js';
import { FakeRegistry } from './support/fake-registry.js';
import { artifactOf, imageOf, indexOf, layStore, storedBlob, type Sample } from './support/images.js';
import { start, within, type Running } from './support/processes.js';
import { contentsOf, stagingIn } from './support/snapshot.js';
import { tempFolder } from './support/temp.js';

const SEED = 'save 1';
const KILLS = 7;
/** A blob's response is never so much ahead of what the client has written down. */
const WINDOW = 128 * 1024;
const PIECE = 32 * 1024;

/** Two platforms and another image with layers in common, and a chart. */
async function content(): Promise<Record<string, Sample>> {
  const base = randomBytes(2 * 1024 * 1024);
  const large = (text: string, platform: string) => imageOf(text, { base, compress: false, platform });
  return {
    'team/multi:1': indexOf([await large('a', 'linux/amd64'), await large('b', 'linux/arm64')]),
    'team/app:1': await large('c', 'linux/amd64'),
    'team/other:1': await imageOf('d', { base: randomBytes(1024 * 1024), compress: false }),
    'charts/demo:0.1.0': artifactOf('demo'),
  };
}

/** How many of a blob's bytes a store has: in its place, or as a download to be gone on with. */
function had(store: string, digest: string): number {
  const partial = join(store, 'docker/registry/v2/.imgconv-partial', digest.replace(':', '-'));
  return Math.max(
    ...[storedBlob(store, digest), partial].map(
      (path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0,
    ),
  );
}

/** Ends what runs in the middle of sending it a blob. */
class Killer {
  readonly #store: string;
  readonly #registry: FakeRegistry;
  #running: Running | undefined;
  /** Bytes of blobs that may still be sent. */
  #left = Infinity;
  #wait = 0;
  killed = false;
  /** Bytes that went out of each blob, in all runs. */
  readonly sent = new Map<string, number>();

  constructor(registry: FakeRegistry, store: string) {
    this.#registry = registry;
    this.#store = store;
    registry.fail(
      /^GET .*\/blobs\//,
      (request, response) => {
        const digest = (request.url ?? '').split('/').at(-1) ?? '';
        const end = response.end.bind(response);
        response.end = ((body: unknown) => {
          if (!(body instanceof Uint8Array)) return end();
          const start = (registry.blobs.get(digest)?.length ?? 0) - body.length;
          void this.#send(digest, start, body, (piece) => response.write(piece)).then(
            (whole) => (whole ? end() : response.destroy()),
            (error: unknown) => response.destroy(error as Error),
          );
          return response;
        }) as typeof response.end;
        return registry.answer(request, response);
      },
      Infinity,
    );
  }

  /** Starts the command; ends it so long after so many bytes of blobs, or lets it end. */
  async run(args: readonly string[], after = Infinity, wait = 0): Promise<void> {
    this.#left = after;
    this.#wait = wait;
    this.killed = false;
    this.#registry.forget();
    this.#running = start(args);
    const { status, signal, stderr } = await within(20, 'save', this.#running.ended);
    assert.ok(status === 0 || signal === 'SIGKILL', stderr);
  }

  /** Unless it is over, and another one runs. */
  #kill(running: Running | undefined): void {
    if (running !== this.#running) return;
    this.killed = true;
    running?.child.kill('SIGKILL');
  }

  #killSoon(): void {
    const running = this.#running;
    if (this.#wait === 0) this.#kill(running);
    else
      setTimeout(() => {
        this.#kill(running);
      }, this.#wait);
  }

  async #send(
    digest: string,
    start: number,
    body: Uint8Array,
    write: (piece: Uint8Array) => unknown,
  ): Promise<boolean> {
    for (let at = 0; at < body.length && !this.killed;) {
      const window = Math.max(0, WINDOW - (start + at - had(this.#store, digest)));
      const piece = body.subarray(at, at + Math.min(PIECE, window, this.#left));
      if (piece.length > 0) write(piece);
      at += piece.length;
      this.#left -= piece.length;
      this.sent.set(digest, (this.sent.get(digest) ?? 0) + piece.length);
      if (this.#left === 0 && piece.length > 0) this.#killSoon();
      await delay(1);
    }
    return !this.killed;
  }
}

describe('save, killed and run again', () => {
  let images: Record<string, Sample> = {};
  let undisturbed: Record<string, string> = {};
  let sizes = new Map<string, number>();

  function save(registry: FakeRegistry, store: string): string[] {
    return ['save', ...Object.keys(images).map((name) => `${registry.host}/${name}`), store];
  }

  before(async () => {
    images = await content();
    await using registry = (await FakeRegistry.start()).add(images);
    sizes = new Map([...registry.blobs].map(([digest, { length }]) => [digest, length]));
    const store = join(tempFolder(), 'store');
    assert.equal((await start(save(registry, store)).ended).status, 0);
    undisturbed = contentsOf(store);
  });

  /** Runs it, and holds that each blob is asked for once, from where the store has it to, and that nothing of it is lost. */
  async function runOn(
    killer: Killer,
    registry: FakeRegistry,
    store: string,
    after?: number,
    wait?: number,
  ): Promise<number> {
    const before = new Map([...sizes.keys()].map((digest) => [digest, had(store, digest)]));
    await killer.run(save(registry, store), after, wait);
    const asked = registry.seen.filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'));
    const digests = asked.map(({ path }) => path.split('/').at(-1) ?? '');
    assert.deepEqual([...new Set(digests)], digests, 'a blob was asked for twice in a run');
    for (const [i, digest] of digests.entries()) {
      const from = before.get(digest) ?? 0;
      assert.notEqual(from, sizes.get(digest), `${digest} was there, and was asked for`);
      assert.equal(asked[i]?.range, from === 0 ? undefined : `bytes=${from}-`, digest);
    }
    for (const [digest, size] of before)
      assert.ok(had(store, digest) >= size, `${digest}: of ${size} bytes ${had(store, digest)} are left`);
    return asked.filter(({ range }) => range !== undefined).length;
  }

  function expectWhole(store: string, killer: Killer, kills: number): void {
    assert.deepEqual(contentsOf(store), undisturbed);
    assert.deepEqual(stagingIn(store), []);
    for (const [digest, size] of sizes) {
      const sent = killer.sent.get(digest) ?? 0;
      assert.ok(sent >= size && sent <= size + kills * WINDOW, `${sent} bytes of ${digest} for ${size}`);
    }
  }

  test(`at ${KILLS} places, ends as if undisturbed and fetches nothing twice`, async () => {
    await using registry = (await FakeRegistry.start()).add(images);
    const store = join(tempFolder(), 'store');
    const killer = new Killer(registry, store);
    const random = new Random(SEED);
    const left = () => [...sizes].reduce((sum, [digest, size]) => sum + size - had(store, digest), 0);
    let resumed = 0;
    for (let kills = 0; kills < KILLS; kills++) {
      resumed += await runOn(killer, registry, store, 1 + random.below(left() / 2));
      assert.ok(killer.killed);
      assert.deepEqual(contentsOf(join(store, 'docker/registry/v2/repositories')), {});
    }
    assert.ok(resumed >= KILLS / 2, `${resumed} downloads went on`);
    // All is there now, and the process is busy with putting it into place.
    await runOn(killer, registry, store, left(), 20 + random.below(40));
    await runOn(killer, registry, store);
    expectWhole(store, killer, KILLS + 1);
  });

  test('clears away the folder of downloads that a killed run had emptied', async () => {
    await using registry = (await FakeRegistry.start()).add(images);
    const store = layStore(tempFolder(), images);
    const partial = join(store, 'docker/registry/v2/.imgconv-partial');
    mkdirSync(partial);
    // Killed as it took a lock.
    const [space = ''] = ownerName().split('-');
    const owner = `${space}-${process.pid}-1-abcdef`;
    writeFileSync(join(partial, `sha256-${'0'.repeat(64)}.lock-${owner}`), owner);
    await runOn(new Killer(registry, store), registry, store);
    assert.deepEqual(stagingIn(store), []);
  });

  test('clears away downloads whose blobs are in place', async () => {
    await using registry = (await FakeRegistry.start()).add(images);
    const store = layStore(tempFolder(), images);
    const partial = join(store, 'docker/registry/v2/.imgconv-partial');
    mkdirSync(partial);
    const [space = ''] = ownerName().split('-');
    for (const [i, digest] of [...sizes.keys()].entries()) {
      const path = join(partial, digest.replace(':', '-'));
      if (i !== 0) linkSync(storedBlob(store, digest), path);
      if (i !== 1) writeFileSync(`${path}.lock`, `${space}-${process.pid}-1-abcdef`);
    }
    await runOn(new Killer(registry, store), registry, store);
    assert.deepEqual(registry.asked(/GET .*blobs/), []);
    assert.deepEqual(stagingIn(store), []);
  });
});
