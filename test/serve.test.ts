import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, afterEach, describe, test } from 'node:test';
import { parseDigest } from '../src/model/digest.js';
import { parseManifest } from '../src/model/manifest.js';
import type { Exchange } from '../src/serve/exchange.js';
import { RegistryBackend } from '../src/serve/registry-backend.js';
import { Uploads } from '../src/serve/uploads.js';
import { LocalStorage } from '../src/storage/local.js';
import { claimsOn } from '../src/storage/staging.js';
import { imgconv } from './support/cli.js';
import { digestsOf, fixture, syncTree, unpacked } from './support/fixtures.js';
import { DOCKER, imageOf, indexOf, layStore, layTree, OCI, part, storedBlob } from './support/images.js';
import { readIndex, referrerOf } from './support/layouts.js';
import { start, until } from './support/processes.js';
import { closeServed, served, TestClient } from './support/served.js';
import { filesIn, stagingIn } from './support/snapshot.js';
import { tempFolder } from './support/temp.js';
import { killServer } from './torture/serve.js';

afterEach(closeServed);
after(closeServed);

const JSON_TYPE = { 'content-type': 'application/json' };

interface Errors {
  readonly errors: readonly { readonly code: string; readonly message: string }[];
}

async function refused(response: Response, status: number, code: string): Promise<string> {
  const body = await response.text();
  assert.equal(response.status, status, body);
  const [error] = (JSON.parse(body) as Errors).errors;
  assert.equal(error?.code, code);
  return error.message;
}

async function names(client: TestClient): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const { repositories } = (await client.json('_catalog')) as { repositories: string[] };
  for (const repository of repositories) {
    const { tags } = (await client.json(`${repository}/tags/list`)) as { tags: string[] };
    for (const tag of tags) found[`${repository}:${tag}`] = await client.pull(repository, tag);
  }
  return found;
}

