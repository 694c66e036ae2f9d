import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chownSync,
  cpSync,
  linkSync,
  lstatSync,
  lutimesSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { EXIT } from '../../src/cli/exit.js';
import {
  convert,
  failedImages,
  ImgconvError,
  inspectImages,
  listImages,
  parsePlace,
  type Place,
} from '../../src/index.js';
import { collectGarbage } from '../../src/upkeep/gc.js';
import { verify } from '../../src/upkeep/verify.js';
import { FakeRegistry } from '../support/fake-registry.js';
import { imageOf, indexOf, layStore, layTree, put } from '../support/images.js';
import { archiveOf, entriesOf, layFiles, layoutFiles, savedFiles } from '../support/layouts.js';
import { place } from '../support/places.js';
import { contentsOf } from '../support/snapshot.js';
import { tempFolder } from '../support/temp.js';
import type { Campaign } from './campaign.js';

/*
 * Every part of every path of a place and of imgconv's own work in it, replaced by what somebody might plant there, for
 * every command. Beside the place lies a tree that nothing may touch, and links lead to it.
 */
const IS_ROOT = process.getuid?.() === 0;
const SHORTS = ['reg', 'oci', 'dir', 'tar', 'ocitar'] as const;
type Short = (typeof SHORTS)[number];
/** Of a process of another boot. */
const DEAD = '.imgconv-0badf00d-1-1-abcdef';
const V2 = 'docker/registry/v2';
const ARCHIVE = 'archive';

/** What takes the place of `path`, whose content was moved to `moved`, outside. */
type Plant = (path: string, moved: string) => void;

const PLANTS: Readonly<Record<string, Plant>> = {
  'link inside': (path, moved) => {
    cpSync(moved, `${path}.inside`, { recursive: true, preserveTimestamps: true });
    symlinkSync(`${basename(path)}.inside`, path);
  },
  'link outside': (path, moved) => {
    symlinkSync(moved, path);
  },
  'dangling link': (path) => {
    symlinkSync('/nowhere/at/all', path);
  },
  loop: (path) => {
    symlinkSync(basename(path), path);
  },
  FIFO: (path) => {
    execFileSync('mkfifo', [path]);
  },
  'link to a device': (path) => {
    symlinkSync('/dev/zero', path);
  },
  'hard link': (path, moved) => {
    linkSync(lstatSync(moved).isDirectory() ? join(dirname(moved), 'precious.txt') : moved, path);
  },
  folder: (path) => {
    put(join(path, 'deep/er/file'), 'planted');
  },
  file: (path) => {
    put(path, 'planted');
  },
  ...(IS_ROOT && {
    device: (path: string) => {
      execFileSync('mknod', [path, 'c', '1', '5']);
    },
    "another's": (path: string, moved: string) => {
      cpSync(moved, path, { recursive: true, preserveTimestamps: true });
      for (const name of ['', ...namesBelow(path)]) chownSync(join(path, name), 12_345, 12_345);
    },
  }),
};

function namesBelow(path: string): string[] {
  if (!lstatSync(path).isDirectory()) return [];
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).sort();
}

const [kept, fresh] = [await imageOf('kept'), indexOf([await imageOf('fresh')])];
const images = { 'demo/app:1': kept };
const more = { 'demo/app:2': fresh, 'demo/new:1': await imageOf('new') };
const [, layer] = more['demo/new:1'].blobs;
assert.ok(layer !== undefined);

const then = new Date(Date.now() - 48 * 3_600_000);

/** What a place holds, before something in it is replaced. */
async function lay(short: Short, folder: string): Promise<void> {
  if (short === 'reg') layStore(folder, images);
  if (short === 'oci') layFiles(folder, layoutFiles(entriesOf(images)));
  if (short === 'dir') layTree(folder, images);
  if (short === 'tar') put(join(folder, ARCHIVE), await archiveOf(savedFiles(images)));
  if (short === 'ocitar') put(join(folder, ARCHIVE), await archiveOf(layoutFiles(entriesOf(images))));
  const root = short === 'reg' ? join(folder, V2) : folder;
  if (short === 'reg') put(join(root, 'repositories/demo/app/_uploads/one/data'), 'unfinished');
  for (const [name, content] of Object.entries({
    [`${DEAD}/0`]: 'moved aside',
    [`${DEAD}/0.displaced`]: 'put/back/here',
    [`${DEAD}/claim`]: '',
    '.imgconv-lock': DEAD.slice('.imgconv-'.length),
    '.imgconv-gc': DEAD.slice('.imgconv-'.length),
    '.damaged/old': 'damaged',
    '.imgconv-partial/placeholder': '',
  })) {
    put(join(root, name), content);
    utimesSync(join(root, name), then, then);
  }
  utimesSync(join(root, DEAD), then, then);
  const partial = join(root, '.imgconv-partial', (layer?.digest ?? '').replace(':', '-'));
  writeFileSync(partial, (layer?.bytes ?? Buffer.alloc(0)).subarray(0, 100));
}

interface Ground {
  readonly from: Place;
  readonly sound: Place;
  readonly tree: Place;
  readonly remote: Place;
  /** Where nothing is. */
  readonly free: string;
}

