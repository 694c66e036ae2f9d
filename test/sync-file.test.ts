import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseSyncFile, referencesOf, type SyncRepository } from '../src/requests/sync-file.js';
import { parseTagPattern } from '../src/requests/tag-pattern.js';
import { parseConstraint, versionOfTag } from '../src/requests/version-constraint.js';
import { refusal } from './support/errors.js';
import { skopeoManual } from './support/skopeo-manual.js';

const zeros = `sha256:${'0'.repeat(32)}${'1'.repeat(32)}`;

const MANUAL = skopeoManual(zeros);
const TAGS: Record<string, string[]> = {
  'registry.example.com/busybox': ['1', 'glibc'],
  'registry.example.com/nginx': [
    '1.13.1-alpine-perl',
    '1.13.2-alpine-perl',
    '1.13.3-alpine-perl',
    'x1.13.1-alpine-perl',
  ],
  'registry.example.com/alpine': [
    '3.11',
    '3.12',
    '3.12.0',
    'v4.0.0',
    '3.13.0-rc1',
    'edge',
    'latest',
    '20230101',
  ],
};

const all = async (repositories: readonly SyncRepository[]) =>
  (
    await Promise.all(
      repositories.map((one) => referencesOf(one, (name) => Promise.resolve(TAGS[name] ?? []))),
    )
  ).flat();

describe('sync file', () => {
  test("the example of skopeo's manual", async () => {
    const [example, quay, ...others] = parseSyncFile(MANUAL, 'sync.yml');
    assert.ok(example !== undefined && quay !== undefined && others.length === 0);
    assert.deepEqual(await all(example.repositories), [
      'registry.example.com/busybox:1',
      'registry.example.com/busybox:glibc',
      'registry.example.com/redis:1.0',
      'registry.example.com/redis:2.0',
      `registry.example.com/redis@${zeros}`,
      'registry.example.com/nginx:1.13.1-alpine-perl',
      'registry.example.com/nginx:1.13.2-alpine-perl',
      'registry.example.com/alpine:3.12',
      'registry.example.com/alpine:3.12.0',
      'registry.example.com/alpine:v4.0.0',
      'registry.example.com/alpine:20230101',
    ]);
    const { repositories, ...rest } = example;
    assert.equal(repositories.length, 4);
    assert.deepEqual(rest, {
      host: 'registry.example.com',
      credentials: { username: 'john', password: 'this is a secret' },
      tlsVerify: true,
      certDir: '/home/john/certs',
    });
    assert.deepEqual([quay.tlsVerify, quay.credentials, quay.certDir], [false, undefined, undefined]);
    assert.deepEqual(await all(quay.repositories), ['quay.io/coreos/etcd:latest']);
  });

  test('tags are what is written, not the numbers that they look like; none is all', async () => {
    const [registry] = parseSyncFile(
      'docker.io:\n  images:\n    alpine: [3.10, 1.0, 0x10, yes, 3.10]\n    busybox:\n',
      'f',
    );
    assert.ok(registry !== undefined);
    TAGS['docker.io/library/busybox'] = ['a'];
    assert.deepEqual(await all(registry.repositories), [
      ...['3.10', '1.0', '0x10', 'yes'].map((tag) => `docker.io/library/alpine:${tag}`),
      'docker.io/library/busybox:a',
    ]);
  });

  for (const [title, text, ...words] of [
    ['an unknown key', 'a.io:\n  images: {b: []}\n  image-by-semver: {}\n', 'f.yml:3: a key is not known'],
    [
      'an unknown key of credentials',
      'a.io:\n  credentials:\n    user: x\n',
      'f.yml:3: credentials: a key is not known',
    ],
    ['credentials without a user', 'a.io:\n  credentials: {password: secret}\n', 'f.yml:2: ', 'no username'],
    [
      'a tag that is none',
      'a.io:\n  images:\n    b:\n    - ok\n    - "no tag"\n',
      'f.yml:5: images: entry 2 is neither',
    ],
    ['a repository with a tag', 'a.io:\n  images:\n    b:1: []\n', 'f.yml:3: ', 'not a repository'],
    ['a repository that is none', 'a.io:\n  images:\n    B: []\n', 'f.yml:3: ', 'lower case'],
    ['a pattern that is none', 'a.io:\n  images-by-tag-regex:\n    b: "("\n', 'f.yml:3: '],
    [
      'a look-ahead',
      'a.io:\n  images-by-tag-regex:\n    b: "a(?=b)"\n',
      'f.yml:3: images-by-tag-regex: not a regular expression',
    ],
    [
      'a constraint that is none',
      'a.io:\n  images-by-semver:\n    b: ">= latest"\n',
      'f.yml:3: ',
      'constraint',
    ],
    ['tls-verify that is neither', 'a.io:\n  tls-verify: maybe\n', 'f.yml:2: ', 'neither true nor false'],
    ['a list of registries', '- a.io\n', 'f.yml:1: ', 'a map is expected'],
    ['images as a list', 'a.io:\n  images: [b]\n', 'f.yml:2: images: a map'],
    ['two documents', 'a.io: {}\n---\nb.io: {}\n', 'f.yml:', 'one document'],
    ['nothing', '# nothing\n', 'f.yml: there is nothing'],
    ['broken YAML', 'a.io:\n\timages: {}\n', 'f.yml:2: '],
  ] as const)
    test(`${title}: refused, with its line`, () => {
      assert.throws(() => parseSyncFile(text, 'f.yml'), refusal('DOCUMENT_INVALID', ...words));
    });

  test('a password is never in a message', () => {
    const text = 'a.io:\n  credentials:\n    username: x\n    password: [hunter2]\n';
    assert.throws(
      () => parseSyncFile(text, 'f'),
      (error: Error) => !error.message.includes('hunter2'),
    );
  });
});

