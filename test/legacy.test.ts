import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { readLegacy, type Members } from '../src/formats/docker-archive/legacy.js';
import { documentAt } from '../src/bytes/document.js';
import { digestOf } from '../src/bytes/hash.js';
import { headOf } from '../src/bytes/region.js';
import { indexFile } from '../src/codecs/tar-file.js';
import type { Digest } from '../src/model/digest.js';
import { refusal } from './support/errors.js';
import { fixture, projectRoot } from './support/fixtures.js';

function readFrom(files: Members) {
  return (name: string, limit: number) => {
    const at = files.get(name);
    return at && documentAt(at, `${files.path}: ${name}`, limit);
  };
}

/** Image IDs by name, and the layers in the order that they were hashed in. */
async function load(files: Members): Promise<{ ids: Record<string, string>; hashed: string[] }> {
  const hashed: string[] = [];
  const diffIdOf = (name: string): Promise<Digest> => {
    hashed.push(name);
    const at = files.get(name);
    assert.ok(at !== undefined, name);
    return Promise.resolve(digestOf(headOf(at, at.size)));
  };
  const images = await readLegacy(files, readFrom(files), diffIdOf);
  const ids = images.flatMap(({ names, config }) => names.map((name) => [name, digestOf(config)]));
  return { ids: Object.fromEntries(ids) as Record<string, string>, hashed };
}

/** An archive of these members, which notes the names that it is asked for. */
function archiveOf(members: Readonly<Record<string, string | Uint8Array>>): Members & { asked: string[] } {
  const asked: string[] = [];
  const get = (name: string) => {
    asked.push(name);
    const member = members[name];
    if (member === undefined) return undefined;
    const bytes = typeof member === 'string' ? Buffer.from(member) : member;
    return { kind: 'memory', path: name, size: bytes.length, bytes } as const;
  };
  return { path: 'old.tar', get, asked };
}

function v1Id(number: number): string {
  return number.toString(16).padStart(64, '0');
}

/** The folder of each image; the first is number 1, and PARENT in a JSON stands for the one before. */
function chainOf(jsons: readonly string[]): Record<string, string | Uint8Array> {
  const folders = jsons.map((json, i) => [
    [`${v1Id(i + 1)}/json`, json.replace('PARENT', v1Id(i))],
    [`${v1Id(i + 1)}/layer.tar`, EMPTY_TAR],
  ]);
  return Object.fromEntries(folders.flat()) as Record<string, string | Uint8Array>;
}

const EMPTY_TAR = new Uint8Array(1024);
const named = (number: number) => JSON.stringify({ a: { 1: v1Id(number) } });

describe('archives whose image IDs Docker 20.10 gave', () => {
  const shared = join(projectRoot, '../shared/fixtures');
  for (const { archive, list } of [
    { archive: fixture('legacy-v1.tar'), list: fixture('legacy-v1.image-ids.txt') },
    {
      archive: join(shared, 'legacy-v1-multi.tar'),
      list: join(shared, 'legacy-v1-multi.image-ids.docker20.txt'),
    },
  ]) {
    const skip = existsSync(archive) ? false : `${archive} is not there`;
    test(archive.slice(archive.lastIndexOf('/') + 1), { skip }, async () => {
      const lines = readFileSync(list, 'utf8').trim().split('\n');
      const { ids, hashed } = await load(indexFile(archive));
      assert.deepEqual(ids, Object.fromEntries(lines.map((line) => line.split(' '))));
      assert.deepEqual(hashed, [...new Set(hashed)], 'each layer is hashed once');
    });
  }
});

/*
 * Chains of v1 JSON, lowest first, each layer an empty tar of 1,024 bytes; loaded into Docker 20.10.24 (Debian's
 * 20.10.24+dfsg1, Go 1.19.8) as an archive without manifest.json, which gave these IDs.
 */
