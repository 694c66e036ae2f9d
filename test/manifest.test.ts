import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseConfig } from '../src/model/config.js';
import { ImgconvError } from '../src/model/errors.js';
import { manifestPayload, parseManifest } from '../src/model/manifest.js';
import { refusal } from './support/errors.js';
import { ARTIFACTS } from './support/layouts.js';
import { descriptorOf, digestText, DOCKER, OCI, part } from './support/images.js';

const SCHEMA1 = 'application/vnd.docker.distribution.manifest.v1+json';
const SIGNED = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
const config = descriptorOf(part(OCI.config, {}));
const layer = descriptorOf(part(OCI.gzip, Buffer.from('layer')));
const member = descriptorOf(part(OCI.manifest, { member: true }));
const image = { schemaVersion: 2, mediaType: OCI.manifest, config, layers: [layer] };
const index = { schemaVersion: 2, mediaType: OCI.index, manifests: [member] };

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

describe('parseManifest', () => {
  for (const [title, raw, kind, mediaType] of [
    ['an OCI image', image, 'image', OCI.manifest],
    ['a Docker image', { ...image, mediaType: DOCKER.manifest }, 'image', DOCKER.manifest],
    ['an OCI index', index, 'index', OCI.index],
    ['a Docker list', { ...index, mediaType: DOCKER.index }, 'index', DOCKER.index],
    ['an OCI image that does not say so', { schemaVersion: 2, config, layers: [] }, 'image', OCI.manifest],
    ['an OCI index that does not say so', { schemaVersion: 2, manifests: [] }, 'index', OCI.index],
    [
      'an image with null where OCI has nothing',
      { ...image, annotations: null, subject: null },
      'image',
      OCI.manifest,
    ],
    ['an image whose layers are null', { ...image, layers: null }, 'image', OCI.manifest],
    [
      'an image whose layers are null and that does not say what it is',
      { schemaVersion: 2, config, layers: null },
      'image',
      OCI.manifest,
    ],
    ['an index whose manifests are null', { ...index, manifests: null }, 'index', OCI.index],
    ['an image with fields of the future', { ...image, future: { layers: 1 } }, 'image', OCI.manifest],
    ['an OCI artifact', { mediaType: ARTIFACTS[0], blobs: [layer] }, 'artifact', ARTIFACTS[0]],
    ["ORAS' artifact without blobs", { mediaType: ARTIFACTS[1], blobs: null }, 'artifact', ARTIFACTS[1]],
    ['schema 1', { schemaVersion: 1, fsLayers: [], history: [] }, 'schema1', SCHEMA1],
    ['signed schema 1', { schemaVersion: 1, fsLayers: [], signatures: [] }, 'schema1', SIGNED],
  ] as const) {
    test(`reads ${title}`, () => {
      const manifest = parseManifest(json(raw), 'here');
      assert.deepEqual([manifest.kind, manifest.mediaType], [kind, mediaType]);
    });
  }

  // CVE-2021-41190: what is an image to one reader must not be an index to another.
  for (const [title, raw] of [
    ['an image with manifests', { ...image, manifests: [member] }],
    ['an image with an empty list of manifests', { ...image, manifests: [] }],
    ['an image with manifests null', { ...image, manifests: null }],
    ['an image with fsLayers', { ...image, fsLayers: [] }],
    ['an index with layers', { ...index, layers: [layer] }],
    ['an index with a config', { ...index, config }],
    ['an index with fsLayers', { ...index, fsLayers: [] }],
    ['a Docker image with manifests', { ...image, mediaType: DOCKER.manifest, manifests: [member] }],
    ['a Docker list with layers', { ...index, mediaType: DOCKER.index, layers: [] }],
    [
      'both kinds of fields and no media type',
      { schemaVersion: 2, config, layers: [layer], manifests: [member] },
    ],
    ['both kinds of fields without a config', { schemaVersion: 2, layers: [layer], manifests: [member] }],
    ['an artifact with layers', { mediaType: ARTIFACTS[0], blobs: [], layers: [layer] }],
    ['an artifact with a config', { mediaType: ARTIFACTS[0], blobs: [], config }],
    ['an artifact with manifests', { mediaType: ARTIFACTS[1], blobs: [], manifests: [member] }],
    ['an artifact with blobs in another case', { mediaType: ARTIFACTS[0], Blobs: [layer] }],
    ['schema 1 with layers', { schemaVersion: 1, fsLayers: [], layers: [layer] }],
    ['schema 1 with manifests', { schemaVersion: 1, fsLayers: [], manifests: [member] }],
  ] as const) {
    test(`refuses ${title}`, () => {
      assert.throws(() => parseManifest(json(raw), 'here'), refusal('MANIFEST_INVALID', 'here'));
    });
  }

  for (const [raw, text] of [
    [{ ...image, layers: 1 }, 'here: layers: must be a list, is a number'],
    [{ ...image, layers: [null] }, 'here: layers.0: must be an object, is null'],
    [{ ...image, config: { ...config, size: undefined } }, 'here: config.size: is missing'],
    [
      { ...image, config: { ...config, size: 1.5 } },
      'here: config.size: must be a whole number, is a number with a fraction',
    ],
    [{ schemaVersion: 1, fsLayers: null }, 'here: fsLayers: must be a list, is null'],
  ] as const) {
    test(`says what is wrong in words: ${text}`, () => {
      assert.throws(
        () => parseManifest(json(raw), 'here'),
        (error) =>
          error instanceof ImgconvError && error.message === text && /another version/.test(error.hint ?? ''),
      );
    });
  }

  test('takes lists that are null as empty ones, but for the layers of schema 1', () => {
    const bare = parseManifest(json({ ...image, layers: null }), 'here');
    assert.deepEqual(bare.kind === 'image' && bare.layers, []);
    const empty = parseManifest(json({ ...index, manifests: null }), 'here');
    assert.deepEqual(empty.kind === 'index' && empty.manifests, []);
    assert.throws(
      () => parseManifest(json({ schemaVersion: 1, fsLayers: null }), 'here'),
      refusal('MANIFEST_INVALID', 'here: fsLayers'),
    );
  });

  for (const [title, raw, expected] of [
    ['an index where an image is expected', index, OCI.manifest],
    ['an image where an index is expected', image, OCI.index],
    ['schema 1 where an image is expected', { schemaVersion: 1, fsLayers: [] }, OCI.manifest],
    [
      'an image without a media type where an index is expected',
      { schemaVersion: 2, config, layers: [] },
      OCI.index,
    ],
  ] as const) {
    test(`refuses ${title}`, () => {
      assert.throws(
        () => parseManifest(json(raw), 'here', expected),
        refusal('MANIFEST_INVALID', 'here', expected),
      );
    });
  }

  for (const [own, expected] of [
    [OCI.manifest, DOCKER.manifest],
    [DOCKER.manifest, OCI.manifest],
    [OCI.index, DOCKER.index],
    [DOCKER.index, OCI.index],
  ] as const)
    test(`takes ${own} where ${expected} is expected, as what it says itself`, () => {
      const raw = own === OCI.index || own === DOCKER.index ? index : image;
      const { mediaType } = parseManifest(json({ ...raw, mediaType: own }), 'here', expected);
      assert.equal(mediaType, own);
    });

  test('takes signed schema 1 where schema 1 is expected', () => {
    const signed = { schemaVersion: 1, fsLayers: [], signatures: [] };
    assert.equal(parseManifest(json(signed), 'here', SCHEMA1).kind, 'schema1');
  });

  for (const [title, bytes, word] of [
    ['no JSON', Buffer.from('{"schemaVersion":2'), 'JSON'],
    ['no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'JSON'],
    ['nothing', Buffer.alloc(0), 'JSON'],
    ['two documents', Buffer.from('{}{}'), 'JSON'],
    ['null', json(null), 'object'],
    ['a list', json([image]), 'object'],
    ['a string', json('manifest'), 'object'],
    ['neither kind', json({ schemaVersion: 2 }), 'neither'],
    [
      'a blob without a size',
      json({ mediaType: ARTIFACTS[0], blobs: [{ ...layer, size: undefined }] }),
      'blobs.0.size',
    ],
    ['layers that are no list', json({ ...image, layers: {} }), 'layers'],
    [
      'a layer without a digest',
      json({ ...image, layers: [{ mediaType: 'x', size: 1 }] }),
      'layers.0.digest',
    ],
    [
      'a layer whose digest is a path',
      json({ ...image, layers: [layer, { ...layer, digest: '../../etc/passwd' }] }),
      'layers.1.digest',
    ],
    [
      'a layer whose digest is bare hex',
      json({ ...image, layers: [{ ...layer, digest: 'ab'.repeat(32) }] }),
      'layers.0.digest',
    ],
    [
      'a layer whose digest is MD5',
      json({ ...image, layers: [{ ...layer, digest: `md5:${'ab'.repeat(16)}` }] }),
      'layers.0.digest',
    ],
    ['a negative size', json({ ...image, layers: [{ ...layer, size: -1 }] }), 'layers.0.size'],
    ['a size that is a text', json({ ...image, layers: [{ ...layer, size: '1' }] }), 'layers.0.size'],
    ['half a byte', json({ ...image, layers: [{ ...layer, size: 1.5 }] }), 'layers.0.size'],
    [
      'a size beyond safe integers',
      json({ ...image, layers: [{ ...layer, size: 2 ** 53 }] }),
      'layers.0.size',
    ],
    ['no config', json({ ...image, config: undefined }), 'config'],
    [
      'a member without a size',
      json({ ...index, manifests: [{ ...member, size: undefined }] }),
      'manifests.0.size',
    ],
    [
      'a member without a media type',
      json({ ...index, manifests: [{ ...member, mediaType: undefined }] }),
      'manifests.0.mediaType',
    ],
    ['annotations that are no texts', json({ ...image, annotations: { a: 1 } }), 'annotations.a'],
    [
      'schema 1 whose blobSum is a path',
      json({ schemaVersion: 1, fsLayers: [{ blobSum: '../x' }] }),
      'fsLayers.0.blobSum',
    ],
  ] as const) {
    test(`refuses ${title}`, () => {
      assert.throws(() => parseManifest(bytes, 'here'), refusal('MANIFEST_INVALID', 'here', word));
    });
  }

  test('refuses a media type that it does not know', () => {
    const unknown = { schemaVersion: 2, mediaType: 'application/vnd.example+json' };
    assert.throws(() => parseManifest(json(unknown), 'here'), refusal('FORMAT_UNSUPPORTED', 'vnd.example'));
  });

  test('takes __proto__ for a name like any other', () => {
    const raw = Buffer.from(
      JSON.stringify(image).replace(
        '"schemaVersion"',
        '"__proto__":{"manifests":[]},"annotations":{"__proto__":"x"},"schemaVersion"',
      ),
    );
    assert.equal(parseManifest(raw, 'here').kind, 'image');
    assert.equal('manifests' in {}, false);
  });
});

describe('the payload of signed schema 1', () => {
  // What libtrust signs (jsonsign.go): the document up to formatLength, then formatTail, which closes it again.
  const payload = Buffer.from(
    '{\n   "schemaVersion": 1,\n   "name": "demo/app",\n   "tag": "1",\n   "fsLayers": []\n}',
  );
  const cut = payload.length - 2;
  const protect = (fields: object) => Buffer.from(JSON.stringify(fields)).toString('base64url');
  const signed = (fields: object) =>
    Buffer.from(
      `${payload.subarray(0, cut).toString()},\n   "signatures": [{"header": {}, "signature": "x", "protected": "${protect(fields)}"}]\n}`,
    );
  const header = { formatLength: cut, formatTail: Buffer.from('\n}').toString('base64url') };

  test('is what was signed', () => {
    assert.deepEqual(Buffer.from(manifestPayload(signed(header), 'here')), payload);
    assert.equal(parseManifest(signed(header), 'here').kind, 'schema1');
  });

  test('of any other manifest is all of it', () => {
    for (const bytes of [
      json(image),
      json(index),
      payload,
      json({ ...image, annotations: { '"signatures"': 'x' } }),
    ])
      assert.deepEqual(Buffer.from(manifestPayload(bytes, 'here')), bytes);
  });

  test('of a schema 2 manifest with signatures is all of it', () => {
    const bytes = json({
      ...image,
      signatures: [{ protected: protect({ formatLength: 1, formatTail: '' }) }],
    });
    assert.deepEqual(Buffer.from(manifestPayload(bytes, 'here')), bytes);
  });

  for (const [title, fields] of [
    ['a length past its end', { ...header, formatLength: 100_000 }],
    ['a negative length', { ...header, formatLength: -1 }],
    ['no length', { formatTail: header.formatTail }],
    ['no tail', { formatLength: cut }],
  ] as const) {
    test(`refuses ${title}`, () => {
      assert.throws(() => manifestPayload(signed(fields), 'here'), refusal('MANIFEST_INVALID', 'here'));
    });
  }

  test('refuses a signature that protects nothing', () => {
    const bytes = json({ schemaVersion: 1, fsLayers: [], signatures: [] });
    assert.throws(() => manifestPayload(bytes, 'here'), refusal('MANIFEST_INVALID', 'here'));
  });
});

describe('parseConfig', () => {
  const diffId = digestText(Buffer.from('tar'));
  const rootfs = { type: 'layers', diff_ids: [diffId] };

  test('reads the platform and the diffIDs', () => {
    const raw = { os: 'linux', architecture: 'arm', variant: 'v7', rootfs, config: { Labels: { a: 'b' } } };
    const parsed = parseConfig(json(raw), 'here');
    assert.deepEqual(parsed.diffIds, [diffId]);
    assert.deepEqual({ ...parsed.platform }, { os: 'linux', architecture: 'arm', variant: 'v7' });
  });

  for (const [title, raw] of [
    ['diffIDs null', { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: null } }],
    ['no diffIDs', { rootfs: { type: 'layers' } }],
  ] as const) {
    test(`takes ${title} for an image without layers`, () => {
      assert.deepEqual(parseConfig(json(raw), 'here').diffIds, []);
    });
  }

  for (const [title, raw, word] of [
    ['a list', [], 'object'],
    ['null', null, 'object'],
    ['no rootfs', { os: 'linux' }, 'rootfs'],
    ['rootfs null', { rootfs: null }, 'rootfs'],
    ['rootfs of another type', { rootfs: { type: 'cloud', diff_ids: [] } }, 'rootfs'],
    ['a diffID that is none', { rootfs: { type: 'layers', diff_ids: ['sha256:x'] } }, 'rootfs.diff_ids.0'],
  ] as const) {
    test(`refuses ${title}`, () => {
      assert.throws(() => parseConfig(json(raw), 'here'), refusal('MANIFEST_INVALID', 'here', word));
    });
  }
});

test('a list of two million wrong items is refused at the first', () => {
  const items = `[1${',1'.repeat(2_000_000)}]`;
  const before = process.memoryUsage().rss;
  for (const [document, where] of [
    [`{"schemaVersion":2,"mediaType":"${OCI.index}","manifests":${items}}`, 'manifests.0'],
    [`{"schemaVersion":1,"fsLayers":${items}}`, 'fsLayers.0'],
  ] as const)
    assert.throws(() => parseManifest(Buffer.from(document), 'here'), refusal('MANIFEST_INVALID', where));
  const config = Buffer.from(`{"rootfs":{"type":"layers","diff_ids":[]},"history":${items}}`);
  assert.deepEqual(parseConfig(config, 'here').diffIds, []);
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < 500e6, `${grown} bytes`);
});
