import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errorText, EXIT } from '../../src/cli/exit.js';
import {
  convert,
  failedImages,
  ImgconvError,
  inspectImages,
  listImages,
  parsePlace,
  verify,
  type ConvertOptions,
  type Place,
  type RegistryAccess,
} from '../../src/index.js';
import { FakeRegistry, reply } from '../support/fake-registry.js';
import { descriptorOf, imageOf, indexOf, layTree, OCI, part, put, type Sample } from '../support/images.js';
import { place } from '../support/places.js';
import { stagingIn } from '../support/snapshot.js';
import { tempFolder } from '../support/temp.js';
import { ANSWERS, type Answerer } from './answers.js';
import type { Campaign } from './campaign.js';
import { soundnessOf } from './soundness.js';

/*
 * Registries, mirrors, token servers and hosts of blobs that answer each request of each operation in each way that is no
 * good. imgconv has to end, to say who answered badly, and to leave nothing that is not proved.
 */
const IDLE_MS = 150;
/** What a run may ask: endless pages come to ten thousand. */
const MOST_REQUESTS = 10_100;
const PASSWORD = 'pa55word-of-the-bench';
const TOKEN = 'token-of-the-bench';
/** Longer than one chunk of an upload. */
const LARGE = 8_400_000;

const base = await imageOf('base');
const image = await imageOf('served');
const [first, second] = [await imageOf('first'), await imageOf('second', { platform: 'linux/arm64' })];
const index = indexOf([first, second]);
const other = await imageOf('not asked for');
const sbom = await imageOf('sbom', { family: OCI, fields: { subject: descriptorOf(image.root) } });
const signature = await imageOf('signature', { family: OCI });
const signatureTag = `${image.root.digest.replace(':', '-')}.sig`;
const large = largeImage();
const served = {
  'app:1': image,
  'app:2': index,
  'app:sbom': sbom,
  [`app:${signatureTag}`]: signature,
  'lib/base:1': base,
};
/** What may be found under any tag: each is whole. */
const KNOWN = new Set([image, index, sbom, signature, base, other, large].map(({ root }) => root.digest));

/** Whose one layer goes in two chunks. */
function largeImage(): Sample {
  const layer = part('application/x', randomFillSync(Buffer.alloc(LARGE)));
  const config = part('application/x', {});
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI.manifest,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
  };
  return { root: part(OCI.manifest, manifest), members: [], blobs: [config, layer], platform: undefined };
}

interface Case {
  readonly operation: string;
  readonly request: string;
  /** Which of such requests. */
  readonly when: 'first' | 'later' | 'all';
  readonly answer: string;
}

/** `main`, the registry itself, or `other`: a mirror, a token server, a host of blobs. */
type Server = 'main' | 'other';
type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** Two servers, and whose turn it is to answer badly. */
class Ground {
  readonly folder = tempFolder();
  readonly counts = new Map<string, number>();
  readonly servers: Readonly<Record<Server, FakeRegistry>>;
  /** What an operation's servers do besides. */
  readonly special: { on: RegExp; act: Handler }[] = [];
  /** An undisturbed run is not to fail because the machine is busy. */
  #idleMs = 20_000;
  #bad: { request: string; when: Case['when']; act: Answerer } | undefined;

