import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { convert, parsePlace, type ErrorCode } from '../src/index.js';
import { proxyFor } from '../src/formats/docker/proxy.js';
import { withTags } from '../src/formats/docker/tags.js';
import { refusal } from './support/errors.js';
import { FakeRegistry, reply } from './support/fake-registry.js';
import { descriptorOf, digestText, hex, imageOf, layTree, OCI, part } from './support/images.js';
import { newPlace, place } from './support/places.js';
import { filesIn } from './support/snapshot.js';
import { tempFolder } from './support/temp.js';
import { runCampaign } from './torture/campaign.js';
import { registry as hostileRegistry } from './torture/registry.js';

const image = await imageOf('x');
const other = await imageOf('other');
const [config = image.root, layer = image.root] = image.blobs;
const MANIFEST = /GET .*manifests\/1$/;
const LAYER = new RegExp(`GET .*${layer.digest}`);
const IDLE_MS = 300;

type Act = (request: IncomingMessage, response: ServerResponse) => unknown;

/** A body that goes on for as long as somebody listens. */
function endless(head: string, status = 200): Act {
  return (_, response) => {
    response.writeHead(status, {});
    response.write(head);
    const piece = Buffer.alloc(64 * 1024, ' ');
    const more = () => {
      while (!response.destroyed && response.write(piece));
    };
    response.on('drain', more);
    more();
  };
}

function changedBytes(bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes);
  changed.writeUInt8(changed.readUInt8(5) ^ 1, 5);
  return changed;
}

const redirectTo =
  (where: string): Act =>
  (_, response) => {
    reply(response, 302, { location: where });
  };

/** What a registry does, to which requests, and what must come of it. */
const LIES: readonly (readonly [title: string, on: RegExp, act: Act, code: ErrorCode])[] = [
  [
    'a manifest that is not what its header says',
    MANIFEST,
    (_, response) => {
      reply(response, 200, { 'docker-content-digest': other.root.digest }, image.root.bytes);
    },
    'DIGEST_MISMATCH',
  ],
  [
    'a header that is no digest',
    MANIFEST,
    (_, response) => {
      reply(response, 200, { 'docker-content-digest': '../../x' }, image.root.bytes);
    },
    'REGISTRY',
  ],
  [
    'a manifest that is too large',
    MANIFEST,
    (_, response) => {
      reply(response, 200, {}, Buffer.alloc(5 << 20, ' '));
    },
    'REGISTRY',
  ],
  ['a manifest that never ends', MANIFEST, endless('{'), 'REGISTRY'],
  [
    'a manifest that is no JSON',
    MANIFEST,
    (_, response) => {
      reply(response, 200, {}, Buffer.from('<html>'));
    },
    'MANIFEST_INVALID',
  ],
  [
    'a layer with other bytes',
    LAYER,
    (_, response) => {
      reply(response, 200, {}, changedBytes(layer.bytes));
    },
    'DIGEST_MISMATCH',
  ],
  [
    'a layer that is too long, as it says',
    LAYER,
    (_, response) => {
      reply(response, 200, {}, Buffer.concat([layer.bytes, Buffer.alloc(1)]));
    },
    'DIGEST_MISMATCH',
  ],
  ['a layer that never ends', LAYER, endless(layer.bytes.toString('latin1')), 'DIGEST_MISMATCH'],
  [
    'a layer that is short',
    LAYER,
    (_, response) => {
      reply(response, 200, {}, layer.bytes.subarray(1));
    },
    'NETWORK',
  ],
  [
    'a part of a layer that was not asked for',
    LAYER,
    (_, response) => {
      reply(
        response,
        206,
        { 'content-range': `bytes 1-${layer.bytes.length - 1}/${layer.bytes.length}` },
        layer.bytes.subarray(1),
      );
    },
    'REGISTRY',
  ],
  [
    'a part without saying which',
    LAYER,
    (_, response) => {
      reply(response, 206, {}, layer.bytes);
    },
    'REGISTRY',
  ],
  [
    'a redirection to itself',
    LAYER,
    (request, response) => redirectTo(request.url ?? '')(request, response),
    'REGISTRY',
  ],
  ['a redirection to a file', LAYER, redirectTo('file:///etc/passwd'), 'REGISTRY'],
  ['a redirection that is no URL', LAYER, redirectTo('http://'), 'REGISTRY'],
  ['no answer', LAYER, () => undefined, 'NETWORK'],
  [
    'an answer that does not go on',
    LAYER,
    (_, response) => {
      response.writeHead(200, { 'content-length': layer.bytes.length });
      response.write(layer.bytes.subarray(0, 10));
    },
    'NETWORK',
  ],
  [
    'an answer that drips',
    LAYER,
    (_, response) => {
      response.writeHead(200, { 'content-length': layer.bytes.length });
      let at = 0;
      const drip = setInterval(() => response.write(layer.bytes.subarray(at, ++at)), 50);
      response.on('close', () => {
        clearInterval(drip);
      });
    },
    'NETWORK',
  ],
  [
    'interim answers without end',
    LAYER,
    (_, response) => {
      const more = setInterval(() => {
        response.writeProcessing();
      }, 50);
      response.on('close', () => {
        clearInterval(more);
      });
    },
    'NETWORK',
  ],
  [
    'a header that drips',
    LAYER,
    (_, { socket }) => {
      socket?.write('HTTP/1.1 200 OK\r\nx-long: ');
      const more = setInterval(() => socket?.write('x'), 50);
      socket?.on('close', () => {
        clearInterval(more);
      });
    },
    'NETWORK',
  ],
  [
    'a layer that is not there',
    LAYER,
    (_, response) => {
      reply(response, 404);
    },
    'BLOB_MISSING',
  ],
  ['an error without end', LAYER, endless('no', 500), 'REGISTRY'],
];