const line = '\u2028';
const paragraph = '\u2029';
const everyField = String.raw`"Shell": ["/bin/sh", "-c"], "StopTimeout": 0, "StopSignal": "SIGTERM",
    "Labels": {"z": "1", "a": "<2>", "\u00e9": null, "b\/c": "\u0041"}, "OnBuild": [], "MacAddress": "02:42:ac:11:00:02",
    "NetworkDisabled": true, "Entrypoint": "/entry", "WorkingDir": "\/srv", "Volumes": {"/b": {}, "/a": null, "/c": {"x": 1}},
    "Image": "sha256:x", "ArgsEscaped": true, "Healthcheck": {"Retries": 3, "Timeout": 30000000000, "Test": ["CMD", "true"]},
    "Cmd": ["echo", null, "a&b"], "Env": ["B=2", "A=1"], "StdinOnce": true, "OpenStdin": true, "Tty": true,
    "ExposedPorts": {"80/tcp": {}, "443/tcp": {}}, "AttachStderr": true, "AttachStdout": true, "AttachStdin": true,
    "User": "u", "Domainname": "d", "Hostname": "h", "PortSpecs": null, "Memory": 0, "CpuShares": 1.5`;
const emptyFields =
  '"Volumes":{},"ExposedPorts":{},"Env":[],"Cmd":[],"Labels":{},"Shell":[],"OnBuild":null,"Healthcheck":{},"StopTimeout":null,"NetworkDisabled":false,"StopSignal":""';
const ofVersion = (version: string) =>
  `{"docker_version":${JSON.stringify(version)},"created":"2015-06-01T00:00:00.50Z","os":"linux","extra":1.0,"config":{"Cmd":["a"]}}`;

