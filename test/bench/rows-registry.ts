import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from '../interop/registry-peer.js';
import { imgconv } from '../interop/peers.js';
import { Serve } from '../interop/serve-peer.js';
import { expectSame, inStore, inTree, manifestLine } from './equal.js';
import { imgconvWords } from './measure.js';
import { peerWords } from './peers.js';
import { cpuBelow, wallBelow, type Contest, type Row } from './row.js';

const PEERS = ['skopeo', 'docker-registry'];

function blobsIn(layout: string): string[] {
  return readdirSync(join(layout, 'blobs/sha256'));
}

const IMAGES = ['app-1:1.0', 'app-2:1.0', 'app-3:1.0', 'app-4:1.0', 'app-5:1.0'];

/** A registry for each run of either side. */
function newRegistries() {
  const all: Registry[] = [];
  return {
    async start(out: string): Promise<Registry> {
      mkdirSync(out, { recursive: true });
      const registry = await Registry.start(out, out);
      all.push(registry);
      return registry;
    },
    last: () => all.at(-1)?.host ?? '',
    stop: async () => {
      for (const registry of all.splice(0)) await registry.stop();
    },
  };
}

/** Beside crane, which takes OCI layouts, one for each image. */
const craneRows: readonly Row[] = [
  {
    name: 'pull-crane',
    work: 'five images out of a registry to an OCI layout',
    against: 'crane pull --format=oci',
    peers: ['crane', 'docker-registry'],
    async prepare(corpus): Promise<Contest> {
      const served = join(corpus.outputs, 'served-to-crane');
      mkdirSync(served);
      await imgconv('dir2reg', '--quiet', join(await corpus.base(), 'tree'), served);
      const registry = await Registry.start(served, served);
      const names = IMAGES.map((name) => `${registry.host}/${name}`);
      return {
        ours: (out) => ['copy', '--quiet', `docker://${registry.host}`, `oci:${out}`],
        peer: (out) => ({ words: [...peerWords('crane'), 'pull', '--format=oci', ...names, out] }),
        targets: [wallBelow(0.9), cpuBelow(1.2)],
        check({ ours, peer }) {
          expectSame('blobs', blobsIn(ours), blobsIn(peer));
          return Promise.resolve([]);
        },
        after: () => registry.stop(),
      };
    },
  },
  {
    name: 'push-crane',
    work: 'five images into a registry',
    against: 'crane push',
    peers: ['crane', 'docker-registry'],
    async prepare(corpus): Promise<Contest> {
      const tree = join(await corpus.base(), 'tree');
      const layouts = join(corpus.outputs, 'layouts');
      for (const name of IMAGES)
        await imgconv('copy', '--quiet', `dir:${tree}`, `oci:${join(layouts, name)}`, name);
      const registries = newRegistries();
      const script = 'host=$1; cd "$2"; shift 2; for name in *; do "$@" push "$name" "$host/$name:1.0"; done';
      return {
        before: async (out) => {
          await registries.start(out);
        },
        ours: () => ['copy', '--quiet', `dir:${tree}`, `docker://${registries.last()}/`],
        peer: async (out) => {
          const { host } = await registries.start(out);
          return { words: ['bash', '-ec', script, 'bench', host, layouts, ...peerWords('crane')] };
        },
        targets: [wallBelow(0.9), cpuBelow(1.2)],
        async check({ ours, peer }) {
          expectSame(
            'images',
            (await inStore(ours)).map(manifestLine),
            (await inStore(peer)).map(manifestLine),
          );
          return [];
        },
        after: registries.stop,
      };
    },
  },
];