for (const [title, on, act, code] of LIES) {
  test(`a registry that gives ${title} is refused, and nothing stays`, { timeout: 20_000 }, async () => {
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
    registry.fail(on, act, 1000);
    const target = newPlace('reg');
    const { images } = await convert(parsePlace(`docker://${registry.host}`), target, {
      selectors: [{ text: 'app:1', rename: undefined, where: 'test' }],
      sourceAccess: { retryTimes: 1, retryDelay: 1, idleTimeout: IDLE_MS },
    });
    const [first] = images;
    assert.equal(first?.status, 'failed');
    assert.ok(refusal(code)(first.error));
    assert.ok(registry.asked(on).length <= 8, `${registry.asked(on).length} requests`);
    const left = filesIn(target.path).filter((name) => !name.includes('.imgconv-partial'));
    assert.deepEqual(left, []);
  });
}

describe('a list in pages', () => {
  const list = async (link: (registry: FakeRegistry) => string) => {
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
    registry.fail(
      /tags\/list/,
      (_, response) => {
        reply(response, 200, { link: link(registry) }, Buffer.from('{"tags":["1"]}'));
      },
      100,
    );
    return await convert(parsePlace(`docker://${registry.host}/app`), newPlace('dir'), {
      sourceAccess: { retryTimes: 0 },
    });
  };

  test('that goes on at another host is refused', async () => {
    await assert.rejects(
      list(() => '<http://elsewhere.invalid/x>; rel="next"'),
      refusal('REGISTRY', 'elsewhere.invalid'),
    );
  });

  test('that goes round and round is refused', async () => {
    await assert.rejects(
      list(() => '</v2/app/tags/list?n=1000>; rel="next"'),
      refusal('REGISTRY', 'do not come to an end'),
    );
  });

  test('of names that are none is not taken for paths', async () => {
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
    const body = Buffer.from(JSON.stringify({ tags: ['../../../x', '1'] }));
    registry.fail(/tags\/list/, (_, response) => {
      reply(response, 200, {}, body);
    });
    const { images } = await convert(parsePlace(`docker://${registry.host}/app`), newPlace('dir'));
    assert.deepEqual(
      images.map(({ status, error }) => error?.code ?? status),
      ['NAME_INVALID', 'written'],
    );
    assert.deepEqual(registry.asked(/\.\./), []);
  });
});

