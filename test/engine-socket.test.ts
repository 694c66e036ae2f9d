import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Engine } from '../src/formats/docker-daemon/engine.js';
import {
  describeEndpoint,
  engineEndpoint,
  sshArguments,
  type EngineEndpoint,
} from '../src/formats/docker-daemon/endpoint.js';
import { ImgconvError } from '../src/index.js';
import { CERTIFICATE, KEY } from './support/certificate.js';
import { concat } from './support/chunks.js';
import { refusal } from './support/errors.js';
import { until, within } from './support/processes.js';
import { tempFolder } from './support/temp.js';

const ID = `sha256:${'a'.repeat(64)}`;
const DIFF = `sha256:${'d'.repeat(64)}`;
const servers: Server[] = [];
after(() => {
  for (const server of servers) server.close();
});

type Route = (request: IncomingMessage, response: ServerResponse) => unknown;

/** A small engine: `routes` by method and path without version and query. */
class FakeEngine {
  version: string | undefined = '1.43';
  readonly asked: string[] = [];
  readonly routes: Record<string, Route> = {};

  readonly listener: RequestListener = (request, response) => {
    const { method = '', url = '' } = request;
    this.asked.push(`${method} ${url}`);
    const { pathname } = new URL(url, 'http://engine');
    const route = this.routes[`${method} ${pathname.replace(/^\/v1\.\d+/, '')}`];
    if (pathname === '/_ping') {
      if (this.version !== undefined) response.setHeader('Api-Version', this.version);
      response.end('OK');
    } else if (route === undefined) json(response, 404, { message: `No such image: ${pathname}` });
    else void Promise.resolve(route(request, response)).catch(() => response.destroy());
  };
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

async function listen(server: Server, path?: string): Promise<string> {
  servers.push(server);
  await new Promise<void>((resolve) => {
    if (path === undefined) server.listen(0, '127.0.0.1', resolve);
    else server.listen(path, resolve);
  });
  return path ?? `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A fake engine on a socket, and a client of it. */
async function engineOn(version?: string) {
  const fake = new FakeEngine();
  if (version !== undefined) fake.version = version;
  const socket = await listen(createServer(fake.listener), join(tempFolder(), 's.sock'));
  return { fake, socket, endpoint: engineEndpoint({ DOCKER_HOST: `unix://${socket}` }) };
}

async function refusalOf(work: Promise<unknown>): Promise<ImgconvError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ImgconvError, `no ImgconvError: ${String(error)}`);
  return error;
}

async function* tarOf(pieces: number, onPiece: (count: number) => void = () => undefined, size = 65_536) {
  for (let count = 1; count <= pieces; count++) {
    await Promise.resolve();
    onPiece(count);
    yield Buffer.alloc(size, count);
  }
}