describe('every format is served as it lies, with the digests that its tools say', () => {
  const places: Record<string, [string, string]> = {
    'registry storage': [unpacked('registry.tar'), 'registry.tar'],
    'an OCI layout': [unpacked('oci.tar'), 'oci.tar'],
    'an OCI archive': [`oci-archive:${fixture('oci.tar')}`, 'oci.tar'],
    'a skopeo tree': [syncTree(), 'sync.tar'],
    'an archive of Docker 28 with its own digests': [fixture('containerd28.tar'), 'containerd28.tar'],
  };
  for (const [what, [place, tools]] of Object.entries(places))
    test(what, async () => {
      const { client } = await served(place);
      const found = await names(client);
      for (const [name, digest] of Object.entries(digestsOf(tools)))
        if (!name.includes('@')) assert.equal(found[name.replace(/^[^/]*[.:][^/]*\//, '')], digest, name);
    });

  for (const file of [
    'docker20.tar',
    'docker28.tar',
    'legacy-v1.tar',
    'podman.tar',
    'jib.tar',
    'nix-image.tar.gz',
  ])
    test(`${file}, whose images have no digest of their own: the one of tar2reg --compression keep`, async () => {
      const store = join(tempFolder(), 'store');
      const { status } = await imgconv(['tar2reg', fixture(file), store, '--compression', 'keep']);
      assert.equal(status, 0);
      const [served1, served2] = [await served(fixture(file)), await served(store)];
      const found = await names(served1.client);
      assert.ok(Object.keys(found).length > 0);
      assert.deepEqual(found, await names(served2.client));
    });

  test('an image without a name can be pulled by its digest', async () => {
    const { client } = await served(fixture('docker20-untagged.tar'));
    const { stdout } = await imgconv(['ls', fixture('docker20-untagged.tar'), '--json=lines']);
    const images = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { digest: string });
    assert.ok(images.length > 0);
    for (const { digest } of images) assert.equal(await client.pull('docker20-untagged', digest), digest);
  });

  test('several places are one registry; the first one that has a name goes before', async () => {
    const [one, two] = [await imageOf('one'), await imageOf('two')];
    const stores = [
      layStore(tempFolder(), { 'a/app:1': one }),
      layStore(tempFolder(), { 'a/app:1': two, 'a/app:2': two }),
    ];
    const { client } = await served(stores);
    assert.equal(await client.pull('a/app', '1'), one.root.digest);
    assert.deepEqual(await client.json('a/app/tags/list'), { name: 'a/app', tags: ['1', '2'] });
  });

  test('alpine is library/alpine, and the other way round', async () => {
    const one = await imageOf('one');
    const { client } = await served([layStore(tempFolder(), { 'library/alpine:1': one, 'busy:1': one })]);
    assert.equal(await client.pull('alpine', '1'), one.root.digest);
    assert.equal(await client.pull('library/busy', '1'), one.root.digest);
    await refused(await client.ask('GET', 'other/alpine/manifests/1'), 404, 'MANIFEST_UNKNOWN');
  });

  test('a tree that grows is looked at again', async () => {
    const tree = layTree(tempFolder(), { 'a/app:1': await imageOf('one') });
    const { client } = await served(tree);
    assert.deepEqual(Object.keys(await names(client)), ['a/app:1']);
    const two = await imageOf('two');
    layTree(tree, { 'b/app:1': two });
    let status = 404;
    for (const until = Date.now() + 20_000; status === 404 && Date.now() < until;) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      ({ status } = await client.ask('GET', 'b/app/manifests/1'));
    }
    assert.equal(await client.pull('b/app', '1'), two.root.digest);
  });
});

describe('reading', () => {
  async function reading() {
    const image = await imageOf('x'.repeat(5000), { compress: false });
    const store = layStore(tempFolder(), {
      'a/app:1': image,
      'a/app:2': image,
      'a/app:10': image,
      'b/c:1': image,
    });
    return { image, store, ...(await served(store)) };
  }

  test('tags and repositories come in pages', async () => {
    const { client } = await reading();
    const first = await client.ask('GET', 'a/app/tags/list?n=2');
    assert.deepEqual(await first.json(), { name: 'a/app', tags: ['1', '10'] });
    const [, next = ''] = /^<(.*)>; rel="next"$/.exec(first.headers.get('link') ?? '') ?? [];
    const second = await client.ask('GET', next);
    assert.deepEqual(await second.json(), { name: 'a/app', tags: ['2'] });
    assert.equal(second.headers.get('link'), null);
    assert.deepEqual(await client.json('a/app/tags/list?n=0'), { name: 'a/app', tags: [] });
    assert.deepEqual(await client.json('_catalog?n=1'), { repositories: ['a/app'] });
    assert.deepEqual(await client.json('_catalog?n=1&last=a/app'), { repositories: ['b/c'] });
    await refused(await client.ask('GET', '_catalog?n=x'), 400, 'UNSUPPORTED');
  });

  test('HEAD says what GET would', async () => {
    const { client, image } = await reading();
    for (const path of ['a/app/manifests/1', `a/app/blobs/${image.blobs[0]?.digest ?? ''}`]) {
      const [head, get] = [await client.ask('HEAD', path), await client.ask('GET', path)];
      assert.equal(head.status, 200);
      for (const name of ['content-length', 'content-type', 'docker-content-digest', 'etag'])
        assert.equal(head.headers.get(name), get.headers.get(name), name);
      assert.equal((await head.arrayBuffer()).byteLength, 0);
    }
    const ETag = { 'if-none-match': `"${image.root.digest}"` };
    assert.equal((await client.ask('GET', 'a/app/manifests/1', { headers: ETag })).status, 304);
  });

  test('parts of a blob', async () => {
    const { client, image } = await reading();
    const layer = image.blobs.at(-1);
    assert.ok(layer);
    const { bytes, digest } = layer;
    const size = bytes.length;
    const cases: [string, number, Buffer, string?][] = [
      ['bytes=0-9', 206, bytes.subarray(0, 10), `bytes 0-9/${size}`],
      ['bytes=100-', 206, bytes.subarray(100), `bytes 100-${size - 1}/${size}`],
      ['bytes=-7', 206, bytes.subarray(-7), `bytes ${size - 7}-${size - 1}/${size}`],
      [`bytes=0-${size * 2}`, 206, bytes, `bytes 0-${size - 1}/${size}`],
      ['bytes=0-1,5-6', 200, bytes],
      ['lines=1-2', 200, bytes],
    ];
    for (const [range, status, expected, said] of cases) {
      const response = await client.ask('GET', `a/app/blobs/${digest}`, { headers: { range } });
      assert.equal(response.status, status, range);
      assert.equal(response.headers.get('content-range'), said ?? null);
      assert.ok(Buffer.from(await response.arrayBuffer()).equals(expected), range);
    }
    const beyond = await client.ask('GET', `a/app/blobs/${digest}`, { headers: { range: `bytes=${size}-` } });
    assert.equal(beyond.headers.get('content-range'), `bytes */${size}`);
    await refused(beyond, 416, 'RANGE_INVALID');
  });

  test('names and digests that are none are refused, and lead nowhere', async () => {
    const { client, store } = await reading();
    writeFileSync(join(store, 'secret'), 'secret');
    await refused(await client.ask('GET', 'A/app/manifests/1'), 400, 'NAME_INVALID');
    await refused(await client.ask('GET', 'a/..%2f..%2fsecret/manifests/1'), 400, 'NAME_INVALID');
    await refused(await client.ask('GET', `a/app/blobs/sha256:..%2f..%2fsecret`), 400, 'DIGEST_INVALID');
    await refused(await client.ask('GET', 'a/app/manifests/..%2f..%2f..%2fsecret'), 404, 'MANIFEST_UNKNOWN');
    await refused(await client.ask('GET', 'a/app/manifests/%ff'), 400, 'NAME_INVALID');
    await refused(await client.ask('GET', 'a/app/nothing'), 404, 'UNSUPPORTED');
    await refused(await client.ask('PUT', 'a/app/manifests/1', { body: '{}' }), 405, 'UNSUPPORTED');
    await refused(await client.ask('POST', 'a/app/blobs/uploads/'), 405, 'UNSUPPORTED');
    await refused(await client.ask('DELETE', 'a/app/manifests/1'), 405, 'UNSUPPORTED');
  });

  test('a damaged blob is never sent whole; another copy of it is not taken for it', async () => {
    const { client, image, store, log } = await reading();
    const digest = image.blobs.at(-1)?.digest ?? '';
    const path = storedBlob(store, digest);
    const bytes = readFileSync(path);
    await client.bytes(`a/app/blobs/${digest}`, digest);
    bytes.writeUInt8(bytes.readUInt8(9) ^ 1, 9);
    writeFileSync(path, bytes);
    for (const headers of [{}, { range: 'bytes=1-' }])
      await assert.rejects(async () =>
        (await client.ask('GET', `a/app/blobs/${digest}`, { headers })).arrayBuffer(),
      );
    await until('the log', () =>
      log.some(({ error = '' }) => error.includes('DIGEST') || error.includes(digest)),
    );
  });

  test('referrers: by type, with the old tag as well, nothing for what has none', async () => {
    const image = await imageOf('subject');
    const [one, two] = [referrerOf(image.root, 'one'), referrerOf(image.root, 'two')];
    const folder = join(tempFolder(), 'layout');
    const { client } = await served(`oci:${folder}`, { writable: true });
    await client.push('a/app', image, '1');
    for (const sample of [one, two]) await client.push('a/app', sample, sample.root.digest);
    const list = async (query = '') =>
      (await client.json(`a/app/referrers/${image.root.digest}${query}`)) as {
        mediaType: string;
        manifests: { digest: string; artifactType: string; size: number }[];
      };
    const all = await list();
    assert.equal(all.mediaType, OCI.index);
    assert.deepEqual(
      all.manifests.map(({ digest }) => digest),
      [one.root.digest, two.root.digest].sort(),
    );
    const type = all.manifests[0]?.artifactType ?? '';
    assert.ok(type !== '');
    const filtered = await client.ask('GET', `a/app/referrers/${image.root.digest}?artifactType=none/such`);
    assert.equal(filtered.headers.get('oci-filters-applied'), 'artifactType');
    assert.deepEqual(((await filtered.json()) as { manifests: [] }).manifests, []);
    assert.equal((await list(`?artifactType=${encodeURIComponent(type)}`)).manifests.length, 2);
    assert.deepEqual(await client.json(`a/app/referrers/${one.root.digest}`), {
      schemaVersion: 2,
      mediaType: OCI.index,
      manifests: [],
    });
  });
});

test('what a manifest needs is looked for while no garbage can be collected', async () => {
  const root = tempFolder();
  const { writes } = await RegistryBackend.open(new LocalStorage(root), true);
  const bytes = Buffer.from('{}');
  const manifest = {
    digest: parseDigest(part('x', bytes).digest, 'test'),
    bytes,
    manifest: parseManifest((await imageOf('one')).root.bytes, 'test'),
  };
  const store = join(root, 'docker/registry/v2');
  let claims = 0;
  await writes?.putManifest('a/app', manifest, ['1'], () => {
    claims = claimsOn(store).length;
    return Promise.resolve();
  });
  assert.equal(claims, 1);
  assert.equal(claimsOn(store).length, 0);
});

test('an upload takes nothing after its last request, from one that waited for it neither', async () => {
  const uploads = new Uploads();
  const path = join(tempFolder(), 'upload');
  const upload = uploads.begin('a/app', 'sha256', () => path);
  const exchangeOf = (text: string) =>
    ({
      request: { destroy: () => undefined },
      async *body() {
        await new Promise(setImmediate);
        yield Buffer.from(text);
      },
    }) as unknown as Exchange;
  const last = upload.take(exchangeOf('all'), 100, true);
  const waiting = upload.take(exchangeOf(' and more'), 100);
  await last;
  await assert.rejects(waiting, /no upload/);
  await assert.rejects(upload.take(exchangeOf(' and more'), 100), /no upload/);
  assert.throws(() => uploads.get('a/app', upload.id), /no upload/);
  assert.equal(readFileSync(path, 'utf8'), 'all');
});

for (const kind of ['reg', 'oci'])
  describe(`pushing into ${kind}:`, () => {
    async function pushing(options: { sparse?: boolean; maxUpload?: number } = {}) {
      const store = join(tempFolder(), 'store');
      return { store, ...(await served(`${kind}:${store}`, { writable: true, ...options })) };
    }

    test('an index, twice, and it is a store that imgconv finds sound', async () => {
      const index = indexOf([await imageOf('one'), await imageOf('two', { platform: 'linux/arm64' })]);
      const { client, store, close } = await pushing();
      await client.push('a/app', index, '1');
      await client.push('a/app', index, '1');
      const other = await imageOf('sha512', { algorithm: 'sha512' });
      await client.push('a/app', other, `${other.root.digest}?tag=512`);
      assert.equal(await client.pull('a/app', '1'), index.root.digest);
      const verified = await imgconv(['verify', store, '--deep']);
      assert.equal(verified.status, 0, verified.stdout);
      const { stdout } = await imgconv(['ls', store, '-q']);
      assert.deepEqual(stdout.trim().split('\n'), ['a/app:1', 'a/app:512']);
      await close(0);
      assert.deepEqual(stagingIn(store), []);
    });

    test('a tag that moves leaves what it named to be pulled by its digest; deletes', async () => {
      const [one, two] = [await imageOf('one'), await imageOf('two')];
      const { client } = await pushing();
      await client.push('a/app', one, '1');
      await client.push('a/app', two, '1');
      assert.equal(await client.pull('a/app', '1'), two.root.digest);
      assert.equal(await client.pull('a/app', one.root.digest), one.root.digest);
      assert.equal((await client.ask('DELETE', 'a/app/manifests/1')).status, 202);
      await refused(await client.ask('GET', 'a/app/manifests/1'), 404, 'MANIFEST_UNKNOWN');
      assert.equal(await client.pull('a/app', two.root.digest), two.root.digest);
      assert.equal((await client.ask('DELETE', `a/app/manifests/${two.root.digest}`)).status, 202);
      await refused(await client.ask('GET', `a/app/manifests/${two.root.digest}`), 404, 'MANIFEST_UNKNOWN');
      await refused(
        await client.ask('DELETE', `a/app/manifests/${two.root.digest}`),
        404,
        'MANIFEST_UNKNOWN',
      );
      await refused(await client.ask('DELETE', 'a/app/manifests/nope'), 404, 'MANIFEST_UNKNOWN');
    });

    test('chunks: in order only; their state can be asked for; cancelled ones are gone', async () => {
      const { client, store } = await pushing();
      const blob = part('x', Buffer.from('0123456789'));
      const begun = await client.ask('POST', 'a/app/blobs/uploads/');
      const place = begun.headers.get('location') ?? '';
      const send = (from: number, to: number) =>
        client.ask('PATCH', place, {
          body: blob.bytes.subarray(from, to),
          headers: { 'content-range': `${from}-${to - 1}` },
        });
      assert.equal((await send(0, 4)).headers.get('range'), '0-3');
      const wrong = await send(6, 8);
      assert.equal(wrong.headers.get('range'), '0-3');
      await refused(wrong, 416, 'RANGE_INVALID');
      await refused(await send(0, 4), 416, 'RANGE_INVALID');
      assert.equal((await client.ask('GET', place)).headers.get('range'), '0-3');
      assert.equal((await send(4, 7)).headers.get('range'), '0-6');
      const end = await client.ask('PUT', `${place}?digest=${blob.digest}`, { body: blob.bytes.subarray(7) });
      assert.equal(end.status, 201);
      assert.ok((await client.bytes(`a/app/blobs/${blob.digest}`, blob.digest)).equals(blob.bytes));
      await refused(await client.ask('GET', place), 404, 'BLOB_UPLOAD_UNKNOWN');
      const other = (await client.ask('POST', 'a/app/blobs/uploads/')).headers.get('location') ?? '';
      await client.ask('PATCH', other, { body: 'half' });
      await refused(await client.ask('GET', other.replace('a/app', 'a/other')), 404, 'BLOB_UPLOAD_UNKNOWN');
      assert.equal((await client.ask('DELETE', other)).status, 204);
      await refused(await client.ask('PATCH', other, { body: 'half' }), 404, 'BLOB_UPLOAD_UNKNOWN');
      assert.ok(!filesIn(store).some((path) => readFileSync(join(store, path)).toString() === 'half'));
    });

    test('what is not what its digest says is refused, and nothing of it stays', async () => {
      const { client, store } = await pushing();
      const [image, other] = [await imageOf('one'), part('x', Buffer.from('other'))];
      const [blob] = image.blobs;
      assert.ok(blob);
      await refused(await client.pushBlob('a/app', { ...blob, bytes: other.bytes }), 400, 'DIGEST_INVALID');
      await refused(
        await client.ask('POST', `a/app/blobs/uploads/?digest=${blob.digest}`, { body: other.bytes }),
        400,
        'DIGEST_INVALID',
      );
      await refused(await client.ask('GET', `a/app/blobs/${blob.digest}`), 404, 'BLOB_UNKNOWN');
      await refused(await client.pushManifest('a/app', image.root, other.digest), 400, 'DIGEST_INVALID');
      await refused(await client.pushManifest('a/app', image.root, '1'), 400, 'MANIFEST_BLOB_UNKNOWN');
      await refused(await client.pushManifest('a/app', image.root, '-x'), 400, 'TAG_INVALID');
      await refused(
        await client.ask('PUT', 'a/app/manifests/1', { body: '{', headers: JSON_TYPE }),
        400,
        'MANIFEST_INVALID',
      );
      const both = part(DOCKER.manifest, {
        schemaVersion: 2,
        mediaType: DOCKER.manifest,
        config: {},
        layers: [],
        manifests: [],
      });
      await refused(await client.pushManifest('a/app', both, '1'), 400, 'MANIFEST_INVALID');
      assert.deepEqual(
        filesIn(store).filter((path) => !/^(?:\.imgconv-|oci-layout$|index\.json$)/.test(path)),
        [],
      );
    });

    test('a layer of another size than the manifest says is refused', async () => {
      const { client } = await pushing();
      const image = await imageOf('one');
      for (const blob of image.blobs) await client.pushBlob('a/app', blob);
      const said = JSON.parse(image.root.bytes.toString()) as { layers: { size: number }[] };
      const [layer] = said.layers;
      assert.ok(layer);
      layer.size++;
      await refused(
        await client.pushManifest('a/app', part(DOCKER.manifest, said), '1'),
        400,
        'MANIFEST_INVALID',
      );
    });

    test('an index whose members are not there is refused, and taken when it is asked so', async () => {
      const index = indexOf([await imageOf('one'), await imageOf('two', { platform: 'linux/arm64' })]);
      const strict = await pushing();
      await refused(await strict.client.pushManifest('a/app', index.root, '1'), 400, 'MANIFEST_BLOB_UNKNOWN');
      const { client } = await pushing({ sparse: true });
      assert.equal((await client.pushManifest('a/app', index.root, '1')).status, 201);
    });

    test('a blob is mounted from another repository, and not from one that lacks it', async () => {
      const { client } = await pushing();
      const blob = part('x', Buffer.from('blob'));
      await client.pushBlob('a/app', blob);
      const mount = (query: string) =>
        client.ask('POST', `b/app/blobs/uploads/?mount=${blob.digest}${query}`);
      assert.equal((await mount('&from=a/app')).status, 201);
      assert.ok((await client.bytes(`b/app/blobs/${blob.digest}`)).equals(blob.bytes));
      assert.equal((await client.ask('POST', `c/app/blobs/uploads/?mount=${blob.digest}`)).status, 201);
      const outside = await client.ask('POST', `b/app/blobs/uploads/?mount=${blob.digest}&from=..%2f..%2fx`);
      assert.equal(outside.status, 202);
      const missing = part('x', Buffer.from('missing'));
      assert.equal(
        (await client.ask('POST', `b/app/blobs/uploads/?mount=${missing.digest}&from=a/app`)).status,
        202,
      );
    });

    test('a blob is deleted', async () => {
      const { client } = await pushing();
      const blob = part('x', Buffer.from('blob'));
      await client.pushBlob('a/app', blob);
      assert.equal((await client.ask('DELETE', `a/app/blobs/${blob.digest}`)).status, 202);
      await refused(await client.ask('GET', `a/app/blobs/${blob.digest}`), 404, 'BLOB_UNKNOWN');
      await refused(await client.ask('DELETE', `a/app/blobs/${blob.digest}`), 404, 'BLOB_UNKNOWN');
    });

    test('limits: of a blob, of a manifest', async () => {
      const { client } = await pushing({ maxUpload: 1000 });
      const large = part('x', Buffer.alloc(1001));
      await refused(await client.pushBlob('a/app', large), 413, 'SIZE_INVALID');
      assert.equal((await client.pushBlob('a/app', part('x', Buffer.alloc(1000)))).status, 201);
      const body = Buffer.alloc(5 * 1024 * 1024, ' ');
      await refused(
        await client.ask('PUT', 'a/app/manifests/1', { body, headers: JSON_TYPE }),
        413,
        'SIZE_INVALID',
      );
    });

    test('a body without a length that is too large is told so, and does not end the connection before', async () => {
      const { client, url } = await pushing({ maxUpload: 1000 });
      const place = (await client.ask('POST', 'a/app/blobs/uploads/')).headers.get('location') ?? '';
      const status = await new Promise<number>((resolve, reject) => {
        const sending = request(new URL(place, url), { method: 'PATCH' }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        }).on('error', reject);
        sending.write(Buffer.alloc(800));
        setTimeout(() => sending.write(Buffer.alloc(800)), 20);
      });
      assert.equal(status, 413);
    });

    test('what comes to an upload while it becomes a blob is not in the blob', async () => {
      const { client } = await pushing();
      for (let turn = 0; turn < 20; turn++) {
        const blob = part('x', Buffer.from(`blob ${turn}`));
        const place = (await client.ask('POST', 'a/app/blobs/uploads/')).headers.get('location') ?? '';
        await client.ask('PATCH', place, { body: blob.bytes });
        const [put, patch, again] = await Promise.all([
          client.ask('PUT', `${place}?digest=${blob.digest}`),
          client.ask('PATCH', place, { body: 'more' }),
          client.ask('PUT', `${place}?digest=${blob.digest}`),
        ]);
        await Promise.all([put, patch, again].map((response) => response.arrayBuffer()));
        const there = await client.ask('HEAD', `a/app/blobs/${blob.digest}`);
        if (put.status === 201 || again.status === 201) assert.equal(there.status, 200);
        if (there.status === 200) await client.bytes(`a/app/blobs/${blob.digest}`, blob.digest);
      }
    });

    test('a request that breaks off keeps what came; the client goes on with the next', async () => {
      const { client, host } = await pushing();
      const blob = part('x', Buffer.from('0123456789'));
      const place = (await client.ask('POST', 'a/app/blobs/uploads/')).headers.get('location') ?? '';
      const [name = '', port = ''] = host.split(':');
      const socket = connect(Number(port), name);
      socket.on('error', () => undefined);
      socket.write(`PATCH ${place} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234`);
      let range = '';
      while (range !== '0-4') {
        await new Promise((resolve) => setTimeout(resolve, 20));
        range = (await client.ask('GET', place)).headers.get('range') ?? '';
      }
      // The first connection is still open, as behind a proxy that lost its client.
      const rest = await client.ask('PATCH', place, {
        body: blob.bytes.subarray(5),
        headers: { 'content-range': '5-9' },
      });
      assert.equal(rest.headers.get('range'), '0-9');
      assert.equal((await client.ask('PUT', `${place}?digest=${blob.digest}`)).status, 201);
      socket.destroy();
    });

    test('imgconv push and save through it, and gc beside it keeps what was just pushed', async () => {
      const { client, host, store } = await pushing();
      const blob = part('x', Buffer.from('not yet named'));
      await client.pushBlob('a/app', blob);
      const pushed = await imgconv(['push', unpacked('registry.tar'), `docker://${host}`]);
      assert.equal(pushed.status, 0, pushed.stderr);
      const collected = await imgconv(['gc', store]);
      assert.equal(collected.status, 0, collected.stderr);
      await client.bytes(`a/app/blobs/${blob.digest}`);
      const back = join(tempFolder(), 'back');
      const saved = await imgconv(['copy', `docker://${host}`, `reg:${back}`, '--all']);
      assert.equal(saved.status, 0, saved.stderr);
      assert.equal((await imgconv(['verify', back])).status, 0);
    });
  });

