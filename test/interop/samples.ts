import { existsSync, readFileSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { projectRoot } from './peers.js';

/** One set of images as each tool keeps them, and what must come of them. */
export interface Sample {
  readonly title: string;
  /** Why its suites cannot run here, or false. */
  readonly skip: string | false;
  /** Tar of a skopeo tree, and the folder in it. */
  readonly tree: { readonly tar: string; readonly folder: string };
  /** Tar of a registry's storage. */
  readonly store: string;
  /** docker-archives with the same images in them. */
  readonly archives: readonly string[];
  /** Manifest digests by name: all that is in `tree`. */
  readonly digests: Readonly<Record<string, string>>;
  /** Image IDs by name: all that an engine can load of it. */
  readonly imageIds: Readonly<Record<string, string>>;
  /** What an image prints when it is run. */
  readonly says: Readonly<Record<string, string>>;
}

const NamesSchema = z.record(z.string(), z.string());
const ExpectedSchema = z.object({
  says: NamesSchema,
  children: z.record(z.string(), NamesSchema),
  imageIds: z.record(z.string(), NamesSchema),
  digests: z.record(z.string(), NamesSchema),
});

export const fixtureFolder = join(projectRoot, 'fixtures');
export const expected = ExpectedSchema.parse(
  JSON.parse(readFileSync(join(fixtureFolder, 'expected.json'), 'utf8')),
);

function fixtureImageIds(): Record<string, string> {
  const docker = expected.imageIds['docker20.tar'] ?? {};
  const crane = expected.imageIds['crane.tar'] ?? {};
  const amd64 = docker['demo/app:2.0'] ?? '';
  return {
    ...docker,
    'demo/app:stable': amd64,
    'demo/app:moved': amd64,
    'demo/empty:1': crane['localhost:5003/demo/empty:1'] ?? '',
    'demo/list:1': amd64,
    'demo/multi:1': amd64,
  };
}

const fixtures: Sample = {
  title: 'fixtures',
  skip: false,
  tree: { tar: join(fixtureFolder, 'sync.tar'), folder: 'sync' },
  store: join(fixtureFolder, 'registry.tar'),
  archives: ['docker20.tar', 'docker28.tar', 'containerd28.tar'].map((file) => join(fixtureFolder, file)),
  digests: expected.digests['registry.tar'] ?? {},
  imageIds: fixtureImageIds(),
  says: expected.says,
};

export const sharedFolder = resolve(projectRoot, process.env['IMGCONV_SHARED'] ?? '../shared/fixtures');
const app2 = 'sha256:2bf7a35cb296de30783c2a439b68008768e1150bd60df27bab365d0e02b0301c';

/** Larger images (a static busybox), kept beside some checkouts and not part of the project. */
const large: Sample = {
  title: 'large samples',
  skip: existsSync(join(sharedFolder, 'registry-storage.tar')) ? false : `no ${sharedFolder}`,
  tree: { tar: join(sharedFolder, 'skopeo-sync.tar'), folder: 'sync' },
  store: join(sharedFolder, 'registry-storage.tar'),
  archives: ['docker20-multi.tar', 'docker28-multi.tar', 'docker28-containerd-multi.tar'].map((file) =>
    join(sharedFolder, file),
  ),
  digests: {
    'demo/app:1.0': 'sha256:53a7569802c3c9ae7ce20ed342f0239c8fb83d144b201d5e45f5d59c28dc1081',
    'demo/app:2.0': 'sha256:d3f582a085f31d207d59c16e0b456786fe7ff8ef0797f7421f453ec698e01dfc',
    'demo/base:1': 'sha256:0289a5421407fd2586b7187691d8bc0c210987e5d322605b37374d95822b882b',
    'demo/dup:1': 'sha256:b9b2e3ff6535f58c0dfbcd8977ad532ce756dc29974c2efb4ddda941c373aa11',
    'demo/multi:1': 'sha256:72b5821a846d0c67492f3a7b774cb7d9191b7c63b87818e4c3b9ef2713671732',
    'helm-charts/demo:0.1.0': 'sha256:856386d2c8c10f5b2ceef4b4409f734f1cef059f8e96ab7982eaaa227b15cf14',
  },
  imageIds: {
    'demo/app:1.0': 'sha256:2a33ceefa8eb7e682ad9b207ac4df0ca9a30c6646dc7ae20c44e9fa8636a968d',
    'demo/app:2.0': app2,
    'demo/base:1': 'sha256:74533a9491c028cd16fc656763cb548c72473840e5f57cc1060b6360479e6bab',
    'demo/dup:1': 'sha256:74c10d22e3b90a1297fa1ff476a8d25eeb7cabb0b27a11234e18df3dee73c8a4',
    'demo/multi:1': app2,
  },
  says: {},
};

export const samples: readonly Sample[] = [fixtures, large];

/** The digest that each tag of a store stands for now, read from the store's own files. */
export async function tagsOfStore(store: string): Promise<Record<string, string>> {
  const repositories = join(store, 'docker/registry/v2/repositories');
  const tags: Record<string, string> = {};
  for (const file of (await readdir(repositories, { recursive: true })).sort()) {
    const [, repository, tag] = /^(.*)\/_manifests\/tags\/([^/]+)\/current\/link$/.exec(file) ?? [];
    if (repository !== undefined && tag !== undefined) {
      tags[`${repository}:${tag}`] = await readFile(join(repositories, file), 'utf8');
    }
  }
  return tags;
}