const loaded: readonly { what: string; id: string; jsons: readonly string[] }[] = [
  {
    what: 'an empty object',
    id: 'sha256:72d225589f2dbdf8d8575adf25ed36719fd0b0d8a4fc2fef8f7ff151404d3641',
    jsons: ['{}'],
  },
  {
    what: 'white space, numbers, escapes and the order of nested keys stay as written',
    id: 'sha256:56c1e830aceaf103ea88d74a07914a5a397d7ca6a9ddda2b03688b3dcc09ef83',
    jsons: [
      String.raw`
{ "z" : [ 1.0, 1e5 ,12345678901234567890, -0, 1E+2 ] ,	"docker_version":"1.10.0", "config" : { "b" : 1 , "a" : "\u0041\/\u00e9 \"\\" },
  "empty" : [ ] , "none" : { } , "deep":[[{"k":[ "} , ]" ]}]] , "created":"2015-06-01T00:00:00Z" , "a":true }
`,
    ],
  },
  {
    what: 'HTML characters, U+2028 and U+2029 are escaped',
    id: 'sha256:df442e2e22c3a4d1a763f6ab663eea9da06e89da46e39342404430375c3523eb',
    jsons: [
      `{"docker_version":"1.10.0","config":{"<k>":"a<b>&c${line}${paragraph}","\\u2028":"\\u003c"},"<&>":"'"}`,
    ],
  },
  {
    what: 'keys are decoded, sorted by their bytes and encoded',
    id: 'sha256:2c2df4a7e892105409f3fb6919a913e0eb69203d1af7890210e3389996907596',
    jsons: [
      String.raw`{"docker_version":"1.10.0","😀":1,"￿":2,"é":3,"\u0061b":4,"ab":5,"\b\f\n":6,"\ud800":7,"Z":8,"":9}`,
    ],
  },
  {
    what: 'the last of equal keys counts, and v1 fields go',
    id: 'sha256:19cda27fcbef3cf619819a56636dd860d732980c3f798b840a9fd7530cdce957',
    jsons: [
      String.raw`{"docker_version":"1.10.0","x":1,"x":2,"id":"i","parent_id":"p","layer_id":"l","throwaway":true,"Size":12,
      "rootfs":{"type":"x"},"history":[1],"parent":"","sizes":3}`,
    ],
  },
  {
    what: 'keys in another case are read, and stay',
    id: 'sha256:9e28d09d7065b9cbe7205e209c57a9d83ca287c7d137caf72b49d75ad8ebf850',
    jsons: [
      String.raw`{"Docker_Version":"1.10.0","AUTHOR":"me","Comment":"c","CONTAINER_CONFIG":{"cmd":["a","b"]},"Created":"2015-06-01T00:00:00Z"}`,
    ],
  },
  {
    what: 'strings of the history',
    id: 'sha256:89c8627aaccddb3925672a82c9e563babcc92053f2d6ae881b8e78993e584c71',
    jsons: [
      String.raw`{"docker_version":"1.10.0","author":"\b\f\n\r\t\u0001\u001f\u007f\"\\\/<&>${line}\u2029 é \u00e9 😀 \ud83d\ude00","comment":"\ud800 \udc00x \ud800\ud83d\ude00",
      "container_config":{"Cmd":["/bin/sh","-c","#(nop) ADD file:<x> in \"/\"","\ud83d","\ude00"]}}`,
      String.raw`{"docker_version":"1.10.0","parent":"PARENT","author":null,"comment":"","container_config":{"Cmd":"one string"}}`,
      String.raw`{"docker_version":"1.10.0","parent":"PARENT","container_config":{"Cmd":[]}}`,
      String.raw`{"docker_version":"1.10.0","parent":"PARENT","container_config":null}`,
    ],
  },
  {
    what: 'times of the history',
    id: 'sha256:a84d43056c121c7395ee1fa523d1da1da04dd588f010bad43fb49c29c9ce51ea',
    jsons: [
      '"2015-06-01T00:00:00.120Z"',
      '"2015-06-01T00:00:00.000Z"',
      '"2015-06-01T00:00:00.1234567899Z"',
      '"2015-06-01T00:00:00,5+02:00"',
      '"2015-06-01T00:00:00.100-07:30"',
      '"2015-06-01T00:00:00+00:00"',
      '"2015-06-01T00:00:00-00:00"',
      '"2015-06-01T7:00:00Z"',
      '"2016-02-29T23:59:59Z"',
      '"0000-02-29T00:00:00Z"',
      '"9999-12-31T23:59:59.999999999+23:59"',
      'null',
    ].map((time, i) => `{"docker_version":"1.10.0",${i > 0 ? '"parent":"PARENT",' : ''}"created":${time}}`),
  },
  {
    what: 'no docker_version: every field written anew',
    id: 'sha256:bb6a39b1471b19e1ae595338e481ec85730cf68ba5f1d84f79fefdab1053e150',
    jsons: [
      `{"config": {${everyField}}, "container_config": {${everyField}}, "author": "a<b", "Size": 7, "os": "linux", "variant": "v8",
      "architecture": "arm64", "container": "c", "comment": "${line}", "created": "2015-06-01T00:00:00.500+02:00", "id": "x", "unknown": {"a": 1}}`,
    ],
  },
  {
    what: 'no docker_version: fields that are empty',
    id: 'sha256:d4fc84c80398c791e5a49cca968e4acfb7c0d58c1cf50154c85f4159b93c4bfc',
    jsons: [
      `{"config":{${emptyFields}},"container_config":{${emptyFields}},"author":"","os":"","Size":0,"created":null}`,
      '{"parent":"PARENT","config":{},"container_config":{}}',
      '{"parent":"PARENT","config":null,"container_config":null,"docker_version":null}',
    ],
  },
  {
    what: 'docker_version 1.7.0',
    id: 'sha256:7c14a59510a0bda23c996b3d3285577729533cae88413a92ac02bc7b7c628433',
    jsons: [ofVersion('1.7.0')],
  },
  {
    what: 'docker_version 1.8.2.9',
    id: 'sha256:d7b5264177a03603ff528018f36499739443e52ca40725b3d6a51babb5df74c5',
    jsons: [ofVersion('1.8.2.9')],
  },
  {
    what: 'docker_version 1.8.3-rc1',
    id: 'sha256:aa857de9af282e76153ed4173b8215e6d52c779d5a06b0f657d5014349446e74',
    jsons: [ofVersion('1.8.3-rc1')],
  },
  {
    what: 'docker_version 1.8.3',
    id: 'sha256:b0d59b497c1f1e144b224a0704092e2a4e9b8ddab5722010dfcfc6ea8771da6f',
    jsons: [ofVersion('1.8.3')],
  },
  {
    what: 'docker_version 1.8.3.0',
    id: 'sha256:a3def5ebc9c6b83f5bc5e234b7c6e2a6daeff2942d0ab09f81be6b85760bad1c',
    jsons: [ofVersion('1.8.3.0')],
  },
  {
    what: 'docker_version 1.10',
    id: 'sha256:59978c8b92f2cb969d041f10a57c93142a7a53b84fa5ac6860d3e4a74ae33604',
    jsons: [ofVersion('1.10')],
  },
  {
    what: 'docker_version 1.9-dev',
    id: 'sha256:015fef59ae91b02e4c4fd93cfe1aee2c84fb45a7173c54f7e3d570eacadc68a5',
    jsons: [ofVersion('1.9-dev')],
  },
  {
    what: 'docker_version +2',
    id: 'sha256:a326ae31c8506ead278b8cda279b3dd94fc4d49b10da690b0f44468f53b8f429',
    jsons: [ofVersion('+2')],
  },
];

