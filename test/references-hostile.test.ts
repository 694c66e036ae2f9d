import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { findReferences, type FindOptions } from '../src/discover/find.js';
import type { Findings } from '../src/discover/findings.js';
import { interpolate } from '../src/discover/interpolate.js';
import { parseYaml } from '../src/discover/yaml.js';
import { imgconv } from './support/cli.js';
import { put } from './support/images.js';
import { tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';

type Tree = Readonly<Record<string, string | Buffer>>;

function lay(tree: Tree, folder = tempFolder()): string {
  for (const [name, content] of Object.entries(tree)) put(join(folder, name), content);
  return folder;
}

const BARE: FindOptions = { environment: { PATH: '/nowhere' }, stdin: () => '' };

function imagesOf(findings: Findings): string[] {
  return findings.images().map(({ reference }) => reference);
}

function remarksOf({ unknowns, failures }: Findings): string {
  return [
    ...unknowns.map(
      ({ file, line, field, reason }) => `${file}${line === undefined ? '' : `:${line} ${field}`}: ${reason}`,
    ),
    ...failures.map(({ message }) => message),
  ].join('\n');
}

/** Some seconds on a machine that has much else to do; without a bound these take hours. */
const TIME = { timeout: 60_000 };
const MEMORY = 700 * 1024 * 1024;

/** What is found, and that memory stays bounded. */
async function findIn(paths: readonly string[], options: Partial<FindOptions> = {}): Promise<Findings> {
  const before = process.memoryUsage().rss;
  const findings = await findReferences(paths, { ...BARE, ...options });
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < MEMORY, `${Math.round(grown / 1024 / 1024)} MiB`);
  return findings;
}

const DEPTH = 30;
const pod = (image: string) =>
  `apiVersion: v1\nkind: Pod\nspec: {containers: [{name: c, image: "${image}"}]}\n`;
const range = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i));