describe('lists without measure', () => {
  /** How a registry answers one kind of requests, and all tags of a repository as they come then. */
  async function tagsOf(act: Act, on = /tags\/list/) {
    const registry = await FakeRegistry.start();
    registry.fail(on, act, Infinity);
    try {
      const tags = await withTags({ retryTimes: 0 }, new AbortController().signal, (list) =>
        list(`${registry.host}/app`),
      );
      return { tags, asked: registry.seen.length };
    } catch (error) {
      return { error, asked: registry.seen.length };
    } finally {
      await registry[Symbol.asyncDispose]();
    }
  }
  const page = (names: Iterable<string>, next?: string): Act => {
    const body = Buffer.from(JSON.stringify({ tags: [...names] }));
    return (_, response) => {
      reply(response, 200, next === undefined ? {} : { link: `<${next}>; rel="next"` }, body);
    };
  };
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => `tag-${i}`);

  test('of 300,000 tags on one page are read', async () => {
    const { tags } = await tagsOf(page(numbers(300_000)));
    assert.equal(tags?.length, 300_000);
  });

  test('of 300,000 tags on 300 pages are read', async () => {
    let at = 0;
    const { tags, asked } = await tagsOf((request, response) => {
      at++;
      const names = Array.from({ length: 1000 }, (_, i) => `tag-${at}-${i}`);
      return page(names, at < 300 ? `/v2/app/tags/list?last=${at}` : undefined)(request, response);
    });
    assert.deepEqual([tags?.length, asked], [300_000, 300]);
  });

  test('of more than a million tags on one page are refused', async () => {
    const body = Buffer.from(`{"tags":["a"${',"a"'.repeat(1_500_000)}]}`);
    const { error } = await tagsOf((_, response) => {
      reply(response, 200, {}, body);
    });
    assert.ok(refusal('REGISTRY', 'more than 1000000 tags')(error));
  });

  test('of large pages without end are refused', async () => {
    const names = Array.from({ length: 20_000 }, (_, i) => `${'x'.repeat(110)}-${i}`);
    let at = 0;
    const { error, asked } = await tagsOf((request, response) =>
      page(names, `/v2/app/tags/list?last=${++at}`)(request, response),
    );
    assert.ok(refusal('REGISTRY', 'a list of more than')(error));
    assert.ok(asked < 40, `${asked} pages`);
  });

  test('of names that are no text are refused at the first', async () => {
    const body = Buffer.from(`{"tags":[1${',1'.repeat(3_000_000)}]}`);
    const before = process.memoryUsage().rss;
    const { error } = await tagsOf((_, response) => {
      reply(response, 200, {}, body);
    });
    assert.ok(refusal('REGISTRY', 'tags.0: expected a name')(error));
    assert.ok(process.memoryUsage().rss - before < 400e6);
  });

  test('whose further page is not there are an error, and not a part of the list', async () => {
    let at = 0;
    const { error } = await tagsOf((request, response) => {
      if (at++ === 0) return page(['1'], '/v2/app/tags/list?last=1')(request, response);
      reply(response, 404);
      return undefined;
    });
    assert.ok(refusal('REGISTRY', 'status 404 for a further page')(error));
  });

  test('of repositories are refused', async () => {
    const body = Buffer.from(`{"repositories":["a"${',"a"'.repeat(1_500_000)}]}`);
    await using registry = await FakeRegistry.start();
    registry.fail(/_catalog/, (_, response) => {
      reply(response, 200, {}, body);
    });
    await assert.rejects(
      convert(parsePlace(`docker://${registry.host}`), newPlace('dir')),
      refusal('REGISTRY', 'more than 1000000 repositories'),
    );
  });

  for (const [title, referrers] of [
    ['on one page', 20_000],
    ['on pages without end', 5_000],
  ] as const)
    test(`of referrers ${title} are refused`, async () => {
      await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
      const digest = (i: number) => `sha256:${i.toString(16).padStart(64, '0')}`;
      const index = (start: number) =>
        Buffer.from(
          JSON.stringify({
            schemaVersion: 2,
            mediaType: 'application/vnd.oci.image.index.v1+json',
            manifests: Array.from({ length: referrers }, (_, i) => ({
              mediaType: 'application/vnd.oci.image.manifest.v1+json',
              digest: digest(start + i),
              size: 2,
            })),
          }),
        );
      let at = 0;
      registry.fail(
        /referrers/,
        (_, response) => {
          reply(
            response,
            200,
            { link: `</v2/app/referrers/x?at=${++at}>; rel="next"` },
            index(at * referrers),
          );
        },
        Infinity,
      );
      const { images } = await convert(parsePlace(`docker://${registry.host}/app`), newPlace('dir'));
      assert.ok(refusal('REGISTRY', 'more than 10000 referrers')(images[0]?.error));
      assert.ok(registry.asked(/referrers/).length < 5);
    });

  test('of artifacts attached to artifacts without end are refused', async () => {
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
    let made = 0;
    registry.fail(
      /referrers/,
      (_, response) => {
        const type = OCI.manifest;
        const one = part(type, {
          schemaVersion: 2,
          mediaType: type,
          config: descriptorOf(config),
          layers: [],
          annotations: { made: String(made++) },
        });
        registry.manifests.get('app')?.set(one.digest, { bytes: one.bytes, type });
        const manifests = Array.from({ length: 4000 }, () => descriptorOf(one));
        const index = { schemaVersion: 2, mediaType: OCI.index, manifests };
        reply(response, 200, {}, Buffer.from(JSON.stringify(index)));
      },
      Infinity,
    );
    const { images } = await convert(parsePlace(`docker://${registry.host}/app`), newPlace('dir'));
    assert.ok(images.some(({ error }) => error?.message.includes('more than 10000 attached artifacts')));
    assert.ok(registry.asked(/referrers/).length < 10);
  });
});