describe('the endpoint', () => {
  const config = tempFolder();
  const sha = (name: string) => createHash('sha256').update(name).digest('hex');

  function layContext(name: string, docker: unknown, files: Record<string, string> = {}): void {
    const meta = join(config, 'contexts/meta', sha(name));
    mkdirSync(meta, { recursive: true });
    writeFileSync(
      join(meta, 'meta.json'),
      JSON.stringify({ Name: name, Metadata: {}, Endpoints: { docker } }),
    );
    const tls = join(config, 'contexts/tls', sha(name), 'docker');
    if (Object.keys(files).length > 0) mkdirSync(tls, { recursive: true });
    for (const [file, text] of Object.entries(files)) writeFileSync(join(tls, file), text);
  }

  before(() => {
    writeFileSync(join(config, 'config.json'), '{"auths": {}, "currentContext": "current"}');
    layContext('current', { Host: 'unix:///current.sock' });
    layContext(
      'named',
      { Host: 'tcp://10.0.0.1:2376', SkipTLSVerify: true },
      { 'ca.pem': 'CA', 'key.pem': 'K' },
    );
    layContext('empty', {});
  });

  const none = { DOCKER_CONFIG: '/nowhere' };
  const at = (environment: NodeJS.ProcessEnv) => describeEndpoint(engineEndpoint(environment));

  test('DOCKER_HOST beats DOCKER_CONTEXT, which beats the current context, which beats the default', () => {
    const all = { DOCKER_CONFIG: config, DOCKER_CONTEXT: 'named', DOCKER_HOST: 'unix:///host.sock' };
    assert.equal(at(all), 'unix:///host.sock (from DOCKER_HOST)');
    const { DOCKER_HOST: _, ...named } = all;
    assert.equal(at(named), 'tcp://10.0.0.1:2376 (from context "named", set by DOCKER_CONTEXT)');
    assert.equal(
      at({ DOCKER_CONFIG: config, DOCKER_CONTEXT: '', DOCKER_HOST: '' }),
      `unix:///current.sock (from context "current", set by ${join(config, 'config.json')})`,
    );
    assert.equal(at({ DOCKER_CONFIG: config, DOCKER_CONTEXT: 'default' }), 'unix:///var/run/docker.sock');
    assert.equal(
      at({ DOCKER_CONFIG: config, DOCKER_CONTEXT: 'empty' }).split(' ')[0],
      'unix:///var/run/docker.sock',
    );
    assert.equal(at(none), 'unix:///var/run/docker.sock');
    const home = tempFolder();
    mkdirSync(join(home, '.docker'));
    writeFileSync(join(home, '.docker/config.json'), '{"currentContext": "gone"}');
    assert.throws(
      () => engineEndpoint({ HOME: home }),
      refusal('NOT_FOUND', 'context "gone"', join(home, '.docker')),
    );
  });

  test('a context brings its own TLS files; those of the environment do not count', () => {
    const found = engineEndpoint({ DOCKER_CONFIG: config, DOCKER_CONTEXT: 'named', DOCKER_TLS_VERIFY: '1' });
    assert.ok(found.kind === 'tcp' && found.tls !== undefined);
    assert.equal(found.tls.verify, false);
    assert.equal(found.tls.ca?.toString(), 'CA');
    assert.equal(found.tls.key?.toString(), 'K');
    assert.equal(found.tls.cert, undefined);
  });

  test('reads addresses as the docker command does', () => {
    const read = (host: string) => {
      const { url, from, ...address } = engineEndpoint({ ...none, DOCKER_HOST: host });
      assert.deepEqual([url, from], [host.trim(), 'DOCKER_HOST']);
      return address;
    };
    const tcp = { kind: 'tcp', basePath: '', tls: undefined };
    assert.deepEqual(read('unix:///run/podman/podman.sock'), {
      kind: 'unix',
      socketPath: '/run/podman/podman.sock',
    });
    assert.deepEqual(read('unix://'), { kind: 'unix', socketPath: '/var/run/docker.sock' });
    assert.deepEqual(read(' tcp://h:1234 '), { ...tcp, host: 'h', port: 1234 });
    assert.deepEqual(read('h:1234'), { ...tcp, host: 'h', port: 1234 });
    assert.deepEqual(read('tcp://'), { ...tcp, host: 'localhost', port: 2375 });
    assert.deepEqual(read('tcp://[::1]:99/proxy/'), { ...tcp, host: '::1', port: 99, basePath: '/proxy' });
    assert.deepEqual(read('http://h'), { ...tcp, host: 'h', port: 80 });
    const https = read('https://h');
    assert.ok(https.kind === 'tcp' && https.port === 443 && https.tls?.verify === true);
    const ssh = { kind: 'ssh', user: undefined, port: undefined, socket: undefined };
    assert.deepEqual(read('ssh://h'), { ...ssh, host: 'h' });
    assert.deepEqual(read('ssh://me@h:22/run/d.sock'), {
      ...{ kind: 'ssh', user: 'me', host: 'h', port: '22', socket: '/run/d.sock' },
    });
  });

  test('DOCKER_TLS_VERIFY and DOCKER_TLS enable TLS for TCP, with files from DOCKER_CERT_PATH or DOCKER_CONFIG', () => {
    const folder = tempFolder();
    const verified = { DOCKER_CONFIG: folder, DOCKER_TLS_VERIFY: '0', DOCKER_HOST: 'tcp://h:2376' };
    assert.throws(() => engineEndpoint(verified), refusal('NOT_FOUND', join(folder, 'ca.pem')));
    writeFileSync(join(folder, 'ca.pem'), 'CA');
    const one = engineEndpoint(verified);
    assert.ok(one.kind === 'tcp' && one.tls?.verify === true && one.tls.ca?.toString() === 'CA');
    const other = engineEndpoint({ ...none, DOCKER_TLS: '1', DOCKER_CERT_PATH: folder });
    assert.ok(other.kind === 'tcp' && other.tls?.verify === false);
    assert.deepEqual([other.host, other.port, other.tls.folder], ['localhost', 2376, folder]);
    // For a socket no files are read.
    assert.equal(engineEndpoint({ ...none, DOCKER_TLS_VERIFY: '1', DOCKER_HOST: 'unix:///s' }).kind, 'unix');
  });

  test('refuses what is no address, with where it comes from', () => {
    for (const [host, why] of [
      ['npipe:////./pipe/docker_engine', 'npipe:// is not supported'],
      ['fd://', 'fd:// is not supported'],
      ['/run/podman/podman.sock', 'begins with unix://'],
      ['tcp://h:99999', 'HOST:PORT'],
      ['tcp://h/x?y', 'HOST:PORT'],
      ['ssh://', 'plain names'],
      ['ssh://h?x=y', 'plain names'],
      ['ssh://h/s?x=y', 'ssh://USER@HOST'],
    ] as const)
      assert.throws(
        () => engineEndpoint({ ...none, DOCKER_HOST: host }),
        refusal('USAGE', 'from DOCKER_HOST', why),
      );
    layContext('odd', { Host: 'npipe:////./pipe/x' });
    const odd = { DOCKER_CONFIG: config, DOCKER_CONTEXT: 'odd' };
    assert.throws(() => engineEndpoint(odd), refusal('USAGE', 'context "odd"', 'npipe://'));
    layContext('kube', undefined);
    const kube = { DOCKER_CONFIG: config, DOCKER_CONTEXT: 'kube' };
    assert.throws(() => engineEndpoint(kube), refusal('DOCUMENT_INVALID', 'Endpoints.docker'));
  });

  test('a broken config.json is refused without its content', () => {
    const broken = tempFolder();
    writeFileSync(join(broken, 'config.json'), '{"auths": {"h": {"auth": "c2VjcmV0" ');
    assert.throws(
      () => engineEndpoint({ DOCKER_CONFIG: broken }),
      (error) => refusal('DOCUMENT_INVALID', 'config.json')(error) && !String(error).includes('c2Vj'),
    );
  });

  test('a user or a host that ssh would take for an option is refused, and so is a password', () => {
    for (const rest of ['-oProxyCommand=x', '-l@h', 'me@-h', 'a b', 'h;x', '$(x)@h', '[-v]', '`x`'])
      assert.throws(
        () => engineEndpoint({ ...none, DOCKER_HOST: `ssh://${rest}` }),
        refusal('USAGE', 'plain names'),
      );
    assert.throws(
      () => engineEndpoint({ ...none, DOCKER_HOST: 'ssh://me:hunter2@h' }),
      (error) => refusal('USAGE', 'password')(error) && !String(error).includes('hunter2'),
    );
  });

  test('ssh is run as docker runs it, with the path of the socket as one word', () => {
    const run = (host: string) => {
      const found = engineEndpoint({ ...none, DOCKER_HOST: host });
      assert.ok(found.kind === 'ssh');
      return sshArguments(found).join(' ');
    };
    assert.equal(run('ssh://h/'), '-o ConnectTimeout=30 -T -- h docker system dial-stdio');
    assert.equal(
      run("ssh://me@[fe80::1]:22/a'; x"),
      `-l me -p 22 -o ConnectTimeout=30 -T -- fe80::1 docker '--host=unix:///a'\\''; x' system dial-stdio`,
    );
  });
});

