import assert from 'node:assert/strict';
import { createPrivateKey, sign, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  differences,
  imgconv,
  isRewrittenBySkopeo,
  missingPeers,
  newFolder,
  outcomeOf,
  projectRoot,
  run,
  scratchFolder,
  tidy,
  unpack,
} from './peers.js';
import { Registry } from './registry-peer.js';
import { samples } from './samples.js';

const skip = missingPeers('docker-registry', 'skopeo', 'openssl');
const USER = 'user';
const PASSWORD = 'interop-password';
/** bcrypt of it: docker-registry takes no other. */
const HTPASSWD = 'user:$2y$05$9Y5q36JRrMw4sp2LCSdwyuHkJAWVoqz7baV4B7eteKFVZV2EPq9De';

const [sample] = samples;

/** What a docker-registry is told, and how imgconv and skopeo get in. */
interface Mode {
  readonly title: string;
  settings(
    scratch: string,
  ): Promise<{ readonly settings: Parameters<typeof Registry.start>[2]; readonly scheme?: 'https' }>;
  imgconv(side: 'src' | 'dest', scratch: string): readonly string[];
  skopeo(side: 'src' | 'dest', scratch: string): readonly string[];
}

const creds = (side: 'src' | 'dest') => [`--${side}-creds`, `${USER}:${PASSWORD}`];
const plain = (side: 'src' | 'dest') => [`--${side}-tls-verify=false`];

/** A CA of the test's own, and a certificate of it for this machine. */
async function certificates(scratch: string): Promise<{ crt: string; key: string; ca: string }> {
  const folder = join(scratch, 'ca');
  mkdirSync(folder, { recursive: true });
  const at = (name: string) => join(folder, name);
  const pair = ['-newkey', 'rsa:2048', '-nodes', '-days', '2'];
  await run('openssl', [
    'req',
    '-x509',
    ...pair,
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.crt'),
    '-subj',
    '/CN=test CA',
  ]);
  await run('openssl', [
    'req',
    '-new',
    ...pair.slice(0, 3),
    '-keyout',
    at('own.key'),
    '-out',
    at('own.csr'),
    '-subj',
    '/CN=localhost',
  ]);
  writeFileSync(at('own.ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  const signed = [
    '-CA',
    at('ca.crt'),
    '-CAkey',
    at('ca.key'),
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    at('own.ext'),
  ];
  await run('openssl', ['x509', '-req', '-in', at('own.csr'), ...signed, '-out', at('own.crt')]);
  return { crt: at('own.crt'), key: at('own.key'), ca: at('ca.crt') };
}

const servers: Server[] = [];

/** Gives tokens that docker-registry takes: JWTs signed with a key whose certificate comes with them (`x5c`). */
async function tokenRealm(crt: string, key: string): Promise<string> {
  const certificate = new X509Certificate(readFileSync(crt)).raw.toString('base64');
  const privateKey = createPrivateKey(readFileSync(key));
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://realm');
    if (request.headers.authorization !== `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString('base64')}`) {
      response.writeHead(401).end();
      return;
    }
    const access = url.searchParams.getAll('scope').map((scope) => {
      const [, type, name, actions = ''] = /^(\w+):(.*):([^:]*)$/.exec(scope) ?? [];
      return { type, name, actions: actions.split(',') };
    });
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: 'test',
      sub: USER,
      aud: 'test-registry',
      exp: now + 60,
      nbf: now - 10,
      iat: now,
      jti: String(now),
      access,
    };
    const signed = `${encoded({ typ: 'JWT', alg: 'RS256', x5c: [certificate] })}.${encoded(claims)}`;
    const token = `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
    response.end(JSON.stringify({ token, expires_in: 60 }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  servers.push(server);
  return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/token`;
}

