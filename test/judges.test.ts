import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { tarOf } from './support/tars.js';
import { tempFolder } from './support/temp.js';
import { Bench } from './torture/bench.js';
import { judge, Trials, type Target } from './torture/bits.js';
import { excuseFor, type Difference } from './torture/excuses.js';
import { damageOf, leftoversOf } from './torture/judge.js';
import { soundSources, type Source } from './torture/sources.js';

/*
 * The benches of test/torture judge what imgconv made. Here the judges are judged: each is given a result that is
 * right, and then the same result spoiled, to which it has to object.
 */
const OTHER = `sha256:${'1'.repeat(64)}`;
const trials = new Trials();
let sources: readonly Source[] = [];
before(async () => {
  sources = await soundSources();
});

interface Damage {
  readonly source: string;
  readonly target: Target;
  readonly file: string;
  readonly kind: string;
  readonly change: (bytes: Buffer) => Buffer;
}

async function damaged<T>(
  { source, target, file, kind, change }: Damage,
  use: (difference: Difference) => T,
): Promise<T> {
  const found = sources.find(({ name }) => name === source);
  assert.ok(found !== undefined);
  const bytes = change(Buffer.from(found.files.get(file) ?? ''));
  return trials.damaged(found, target, { file, kind, bytes }, use);
}

/** Writes `text` `offset` bytes after the first place where `at` stands. */
function put(at: string, text: string, offset = 0): (bytes: Buffer) => Buffer {
  return (bytes) => {
    const start = bytes.indexOf(at, 0, 'latin1');
    assert.ok(start >= 0);
    bytes.write(text, start + offset, 'latin1');
    return bytes;
  };
}

type Images = Difference['now']['digests'];

function withDigests(difference: Difference, change: (digests: Map<string, string>) => void): Difference {
  const digests = new Map<string, string>(difference.now.digests);
  change(digests);
  return { ...difference, now: { ...difference.now, digests } };
}

type Parts = NonNullable<ReturnType<Difference['now']['parts']['get']>>;

/** Gives the first image another digest, and other parts. */
function withParts(difference: Difference, change: (parts: Parts) => Parts): Difference {
  const name = firstOf(difference.now.digests);
  const parts = new Map(difference.now.parts);
  parts.set(name, change(parts.get(name) ?? []));
  const { now, ...rest } = withDigests(difference, (digests) => digests.set(name, OTHER));
  return { ...rest, now: { ...now, parts } };
}

function firstOf(digests: Images): string {
  return [...digests.keys()][0] ?? '';
}

/** What no excuse allows. */
const SPOILED: Readonly<Record<string, (difference: Difference) => Difference>> = {
  'no image at all': (difference) => ({
    ...difference,
    now: { ...difference.now, files: {}, digests: new Map(), parts: new Map(), known: new Set() },
  }),
  'an image that is missing': (difference) =>
    withDigests(difference, (digests) => digests.delete(firstOf(digests))),
  'another image': (difference) =>
    withParts(difference, (parts) => parts.map(() => ({ imageId: OTHER, layers: [OTHER] }))),
  'an image without its layers': (difference) =>
    withParts(difference, (parts) => parts.map((one) => ({ ...one, layers: [] }))),
  'an image more': (difference) => withDigests(difference, (digests) => digests.set('demo/more:1', OTHER)),
  'a file more': (difference) => ({
    ...difference,
    now: { ...difference.now, files: { ...difference.now.files, stray: `9 bytes, ${OTHER}` } },
  }),
};

const EXCUSED: Readonly<Record<string, Damage>> = {
  'another name': {
    source: 'a layout',
    target: 'reg',
    file: 'index.json',
    kind: 'index.json',
    change: put('demo/app:1', 'demo/apq:1'),
  },
  'another manifest': {
    source: 'a tree',
    target: 'oci',
    file: 'demo/app:1/manifest.json',
    kind: 'manifest.json',
    change: (bytes) => Buffer.concat([bytes, Buffer.from('\n')]),
  },
  'another image, of an archive': {
    source: 'legacy-v1.tar',
    target: 'reg',
    file: '',
    kind: 'layer',
    change: put('hello from demo/base', 'jello'),
  },
  'another config': {
    source: 'jib.tar',
    target: 'dir',
    file: '',
    kind: 'config without a digest',
    change: put('"created":"', '"created":"1999'),
  },
  'a layer packed otherwise': {
    source: 'jib.tar',
    target: 'oci',
    file: '',
    kind: 'packed layer',
    change: put('\x1f\x8b\x08', '\x01\x02', 4),
  },
  'another signature': {
    source: 'a tree',
    target: 'dir',
    file: 'demo/app:1/signature-1',
    kind: 'signature',
    change: put('a signature', 'z'),
  },
};

