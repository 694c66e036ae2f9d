import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { TLSSocket } from 'node:tls';
import { after, before, describe, test } from 'node:test';
import { inspect } from 'node:util';
import type { HostAccess } from '../src/formats/access.js';
import { convert, parsePlace, type RegistryAccess } from '../src/index.js';
import { parseChallenges } from '../src/formats/docker/challenge.js';
import { CERTIFICATE, KEY } from './support/certificate.js';
import { imgconv } from './support/cli.js';
import { refusal } from './support/errors.js';
import { errorOf, FakeRegistry, reply } from './support/fake-registry.js';
import { imageOf, layStore, layTree, storedBlob } from './support/images.js';
import { newPlace, place } from './support/places.js';
import { tempFolder } from './support/temp.js';

const USER = 'user';
const PASSWORD = 'secret-password-9';
const IDENTITY = 'identity-token-7';
const PAIR = Buffer.from(`${USER}:${PASSWORD}`).toString('base64');

const image = await imageOf('x');
const basic = (request: IncomingMessage) =>
  request.headers.authorization === `Basic ${PAIR}` ? undefined : 'Basic realm="it"';

/** Gives tokens that name what they are for, and remembers how it was asked. */
class TokenServer {
  readonly asked: { method: string; authorization: string | undefined; query: URLSearchParams }[] = [];
  lifetime = 300;
  body: Buffer | undefined;
  readonly #server = createServer((request, response) => {
    void (async () => {
      const url = new URL(request.url ?? '', 'http://realm');
      const query = request.method === 'POST' ? new URLSearchParams(await text(request)) : url.searchParams;
      const { method = '', headers } = request;
      this.asked.push({ method, authorization: headers.authorization, query });
      const known =
        method === 'POST'
          ? query.get('refresh_token') === IDENTITY
          : headers.authorization === `Basic ${PAIR}`;
      const scopes = query.getAll('scope').flatMap((scope) => scope.split(' '));
      if (!known)
        reply(response, 401, {}, errorOf('UNAUTHORIZED', `you sent ${headers.authorization ?? ''}`));
      else {
        const token = Buffer.from(JSON.stringify({ scopes, until: Date.now() + this.lifetime * 1000 }));
        const answer = { token: token.toString('base64url'), expires_in: this.lifetime };
        reply(response, 200, {}, this.body ?? Buffer.from(JSON.stringify(answer)));
      }
    })();
  });

  static async start(): Promise<TokenServer> {
    const tokens = new TokenServer();
    await new Promise<void>((resolve) => tokens.#server.listen(0, '127.0.0.1', resolve));
    return tokens;
  }

  get realm(): string {
    return `http://127.0.0.1:${String((this.#server.address() as AddressInfo).port)}/token`;
  }

  /** Lets in who has a token, not run out, for what is asked. */
  guard(realm = this.realm) {
    return ({ url = '', method = '', headers }: IncomingMessage) => {
      const [, repository] = /^\/v2\/(.+?)\/(?:manifests|blobs|tags|referrers)\//.exec(url) ?? [];
      const actions = /GET|HEAD/.test(method) ? 'pull' : 'pull,push';
      const scope = repository === undefined ? 'registry:catalog:*' : `repository:${repository}:${actions}`;
      const challenge = `Bearer realm="${realm}",service="registry",scope="${scope}"`;
      const [, token] = /^Bearer (.*)$/.exec(headers.authorization ?? '') ?? [];
      if (token === undefined) return challenge;
      const { scopes, until } = JSON.parse(Buffer.from(token, 'base64url').toString()) as {
        scopes: string[];
        until: number;
      };
      const fits = scopes.some((one) => one === scope || one === scope.replace(/pull$/, 'pull,push'));
      return fits && until > Date.now() ? undefined : `${challenge},error="insufficient_scope"`;
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** `creds` and `registryToken` are this registry's. */
async function pull(
  registry: FakeRegistry,
  { creds, registryToken, ...access }: HostAccess & RegistryAccess,
  name = 'team/app:1',
) {
  const sourceAccess = { hosts: { [registry.host]: { creds, registryToken } }, ...access };
  const from = parsePlace(`docker://${registry.host}/${name}`);
  const selectors = [{ text: from.reference ?? '', rename: undefined, where: 'test' }];
  const { images } = await convert(from, newPlace('dir'), {
    selectors,
    sourceAccess: { retryDelay: 1, ...sourceAccess },
  });
  const [first] = images;
  if (first?.error !== undefined) throw first.error;
  assert.equal(first?.status, 'written');
}

function authfile(content: object): string {
  const path = join(tempFolder(), 'auth.json');
  writeFileSync(path, JSON.stringify(content));
  return path;
}

describe('basic credentials', () => {
  let registry: FakeRegistry;
  before(async () => {
    registry = (await FakeRegistry.start({ guard: basic })).add({ 'team/app:1': image });
  });
  after(() => registry[Symbol.asyncDispose]());

  const auth = { auth: PAIR };
  const wrong = { auth: Buffer.from('other:wrong').toString('base64') };
  for (const [title, access] of [
    ['as they are said', () => ({ creds: `${USER}:${PASSWORD}` })],
    ['of the host', (host) => ({ authfile: authfile({ auths: { [host]: auth } }) })],
    [
      'of the host, as a URL',
      (host) => ({ authfile: authfile({ auths: { [`https://${host}/v2/`]: auth } }) }),
    ],
    [
      'of the most specific namespace',
      (host) => ({
        authfile: authfile({ auths: { [host]: wrong, [`${host}/team/app`]: auth, [`${host}/team`]: wrong } }),
      }),
    ],
    [
      'of a namespace, not of one that begins alike',
      (host) => ({ authfile: authfile({ auths: { [`${host}/tea`]: wrong, [`${host}/team`]: auth } }) }),
    ],
  ] as const satisfies readonly (readonly [string, (host: string) => HostAccess & RegistryAccess])[]) {
    test(title, () => pull(registry, access(registry.host)));
  }

  test('that are wrong are an error, which does not tell them', async () => {
    registry.forget();
    registry.fail(
      /./,
      (request, response) => {
        const said = `you sent ${request.headers.authorization ?? 'nothing'} and ${PASSWORD}`;
        reply(response, 401, { 'www-authenticate': 'Basic realm="it"' }, errorOf('UNAUTHORIZED', said));
      },
      100,
    );
    const error = await pull(registry, { creds: `${USER}:${PASSWORD}` }).catch((thrown: unknown) => thrown);
    registry.faults.length = 0;
    assert.ok(refusal('UNAUTHORIZED', '***')(error));
    assert.doesNotMatch(String(error), new RegExp(`${PASSWORD}|${PAIR}`));
    assert.ok(registry.seen.length < 10);
  });

  test('are not needed where none are asked for, and are not shown', async () => {
    await using open = (await FakeRegistry.start()).add({ 'team/app:1': image });
    await pull(open, { creds: `${USER}:${PASSWORD}` });
    assert.ok(open.seen.every(({ authorization }) => authorization === undefined));
  });

  test('that are lacking are an error that says what to do', async () => {
    const error = await pull(registry, { authfile: authfile({}) }).catch((thrown: unknown) => thrown);
    assert.ok(refusal('UNAUTHORIZED', '401')(error));
    assert.match((error as { hint: string }).hint, /docker login/);
  });
});

describe('a credential helper', () => {
  const bin = tempFolder();
  const log = join(bin, 'log');
  const path = process.env['PATH'];
  before(() => {
    const program = join(bin, 'docker-credential-test');
    writeFileSync(
      program,
      `#!/bin/sh\nread server\necho "$* <$server>" >> ${log}\ncase "$server" in none*) echo credentials not found in native keychain; exit 1;; esac\necho '{"ServerURL":"x","Username":"${USER}","Secret":"${PASSWORD}"}'\n`,
    );
    chmodSync(program, 0o755);
    process.env['PATH'] = `${bin}:${path ?? ''}`;
  });
  after(() => {
    process.env['PATH'] = path;
  });

  for (const key of ['credHelpers', 'credsStore'] as const) {
    test(`of ${key} is asked on its stdin`, async () => {
      await using registry = (await FakeRegistry.start({ guard: basic })).add({ 'team/app:1': image });
      const content =
        key === 'credsStore' ? { credsStore: 'test' } : { credHelpers: { [registry.host]: 'test' } };
      await pull(registry, { authfile: authfile(content) });
      assert.ok(readFileSync(log, 'utf8').endsWith(`get <${registry.host}>\n`));
    });
  }

  test('whose name is a path is not run', async () => {
    await using registry = (await FakeRegistry.start({ guard: basic })).add({ 'team/app:1': image });
    const marker = join(bin, 'marker');
    const file = authfile({ credsStore: `x; touch ${marker}` });
    await assert.rejects(
      pull(registry, { authfile: file }),
      refusal('UNAUTHORIZED', 'no name of a credential helper'),
    );
    assert.equal(existsSync(marker), false);
  });
});

describe('tokens', () => {
  let tokens: TokenServer;
  before(async () => {
    tokens = await TokenServer.start();
  });
  after(() => tokens[Symbol.asyncDispose]());

  async function registryWith(guard = tokens.guard()): Promise<FakeRegistry> {
    tokens.asked.length = 0;
    tokens.lifetime = 300;
    tokens.body = undefined;
    return (await FakeRegistry.start({ guard })).add({ 'team/app:1': image });
  }

  test('are got with a password, which the registry never sees', async () => {
    await using registry = await registryWith();
    await pull(registry, { creds: `${USER}:${PASSWORD}` });
    const [first] = tokens.asked;
    assert.deepEqual([tokens.asked.length, first?.method, first?.authorization], [1, 'GET', `Basic ${PAIR}`]);
    assert.equal(first?.query.get('scope'), 'repository:team/app:pull');
    assert.equal(first.query.get('service'), 'registry');
    assert.ok(registry.seen.every(({ authorization }) => !authorization?.startsWith('Basic')));
  });

  test('are got with an identity token, in the body of a POST', async () => {
    await using registry = await registryWith();
    await pull(registry, { authfile: authfile({ auths: { [registry.host]: { identitytoken: IDENTITY } } }) });
    const [first] = tokens.asked;
    assert.deepEqual([first?.method, first?.authorization], ['POST', undefined]);
    assert.equal(first?.query.get('grant_type'), 'refresh_token');
  });

  test('that are given are used as they are', async () => {
    await using registry = await registryWith();
    const scopes = ['repository:team/app:pull'];
    const token = Buffer.from(JSON.stringify({ scopes, until: Date.now() + 60_000 })).toString('base64url');
    await pull(registry, { registryToken: token });
    assert.equal(tokens.asked.length, 0);
    await assert.rejects(pull(registry, { registryToken: 'eyJzY29wZXMiOltdfQ' }), refusal('UNAUTHORIZED'));
  });

  test('are got anew before they run out', async () => {
    await using registry = await registryWith();
    tokens.lifetime = 0.5;
    registry.fail(
      /blobs/,
      async (request, response) => {
        await new Promise((resolve) => setTimeout(resolve, 500));
        await registry.answer(request, response);
      },
      1,
    );
    await pull(registry, { creds: `${USER}:${PASSWORD}` });
    assert.ok(tokens.asked.length >= 1 && tokens.asked.length < 12, `${tokens.asked.length}`);
  });

  test('for a mount are for both repositories', async () => {
    await using registry = await registryWith();
    const tree = layTree(tempFolder(), { 'one/app:1': await imageOf('m'), 'two/app:1': await imageOf('m') });
    const { images } = await convert(place('dir', tree), parsePlace(`docker://${registry.host}`), {
      targetAccess: { hosts: { [registry.host]: { creds: `${USER}:${PASSWORD}` } } },
    });
    assert.deepEqual(
      images.map(({ status, error }) => error?.message ?? status),
      ['written', 'written'],
    );
    const joined = tokens.asked
      .map(({ query }) => query.getAll('scope'))
      .filter(({ length }) => length === 2);
    assert.ok(joined.length > 0);
    assert.ok(
      joined.every((scopes) => /:pull,push$/.test(scopes[0] ?? '') && /:pull$/.test(scopes[1] ?? '')),
    );
  });

  for (const [title, realm] of [
    ['plain HTTP on another machine', 'http://tokens.invalid/token'],
    ['no URL', 'token'],
    ['a URL with a password in it', 'https://a:b@tokens.invalid/'],
    ['another protocol', 'file:///etc/passwd'],
  ] as const) {
    test(`are not asked for at ${title}`, async () => {
      await using registry = await registryWith(tokens.guard(realm));
      await assert.rejects(pull(registry, { creds: `${USER}:${PASSWORD}` }), refusal('UNAUTHORIZED'));
      assert.equal(tokens.asked.length, 0);
    });
  }

  for (const [title, body] of [
    ['too much', Buffer.alloc(2 * 1024 * 1024, 'x')],
    ['no JSON', Buffer.from('<html>')],
    ['no token', Buffer.from('{}')],
    ['a token that is cut off', Buffer.from(`{"token":"${PASSWORD}`)],
    ['a token without quotes', Buffer.from(`{"token":${PASSWORD}}`)],
    ['a token twice', Buffer.from(`{"${PASSWORD}":1,"${PASSWORD}":2}`)],
    ['a list of tokens', Buffer.from(`{"token":["${PASSWORD}"]}`)],
    ['a token that would break a header', Buffer.from('{"token":"a\\r\\nx: y"}')],
  ] as const) {
    test(`that come as ${title} are refused`, async () => {
      await using registry = await registryWith();
      tokens.body = body;
      const error = await pull(registry, { creds: `${USER}:${PASSWORD}` }).catch((thrown: unknown) => thrown);
      assert.ok(refusal('REGISTRY')(error));
      assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), new RegExp(PASSWORD));
    });
  }

  test('that are refused are an error without the secret that the server repeats', async () => {
    await using registry = await registryWith();
    const error = await pull(registry, { creds: `${USER}:${PASSWORD}x` }).catch((thrown: unknown) => thrown);
    assert.ok(refusal('UNAUTHORIZED')(error));
    assert.doesNotMatch(String(error), new RegExp(PASSWORD));
  });
});

describe('secrets', () => {
  test('do not go to where a registry redirects', async () => {
    await using elsewhere = (await FakeRegistry.start()).add({ 'team/app:1': image });
    await using registry = (await FakeRegistry.start({ guard: basic })).add({ 'team/app:1': image });
    registry.fail(
      /GET .*(?:blobs|manifests)/,
      (request, response) => {
        if (basic(request) !== undefined) return registry.answer(request, response);
        reply(response, 307, { location: `${elsewhere.url}${request.url ?? ''}` });
        return undefined;
      },
      100,
    );
    await pull(registry, { creds: `${USER}:${PASSWORD}` });
    assert.ok(elsewhere.seen.length > 0);
    assert.ok(elsewhere.seen.every(({ authorization }) => authorization === undefined));
  });

  test('are not given to a host that was redirected to and asks for them', async () => {
    await using elsewhere = (await FakeRegistry.start({ guard: basic })).add({ 'team/app:1': image });
    await using registry = (await FakeRegistry.start()).add({ 'team/app:1': image });
    registry.fail(
      /GET .*blobs/,
      (request, response) => {
        reply(response, 302, { location: `${elsewhere.url}${request.url ?? ''}` });
      },
      100,
    );
    await assert.rejects(pull(registry, { creds: `${USER}:${PASSWORD}` }), refusal('UNAUTHORIZED'));
    assert.ok(elsewhere.seen.every(({ authorization }) => authorization === undefined));
  });
});

describe('a credential belongs to one registry', () => {
  let registry: FakeRegistry;
  let other: FakeRegistry;
  const secrets = new RegExp(`${PASSWORD}|${PAIR}`);
  before(async () => {
    registry = (await FakeRegistry.start({ guard: basic })).add({ 'team/app:1': image });
    other = (await FakeRegistry.start({ guard: basic })).add({ 'team/other:1': image });
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
  });

  /** Runs a command; gives its outcome and what each of the two registries was shown. */
  async function shown(args: readonly string[], input = '') {
    registry.forget();
    other.forget();
    const outcome = await imgconv([...args, '--authfile', authfile({}), '--retry-times', '0'], {
      stdin: input,
    });
    assert.doesNotMatch(outcome.stdout + outcome.stderr, secrets);
    const of = ({ seen }: FakeRegistry) =>
      [...new Set(seen.map(({ authorization }) => authorization ?? 'nothing'))].sort();
    return { ...outcome, shown: [of(registry), of(other)] };
  }

  const refs = () => [`${registry.host}/team/app:1`, `${other.host}/team/other:1`];
  const pair = `${USER}:${PASSWORD}`;
  const store = () => join(tempFolder(), 'store');
  const yaml = () =>
    `${registry.host}:\n  images: {team/app: [1]}\n${other.host}:\n  images: {team/other: [1]}\n`;

  for (const [title, args, input] of [
    ['arguments', () => ['save', ...refs(), store()], ''],
    ['a list', () => ['save', '--images-file', '-', store()], refs],
    ['a list of sync', () => ['sync', '-s', 'list', '-d', 'reg', '-', store()], refs],
    ['a sync file', () => ['sync', '-s', 'yaml', '-d', 'reg', '-', store()], yaml],
    ['references of copy', () => ['copy', 'docker://', `reg:${store()}`, ...refs()], ''],
    ['references of ls', () => ['ls', 'docker://', ...refs()], ''],
  ] as const) {
    const text = () => (typeof input === 'string' ? input : [input()].flat().join('\n'));
    test(`so ${title} with several are refused before anything is asked`, async () => {
      for (const option of [
        ['--src-creds', pair],
        ['--src-registry-token', PASSWORD],
      ]) {
        const { status, stderr, ...rest } = await shown([...args(), ...option], text());
        assert.equal(status, 2, stderr);
        assert.match(
          stderr,
          new RegExp(`^imgconv: ${option[0] ?? ''}: this command uses several registries`),
        );
        assert.match(stderr, new RegExp(`${registry.host}.*${other.host}|${other.host}.*${registry.host}`));
        assert.match(stderr, /HOST=/);
        assert.deepEqual(rest.shown, [[], []]);
      }
    });

    test(`and ${title} with several give it to the one that it names`, async () => {
      const { status, ...rest } = await shown([...args(), '--src-creds', `${registry.host}=${pair}`], text());
      assert.equal(status, 1);
      assert.deepEqual(rest.shown, [[`Basic ${PAIR}`, 'nothing'], ['nothing']]);
    });
  }

  test('and each may have its own', async () => {
    const own = [registry, other].flatMap(({ host }) => ['--src-creds', `${host}=${pair}`]);
    const { status, stderr } = await shown(['save', ...refs(), store(), ...own]);
    assert.equal(status, 0, stderr);
  });

  for (const [title, value, words] of [
    ['a host that is not asked', `quay.io=${pair}`, 'does not use that host'],
    ['what may be a host or a user', `quay.io:443=x:${PASSWORD}`, 'does not use that host'],
  ] as const)
    test(`${title} is refused`, async () => {
      const { status, stderr, ...rest } = await shown([
        'ls',
        `docker://${refs()[0] ?? ''}`,
        '--src-creds',
        value,
      ]);
      assert.equal(status, 2);
      assert.ok(stderr.includes(words), stderr);
      assert.deepEqual(rest.shown, [[], []]);
    });

  test('and is not given to a mirror, which may have its own', async () => {
    const mirrored = [
      'ls',
      `docker://${refs()[0] ?? ''}`,
      '--registry-mirror',
      `${registry.host}=${other.url}`,
    ];
    const without = await shown([...mirrored, '--src-creds', pair]);
    assert.deepEqual([without.status, without.shown], [0, [[`Basic ${PAIR}`, 'nothing'], ['nothing']]]);
    const own = await shown([...mirrored, '--src-creds', `${other.host}=${pair}`]);
    assert.deepEqual([own.status, own.shown], [1, [['nothing'], [`Basic ${PAIR}`, 'nothing']]]);
  });
});

describe('over plain HTTP to another machine', () => {
  const variables = ['HTTP_PROXY', 'HTTPS_PROXY'] as const;
  const earlier = variables.map((name) => process.env[name]);
  let registry: FakeRegistry;
  before(async () => {
    // As a proxy it answers for that machine.
    registry = (await FakeRegistry.start({ guard: basic })).add({ 'team/app:1': image });
    for (const name of variables) process.env[name] = registry.url;
  });
  after(async () => {
    for (const [i, name] of variables.entries()) process.env[name] = earlier[i] ?? '';
    await registry[Symbol.asyncDispose]();
  });

  const HOST = 'registry.invalid:5000';
  const from = parsePlace(`docker://${HOST}/team/app`);
  const file = () => authfile({ auths: { [HOST]: { auth: PAIR } } });
  for (const [title, access] of [
    ['that are said', () => ({ hosts: { [HOST]: { creds: `${USER}:${PASSWORD}` } } })],
    ['of a file', () => ({ authfile: file() })],
    ['that are a token', () => ({ hosts: { [HOST]: { registryToken: PASSWORD } } })],
  ] as const satisfies readonly (readonly [string, () => RegistryAccess])[])
    test(`credentials ${title} are not sent, unless that is allowed`, async () => {
      const pulled = async (more: RegistryAccess) => {
        registry.forget();
        const sourceAccess = { ...access(), tlsVerify: false, retryTimes: 0, ...more };
        await convert(from, newPlace('dir'), { sourceAccess }).then(({ images }) => {
          for (const { error } of images) if (error !== undefined) throw error;
        });
      };
      const error = await pulled({}).catch((thrown: unknown) => thrown);
      assert.ok(refusal('UNAUTHORIZED', '401')(error));
      assert.match((error as { hint: string }).hint, /plain HTTP.*--allow-http-credentials/);
      assert.ok(registry.seen.length > 0);
      assert.ok(registry.seen.every(({ authorization }) => authorization === undefined));
      await pulled({ httpCredentials: true }).catch(() => undefined);
      assert.ok(registry.seen.some(({ authorization }) => authorization !== undefined));
    });

  test('a realm is not given those of a registry on this machine', async () => {
    await using near = (
      await FakeRegistry.start({
        guard: ({ headers }) =>
          headers.authorization === undefined ? 'Bearer realm="http://tokens.invalid/token"' : undefined,
      })
    ).add({ 'team/app:1': image });
    registry.forget();
    await pull(near, { creds: `${USER}:${PASSWORD}`, tlsVerify: false, retryTimes: 0 }).catch(
      () => undefined,
    );
    assert.equal(registry.asked(/token/).length, 1);
    assert.ok(registry.seen.every(({ authorization }) => authorization === undefined));
  });
});

describe("a client's certificate", () => {
  /** A registry over TLS that remembers who showed a certificate. */
  async function start(answer: (request: IncomingMessage, response: ServerResponse) => void) {
    const shown: boolean[] = [];
    const options = { cert: CERTIFICATE, key: KEY, requestCert: true, rejectUnauthorized: false };
    const server = createTlsServer(options, (request, response) => {
      const { socket } = request;
      shown.push(socket instanceof TLSSocket && 'subject' in socket.getPeerCertificate());
      answer(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const host = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
    const stop = () => {
      server.closeAllConnections();
      server.close();
    };
    return { host, shown, stop };
  }

  test('is shown to the registry alone, not to redirect targets, realms and mirrors', async () => {
    const certDir = tempFolder();
    writeFileSync(join(certDir, 'ca.crt'), CERTIFICATE);
    writeFileSync(join(certDir, 'client.cert'), CERTIFICATE);
    writeFileSync(join(certDir, 'client.key'), KEY);
    const elsewhere = await start((request, response) => {
      if (request.url?.startsWith('/token')) reply(response, 200, {}, Buffer.from('{"token":"t"}'));
      else reply(response, 200, {}, image.root.bytes);
    });
    const mirror = await start((_, response) => {
      reply(response, 404);
    });
    const registry = await start((request, response) => {
      if (request.headers.authorization === undefined)
        reply(response, 401, { 'www-authenticate': `Bearer realm="https://${elsewhere.host}/token"` });
      else reply(response, 307, { location: `https://${elsewhere.host}${request.url ?? ''}` });
    });
    try {
      await convert(parsePlace(`docker://${registry.host}`), newPlace('dir'), {
        selectors: [{ text: 'app:1', rename: undefined, where: 'test' }],
        sourceAccess: {
          certDir,
          tlsVerify: true,
          retryTimes: 0,
          mirrors: { [registry.host]: `https://${mirror.host}` },
        },
      });
      for (const { shown } of [registry, elsewhere, mirror]) assert.ok(shown.length > 0);
      assert.ok(registry.shown.every(Boolean));
      assert.ok(![...elsewhere.shown, ...mirror.shown].some(Boolean));
    } finally {
      for (const { stop } of [registry, elsewhere, mirror]) stop();
    }
  });
});

test('challenges are read as RFC 9110 has them', () => {
  assert.deepEqual(parseChallenges('Bearer realm="https://x/t?a=b,c",service=reg,scope="a:b:pull,push c"'), [
    {
      scheme: 'bearer',
      parameters: { realm: 'https://x/t?a=b,c', service: 'reg', scope: 'a:b:pull,push c' },
    },
  ]);
  assert.deepEqual(parseChallenges('Negotiate, BASIC realm="a \\"b\\"", Digest x=1'), [
    { scheme: 'negotiate', parameters: {} },
    { scheme: 'basic', parameters: { realm: 'a "b"' } },
    { scheme: 'digest', parameters: { x: '1' } },
  ]);
  for (const text of ['', ',,', '"', '=']) assert.deepEqual(parseChallenges(text), []);
});

describe('verify and its repairs', () => {
  let registry: FakeRegistry;
  before(async () => {
    registry = (await FakeRegistry.start({ guard: basic })).add({
      'team/app:1': image,
      'team/other:1': image,
    });
  });
  after(() => registry[Symbol.asyncDispose]());

  for (const words of [
    () => ['--src-creds', `${USER}:${PASSWORD}`],
    (host: string) => ['--authfile', authfile({ auths: { [host]: { auth: PAIR } } })],
    (host: string) => [
      ...['--src-creds', `${host}=${USER}:${PASSWORD}`, '--src-tls-verify=false', '--retry-times', '0'],
      ...['--registry-mirror', `quay.io=http://${host}`],
    ],
  ])
    test(`take credentials for registries: ${words('HOST')[0] ?? ''}`, async () => {
      const { host } = registry;
      const given = words(host);
      const place = given.includes('--registry-mirror') ? 'quay.io' : host;
      const checked = await imgconv(['verify', `docker://${place}/team/app:1`, ...given]);
      assert.deepEqual([checked.status, checked.stderr], [0, '']);
      assert.match(checked.stdout, /^1 image checked, 0 broken/m);
      const store = tempFolder();
      layStore(store, { 'team/app:1': image });
      const [layer] = image.blobs;
      assert.ok(layer !== undefined);
      rmSync(storedBlob(store, layer.digest));
      const repaired = await imgconv(['verify', store, '--repair', `docker://${place}/team/app:1`, ...given]);
      assert.equal(repaired.status, 0, repaired.stderr);
      assert.match(repaired.stdout, /^repaired /);
      assert.ok(readFileSync(storedBlob(store, layer.digest)).equals(layer.bytes));
    });

  test('read one image of a registry where one is named, and say so if it is not there', async () => {
    const given = ['--src-creds', `${USER}:${PASSWORD}`];
    registry.forget();
    await imgconv(['verify', `docker://${registry.host}/team/app:1`, ...given]);
    assert.deepEqual(registry.asked(/team\/other|_catalog/), []);
    const none = await imgconv(['verify', `docker://${registry.host}/team/app:2`, ...given]);
    assert.equal(none.status, 1);
    assert.match(none.stderr, /team\/app:2: no such image in the registry/);
  });

  test('without credentials say that they are needed, and where no registry is that they are not', async () => {
    const refused = await imgconv(['verify', `docker://${registry.host}/team/app:1`]);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /imgconv login .*--src-creds/);
    const store = tempFolder();
    layStore(store, { 'team/app:1': image });
    for (const words of [
      ['--src-creds', 'a:b'],
      ['--registry-mirror', 'a=http://b', '--repair', store],
    ]) {
      const { status, stderr } = await imgconv(['verify', store, ...words]);
      assert.equal(status, 2);
      assert.match(stderr, /: reg: is no registry\n {2}leave it out/);
    }
  });
});