/** Says that a body of so many bytes comes, and sends one now and then. */
const drips =
  (status: number, headers: Readonly<Record<string, string>> = {}): Act =>
  (_, response) => {
    response.writeHead(status, { ...headers, 'content-length': '50000' });
    const more = setInterval(() => response.write('{'), 50);
    response.on('close', () => {
      clearInterval(more);
    });
  };

for (const [title, on, act, outcome] of [
  [
    'a redirect whose body drips is followed',
    LAYER,
    drips(302, { location: `/v2/app/blobs/${layer.digest}?again` }),
    'written',
  ],
  ['an error whose body drips is an error', MANIFEST, drips(404), 'NOT_FOUND'],
  [
    'a challenge whose body drips is taken',
    MANIFEST,
    drips(401, { 'www-authenticate': 'Basic realm="x"' }),
    'UNAUTHORIZED',
  ],
  ['a manifest that drips is given up', MANIFEST, drips(200), 'NETWORK'],
] as const)
  test(`${title} in time`, { timeout: 20_000 }, async () => {
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
    registry.fail(on, act, title.startsWith('a redirect') ? 1 : 10);
    const since = Date.now();
    const { images } = await convert(parsePlace(`docker://${registry.host}`), newPlace('dir'), {
      selectors: [{ text: 'app:1', rename: undefined, where: 'test' }],
      sourceAccess: { retryTimes: 1, retryDelay: 1, idleTimeout: IDLE_MS },
    });
    assert.deepEqual(
      images.map(({ status, error }) => error?.code ?? status),
      [outcome],
    );
    assert.ok(Date.now() - since < 10_000);
  });

