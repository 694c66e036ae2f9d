import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import * as z from 'zod';
import { errorText } from '../src/cli/exit.js';
import { convert, ImgconvError, parsePlace } from '../src/index.js';
import { parseSecret } from '../src/model/json.js';
import { imgconv, imgconvEach } from './support/cli.js';
import { FakeRegistry, reply } from './support/fake-registry.js';
import { imageOf, put } from './support/images.js';
import { formatOf } from './support/places.js';
import { tempFolder } from './support/temp.js';

/** Nothing of it, in any case or in base64, may be said. */
const SECRET = 'zq7Hunter2zq7';
const LEAK = /zq7|hunter|6cTdIdW50|enE3SHVu/i;
/** Where nothing listens. */
const HOST = '127.0.0.1:1';
const HURRY = ['--retry-times', '0'];
const BASE64 = Buffer.from(`user:${SECRET}`).toString('base64');

async function expectSilence(commands: readonly (readonly string[])[]): Promise<void> {
  const all = commands.flatMap((args) => [args, [...args, '--debug']]);
  const outcomes = [];
  for (let i = 0; i < all.length; i += 200) outcomes.push(...(await imgconvEach(all.slice(i, i + 200))));
  for (const [i, { status, stdout, stderr }] of outcomes.entries()) {
    assert.notEqual(status, 0, all[i]?.join(' '));
    assert.match(stderr, /^imgconv: |"message"/m);
    assert.doesNotMatch(stdout + stderr, LEAK, all[i]?.join(' '));
  }
}