  private constructor(main: FakeRegistry, more: FakeRegistry) {
    this.servers = { main, other: more };
    for (const name of ['main', 'other'] as const)
      this.servers[name].fail(/./, (request, response) => this.#serve(name, request, response), Infinity);
  }

  static async start({ guard, ...options }: Operation): Promise<Ground> {
    const more = await FakeRegistry.start({ referrers: true });
    const challenge =
      guard === 'bearer' ? `Bearer realm="${more.url}/token",service="bench"` : 'Basic realm="bench"';
    const basic = `Basic ${Buffer.from(`user:${PASSWORD}`).toString('base64')}`;
    const allowed = guard === 'bearer' ? `Bearer ${TOKEN}` : basic;
    const main = await FakeRegistry.start({
      referrers: options.referrers ?? true,
      pageSize: 2,
      guard: ({ headers }) =>
        guard === undefined || headers.authorization === allowed ? undefined : challenge,
    });
    const ground = new Ground(main, more);
    ground.special.push({
      on: /^other GET \/token/,
      act: (_, response) => {
        reply(response, 200, {}, Buffer.from(JSON.stringify({ token: TOKEN, expires_in: 300 })));
        return Promise.resolve();
      },
    });
    options.setUp?.(ground);
    return ground;
  }

  get main(): FakeRegistry {
    return this.servers.main;
  }
  get other(): FakeRegistry {
    return this.servers.other;
  }

  get access(): RegistryAccess {
    const creds = `user:${PASSWORD}`;
    const hosts = { [this.main.host]: { creds } };
    return { hosts, authfile: EMPTY, retryTimes: 1, retryDelay: 1, idleTimeout: this.#idleMs };
  }

  place(below: string): Place {
    return parsePlace(`docker://${this.main.host}${below}`);
  }
  get target(): string {
    return join(this.folder, 'target');
  }

  disturb({ request, when, answer }: Case): void {
    const act = ANSWERS[answer];
    assert.ok(act !== undefined);
    this.#bad = { request, when, act };
    this.#idleMs = IDLE_MS;
  }

  async #serve(server: Server, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const key = `${server} ${requestText(request)}`;
    const count = this.counts.get(key) ?? 0;
    this.counts.set(key, count + 1);
    const answer: Handler = (asked, answering) =>
      this.special
        .find(({ on }) => on.test(`${server} ${asked.method ?? ''} ${asked.url ?? ''}`))
        ?.act(asked, answering) ?? this.servers[server].answer(asked, answering);
    const bad = this.#bad;
    if (bad?.request !== key || (bad.when !== 'all' && (bad.when === 'first') !== (count === 0)))
      return answer(request, response);
    const otherHost = this.servers[server === 'main' ? 'other' : 'main'].host;
    await bad.act({ answer, request, response, count, idleMs: IDLE_MS, other: other.root, otherHost });
  }

  /** Connections that are still open on the servers' side. */
  async connections(): Promise<number> {
    const counts = await Promise.all([this.main, this.other].map((server) => server.connections()));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.main[Symbol.asyncDispose]();
    await this.other[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Uploads are numbered, queries count, and a digest is as good as another. */
function requestText({ method = '', url = '' }: IncomingMessage): string {
  const { pathname, searchParams } = new URL(url, 'http://x');
  const path = pathname
    .replace(/uploads\/\d+/, 'uploads/N')
    .replace(/[0-9a-f]{64}/, 'HEX')
    .replace(/\.(?:sig|att|sbom)$/, '.sig');
  return `${method} ${path}${searchParams.has('mount') ? '?mount' : ''}`;
}

interface Operation {
  readonly guard?: 'basic' | 'bearer';
  readonly referrers?: boolean;
  readonly setUp?: (ground: Ground) => unknown;
  /** Gives the errors that it told. */
  readonly run: (ground: Ground) => Promise<unknown[]>;
  /** What is to be under which names when no error was told. */
  readonly pulls?: Readonly<Record<string, Sample>>;
  readonly pushes?: Readonly<Record<string, Sample>>;
}

const chosen = (...names: string[]) => names.map((text) => ({ text, rename: undefined, where: 'the bench' }));

async function converted(
  ground: Ground,
  from: Place,
  to: Place,
  more: ConvertOptions = {},
): Promise<unknown[]> {
  const { access } = ground;
  const options = { compression: 'keep', sourceAccess: access, targetAccess: access, ...more } as const;
  return failedImages(await convert(from, to, options)).map(({ error }) => error);
}
const pull =
  (names: readonly string[], more: (ground: Ground) => ConvertOptions = () => ({})) =>
  (ground: Ground) =>
    converted(ground, ground.place(''), place('oci', ground.target), {
      selectors: chosen(...names),
      ...more(ground),
    });
const push = (images: Readonly<Record<string, Sample>>) => (ground: Ground) =>
  converted(ground, place('dir', layTree(join(ground.folder, 'tree'), images)), ground.place(''));
const serve = ({ main }: Ground) => main.add(served);

/** Blobs come from another host. */
function redirectBlobs(ground: Ground): void {
  serve(ground);
  ground.other.add(served);
  ground.special.push({
    on: /^main GET .*\/blobs\//,
    act: (request, response) => {
      reply(response, 307, { location: `${ground.other.url}${request.url ?? ''}` });
      return Promise.resolve();
    },
  });
}

/** Blobs go to another host, which hands them on. */
function redirectUploads({ main, other: host, special }: Ground): void {
  special.push(
    {
      on: /^main POST /,
      act: (request, response) => {
        const writeHead = response.writeHead.bind(response);
        response.writeHead = ((code: number, fields: Record<string, string>) =>
          writeHead(code, {
            ...fields,
            location: `${host.url}${fields['location'] ?? ''}`,
          })) as typeof writeHead;
        return host.answer(request, response);
      },
    },
    {
      on: /^other PUT /,
      act: async (request, response) => {
        await host.answer(request, response);
        for (const [digest, bytes] of host.blobs) main.blobs.set(digest, bytes);
        for (const link of host.linked) main.linked.add(link);
      },
    },
  );
}

const refuseWhole = ({ main, special }: Ground): void => {
  special.push({
    on: /^main PUT .*\/uploads\//,
    act: async (request, response) => {
      if (Number(request.headers['content-length'] ?? 0) === 0) return main.answer(request, response);
      for await (const _ of request);
      reply(response, 413);
    },
  });
};

const OPERATIONS: Readonly<Record<string, Operation>> = {
  'ls of a repository': {
    guard: 'bearer',
    setUp: serve,
    run: async (ground) => listed(ground, ground.place('/app')),
  },
  'ls of a registry': { guard: 'basic', setUp: serve, run: (ground) => listed(ground, ground.place('')) },
  inspect: {
    setUp: serve,
    run: async (ground) => {
      for await (const _ of inspectImages(ground.place(''), chosen('app:2'), ground.access));
      return [];
    },
  },
  verify: {
    guard: 'basic',
    setUp: serve,
    run: async (ground) => {
      const { findings } = await verify(ground.place('/lib/base'), { access: ground.access });
      return findings.map(({ what }) => new ImgconvError('REGISTRY', `${ground.main.host}: ${what}`));
    },
  },
  'copy of an image': { guard: 'bearer', setUp: serve, run: pull(['app:1']), pulls: { 'app:1': image } },
  'copy of an index': {
    setUp: serve,
    run: pull(['app:2'], () => ({ extras: false })),
    pulls: { 'app:2': index },
  },
  'copy of a repository': {
    guard: 'basic',
    setUp: serve,
    run: (ground) => converted(ground, ground.place('/app'), place('oci', ground.target)),
  },
  'copy by redirections': {
    guard: 'bearer',
    setUp: redirectBlobs,
    run: pull(['app:2'], () => ({ extras: false })),
    pulls: { 'app:2': index },
  },
  'copy by a mirror': {
    setUp: (ground) => {
      serve(ground);
      ground.other.add(served);
    },
    run: pull(['app:1'], ({ main, other: mirror, access }) => ({
      sourceAccess: { ...access, mirrors: { [main.host]: mirror.url } },
    })),
    pulls: { 'app:1': image },
  },
  push: {
    guard: 'bearer',
    run: push({ 'app:1': image, 'app:2': index }),
    pushes: { 'app:1': image, 'app:2': index },
  },
  'push with mounts': {
    guard: 'basic',
    run: push({ 'app:1': image, 'more/app:1': image }),
    pushes: { 'app:1': image, 'more/app:1': image },
  },
  'push in chunks': {
    guard: 'basic',
    setUp: refuseWhole,
    run: push({ 'app:1': large }),
    pushes: { 'app:1': large },
  },
  'push of what is attached': {
    referrers: false,
    run: push({ 'app:1': image, 'app:sbom': sbom }),
    pushes: { 'app:1': image, 'app:sbom': sbom },
  },
  'push by redirections': {
    guard: 'bearer',
    setUp: redirectUploads,
    run: push({ 'app:1': image }),
    pushes: { 'app:1': image },
  },
  'copy within a registry': {
    guard: 'bearer',
    setUp: serve,
    run: (ground) =>
      converted(ground, ground.place(''), ground.place('/copies'), {
        selectors: chosen('app:1'),
        extras: false,
      }),
    pushes: { 'copies/app:1': image },
  },
};

async function listed({ access }: Ground, from: Place): Promise<unknown[]> {
  const errors: unknown[] = [];
  for await (const { error } of listImages(from, [], access)) if (error !== undefined) errors.push(error);
  return errors;
}

/** A closed set of codes, the place, no secrets. */
function expectTold(error: unknown, { main, other: more }: Ground): void {
  assert.ok(error instanceof ImgconvError, String((error as Error).stack));
  assert.equal(EXIT[error.code], 1, error.message);
  assert.ok(!['IO', 'INTERRUPTED'].includes(error.code), error.stack);
  // That an image is not there is said of what was asked for.
  const isNone = error.code === 'NOT_FOUND' && error.message.includes('no such image in the source');
  assert.ok(
    isNone || [main, more].some(({ host }) => error.message.includes(host)),
    `names no host: ${error.message}`,
  );
  const text = errorText(error, true);
  for (const secret of [PASSWORD, TOKEN, Buffer.from(`user:${PASSWORD}`).toString('base64')])
    assert.ok(!text.includes(secret), `shows a secret: ${text}`);
}

/** Each tag's image is whole, and one of those that there are. */
function expectWhole({ main }: Ground): void {
  for (const [repository, manifests] of main.manifests) {
    const check = (reference: string) => {
      const stored = manifests.get(reference);
      assert.ok(stored !== undefined, `${repository}: ${reference} is missing`);
      const {
        manifests: members = [],
        config,
        layers = [],
      } = JSON.parse(stored.bytes.toString()) as Manifest;
      for (const { digest } of members) check(digest);
      for (const { digest } of config === undefined ? layers : [config, ...layers])
        assert.ok(
          main.linked.has(`${repository} ${digest}`) && main.blobs.has(digest),
          `${digest} is missing`,
        );
    };
    for (const reference of manifests.keys())
      // A referrers tag lists what may not be there.
      if (!/^sha256-[0-9a-f]{64}$/.test(reference)) check(reference);
  }
}
interface Manifest {
  readonly manifests?: readonly { digest: string }[];
  readonly config?: { digest: string };
  readonly layers?: readonly { digest: string }[];
}

function expectSound(ground: Ground, operation: Operation, { request }: Case, told: boolean): void {
  const { images, problems } = soundnessOf('oci', ground.target);
  assert.deepEqual(problems, []);
  for (const [name, digest] of images) assert.ok(KNOWN.has(digest), `${name} is ${digest}`);
  expectWhole(ground);
  const left = stagingIn(ground.folder).filter((name) => !name.includes('.imgconv-partial'));
  assert.deepEqual([...left, ...readdirSync(TEMP)], [], 'unfinished work is left');
  for (const { path, authorization } of ground.other.seen)
    assert.ok(authorization === undefined || path.startsWith('/token'), `a secret for ${path}`);
  if (told) return;
  const found = [...images.keys()];
  for (const name of Object.keys(operation.pulls ?? {}))
    assert.ok(
      found.some((one) => one.endsWith(name)),
      `${name} is not there, and no error was told`,
    );
  for (const [name, { root }] of Object.entries(operation.pushes ?? {})) {
    const [repository = '', tag = ''] = name.split(':');
    // Whoever takes a manifest, or says that it is there, is believed.
    if (request.includes(`/${repository}/manifests/${tag}`)) continue;
    const stored = ground.main.manifests.get(repository)?.get(tag);
    assert.deepEqual(stored?.bytes, root.bytes, `${name} is not there, and no error was told`);
  }
}

let EMPTY = '';
let TEMP = '';
const uncaught: unknown[] = [];

async function tryCase(one: Case): Promise<string> {
  const operation = OPERATIONS[one.operation];
  assert.ok(operation !== undefined);
  await using ground = await Ground.start(operation);
  ground.disturb(one);
  let told: unknown[];
  try {
    told = await operation.run(ground);
  } catch (error) {
    told = [error];
  }
  try {
    for (const error of told) expectTold(error, ground);
    expectSound(ground, operation, one, told.length > 0);
    assert.ok(ground.main.seen.length + ground.other.seen.length < MOST_REQUESTS, 'too many requests');
    for (let i = 0; (await ground.connections()) > 0; i++) {
      assert.ok(i < 100, 'connections stay open');
      await delay(20);
    }
    assert.deepEqual(uncaught.splice(0), [], 'errors that nobody caught');
  } catch (error) {
    const what = `${one.operation}: ${one.when} ${one.request} ${one.answer}`;
    throw new Error(`${what}: ${error instanceof Error ? (error.stack ?? '') : ''}`, { cause: error });
  }
  return `${one.operation}: ${told.length > 0 ? 'told' : 'done'}`;
}

/** Each request of each operation, as an undisturbed run makes them. */
async function allCases(): Promise<Case[]> {
  const cases: Case[] = [];
  for (const [name, operation] of Object.entries(OPERATIONS)) {
    await using ground = await Ground.start(operation);
    assert.deepEqual(await operation.run(ground), [], name);
    for (const [request, count] of [...ground.counts].sort())
      for (const answer of Object.keys(ANSWERS))
        for (const when of count > 1 ? (['first', 'later', 'all'] as const) : (['first', 'all'] as const))
          cases.push({ operation: name, request, when, answer });
  }
  return cases;
}

/** No divisor of the number of cases: any run of numbers meets all kinds. */
const STRIDE = 7919;

export const registry: Campaign = {
  name: 'registry',
  cases: 10_000,
  seconds: 60,
  memory: 700 * 1024 ** 2,
  prepare: async () => {
    EMPTY = join(tempFolder(), 'auth.json');
    put(EMPTY, '{}');
    TEMP = tempFolder();
    process.env['TMPDIR'] = TEMP;
    const cases = await allCases();
    for (const event of ['unhandledRejection', 'uncaughtException'])
      process.on(event, (error) => uncaught.push(error));
    return async (_, number) => {
      const one = cases[(number * STRIDE) % cases.length];
      return one === undefined ? 'none' : tryCase(one);
    };
  },
};