describe('an engine on a socket', () => {
  test('the version of the API is that of the engine, and at most 1.51', async () => {
    for (const [version, used] of [
      ['1.24', 'v1.24'],
      ['1.41', 'v1.41'],
      ['1.51', 'v1.51'],
      ['1.60', 'v1.51'],
    ] as const) {
      const { fake, endpoint } = await engineOn(version);
      fake.routes['GET /images/json'] = (_, response) => {
        json(response, 200, []);
      };
      const engine = await Engine.connect(endpoint);
      assert.deepEqual(await engine.images(), []);
      assert.deepEqual(fake.asked, ['GET /_ping', `GET /${used}/images/json`]);
      engine.close();
    }
    const old = await engineOn('1.23');
    await assert.rejects(Engine.connect(old.endpoint), refusal('FORMAT_UNSUPPORTED', '1.23', '1.24'));
    const other = await engineOn();
    other.fake.version = undefined;
    await assert.rejects(Engine.connect(other.endpoint), refusal('REGISTRY', 'Api-Version'));
  });

  test('lists and inspects images; null and <none> are no names', async () => {
    const { fake, endpoint } = await engineOn();
    fake.routes['GET /images/json'] = (_, response) => {
      json(response, 200, [
        { Id: ID, RepoTags: ['a:1', 'b:2'], RepoDigests: [`a@${DIFF}`], Labels: null },
        { Id: ID, RepoTags: ['<none>:<none>'], RepoDigests: ['<none>@<none>'] },
        { Id: ID, RepoTags: null, RepoDigests: null },
      ]);
    };
    fake.routes['GET /images/h%3A5000/a/b%3Ac/json'] = (_, response) => {
      const RootFS = { Type: 'layers', Layers: [DIFF] };
      json(response, 200, {
        Id: ID,
        RepoTags: ['h:5000/a/b:c'],
        Os: 'linux',
        Architecture: 'arm',
        Variant: 'v7',
        RootFS,
      });
    };
    fake.routes[`GET /images/${encodeURIComponent(ID)}/json`] = (_, response) => {
      json(response, 200, { Id: ID, RepoTags: null, RepoDigests: null, RootFS: null, Variant: '' });
    };
    const engine = await Engine.connect(endpoint);
    const nameless = { id: ID, repoTags: [], repoDigests: [] };
    assert.deepEqual(await engine.images(), [
      { id: ID, repoTags: ['a:1', 'b:2'], repoDigests: [`a@${DIFF}`] },
      nameless,
      nameless,
    ]);
    assert.deepEqual(await engine.inspect('h:5000/a/b:c'), {
      ...{ id: ID, repoTags: ['h:5000/a/b:c'], repoDigests: [], diffIds: [DIFF] },
      ...{ os: 'linux', architecture: 'arm', variant: 'v7', size: undefined },
    });
    assert.deepEqual(await engine.inspect(ID), {
      ...{ ...nameless, diffIds: [], os: '', architecture: '', variant: undefined, size: undefined },
    });
    assert.equal(await engine.inspect('gone:1'), undefined);
    engine.close();
  });

  test('info says whether the engine stores content', async () => {
    const { fake, endpoint } = await engineOn();
    const engine = await Engine.connect(endpoint);
    for (const [DriverStatus, storesContent] of [
      [[['Backing Filesystem', 'extfs']], false],
      [[['driver-type', 'io.containerd.snapshotter.v1']], true],
      [null, false],
    ] as const) {
      fake.routes['GET /info'] = (_, response) => {
        json(response, 200, { Driver: 'overlayfs', DriverStatus });
      };
      assert.equal(await engine.storesContent(), storesContent);
    }
    engine.close();
  });

  test('errors are given in the words of the engine', async () => {
    const { fake, endpoint } = await engineOn();
    const engine = await Engine.connect(endpoint);
    const answer = (status: number, body: string) => {
      fake.routes['GET /images/json'] = (_, response) => response.writeHead(status).end(body);
    };
    answer(500, '{"message":"layer does not exist"}');
    const error = await refusalOf(engine.images());
    assert.equal(error.code, 'REGISTRY');
    assert.equal(error.message, `${describeEndpoint(endpoint)}: /images/json: layer does not exist`);
    answer(403, '{"message":"authorization denied by plugin"}');
    await assert.rejects(engine.images(), refusal('UNAUTHORIZED', 'denied by plugin'));
    answer(500, '{"message":"write /var/x: no space left on device"}');
    await assert.rejects(engine.images(), refusal('NO_SPACE', 'write /var/x'));
    answer(400, 'Client sent an HTTP request to an HTTPS server.\n');
    await assert.rejects(engine.images(), refusal('REGISTRY', 'an HTTP request to an HTTPS server.'));
    answer(502, '');
    await assert.rejects(engine.images(), refusal('REGISTRY', 'status 502'));
    answer(302, '');
    await assert.rejects(engine.images(), refusal('REGISTRY', 'status 302'));
    answer(200, '[{"Id": 1}]');
    await assert.rejects(engine.images(), refusal('REGISTRY', '0.Id'));
    answer(200, '[');
    await assert.rejects(engine.images(), refusal('REGISTRY', 'not JSON'));
    await assert.rejects(engine.save(['gone']), refusal('NOT_FOUND', 'No such image'));
    engine.close();
  });

  test('an answer in JSON of more than 64 MiB is refused', async () => {
    const { fake, endpoint } = await engineOn();
    let sent = 0;
    let isClosed = false;
    fake.routes['GET /images/json'] = (_, response) => {
      response.on('close', () => (isClosed = true));
      const more = () => {
        while (!isClosed && response.write(Buffer.alloc(1024 * 1024, ' '))) sent++;
        sent++;
      };
      response.on('drain', more);
      more();
    };
    const engine = await Engine.connect(endpoint);
    await assert.rejects(engine.images(), refusal('REGISTRY', '67108864'));
    await until('the end of the answer', () => isClosed);
    assert.ok(sent < 80, `${sent} MiB were sent`);
    engine.close();
  });

  test('an answer that breaks off is a failure of the network', async () => {
    const { fake, endpoint } = await engineOn();
    fake.routes['GET /images/json'] = (_, response) => {
      response.write('[');
      setTimeout(() => response.destroy(), 10);
    };
    const engine = await Engine.connect(endpoint);
    await assert.rejects(engine.images(), refusal('NETWORK', 'broke off'));
    engine.close();
  });

  test('the signal ends a request', async () => {
    const { fake, endpoint } = await engineOn();
    fake.routes['GET /images/json'] = () => undefined;
    const stop = new AbortController();
    const engine = await Engine.connect(endpoint, stop.signal);
    const images = engine.images();
    await until('the request', () => fake.asked.length === 2);
    stop.abort();
    await assert.rejects(within(10, 'the end', images), refusal('INTERRUPTED'));
    engine.close();
  });
});