describe('images: what is named many times is resolved once', () => {
  for (const field of ['resources', 'bases', 'components'])
    test(`kustomize ${field}, each naming the next twice, ${DEPTH} deep`, TIME, async () => {
      const folder = lay({
        ...Object.fromEntries(
          range(DEPTH, (i) => [`k${i}/kustomization.yaml`, `${field}: [../k${i + 1}, ../k${i + 1}/.]\n`]),
        ),
        [`k${DEPTH}/kustomization.yaml`]: 'resources: [pod.yaml, pod.yaml]\n',
        [`k${DEPTH}/pod.yaml`]: pod('deep:1'),
      });
      const findings = await findIn([folder]);
      assert.deepEqual([imagesOf(findings), findings.uses.length, remarksOf(findings)], [['deep:1'], 1, '']);
    });

  test(
    'kustomize: two paths to each base, with other tags on each, come to an error that says why',
    TIME,
    async () => {
      const folder = lay({
        ...Object.fromEntries(
          range(DEPTH, (i) => i).flatMap((i) =>
            ['a', 'b'].map((side) => [
              `${side}${i}/kustomization.yaml`,
              `resources: [../a${i + 1}, ../b${i + 1}]\nimages: [{name: x, tagSuffix: ${side}}]\n`,
            ]),
          ),
        ),
        ...Object.fromEntries(
          ['a', 'b'].map((side) => [`${side}${DEPTH}/kustomization.yaml`, 'resources: [../pod.yaml]\n']),
        ),
        'pod.yaml': pod('x:1'),
        'other.yaml': pod('other:1'),
      });
      const findings = await findIn([folder]);
      assert.ok(imagesOf(findings).includes('other:1'));
      assert.match(
        remarksOf(findings),
        /kustomization\.yaml: the kustomizations come to more than 200000 uses/,
      );
    },
  );

  test('kustomize: more levels than people write are an error that names file and limit', TIME, async () => {
    const folder = lay({
      ...Object.fromEntries(range(60, (i) => [`k${i}/kustomization.yaml`, `resources: [../k${i + 1}]\n`])),
      'k60/kustomization.yaml': 'resources: [pod.yaml]\n',
      'k60/pod.yaml': pod('deep:1'),
    });
    assert.match(remarksOf(await findIn([join(folder)])), /k50\/kustomization\.yaml: .* more than 50 deep/);
  });

  test('kustomize: many patches of many images, and many overrides', TIME, async () => {
    const folder = lay({
      'kustomization.yaml': `resources: [pods.yaml]\nimages:\n${'- {name: x, newName: x}\n'.repeat(20_000)}`,
      'pods.yaml': `apiVersion: v1\nkind: Pod\nspec:\n  containers:\n${range(20_000, (i) => `  - {name: c${i}, image: x}\n`).join('')}`,
    });
    assert.match(remarksOf(await findIn([folder])), /kustomization\.yaml: resolving it takes too many steps/);
  });

  test(`Compose include, each naming the next twice, ${DEPTH} deep; and in a circle`, TIME, async () => {
    const folder = lay({
      ...Object.fromEntries(
        range(DEPTH, (i) => [
          `c${i}/part.yml`,
          `include: [../c${i + 1}/part.yml, ../c${i + 1}/./part.yml]\nservices: {s: {image: "s:${i}"}}\n`,
        ]),
      ),
      [`c${DEPTH}/part.yml`]: 'include: [../c0/part.yml]\nservices: {s: {image: "last:1"}}\n',
    });
    const findings = await findIn([join(folder, 'c0')], { allowOutside: true });
    assert.deepEqual([findings.uses.length, remarksOf(findings)], [DEPTH + 1, '']);
    assert.ok(imagesOf(findings).includes('last:1'));
  });

  test('Compose extends: many services through long chains, and in a circle', TIME, async () => {
    const chain = (file: string, next: string) =>
      `services:\n${range(500, (i) => `  s${i}: {extends: {file: ${next}, service: s${i}}}\n`).join('')}  ${file}: {build: .}\n`;
    const folder = lay({
      'compose.yaml': `services:\n${range(500, (i) => `  t${i}: {extends: {file: a0.yml, service: s${i}}}\n`).join('')}  me: {extends: {service: me}}\n`,
      ...Object.fromEntries(range(DEPTH, (i) => [`a${i}.yml`, chain(`x${i}`, `a${i + 1}.yml`)])),
      [`a${DEPTH}.yml`]: `services:\n${range(500, (i) => `  s${i}: {image: "s:${i % 7}"}\n`).join('')}`,
    });
    const findings = await findIn([join(folder, 'compose.yaml')]);
    assert.deepEqual(
      imagesOf(findings),
      range(7, (i) => `s:${i}`),
    );
    assert.match(remarksOf(findings), /^.*compose\.yaml:502 services\.me\.extends: extends itself$/);
  });

  test('subcharts under two names each, nested, in folders and packed', TIME, async () => {
    const chart = (name: string, next?: string) =>
      `name: ${name}\n${next === undefined ? '' : `dependencies:\n- {name: ${next}, alias: one}\n- {name: ${next}, alias: two}\n`}`;
    const values = 'one: {image: {tag: "1"}}\ntwo: {image: {tag: "2"}}\nimage: {repository: r, tag: own}\n';
    const nested = Object.fromEntries(
      range(DEPTH, (i) => i).flatMap((i) => {
        const below = range(i, (k) => `charts/c${k + 1}/`).join('');
        return [
          [`${below}Chart.yaml`, chart(`c${i}`, i + 1 < DEPTH ? `c${i + 1}` : undefined)],
          [`${below}values.yaml`, values],
          [`${below}templates/a.yaml`, pod(`plain:${i}`)],
        ];
      }),
    ) as Record<string, string>;
    const expected = [...range(DEPTH, (i) => `plain:${i}`), 'r:1', 'r:2', 'r:own'].sort();
    const findings = await findIn([lay(nested)]);
    assert.deepEqual([imagesOf(findings), remarksOf(findings)], [expected, '']);
    const packed = gzipSync(
      await tarOf(Object.fromEntries(Object.entries(nested).map(([name, body]) => [`c0/${name}`, body]))),
    );
    assert.deepEqual(imagesOf(await findIn([lay({ 'c0.tgz': packed })])), expected);
  });

  test('subcharts that together unpack to more than Helm takes', TIME, async () => {
    const big = gzipSync(
      await tarOf({ 'a/Chart.yaml': 'name: a\n', 'a/big': Buffer.alloc(60 * 1024 * 1024) }),
    );
    const folder = lay({
      'Chart.yaml': 'name: top\n',
      ...Object.fromEntries(range(20, (i) => [`charts/a${i}.tgz`, big])),
    });
    assert.match(remarksOf(await findIn([folder])), /unpacks to more than 104857600 bytes/);
  });
});