/** What may become of a document: cut off at places, a character lost, each text (`from` a place on) another type, a key there twice. */
function broken(text: string, from = 0): string[] {
  const cuts = Array.from({ length: 24 }, (_, i) => Math.floor((text.length * i) / 24));
  const leaves = [...text.matchAll(/"[^"\n]*"/g)].map(({ 0: leaf, index }) => ({ leaf, index }));
  const replaced = leaves
    .filter(({ index }) => index >= from)
    .flatMap(({ leaf, index }) =>
      [
        leaf.slice(1, -1),
        leaf.slice(0, -1),
        `"${SECRET}"`,
        `"${SECRET}": "${SECRET}"`,
        `[${leaf}]`,
        `{${leaf}: ${leaf}}`,
        `"\\x${SECRET}"`,
        `7${SECRET}`,
        `${leaf}\u0001`,
      ].map((other) => text.slice(0, index) + other + text.slice(index + leaf.length)),
    );
  return [
    ...cuts.map((at) => text.slice(0, at)),
    ...cuts.map((at) => text.slice(0, at) + text.slice(at + 1)),
    ...replaced,
    text.replace('{', `{"${SECRET}": "${SECRET}", "${SECRET}": 1, `),
    `[${text}]`,
    `"${SECRET}"`,
    SECRET,
    `${text}${SECRET}`,
  ];
}

describe('a secret is in no message', () => {
  test('of a file of credentials, whatever is wrong with it', { timeout: 300_000 }, async () => {
    const folder = tempFolder();
    const entry = (fields: object) => ({ auths: { 'other.io': {}, [HOST]: fields } });
    const documents = [
      entry({ auth: BASE64 }),
      entry({ username: 'user', password: SECRET }),
      entry({ identitytoken: SECRET, registrytoken: SECRET }),
      { credHelpers: { [HOST]: SECRET } },
      { credsStore: SECRET },
    ].map((document) => JSON.stringify(document, null, 1));
    const odd = [
      { auths: SECRET },
      { auths: { [SECRET]: SECRET } },
      { auths: { [SECRET]: { auth: 7 } } },
      { auths: { [HOST]: `user:${SECRET}` } },
      { auths: { [HOST]: { auth: SECRET } } },
      { auths: { [HOST]: { auth: { [SECRET]: SECRET } } } },
      { credHelpers: { [HOST]: `x ${SECRET}` } },
      { credHelpers: { [SECRET]: 7 } },
      { credHelpers: [SECRET] },
      { credsStore: `../${SECRET}` },
      { credsStore: [SECRET] },
    ].map((document) => JSON.stringify(document));
    const files = [...documents.flatMap((text) => [text, ...broken(text)]), ...odd].map((text, i) => {
      const file = join(folder, `${i}.json`);
      writeFileSync(file, text);
      return file;
    });
    writeFileSync(join(folder, 'bytes.json'), Buffer.from(`{"auths": "${SECRET}\xff"}`, 'latin1'));
    await expectSilence(
      [...files, join(folder, 'bytes.json')].map((file, i) =>
        i % 2 === 0
          ? ['ls', `docker://${HOST}/a`, '--authfile', file, '--json', ...HURRY]
          : ['save', `${HOST}/a:1`, join(folder, 'store'), '--src-authfile', file, '--json', ...HURRY],
      ),
    );
  });

  test('of the YAML of sync, whatever is wrong with it', { timeout: 300_000 }, async () => {
    const folder = tempFolder();
    const text = `"${HOST}":\n  "images":\n    "a": ["1"]\n  "credentials":\n    "username": "user"\n    "password": "${SECRET}"\n  "tls-verify": "false"\n`;
    const odd = [
      `${HOST}:\n  credentials: {user:${SECRET}}\n`,
      `${HOST}: {user:${SECRET}}\n`,
      `{user:${SECRET}}\n`,
      `${HOST}:\n  credentials:\n    username: u\n    password: *${SECRET}\n`,
      `${HOST}:\n  credentials:\n    username: u\n    password: !${SECRET} x\n`,
      `${HOST}:\n  credentials:\n    username: u\n    password: %${SECRET}\n`,
      `${HOST}:\n  credentials:\n    username: u\n    password: @${SECRET}\n`,
      `${HOST}:\n  credentials:\n    username: u\n    password: |${SECRET}\n`,
      `${HOST}:\n  credentials:\n    username: u\n    password: "\\${SECRET}"\n`,
      `${HOST}:\n  credentials:\n    username: u\n    password: ${SECRET}: x\n`,
      `${HOST}:\n  credentials:\n    username: u\n     password: ${SECRET}\n`,
      `${HOST}:\n  credentials:\n    username: u\n\tpassword: ${SECRET}\n`,
      `${HOST}:\n  credentials:\n    username: u\n    ${SECRET}: x\n    ${SECRET}: x\n`,
      `${HOST}:\n  credentials: [${SECRET}]\n`,
      `${HOST}:\n  username: u\n  password: ${SECRET}\n  ${SECRET}:\n`,
      `${HOST}:\n  tls-verify: ${SECRET}\n`,
      `${HOST}:\n  images: {a: ["${SECRET}:"]}\n`,
      `${HOST}:\n  images: {${SECRET}: []}\n`,
      `${HOST}:\n  images-by-semver: {a: "${SECRET}"}\n`,
      `${HOST}:\n  images-by-tag-regex: {a: "(${SECRET}"}\n`,
      `${HOST}:\n  credentials:\n    username: u\n    password: &a &a ${SECRET}\n`,
    ];
    // Hosts, repositories and tags are said: what stands there and can be one is no secret.
    const texts = [text, ...broken(text, text.indexOf('"credentials"')), ...odd];
    const files = texts.map((content, i) => {
      const file = join(folder, `${i}.yaml`);
      writeFileSync(file, content);
      return file;
    });
    await expectSilence(
      files.map((file) => ['sync', '--src', 'yaml', '--dest', 'dir', file, join(folder, 'tree'), ...HURRY]),
    );
  });

  test('of options and operands', async () => {
    const folder = tempFolder();
    put(join(folder, 'list'), `a/b:1\nuser:${SECRET}@example.com/x:1\n`);
    put(join(folder, 'list2'), `${HOST}/a:1 user:${SECRET}@example.com/x:1 more\n`);
    const ls = ['ls', `docker://${HOST}/a`, ...HURRY];
    const store = join(folder, 'store');
    await expectSilence([
      [...ls, '--src-creds', `user:${SECRET}`],
      [...ls, '--src-creds', `user:${SECRET}`, '--src-creds', `other:${SECRET}`],
      [...ls, '--src-registry-token', SECRET],
      [...ls, '--src-registry-token', SECRET, '--src-registry-token', SECRET],
      [...ls, '--src-cred', `user:${SECRET}`],
      [...ls, `--src-creed=user:${SECRET}`],
      [...ls, '--dest-creds', `user:${SECRET}`],
      ['ls', join(folder, 'x'), '--src-creds', `user:${SECRET}`],
      ['dir2reg', folder, store, '--src-creds', `user:${SECRET}`],
      ...[
        `h=ftp://user:${SECRET}@h`,
        `h=https://user:${SECRET}@h`,
        `h=http://${SECRET}@h`,
        `https://user:${SECRET}@h`,
        `user:${SECRET}@h=https://h`,
        `h=https://user:${SECRET}@`,
        `h=https://user:${SECRET}@h:port`,
        SECRET,
      ].map((mirror) => [...ls, '--registry-mirror', mirror]),
      ['ls', `docker://user:${SECRET}@${HOST}/a`, ...HURRY],
      ['ls', `docker://user:${SECRET}@h`, ...HURRY],
      ['copy', `docker://user:${SECRET}@${HOST}/a:1`, `dir:${folder}/t`, ...HURRY],
      ['copy', `dir:${folder}/t`, `docker://user:${SECRET}@${HOST}/a:1`, ...HURRY],
      ['push', `dir:${folder}`, `docker://user:${SECRET}@${HOST}`, ...HURRY],
      ['push', `dir:${folder}`, `https://user:${SECRET}@${HOST}`, ...HURRY],
      ['save', `user:${SECRET}@${HOST}/a:1`, store, ...HURRY],
      ['save', `https://user:${SECRET}@${HOST}/a:1`, store, ...HURRY],
      ['save', `oci://user:${SECRET}@${HOST}/chart:1`, store, ...HURRY],
      ['save', '--images-file', join(folder, 'list'), store, ...HURRY],
      ['save', '--images-file', join(folder, 'list2'), store, ...HURRY],
      ['sync', '--src', 'docker', '--dest', 'dir', `user:${SECRET}@${HOST}/a`, folder, ...HURRY],
      ['sync', '--src', 'list', '--dest', 'dir', join(folder, 'list'), folder, ...HURRY],
    ]);
  });

  /** What a registry sends back of what it was sent to be let in. */
  const repeated: readonly (readonly [status: number, headers: Readonly<Record<string, string>>])[] = [
    [200, { 'docker-content-digest': SECRET }],
    [206, { 'content-range': SECRET }],
    [302, { location: `ftp://x/${SECRET}` }],
    [302, { location: `http://127.0.0.1:1/${SECRET}` }],
    [302, { location: `http://${SECRET}.invalid/` }],
    [302, { location: `/${SECRET}` }],
    [401, { 'www-authenticate': `Bearer realm="ftp://x/${SECRET}"` }],
    [401, { 'www-authenticate': `Bearer realm="http://127.0.0.1:1/${SECRET}"` }],
    [401, { 'www-authenticate': `Bearer realm="http://127.0.0.1:1/",service="${SECRET}"` }],
    [200, { link: `<http://${SECRET}.invalid/>; rel="next"` }],
    [200, { link: `<?${SECRET}>; rel="next"` }],
    [200, { link: `</${SECRET}>; rel="next"` }],
  ];
  for (const [status, headers] of repeated)
    test(`that a registry repeats: ${status} ${JSON.stringify(headers)}`, async () => {
      await using registry = await FakeRegistry.start({
        guard: ({ headers: { authorization } }) =>
          authorization === `Basic ${BASE64}` ? undefined : 'Basic realm="x"',
      });
      registry.add({ 'app:1': await imageOf('x') });
      const isLet = new Set<string>();
      registry.fail(
        /GET \/v2\/app/,
        async (request, response) => {
          if (request.headers.authorization === undefined) await registry.answer(request, response);
          else reply(response, status, headers, Buffer.from('{"tags":[]}'));
          isLet.add(request.url ?? '');
        },
        100,
      );
      const hosts = { [registry.host]: { creds: `user:${SECRET}` } };
      const access = { hosts, retryTimes: 0, idleTimeout: 1000 };
      const told: unknown[] = [];
      for (const text of ['', '/app'])
        try {
          const named = text === '' ? [{ text: 'app:1', rename: undefined, where: 'test' }] : [];
          const from = parsePlace(`docker://${registry.host}${text}`);
          const to = { format: formatOf('dir'), path: join(tempFolder(), 'to') };
          const { images } = await convert(from, to, { selectors: named, sourceAccess: access });
          told.push(...images.map(({ error }) => error));
        } catch (error) {
          told.push(error);
        }
      assert.ok(isLet.size > 1, [...isLet].join());
      for (const error of told)
        if (error !== undefined) {
          assert.ok(error instanceof ImgconvError, 'no ImgconvError');
          assert.doesNotMatch(errorText(error, true), LEAK);
        }
    });

  test('even of a token of 900 kB no regular expression is made', async () => {
    await using registry = await FakeRegistry.start({
      guard: (_, { url }) => `Bearer realm="${url}/token"`,
    });
    registry.fail(
      /GET \/token/,
      (_, response) => {
        reply(response, 200, {}, Buffer.from(JSON.stringify({ token: '['.repeat(900_000) })));
      },
      9,
    );
    const from = parsePlace(`docker://${registry.host}/app`);
    const to = { format: formatOf('dir'), path: join(tempFolder(), 'to') };
    await assert.rejects(
      convert(from, to, { sourceAccess: { retryTimes: 0 } }),
      (error) => error instanceof ImgconvError && error.code !== 'IO' && errorText(error).length < 4000,
    );
  });

  test('of a credential helper, whatever it says', async () => {
    const folder = tempFolder();
    const file = join(folder, 'auth.json');
    writeFileSync(file, JSON.stringify({ credsStore: 'test' }));
    for (const script of [
      `echo '${SECRET}'`,
      `echo '{"Username":"u","Secret":"${SECRET}'`,
      `echo '{"Username":"u","Secret":["${SECRET}"]}'`,
      `echo '{"Username":"u","${SECRET}":1,"${SECRET}":2}'`,
      `echo '${SECRET}' >&2; exit 3`,
      `echo '${SECRET}'; exit 3`,
      `echo '{"Username":"u","Secret":"${SECRET}"}'`,
    ]) {
      const program = join(folder, 'docker-credential-test');
      writeFileSync(program, `#!/bin/sh\n${script}\n`);
      chmodSync(program, 0o755);
      const { status, stdout, stderr } = await imgconv(
        ['ls', `docker://${HOST}/a`, '--authfile', file, '--debug', '--json', ...HURRY],
        { env: { PATH: `${folder}:/usr/bin:/bin` } },
      );
      assert.equal(status, 1);
      assert.doesNotMatch(stdout + stderr, LEAK, script);
    }
  });
});

describe('what is wrong with a document of secrets is said by place', () => {
  const schema = z.object({ auths: z.record(z.string(), z.object({ auth: z.string() })) });
  for (const [text, said] of [
    ['{"auths": {"a": {"auth": "x"}, "b": {"auth": 7}}}', 'f: auths: entry 2: auth: Invalid input'],
    ['{"auths": {"a": 7}}', 'f: auths: entry 1: Invalid input'],
    ['{"auths": {},\n "auths": {}}', 'f: a key is there twice'],
    ['{\n "auths": {\n  "a": hunter2}}', 'f: not JSON: line 3 is malformed'],
    ['{\n "auths": {}\n', 'f: not JSON: line 3 is malformed'],
    ['{"auths": {}}\n\n]', 'f: not JSON: line 3 is malformed'],
    ['{"auths": [1, 2,\n]}', 'f: not JSON: line 2 is malformed'],
    ['{"auths":\n "a\nb"}', 'f: not JSON: line 2 is malformed'],
    ['{"auths": {},\n}', 'f: not JSON: line 2 is malformed'],
    ['{"auths": 01}', 'f: not JSON: line 1 is malformed'],
    ['[[], {}, [{}],\n {"a":: 1}]', 'f: not JSON: line 2 is malformed'],
    ['', 'f: not JSON: line 1 is malformed'],
  ] as const)
    test(JSON.stringify(text), () => {
      assert.throws(
        () => parseSecret(schema, ['auths', 'auth'], Buffer.from(text), 'f', 'UNAUTHORIZED'),
        (error) =>
          error instanceof ImgconvError && error.message.startsWith(said) && error.cause === undefined,
      );
    });
});
