import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from '../interop/registry-peer.js';
import { linesOf, type Corpus } from './corpus.js';
import {
  engineDiffIds,
  expectSame,
  inLayout,
  inStore,
  inTree,
  layersLine,
  layoutDigests,
  type Found,
} from './equal.js';
import { imgconvWords } from './measure.js';
import { peerWords } from './peers.js';
import { bytesBelow, cpuBelow, wallBelow, type Row } from './row.js';
import { filesBelow } from './rows-store.js';

function layerBytes(images: readonly Found[]): number {
  return images.reduce((sum, image) => sum + image.layerBytes, 0);
}

/** Store to archive, beside crane, which gets the same blobs from a registry on that store and flushes nothing. */
function pulledArchive(name: string, against: string, after: string): Row {
  return {
    name,
    work: 'store to archive, layers unchanged',
    against,
    peers: ['crane', 'docker-registry'],
    async prepare(corpus: Corpus) {
      const store = join(await corpus.base(), 'store');
      const scratch = join(corpus.outputs, name);
      mkdirSync(scratch, { recursive: true });
      const registry = await Registry.start(store, scratch);
      const script = `out=$1; shift; "$@" "$out"; ${after}`;
      const pull = [...peerWords('crane'), 'pull', `${registry.host}/app-1:1.0`];
      return {
        ours: (out) => ['reg2tar', '--quiet', store, out],
        peer: (out) => ({ words: ['bash', '-ec', script, 'bench', out, ...pull] }),
        targets: [wallBelow(0.9)],
        after: () => registry.stop(),
      };
    },
  };
}

export const archiveRows: readonly Row[] = [
  {
    name: 'saved-gzip',
    work: '`docker save` archive to a store, layers gzipped',
    against: 'skopeo docker-archive: to oci:',
    short: { cpu: 1.7, wall: 1.9 },
    peers: ['skopeo'],
    async prepare(corpus) {
      const saved = join(await corpus.saved(), 'first.tar');
      return {
        ours: (out) => ['tar2reg', '--quiet', saved, out],
        peer: (out) => ({
          words: [...peerWords('skopeo'), 'copy', '-q', `docker-archive:${saved}`, `oci:${out}`],
        }),
        targets: [wallBelow(0.7), cpuBelow(0.75)],
        async check({ ours, peer }) {
          const [mine, theirs] = [await inStore(ours), await inLayout(peer)];
          expectSame('layers', mine.map(layersLine), theirs.map(layersLine));
          return [bytesBelow('output', layerBytes(mine), layerBytes(theirs))];
        },
      };
    },
  },
  {
    name: 'saved-keep',
    work: 'the same, layers unchanged',
    against: 'skopeo docker-archive: to dir:',
    short: { cpu: 1.8, wall: 1.5 },
    peers: ['skopeo'],
    async prepare(corpus) {
      const saved = join(await corpus.saved(), 'first.tar');
      return {
        ours: (out) => ['tar2reg', '--quiet', '--compression', 'keep', saved, out],
        peer: (out) => ({
          words: [...peerWords('skopeo'), 'copy', '-q', `docker-archive:${saved}`, `dir:${out}`],
        }),
        targets: [wallBelow(0.65)],
        async check({ ours, peer }) {
          expectSame('layers', (await inStore(ours)).map(layersLine), (await inTree(peer)).map(layersLine));
          return [];
        },
      };
    },
  },
  {
    name: 'saved-again',
    work: 'an image with one new layer',
    against: 'the first conversion',
    peers: [],
    async prepare(corpus) {
      const folder = await corpus.saved();
      const convert = (tar: string, out: string) => ['tar2reg', '--quiet', join(folder, tar), out];
      return {
        before: (out) => {
          execFileSync('bash', ['-c', '"$@"', 'bench', ...imgconvWords(convert('first.tar', out))]);
        },
        ours: (out) => convert('second.tar', out),
        peer: (out) => ({ words: imgconvWords(convert('first.tar', out)) }),
        targets: [wallBelow(0.15)],
        async check({ ours, peer }) {
          const [images, [first]] = [await inStore(ours), await inStore(peer)];
          expectSame(
            'the first image',
            images.filter(({ name }) => name === first?.name).map(layersLine),
            first ? [layersLine(first)] : [],
          );
          return [];
        },
      };
    },
  },
  {
    name: 'store-tar',
    work: 'store to archive, layers unchanged',
    against: 'openssl dgst, then cat',
    peers: ['openssl'],
    async prepare(corpus) {
      const store = join(await corpus.base(), 'store');
      // All blobs there belong to one image.
      const blobs = filesBelow(join(store, 'docker/registry/v2/blobs')).map(({ path }) => path);
      const script = 'out=$1; shift; openssl dgst -sha256 -r "$@"; cat "$@" >"$out"';
      return {
        ours: (out) => ['reg2tar', '--quiet', store, out],
        peer: (out) => ({ words: ['bash', '-c', script, 'bench', out, ...blobs] }),
        targets: [wallBelow(1.5)],
        async check({ ours, peerLog }) {
          expectSame(
            'blobs',
            await layoutDigests(ours),
            linesOf(peerLog).map((line) => line.slice(0, 64)),
          );
          return [];
        },
      };
    },
  },
  {
    name: 'store-tar-plain',
    work: 'store to archive, layers unpacked',
    against: 'skopeo dir: to docker-archive:',
    short: { cpu: 1.3, wall: 1.3 },
    peers: ['skopeo'],
    async prepare(corpus) {
      const folder = await corpus.base();
      const dir = join(folder, 'one/app-1:1.0');
      const store = join(folder, 'store');
      return {
        ours: (out) => ['reg2tar', '--quiet', '--layers', 'uncompressed', store, out],
        peer: (out) => ({
          words: [...peerWords('skopeo'), 'copy', '-q', `dir:${dir}`, `docker-archive:${out}:app-1:1.0`],
        }),
        targets: [wallBelow(0.4)],
        async check({ ours, peer }) {
          expectSame('layers', await engineDiffIds(ours), await engineDiffIds(peer));
          return [];
        },
      };
    },
  },
  pulledArchive('store-tar-crane', 'crane pull, unflushed', ':'),
  pulledArchive('store-tar-flush', 'crane pull, then sync', 'sync "$out"'),
];