/** Each gives the errors that it told. */
const COMMANDS: Readonly<Record<string, (ground: Ground) => Promise<unknown[]>>> = {
  ls: async ({ from }) => {
    const errors: unknown[] = [];
    for await (const { error } of listImages(from)) if (error !== undefined) errors.push(error);
    return errors;
  },
  inspect: async ({ from }) => {
    const found: unknown[] = [];
    for await (const image of inspectImages(from)) found.push(image);
    return [];
  },
  verify: async ({ from }) => (await verify(from)).findings.map(() => undefined),
  'verify --repair': async ({ from, sound }) =>
    (await verify(from, { repair: [sound] })).findings.map(() => undefined),
  gc: async ({ from }) => {
    await collectGarbage(from, { olderThan: 0, untagged: true, patience: 100 });
    return [];
  },
  read: async ({ from, free }) => failuresOf(from, place('oci', free)),
  write: ({ from, tree }) => failuresOf(tree, from),
  save: ({ from, remote }) => failuresOf(remote, from),
};

async function failuresOf(from: Place, to: Place): Promise<unknown[]> {
  const access = { retryDelay: 1, retryTimes: 1 };
  const report = await convert(from, to, { compression: 'keep', sourceAccess: access });
  return failedImages(report).map(({ error }) => error);
}

function expectOwn(error: unknown): void {
  assert.ok(error instanceof ImgconvError || isSystem(error), String((error as Error).stack));
  if (error instanceof ImgconvError) assert.ok(error.code in EXIT);
}

/** The command turns a failed system call into a message. */
function isSystem(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}

/** All that may not change outside: content, mode, owner, times. */
function stateOutside(folder: string): string {
  const state = namesBelow(folder).map((name) => {
    const { mode, uid, size, mtimeMs, ino } = lstatSync(join(folder, name));
    return [name, mode, uid, ino, ...(lstatSync(join(folder, name)).isDirectory() ? [] : [size, mtimeMs])];
  });
  return JSON.stringify([state, contentsOf(folder)]);
}

/** Files of the place that are neither imgconv's own work nor unfinished pushes: no garbage. */
function imagesIn(folder: string): string[] {
  return namesBelow(folder).filter((name) => !/\.imgconv-|_uploads|\.damaged|^put|\/put/.test(name));
}

interface Case {
  readonly short: Short;
  readonly part: string;
  readonly plant: string;
  readonly command: string;
}

const models = new Map<Short, string>();
const cases: Case[] = [];
for (const short of SHORTS) {
  const model = join(tempFolder(), 'place');
  await lay(short, model);
  models.set(short, model);
  for (const part of namesBelow(model))
    for (const plant of Object.keys(PLANTS))
      for (const command of Object.keys(COMMANDS)) {
        if (command === 'gc' && !['reg', 'oci'].includes(short)) continue;
        if (command === 'verify --repair' && ['tar', 'ocitar'].includes(short)) continue;
        cases.push({ short, part, plant, command });
      }
}
/** No divisor of the number of cases: any run of numbers meets all kinds. */
const STRIDE = 7919;

async function tryCase({ short, part, plant, command }: Case, shared: Omit<Ground, 'from' | 'free'>) {
  const folder = tempFolder();
  try {
    const [there, outside] = [join(folder, 'place'), join(folder, 'outside')];
    cpSync(models.get(short) ?? '', there, { recursive: true, preserveTimestamps: true });
    put(join(outside, 'precious.txt'), 'precious');
    put(join(outside, 'precious/file'), 'precious');
    const moved = join(outside, 'moved');
    renameSync(join(there, part), moved);
    PLANTS[plant]?.(join(there, part), moved);
    // A lock of another machine is waited for, for a while, unless it is old.
    for (const name of [part, ...namesBelow(there).filter((one) => basename(one) === DEAD)])
      lutimesSync(join(there, name), then, then);
    const before = stateOutside(outside);
    const images = imagesIn(there);
    const path = short === 'tar' || short === 'ocitar' ? join(there, ARCHIVE) : there;
    const ground = { ...shared, from: place(short, path), free: join(folder, 'free') };
    let outcome = 'done';
    try {
      const told = await (COMMANDS[command]?.(ground) ?? []);
      for (const error of told) if (error !== undefined) expectOwn(error);
      if (told.length > 0) outcome = 'told';
    } catch (error) {
      expectOwn(error);
      outcome = 'refused';
    }
    assert.equal(stateOutside(outside), before, 'something outside the place was touched');
    // Who puts another folder or file in the place of a repository has deleted it.
    if (command === 'gc' && !['folder', 'file', 'hard link'].includes(plant))
      assert.deepEqual(imagesIn(there), images, 'gc deleted what is no garbage');
    return `${command}: ${outcome}`;
  } catch (error) {
    const what = `${short}: ${part} as ${plant}: ${command}`;
    throw new Error(`${what}: ${error instanceof Error ? (error.stack ?? '') : ''}`, { cause: error });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const surroundings: Campaign = {
  name: 'surroundings',
  cases: cases.length,
  seconds: 20,
  memory: 500 * 1024 ** 2,
  prepare: async () => {
    const registry = (await FakeRegistry.start()).add(more);
    const shared = {
      sound: place('reg', layStore(tempFolder(), images)),
      tree: place('dir', layTree(tempFolder(), more)),
      remote: parsePlace(`docker://${registry.host}`),
    };
    return async (_, number) => {
      const one = cases[(number * STRIDE) % cases.length];
      return one === undefined ? 'none' : tryCase(one, shared);
    };
  },
};