describe('save', () => {
  test('streams the archive, asked for by all names', async () => {
    const { fake, endpoint } = await engineOn();
    let sent = 0;
    fake.routes['GET /images/get'] = async (_, response) => {
      for (; sent < 400; sent++)
        if (!response.write(Buffer.alloc(65_536, sent)))
          await new Promise((go) => response.once('drain', go));
      response.end('end');
    };
    const engine = await Engine.connect(endpoint);
    const archive = await engine.save(['a:1', `b@${DIFF}`]);
    assert.ok(fake.asked[1]?.endsWith(`/images/get?names=a%3A1&names=b%40${encodeURIComponent(DIFF)}`));
    await delay(200);
    assert.ok(sent < 350, `the engine sent ${sent} pieces to a reader that does not read`);
    const bytes = await buffer(archive);
    assert.equal(bytes.length, 400 * 65_536 + 3);
    for (let i = 0; i < 400; i += 7) assert.equal(bytes[i * 65_536 + 9], i % 256);
    assert.equal(bytes.subarray(-3).toString(), 'end');
    engine.close();
  });

  test('an error that the engine appends is thrown with its words, and not given as bytes', async () => {
    const { fake, endpoint } = await engineOn();
    const line = '{"errorDetail":{"message":"layer {x} is missing"},"error":"layer {x} is missing"}\r\n';
    for (const [first, second] of [
      [line, ''],
      [line.slice(0, 30), line.slice(30)],
    ] as const) {
      fake.routes['GET /images/get'] = async (_, response) => {
        response.write(Buffer.alloc(100_000, 1));
        response.write(first);
        await delay(20);
        response.end(second);
      };
      const engine = await Engine.connect(endpoint);
      let size = 0;
      const read = async () => {
        for await (const chunk of await engine.save(['a'])) size += (chunk as Buffer).length;
      };
      await assert.rejects(read(), refusal('REGISTRY', 'layer {x} is missing'));
      assert.ok(size <= 100_000);
      engine.close();
    }
  });

  test('an archive that breaks off fails, and one that is left ends its request', async () => {
    const { fake, endpoint } = await engineOn();
    let closed = 0;
    let isWhole = false;
    fake.routes['GET /images/get'] = (_, response) => {
      response.on('close', () => closed++);
      response.write(Buffer.alloc(100_000));
      if (!isWhole) setTimeout(() => response.destroy(), 20);
    };
    const engine = await Engine.connect(endpoint);
    await assert.rejects(buffer(await engine.save(['a'])), refusal('NETWORK', 'broke off'));
    isWhole = true;
    (await engine.save(['a'])).destroy();
    await until('the end of a request that was not read', () => closed === 2);
    for await (const _ of await engine.save(['a'])) break;
    await until('the end of a request that was left', () => closed === 3);
    engine.close();
  });
});

