import { mkdirSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { projectRoot } from '../interop/peers.js';
import { Registry } from '../interop/registry-peer.js';
import { linesOf, MANY, SELECTED, type Corpus } from './corpus.js';
import { expectSame, inStore, inTree, layersLine, manifestLine } from './equal.js';
import { peerWords } from './peers.js';
import { fasterBy, millisecondsEach, secondsBelow, wallBelow, type Row, type Side } from './row.js';

const LOOP = join(projectRoot, 'test/bench/hard-link-loop.sh');

async function fiveImages(corpus: Corpus): Promise<{ tree: string; ours: (out: string) => string[] }> {
  const tree = join(await corpus.base(), 'tree');
  return { tree, ours: (out) => ['dir2reg', '--quiet', tree, out] };
}

/** All files below a folder with their sizes, the largest first. */
export function filesBelow(folder: string): { path: string; size: number }[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .map((path) => ({ path, status: statSync(path) }))
    .filter(({ status }) => status.isFile())
    .map(({ path, status }) => ({ path, size: status.size }))
    .sort((a, b) => b.size - a.size);
}

/** Files of a tree, one for each digest that names them. */
function uniqueFiles(tree: string): { path: string; size: number }[] {
  const files = filesBelow(tree).filter(({ path }) => basename(path) !== 'version');
  const key = (path: string) => (basename(path).length === 64 ? basename(path) : path);
  return [...new Map(files.map((file) => [key(file.path), file])).values()];
}

/** Two halves of about the same size: the next largest goes to the lighter one. */
function halves(files: readonly { path: string; size: number }[]): string[][] {
  const sides = [0, 1].map(() => ({ size: 0, paths: new Array<string>() }));
  for (const { path, size } of files) {
    const side = sides.reduce((best, one) => (one.size < best.size ? one : best));
    side.size += size;
    side.paths.push(path);
  }
  return sides.map(({ paths }) => paths);
}

export function opensslWords(files: readonly { path: string; size: number }[]): string[] {
  const [left = [], right = []] = halves(files);
  const script = 'n=$1; shift; openssl dgst -sha256 -r "${@:1:n}" & openssl dgst -sha256 -r "${@:n+1}"; wait';
  return ['bash', '-c', script, 'bench', String(left.length), ...left, ...right];
}

function shellLoop(mode: 'tree' | 'store', source: string, names: string): Side {
  return (out) => ({ words: ['bash', LOOP, mode, source, out, names] });
}

async function sameAsLoop(ours: string, peer: string, some: readonly string[]): Promise<void> {
  const wanted = new Set(some);
  const found = (await inStore(ours)).filter(({ name }) => wanted.has(name));
  expectSame('images', found.map(manifestLine), (await inStore(peer)).map(manifestLine));
}

export const storeRows: readonly Row[] = [
  {
    name: 'five-images',
    work: 'tree of five images on one base to a store',
    against: 'skopeo sync to a registry',
    peers: ['skopeo', 'docker-registry'],
    async prepare(corpus) {
      const { tree, ours } = await fiveImages(corpus);
      return {
        ours,
        async peer(out) {
          mkdirSync(out);
          const registry = await Registry.start(out, out);
          const words = [
            ...peerWords('skopeo'),
            ...'sync --src dir --dest docker --dest-tls-verify=false'.split(' '),
          ];
          return { words: [...words, tree, `${registry.host}/synced`], stop: () => registry.stop() };
        },
        targets: [wallBelow(0.25)],
        async check({ ours: store, peer }) {
          const mine = (await inStore(store)).map(manifestLine);
          expectSame('images', mine, (await inStore(peer, 'synced/')).map(manifestLine));
          expectSame('images of the source', mine, (await inTree(tree)).map(manifestLine));
          return [];
        },
      };
    },
  },
  {
    name: 'five-images-hash',
    work: 'the same, each byte proved',
    against: 'two openssl dgst at once',
    peers: ['openssl'],
    async prepare(corpus) {
      const { tree, ours } = await fiveImages(corpus);
      return {
        ours,
        peer: () => ({ words: opensslWords(uniqueFiles(tree)) }),
        targets: [secondsBelow(1.3, 0.1)],
        async check({ ours: store, peerLog }) {
          const hashed = new Set(linesOf(peerLog).map((line) => line.slice(0, 64)));
          const images = await inStore(store);
          expectSame(
            'manifests',
            images.map(({ manifest }) => manifest).filter((one) => hashed.has(one)),
            images.map(({ manifest }) => manifest),
          );
          expectSame('images', images.map(layersLine), (await inTree(tree)).map(layersLine));
          return [];
        },
      };
    },
  },
  {
    name: 'many-tree',
    work: '1,000 small images, tree to store',
    against: 'hard-link shell loop',
    short: { cpu: 0.2, wall: 0.18 },
    peers: ['bash'],
    async prepare(corpus) {
      const folder = await corpus.many();
      const tree = join(folder, 'tree');
      const tenth = join(folder, 'tenth');
      return {
        ours: (out) => ['dir2reg', '--quiet', tree, out],
        peer: shellLoop('tree', tree, tenth),
        peerShare: linesOf(tenth).length / corpus.count(MANY),
        targets: [millisecondsEach(corpus.count(MANY), 3), fasterBy(15)],
        async check({ ours, peer }) {
          await sameAsLoop(ours, peer, linesOf(tenth));
          expectSame(
            'images',
            (await inStore(ours)).map(manifestLine),
            (await inTree(tree)).map(manifestLine),
          );
          return [];
        },
      };
    },
  },
  {
    name: 'many-select',
    work: '200 of 1,000 images, store to store',
    against: 'hard-link shell loop',
    peers: ['bash'],
    async prepare(corpus) {
      const folder = await corpus.many();
      const store = join(folder, 'store');
      const selected = join(folder, 'selected');
      return {
        ours: (out) => ['reg2reg', '--quiet', store, out, '--images-file', selected],
        peer: shellLoop('store', store, selected),
        targets: [millisecondsEach(Math.max(2, corpus.count(MANY) / (MANY / SELECTED)), 3), fasterBy(15)],
        async check({ ours, peer }) {
          await sameAsLoop(ours, peer, linesOf(selected));
          expectSame(
            'names',
            (await inStore(ours)).map(({ name }) => name),
            readFileSync(selected, 'utf8').trim().split('\n'),
          );
          return [];
        },
      };
    },
  },
];