test('a layout: images that were there keep their names; an index entry without a name is served by digest', async () => {
  const folder = join(tempFolder(), 'layout');
  const image = await imageOf('one');
  const first = await served(`oci:${folder}`, { writable: true });
  await first.client.push('a/app', image, '1');
  await first.close(0);
  const index = readIndex(folder);
  const [entry] = index.manifests;
  assert.ok(entry);
  writeFileSync(
    join(folder, 'index.json'),
    JSON.stringify({ ...index, manifests: [{ ...entry, annotations: undefined }] }),
  );
  const { client } = await served(folder);
  assert.equal(await client.pull('any/thing', image.root.digest), image.root.digest);
  assert.deepEqual(await client.json('_catalog'), { repositories: ['layout'] });
});

test('what only another of the places has is copied into the one that takes pushes', async () => {
  const image = await imageOf('one');
  const other = layStore(tempFolder(), { 'a/app:1': image });
  const store = join(tempFolder(), 'store');
  const { client } = await served([`reg:${store}`, `reg:${other}`], { writable: true });
  assert.equal((await client.pushManifest('a/app', image.root, '2')).status, 201);
  const alone = await served(store);
  assert.equal(await alone.client.pull('a/app', '2'), image.root.digest);
});

describe('another registry is served:', () => {
  const plain = { tlsVerify: false, retryTimes: 0 };

  test('what is asked for is fetched once, and stays when the registry is gone', async () => {
    const [one, two] = [await imageOf('one'), await imageOf('two')];
    const upstream = await served(layStore(tempFolder(), { 'a/app:1': one, 'a/app:2': two }));
    const cache = join(tempFolder(), 'cache');
    const place = `docker://${upstream.host}`;
    const mirror = await served(place, { cache, access: plain });
    assert.equal(await mirror.client.pull('a/app', '1'), one.root.digest);
    const asked = upstream.log.filter(({ path }) => path.includes('/blobs/')).length;
    assert.equal(asked, one.blobs.length);
    assert.equal(await mirror.client.pull('a/app', '1'), one.root.digest);
    assert.equal(upstream.log.filter(({ path }) => path.includes('/blobs/')).length, asked);
    assert.deepEqual(await mirror.client.json('a/app/tags/list'), { name: 'a/app', tags: ['1', '2'] });
    await refused(await mirror.client.ask('GET', 'a/app/manifests/3'), 404, 'MANIFEST_UNKNOWN');
    await mirror.close(0);
    await upstream.close(0);
    const later = await served(place, { cache, access: plain });
    assert.equal(await later.client.pull('a/app', '1'), one.root.digest);
    assert.deepEqual(await later.client.json('a/app/tags/list'), { name: 'a/app', tags: ['1'] });
    assert.equal((await later.client.ask('GET', 'a/app/manifests/2')).status, 500);
    assert.equal((await imgconv(['verify', cache])).status, 0);
    assert.deepEqual(
      filesIn(cache).filter((path) => path.includes('.imgconv-partial')),
      [],
    );
  });

  test('many clients ask for one image at once; what is attached comes too', async () => {
    const image = await imageOf('one');
    const layout = `oci:${join(tempFolder(), 'layout')}`;
    const upstream = await served(layout, { writable: true });
    await upstream.client.push('a/app', image, '1');
    const referrer = referrerOf(image.root, 'signature');
    await upstream.client.push('a/app', referrer, referrer.root.digest);
    const { client } = await served(`docker://${upstream.host}/a`, { access: plain });
    const pulls = await Promise.all(Array.from({ length: 20 }, () => client.pull('app', '1')));
    assert.deepEqual(new Set(pulls), new Set([image.root.digest]));
    const blobs = upstream.log.filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'));
    assert.equal(blobs.length, image.blobs.length);
    const { manifests } = (await client.json(`app/referrers/${image.root.digest}`)) as {
      manifests: { digest: string }[];
    };
    assert.deepEqual(
      manifests.map(({ digest }) => digest),
      [referrer.root.digest],
    );
    assert.equal(await client.pull('app', referrer.root.digest), referrer.root.digest);
  });
});

