import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { z } from 'zod';
import { convert, ImgconvError, parseImagesFile, verify, type ImageReport } from '../src/index.js';
import { containerdImagesOf, expectAllRight, expectRight, storeFiles } from './support/engine-oracle.js';
import { enginePlace, expectedImages, unpackEngine, type Engine } from './support/engines.js';
import { newPlace } from './support/places.js';
import { filesIn } from './support/snapshot.js';

/*
 * Every file of the sample stores in turn is missing, cut to half or has one bit flipped. Which images may be lost by it
 * is told here from what the engines wrote: those fail and name the file, or come as they were, and all others come.
 */
const DAMAGES = ['missing', 'cut to half', 'flipped'] as const;
type Damage = (typeof DAMAGES)[number];

/** What a file is for. */
interface Loss {
  /** IDs or names of images; `all` for a list of them; `names` for one that gives them only their names. */
  readonly of: ReadonlySet<string> | 'all' | 'names';
  /** True where the image cannot be told without the file. */
  readonly certain: boolean;
}
const NOTHING: Loss = { of: new Set(), certain: false };

/** A file of a store, whose names are bytes, one character for each (latin1). */
function at(root: string, name: string): Buffer {
  return Buffer.from(join(root, name), 'latin1');
}

function damage(path: Buffer, how: Damage, part = 0.5): void {
  const bytes = readFileSync(path);
  // Another inode, so that hard links to it stay whole.
  rmSync(path);
  if (how === 'missing') return;
  const position = Math.floor((bytes.length - 1) * part);
  if (how === 'flipped' && bytes.length > 0) bytes.writeUInt8(bytes.readUInt8(position) ^ 1, position);
  writeFileSync(path, how === 'flipped' ? bytes : bytes.subarray(0, bytes.length >> 1));
}

const recordSchema = z.object({
  name: z.string().default(''),
  name_raw: z.base64().optional(),
  size: z.number().default(0),
});

/** Names of the files that a record of tar-split takes from a layer's folder. */
function namesIn(record: string): Set<string> {
  const lines = gunzipSync(readFileSync(record)).toString().split('\n').filter(Boolean);
  const records = lines.map((line) => recordSchema.parse(JSON.parse(line)));
  const found = records.filter(({ size }) => size > 0);
  return new Set(
    found.map(({ name, name_raw: raw }) =>
      (raw === undefined ? Buffer.from(name) : Buffer.from(raw, 'base64'))
        .toString('latin1')
        .replace(/^(?:\.?\/)+/, ''),
    ),
  );
}

/** A layer that images have: its record, its folder. */
interface Unpacked {
  readonly record: string;
  readonly folder: string;
  readonly images: Set<string>;
  /** False when another layer has the same content, which a manifest list takes as well. */
  readonly isOnly: boolean;
}

/** What the file of a layer is for, if it is one. */
function layerLoss(root: string, layers: readonly Unpacked[], name: string): Loss | undefined {
  for (const { record, folder, images, isOnly } of layers) {
    if (name === record) return { of: images, certain: isOnly };
    if (!name.startsWith(`${folder}/`)) continue;
    const recorded = namesIn(join(root, record));
    const own = name.slice(folder.length + 1);
    if (recorded.has(own)) return { of: images, certain: isOnly };
    // Behind a link of the layer a file has another name.
    const base = own.slice(own.lastIndexOf('/') + 1);
    return [...recorded].some((one) => one.endsWith(base)) ? { of: images, certain: false } : NOTHING;
  }
  return undefined;
}

const configSchema = z.object({ rootfs: z.object({ diff_ids: z.array(z.string()) }) });

function dockerRules(root: string): (name: string) => Loss {
  const image = 'image/overlay2';
  const layers = new Map<string, Unpacked>();
  for (const id of filesIn(join(root, image, 'imagedb/content/sha256'))) {
    const config = readFileSync(join(root, image, 'imagedb/content/sha256', id), 'utf8');
    let chain = '';
    for (const diffId of configSchema.parse(JSON.parse(config)).rootfs.diff_ids) {
      const digest = createHash('sha256').update(`${chain} ${diffId}`).digest('hex');
      chain = chain === '' ? diffId : `sha256:${digest}`;
      const folder = `${image}/layerdb/${chain.replace(':', '/')}`;
      const known = layers.get(folder) ?? {
        record: `${folder}/tar-split.json.gz`,
        folder: `overlay2/${readFileSync(join(root, folder, 'cache-id'), 'utf8')}/diff`,
        images: new Set<string>(),
        isOnly: true,
      };
      known.images.add(`sha256:${id}`);
      layers.set(folder, known);
    }
  }
  return (name) => {
    if (name.endsWith('repositories.json')) return { of: 'names', certain: false };
    const [, id] = /imagedb\/content\/sha256\/([0-9a-f]{64})$/.exec(name) ?? [];
    if (id !== undefined) return { of: new Set([`sha256:${id}`]), certain: true };
    const images = layers.get(name.replace(/\/cache-id$/, ''))?.images;
    if (images !== undefined) return { of: images, certain: true };
    return layerLoss(root, [...layers.values()], name) ?? NOTHING;
  };
}