describe('a push', () => {
  const large = (size: number) => imageOf('large', { base: Buffer.alloc(size, 'x'), compress: false });
  const path = (n: number) => `/v2/app/blobs/uploads/${n}`;

  /** What becomes of pushing to a registry that answers uploads so; how often it began, and was asked in all. */
  async function pushed(
    size: number,
    answer: (
      request: IncomingMessage,
      asked: number,
    ) => [status: number, range?: string | undefined, least?: number],
  ) {
    await using source = (await FakeRegistry.start()).add({ 'app:1': await large(size) });
    await using registry = await FakeRegistry.start();
    let asked = 0;
    registry.fail(
      /blobs\/uploads/,
      async (request, response) => {
        for await (const _ of request);
        const [status, range, least = 0] = answer(request, ++asked);
        const headers = { location: path(asked), ...(range !== undefined && { range }) };
        reply(response, status, { ...headers, 'oci-chunk-min-length': String(least) });
      },
      Infinity,
    );
    const { images } = await convert(
      parsePlace(`docker://${source.host}`),
      parsePlace(`docker://${registry.host}`),
      {
        selectors: [{ text: 'app:1', rename: undefined, where: 'test' }],
        targetAccess: { retryTimes: 2, retryDelay: 1 },
      },
    );
    const blobs = images[0]?.status === 'failed' ? 3 : 0;
    return { error: images[0]?.error, asked: asked / blobs, begun: registry.asked(/^POST/).length / blobs };
  }

  test(
    'to a registry that asks for a broken number of bytes in a chunk ends',
    { timeout: 60_000 },
    async () => {
      const { error, asked } = await pushed(9 << 20, ({ method }) =>
        method === 'POST' ? [202, undefined, 8_388_608.5] : method === 'PUT' ? [413] : [202],
      );
      assert.equal(error?.code, 'REGISTRY');
      assert.ok(asked < 40, `${asked} requests`);
    },
  );

  test('to a registry that takes a chunk and then loses all of it ends', { timeout: 60_000 }, async () => {
    let patched = 0;
    const { error, asked, begun } = await pushed(9 << 20, ({ method }) => {
      if (method === 'POST') return [202];
      if (method === 'PUT') return [413];
      if (method === 'GET') return [404];
      return patched++ % 2 === 0 ? [202] : [500];
    });
    assert.ok(refusal('REGISTRY')(error));
    assert.ok(begun <= 12 && asked < 60, `begun ${begun}, asked ${asked}`);
  });

  test('to a registry that asks for large chunks and refuses them ends', { timeout: 60_000 }, async () => {
    const { error, begun } = await pushed(9 << 20, ({ method }) => [
      method === 'POST' ? 202 : 413,
      undefined,
      64 << 20,
    ]);
    assert.ok(refusal('REGISTRY')(error));
    assert.ok(begun <= 12, `begun ${begun}`);
  });

  test('to a registry that never answers one way ends', { timeout: 120_000 }, async () => {
    // Each order of answers comes from its number alone.
    for (let n = 0; n < 8; n++) {
      const {
        error,
        begun,
        asked: count,
      } = await pushed(2 << 20, ({ method }, asked) => {
        const choice = (n * 2654435761 + asked * 40503 * (n + 1)) >>> 7;
        const of = (...answers: readonly [number, string?][]) => answers[choice % answers.length] ?? [500];
        if (method === 'POST') return of([202], [202], [202], [500]);
        if (method === 'GET')
          return of([404], [204, '0-1048575'], [204, '0-9'], [500], [204, '0-99999999999']);
        if (method === 'PATCH') return of([202], [202, '0-5'], [413], [416], [500], [404]);
        return of([413], [500], [404], [416], [503]);
      });
      assert.ok(error !== undefined);
      assert.ok(begun <= 40 && count < 400, `${n}: begun ${begun}, asked ${count}`);
    }
  });
});

