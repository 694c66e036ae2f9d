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
import { excuseFor, missingFrom, type Difference } from './excuses.js';
import { soundnessOf } from './soundness.js';
import { soundSources, type Source } from './sources.js';

/** A manifest's config and layers, by digest; artifacts have no image ID. */
interface Parts {
  readonly imageId: string | undefined;
  readonly layers: readonly string[];
}

/** What is in a place: every file, and every image by name, or by digest where it has none. */
export interface Contents {
  readonly path: string;
  readonly files: Readonly<Record<string, string>>;
  readonly digests: ReadonlyMap<string, string>;
  /** By name, of each manifest of an image. */
  readonly parts: ReadonlyMap<string, readonly Parts[]>;
  /** Hex digests of manifests, configs and layers. */
  readonly known: ReadonlySet<string>;
}

async function contentsIn(at: Place): Promise<Contents> {
  const digests = new Map<string, string>();
  const parts = new Map<string, readonly Parts[]>();
  const known = new Set<string>();
  const contents = { path: at.path, files: contentsOf(at.path), digests, parts, known };
  if (Object.keys(contents.files).length === 0) return contents;
  for await (const { name, digest = '', error } of listImages(at)) {
    assert.equal(error, undefined, `the target cannot be read: ${error?.message ?? ''}`);
    digests.set(name ?? digest, digest);
  }
  for await (const { name, digest, manifests } of inspectImages(at, [])) {
    known.add(hex(digest));
    parts.set(
      name ?? digest,
      manifests.map(({ imageId, layers }) => ({ imageId, layers: layers.map((layer) => layer.digest) })),
    );
    for (const { digest: manifest, imageId, layers } of manifests)
      for (const one of [manifest, imageId ?? manifest, ...layers.map((layer) => layer.digest)])
        known.add(hex(one));
  }
  return contents;
}

/** Places of blobs alone have no documents that are written anew. */
const TARGETS = ['reg', 'dir', 'oci'] as const;
export type Target = (typeof TARGETS)[number];

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

/** All that was written is of the sound source, and what is missing was refused. */
function expectPart({ now, baseline, refused }: Difference): void {
  for (const [name, digest] of now.digests)
    assert.equal(digest, baseline.digests.get(name), `${name} is another image`);
  for (const [file, content] of Object.entries(now.files)) {
    if (file.endsWith('index.json')) continue; // The images that it names are compared above.
    assert.equal(content, baseline.files[file], `${file} is other than it would be`);
  }
  const missing = missingFrom(baseline, (name) => now.digests.has(name));
  assert.ok(missing.length <= refused, `${missing.join(', ')}: missing, with ${refused} errors`);
}

/**
 * Whatever was written has to be what the sound source gives, or, where a format says nothing of what a byte should
 * be, what `excuses.ts` allows; each image that is missing has an error. Says in a word what became of the case.
 */
export function judge(difference: Difference): string {
  const { target, now, baseline, refused } = difference;
  assert.deepEqual(soundnessOf(target, now.path).problems, []);
  const excuse = excuseFor(difference);
  if (refused > 0) {
    if (excuse === undefined) expectPart(difference);
    return 'refused';
  }
  if (JSON.stringify(now.files) === JSON.stringify(baseline.files)) return 'identical';
  if (excuse === undefined) assert.deepEqual(now.files, baseline.files);
  return excuse ?? 'never';
}

/** Converts sound sources once, and damaged ones. */
export class Trials {
  readonly #baselines = new Map<string, Contents>();

  async #baseline(source: Source, target: Target): Promise<Contents> {
    const key = `${source.name} ${target}`;
    const known = this.#baselines.get(key);
    if (known !== undefined) return known;
    const there = newPlace(target);
    assert.deepEqual(failedImages(await run(place(source.short, source.path), there)), []);
    const baseline = await contentsIn(there);
    this.#baselines.set(key, baseline);
    return baseline;
  }

  /** Converts a source with other bytes in one of its files, and lends what came of it to `use`. */
  async damaged<T>(
    source: Source,
    target: Target,
    { file, kind, bytes }: { file: string; kind: string; bytes: Buffer },
    use: (difference: Difference) => T,
  ): Promise<T> {
    const baseline = await this.#baseline(source, target);
    const sound = source.files.get(file) ?? Buffer.alloc(0);
    const at = join(source.path, file);
    const parent = tempFolder();
    const to = place(target, join(parent, 'place'));
    writeFileSync(at, bytes);
    try {
      const outcome = await run(place(source.short, source.path), to).catch((error: unknown) => ({ error }));
      const failures = 'error' in outcome ? [outcome.error] : failedImages(outcome).map(({ error }) => error);
      for (const error of failures) expectError(error, source, file);
      assert.deepEqual(stagingIn(parent), []);
      const refused = 'error' in outcome ? Infinity : failures.length;
      const now = await contentsIn(to);
      return use({ source, target, file, kind, sound, bytes, refused, now, baseline });
    } finally {
      writeFileSync(at, sound);
      rmSync(parent, { recursive: true });
    }
  }
}

/** Damages one file of one source and converts it. */
async function runCase(sources: readonly Source[], trials: Trials, random: Random): Promise<string> {
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
  const { bytes, what } = damageIn(source.files.get(file) ?? Buffer.alloc(0), region, random);
  try {
    return await trials.damaged(source, target, { file, kind, bytes }, judge);
  } catch (error) {
    throw new Error(
      `${source.name} to ${target}: ${file} ${what}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

export const bits: Campaign = {
  name: 'bits',
  cases: 10_000,
  seconds: 20,
  memory: 400 * 1024 ** 2,
  prepare: async () => {
    const sources = await soundSources();
    const trials = new Trials();
    return (random) => runCase(sources, trials, random);
  },
};
