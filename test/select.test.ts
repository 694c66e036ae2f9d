import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import picomatch from 'picomatch';
import { parseDigest, parseImagesFile, type SourceImage } from '../src/index.js';
import { compileGlob, globMatcher } from '../src/model/glob.js';
import { select } from '../src/transfer/select.js';
import { Random } from './bench/random.js';
import { refusal } from './support/errors.js';

const digest = (letter: string) => parseDigest(`sha256:${letter.repeat(64)}`, 'test');
const [A, B, C, D, F] = [digest('a'), digest('b'), digest('c'), digest('d'), digest('f')];
const E = parseDigest(`sha256:${'d'.repeat(20)}${'e'.repeat(44)}`, 'test');

function image(name: string | undefined, of = A): SourceImage {
  return {
    name,
    where: 'here',
    digest: of,
    locate: () => undefined,
    provesDiffIds: false,
    signatures: [],
    warnings: [],
  };
}

const POOL = [
  image('alpine:3.20'),
  image('library/busybox:latest'),
  image('demo/app:1.0', A),
  image('demo/app:1.20.3', B),
  image('demo/app:1.20.4', B),
  image('demo/base:1', C),
  image('quay.io/team/tool:1'),
  image('localhost:5003/demo/app:9'),
  image(`demo/pinned@${C}`, C),
  image('team/demo/app:1.0'),
  image(undefined),
  { ...image(undefined, D), entries: [11] },
  { ...image(undefined, E), entries: [12] },
  { ...image(`demo/old@${F}`, F), untagged: true },
];

function chosen(...texts: readonly string[]): { selected: (string | undefined)[]; unmatched: string[] } {
  const selectors = texts.map((text) => ({ text, rename: undefined, where: 'a test' }));
  const { selected, unmatched } = select(POOL, selectors);
  return {
    selected: selected.map((one) => one.image.name),
    unmatched: unmatched.map(({ selector }) => selector.text),
  };
}

