import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Corpus } from './corpus.js';
import { expectSame, inStore, inTree, manifestLine } from './equal.js';
import { imgconvWords, SURROUNDINGS } from './measure.js';
import { millisecondsEach, peakBelow, secondsBelow, wallBelow, type Contest, type Row } from './row.js';
import { filesBelow, opensslWords } from './rows-store.js';

const MANY = 10_000;

function runNow(words: readonly string[]): void {
  execFileSync('bash', ['-c', '"$@"', 'bench', ...imgconvWords(words)], { env: SURROUNDINGS });
}

/** A small archive into a store that holds many images; with `isFirst` no run has seen that store before. */
function intoMany(name: string, work: string, isFirst: boolean, limit: number): Row {
  return {
    name,
    work,
    against: 'the same into a new store',
    peers: [],
    async prepare(corpus: Corpus): Promise<Contest> {
      const { store, small, other } = await corpus.numerous(MANY);
      return {
        before: (out) => {
          execFileSync('cp', ['-al', store, out]);
          if (!isFirst) runNow(['tar2reg', '--quiet', other, out]);
        },
        ours: (out) => ['tar2reg', '--quiet', small, out],
        peer: (out) => ({ words: imgconvWords(['tar2reg', '--quiet', small, out]) }),
        targets: [wallBelow(limit)],
        async check({ ours, peer }) {
          const mine = (await inStore(ours)).map(manifestLine);
          const theirs = (await inStore(peer)).map(manifestLine);
          expectSame(
            'the image',
            mine.filter((line) => theirs.includes(line)),
            theirs,
          );
          return [];
        },
      };
    },
  };
}

const GROWN = 8000;

/** How many names a place of each format has, as its own files say. */
const NAMED = {
  reg: async (out: string) => (await inStore(out)).length,
  oci: (out: string) => Promise.resolve(entriesIn(readFileSync(join(out, 'index.json'), 'utf8'))),
  dir: async (out: string) => (await inTree(out)).length,
  'docker-archive': (out: string) => {
    const most = { maxBuffer: 64 * 1024 ** 2, encoding: 'utf8' } as const;
    return Promise.resolve(entriesIn(execFileSync('tar', ['-xOf', out, 'index.json'], most)));
  },
};

function entriesIn(index: string): number {
  return (JSON.parse(index) as { manifests: unknown[] }).manifests.length;
}

/** Many images out of a store: the time is a straight line, the memory has a bound. */
function growing(prefix: keyof typeof NAMED): Row {
  return {
    name: `grow-${prefix}`,
    work: `8,000 small images, store to ${prefix}:`,
    against: 'itself on an eighth, eight times',
    peers: [],
    async prepare(corpus): Promise<Contest> {
      const { store } = await corpus.numerous(GROWN);
      const { store: few } = await corpus.numerous(GROWN / 8);
      const words = (from: string, out: string) => ['copy', '--quiet', `reg:${from}`, `${prefix}:${out}`];
      return {
        ours: (out) => words(store, out),
        peer: (out) => ({ words: imgconvWords(words(few, out)) }),
        peerShare: 1 / 8,
        targets: [wallBelow(8.5 / 8), peakBelow(150)],
        async check({ ours }) {
          const found = await NAMED[prefix](ours);
          expectSame('images', [String(found)], [String(corpus.count(GROWN))]);
          return [];
        },
      };
    },
  };
}

/** Rows whose time must not grow with what a store holds besides, or grow with it in a straight line. */
export const manyRows: readonly Row[] = [
  ...(['reg', 'oci', 'dir', 'docker-archive'] as const).map(growing),
  intoMany('known-layers', 'small archive to a store of 10,000 images', false, 1.3),
  intoMany('known-layers-cold', 'the same, for the first time', true, 3),
  {
    name: 'verify-many',
    work: '`verify` of 10,000 small images',
    against: 'itself on a tenth, ten times',
    peers: [],
    async prepare(corpus): Promise<Contest> {
      const { store } = await corpus.numerous(MANY);
      const { store: tenth } = await corpus.numerous(MANY / 10);
      return {
        ours: () => ['verify', store],
        peer: () => ({ words: imgconvWords(['verify', tenth]) }),
        peerShare: 0.1,
        targets: [wallBelow(1.1), millisecondsEach(corpus.count(MANY), 0.5)],
      };
    },
  },
  {
    name: 'verify-large',
    work: '`verify` of a store of 5 GB',
    against: 'two `openssl dgst` at once',
    peers: ['openssl'],
    async prepare(corpus): Promise<Contest> {
      const store = await corpus.heavy();
      const blobs = filesBelow(join(store, 'docker/registry/v2/blobs'));
      return {
        ours: () => ['verify', store],
        peer: () => ({ words: opensslWords(blobs) }),
        targets: [secondsBelow(1.2, 0)],
      };
    },
  },
  {
    name: 'select-of-many',
    work: '200 of 50,000 tags, store to store',
    against: '200 of 1,000',
    peers: [],
    async prepare(corpus): Promise<Contest> {
      const [many, few] = [await corpus.tags(50_000), await corpus.tags(1000)];
      const words = (store: string, out: string) => {
        const list = join(few, 'selected');
        return ['reg2reg', '--quiet', store, out, '--images-file', list];
      };
      return {
        ours: (out) => words(many, out),
        peer: (out) => ({ words: imgconvWords(words(few, out)) }),
        targets: [wallBelow(1.1)],
        async check({ ours, peer }) {
          const found = (await inStore(ours)).map(manifestLine);
          expectSame('images', found, (await inStore(peer)).map(manifestLine));
          expectSame(
            'names',
            found.map((line) => line.replace(/ .*/, '')),
            readFileSync(join(few, 'selected'), 'utf8').trim().split('\n'),
          );
          return [];
        },
      };
    },
  },
];