describe('images: YAML that is more work than text', () => {
  /** Ends within the time, and says at most one thing. */
  function said(text: string): string {
    const errors: string[] = [];
    let documents = 0;
    for (const document of parseYaml(text, 'f', (error) => errors.push(error.message)))
      documents += document.value === undefined ? 0 : 1;
    return `${documents} ${errors.join('; ')}`;
  }
  const bomb = `a0: &a0 {image: x}\n${range(12, (i) => `a${i + 1}: &a${i + 1} [${range(10, () => `*a${i}`).join(', ')}]`).join('\n')}\n`;
  const merges = `a0: &a0 {k: 1}\n${range(40, (i) => `a${i + 1}: &a${i + 1} {<<: [*a${i}, *a${i}], k${i}: 1}`).join('\n')}\n`;
  for (const [title, text, expected] of [
    ['a million empty documents', '---\n'.repeat(900_000), /^0 $/],
    [
      'more lines than are read',
      '---\n'.repeat(2_000_000),
      /^0 f: too large to be read: more than 1000000 lines$/,
    ],
    [
      'a million documents',
      '--- a\n'.repeat(900_000),
      /^50000 f:\d+: too large to be read: more than 50000 documents$/,
    ],
    ['directives before a million documents', `%YAML 1.2\n${'---\n'.repeat(500_000)}a: 1\n`, /^[0-2] /],
    [
      'a percent sign in a text before many documents',
      `a: |\n x\n%x\n${'--- b\n'.repeat(20_000)}`,
      /^1999\d f:\d+: /,
    ],
    [
      'many documents that are each a bomb',
      `${bomb}---\n`.repeat(2000),
      /^0 (?:f:\d+: its aliases come to too much: more than \d+ values(?:; |$)){4,6}/,
    ],
    ['merge keys that double each other', merges, /^0 f:\d+: its aliases come to too much/],
    ['a merge of many sources', `a: &a {k: 1}\nb: {<<: [${'*a, '.repeat(150_000)}*a]}\n`, /^[01] /],
    ['many keys of one map', range(100_000, (i) => `k${i}:\n`).join(''), /^1 $/],
    ['one scalar of many megabytes', `a: "${'x'.repeat(20_000_000)}"\n`, /^1 $/],
    ['one scalar of many lines', `a: |\n${'  x\n'.repeat(900_000)}`, /^1 $/],
    ['one scalar of blanks', `a: "x${' '.repeat(5_000_000)}\n y"\n`, /^1 $/],
    ['a million brackets', '['.repeat(1_000_000), /nested too deeply: more than 200 levels$/],
    ['a million anchors', `a: ${'&a '.repeat(1_000_000)}x`, /^0 f:1: /],
  ] as const)
    test(title, TIME, () => {
      assert.match(said(text), expected);
    });

  test('a folder full of bombs ends, and does not hide the other files', TIME, async () => {
    const folder = lay({
      ...Object.fromEntries(range(300, (i) => [`bomb${i}.yaml`, bomb])),
      'z.yaml': pod('ok:1'),
    });
    assert.deepEqual(imagesOf(await findIn([folder])), ['ok:1']);
  });

  for (const [title, text] of [
    ['that do not close', '${'.repeat(1_000_000)],
    ['within each other', `${'${A:-'.repeat(50_000)}x${'}'.repeat(50_000)}`],
    ['beside each other', '${A:-x}'.repeat(300_000)],
    ['with a long value', '$LONG'.repeat(300_000)],
  ] as const)
    test(`variables ${title}`, TIME, () => {
      assert.ok(interpolate(text, { LONG: 'y'.repeat(1_000_000) }).text.length <= text.length);
    });

  test('variables in an image field are said in few words', TIME, async () => {
    const folder = lay({
      'compose.yaml': `services: {a: {image: "${'${X}'.repeat(400_000)}"}, b: {image: "${'${'.repeat(400_000)}"}}\n`,
      '.env': `A=${'a '.repeat(500_000)}b\n`,
    });
    const said = remarksOf(await findIn([folder]));
    assert.match(said, /services\.a\.image: .* is longer than/);
    assert.match(said, /services\.b\.image: .* is longer than 4096 characters/);
    assert.ok(said.length < 2000);
  });
});