for (const kind of ['reg', 'oci'] as const)
  test(`${kind}: what was acknowledged before a kill is there after it`, async () => {
    const problems: string[] = [];
    await killServer(kind, 'test', 3, (problem) => problems.push(problem));
    assert.deepEqual(problems, []);
  });

test('--compression gzip: layers of an archive are compressed once, as tar2reg does it', async () => {
  const [store, cache] = [join(tempFolder(), 'store'), join(tempFolder(), 'cache')];
  assert.equal(
    (await imgconv(['tar2reg', fixture('docker28.tar'), store, '--compression', 'gzip'])).status,
    0,
  );
  const { client } = await served(fixture('docker28.tar'), { compression: 'gzip', cache });
  const expected = await names((await served(store)).client);
  assert.deepEqual(await names(client), expected);
  assert.deepEqual(await names(client), expected);
});

describe('accounts', () => {
  const folder = tempFolder();
  const files = {
    htpasswd: join(folder, 'writers'),
    readers: join(folder, 'readers'),
    readToken: join(folder, 'token'),
  };
  // htpasswd -nbB, cost 4: secret, lookout
  writeFileSync(
    files.htpasswd,
    '# people\nann:$2b$04$J1lTD/Zso4nQfdP5hw1sweIw8lt9u2p0x6XnDdGKZ8/ajdQK8j0Le\n',
  );
  writeFileSync(files.readers, 'ron:$2b$04$C9jSONCvroTGpAD9WP84qe/8CVQJ/LPem8q5UQvlu316k7JW3gX4W\n');
  writeFileSync(files.readToken, 'let-me-in\n');
  const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });

  test('who may read, who may write, and who may not', async () => {
    const { url, log } = await served(`reg:${join(tempFolder(), 's')}`, { writable: true, ...files });
    const as = (headers: Record<string, string>) => new TestClient(url, headers);
    const status = async (client: TestClient, method: string, path: string) =>
      (await client.ask(method, path)).status;
    const nobody = await as({}).ask('GET', '/v2/');
    assert.match(nobody.headers.get('www-authenticate') ?? '', /^Basic realm="imgconv"/);
    await refused(nobody, 401, 'UNAUTHORIZED');
    const upload = 'a/app/blobs/uploads/';
    for (const [who, read, write] of [
      [basic('ann:secret'), 200, 202],
      [basic('ann:secret'), 200, 202],
      [basic('ann:lookout'), 401, 401],
      [basic('ron:lookout'), 200, 403],
      [basic('any:let-me-in'), 200, 403],
      [{ authorization: 'Bearer let-me-in' }, 200, 403],
      [{ authorization: 'Bearer other' }, 401, 401],
      [{ authorization: 'Basic !' }, 401, 401],
      [basic('eve:secret'), 401, 401],
      [{}, 401, 401],
    ] as const) {
      assert.equal(await status(as(who), 'GET', '/v2/'), read, JSON.stringify(who));
      assert.equal(await status(as(who), 'POST', upload), write, JSON.stringify(who));
    }
    assert.equal(await status(as({}), 'GET', '/metrics'), 401);
    assert.equal(await status(as({}), 'GET', '/healthz'), 200);
    assert.ok(log.some(({ user }) => user === 'ann'));
    assert.ok(!JSON.stringify(log).includes('secret'));
  });

  test('reading without an account, if that is allowed', async () => {
    const options = { writable: true, htpasswd: files.htpasswd, anonymousRead: true };
    const { client } = await served(`reg:${join(tempFolder(), 's')}`, options);
    assert.equal((await client.ask('GET', '/v2/')).status, 200);
    await refused(await client.ask('POST', 'a/app/blobs/uploads/'), 401, 'UNAUTHORIZED');
  });

  test('files that have no accounts are refused before anything is served', async () => {
    for (const [content, words] of [
      ['ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=', /line 1: USER:HASH with a bcrypt hash/],
      ['', /no accounts/],
    ] as const) {
      const htpasswd = join(tempFolder(), 'htpasswd');
      writeFileSync(htpasswd, content);
      await assert.rejects(served(syncTree(), { htpasswd }), words);
    }
    await assert.rejects(served(syncTree(), { htpasswd: '/nowhere/htpasswd' }), /no such file/);
    await assert.rejects(served(syncTree(), { anonymousRead: true }), /everybody may write too/);
  });
});

