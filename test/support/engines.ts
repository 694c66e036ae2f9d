import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { parsePlace, type Place } from '../../src/index.js';
import { fixture } from './fixtures.js';
import { tempFolder } from './temp.js';

/** The sample stores of engines (fixtures/README.md), and how each is written as a place. */
const PLACES = {
  'docker20-odd': (root: string) => `docker-root:${root}`,
  'docker-vfs': (root: string) => `docker-root:${root}`,
  containerd2: (root: string) => `containerd:${root}`,
  'containerd2-discarded': (root: string) => `containerd:${root}`,
  'containers-storage-vfs': (root: string) => `containers-storage:[vfs@${root}]`,
} as const;

export type Engine = keyof typeof PLACES;
export const GRAPH_STORES = ['docker20-odd', 'docker-vfs', 'containers-storage-vfs'] as const;
export const ENGINES = Object.keys(PLACES) as readonly Engine[];

/** Puts a store into a new folder. Without root its device nodes and owners do not arrive, which no layer needs. */
export function unpackEngine(engine: Engine, folder = join(tempFolder(), engine)): string {
  mkdirSync(folder, { recursive: true });
  const words = [
    '--xattrs',
    '--xattrs-include=*',
    '--numeric-owner',
    '-xzf',
    fixture(`engines/${engine}.tar.gz`),
  ];
  const { status, stderr } = spawnSync('tar', [...words, '-C', folder]);
  if (status !== 0 && process.getuid?.() === 0) throw new Error(String(stderr));
  return folder;
}

const unpacked = new Map<Engine, string>();

/** A store to read, never to write; unpacked once a process. */
export function engineRoot(engine: Engine): string {
  const known = unpacked.get(engine);
  if (known !== undefined && existsSync(known)) return known;
  const root = unpackEngine(engine);
  unpacked.set(engine, root);
  return root;
}

export function enginePlace(engine: Engine, root = engineRoot(engine)): Place {
  return parsePlace(PLACES[engine](root));
}

const imageSchema = z.object({
  id: z.string(),
  names: z.array(z.string()),
  repo_digests: z.array(z.string()),
  diff_ids: z.array(z.string()),
  intermediate: z.boolean(),
  manifest_list: z.boolean().optional(),
});
export type ExpectedImage = z.infer<typeof imageSchema>;

const recordSchema = z.object({
  name: z.string(),
  digest: z.string(),
  id: z.string().optional(),
  layers: z.array(z.object({ digest: z.string(), present: z.boolean() })).optional(),
});

function readExpected(engine: Engine): unknown {
  return JSON.parse(readFileSync(fixture(`engines/${engine}.json`), 'utf8'));
}

/** What Docker or podman said of their images. */
export function expectedImages(engine: Engine): ExpectedImage[] {
  return z.object({ images: z.array(imageSchema) }).parse(readExpected(engine)).images;
}

/** What containerd said of its images, by namespace. */
export function expectedRecords(engine: Engine) {
  const schema = z.object({ namespaces: z.record(z.string(), z.object({ images: z.array(recordSchema) })) });
  return schema.parse(readExpected(engine)).namespaces;
}

/**
 * What shows that a store was changed: of files the links and all times, of folders and symbolic links the times of
 * changes. No system call reads a link or lists a folder without its access time.
 */
export function stateOfTree(root: string): string[] {
  const print = ['-printf', '%P %i %n %s %T@ %C@'];
  const words = [...print, '-type', 'f', '-printf', ' %A@', ',', '-printf', '\\n'];
  const { status, stdout } = spawnSync('find', [root, ...words], { maxBuffer: 2 ** 28, encoding: 'latin1' });
  if (status !== 0) throw new Error('find failed');
  return stdout.split('\n').sort();
}