const imagesSchema = z.array(
  z.object({ id: z.string(), layer: z.string().optional(), names: z.array(z.string()).default([]) }),
);
const layersSchema = z.array(
  z.object({ id: z.string(), parent: z.string().optional(), 'diff-digest': z.string() }),
);

function storageRules(root: string): (name: string) => Loss {
  const read = (name: string): unknown => JSON.parse(readFileSync(join(root, name), 'utf8'));
  const records = new Map(layersSchema.parse(read('vfs-layers/layers.json')).map((one) => [one.id, one]));
  const images = imagesSchema.parse(read('vfs-images/images.json'));
  const layers = [...records.values()].map(({ id, 'diff-digest': diffId }): Unpacked => {
    const same = new Set(
      [...records.values()].filter((one) => one['diff-digest'] === diffId).map((one) => one.id),
    );
    const isOn = (top: string | undefined): boolean =>
      top !== undefined && (same.has(top) || isOn(records.get(top)?.parent));
    return {
      record: `vfs-layers/${id}.tar-split.gz`,
      folder: `vfs/dir/${id}`,
      isOnly: same.size === 1,
      images: new Set(images.filter(({ layer }) => isOn(layer)).map((one) => `sha256:${one.id}`)),
    };
  });
  return (name) => {
    if (/-(?:images|layers)\/[a-z-]*\.json$/.test(name)) return { of: 'all', certain: false };
    const [, id, document = ''] = /^vfs-images\/([0-9a-f]{64})\/(.*)$/.exec(name) ?? [];
    if (id === undefined) return layerLoss(root, layers, name) ?? NOTHING;
    if (document.endsWith('.json')) return NOTHING;
    // Of a manifest list no config has the ID.
    const names = images.filter((one) => one.id === id).flatMap((one) => one.names);
    return { of: new Set([`sha256:${id}`, ...names]), certain: false };
  };
}

function containerdRules(engine: Engine): (name: string) => Loss {
  return (name) => {
    if (name.endsWith('meta.db')) return { of: 'all', certain: false };
    const [, hex] = /\/blobs\/sha256\/([0-9a-f]{64})$/.exec(name) ?? [];
    return hex === undefined ? NOTHING : { of: containerdImagesOf(engine, `sha256:${hex}`), certain: false };
  };
}

interface Root {
  readonly engine: Engine;
  readonly rules: (root: string) => (name: string) => Loss;
}

const ROOTS: readonly Root[] = [
  { engine: 'docker20-odd', rules: dockerRules },
  { engine: 'containers-storage-vfs', rules: storageRules },
  { engine: 'containerd2', rules: () => containerdRules('containerd2') },
  { engine: 'containerd2-discarded', rules: () => containerdRules('containerd2-discarded') },
];
/** Files of layers are many: each is damaged in one of the ways. */
const OF_LAYERS = /^(?:vfs|overlay2)\//;

/** What came of a store. */
interface Outcome {
  readonly images: readonly ImageReport[];
  /** Of all of it. */
  readonly error: unknown;
  readonly target: string;
}

/** Of all images, or of those with these IDs. */
async function outcomeOf(engine: Engine, root: string, ids?: readonly string[]): Promise<Outcome> {
  const to = newPlace('oci');
  const { path: target } = to;
  const lines = ids?.map((id, i) => `${id} kept:${i}`);
  const selectors = lines && parseImagesFile(lines.join('\n'), 'test');
  try {
    const options = { compression: 'keep', untagged: selectors === undefined, jobs: 1, selectors } as const;
    const { images } = await convert(enginePlace(engine, root), to, options);
    return { images, error: undefined, target };
  } catch (error) {
    return { images: [], error, target };
  }
}

function isWritten({ status }: ImageReport): boolean {
  return status === 'written' || status === 'unchanged';
}