describe('the config is what Docker 20.10 makes of the v1 JSON', () => {
  for (const { what, id, jsons } of loaded) {
    test(what, async () => {
      const { ids } = await load(archiveOf({ repositories: named(jsons.length), ...chainOf(jsons) }));
      assert.deepEqual(ids, { 'a:1': id });
    });
  }
});

test('an image has all its names, and a chain that images share is read once', async () => {
  const repositories = {
    b: { 2: v1Id(3), 1: v1Id(2) },
    a: { latest: v1Id(3) },
    'host:5000/c': { 1: v1Id(1) },
    d: null,
    e: {},
  };
  const chain = chainOf(['{}', '{"parent":"PARENT"}', '{"parent":"PARENT"}']);
  const files = archiveOf({ repositories: JSON.stringify(repositories), ...chain });
  const asked: string[] = [];
  const read = (name: string, limit: number) => {
    asked.push(name);
    assert.equal(limit, 8 * 1024 * 1024);
    return readFrom(files)(name, limit);
  };
  const images = await readLegacy(files, read, () => Promise.resolve(digestOf(EMPTY_TAR)));
  const layers = [1, 2, 3].map((number) => `${v1Id(number)}/layer.tar`);
  assert.deepEqual(
    images.map(({ names, layers }) => ({ names, layers })),
    [
      { names: ['a:latest', 'b:2'], layers },
      { names: ['b:1'], layers: layers.slice(0, 2) },
      { names: ['host:5000/c:1'], layers: layers.slice(0, 1) },
    ],
  );
  assert.deepEqual(asked, ['repositories', ...[3, 2, 1].map((number) => `${v1Id(number)}/json`)]);
});

for (const repositories of ['{}', '{"a":{}}', '{"a":null}']) {
  test(`no images in ${repositories}`, async () => {
    assert.deepEqual((await load(archiveOf({ repositories }))).ids, {});
  });
}

const BIG = 'x'.repeat(5 * 1024 * 1024);
const deepChain = (count: number) =>
  chainOf(Array.from({ length: count }, (_, i) => (i === 0 ? '{}' : '{"parent":"PARENT"}')));

test('a chain of 512 layers is read', async () => {
  const { hashed } = await load(archiveOf({ repositories: named(512), ...deepChain(512) }));
  assert.equal(hashed.length, 512);
});