describe('a browser', () => {
  /** fetch sets these headers itself. */
  function asked(url: string, method: string, headers: Record<string, string>): Promise<number> {
    return new Promise((resolve, reject) => {
      request(url, { method, headers }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      })
        .on('error', reject)
        .end();
    });
  }

  test('gets in for pages of this registry alone', async () => {
    const { url, host } = await served(`reg:${join(tempFolder(), 's')}`, { writable: true });
    const post = `${url}v2/a/app/blobs/uploads/`;
    assert.equal(
      await asked(post, 'POST', { origin: `http://${host}`, 'sec-fetch-site': 'same-origin' }),
      202,
    );
    assert.equal(
      await asked(post, 'POST', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }),
      403,
    );
    assert.equal(await asked(post, 'POST', { origin: 'null' }), 403);
    assert.equal(await asked(post, 'POST', { 'sec-fetch-site': 'cross-site' }), 403);
    // DNS rebinding: the page's own name leads here.
    const evil = { host: 'evil.example', 'sec-fetch-site': 'same-origin' };
    assert.equal(await asked(`${url}v2/_catalog`, 'GET', evil), 403);
    assert.equal(
      await asked(`${url}v2/_catalog`, 'GET', { host: 'evil.example', 'user-agent': 'Mozilla/5.0' }),
      403,
    );
    assert.equal(await asked(`${url}v2/_catalog`, 'GET', { host: 'registry.example' }), 200);
  });
});

