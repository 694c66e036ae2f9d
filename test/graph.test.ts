import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { convert, type Place } from '../src/index.js';
import { LocalStorage } from '../src/storage/local.js';
import { collectGarbage } from '../src/upkeep/gc.js';
import { verify } from '../src/upkeep/verify.js';
import {
  descriptions,
  graphOf,
  isSchema1,
  layGraphAsLayout,
  layGraphAsStore,
  paths,
  type Graph,
  type Repository,
} from './support/graphs.js';
import { blobFile, parseIndex } from './support/layouts.js';
import { namesOf, place } from './support/places.js';
import { contentsAt, inMemory, newMemoryPlace, STORED } from './support/storages.js';
import { tempFolder } from './support/temp.js';

/** `IMGCONV_GRAPHS=20000 node --test dist/test/graph.test.js` is the long run; IMGCONV_SEED gives one again. */
const RUNS = Number(process.env['IMGCONV_GRAPHS'] ?? 300);
const SEED = Number(process.env['IMGCONV_SEED'] ?? 20261128);

interface Kept {
  readonly manifests: ReadonlySet<string>;
  readonly blobs: ReadonlySet<string>;
}

/** What one repository needs: rules are applied until nothing is added. */
function keptOf(repository: Repository, { docs, present }: Graph, untagged: boolean): Kept {
  const { tags, revisions, layers } = repository;
  const manifests = new Set<string>();
  const add = (digest = '') => present.has(digest) && docs.has(digest) && manifests.add(digest);
  for (const { tag, digest } of tags) {
    add(digest);
    const [, hex] = /^sha256-([0-9a-f]{64})/.exec(tag) ?? [];
    if (hex !== undefined) add(`sha256:${hex}`);
  }
  for (const { digest, young } of revisions) if (young || !untagged) add(digest);
  for (let size = -1; size !== manifests.size;) {
    size = manifests.size;
    for (const digest of [...manifests])
      for (const one of [...(docs.get(digest)?.members ?? []), docs.get(digest)?.subject]) add(one);
    for (const { digest } of revisions) if (manifests.has(docs.get(digest)?.subject ?? '')) add(digest);
  }
  const needed = [...manifests].flatMap((digest) => docs.get(digest)?.blobs ?? []);
  return {
    manifests,
    blobs: new Set([...needed, ...layers.filter(({ young }) => young).map(({ digest }) => digest)]),
  };
}

/** A tag or a revision whose manifest is lost: nobody can tell what it needs. */
function isUnknowable({ present, repositories }: Graph): boolean {
  return repositories.some(({ tags, revisions }) =>
    [...tags, ...revisions].some(({ digest }) => !present.has(digest)),
  );
}

async function brokenIn(from: Place): Promise<string[]> {
  // A map has no empty folders: without a repository nothing tells that it is a registry's storage.
  const isStore = Object.keys(await contentsAt(from)).some((key) => key.includes('/repositories/'));
  if (from.storage !== undefined && from.format.short === 'reg' && !isStore) return [];
  const { findings } = await verify(from);
  return findings
    .filter(({ severity }) => severity === 'broken')
    .map(({ kind, where, what }) => `${kind} ${where} ${what}`);
}

/** Collects garbage, and gives the files that are left; undefined when it refuses, and then nothing may have changed. */
async function collected(at: Place, untagged: boolean): Promise<string[] | undefined> {
  const before = await contentsAt(at);
  const broken = new Set(await brokenIn(at));
  try {
    await collectGarbage(at, { olderThan: 0, untagged });
  } catch (error) {
    assert.deepEqual(await contentsAt(at), before);
    assert.match(String(error), /not there/);
    return undefined;
  }
  assert.deepEqual(
    (await brokenIn(at)).filter((one) => !broken.has(one)),
    [],
  );
  return Object.keys(await contentsAt(at));
}

/** `check` has a folder of its own, which is gone after it: thousands of stores fill a disk. */
function holds(
  title: string,
  check: (graph: Graph, untagged: boolean, folder: string) => Promise<void>,
): void {
  test(title, async () => {
    await fc.assert(
      fc.asyncProperty(descriptions, fc.boolean(), async (description, untagged) => {
        const folder = tempFolder();
        try {
          await check(graphOf(description), untagged, folder);
        } finally {
          rmSync(folder, { recursive: true });
        }
      }),
      { numRuns: RUNS, seed: SEED },
    );
  });
}

/** The driver of the storage: the rules are the same. */
const DRIVERS = {
  'on disk': (at: Place) => Promise.resolve(at),
  'in memory': inMemory,
} as const;

