import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { linesOf } from './corpus.js';
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
import { bytesBelow, cpuBelow, wallBelow, type Row } from './row.js';

function layerBytes(images: readonly Found[]): number {
  return images.reduce((sum, image) => sum + image.layerBytes, 0);
}

/** All blobs of a store, which in our corpus belong to one image. */
function blobsOf(store: string): string[] {
  const blobs = join(store, 'docker/registry/v2/blobs');
  const files = readdirSync(blobs, { recursive: true, encoding: 'utf8' });
  return files.map((file) => join(blobs, file)).filter((path) => statSync(path).isFile());
}

export const archiveRows: readonly Row[] = [
  {
    name: 'saved-gzip',
    against: 'skopeo docker-archive: to oci:',
    short: { cpu: 1.7, wall: 1.9 },
    peers: ['skopeo'],
    async prepare(corpus) {
      const saved = join(await corpus.saved(), 'first.tar');
      return {
        ours: (out) => ['tar2reg', '--quiet', saved, out],
        peer: (out) => ({ words: ['skopeo', 'copy', '-q', `docker-archive:${saved}`, `oci:${out}`] }),
        targets: [wallBelow(0.95), cpuBelow(1)],
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
    against: 'skopeo docker-archive: to dir:',
    short: { cpu: 1.8, wall: 1.5 },
    peers: ['skopeo'],
    async prepare(corpus) {
      const saved = join(await corpus.saved(), 'first.tar');
      return {
        ours: (out) => ['tar2reg', '--quiet', '--compression', 'keep', saved, out],
        peer: (out) => ({ words: ['skopeo', 'copy', '-q', `docker-archive:${saved}`, `dir:${out}`] }),
        targets: [wallBelow(0.5)],
        async check({ ours, peer }) {
          expectSame('layers', (await inStore(ours)).map(layersLine), (await inTree(peer)).map(layersLine));
          return [];
        },
      };
    },
  },
  {
    name: 'saved-again',
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
    against: 'openssl dgst, then cat',
    peers: ['openssl'],
    async prepare(corpus) {
      const store = join(await corpus.base(), 'store');
      const blobs = blobsOf(store);
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
    against: 'skopeo dir: to docker-archive:',
    short: { cpu: 1.3, wall: 1.3 },
    peers: ['skopeo'],
    async prepare(corpus) {
      const folder = await corpus.base();
      const dir = join(folder, 'one/app-1:1.0');
      const store = join(folder, 'store');
      return {
        ours: (out) => ['reg2tar', '--quiet', '--layers', 'uncompressed', store, out],
        peer: (out) => ({ words: ['skopeo', 'copy', '-q', `dir:${dir}`, `docker-archive:${out}:app-1:1.0`] }),
        targets: [wallBelow(0.5)],
        async check({ ours, peer }) {
          expectSame('layers', await engineDiffIds(ours), await engineDiffIds(peer));
          return [];
        },
      };
    },
  },
];