test('a registry that says it stored something else is an error', async () => {
  await using registry = await FakeRegistry.start();
  await using source = (await FakeRegistry.start()).add({ 'app:1': image });
  registry.fail(/^PUT .*blobs/, async (request, response) => {
    for await (const _ of request);
    reply(response, 201, { 'docker-content-digest': digestText(Buffer.from('x')) });
  });
  const { images } = await convert(
    parsePlace(`docker://${source.host}`),
    parsePlace(`docker://${registry.host}`),
  );
  assert.ok(refusal('DIGEST_MISMATCH')(images[0]?.error));
  assert.equal(registry.manifests.size, 0);
});

test('plain HTTP is for this machine alone, unless it is asked for', async () => {
  const from = parsePlace('docker://registry.invalid:5000/app:1');
  const selectors = [{ text: from.reference ?? '', rename: undefined, where: 'test' }];
  await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
  const proxy = process.env['HTTP_PROXY'];
  process.env['HTTP_PROXY'] = registry.url;
  try {
    await convert(from, newPlace('dir'), { selectors, sourceAccess: { retryTimes: 0 } }).catch(
      () => undefined,
    );
    assert.deepEqual(registry.seen, []);
  } finally {
    if (proxy === undefined) delete process.env['HTTP_PROXY'];
    else process.env['HTTP_PROXY'] = proxy;
  }
  await assert.rejects(async () => {
    const { images } = await convert(parsePlace(`docker://${registry.host}/app`), newPlace('dir'), {
      sourceAccess: { tlsVerify: true, retryTimes: 0 },
    });
    throw images[0]?.error ?? new Error('done');
  }, refusal('NETWORK'));
  assert.deepEqual(registry.seen, []);
});

describe('a mirror', () => {
  test('is asked first, and the registry for what it lacks', async () => {
    await using mirror = (await FakeRegistry.start()).add({ 'app:1': image });
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image, 'app:2': other });
    const mirrors = { [registry.host]: mirror.url };
    const selectors = ['app:1', 'app:2'].map((text) => ({ text, rename: undefined, where: 'test' }));
    const { images } = await convert(parsePlace(`docker://${registry.host}`), newPlace('dir'), {
      selectors,
      extras: false,
      sourceAccess: { mirrors },
    });
    assert.deepEqual(
      images.map(({ status }) => status),
      ['written', 'written'],
    );
    assert.deepEqual(registry.asked(new RegExp(`manifests/1|${config.digest}`)), []);
  });

  /** Pulls these, with what is attached, from a mirror of a registry that answers nothing to what fits `lost`. */
  async function pulled(names: readonly string[], lost: RegExp) {
    const signature = `app:sha256-${hex(image.root.digest)}.sig`;
    await using mirror = (await FakeRegistry.start()).add({
      'app:1': image,
      'app:2': other,
      [signature]: other,
    });
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image, 'app:3': other });
    registry.fail(lost, (_, response) => response.destroy(), Infinity);
    const tree = newPlace('dir');
    const { images } = await convert(parsePlace(`docker://${registry.host}`), tree, {
      selectors: names.map((text) => ({ text, rename: undefined, where: 'test' })),
      sourceAccess: { mirrors: { [registry.host]: mirror.url }, retryTimes: 1, retryDelay: 1 },
    });
    const outcomes = images.map(({ name, status, error }) => [name, error?.code ?? status]);
    return { host: registry.host, images, outcomes, asked: registry.asked(/./), signature };
  }

  test('without a way to the registry gives what it has of what is attached, and says so', async () => {
    const { host, images, outcomes, asked, signature } = await pulled(['app:1', 'app:2'], /./);
    assert.deepEqual(outcomes, [
      ['app:1', 'written'],
      ['app:2', 'written'],
      [signature, 'written'],
    ]);
    const note = `${host} cannot be reached: of what is attached only what its mirror has comes along`;
    for (const { notes } of images) assert.ok(notes.includes(note), notes.join());
    const second = new RegExp(hex(other.root.digest));
    assert.deepEqual(
      asked.filter((line) => second.test(line)),
      [],
      'it is waited for again',
    );
  });

  test('does not stand for the registry where an image itself, or one that answers, is lost', async () => {
    const failures = async (lost: RegExp) =>
      (await pulled(['app:1', 'app:3'], lost)).images.flatMap(({ source, error }) =>
        error === undefined ? [] : `${source.slice(source.indexOf('app'))} ${error.code}`,
      );
    assert.deepEqual(await failures(/./), ['app:3 NETWORK']);
    assert.deepEqual(await failures(/sha256/), ['app:1 NETWORK', 'app:3 NETWORK']);
  });
});