describe('load', () => {
  const lines = (...values: unknown[]) => values.map((one) => `${JSON.stringify(one)}\r\n`).join('');

  test('sends the archive in chunks, and gives what was loaded', async () => {
    const { fake, endpoint } = await engineOn();
    let got = Buffer.alloc(0);
    let headers: IncomingMessage['headers'] = {};
    fake.routes['POST /images/load'] = async (request, response) => {
      ({ headers } = request);
      got = await buffer(request);
      response.end(
        lines(
          { status: 'Loading layer', progressDetail: {} },
          { stream: 'Loaded image: a:1\n' },
          { stream: 'Loaded image: h:5000/b:2,c:3' },
          { stream: `Loaded image ID: ${ID}\n` },
        ),
      );
    };
    const engine = await Engine.connect(endpoint);
    const loaded = await engine.load(tarOf(100));
    assert.deepEqual(loaded, { references: ['a:1', 'h:5000/b:2', 'c:3'], ids: [ID] });
    assert.equal(headers['content-type'], 'application/x-tar');
    assert.equal(headers['transfer-encoding'], 'chunked');
    assert.ok(fake.asked[1]?.endsWith('/images/load?quiet=1'));
    assert.deepEqual(got, await concat(tarOf(100)));
    engine.close();
  });

  test('an error inside a 200 answer is thrown with the words of the engine', async () => {
    const { fake, endpoint } = await engineOn();
    const engine = await Engine.connect(endpoint);
    for (const [answer, words] of [
      [
        lines({ stream: 'Loaded image: a:1\n' }, { errorDetail: { message: 'bad layer' }, error: 'x' }),
        'bad layer',
      ],
      [lines({ error: 'invalid tar header' }, { stream: 'Loaded image: a:1\n' }), 'invalid tar header'],
    ] as const) {
      fake.routes['POST /images/load'] = async (request, response) => {
        await buffer(request);
        response.end(answer);
      };
      await assert.rejects(engine.load(tarOf(1)), refusal('REGISTRY', '/images/load', words));
    }
    engine.close();
  });

  test('an error that comes before the whole archive is sent is thrown, and the source is ended', async () => {
    const { fake, endpoint } = await engineOn();
    fake.routes['POST /images/load'] = (request, response) => {
      request.once('data', () => {
        request.pause();
        response.end(lines({ errorDetail: { message: 'unexpected header' } }));
      });
    };
    const engine = await Engine.connect(endpoint);
    let ended = 0;
    async function* endless() {
      try {
        for (;;) yield* tarOf(1);
      } finally {
        ended++;
        // As a verifying generator does that is left early.
        throw new Error('left early');
      }
    }
    const work = engine.load(endless());
    await assert.rejects(within(20, 'the answer', work), refusal('REGISTRY', 'unexpected header'));
    assert.equal(ended, 1);
    engine.close();
  });

  test('success that is said before the whole archive is sent is not believed', async () => {
    const { fake, endpoint } = await engineOn();
    fake.routes['POST /images/load'] = (request, response) => {
      request.once('data', () => {
        request.pause();
        response.end(lines({ stream: 'Loaded image: a:1\n' }));
      });
    };
    const engine = await Engine.connect(endpoint);
    const work = engine.load(tarOf(10_000));
    await assert.rejects(within(20, 'the answer', work), refusal('REGISTRY', 'before the whole archive'));
    engine.close();
  });

  test('does not read faster than the engine', async () => {
    const { fake, endpoint } = await engineOn();
    let go: () => void = () => undefined;
    const wait = new Promise<void>((resolve) => (go = resolve));
    fake.routes['POST /images/load'] = async (request, response) => {
      await wait;
      const { length } = await buffer(request);
      response.end(lines({ stream: `Loaded image: size:${length}\n` }));
    };
    const engine = await Engine.connect(endpoint);
    let made = 0;
    const work = engine.load(tarOf(1000, (count) => (made = count)));
    await until('the request', () => fake.asked.length === 2);
    await delay(300);
    assert.ok(made < 100, `${made} pieces of 64 KiB were made for an engine that reads none`);
    go();
    assert.deepEqual((await work).references, [`size:${1000 * 65_536}`]);
    engine.close();
  });

  test('an error of the source is thrown as it is, and the engine does not get a whole archive', async () => {
    const { fake, endpoint } = await engineOn();
    let state = 'waiting';
    fake.routes['POST /images/load'] = async (request, response) => {
      state = await buffer(request).then(
        () => 'whole',
        () => 'cut off',
      );
      response.end(lines({ stream: 'Loaded image: a:1\n' }));
    };
    const engine = await Engine.connect(endpoint);
    const wrong = new ImgconvError('DIGEST_MISMATCH', 'wrong bytes');
    const source = tarOf(3, (count) => {
      if (count === 3) throw wrong;
    });
    await assert.rejects(engine.load(source), (error) => error === wrong);
    await until('the end of the request', () => state !== 'waiting');
    assert.equal(state, 'cut off');
    engine.close();
  });

  test('an engine that goes away is a failure of the network', async () => {
    const { fake, endpoint } = await engineOn();
    fake.routes['POST /images/load'] = (request) => {
      request.once('data', () => request.socket.destroy());
    };
    const engine = await Engine.connect(endpoint);
    const work = engine.load(tarOf(1000));
    await assert.rejects(within(20, 'the failure', work), refusal('NETWORK', 'broke off'));
    engine.close();
  });
});

