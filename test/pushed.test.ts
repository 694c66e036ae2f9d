import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { combinations } from '../src/transfer/combinations.js';
import { imgconv as imgconvOf } from './support/cli.js';
import { digestsOf, fixture } from './support/fixtures.js';
import { tempFolder } from './support/temp.js';

/** What a real Docker 20.10 pushed: the digests of fixtures/registry.tar, whose images are those of docker20.tar. */
const pushed = digestsOf('registry.tar');
const NAMES = ['demo/app:1.0', 'demo/app:2.0', 'demo/base:1', 'demo/dup:1'];
const saved = fixture('docker20.tar');

const imgconv = (...words: string[]) => imgconvOf(words);

interface Listed {
  readonly name: string;
  readonly digest: string;
}

async function digestsIn(place: string): Promise<Record<string, string>> {
  const { stdout } = await imgconv('ls', '--json', place);
  return Object.fromEntries((JSON.parse(stdout) as Listed[]).map(({ name, digest }) => [name, digest]));
}

for (const target of ['reg', 'oci', 'dir'])
  test(`--compression docker into ${target}: the digests of docker push`, async () => {
    const place = `${target}:${tempFolder()}/it`;
    const { status, stderr } = await imgconv('copy', '--compression', 'docker', saved, place);
    assert.equal(status, 0, stderr);
    assert.deepEqual(await digestsIn(place), Object.fromEntries(NAMES.map((name) => [name, pushed[name]])));
    const again = await imgconv('copy', '--compression', 'docker', saved, place);
    assert.match(again.stdout, /0 written, 4 unchanged/);
  });

test('--compression docker:go1.27 gives other digests; a level goes with neither', async () => {
  const store = join(tempFolder(), 'store');
  await imgconv('tar2reg', '--compression', 'docker:go1.27', saved, store);
  const found = await digestsIn(store);
  for (const name of NAMES) assert.notEqual(found[name], pushed[name]);
  const level = await imgconv('tar2reg', '--compression', 'docker', '--compression-level', '3', saved, store);
  assert.equal(level.status, 2);
  assert.match(level.stderr, /docker has a level of its own/);
});

test('--expect gives an image the digest that it had, by its name with or without a tag', async () => {
  for (const name of ['demo/app:1.0', 'demo/app']) {
    const store = join(tempFolder(), 'store');
    const expected = `${name}@${pushed['demo/app:1.0'] ?? ''}`;
    const { status, stdout } = await imgconv('tar2reg', '--expect', expected, saved, store, 'demo/app:1.0');
    assert.equal(status, 0);
    assert.match(
      stdout,
      /as expected: all 4 layers matched \(Go gzip, level 6\), manifest as docker push writes it/,
    );
    assert.deepEqual(await digestsIn(store), { 'demo/app:1.0': pushed['demo/app:1.0'] });
  }
});

test('--expect of another digest, of another image or of no digest changes nothing', async () => {
  const store = join(tempFolder(), 'store');
  const other = `demo/base:1@sha256:${'0'.repeat(64)}`;
  const wrong = await imgconv('tar2reg', '--expect', other, saved, store, 'demo/base:1');
  assert.equal(wrong.status, 1);
  assert.match(wrong.stderr, /demo\/base:1: expected sha256:0{64}: none of \d+ ways to compress its layers/);
  assert.ok(!existsSync(store));
  const absent = await imgconv('tar2reg', '--expect', other.replace('base', 'none'), saved, store);
  assert.equal(absent.status, 1);
  assert.match(absent.stderr, /--expect demo\/none:1@sha256:0{64}: no such image is converted/);
  assert.ok(!existsSync(store));
  const none = await imgconv('tar2reg', '--expect', 'demo/base:1', saved, store);
  assert.equal(none.status, 2);
  assert.match(none.stderr, /--expect demo\/base:1: no name and digest/);
});

test('--expect known of an archive, which remembers no digest: a note, and the digest it has', async () => {
  const [kept, store] = [join(tempFolder(), 'store'), join(tempFolder(), 'store')];
  await imgconv('tar2reg', saved, kept, 'demo/base:1');
  const { status, stdout } = await imgconv('tar2reg', '--expect', 'known', saved, store, 'demo/base:1');
  assert.equal(status, 0);
  assert.match(stdout, /note: --expect known: the source remembers no digest of it/);
  assert.deepEqual(await digestsIn(store), await digestsIn(kept));
});

test('layers get encoders in at most three runs, each combination once', () => {
  assert.deepEqual([...combinations(0, ['a'], 1)], [[]]);
  for (const count of [1, 2, 3, 4, 5]) {
    const seen = new Set<string>();
    const kinds = ['a', 'b', 'c'];
    for (let some = 1; some <= kinds.length; some++)
      for (const runs of [1, 2, 3])
        for (const one of combinations(count, kinds.slice(0, some), runs)) {
          const text = one.join('');
          assert.equal(text.length, count);
          assert.ok(!seen.has(text), text);
          assert.equal(Array.from(text).filter((letter, i) => letter !== text[i - 1]).length, runs);
          seen.add(text);
        }
    // Of all words of three letters, those in which the letter changes at most twice.
    let expected = 0;
    for (let n = 0; n < 3 ** count; n++) {
      const word = n.toString(3).padStart(count, '0').slice(-count);
      const changes = Array.from(word).filter((letter, i) => i > 0 && letter !== word[i - 1]).length;
      if (changes <= 2) expected++;
    }
    assert.equal(seen.size, expected);
  }
});
