import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { JsonList } from '../src/bytes/json-list.js';
import { EngineList } from '../src/formats/engine-list.js';
import { hexOf, isDigest } from '../src/model/digest.js';
import { DigestMap } from '../src/model/digest-map.js';
import { digestOf } from '../src/bytes/hash.js';
import { projectRoot } from './support/fixtures.js';
import { tempFolder } from './support/temp.js';

const FEW = 600;
const MANY = 1800;
/** Bytes of the heap for each image more. */
const MOST = { reg: 3600, oci: 3600, dir: 3600, 'docker-archive': 3600 } as const;

/** By format, how much of the heap a conversion of so many images needs. */
async function heapFor(count: number): Promise<Map<string, number>> {
  const script = join(projectRoot, 'dist/test/support/heap-of-run.js');
  const words = ['--expose-gc', script, tempFolder(), String(count), ...Object.keys(MOST)];
  const { stdout } = await promisify(execFile)(process.execPath, words);
  const lines = stdout.trim().split('\n');
  return new Map(lines.map((line) => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])]));
}

describe('many images', () => {
  test('take little memory each', { timeout: 600_000 }, async () => {
    const few = await heapFor(FEW);
    const many = await heapFor(MANY);
    for (const [format, most] of Object.entries(MOST)) {
      const each = ((many.get(format) ?? NaN) - (few.get(format) ?? NaN)) / (MANY - FEW);
      assert.ok(each < most, `${format}: ${Math.round(each)} bytes an image`);
    }
  });
});

test('repositories has the top layer of each of many tags', () => {
  const list = new EngineList([], new JsonList(() => join(tempFolder(), 'list')));
  const expected: Record<string, Record<string, string>> = {};
  for (let i = 0; i < 5000; i++) {
    const [repository, tag] = [`demo/app-${i % 7}`, `v${i}`];
    const hex = hexOf(digestOf(Buffer.from(tag)));
    list.add({ repository, tag }, { Config: 'c', RepoTags: null, Layers: ['first', `blobs/sha256/${hex}`] });
    (expected[repository] ??= {})[tag] = hex;
  }
  const content = new Map(list.documents()).get('repositories');
  assert.ok(content !== undefined);
  // Each piece is good until the next one.
  const bytes = Buffer.concat(Array.from(content.pieces, (piece) => Buffer.from(piece)));
  assert.equal(bytes.length, content.size);
  assert.deepEqual(JSON.parse(bytes.toString()), expected);
});

test('a map of digests that somebody chose is as fast as another', () => {
  const map = new DigestMap();
  const since = performance.now();
  for (let i = 0; i < 20_000; i++) {
    const digest = `sha256:${'0'.repeat(32)}${i.toString(16).padStart(8, '0')}${'0'.repeat(24)}`;
    assert.ok(isDigest(digest));
    map.set(digest, i);
  }
  assert.equal(map.size, 20_000);
  assert.ok(performance.now() - since < 5000, 'by the first words alone, they take half a minute');
});

test('a map of digests holds what a Map would', () => {
  const map = new DigestMap();
  const expected = new Map<string, number>();
  for (let i = 0; i < 1000; i++) {
    const digest = digestOf(Buffer.from(String(i % 700)), i % 10 === 0 ? 'sha512' : 'sha256');
    assert.equal(map.get(digest), expected.get(digest));
    assert.equal(map.has(digest), expected.has(digest));
    map.set(digest, i);
    expected.set(digest, i);
  }
  assert.equal(map.size, expected.size);
  assert.deepEqual(
    [...map.values()].sort((a, b) => a - b),
    [...expected.values()].sort((a, b) => a - b),
  );
});
