import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../bench/random.js';
import { DOCKER, imageOf, indexOf, layTree, OCI, type Sample } from '../support/images.js';
import { tarOf } from '../support/tars.js';
import type { Store } from './corpus.js';
import type { Found, Run } from './outcome.js';
import { pictureOf, unfinished } from './picture.js';
import { soundnessOf } from './soundness.js';

/** Processes that write at once, and how many images each of them takes. */
const WRITERS = 8;
const SHARE = 6;
const IMAGES = 12;

/** What has to be there before a place is one. */
const MARK: Readonly<Record<Store, string>> = {
  reg: 'docker/registry/v2/repositories',
  oci: 'index.json',
  dir: '.',
};

export interface Writing {
  readonly seed: string;
  readonly rounds: number;
  /** Of `dir`, `oci` and `reg`: one place each. */
  readonly targets: readonly Store[];
  /** Commands that go over all places again and again meanwhile: the place comes after the first word. */
  readonly keepers: readonly Keeper[];
}

export interface Keeper {
  readonly words: readonly [string, ...string[]];
  readonly of: readonly Store[];
}

/** Two vintages of the same names: which of them a place holds in the end is a matter of who came last. */
async function lay(folder: string): Promise<Readonly<Record<'one' | 'other', ReadonlyMap<string, string>>>> {
  const base = await tarOf({ 'usr/base': Buffer.alloc(100_000, 'base') });
  const of = async (vintage: string) => {
    const images: Record<string, Sample> = {};
    for (let i = 0; i < IMAGES; i++) {
      const family = i % 2 === 0 ? DOCKER : OCI;
      // Every third image is the same in both vintages.
      const text = i % 3 === 0 ? `image ${i}` : `image ${i} ${vintage}`;
      const image = await imageOf(text, { family, base });
      images[`many/app-${i % 5}:${i}`] =
        i % 4 === 3 ? indexOf([image, await imageOf(`${text} b`, { base })]) : image;
    }
    layTree(join(folder, vintage), images);
    return new Map(Object.entries(images).map(([name, { root }]) => [name, root.digest]));
  };
  return { one: await of('one'), other: await of('other') };
}

/** Eight processes write overlapping images into the same places; then everything is there. Gives how many commands ran. */
export async function write(
  folder: string,
  run: (writer: number) => Run,
  { seed, rounds, targets, keepers }: Writing,
  tell: Found,
): Promise<number> {
  const vintages = await lay(join(folder, 'sources'));
  let commands = 0;
  for (let round = 0; round < rounds; round++) {
    const place = (to: string) => join(folder, `round-${round}`, to);
    mkdirSync(join(folder, `round-${round}`));
    const writers = Array.from({ length: WRITERS }, async (_, writer) => {
      const random = new Random(`${seed} ${round} ${writer}`);
      const vintage = writer % 2 === 0 ? 'one' : 'other';
      const names = [...vintages[vintage].keys()];
      const first = random.below(IMAGES);
      // All images are taken by somebody.
      const own = names.filter((_, i) => (i - first + IMAGES) % IMAGES < SHARE || i % WRITERS === writer);
      const shift = random.below(targets.length);
      for (const i of targets.keys()) {
        const to = targets[(i + shift) % targets.length] ?? 'reg';
        const link = random.below(2) === 0 ? 'auto' : 'copy';
        const source = join(folder, 'sources', vintage);
        const { status, stderr } = await run(writer)(
          [`dir2${to}`, source, place(to), ...own, '--link', link],
          undefined,
        );
        commands++;
        if (status !== 0) tell(`round ${round}, writer ${writer} into ${to}: ${status}: ${stderr}`);
      }
    });
    let writing = true;
    const keeping = keepers.map(async ({ words: [command, ...options], of }, keeper) => {
      const own = targets.filter((to) => of.includes(to));
      while (writing) {
        await delay(5);
        for (const to of own.filter((one) => existsSync(join(place(one), MARK[one])))) {
          const words = [command, `${to}:${place(to)}`, ...options];
          const { status, stderr } = await run(WRITERS + keeper)(words, undefined);
          commands++;
          if (status !== 0) tell(`round ${round}, ${command} of ${to}: ${status}: ${stderr}`);
        }
      }
    });
    await Promise.all(writers);
    writing = false;
    await Promise.all(keeping);
    for (const to of targets) {
      const { images, problems: broken } = soundnessOf(to, place(to));
      broken.forEach(tell);
      for (const name of vintages.one.keys()) {
        const digest = images.get(name);
        if (
          digest === undefined ||
          (digest !== vintages.one.get(name) && digest !== vintages.other.get(name))
        )
          tell(`round ${round}: ${to}: ${name} is ${digest ?? 'lost'}`);
      }
      for (const name of unfinished(pictureOf(place(to)))) tell(`round ${round}: ${to}: left: ${name}`);
    }
  }
  return commands;
}
