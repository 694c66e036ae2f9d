import { join } from 'node:path';
import { linesOf, TAGS } from './corpus.js';
import { ContentDiffers, expectSame } from './equal.js';
import { imgconvWords, repeated } from './measure.js';
import { peakBelow, wallBelow, type Row } from './row.js';

/** A start is over in some hundredths of a second. */
const STARTS = 20;
const NOTHING = [process.execPath, '-e', '0'];

export const startRows: readonly Row[] = [
  {
    name: 'version',
    work: '`imgconv --version`',
    against: 'node -e 0',
    peers: [],
    prepare() {
      return Promise.resolve({
        times: STARTS,
        ours: () => ['--version'],
        peer: () => ({ words: repeated(STARTS, NOTHING) }),
        targets: [wallBelow(1.8)],
      });
    },
  },
  {
    name: 'ls-one',
    work: '`imgconv ls` of one image',
    against: 'node -e 0',
    short: { cpu: 5, wall: 5.5 },
    peers: [],
    async prepare(corpus) {
      const store = join(await corpus.base(), 'store');
      return {
        times: STARTS,
        ours: () => ['ls', store],
        peer: () => ({ words: repeated(STARTS, NOTHING) }),
        targets: [wallBelow(3)],
        check({ oursLog }) {
          const lines = new Set(linesOf(oursLog).map((line) => line.split(' ')[0] ?? ''));
          expectSame('images', [...lines], ['app-1:1.0']);
          return Promise.resolve([]);
        },
      };
    },
  },
  {
    name: 'ls-many-tags',
    work: '`imgconv ls` of 100,000 tags',
    against: 'itself on a tenth, ten times',
    peers: [],
    async prepare(corpus) {
      const store = await corpus.tags(TAGS);
      const tenth = await corpus.tags(TAGS / 10);
      return {
        ours: () => ['ls', store],
        peer: () => ({ words: imgconvWords(['ls', tenth]) }),
        peerShare: 0.1,
        targets: [wallBelow(1.2), peakBelow(200)],
        check({ oursLog }) {
          const count = linesOf(oursLog).length;
          if (count !== corpus.count(TAGS)) throw new ContentDiffers(`${count} tags listed`);
          return Promise.resolve([]);
        },
      };
    },
  },
];

const BIG = 150;

/** A row without a peer: what counts is memory. */
function bigRow(name: string, work: string, words: (big: string, out: string) => string[]): Row {
  return {
    name,
    work: `${work}, one layer of 4 GB`,
    against: '',
    peers: [],
    async prepare(corpus) {
      const big = await corpus.big();
      return { ours: (out) => words(big, out), targets: [peakBelow(BIG)] };
    },
  };
}

export const bigRows: readonly Row[] = [
  bigRow('big-tree', 'tree to store', (big, out) => ['dir2reg', '--quiet', join(big, 'tree'), out]),
  bigRow('big-store', 'store to store', (big, out) => ['reg2reg', '--quiet', join(big, 'store'), out]),
  bigRow('big-saved-gzip', '`docker save` archive to store, gzip', (big, out) => [
    'tar2reg',
    '--quiet',
    join(big, 'saved.tar'),
    out,
  ]),
  bigRow('big-saved-keep', '`docker save` archive to store, layers unchanged', (big, out) => [
    'tar2reg',
    '--quiet',
    '--compression',
    'keep',
    join(big, 'saved.tar'),
    out,
  ]),
  bigRow('big-tar', 'store to archive', (big, out) => ['reg2tar', '--quiet', join(big, 'store'), out]),
  bigRow('big-tar-plain', 'store to archive, layers unpacked', (big, out) => [
    'reg2tar',
    '--quiet',
    '--layers',
    'uncompressed',
    join(big, 'packed'),
    out,
  ]),
];