describe('the command', () => {
  async function started(...args: readonly string[]) {
    const running = start(['serve', ...args, '--listen', '127.0.0.1:0']);
    let said = '';
    running.child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await until('the address', () => said.includes('docker pull'));
    const url = /at (http\S+)/.exec(said)?.[1] ?? '';
    return { ...running, url, client: new TestClient(url) };
  }

  test('says what it serves, logs, and stops when it is told to', async () => {
    const { client, child, ended } = await started(unpacked('registry.tar'), '--log', 'json');
    assert.equal((await client.ask('GET', '/healthz')).status, 200);
    assert.match(
      await (await client.ask('GET', '/metrics')).text(),
      /imgconv_http_requests_total\{method="GET",route="healthz",status="200"\} 1/,
    );
    child.kill('SIGTERM');
    const { status, stdout, stderr } = await ended;
    assert.equal(status, 0);
    assert.match(stderr, /registry\.tar \(reg:\)\n.*read-only at http:\/\/127\.0\.0\.1:\d+\/\n/);
    const [line = ''] = stdout.toString().split('\n');
    const entry = JSON.parse(line) as Record<string, unknown>;
    assert.deepEqual(
      [entry['method'], entry['path'], entry['status'], entry['client']],
      ['GET', '/healthz', 200, '127.0.0.1'],
    );
  });

  test('killed in the middle of a push, it shows nothing of it, and the next one clears it away', async () => {
    const store = join(tempFolder(), 'store');
    const { client, child, ended } = await started(`reg:${store}`, '--writable', '--log', 'none');
    const image = await imageOf('one');
    await client.push('a/app', image, '1');
    const place = (await client.ask('POST', 'a/app/blobs/uploads/')).headers.get('location') ?? '';
    await client.ask('PATCH', place, { body: Buffer.alloc(100_000) });
    child.kill('SIGKILL');
    await ended;
    assert.equal((await imgconv(['verify', store])).status, 0);
    const again = await served(`reg:${store}`, { writable: true });
    assert.equal(await again.client.pull('a/app', '1'), image.root.digest);
    await refused(await again.client.ask('GET', place), 404, 'BLOB_UPLOAD_UNKNOWN');
    await again.client.push('a/app', await imageOf('two'), '2');
    await again.close(0);
    assert.deepEqual(stagingIn(store), []);
  });

  test('what is wrong with its words is said before anything is served', async () => {
    const { url } = await served(syncTree());
    const port = new URL(url).port;
    const cases: [string[], RegExp][] = [
      [[syncTree(), '--listen', `127.0.0.1:${port}`], /another program listens there/],
      [[syncTree(), '--listen', 'nonsense'], /HOST:PORT is expected/],
      [[syncTree(), '--writable'], /none of these places takes pushes/],
      [[], /a place is missing/],
      [['/nowhere/at/all'], /no such file or folder/],
      [[syncTree(), '--max-upload', 'much'], /not a size/],
      [[syncTree(), '--tls-cert', fixture('oci.tar')], /--tls-key is missing/],
      [[syncTree(), '--prefix', 'x'], /NAME=PLACE is expected/],
      [['--prefix', `Upper=${syncTree()}`], /not a repository path/],
    ];
    for (const [args, words] of cases) {
      const { status, stderr } = await imgconv(['serve', ...args]);
      assert.notEqual(status, 0);
      assert.match(stderr, words);
    }
  });

  test('a prefix puts a place below a name', async () => {
    const store = layStore(tempFolder(), { 'a/app:1': await imageOf('one') });
    const { client, child, ended } = await started('--prefix', `mirror/hub=${store}`);
    assert.deepEqual(await client.json('_catalog'), { repositories: ['mirror/hub/a/app'] });
    await client.pull('mirror/hub/a/app', '1');
    child.kill('SIGTERM');
    await ended;
  });

  test('a new place that is not called by a prefix becomes registry storage', async () => {
    const store = join(tempFolder(), 'new');
    const { client, child, ended } = await started(store, '--writable');
    await client.push('a/app', await imageOf('one'), '1');
    assert.ok(existsSync(join(store, 'docker/registry/v2')));
    assert.ok(readdirSync(store).length > 0);
    child.kill('SIGTERM');
    assert.equal((await ended).status, 0);
  });
});