describe('select', () => {
  for (const [text, ...names] of [
    ['demo/app:1.0', 'demo/app:1.0'],
    ['alpine:3.20', 'alpine:3.20'],
    ['docker.io/library/alpine:3.20', 'alpine:3.20'],
    ['index.docker.io/library/alpine:3.20', 'alpine:3.20'],
    ['library/alpine:3.20', 'alpine:3.20'],
    ['busybox', 'library/busybox:latest'],
    ['busybox:latest', 'library/busybox:latest'],
    ['docker.io/library/busybox', 'library/busybox:latest'],
    // Stores leave hosts out, users type them; two different ones are two different images.
    ['quay.io/demo/app:1.0', 'demo/app:1.0'],
    ['team/tool:1', 'quay.io/team/tool:1'],
    ['quay.io/team/tool:1', 'quay.io/team/tool:1'],
    ['demo/app:9', 'localhost:5003/demo/app:9'],
    // Digests
    [`demo/pinned@${C}`, `demo/pinned@${C}`],
    [`demo/app:1.0@${A}`, 'demo/app:1.0'],
    [`demo/app@${A}`, 'demo/app:1.0', 'localhost:5003/demo/app:9'],
    [`quay.io/demo/app@${B}`, 'demo/app:1.20.3', 'demo/app:1.20.4'],
    // Globs
    ['demo/app:1.20.*', 'demo/app:1.20.3', 'demo/app:1.20.4'],
    ['demo/*:1*', 'demo/app:1.0', 'demo/app:1.20.3', 'demo/app:1.20.4', 'demo/base:1'],
    ['demo/app:1.20.[34]', 'demo/app:1.20.3', 'demo/app:1.20.4'],
    ['demo/app:1.20.?', 'demo/app:1.20.3', 'demo/app:1.20.4'],
    ['demo/{app,base}:1*', 'demo/app:1.0', 'demo/app:1.20.3', 'demo/app:1.20.4', 'demo/base:1'],
    ['team/*:1', 'quay.io/team/tool:1'],
    ['busybox:*', 'library/busybox:latest'],
    ['*', 'alpine:3.20', 'library/busybox:latest'],
    ['**/app:1.0', 'demo/app:1.0', 'team/demo/app:1.0'],
    ['alpine:*', 'alpine:3.20'],
    // By digest or number
    ['@11', undefined],
    [D, undefined],
    [E.slice(0, 30), undefined],
    [B.slice(0, 19), 'demo/app:1.20.3', 'demo/app:1.20.4'],
    [F, `demo/old@${F}`],
  ] as const) {
    test(`${text.slice(0, 60)} chooses ${names.length} image(s)`, () => {
      assert.deepEqual(chosen(text), { selected: names, unmatched: [] });
    });
  }

  for (const text of [
    'demo/app',
    'demo/app:1',
    'demo/app:1.0.0',
    'app:1.0',
    'localhost:5004/demo/app:9',
    'docker.io/team/tool:1',
    `demo/app:1.0@${B}`,
    `demo/base@${A}`,
    `localhost:5004/demo/app@${D}`,
    `docker.io/team/tool@${A}`,
    'demo/*:2',
    'demo*',
    '@1',
    '@-1',
    D.slice(0, 19),
    `sha256:${'0'.repeat(64)}`,
  ]) {
    test(`${text.slice(0, 60)} chooses none`, () => {
      assert.deepEqual(chosen(text), { selected: [], unmatched: [text] });
    });
  }

  test('without selectors takes all that is listed by its place, also what has no name', () => {
    assert.equal(select(POOL, []).selected.length, POOL.filter(({ untagged }) => untagged !== true).length);
  });

  test('a glob without an @ takes no image without a tag, whatever else is asked for', () => {
    assert.deepEqual(chosen('demo/*:1.0', F).selected, ['demo/app:1.0', `demo/old@${F}`]);
    assert.deepEqual(
      chosen('demo/**', F).selected.filter((name) => name?.includes('@')),
      [`demo/pinned@${C}`, `demo/old@${F}`],
    );
  });

  test('says how many digests begin as the one that is asked for', () => {
    const { unmatched } = select(POOL, parseImagesFile(`${D.slice(0, 19)} a:1`, 'list'));
    refusal('USAGE', '2 digests begin with this', D, E)(unmatched[0]?.error);
  });

  test('a manifest that is listed by its digest and by a tag is meant by its digest alone', () => {
    const images = [image('demo/app:1.0', A), { ...image(`demo/app@${A}`, A), untagged: true }];
    const { selected } = select(images, parseImagesFile(`demo/app@${A}`, 'list'));
    assert.deepEqual(
      selected.map((one) => one.image.name),
      [`demo/app@${A}`],
    );
  });

  test("keeps the source's order, and each image once", () => {
    const texts = ['demo/base:1', 'demo/app:1.0', 'demo/app:1.0', 'demo/*:1.0', 'quay.io/demo/app:1.0'];
    assert.deepEqual(chosen(...texts), { selected: ['demo/app:1.0', 'demo/base:1'], unmatched: [] });
  });

  test('gives one image two names when it is asked to', () => {
    const selectors = parseImagesFile('demo/base:1 a:1\ndemo/base:1 b:1\ndemo/base:1', 'list');
    const { selected } = select(POOL, selectors);
    assert.deepEqual(
      selected.map(({ image: { name }, rename }) => [name, rename]),
      [
        ['demo/base:1', 'a:1'],
        ['demo/base:1', 'b:1'],
        ['demo/base:1', undefined],
      ],
    );
  });

  test('says for each reference that is not there which line asked for it, and what is like it', () => {
    const { unmatched } = select(POOL, parseImagesFile('\n# comment\ndemo/app:3\n', 'list.txt'));
    assert.equal(unmatched.length, 1);
    const [{ error } = { error: undefined }] = unmatched;
    refusal('NOT_FOUND', 'demo/app:3', 'list.txt:3')(error);
    assert.match(error?.hint ?? '', /demo\/app:1\.0/);
  });

  test('is not held up by a hostile name', () => {
    const hostile = image(`${'a/'.repeat(50_000)}a:${'1.'.repeat(50_000)}!`);
    const selectors = parseImagesFile('demo/*:1.*\n**/app:*\n{a,b}/*/c?:[0-9]*\n', 'list');
    const started = performance.now();
    const { selected } = select([hostile], selectors);
    assert.deepEqual(selected, []);
    assert.ok(performance.now() - started < 2000);
  });
});

