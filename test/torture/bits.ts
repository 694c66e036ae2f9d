import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  convert,
  failedImages,
  ImgconvError,
  inspectImages,
  listImages,
  type Place,
  type Report,
} from '../../src/index.js';
import { EXIT } from '../../src/cli/exit.js';
import type { Random } from '../bench/random.js';
import { hex } from '../support/images.js';
import { newPlace, place } from '../support/places.js';
import { contentsOf, stagingIn } from '../support/snapshot.js';
import { tempFolder } from '../support/temp.js';
import type { Campaign } from './campaign.js';
import { damageIn } from './damages.js';
import { excuseFor } from './excuses.js';
import { soundSources, type Source } from './sources.js';

/** What is in a place: every file, and every image by name. */
export interface Contents {
  readonly files: Readonly<Record<string, string>>;
  readonly digests: ReadonlyMap<string, string>;
  /** Digests of the configs that engines would run. */
  readonly imageIds: ReadonlySet<string>;
  /** Hex digests of manifests and configs. */
  readonly documents: ReadonlySet<string>;
}

async function contentsIn(at: Place): Promise<Contents> {
  const digests = new Map<string, string>();
  const imageIds = new Set<string>();
  const documents = new Set<string>();
  const files = contentsOf(at.path);
  if (Object.keys(files).length === 0) return { files, digests, imageIds, documents };
  for await (const { name, digest, error } of listImages(at)) {
    assert.equal(error, undefined, `the target cannot be read: ${error?.message ?? ''}`);
    digests.set(name ?? '', digest ?? '');
  }
  for await (const { manifests } of inspectImages(at, []))
    for (const { digest, imageId } of manifests) {
      documents.add(hex(digest));
      if (imageId === undefined) continue;
      imageIds.add(imageId);
      documents.add(hex(imageId));
    }
  return { files, digests, imageIds, documents };
}

/** Places of blobs alone have no documents that are written anew. */
const TARGETS = ['reg', 'dir', 'oci'] as const;

function run(from: Place, to: Place): Promise<Report> {
  return convert(from, to, { compression: 'keep', link: 'copy' });
}

/** Errors are imgconv's own, say where, and are no program's. */
function expectError(error: unknown, source: Source, file: string): void {
  assert.ok(
    error instanceof ImgconvError,
    `not an ImgconvError: ${error instanceof Error ? (error.stack ?? '') : String(error)}`,
  );
  assert.ok(error.code in EXIT && error.code !== 'USAGE', `${error.code}: ${error.message}`);
  assert.ok(
    [join(source.path, file), `${source.path}: ${file}`].some((name) => error.message.includes(name)) ||
      namesWhole(error.message, source, file),
    `does not name ${join(source.path, file)}: ${error.message}`,
  );
  assert.doesNotMatch(error.message, /\[object|Cannot read prop|is not a function/);
}

/** What a damaged document names is not there: then the image is named, or the layout that the document is the index of. */
function namesWhole(message: string, { path, short }: Source, file: string): boolean {
  if (short === 'dir') return message.includes(join(path, file.slice(0, file.lastIndexOf('/'))));
  if (short === 'oci' && file === 'index.json') return message.includes(path);
  return false;
}

/** All that was written is of the sound source, and is whole. */
function expectPart(now: Contents, sound: Contents): void {
  for (const [name, digest] of now.digests)
    assert.equal(digest, sound.digests.get(name), `${name} is another image`);
  for (const [file, content] of Object.entries(now.files)) {
    if (file.endsWith('index.json')) continue; // The images that it names are compared above.
    assert.equal(content, sound.files[file], `${file} is other than it would be`);
  }
}

/**
 * Damages one file of one source and converts it: whatever is written has to be what the sound source gives, or, where
 * a format says nothing of what a byte should be, what `excuses.ts` allows.
 */
async function runCase(
  sources: readonly Source[],
  baselines: Map<string, Contents>,
  random: Random,
): Promise<string> {
  const pick = <T>(all: readonly T[]): T => {
    const one = all[random.below(all.length)];
    assert.ok(one !== undefined);
    return one;
  };
  const source = pick(sources);
  const target = pick(TARGETS);
  const all = [...source.files.keys()].flatMap((file) =>
    source.regionsOf(file).map((region) => ({ file, region })),
  );
  const kind = pick([...new Set(all.map(({ region }) => region.kind))].sort());
  const { file, region } = pick(all.filter((one) => one.region.kind === kind));
  const sound = source.files.get(file) ?? Buffer.alloc(0);
  const { bytes, what } = damageIn(sound, region, random);
  const at = join(source.path, file);
  const from = place(source.short, source.path);
  const key = `${source.name} ${target}`;
  let baseline = baselines.get(key);
  if (baseline === undefined) {
    const there = newPlace(target);
    assert.deepEqual(failedImages(await run(from, there)), []);
    baseline = await contentsIn(there);
    baselines.set(key, baseline);
  }
  const parent = tempFolder();
  const to = place(target, join(parent, 'place'));
  writeFileSync(at, bytes);
  try {
    const outcome = await run(from, to).catch((error: unknown) => error);
    const failures =
      outcome instanceof Error ? [outcome] : failedImages(outcome as Report).map(({ error }) => error);
    for (const error of failures) expectError(error, source, file);
    assert.deepEqual(stagingIn(parent), []);
    const now = await contentsIn(to);
    if (failures.length > 0) {
      if (excuseFor({ source, kind, bytes, now, baseline }) === undefined) expectPart(now, baseline);
      return 'refused';
    }
    const same = JSON.stringify(now.files) === JSON.stringify(baseline.files);
    if (same) return 'identical';
    const excuse = excuseFor({ source, kind, bytes, now, baseline });
    if (excuse !== undefined) return excuse;
    assert.deepEqual(now.files, baseline.files);
    return 'never';
  } catch (error) {
    throw new Error(
      `${source.name} to ${target}: ${file} ${what}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  } finally {
    writeFileSync(at, sound);
    rmSync(parent, { recursive: true });
  }
}

export const bits: Campaign = {
  name: 'bits',
  cases: 10_000,
  seconds: 20,
  memory: 400 * 1024 ** 2,
  prepare: async () => {
    const sources = await soundSources();
    const baselines = new Map<string, Contents>();
    return (random) => runCase(sources, baselines, random);
  },
};