describe('constraints as skopeo has them (Masterminds/semver 3.2)', () => {
  for (const [constraint, yes, no] of [
    ['>= 3.12.0', ['3.12', '3.12.0', '4.0.0', 'v5'], ['3.11.9', '3.13.0-rc1']],
    ['>=1.2.0-0', ['1.2.0', '1.3.0-rc.1', '1.2.0-1'], ['1.1.9', '1.2.0-']],
    ['> 11', ['12.0.0'], ['11.1.0', '11']],
    ['>11.1', ['11.2.0', '12'], ['11.1.5', '11.1']],
    ['< 2', ['1.9.9'], ['2.0.0', '2.0.0-rc1', '1.0.0-rc1']],
    ['<=1.2', ['1.2.9', '1.0'], ['1.3.0']],
    ['<= 1', ['1.99.0', '0.1'], ['2.0.0']],
    ['=>1.1, =<1.3.0', ['1.1.0', '1.3.0'], ['1.0.9', '1.3.1']],
    ['1.2.3', ['1.2.3', 'v1.2.3'], ['1.2.4', '1.2.3-rc1']],
    ['= 1.2', ['1.2.0', '1.2.7'], ['1.3.0']],
    ['1.x', ['1.0.0', '1.9'], ['2.0.0', '0.9.0']],
    ['*', ['0.0.1', '9.9.9'], ['1.0.0-rc1', 'latest']],
    ['~1.2.3', ['1.2.3', '1.2.9'], ['1.3.0', '1.2.2']],
    ['~1', ['1.0.0', '1.9.0'], ['2.0.0']],
    ['~>2.0', ['2.0.5'], ['2.1.0']],
    ['^1.2.3', ['1.2.3', '1.9.0'], ['2.0.0', '1.2.2']],
    ['^0.2.3', ['0.2.3', '0.2.9'], ['0.3.0']],
    ['^0.0.3', ['0.0.3'], ['0.0.4']],
    ['^0.0', ['0.0.9'], ['0.1.0']],
    ['^0', ['0.9.0'], ['1.0.0']],
    ['!=1.2.3', ['1.2.4', '1.3.0-rc1'], ['1.2.3']],
    ['!=1.x', ['2.0.0'], ['1.0.0', '1.9.9', '2.0.0-rc1']],
    ['!= 1.2.x', ['1.3.0', '2.2.0'], ['1.2.0', '1.2.9']],
    ['1.2 - 1.4.5', ['1.2.0', '1.4.5'], ['1.1.9', '1.4.6']],
    ['>= 1.2, < 2 || >= 3', ['1.5.0', '3.1.0'], ['2.5.0', '1.1.0']],
    ['>=1.2 <2', ['1.5.0'], ['2.5.0']],
    ['>= 2024.01', ['2024.01.02', '2024.02.28'], ['2023.12.1']],
  ] as const)
    test(JSON.stringify(constraint), () => {
      const fits = parseConstraint(constraint);
      assert.ok(fits !== undefined);
      const chosen = (tags: readonly string[]) =>
        tags.filter((tag) => {
          const version = versionOfTag(tag);
          return version !== undefined && fits(version);
        });
      assert.deepEqual(chosen(yes), [...yes]);
      assert.deepEqual(chosen(no), []);
    });

  for (const text of ['', 'latest', '>= ', '1.2.3.4', '>=1.2>3', '>=1,', '=== 1', '|| 1 ||x', '>=1.a'])
    test(`${JSON.stringify(text)} is none`, () => {
      assert.equal(parseConstraint(text), undefined);
    });
});

test('patterns of Go are taken, where JavaScript writes them otherwise', () => {
  for (const [pattern, yes, no] of [
    ['13', '1.13.1', '1.12'],
    ['(?i)^ALPINE$', 'alpine', 'alpine2'],
    ['\\A1\\z', '1', '11'],
    ['^(?P<v>[[:digit:]]+)$', '12', '1a'],
    ['^[^[:alpha:]]+$', '1.2', '1a'],
  ] as const) {
    assert.ok(parseTagPattern(pattern).test(yes), `${pattern} ${yes}`);
    assert.ok(!parseTagPattern(pattern).test(no), `${pattern} ${no}`);
  }
  for (const text of ['(?!a)', '(?<=a)b', '(a)\\1']) assert.throws(() => parseTagPattern(text));
});

test('a tag is tested in linear time, and only if it is one', async () => {
  const exponential = parseTagPattern('^([a-z0-9]+[.-]?)+$');
  assert.ok(exponential.test('a'.repeat(41)));
  assert.ok(!exponential.test(`${'a'.repeat(127)}_`));
  const file = 'a.io:\n  images-by-tag-regex:\n    x: ^a\n  images: {y: []}\n';
  const tags = ['a1', 'a b', `a${'1'.repeat(128)}`, '../a'];
  const found = parseSyncFile(file, 'f.yml').flatMap(({ repositories }) => repositories);
  for (const one of found) {
    const references = await referencesOf(one, () => Promise.resolve(tags));
    assert.deepEqual(references, [`${one.name}:a1`]);
  }
});