describe('parseImagesFile', () => {
  for (const [title, text, expected] of [
    ['nothing', '', []],
    ['one reference', 'demo/app:1', [['demo/app:1', undefined, 1]]],
    ['a newline at the end', 'demo/app:1\n', [['demo/app:1', undefined, 1]]],
    ['blank lines', '\n\n  \n\t\ndemo/app:1\n\n', [['demo/app:1', undefined, 5]]],
    ['comments', '# all\ndemo/app:1 # this\n  #indented\n', [['demo/app:1', undefined, 2]]],
    ['a # within a word', 'demo/app#1', [['demo/app#1', undefined, 1]]],
    [
      'CRLF',
      'a:1\r\n# c\r\nb:1 c:1\r\n',
      [
        ['a:1', undefined, 1],
        ['b:1', 'c:1', 3],
      ],
    ],
    [
      'CR alone',
      'a:1\rb:1',
      [
        ['a:1', undefined, 1],
        ['b:1', undefined, 2],
      ],
    ],
    ['a byte order mark', '\uFEFFa:1\n', [['a:1', undefined, 1]]],
    ['tabs and spaces', '\t a:1 \t b:2  \n', [['a:1', 'b:2', 1]]],
    ['a rename with a comment', 'a:1 b:2 # as b', [['a:1', 'b:2', 1]]],
    ['globs', 'kubesphere/*:v1.20.*\n', [['kubesphere/*:v1.20.*', undefined, 1]]],
  ] as const) {
    test(`reads ${title}`, () => {
      const selectors = parseImagesFile(text, 'list');
      assert.deepEqual(
        selectors.map((one) => [one.text, one.rename, one.where]),
        expected.map(([source_, rename, line]) => [source_, rename, `list:${line}`]),
      );
    });
  }

  for (const [title, text, line] of [
    ['three words', 'a:1\na:1 b:1 c:1\n', 2],
    ['a new name for a glob', 'a:* b:1\n', 1],
  ] as const) {
    test(`refuses ${title}`, () => {
      assert.throws(() => parseImagesFile(text, 'list'), refusal('USAGE', `list:${line}`));
    });
  }
});

test('globs mean what picomatch takes them for', () => {
  const parts = [
    'a',
    'b',
    '1',
    '-',
    ':',
    '/',
    '/',
    '*',
    '**',
    '**/',
    '/**',
    '?',
    '[ab]',
    '[^1]',
    '[a-c]',
    '{a,b}',
    '{a,b*,1}',
    '{b/,}',
    '{a..c}',
    '@',
  ];
  const words = ['a', 'b', '1', 'ab', 'a1', 'c', 'a-b', 'b_1'];
  const random = new Random('globs');
  const below = (limit: number) => random.below(limit);
  const pick = (from: readonly string[]) => from[below(from.length)] ?? '';
  let [tried, matched] = [0, 0];
  for (let i = 0; i < 3000; i++) {
    const glob = `${below(30) === 0 ? '!' : ''}${Array.from({ length: 1 + below(6) }, () => pick(parts)).join('')}`;
    if (/^!?\/|\/\/|\*{3}/.test(glob)) continue;
    const theirs = picomatch(glob, { dot: true });
    const ours = compileGlob(glob);
    for (let j = 0; j < 8; j++) {
      const name = `${Array.from({ length: 1 + below(4) }, () => pick(words)).join('/')}${pick(['', ':', '@'])}${pick(words)}`;
      assert.equal(ours(name), theirs(name), `${glob} ${name}`);
      tried++;
      if (theirs(name)) matched++;
    }
  }
  assert.ok(tried > 10_000 && matched > 500, `${matched} of ${tried}`);
});

test('globs take linear time, whatever the names are', { timeout: 20_000 }, () => {
  const long = '1'.repeat(1000);
  for (const glob of [
    'x:*1*1*-a',
    '**/1/**/1/**/2:*',
    '*1*1*1*1*1*1*-a',
    `${'{'.repeat(500)}*`,
    `${'{1,'.repeat(200)}1${'}'.repeat(200)}*x`,
  ]) {
    const match = globMatcher(glob);
    for (const name of [`x:${long}`, `1/${'1/'.repeat(500)}:2`, `x:${'1'.repeat(1_000_000)}`])
      assert.equal(match(name), false);
  }
  assert.throws(() => globMatcher('*'.repeat(2000)), refusal('USAGE', '1024'));
});

test('a list of 40,000 digests and names is not compared with 40,000 images one by one', () => {
  const hex = (i: number) => i.toString(16).padStart(8, '0').repeat(8);
  const images = Array.from({ length: 40_000 }, (_, i) =>
    image(`demo/app:${i}`, parseDigest(`sha256:${hex(i)}`, 'test')),
  );
  const texts = images.flatMap(({ digest: own }, i) => [own.slice(0, 30), `demo/no${i}:1`]);
  const before = process.cpuUsage();
  const { selected, unmatched } = select(
    images,
    texts.map((text) => ({ text, rename: undefined, where: 'a test' })),
  );
  const { user } = process.cpuUsage(before);
  assert.deepEqual([selected.length, unmatched.length], [40_000, 40_000]);
  assert.ok(user < 4e6, `${user / 1e6} seconds`);
});