describe('an engine that cannot be reached', () => {
  const to = (host: string) =>
    Engine.connect(engineEndpoint({ DOCKER_CONFIG: '/nowhere', DOCKER_HOST: host }));

  test('no socket, and a socket that nothing listens on', async () => {
    const folder = tempFolder();
    const missing = await refusalOf(to(`unix://${folder}/none.sock`));
    assert.equal(missing.code, 'NETWORK');
    assert.match(missing.message, /none\.sock \(from DOCKER_HOST\): there is no such socket$/);
    assert.match(missing.hint ?? '', /docker-root:\/var\/lib\/docker/);
    // A file stands for a socket that was left behind: both are refused alike.
    writeFileSync(join(folder, 'dead.sock'), '');
    const dead = await refusalOf(to(`unix://${folder}/dead.sock`));
    assert.match(dead.message, /nothing listens on the socket$/);
    assert.match(dead.hint ?? '', /docker-root:\/var\/lib\/docker/);
  });

  test(
    'a socket that the user may not use',
    { skip: process.geteuid?.() !== 0 && 'needs root' },
    async () => {
      const { socket } = await engineOn();
      for (const folder of [dirname(dirname(socket)), dirname(socket)]) chmodSync(folder, 0o755);
      chmodSync(socket, 0o600);
      process.seteuid?.(65_534);
      const denied = await refusalOf(to(`unix://${socket}`)).finally(() => process.seteuid?.(0));
      assert.equal(denied.code, 'NETWORK');
      assert.match(denied.message, /permission denied: you may not use the socket/);
      assert.match(denied.hint ?? '', /root.*docker/);
    },
  );

  test('a port that nothing listens on, and one that speaks something else', async () => {
    const server = createTcpServer((socket) => socket.resume().end('SSH-2.0-OpenSSH\r\n'));
    const address = await listen(server);
    await assert.rejects(to(`tcp://${address}`), refusal('NETWORK', address, 'not HTTP'));
    await new Promise((resolve) => server.close(resolve));
    await assert.rejects(to(`tcp://${address}`), refusal('NETWORK', address, 'ECONNREFUSED'));
  });
});