const MODES: readonly Mode[] = [
  {
    title: 'open to all',
    settings: () => Promise.resolve({ settings: {} }),
    imgconv: () => [],
    skopeo: plain,
  },
  {
    title: 'with htpasswd',
    settings: (scratch) => {
      const path = join(scratch, 'htpasswd');
      writeFileSync(path, `${HTPASSWD}\n`);
      return Promise.resolve({ settings: { auth: { htpasswd: { realm: 'it', path } } } });
    },
    imgconv: creds,
    skopeo: (side) => [...plain(side), ...creds(side)],
  },
  {
    title: 'with tokens',
    settings: async (scratch) => {
      const { crt, key, ca } = await certificates(scratch);
      const realm = await tokenRealm(crt, key);
      const token = { realm, service: 'test-registry', issuer: 'test', rootcertbundle: ca };
      return { settings: { auth: { token } } };
    },
    imgconv: creds,
    skopeo: (side) => [...plain(side), ...creds(side)],
  },
  {
    title: 'with TLS under a CA of its own',
    settings: async (scratch) => {
      const { crt, key } = await certificates(scratch);
      return { settings: { http: { tls: { certificate: crt, key } } }, scheme: 'https' };
    },
    imgconv: (side, scratch) => [`--${side}-cert-dir`, join(scratch, 'ca-only')],
    skopeo: (side, scratch) => [`--${side}-cert-dir`, join(scratch, 'ca-only')],
  },
];

after(() => {
  for (const server of servers) server.close();
});

if (sample !== undefined)
  for (const mode of MODES) {
    describe(`docker-registry ${mode.title}`, { skip: skip || sample.skip }, () => {
      const names = Object.keys(sample.digests);
      let scratch: string;
      let tree: string;
      let registry: Registry;

      before(async () => {
        scratch = await scratchFolder();
        tree = join(await unpack(sample.tree.tar, join(scratch, 'tree')), sample.tree.folder);
        const { settings, scheme } = await mode.settings(scratch);
        if (scheme !== undefined) {
          mkdirSync(join(scratch, 'ca-only'));
          writeFileSync(join(scratch, 'ca-only/ca.crt'), readFileSync(join(scratch, 'ca/ca.crt')));
        }
        registry = await Registry.start(join(scratch, 'served'), scratch, settings);
      });

      after(async () => {
        await registry.stop();
        await tidy(scratch);
      });

      test('takes a whole tree, and nothing the second time', async () => {
        const words = ['copy', `dir:${tree}`, `docker://${registry.host}`, ...mode.imgconv('dest', scratch)];
        const first = await imgconv(...words);
        assert.match(first, new RegExp(`${names.length} images: ${names.length} written;`));
        assert.match(await imgconv(...words), new RegExp(`0 written, ${names.length} unchanged`));
      });

      test('gives skopeo what was pushed, the same as the directory it came from', async () => {
        for (const name of names) {
          const out = await newFolder(scratch);
          const from = `docker://${registry.host}/${name}`;
          await run('skopeo', ['copy', '-q', '--all', ...mode.skopeo('src', scratch), from, `dir:${out}`]);
          if (!isRewrittenBySkopeo(name)) assert.equal(await differences(join(tree, name), out), '');
        }
      });

      test('is pulled back, byte for byte', async () => {
        const back = await newFolder(scratch);
        await imgconv('copy', `docker://${registry.host}/`, `dir:${back}`, ...mode.imgconv('src', scratch));
        assert.equal(await differences(tree, back), '');
      });

      test('gives what skopeo pushed', async () => {
        const to = `docker://${registry.host}/by-skopeo/multi:1`;
        const words = ['copy', '-q', '--all', '--preserve-digests', ...mode.skopeo('dest', scratch)];
        await run('skopeo', [...words, `dir:${join(tree, 'demo/multi:1')}`, to]);
        const back = await newFolder(scratch);
        await imgconv('copy', to, `dir:${back}`, ...mode.imgconv('src', scratch));
        assert.equal(await differences(join(tree, 'demo/multi:1'), join(back, 'by-skopeo/multi:1')), '');
      });

      test(
        'lets nobody else in',
        { skip: mode.imgconv('src', '').length === 0 && 'it is open' },
        async () => {
          const { status, stderr } = await outcomeOf(process.execPath, [
            join(projectRoot, 'bin/imgconv.js'),
            ...['ls', `docker://${registry.host}`, '--retry-times', '0'],
          ]);
          assert.equal(status, 1);
          assert.match(stderr, /status 401|gives no token|certificate/);
          assert.doesNotMatch(stderr, new RegExp(PASSWORD));
        },
      );
    });
  }