for (const [driver, kept] of Object.entries(DRIVERS))
  describe(`gc keeps what is needed, and nothing else, ${driver}`, () => {
    holds('in a registry', async (graph, untagged, folder) => {
      const store = layGraphAsStore(folder, graph);
      const left = await collected(await kept(place('reg', store)), untagged);
      assert.equal(left === undefined, isUnknowable(graph));
      if (left === undefined) return;
      const all = graph.repositories.map((repository) => keptOf(repository, graph, untagged));
      const reached = (digest: string) =>
        all.some(({ manifests, blobs }) => manifests.has(digest) || blobs.has(digest));
      const expected = [...graph.present]
        .filter(([digest, { young }]) => young || reached(digest))
        .map(([digest]) => `blobs/sha256/${digest.slice(7, 9)}/${digest.slice(7)}/data`);
      for (const [i, { name, tags, revisions, layers }] of graph.repositories.entries()) {
        const stays = new Set(
          revisions
            .filter(({ digest, young }) => young || all[i]?.manifests.has(digest))
            .map(({ digest }) => digest),
        );
        const links = [
          ...[...stays].map((digest) => paths.revision(name, digest)),
          ...layers
            .filter(({ digest, young }) => young || reached(digest))
            .map(({ digest }) => paths.layer(name, digest)),
          ...tags.flatMap(({ tag, digest, before }) => [
            `${name}/_manifests/tags/${tag}/current/link`,
            paths.index(name, tag, digest),
            ...before.filter((one) => stays.has(one.digest)).map((one) => paths.index(name, tag, one.digest)),
          ]),
        ];
        expected.push(...links.map((link) => `repositories/${link}`));
      }
      assert.deepEqual(left, [...new Set(expected)].map((path) => `docker/registry/v2/${path}`).sort());
    });

    holds('in an OCI layout', async (graph, untagged, folder) => {
      const [first] = graph.repositories;
      if (first === undefined) return;
      const only: Graph = {
        ...graph,
        repositories: [
          {
            ...first,
            layers: [],
            revisions: first.revisions.map(({ digest }) => ({ digest, young: false })),
          },
        ],
      };
      const layout = layGraphAsLayout(folder, only);
      const at = await kept(place('oci', layout));
      const left = await collected(at, untagged);
      assert.equal(left === undefined, isUnknowable(only));
      if (left === undefined) return;
      const { manifests, blobs } = keptOf(only.repositories[0] ?? first, only, untagged);
      const expected = [...graph.present]
        .filter(([digest, { young }]) => young || manifests.has(digest) || blobs.has(digest))
        .map(([digest]) => blobFile(digest));
      assert.deepEqual(left, [...expected, 'index.json', 'oci-layout'].sort());
      const index = await (at.storage ?? new LocalStorage(at.path)).read('index.json', 2 ** 22);
      assert.deepEqual(
        new Set(parseIndex(index ?? new Uint8Array()).manifests.map(({ digest }) => digest)),
        new Set(
          [...first.tags, ...first.revisions]
            .map(({ digest }) => digest)
            .filter((digest) => manifests.has(digest)),
        ),
      );
    });
  });

holds('what is whole is carried into every format and back', async (graph, isInMemory, folder) => {
  const whole = [...graph.docs.values()].every(({ digest, blobs }) =>
    [digest, ...blobs].every((one) => graph.present.has(one)),
  );
  if (!whole || graph.repositories.every(({ tags }) => tags.length === 0)) return;
  const store = place('reg', layGraphAsStore(join(folder, 'source'), graph));
  const names = await namesOf(store);
  const hasSchema1 = [...graph.docs.values()].some(isSchema1);
  for (const short of hasSchema1
    ? (['dir', 'reg'] as const)
    : (['dir', 'reg', 'oci', 'ocitar', 'tar'] as const)) {
    const isStored = STORED.some((one) => one === short);
    const there =
      isInMemory && isStored ? newMemoryPlace(short) : place(short, join(folder, `there.${short}`));
    const { images } = await convert(store, there, { compression: 'keep' });
    assert.deepEqual(
      images
        .filter(({ status }) => status !== 'written')
        .map(({ source, error }) => [source, error?.message]),
      [],
    );
    assert.deepEqual(await brokenIn(there), []);
    const found = await namesOf(there);
    for (const [name, digest] of Object.entries(names))
      assert.equal(found[name], digest, `${name} in ${short}`);
  }
});