describe('an engine on TCP', () => {
  const certificates = tempFolder();
  let plain = '';
  let secure = '';
  before(async () => {
    writeFileSync(join(certificates, 'ca.pem'), CERTIFICATE);
    writeFileSync(join(certificates, 'cert.pem'), CERTIFICATE);
    writeFileSync(join(certificates, 'key.pem'), KEY);
    const fake = new FakeEngine();
    fake.routes['GET /images/json'] = (_, response) => {
      json(response, 200, []);
    };
    fake.routes['GET /base/_ping'] = (_, response) => response.setHeader('api-version', '1.41').end('OK');
    fake.routes['GET /base/v1.41/images/json'] = (_, response) => {
      json(response, 200, []);
    };
    plain = await listen(createServer(fake.listener));
    const options = { cert: CERTIFICATE, key: KEY, ca: CERTIFICATE, requestCert: true };
    secure = await listen(createTlsServer(options, fake.listener));
  });

  async function images(environment: NodeJS.ProcessEnv) {
    const engine = await Engine.connect(engineEndpoint({ DOCKER_CONFIG: '/nowhere', ...environment }));
    try {
      return await engine.images();
    } finally {
      engine.close();
    }
  }

  test('plain, also below a path', async () => {
    assert.deepEqual(await images({ DOCKER_HOST: `tcp://${plain}` }), []);
    assert.deepEqual(await images({ DOCKER_HOST: `http://${plain}/base` }), []);
  });

  test('with TLS, a client certificate, and the CA of DOCKER_CERT_PATH', async () => {
    const files = { DOCKER_CERT_PATH: certificates, DOCKER_TLS_VERIFY: '1' };
    assert.deepEqual(await images({ ...files, DOCKER_HOST: `tcp://${secure}` }), []);
    assert.deepEqual(await images({ ...files, DOCKER_HOST: `https://${secure}` }), []);
  });

  test('without the client certificate, or without the CA, it fails', async () => {
    const folder = tempFolder();
    writeFileSync(join(folder, 'ca.pem'), CERTIFICATE);
    const bare = { DOCKER_HOST: `tcp://${secure}`, DOCKER_CERT_PATH: folder };
    await assert.rejects(images({ ...bare, DOCKER_TLS_VERIFY: '1' }), refusal('NETWORK', secure));
    const untrusted = await refusalOf(images({ DOCKER_HOST: `https://${secure}` }));
    assert.equal(untrusted.code, 'NETWORK');
    assert.match(untrusted.message, /TLS fails: self-signed certificate/);
    writeFileSync(join(folder, 'cert.pem'), CERTIFICATE);
    writeFileSync(join(folder, 'key.pem'), KEY);
    // DOCKER_TLS does not verify.
    writeFileSync(join(folder, 'ca.pem'), '');
    assert.deepEqual(await images({ ...bare, DOCKER_TLS: '1' }), []);
    writeFileSync(join(folder, 'key.pem'), 'no key');
    const unusable = await refusalOf(images({ ...bare, DOCKER_TLS: '1' }));
    assert.equal(unusable.code, 'NETWORK');
    assert.ok(unusable.hint?.endsWith(folder), unusable.hint);
  });

  test('TLS with an engine without it, and the reverse, are told apart', async () => {
    const files = { DOCKER_CERT_PATH: certificates, DOCKER_TLS_VERIFY: '1' };
    await assert.rejects(
      images({ ...files, DOCKER_HOST: `tcp://${plain}` }),
      refusal('NETWORK', 'plain HTTP'),
    );
    await assert.rejects(images({ DOCKER_HOST: `tcp://${secure}` }), refusal('NETWORK', secure));
  });
});