/** What is written is right; images fail that need the file, and no others; what fails names the file. */
function expectOnly(loss: Loss, name: string, how: Damage, sound: Outcome, found: Outcome): void {
  const said: unknown[] = [found.error, ...found.images.map(({ error }) => error)].filter(Boolean);
  for (const error of said) assert.ok(error instanceof ImgconvError, String(error));
  const messages = said.map(String);
  expectAllRight(found.target);
  for (const { source, digest = '' } of sound.images.filter(isWritten)) {
    const marks = expectRight(sound.target, digest).add(source);
    const isThere = found.images.some(
      (one) => isWritten(one) && one.digest === digest && (one.source === source || loss.of === 'names'),
    );
    const about = `${source} by ${name} ${how}: ${messages.join('\n')}`;
    if (!mayLose(loss, marks)) assert.ok(isThere, `lost: ${about}`);
    // Another bit of gzip may stand for the same bytes: a repetition from further back.
    else if (loss.certain && !(how === 'flipped' && name.endsWith('.gz')))
      assert.ok(!isThere, `not lost: ${about}`);
    // One bit of a list may be that of an ID, whose files are not there then.
    if (isThere || (loss.of === 'all' && how === 'flipped')) continue;
    const own = found.images.filter((one) => one.source === source && one.status === 'failed');
    const all = own.length > 0 && loss.of !== 'all' ? own.map(({ error }) => error?.message ?? '') : messages;
    assert.ok(
      all.some((message) => isNamed(message, name)),
      `does not name it: ${about}`,
    );
  }
}

function mayLose({ of }: Loss, marks: ReadonlySet<string>): boolean {
  if (of === 'names') return false;
  return of === 'all' || [...of].some((one) => marks.has(one));
}

function isNamed(message: string, name: string): boolean {
  const base = Buffer.from(name.slice(name.lastIndexOf('/') + 1), 'latin1').toString();
  // Layers that a damaged image would have lent to another are only counted.
  return (
    message.includes(base) ||
    (name.includes('blobs/') && /not there: (?:1 config, )?\d+ layers?/.test(message))
  );
}

/** A thorough look at the same store finds fault with it when an image of it failed. */
async function expectVerified(engine: Engine, root: string, outcome: Outcome): Promise<void> {
  try {
    const report = await verify(enginePlace(engine, root), { deep: true });
    assert.equal(outcome.error, undefined);
    if (!outcome.images.every(isWritten)) assert.ok(report.brokenImages > 0);
  } catch (error) {
    assert.ok(error instanceof ImgconvError, String(error));
    assert.ok(outcome.error !== undefined, String(error));
  }
}

for (const { engine, rules } of ROOTS) {
  describe(`damage to ${engine}`, () => {
    const root = unpackEngine(engine);
    const lossOf = rules(root);
    const files = storeFiles(root);
    const losses = new Map(files.map((name) => [name, lossOf(name)]));
    const lists = files.filter((name) => losses.get(name)?.of === 'all');
    let sound: Outcome | undefined;
    before(async () => {
      sound = await outcomeOf(engine, root);
      expectAllRight(sound.target);
    });

    /** Damages files, looks at what comes of the store, and puts them back. */
    async function expectLoss(names: readonly string[], how: Damage, part?: number): Promise<void> {
      const [name = ''] = names;
      assert.ok(sound !== undefined);
      const saved = names.map((one) => [at(root, one), readFileSync(at(root, one))] as const);
      for (const [path] of saved) damage(path, how, part);
      try {
        const loss = losses.get(name) ?? NOTHING;
        const outcome = await outcomeOf(engine, root);
        if (loss.of === 'names') {
          const isSaid = outcome.images.some(({ error }) => error?.message.includes(name) === true);
          assert.equal(isSaid, how === 'cut to half');
          const ids = expectedImages(engine).map(({ id }) => id);
          expectOnly(loss, name, how, sound, await outcomeOf(engine, root, ids));
        } else expectOnly(loss, name, how, sound, outcome);
        if (files.indexOf(name) % 8 === 0) await expectVerified(engine, root, outcome);
      } finally {
        for (const [path, bytes] of saved) {
          rmSync(path, { force: true });
          writeFileSync(path, bytes);
        }
      }
    }

    for (const how of DAMAGES) {
      test(`a file that no image needs may be ${how}`, async () => {
        await expectLoss(
          files.filter((name) => losses.get(name) === NOTHING),
          how,
        );
      });

      test(`a file that is ${how} loses the images that need it, and no others`, async () => {
        const needed = files.filter((name) => losses.get(name) !== NOTHING);
        for (const [i, name] of needed.entries())
          if (!OF_LAYERS.test(name) || DAMAGES[i % DAMAGES.length] === how) await expectLoss([name], how);
      });
    }

    test('any bit of a list may be flipped', async () => {
      for (const name of lists) for (let i = 0; i < 16; i++) await expectLoss([name], 'flipped', i / 16);
    });
  });
}