describe('the judge of damaged sources', () => {
  for (const [what, damage] of Object.entries(EXCUSED))
    test(`excuses ${what}, and nothing beyond it`, async () => {
      await damaged(damage, (difference) => {
        assert.equal(difference.refused, 0);
        assert.match(judge(difference), new RegExp(`^excused: ${what}`));
        for (const [how, spoil] of Object.entries(SPOILED)) {
          const spoiled = spoil(difference);
          assert.equal(excuseFor(spoiled), undefined, how);
          assert.throws(() => judge({ ...spoiled, refused: 0 }), assert.AssertionError, how);
        }
      });
    });

  const refused: Damage = {
    source: 'a store',
    target: 'dir',
    file: 'docker/registry/v2/repositories/demo/multi/_manifests/tags/1/current/link',
    kind: 'tag link',
    change: (bytes) => bytes.subarray(0, 20),
  };

  test('wants an error for each image that is missing', async () => {
    await damaged(refused, (difference) => {
      assert.equal(difference.refused, 1);
      assert.equal(judge(difference), 'refused');
      const spoiled = withDigests(difference, (digests) => digests.delete('helm/chart:1'));
      assert.throws(() => judge(spoiled), /demo\/multi:1, helm\/chart:1: missing, with 1 errors/);
    });
  });

  test('takes an untagged image for missing with its subject, and not alone', async () => {
    const name = [...(await damaged(refused, ({ now }) => now.digests.keys()))].find((one) =>
      one.includes('@'),
    );
    assert.ok(name !== undefined);
    await damaged(refused, (difference) => {
      const alone = withDigests(difference, (digests) => digests.delete(name));
      assert.throws(() => judge(alone), /missing, with 1 errors/);
      const both = withDigests(alone, (digests) => digests.delete('demo/app:1'));
      assert.equal(judge({ ...both, refused: 2 }), 'refused');
      assert.throws(() => judge(both), /missing, with 1 errors/);
    });
  });

  test('wants every blob of an image that was written', async () => {
    await damaged(refused, (difference) => {
      const layer = difference.now.parts.get('demo/app:1')?.[0]?.layers[0]?.slice('sha256:'.length) ?? '';
      rmSync(join(difference.now.path, 'demo/app:1', layer));
      assert.throws(() => judge(difference), /is missing/);
    });
  });
});

describe('the judge of disturbed runs', () => {
  const conversion = { from: 'dir', to: 'dir', before: 'older images' } as const;
  let bench: Bench;
  before(async () => {
    bench = await Bench.in(tempFolder(), 3000, true);
  });

  /** A destination with unfinished work in it: a file, an image that was moved aside, an empty folder. */
  function leave(): { staging: string; place: string } {
    bench.prepare(conversion);
    const target = bench.target('dir');
    const staging = join(target, '.imgconv-1');
    const place = join(target, 'demo/app:1');
    mkdirSync(join(staging, 'empty'), { recursive: true });
    renameSync(place, join(staging, '1'));
    writeFileSync(join(staging, '1.displaced'), 'demo/app:1');
    return { staging, place };
  }

  test('allows staging whose own clearing failed, and no other', () => {
    const { staging, place } = leave();
    const judged = (fired?: string, lasting = false) => leftoversOf(bench, conversion, fired, lasting);
    const left = ['left unfinished: .imgconv-1', 'an empty folder: .imgconv-1/empty'];
    for (const fired of [
      undefined,
      `remove rmSync ${bench.target('dir')}/.imgconv-2/file`,
      `write writeSync ${staging}/2`,
      `rename renameSync ${bench.target('dir')}/demo/multi:1`,
    ])
      assert.deepEqual(judged(fired), left, fired);
    for (const fired of [
      `remove rmSync ${staging}`,
      `list readdirSync ${staging}`,
      `look lstatSync ${staging}/1.displaced`,
      `open readFileSync ${staging}/1.displaced`,
      `rename renameSync ${place}`,
      `make mkdirSync ${bench.target('dir')}/demo`,
    ])
      assert.deepEqual(judged(fired), [], fired);
    assert.deepEqual(judged(undefined, true), []);
  });

  test('does not allow what was moved aside to stay when its place is taken, unless it cannot be seen', () => {
    const { staging, place } = leave();
    mkdirSync(place);
    writeFileSync(join(place, 'version'), '');
    assert.ok(leftoversOf(bench, conversion, `rename renameSync ${place}`, false).length > 0);
    assert.deepEqual(leftoversOf(bench, conversion, `look lstatSync ${place}`, false), []);
    rmSync(staging, { recursive: true });
    mkdirSync(join(bench.folder, 'case/.imgconv-3'));
    assert.deepEqual(leftoversOf(bench, conversion, `remove rmSync ${staging}`, false), [
      `left behind: ${bench.folder}/case/.imgconv-3`,
    ]);
  });

  test('does not take an archive without images for a new one', async () => {
    const into = { from: 'dir', to: 'tar', before: 'older images' } as const;
    bench.prepare(into);
    const wanted = { picture: new Map(), digests: new Set<string>(), images: 0, milliseconds: 0, changes: 0 };
    assert.deepEqual(damageOf(bench, into, wanted), []);
    const files = { 'oci-layout': '{"imageLayoutVersion":"1.0.0"}', 'index.json': '{"manifests":[]}' };
    writeFileSync(bench.target('tar'), await tarOf(files));
    assert.match(damageOf(bench, into, wanted).join('\n'), /demo\/app:1 is lost/);
  });
});