describe('an engine behind ssh', () => {
  const bin = tempFolder();
  const log = join(bin, 'log');
  const path = process.env['PATH'];
  const started = () => readFileSync(log, 'utf8').trim().split('\n');

  /** Runs in place of ssh; `dial-stdio` of docker does the same on the host. */
  function laySsh(socket: string): void {
    const dial = `
      const { appendFileSync } = require('node:fs');
      appendFileSync(${JSON.stringify(log)}, JSON.stringify([process.pid, ...process.argv.slice(2)]) + '\\n');
      const fail = (words) => { process.stderr.write(words); process.exitCode = 255; };
      if (process.argv.includes('unknown')) fail('ssh: Could not resolve hostname unknown\\r\\n');
      else {
        const socket = require('node:net').connect(${JSON.stringify(socket)});
        socket.on('error', (error) => fail(error.message));
        process.stdin.pipe(socket).pipe(process.stdout);
      }`;
    writeFileSync(join(bin, 'dial.cjs'), dial);
    writeFileSync(join(bin, 'ssh'), `#!/bin/sh\nexec ${process.execPath} ${join(bin, 'dial.cjs')} "$@"\n`);
    chmodSync(join(bin, 'ssh'), 0o755);
    writeFileSync(log, '');
  }

  before(() => {
    process.env['PATH'] = `${bin}:${path ?? ''}`;
  });
  after(() => {
    process.env['PATH'] = path;
  });
  const over = (host: string): EngineEndpoint =>
    engineEndpoint({ DOCKER_CONFIG: '/nowhere', DOCKER_HOST: host });

  function isAlive(pid: number): boolean {
    try {
      process.kill(pid, 0);
      return true;
    } catch {
      return false;
    }
  }

  test('works through its process, which ends with close', async () => {
    const { fake, socket } = await engineOn();
    laySsh(socket);
    fake.routes['GET /images/json'] = (_, response) => {
      json(response, 200, [{ Id: ID, RepoTags: ['a:1'], RepoDigests: null }]);
    };
    fake.routes['GET /images/get'] = (_, response) => response.end(Buffer.alloc(5_000_000, 7));
    fake.routes['POST /images/load'] = async (request, response) => {
      const { length } = await buffer(request);
      response.end(`{"stream":"Loaded image: size:${length}"}`);
    };
    const engine = await Engine.connect(over('ssh://me@there:2222'));
    assert.deepEqual((await engine.images())[0]?.repoTags, ['a:1']);
    assert.deepEqual(await buffer(await engine.save(['a:1'])), Buffer.alloc(5_000_000, 7));
    assert.deepEqual(await engine.load(tarOf(100)), { references: ['size:6553600'], ids: [] });
    const runs = started().map((line) => JSON.parse(line) as [number, ...string[]]);
    const args = ['-l', 'me', '-p', '2222', '-o', 'ConnectTimeout=30', '-T', '--', 'there'];
    for (const [, ...given] of runs) assert.deepEqual(given, [...args, 'docker system dial-stdio']);
    // Requests that follow each other use one connection.
    assert.equal(runs.length, 1);
    const [[pid]] = runs as [[number]];
    assert.ok(isAlive(pid));
    engine.close();
    await until('the end of ssh', () => !isAlive(pid));
  });

  test('what ssh says is in the message', async () => {
    laySsh('/nowhere.sock');
    const unknown = await refusalOf(within(20, 'ssh', Engine.connect(over('ssh://unknown'))));
    assert.equal(unknown.code, 'NETWORK');
    assert.match(unknown.message, /ssh: Could not resolve hostname unknown$/);
    const absent = await refusalOf(within(20, 'ssh', Engine.connect(over('ssh://there'))));
    assert.match(absent.message, /connect ENOENT \/nowhere\.sock/);
  });

  test('without ssh it says so', async () => {
    process.env['PATH'] = tempFolder();
    const connected = Engine.connect(over('ssh://there'));
    process.env['PATH'] = `${bin}:${path ?? ''}`;
    await assert.rejects(connected, refusal('NETWORK', 'there is no ssh in the search path'));
  });
});
