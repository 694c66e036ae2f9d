import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from '../interop/registry-peer.js';
import { imgconv } from '../interop/peers.js';
import { Serve } from '../interop/serve-peer.js';
import { expectSame, inStore, inTree, manifestLine } from './equal.js';
import { imgconvWords } from './measure.js';
import { wallBelow, type Row } from './row.js';

const PEERS = ['skopeo', 'docker-registry'];

/** Five images that share a base, out of a registry on this machine and into one. */
export const registryRows: readonly Row[] = [
  {
    name: 'pull',
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
          const sync = 'skopeo sync --src docker --dest dir --src-tls-verify=false';
          return {
            words: ['bash', '-ec', names.map((one) => `${sync} ${registry.host}/${one} ${out}`).join('\n')],
          };
        },
        targets: [wallBelow(0.8)],
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
    against: 'skopeo sync to a registry',
    peers: PEERS,
    async prepare(corpus) {
      const tree = join(await corpus.base(), 'tree');
      const registries: Registry[] = [];
      const start = async (out: string) => {
        mkdirSync(out, { recursive: true });
        const registry = await Registry.start(out, out);
        registries.push(registry);
        return registry;
      };
      return {
        before: async (out) => {
          await start(out);
        },
        ours: () => ['copy', '--quiet', `dir:${tree}`, `docker://${registries.at(-1)?.host ?? ''}/synced`],
        peer: async (out) => {
          const { host } = await start(out);
          const words = 'skopeo sync --src dir --dest docker --dest-tls-verify=false'.split(' ');
          return { words: [...words, tree, `${host}/synced`] };
        },
        targets: [wallBelow(1)],
        async check({ ours, peer }) {
          const [mine, theirs] = [await inStore(ours, 'synced/'), await inStore(peer, 'synced/')];
          expectSame('images', mine.map(manifestLine), theirs.map(manifestLine));
          return [];
        },
        after: async () => {
          for (const registry of registries) await registry.stop();
        },
      };
    },
  },
  {
    name: 'serve-pull',
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
];
