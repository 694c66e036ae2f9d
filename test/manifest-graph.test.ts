import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseDigest, type Digest } from '../src/model/digest.js';
import { reach, topsOf, walk, type Named } from '../src/model/graph.js';
import { fold, manifestsOf } from '../src/model/tree.js';
import type { SourceImage } from '../src/formats/format.js';
import { readTree } from '../src/transfer/tree.js';
import { refusal } from './support/errors.js';
import { projectRoot } from './support/fixtures.js';
import { descriptorOf, digestText, imageOf, indexOf, OCI, part, type Part } from './support/images.js';

const digests = Array.from('abcdef').map((letter) => parseDigest(digestText(Buffer.from(letter)), letter));
const [a, b, c, d, e, f] = digests as [Digest, Digest, Digest, Digest, Digest, Digest];
const letters = (them: Iterable<Digest>) =>
  [...them].map((digest) => 'abcdef'[digests.indexOf(digest)]).join('');

/** Reads manifests that are in memory, and says which were asked for. */
function sourceOf(root: Part, others: readonly Part[]): { source: SourceImage; read: string[] } {
  const parts = new Map([root, ...others].map((one) => [one.digest, one.bytes]));
  const read: string[] = [];
  const source: SourceImage = {
    name: undefined,
    where: 'memory',
    digest: parseDigest(root.digest, 'test'),
    locate: ({ digest }) => {
      read.push(digest);
      const bytes = parts.get(digest);
      return bytes && { kind: 'memory', path: digest, size: bytes.length, bytes };
    },
    provesDiffIds: false,
    signatures: [],
    warnings: [],
  };
  return { source, read };
}

function indexNaming(manifests: readonly object[]): Part {
  return part(OCI.index, { schemaVersion: 2, mediaType: OCI.index, manifests });
}

describe('a walk', () => {
  test('visits each digest once, depth first and in order, and ends where it comes back', async () => {
    const edges = new Map([
      [a, [b, c]],
      [b, [d, a]],
      [c, [d, e]],
      [e, [c]],
    ]);
    const visited: [Digest, number][] = [];
    await walk([{ digest: a }, { digest: f }], ({ digest }, depth) => {
      visited.push([digest, depth]);
      return edges.get(digest)?.map((one) => ({ digest: one }));
    });
    assert.equal(letters(visited.map(([digest]) => digest)), 'abdcef');
    assert.deepEqual(
      visited.map(([, depth]) => depth),
      [0, 1, 2, 1, 2, 0],
    );
  });

  test('follows a digest where it is named as a manifest, whatever else it is', async () => {
    const named = new Map<Digest, Partial<Named>>([
      [a, { members: [b], blobs: [c, d] }],
      [b, { blobs: [d], subject: c }],
      [c, { blobs: [e] }],
      [d, { blobs: [f] }],
    ]);
    const read = (digest: Digest) =>
      named.has(digest) ? { members: [], blobs: [], subject: undefined, ...named.get(digest) } : undefined;
    const { manifests, blobs } = await reach([a], read, () => []);
    assert.equal(letters(manifests), 'abc');
    assert.equal(
      letters([...blobs].sort((one, other) => digests.indexOf(one) - digests.indexOf(other))),
      'cde',
    );
    const withReferrer = await reach([b], read, (subject) => (subject === c ? [d] : []));
    assert.equal(letters(withReferrer.manifests), 'bcd');
  });

  test('upwards ends at the top, and in a circle at its first digest', () => {
    const above = new Map([
      [a, b],
      [b, c],
      [d, e],
      [e, d],
    ]);
    const tops = topsOf(new Set([a, d, e, f]), (digest) => above.get(digest));
    assert.equal(letters([a, d, e, f].map((digest) => tops.get(digest) ?? digest)), 'cddf');
  });
});

describe('a tree of manifests', () => {
  test('reads a member once however often it is named, and has members before their index', async () => {
    const { root: image } = await imageOf('one');
    const index = indexNaming([descriptorOf(image), descriptorOf(image, { annotations: { again: 'yes' } })]);
    const { source, read } = sourceOf(index, [image]);
    const tree = await readTree(source);
    assert.deepEqual(read, [index.digest, image.digest]);
    assert.deepEqual(
      manifestsOf(tree).map(({ descriptor }) => descriptor.digest),
      [image.digest, index.digest],
    );
    assert.equal(await fold<number>(tree, (_, children) => children.reduce((sum, one) => sum + one, 1)), 3);
  });

  for (const [title, wrong] of [
    ['size', { size: 7 }],
    ['kind of media type', { mediaType: OCI.index }],
  ] as const)
    test(`is refused when a member is named again with another ${title}`, async () => {
      const { root: image } = await imageOf('one');
      const { source } = sourceOf(indexNaming([descriptorOf(image), { ...descriptorOf(image), ...wrong }]), [
        image,
      ]);
      await assert.rejects(
        readTree(source),
        refusal(title === 'size' ? 'DIGEST_MISMATCH' : 'MANIFEST_INVALID', image.digest),
      );
    });

  test('is refused when indexes are nested too deep, or have too many members together', async () => {
    const image = await imageOf('one');
    let nested = indexOf([image]);
    for (let depth = 0; depth < 8; depth++) nested = indexOf([nested]);
    const deep = sourceOf(nested.root, nested.members);
    await assert.rejects(readTree(deep.source), refusal('MANIFEST_INVALID', 'nested in more than 8 indexes'));

    const hundred = indexNaming(Array.from({ length: 200 }, () => descriptorOf(image.root)));
    const wide = indexNaming(Array.from({ length: 51 }, () => descriptorOf(hundred)));
    const { source } = sourceOf(wide, [hundred, image.root]);
    await assert.rejects(readTree(source), refusal('MANIFEST_INVALID', 'more than 10000 members'));
  });
});

test('no file outside model reads the members or the subject of a manifest by itself', () => {
  const source = join(projectRoot, 'src');
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  assert.ok(files.length > 100);
  assert.deepEqual(
    files.filter(
      (file) =>
        // The page is a program of its own, in a browser.
        !/^(?:model|page)\//.test(file) &&
        /\bmanifest\??\.(?:manifests|subject)\b/.test(readFileSync(join(source, file), 'utf8')),
    ),
    [],
  );
});