/** Five images that share a base, out of a registry on this machine and into one. */
export const registryRows: readonly Row[] = [
  {
    name: 'pull',
    work: 'five images out of a registry',
    against: 'skopeo sync from a registry',
    peers: PEERS,
    async prepare(corpus) {
      const served = join(corpus.outputs, 'served');
      mkdirSync(served);
      await imgconv('dir2reg', '--quiet', join(await corpus.base(), 'tree'), served);
      const registry = await Registry.start(served, served);
      const names = await registry.names();
      return {
        ours: (out) => ['copy', '--quiet', `docker://${registry.host}`, `reg:${out}`],
        peer: (out) => {
          mkdirSync(out);
          const sync = `${peerWords('skopeo').join(' ')} sync --src docker --dest dir --src-tls-verify=false`;
          return {
            words: ['bash', '-ec', names.map((one) => `${sync} ${registry.host}/${one} ${out}`).join('\n')],
          };
        },
        targets: [wallBelow(0.4)],
        async check({ ours, peer }) {
          expectSame(
            'images',
            (await inStore(ours)).map(manifestLine),
            (await inTree(peer)).map(manifestLine),
          );
          return [];
        },
        after: () => registry.stop(),
      };
    },
  },
  {
    name: 'push',
    work: 'five images into a registry',
    against: 'skopeo sync to a registry',
    peers: PEERS,
    async prepare(corpus) {
      const tree = join(await corpus.base(), 'tree');
      const registries = newRegistries();
      return {
        before: async (out) => {
          await registries.start(out);
        },
        ours: () => ['copy', '--quiet', `dir:${tree}`, `docker://${registries.last()}/synced/`],
        peer: async (out) => {
          const { host } = await registries.start(out);
          const words = [
            ...peerWords('skopeo'),
            ...'sync --src dir --dest docker --dest-tls-verify=false'.split(' '),
          ];
          return { words: [...words, tree, `${host}/synced`] };
        },
        targets: [wallBelow(0.5)],
        async check({ ours, peer }) {
          const [mine, theirs] = [await inStore(ours, 'synced/'), await inStore(peer, 'synced/')];
          expectSame('images', mine.map(manifestLine), theirs.map(manifestLine));
          return [];
        },
        after: registries.stop,
      };
    },
  },
  {
    name: 'serve-pull',
    work: 'five images out of `imgconv serve`',
    against: 'the same out of docker-registry',
    peers: PEERS,
    async prepare(corpus) {
      const store = join(corpus.outputs, 'served-twice');
      mkdirSync(store);
      await imgconv('dir2reg', '--quiet', join(await corpus.base(), 'tree'), store);
      const [serve, registry] = [await Serve.start(store), await Registry.start(store, store)];
      const words = (host: string, out: string) => ['copy', '--quiet', `docker://${host}`, `reg:${out}`];
      return {
        ours: (out) => words(serve.host, out),
        peer: (out) => ({ words: imgconvWords(words(registry.host, out)) }),
        targets: [wallBelow(1)],
        async check({ ours, peer }) {
          expectSame(
            'images',
            (await inStore(ours)).map(manifestLine),
            (await inStore(peer)).map(manifestLine),
          );
          return [];
        },
        after: async () => {
          await serve.stop();
          await registry.stop();
        },
      };
    },
  },
  {
    name: 'serve-push',
    work: 'five images into `imgconv serve`',
    against: 'the same into docker-registry',
    peers: PEERS,
    async prepare(corpus) {
      const tree = join(await corpus.base(), 'tree');
      const servers: { readonly host: string; stop(): Promise<void> }[] = [];
      const begun = <T extends (typeof servers)[number]>(server: T): T => {
        servers.push(server);
        return server;
      };
      const words = (host: string) => ['copy', '--quiet', `dir:${tree}`, `docker://${host}/`];
      return {
        before: async (out) => {
          begun(await Serve.start(`reg:${out}`, '--writable'));
        },
        ours: () => words(servers.at(-1)?.host ?? ''),
        peer: async (out) => {
          mkdirSync(out, { recursive: true });
          return { words: imgconvWords(words(begun(await Registry.start(out, out)).host)) };
        },
        targets: [wallBelow(1)],
        async check({ ours, peer }) {
          expectSame(
            'images',
            (await inStore(ours)).map(manifestLine),
            (await inStore(peer)).map(manifestLine),
          );
          return [];
        },
        after: async () => {
          for (const server of servers) await server.stop();
        },
      };
    },
  },
  ...craneRows,
];