test('a proxy that closes the connection is an error, and is not asked without end', async () => {
  await using proxy = await FakeRegistry.start();
  const earlier = process.env['HTTPS_PROXY'];
  process.env['HTTPS_PROXY'] = proxy.url;
  try {
    const from = parsePlace('docker://registry.invalid/app');
    const sourceAccess = { retryTimes: 1, retryDelay: 1 };
    await assert.rejects(
      convert(from, newPlace('dir'), { sourceAccess }),
      refusal('NETWORK', 'the proxy does not connect'),
    );
  } finally {
    if (earlier === undefined) delete process.env['HTTPS_PROXY'];
    else process.env['HTTPS_PROXY'] = earlier;
  }
});

test('proxies and their exceptions are those that the environment names', () => {
  const env = {
    HTTPS_PROXY: 'http://proxy:3128',
    http_proxy: 'plain:80',
    NO_PROXY: 'a.b, .c.d,10.0.0.0/8,e:444',
  };
  for (const [url, proxy] of [
    ['https://x.y/', 'http://proxy:3128'],
    ['http://x.y/', 'http://plain:80'],
    ['https://a.b/', undefined],
    ['https://z.a.b/', undefined],
    ['https://za.b/', 'http://proxy:3128'],
    ['https://x.c.d/', undefined],
    ['https://10.1.2.3/', undefined],
    ['https://11.1.2.3/', 'http://proxy:3128'],
    ['https://e:444/', undefined],
    ['https://e/', 'http://proxy:3128'],
  ] as const)
    assert.equal(proxyFor(new URL(url), env), proxy, url);
  assert.equal(proxyFor(new URL('https://x'), { ...env, NO_PROXY: '*' }), undefined);
  assert.equal(proxyFor(new URL('https://x'), {}), undefined);
});

for (const [title, on, act] of [
  ['blob', LAYER, redirectTo('http://127.0.0.1:1/elsewhere')],
  [
    'upload',
    /POST/,
    (_, response) => {
      reply(response, 202, { location: 'http://127.0.0.1:1/elsewhere' });
    },
  ],
] satisfies [string, RegExp, Act][])
  test(`what fails at a host that a registry redirects to names the registry, too: ${title}`, async () => {
    await using registry = (await FakeRegistry.start()).add({ 'app:1': image });
    registry.fail(on, act, Infinity);
    const there = parsePlace(`docker://${registry.host}`);
    const access = { retryTimes: 0, idleTimeout: IDLE_MS };
    const { images } =
      title === 'blob'
        ? await convert(there, newPlace('dir'), { sourceAccess: access })
        : await convert(place('dir', layTree(tempFolder(), { 'app:2': other })), there, {
            targetAccess: access,
          });
    assert.ok(
      refusal('NETWORK', registry.host, 'redirected to http://127.0.0.1:1/elsewhere')(images[0]?.error),
      images[0]?.error?.message,
    );
  });

test('requests that are answered in every bad way: nothing hangs, no secret is shown', async () => {
  const failed: string[] = [];
  const { tally } = await runCampaign(hostileRegistry, 'short', {
    from: 0,
    to: 48,
    onFailed: ({ number, why }) => {
      failed.push(`npm run test:hostile -- registry --seed short --only ${number}: ${why}`);
    },
  });
  assert.deepEqual(failed, []);
  assert.ok(tally.size > 10, [...tally.keys()].join());
});
