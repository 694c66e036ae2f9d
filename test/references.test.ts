import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { findReferences } from '../src/discover/find.js';
import { Findings } from '../src/discover/findings.js';
import { interpolate } from '../src/discover/interpolate.js';
import { imgconv } from './support/cli.js';
import { put } from './support/images.js';
import { tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';

type Tree = Readonly<Record<string, string | Buffer>>;

function lay(tree: Tree): string {
  const folder = tempFolder();
  for (const [name, content] of Object.entries(tree)) put(join(folder, name), content);
  return folder;
}

/** Nothing of this machine: no helm, no variables. */
const BARE = { environment: { PATH: '/nowhere' }, stdin: () => '' };

function imagesOf(findings: Findings): string[] {
  return findings.images().map(({ reference }) => reference);
}

/** What was not known and what failed, without the folder that the test made. */
function remarksOf(folder: string, { unknowns, failures }: Findings): string[] {
  return [
    ...unknowns.map(({ file, line, field, reason }) => `${file}:${line ?? ''} ${field}: ${reason}`),
    ...failures.map(({ message }) => message),
  ].map((text) => text.replaceAll(`${folder}/`, ''));
}

interface Case {
  readonly title: string;
  readonly files: Tree;
  readonly images: readonly string[];
  /** Each has to be in one remark, and there are no others. */
  readonly remarks?: readonly string[];
  /** Relative to the tree; the tree itself when it is not said. */
  readonly paths?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

function runCases(cases: readonly Case[]): void {
  for (const { title, files, images, remarks = [], paths = ['.'], environment } of cases) {
    test(title, async () => {
      const folder = lay(files);
      const findings = await findReferences(
        paths.map((path) => (path === '.' ? folder : join(folder, path))),
        { ...BARE, variables: environment },
      );
      const said = remarksOf(folder, findings);
      assert.deepEqual(imagesOf(findings), images, said.join('\n'));
      assert.equal(said.length, remarks.length, said.join('\n'));
      for (const [i, remark] of remarks.entries())
        assert.ok(said[i]?.includes(remark), `${remark} in ${said[i] ?? ''}`);
    });
  }
}

const workload = (kind: string, template: string) =>
  `apiVersion: apps/v1\nkind: ${kind}\nmetadata: {name: x}\nspec:\n  template:\n    spec:\n      containers:\n      - {name: c, image: "${template}"}\n`;

describe('images: Kubernetes', () => {
  runCases([
    ...['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'ReplicationController', 'Job'].map(
      (kind) => ({
        title: kind,
        files: { 'a.yaml': workload(kind, 'demo/app:1') },
        images: ['demo/app:1'],
      }),
    ),
    {
      title: 'a Pod with init and ephemeral containers and an image volume; a CronJob, two levels deeper',
      files: {
        'pod.yml': `apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  initContainers: [{name: i, image: init:1}]
  containers:
  - name: c
    image: "quay.io/org/app@sha256:${'a'.repeat(64)}"
  ephemeralContainers: [{name: e, image: debug}]
  volumes:
  - name: v
    image: {reference: quay.io/org/data:v2, pullPolicy: IfNotPresent}
`,
        'cron.yaml': `apiVersion: batch/v1
kind: CronJob
spec:
  jobTemplate:
    spec:
      template:
        spec:
          containers:
            - image: cron:1
`,
      },
      images: [
        'cron:1',
        'debug',
        'init:1',
        `quay.io/org/app@sha256:${'a'.repeat(64)}`,
        'quay.io/org/data:v2',
      ],
    },
    {
      title: 'several documents, a List, JSON, an array of resources; one image spelt in three ways is one',
      files: {
        'many.yaml': `# first\n---\n${workload('Deployment', 'nginx')}---\n\n---\n${workload('Job', 'docker.io/library/nginx:latest')}...\n`,
        'list.json': JSON.stringify({
          apiVersion: 'v1',
          kind: 'List',
          items: [{ apiVersion: 'v1', kind: 'Pod', spec: { containers: [{ image: 'from-list:1' }] } }],
        }),
        'array.json': JSON.stringify([
          {
            apiVersion: 'v1',
            kind: 'Pod',
            spec: { containers: [{ image: 'library/nginx' }, { image: 'from-array:1' }] },
          },
        ]),
      },
      images: ['docker.io/library/nginx:latest', 'from-array:1', 'from-list:1'],
    },
    {
      title: 'custom resources: image fields wherever they stand, whole and split',
      files: {
        'cr.yaml': `apiVersion: example.com/v1
kind: Database
spec:
  image: postgres:16
  exporter:
    image: {repository: org/exporter, tag: 1.5}
  proxy:
    image:
      registry: registry.k8s.io
      repository: proxy
      digest: sha256:${'b'.repeat(64)}
  ui: {image: {name: org/ui, tag: v3}}
  backup: {image: org/backup, tag: "7"}
  none: {image: ""}
  logo: {image: {url: "https://example.com/x.png"}}
`,
      },
      images: [
        'org/backup:7',
        'org/exporter:1.5',
        'org/ui:v3',
        'postgres:16',
        `registry.k8s.io/proxy@sha256:${'b'.repeat(64)}`,
      ],
    },
    {
      title: 'schemas and secrets hold no images, nor do files of other tools',
      files: {
        'crd.yaml':
          'apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {versions: [{schema: {image: {type: string}}, image: "x:1"}]}\n',
        'secret.yaml': 'apiVersion: v1\nkind: Secret\ndata: {image: aGVsbG8=}\n',
        '.gitlab-ci.yml': 'image: hidden:1\n',
        'ci.yml': 'jobs: {a: {container: {image: "ci:1"}}}\n',
        'node_modules/x/pod.yaml': workload('Job', 'vendored:1'),
        'package.json': '{"image": "x:1"}',
        'tsconfig.json': '{ // a comment\n}',
        'README.md': 'image: doc:1',
      },
      images: [],
    },
    {
      title: 'what is no reference is said with its file and line, and so is a split image without a tag',
      files: {
        'a.yaml': `apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: Not A Reference\n  - image: ok:1\n  x: {image: {repository: org/x}}\n`,
      },
      images: ['ok:1'],
      remarks: [
        'a.yaml:5 spec.containers.0.image: "Not A Reference"',
        'a.yaml:7 spec.x.image: org/x has neither',
      ],
    },
    {
      title: 'aliases and merge keys are followed, to the line where the image stands',
      files: {
        'a.yaml': `apiVersion: v1\nkind: Pod\nx: &c\n  image: base:1\nspec:\n  containers:\n  - <<: *c\n    name: a\n  - <<: *c\n    image: other:1\n`,
      },
      images: ['base:1', 'other:1'],
    },
  ]);

  test('--why names the file, line and field of every use', async () => {
    const folder = lay({
      'b.yaml': workload('Job', 'demo/app:1'),
      'a.yaml': `---\n${workload('Deployment', 'demo/app:1')}`,
    });
    const { status, stdout } = await imgconv(['images', '.', '--why'], { cwd: folder });
    assert.equal(status, 0);
    assert.equal(
      stdout,
      'demo/app:1\n  # a.yaml:9 spec.template.spec.containers.0.image\n  # b.yaml:8 spec.template.spec.containers.0.image\n',
    );
  });
});

describe('images: broken and hostile files', () => {
  const pod = 'apiVersion: v1\nkind: Pod\nspec: {containers: [{image: "ok:1"}]}\n';
  const bomb = [
    'a0: &a0 {image: x}',
    ...Array.from(
      { length: 12 },
      (_, i) => `a${i + 1}: &a${i + 1} [${Array<string>(10).fill(`*a${i}`).join(', ')}]`,
    ),
  ].join('\n');
  const merge = `m: &m {${Array.from({ length: 3000 }, (_, i) => `k${i}: 1`).join(', ')}}\n${Array.from({ length: 1000 }, (_, i) => `x${i}: {<<: *m}`).join('\n')}\n`;
  for (const [title, text, what] of [
    ['a flow that does not end', 'a: [1,\nb: 2\n', ':2: '],
    ['a tab', 'a:\n\t- b\n', ':2: Tabs are not allowed'],
    ['a key twice', 'a: 1\nb: 1\na: 2\n', ':3: Map keys must be unique'],
    ['an alias of nothing', 'x: 1\na: *b\n', 'b.yaml:2: '],
    ['a bomb of aliases', `${bomb}\n`, 'its aliases come to too much'],
    ['a bomb of merges', merge, 'its aliases come to too much'],
    ['an alias within itself', 'a: &a [*a]\n', ':1: '],
    ['brackets without end', '['.repeat(100_000), ':1: nested too deeply'],
    ['braces without end', '{a: '.repeat(50_000), ':1: nested too deeply'],
    ['dashes without end', `${'- '.repeat(100_000)}a`, ':1: nested too deeply'],
    ['more tokens than are read', `[${'1,'.repeat(600_000)}1]`, 'too large to be read'],
    ['bytes that are no text', Buffer.from([0x61, 0x3a, 0x20, 0xff, 0x0a]), 'not UTF-8'],
  ] as const) {
    test(`${title}: an error that names file and line, and the other files go on`, async () => {
      const folder = lay({ 'b.yaml': text, 'a.yaml': pod, 'c.yaml': pod.replace('ok', 'also') });
      const findings = await findReferences([folder], BARE);
      assert.deepEqual(imagesOf(findings), ['also:1', 'ok:1']);
      const [failure, ...others] = findings.failures;
      assert.equal(others.length, 0);
      assert.equal(failure?.code, 'DOCUMENT_INVALID');
      assert.ok(failure.message.startsWith(`${folder}/b.yaml`), failure.message);
      assert.ok(failure.message.includes(what), failure.message);
    });
  }

  test('a broken document does not hide the others of its file; the exit status is 1', async () => {
    const folder = lay({ 'a.yaml': `${pod}---\nb: [\n---\n${pod.replace('ok', 'after')}` });
    const { status, stdout, stderr } = await imgconv(['images', 'a.yaml'], { cwd: folder });
    assert.deepEqual([status, stdout], [1, 'after:1\nok:1\n']);
    assert.match(stderr, /^imgconv: a\.yaml:6: /);
  });

  test('a file that is not there is an error, the others go on', async () => {
    const folder = lay({ 'a.yaml': pod });
    const { status, stdout, stderr } = await imgconv(['images', 'nope.yaml', 'a.yaml'], { cwd: folder });
    assert.deepEqual([status, stdout], [1, 'ok:1\n']);
    assert.match(stderr, /^imgconv: nope\.yaml: no such file/);
  });

  test('keys that are names in JavaScript are keys', async () => {
    const folder = lay({
      'a.yaml': `apiVersion: v1\nkind: Pod\n__proto__: {image: "proto:1"}\nconstructor: {image: "c:1"}\n`,
    });
    assert.deepEqual(imagesOf(await findReferences([folder], BARE)), ['c:1', 'proto:1']);
    assert.equal(({} as Record<string, unknown>)['image'], undefined);
  });
});

describe('images: lists', () => {
  runCases([
    {
      title: 'files that are named like lists, and any that is named',
      files: {
        NginxImageList: 'nginx:1.25 # web\n\n# more\nghcr.io/org/app:2\n',
        'images-list.txt': 'redis\n',
        'site.list': 'oci://ghcr.io/org/charts/app:1.0.0\n',
        'any.txt': 'not:read\n',
      },
      images: ['ghcr.io/org/app:2', 'nginx:1.25', 'oci://ghcr.io/org/charts/app:1.0.0', 'redis'],
    },
    {
      title: 'any file that is named',
      files: { 'any.txt': 'a:1\nb:2  c:3\n' },
      paths: ['any.txt'],
      images: ['a:1', 'b:2'],
    },
    {
      title: 'a bad line is said',
      files: { 'images.txt': 'a:1\nx/UPPER:1 \n' },
      images: ['a:1'],
      remarks: ['images.txt:2 : the line is not an image reference'],
    },
    {
      title: 'a file of no known kind, when it is named',
      files: { 'x.yaml': 'a: 1\n', 'y.txt': 'Some words here, and more.\n' },
      paths: ['x.yaml', 'y.txt'],
      images: [],
      remarks: ['x.yaml: : neither', 'y.txt: : neither'],
    },
  ]);

  test('- is a list or a manifest on stdin, and what is printed is such a list', async () => {
    const first = await imgconv(['images', '-', '--why'], { stdin: workload('Job', 'demo/app:1') });
    assert.equal(first.stdout, 'demo/app:1\n  # stdin:8 spec.template.spec.containers.0.image\n');
    const second = await imgconv(['images', '-'], { stdin: first.stdout });
    assert.deepEqual([second.status, second.stdout], [0, 'demo/app:1\n']);
  });

  test('--json gives uses, what is not known, and errors', async () => {
    const folder = lay({ 'images.txt': 'a:1\nA:1\n' });
    const { stdout } = await imgconv(['images', 'images.txt', 'no.yaml', '--json'], { cwd: folder });
    assert.deepEqual(JSON.parse(stdout), {
      images: [{ reference: 'a:1', uses: [{ file: 'images.txt', line: 1, field: '' }] }],
      unknown: [
        {
          file: 'images.txt',
          line: 2,
          field: '',
          reason: 'the line is not an image reference',
        },
      ],
      errors: [
        {
          code: 'NOT_FOUND',
          message: 'no.yaml: no such file or folder',
          hint: 'check the spelling of the path and the name',
        },
      ],
    });
  });
});

describe('images: kustomize', () => {
  const digest = `sha256:${'c'.repeat(64)}`;
  const base = {
    'base/kustomization.yaml': 'resources: [web.yaml]\nimages: [{name: app, newTag: base}]\n',
    'base/web.yaml': `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      initContainers: [{name: i, image: "app:0"}]
      containers:
      - {name: web, image: "nginx:1@${digest}"}
      - {name: side, image: "org/side:1"}
---
apiVersion: example.com/v1
kind: Other
spec: {image: "nginx:1"}
`,
  };
  runCases([
    {
      title:
        'resources as images: changes them, in containers alone; what is taken in does not stand for itself',
      files: base,
      images: ['app:base', 'nginx:1', `nginx:1@${digest}`, 'org/side:1'],
    },
    {
      title: 'an overlay over a base: newName, newTag, digest',
      files: {
        ...base,
        'prod/kustomization.yml': `resources:\n- ../base\nimages:\n- {name: nginx, newName: mirror.example.com/web, newTag: "2"}\n- {name: app, digest: "${digest}"}\n- {name: side, newTag: "9"}\n- {name: org/side, newName: other/side}\n`,
      },
      images: [`app@${digest}`, 'mirror.example.com/web:2', 'nginx:1', 'other/side:1'],
    },
    {
      title: 'a base that is named counts by itself',
      files: {
        ...base,
        'prod/kustomization.yaml': 'bases: [../base]\nimages: [{name: app, newTag: prod}]\n',
      },
      paths: ['prod', 'base'],
      images: ['app:base', 'app:prod', 'nginx:1', `nginx:1@${digest}`, 'org/side:1'],
    },
    {
      title: 'merge patches and JSON patches',
      files: {
        ...base,
        'prod/kustomization.yaml': `resources: [../base]
patches:
- path: patch.yaml
- target: {kind: Deployment}
  patch: |-
    - op: replace
      path: /spec/template/spec/containers/1/image
      value: org/side:3
images: [{name: patched, newTag: "5"}]
`,
        'prod/patch.yaml':
          'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: web, image: "patched:4"}]}}}\n',
      },
      images: ['app:base', 'nginx:1', 'org/side:1', 'org/side:3', 'patched:5'],
      remarks: ['prod/kustomization.yaml:4 patches.1: a patch says other images'],
    },
    {
      title: 'what is elsewhere, missing, or goes in circles is said',
      files: {
        'a/kustomization.yaml':
          'resources:\n- https://github.com/org/repo//deploy?ref=v1\n- gone.yaml\nhelmCharts: [{name: x}]\n',
        'b/kustomization.yaml': 'resources: [c]\n',
        'b/c/kustomization.yaml': 'resources: [..]\n',
      },
      paths: ['a', 'b'],
      images: [],
      remarks: [
        'a/kustomization.yaml:2 resources.0: https://',
        'a/kustomization.yaml:4 helmCharts.0: ',
        'a/kustomization.yaml:3: gone.yaml: no such',
        'it takes in itself',
      ],
    },
  ]);
});

describe('images: Compose', () => {
  runCases([
    {
      title: 'services: image, build alone, both, extends, an image mount, merge keys',
      files: {
        'docker-compose.yml': `x-base: &base
  image: base:1
services:
  web: {image: nginx:1.25}
  built: {build: .}
  both: {build: ., image: org/both:2}
  local: {build: ., image: org/local:2, pull_policy: build}
  child: {extends: {service: web}}
  other: {extends: {file: common.yml, service: db}}
  merged: {<<: *base, ports: ["80"]}
  data:
    image: app:1
    volumes: [{type: image, source: org/data:1, target: /d}, "x:/y"]
`,
        'common.yml': 'services: {db: {image: "postgres:16"}}\n',
      },
      images: ['app:1', 'base:1', 'nginx:1.25', 'org/both:2', 'org/data:1', 'postgres:16'],
    },
    {
      title: 'variables: the environment, then .env, then defaults; without a value it is said',
      files: {
        'compose.yaml': `services:
  a: {image: "a:\${TAG}"}
  b: {image: "b:\${NONE:-\${TAG}-x}"}
  c: {image: "\${REGISTRY:-quay.io}/c:\${EMPTY-kept}1"}
  d: {image: "d:\${NONE}"}
  e: {image: "e:\${NONE:?say which}"}
  f: {image: "f:1\${TAG:+-debug}"}
  g: {image: "g:$OUTER"}
`,
        '.env': '# values\nINHERITED\nTAG=2 # two\nexport QUOTED="x"\nEMPTY=\nOUTER=inner\n',
      },
      environment: { OUTER: 'env' },
      images: ['a:2', 'b:2-x', 'f:1-debug', 'g:env', 'quay.io/c:1'],
      remarks: [
        'compose.yaml:5 services.d.image: d:${NONE}: the variable NONE has no value',
        'compose.yaml:6 services.e.image: e:${NONE:?say which}: the variable NONE has no value (say which)',
      ],
    },
    {
      title: 'an override lies over its file; includes are followed',
      files: {
        'compose.yml':
          'include: [sub/part.yml, {path: [gone.yml]}]\nservices: {a: {image: "a:1"}, b: {image: "b:1"}}\n',
        'compose.override.yml': 'services: {b: {image: "b:2"}, c: {image: "c:1"}}\n',
        'sub/part.yml': 'services: {s: {image: "s:1"}}\n',
      },
      images: ['a:1', 'b:2', 'c:1', 's:1'],
      remarks: ['compose.yml:1 include: gone.yml is included'],
    },
  ]);

  for (const [text, expected, lacking] of [
    ['$A', '1', ''],
    ['${A}', '1', ''],
    ['$$A', '$A', ''],
    ['${E:-d}', 'd', ''],
    ['${E-d}', '', ''],
    ['${N-d}', 'd', ''],
    ['${N:-${A}}', '1', ''],
    ['${N:-${M:-deep}}', 'deep', ''],
    ['${A:+x}', 'x', ''],
    ['${E:+x}', '', ''],
    ['${E+x}', 'x', ''],
    ['${N+x}', '', ''],
    ['${N:-a:b/c}', 'a:b/c', ''],
    ['${N}', '', 'N'],
    ['${N:-$M}', '', 'M'],
    ['${E:?no}', '', 'E'],
    ['${E?no}', '', ''],
    ['${', '${', ''],
    ['a$', 'a$', ''],
    ['${A', '${A', ''],
    ['$1', '$1', ''],
  ] as const)
    test(`the variables of ${text}`, () => {
      const result = interpolate(text, { A: '1', E: '' });
      assert.deepEqual([result.text, result.lacking.map(({ name }) => name).join()], [expected, lacking]);
    });
});

const CHART: Tree = {
  'Chart.yaml': `apiVersion: v2
name: demo
version: 1.0.0
appVersion: "3.1"
dependencies:
- {name: redis, condition: redis.enabled}
- {name: off, condition: off.enabled}
- {name: sub, alias: second}
- {name: gone}
annotations:
  artifacthub.io/images: |
    - name: extra
      image: ghcr.io/org/extra:1
`,
  'values.yaml': `image: {repository: org/app, tag: ""}
sidecar:
  image: {registry: quay.io, repository: org/side, tag: 1.2, digest: ""}
controller:
  image: {registry: registry.k8s.io, image: ingress/controller, tag: v1, digest: "sha256:${'d'.repeat(64)}"}
initImage: busybox:1.36
metrics: {repository: org/metrics, tag: v2}
plain: {image: org/plain, tag: "4"}
git: {repository: "https://github.com/x/y", branch: main}
off: {enabled: false}
second: {image: {tag: over}}
`,
  'templates/pod.yaml': 'apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: "fixed:1"}]}\n',
  'templates/job.yaml': `{{- if .Values.job }}\nimage: "{{ .Values.image.repository }}"\n    - image: literal:2 # as it is\n{{- end }}\n`,
  'templates/tests/t.yaml': 'spec:\n  image: {{ .Values.x }}\n',
  'charts/redis/Chart.yaml': 'apiVersion: v2\nname: redis\nversion: 1.0.0\n',
  'charts/redis/values.yaml': 'image: {registry: docker.io, repository: bitnami/redis, tag: 7.2}\n',
  'charts/off/Chart.yaml': 'apiVersion: v2\nname: off\nversion: 1.0.0\n',
  'charts/off/values.yaml': 'image: {repository: org/off, tag: "1"}\n',
};
const CHART_IMAGES = [
  'busybox:1.36',
  'docker.io/bitnami/redis:7.2',
  'fixed:1',
  'ghcr.io/org/extra:1',
  'literal:2',
  'org/app:3.1',
  'org/metrics:v2',
  'org/plain:4',
  'org/sub:over',
  'quay.io/org/side:1.2',
  `registry.k8s.io/ingress/controller:v1@sha256:${'d'.repeat(64)}`,
];

/** As `helm package` lays files: below the chart's name. */
async function packed(name: string, files: Tree): Promise<Buffer> {
  return gzipSync(
    await tarOf(Object.fromEntries(Object.entries(files).map(([file, body]) => [`${name}/${file}`, body]))),
  );
}

async function chartTree(): Promise<Tree> {
  const sub = await packed('sub', {
    'Chart.yaml': 'apiVersion: v2\nname: sub\nversion: 1.0.0\n',
    'values.yaml': 'image: {repository: org/sub, tag: own}\n',
  });
  return { ...CHART, 'charts/sub-1.0.0.tgz': sub };
}

describe('images: Helm charts without helm', () => {
  const remarks = [
    'image: has no tag, so the chart',
    '2 image fields need rendering',
    'the subchart gone is not in charts/',
  ];

  test('a folder: values, subcharts with what the chart says for them, annotations, plain templates', async () => {
    const folder = lay(await chartTree());
    const findings = await findReferences([folder], BARE);
    assert.deepEqual(imagesOf(findings), CHART_IMAGES);
    const said = remarksOf(folder, findings);
    assert.equal(said.length, remarks.length, said.join('\n'));
    for (const remark of remarks)
      assert.ok(
        said.some((one) => one.includes(remark)),
        `${remark} in\n${said.join('\n')}`,
      );
    assert.ok(said.some((one) => one.includes('templates/job.yaml:2, templates/tests/t.yaml:2')));
  });

  test('packed: the same', async () => {
    const folder = lay({ 'demo-1.0.0.tgz': await packed('demo', await chartTree()) });
    const findings = await findReferences([folder], BARE);
    assert.deepEqual(imagesOf(findings), CHART_IMAGES);
    assert.equal(remarksOf(folder, findings).length, remarks.length);
  });

  test('global.imageRegistry goes before every registry, in subcharts too', async () => {
    const folder = lay({
      'Chart.yaml': 'name: a\n',
      'values.yaml':
        'global: {imageRegistry: mirror.local}\nimage: {registry: docker.io, repository: a, tag: "1"}\n',
      'charts/b/Chart.yaml': 'name: b\n',
      'charts/b/values.yaml':
        'global: {imageRegistry: ""}\nimage: {registry: docker.io, repository: b, tag: "1"}\n',
    });
    assert.deepEqual(imagesOf(await findReferences([folder], BARE)), [
      'mirror.local/a:1',
      'mirror.local/b:1',
    ]);
  });

  test('the condition of a subchart decides before its tags', async () => {
    const subchart = (name: string): Tree => ({
      [`charts/${name}/Chart.yaml`]: `name: ${name}\n`,
      [`charts/${name}/values.yaml`]: `image: {repository: ${name}, tag: "1"}\n`,
    });
    const folder = lay({
      'Chart.yaml': `name: a
dependencies:
- {name: on, condition: "unset.enabled, on.enabled", tags: [back]}
- {name: off, condition: off.enabled, tags: [front]}
- {name: tagged, condition: unset.enabled, tags: [back]}
- {name: both, tags: [back, front]}
`,
      'values.yaml': 'tags: {back: false, front: true}\non: {enabled: true}\noff: {enabled: false}\n',
      ...subchart('on'),
      ...subchart('off'),
      ...subchart('tagged'),
      ...subchart('both'),
    });
    assert.deepEqual(imagesOf(await findReferences([folder], BARE)), ['both:1', 'on:1']);
  });

  test('an archive without a chart is passed over in a folder, and an error when it is named', async () => {
    const folder = lay({ 'x.tgz': gzipSync(await tarOf({ 'a/b': 'c' })), 'images.txt': 'a:1\n' });
    const walked = await findReferences([folder], BARE);
    assert.deepEqual([imagesOf(walked), remarksOf(folder, walked)], [['a:1'], []]);
    const named = await findReferences([join(folder, 'x.tgz')], BARE);
    assert.deepEqual(remarksOf(folder, named), ['x.tgz: not a Helm chart: there is no Chart.yaml in it']);
  });

  test('an archive that unpacks to more than Helm takes is an error, in bounded memory', async () => {
    const folder = lay({
      'x.tgz': gzipSync(
        await tarOf({ 'a/Chart.yaml': 'name: a\n', 'a/big': Buffer.alloc(101 * 1024 * 1024) }),
      ),
    });
    const findings = await findReferences([folder], BARE);
    assert.match(remarksOf(folder, findings).join(), /^x\.tgz: unpacks to more than 104857600 bytes$/);
  });
});

describe('images: Helm charts with helm', () => {
  /** Stands for helm: shows how it was called on stderr, and prints a rendering, or fails. */
  function helm(script: string): { PATH: string } {
    const folder = tempFolder();
    writeFileSync(join(folder, 'helm'), `#!/bin/sh\n${script}`);
    chmodSync(join(folder, 'helm'), 0o755);
    return { PATH: `${folder}:/usr/bin:/bin` };
  }
  const rendering = `[ "$1 $2 $3" = 'template -- release-name' ] && [ -f "$4/Chart.yaml" ] || exit 3
cat <<'END'
---
# Source: demo/templates/a.yaml
${workload('Deployment', 'rendered:1')}---
# Source: demo/templates/b.yaml
apiVersion: v1
kind: ConfigMap
data: {x: y}
END
`;

  test('is rendered, and nothing else is looked at', async () => {
    const folder = lay(CHART);
    const findings = await findReferences([folder], { ...BARE, environment: helm(rendering) });
    assert.deepEqual(imagesOf(findings), ['rendered:1']);
    assert.equal(findings.uses[0]?.file, `${folder}: demo/templates/a.yaml`);
    assert.deepEqual(remarksOf(folder, findings), []);
  });

  test('when helm fails it is said why, and the files are looked at', async () => {
    const folder = lay({ 'Chart.yaml': 'name: a\n', 'values.yaml': 'image: {repository: a, tag: "1"}\n' });
    const findings = await findReferences([folder], {
      ...BARE,
      environment: helm('echo "Error: no such thing" >&2; exit 1\n'),
    });
    assert.deepEqual(imagesOf(findings), ['a:1']);
    assert.match(remarksOf(folder, findings).join(), /helm cannot render it: Error: no such thing/);
  });
});

test('what several files use is put together however much it is', () => {
  const [all, some] = [new Findings(), new Findings()];
  for (let i = 0; i < 200_000; i++) some.found('app', { file: 'list', line: i, field: '' });
  all.add(some);
  all.map((use) => use).remove(new Set(['none']));
  assert.equal(all.uses.length, 200_000);
});