const SECRET = 'zq7-SECRET-zq7';

describe('images reads regular files inside the given paths alone', () => {
  /** A place with what must not be read beside what is given. */
  function surroundings(): { outside: string; given: string } {
    const outside = lay({
      credentials: `TAG=${SECRET}\nAWS_SECRET_ACCESS_KEY=${SECRET}\n`,
      shadow: `root:${SECRET}:19000:0:99999:7:::\nnobody ${SECRET} x y\n`,
      'compose.yaml': `services: {s: {image: "${SECRET.toLowerCase()}:1"}}\n`,
      'base/kustomization.yaml': 'resources: [pod.yaml]\n',
      'base/pod.yaml': pod(`${SECRET.toLowerCase()}:1`),
      'chart/Chart.yaml': 'name: c\n',
      'chart/values.yaml': `image: {repository: ${SECRET.toLowerCase()}, tag: "1"}\n`,
    });
    return { outside, given: join(outside, 'given') };
  }
  const fifo = (path: string) => {
    assert.equal(spawnSync('mkfifo', ['--', path]).status, 0);
  };
  const compose = (text: string) => ({ 'compose.yaml': text, 'ok.yaml': pod('ok:1') });
  const image = 'services: {s: {image: "evil.example.com/x:${TAG}"}}\n';

  interface Case {
    readonly tree: Tree;
    /** Name in the folder to where it leads, relative to what lies outside; `fifo` makes one. */
    readonly links?: Readonly<Record<string, string>>;
    readonly says: RegExp;
    /** With `--allow-outside`. */
    readonly allowed?: RegExp;
  }
  const OUTSIDE = 'is outside the given paths: give its folder, or use --allow-outside';
  const CASES: Readonly<Record<string, Case>> = {
    'include of a file outside': {
      tree: compose('include: [../compose.yaml]\nservices: {}\n'),
      says: new RegExp(`compose.yaml:1 include: ../compose.yaml is included, and ${OUTSIDE}`),
      allowed: /zq7-secret-zq7:1/,
    },
    'include of a device': {
      tree: compose('include: [../../../../../../dev/zero]\nservices: {}\n'),
      says: /dev\/zero is included, and is outside/,
      allowed: /dev\/zero is included, and cannot be read/,
    },
    'include of a descriptor': {
      tree: compose('include: [/dev/stdin, /proc/self/fd/0, /proc/self/environ]\nservices: {}\n'),
      says: /is included, and/,
    },
    'extends of a file outside': {
      tree: compose('services: {s: {extends: {file: ../compose.yaml, service: s}}}\n'),
      says: /services.s.extends: ..\/compose.yaml is extended, and is outside/,
      allowed: /zq7-secret-zq7:1/,
    },
    '.env as a link to a file outside': {
      tree: compose(image),
      links: { '.env': 'credentials' },
      says: /\.env: is outside .*\n.*the variable TAG has no value; put it into \.env, or set it and use --env/,
      allowed: /evil.example.com\/x:zq7-SECRET-zq7/,
    },
    '.env as a link to a device': {
      tree: compose(image),
      links: { '.env': '/dev/zero' },
      says: /\.env: is outside/,
    },
    '.env as a pipe': {
      tree: compose(image),
      links: { '.env': 'fifo' },
      says: /\.env: is not a regular file/,
    },
    '.env as a folder': { tree: { ...compose(image), '.env/x': '' }, says: /TAG has no value/ },
    'an override as a link to a file outside': {
      tree: compose('services: {a: {image: "a:1"}}\n'),
      links: { 'compose.override.yaml': 'compose.yaml' },
      says: /compose\.override\.yaml.* is outside/,
      allowed: /zq7-secret-zq7:1/,
    },
    'a list as a link to a file outside': {
      tree: compose(''),
      links: { 'images.list': 'shadow' },
      says: /images\.list: is outside/,
    },
    'a list as a pipe': {
      tree: compose(''),
      links: { 'images.list': 'fifo' },
      says: /images\.list: is not a regular file/,
    },
    'a manifest as a link to a file outside, and to a device': {
      tree: compose(''),
      links: { 'a.yaml': 'base/pod.yaml', 'b.json': '/dev/zero' },
      says: /a\.yaml: is outside .*\n.*b\.json: is outside/,
      allowed: /zq7-secret-zq7:1/,
    },
    'a kustomization of what lies outside': {
      tree: {
        ...compose(''),
        'k/kustomization.yaml':
          'resources: [../../base, ../../base/pod.yaml]\npatches: [{path: ../../base/pod.yaml}]\n',
      },
      says: /resources\.0: \.\.\/\.\.\/base is outside .*\n.*resources\.1: .*\n.*patches\.0: .* is outside/,
      allowed: /zq7-secret-zq7:1/,
    },
    'a kustomization as a link to a file outside': {
      tree: { ...compose(''), 'k/x.txt': '' },
      links: { 'k/kustomization.yaml': 'base/kustomization.yaml' },
      says: /k\/kustomization\.yaml: is outside/,
    },
    'a kustomization as a pipe, and of a pipe': {
      tree: { ...compose(''), 'k/kustomization.yaml': 'resources: [pipe.yaml]\n', 'l/x.txt': '' },
      links: { 'k/pipe.yaml': 'fifo', 'l/kustomization.yaml': 'fifo' },
      says: /pipe\.yaml is not a regular file/,
    },
    "a chart's values as a link to a file outside": {
      tree: { ...compose(''), 'chart/Chart.yaml': 'name: c\n' },
      links: { 'chart/values.yaml': 'chart/values.yaml' },
      says: /chart: it is not rendered: a link in it is outside/,
    },
    'a packed chart as a pipe': {
      tree: compose(''),
      links: { 'c.tgz': 'fifo' },
      says: /c\.tgz: is not a regular file/,
    },
    'a link to itself, and to nothing': {
      tree: compose(''),
      links: { 'a.yaml': 'given/a.yaml', 'b.yaml': 'nothing' },
      says: /^$/,
    },
  };
  for (const [title, { tree, links = {}, says, allowed }] of Object.entries(CASES))
    test(title, TIME, async () => {
      const { outside, given } = surroundings();
      lay(tree, given);
      for (const [name, target] of Object.entries(links))
        if (target === 'fifo') fifo(join(given, name));
        else symlinkSync(target.startsWith('/') ? target : join(outside, target), join(given, name));
      const findings = await findIn([given]);
      assert.match(remarksOf(findings).replaceAll(`${given}/`, ''), says);
      const whole = JSON.stringify([findings.uses, findings.unknowns, findings.failures.map(String)]);
      assert.doesNotMatch(whole, /zq7/i);
      assert.ok(imagesOf(findings).includes('ok:1'));
      const all = await findIn([given], { allowOutside: true });
      if (allowed !== undefined) assert.match(`${imagesOf(all).join('\n')}\n${remarksOf(all)}`, allowed);
    });

  test(
    'links inside are followed, and what lies inside one given path may be named by another',
    TIME,
    async () => {
      const folder = lay({
        'a/compose.yaml': 'include: [../b/part.yml]\nservices: {s: {image: "a:${TAG}"}}\n',
        'a/values': 'TAG=7\n',
        'b/part.yml': 'services: {s: {image: "b:1"}}\n',
      });
      symlinkSync('values', join(folder, 'a/.env'));
      symlinkSync(join(folder, 'b/part.yml'), join(folder, 'a/link.yml'));
      const findings = await findIn([join(folder, 'a'), join(folder, 'b')]);
      assert.deepEqual([imagesOf(findings), remarksOf(findings)], [['a:7', 'b:1'], '']);
    },
  );

  test(
    'a file that is named may include what is beside it, and a pipe of the shell is read',
    TIME,
    async () => {
      const { given } = surroundings();
      lay(
        {
          'compose.yaml': 'include: [part.yml, ../compose.yaml]\nservices: {}\n',
          'part.yml': 'services: {s: {image: "b:1"}}\n',
        },
        given,
      );
      const named = await findIn([join(given, 'compose.yaml')]);
      assert.deepEqual(imagesOf(named), ['b:1']);
      assert.match(remarksOf(named), /is outside/);
      const bin = join(import.meta.dirname, '../../bin/imgconv.js');
      const shell = spawnSync(
        'bash',
        [
          '-c',
          `"$0" "$1" images <(printf '${pod('piped:1').replaceAll('\n', '\\n')}')`,
          process.execPath,
          bin,
        ],
        { encoding: 'utf8' },
      );
      assert.equal(shell.stdout, 'piped:1\n', shell.stderr);
    },
  );

  test('a pipe that is named is an error, not a wait', TIME, async () => {
    const folder = tempFolder();
    fifo(join(folder, 'a.yaml'));
    const { status, stderr } = await imgconv(['images', join(folder, 'a.yaml')]);
    assert.equal(status, 1);
    assert.match(stderr, /a\.yaml: not a regular file/);
  });

  test('the environment counts with --env alone', async () => {
    const { given } = surroundings();
    lay(compose(image), given);
    const env = { TAG: 'from-env' };
    const without = await imgconv(['images', given], { env });
    assert.deepEqual([without.status, without.stdout], [0, 'ok:1\n']);
    assert.match(
      without.stderr,
      /^imgconv: not determined: .* TAG has no value; put it into \.env, or set it and use --env\n$/,
    );
    const asked = await imgconv(['images', '--env', given], { env });
    assert.deepEqual([asked.stdout, asked.stderr], ['evil.example.com/x:from-env\nok:1\n', '']);
  });

  test('what every object of the language has is no variable', async () => {
    const folder = tempFolder();
    const names = ['constructor', 'hasOwnProperty', '__proto__', 'toString'];
    const services = names.map((name, i) => `  s${i}: {image: "demo/x:${i}\${${name}:+-set}"}`);
    writeFileSync(join(folder, 'compose.yaml'), ['services:', ...services, ''].join('\n'));
    const { status, stdout } = await imgconv(['images', folder]);
    assert.deepEqual([status, stdout], [0, names.map((_, i) => `demo/x:${i}\n`).join('')]);
  });

  test('a document that is no list, of no known kind or not YAML is not quoted', async () => {
    const folder = tempFolder();
    mkdirSync(join(folder, 'lists'));
    const texts = [
      `root:${SECRET}:19000:0:99999:7:::`,
      `machine example.com login me password ${SECRET}`,
      `* ${SECRET}`,
      `a:1 ${SECRET}:${SECRET}:${SECRET}`,
      `${SECRET}\u0000`,
      `a: *${SECRET}`,
      `a: !${SECRET} b`,
      `a: "${SECRET}`,
      `a: "\\${SECRET}"`,
      `a: |${SECRET}\n  b\n`,
      `- a\n${SECRET}: b`,
      `${SECRET}: 1\n${SECRET}: 2\n`,
      `services: {s: {image: "x:\${A}"}}\n`,
      `@${SECRET}`,
      `{"auths": {"h": {"auth": "${SECRET}}`,
      `%${SECRET}\n--- &${SECRET} &${SECRET}\n`,
    ];
    for (const [i, text] of texts.entries()) {
      writeFileSync(join(folder, `lists/${i}.list`), text);
      writeFileSync(join(folder, `${i}.yaml`), text);
      writeFileSync(join(folder, `${i}.json`), `{"services": 1, ${text}`);
    }
    writeFileSync(join(folder, '.env'), `A=" ${SECRET} "\n`);
    writeFileSync(join(folder, 'Kustomization'), `resources: [*${SECRET}]\n`);
    chmodSync(join(folder, '.env'), 0o600);
    const named = texts.flatMap((_, i) => [join(folder, `lists/${i}.list`), join(folder, `${i}.yaml`)]);
    for (const args of [['.'], ['.', '--json', '--debug'], [...named, '--debug']]) {
      const { stdout, stderr } = await imgconv(['images', ...args], { cwd: folder });
      assert.doesNotMatch(stdout + stderr, /zq7|SECRET/i);
      assert.match(stdout + stderr, /1\.list/);
    }
  });
});