describe('refused before any layer is read:', () => {
  const one = (json: string) => ({ repositories: named(1), ...chainOf([json]) });
  const naming = (id: unknown) => ({ repositories: JSON.stringify({ 'demo/a': { '1.0': id } }) });
  const cases: readonly {
    what: string;
    members: Readonly<Record<string, string | Uint8Array>>;
    code: Parameters<typeof refusal>[0];
    words: readonly string[];
  }[] = [
    { what: 'no repositories', members: {}, code: 'ARCHIVE_INVALID', words: ['old.tar: repositories'] },
    {
      what: 'a chain that loops',
      members: {
        repositories: named(3),
        ...chainOf([`{"parent":"${v1Id(2)}"}`, '{"parent":"PARENT"}', '{"parent":"PARENT"}']),
      },
      code: 'ARCHIVE_INVALID',
      words: ['old.tar', v1Id(3), v1Id(2), 'lead back'],
    },
    {
      what: 'an image that is its own parent',
      members: one(`{"parent":"${v1Id(1)}"}`),
      code: 'ARCHIVE_INVALID',
      words: ['old.tar', v1Id(1), 'lead back'],
    },
    {
      what: 'a parent that is not there',
      members: one(`{"parent":"${v1Id(7)}"}`),
      code: 'ARCHIVE_INVALID',
      words: ['old.tar', v1Id(1), v1Id(7), 'not in the archive'],
    },
    {
      what: 'more than 512 layers',
      members: { repositories: named(513), ...deepChain(513) },
      code: 'ARCHIVE_INVALID',
      words: ['old.tar', v1Id(513), 'more than 512 layers'],
    },
    {
      what: 'an image without json',
      members: { repositories: named(1) },
      code: 'BLOB_MISSING',
      words: ['old.tar', `${v1Id(1)}/json`],
    },
    {
      what: 'an image without layer.tar',
      members: { repositories: named(1), [`${v1Id(1)}/json`]: '{}' },
      code: 'BLOB_MISSING',
      words: ['old.tar', `${v1Id(1)}/layer.tar`],
    },
    {
      what: 'a parent without layer.tar',
      members: {
        repositories: named(2),
        ...chainOf(['{}', '{"parent":"PARENT"}']),
        [`${v1Id(9)}/json`]: '{}',
        [`${v1Id(2)}/json`]: `{"parent":"${v1Id(9)}"}`,
      },
      code: 'BLOB_MISSING',
      words: ['old.tar', `${v1Id(9)}/layer.tar`],
    },
    ...[
      '../../etc/passwd',
      v1Id(1).slice(1),
      `${v1Id(1)}0`,
      v1Id(0xa).toUpperCase(),
      `${v1Id(1)}\n`,
      '',
      null,
      1,
      {},
    ].map((id) => ({
      what: `${JSON.stringify(id)} for a v1 ID`,
      members: naming(id),
      code: 'MANIFEST_INVALID' as const,
      words: ['old.tar: repositories: demo/a: 1.0: ', JSON.stringify(id)],
    })),
    ...['../x', `sha256:${v1Id(1)}`, `${v1Id(1)}/../${v1Id(1)}`].map((id) => ({
      what: `${id} for a parent`,
      members: one(JSON.stringify({ parent: id })),
      code: 'MANIFEST_INVALID' as const,
      words: [`old.tar: ${v1Id(1)}/json: parent: `, id],
    })),
    ...['[]', 'null', '{"a":[]}', '{"a":"x"}', '{"a":{"b:c":"x"}}', '{"a":{"b@c":"x"}}', '{', ''].map(
      (repositories) => ({
        what: `${repositories || 'nothing'} for repositories`,
        members: { repositories },
        code: 'MANIFEST_INVALID' as const,
        words: ['old.tar: repositories: '],
      }),
    ),
    ...[
      ['', 'not JSON'],
      ['{', 'not JSON'],
      ['{} {}', 'not JSON'],
      ['\ufeff{}', 'expected an object'],
      ['[]', 'not a JSON object'],
      ['null', 'not a JSON object'],
      ['{"author":1}', 'author: expected a string, found 1'],
      ['{"docker_version":1.10}', 'docker_version: expected a string, found 1.10'],
      ['{"config":{"Env":["A=1",2]}}', 'config.Env.1: expected a string, found 2'],
      ['{"config":{"Labels":{"a":{}}}}', 'config.Labels.a: expected a string, found {}'],
      ['{"config":{"Volumes":{"/a":1}}}', 'config.Volumes./a: expected an object, found 1'],
      ['{"config":{"Volumes":["/a"]}}', 'config.Volumes: expected an object, found ["/a"]'],
      ['{"config":{"Cmd":{}}}', 'config.Cmd: expected an array, found {}'],
      ['{"config":{"Tty":"true"}}', 'config.Tty: expected true or false, found "true"'],
      [
        '{"config":{"Healthcheck":{"Interval":1e9}}}',
        'config.Healthcheck.Interval: expected a 64-bit integer',
      ],
      ['{"Size":9223372036854775808}', 'Size: expected a 64-bit integer'],
      ['{"created":""}', 'created: expected an RFC 3339 time'],
      ['{"created":"2015-02-29T00:00:00Z"}', 'created: expected an RFC 3339 time'],
      ['{"created":"2015-06-01T24:00:00Z"}', 'created: expected an RFC 3339 time'],
      ['{"created":"2015-06-01T00:00:00"}', 'created: expected an RFC 3339 time'],
      ['{"created":"2015-06-01T00:00:00\\u005a"}', 'created: expected an RFC 3339 time'],
      ['{"parent":"","Parent":""}', 'parent: is there twice'],
      ['{"config":{"Cmd":[],"cmd":[]}}', 'config.Cmd: is there twice'],
      ['{"docker_version":"1.10.0","RootFS":{}}', 'must not have "RootFS"'],
      ['{"docker_version":"1.10.0","hi\u017ftory":[]}', 'must not have "hi\u017ftory"'],
    ].map(([json = '', words = '']) => ({
      what: `the v1 JSON ${json}`,
      members: one(json),
      code: 'MANIFEST_INVALID' as const,
      words: [`old.tar: ${v1Id(1)}/json: `, words],
    })),
    {
      what: 'v1 JSON that is not UTF-8',
      members: { ...one(''), [`${v1Id(1)}/json`]: Buffer.from('{"author":"\xe9"}', 'latin1') },
      code: 'MANIFEST_INVALID',
      words: [`old.tar: ${v1Id(1)}/json: not JSON`],
    },
    {
      what: 'a config over 8 MiB',
      members: {
        repositories: named(3),
        ...chainOf([`{"author":"${BIG}"}`, `{"parent":"PARENT","author":"${BIG}"}`, '{"parent":"PARENT"}']),
      },
      code: 'ARCHIVE_INVALID',
      words: ['old.tar', v1Id(3), 'more than 8388608 bytes'],
    },
    {
      what: 'configs over 256 MiB in all',
      members: {
        ...chainOf([`{"author":"${BIG}"}`, ...Array.from({ length: 60 }, () => `{"parent":"${v1Id(1)}"}`)]),
        repositories: JSON.stringify({
          a: Object.fromEntries(Array.from({ length: 60 }, (_, i) => [i, v1Id(i + 2)])),
        }),
      },
      code: 'ARCHIVE_INVALID',
      words: ['old.tar', 'more than 268435456 bytes'],
    },
  ];
  for (const { what, members, code, words } of cases) {
    test(what, async () => {
      const files = archiveOf(members);
      let hashed = 0;
      const diffIdOf = () => Promise.resolve(digestOf(new Uint8Array(++hashed)));
      const read = readFrom(files);
      await assert.rejects(readLegacy(files, read, diffIdOf), refusal(code, ...words));
      assert.equal(hashed, 0);
      const names = /^(?:repositories|[0-9a-f]{64}\/(?:json|layer\.tar))$/;
      assert.deepEqual(
        files.asked.filter((name) => !names.test(name)),
        [],
        'nothing else is looked for',
      );
    });
  }
});
