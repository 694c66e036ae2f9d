import { existsSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { run } from './peers.js';
import { fixtureFolder, sharedFolder } from './samples.js';

/** An image as its engine described it. */
export interface EngineImage {
  readonly name: string;
  readonly id: string;
  readonly diffIds: readonly string[];
}

/** A sample of what an engine keeps on disk. */
export interface StoreSample {
  readonly title: string;
  /** Why its tests cannot run here, or false. */
  readonly skip: string | false;
  /** Archive of the store. */
  readonly tar: string;
  /** How a store in this folder is written as a place. */
  readonly place: (root: string) => string;
  /** Words for `imgconv copy` into an archive for Docker 20.10, which takes no layers in zstd. */
  readonly layers: readonly string[];
  /** Images with a tag. */
  readonly tagged: readonly EngineImage[];
  /** Images without a tag; `name` is the ID. */
  readonly untagged: readonly EngineImage[];
  /** Names of images that no tool can put together from this store. */
  readonly lost: readonly string[];
  /** Images with a command that ends, and what that prints. */
  readonly says: Readonly<Record<string, RegExp>>;
}

const GraphSchema = z.object({
  images: z.array(
    z.object({
      id: z.string(),
      names: z.array(z.string()),
      diff_ids: z.array(z.string()),
      intermediate: z.boolean(),
      manifest_list: z.boolean().optional(),
    }),
  ),
});

const manifestShape = {
  id: z.string().optional(),
  diff_ids: z.array(z.string()).optional(),
  layers: z.array(z.object({ present: z.boolean() })).optional(),
};
const RecordsSchema = z.record(
  z.string(),
  z.object({
    images: z.array(
      z.object({
        name: z.string(),
        ...manifestShape,
        manifests: z.array(z.object(manifestShape)).optional(),
      }),
    ),
  }),
);
const ContainerdSchema = z.union([
  z.object({ containerd: RecordsSchema }).transform(({ containerd }) => containerd),
  z.object({ namespaces: RecordsSchema }).transform(({ namespaces }) => namespaces),
]);

interface Images {
  readonly tagged: readonly EngineImage[];
  readonly untagged: readonly EngineImage[];
}

/** What Docker or podman said of the images of a graph driver's store. */
function graphImages(json: unknown): Images {
  const images = GraphSchema.parse(json).images.filter(({ intermediate }) => !intermediate);
  // A manifest list has an ID of podman's own; what an engine loads is the one image in it.
  const idOf = ({ id, diff_ids: diffIds, manifest_list: isList }: (typeof images)[number]) =>
    isList === true
      ? (images.find((one) => one.manifest_list !== true && String(one.diff_ids) === String(diffIds))?.id ??
        '')
      : id;
  const tags = ({ names }: (typeof images)[number]) => names.filter((name) => !name.includes('@'));
  return {
    tagged: images.flatMap((image) =>
      tags(image).map((name) => ({ name, id: idOf(image), diffIds: image.diff_ids })),
    ),
    untagged: images
      .filter((image) => tags(image).length === 0)
      .map((image) => ({ name: image.id, id: image.id, diffIds: image.diff_ids })),
  };
}

/** What containerd said; a name that two namespaces have is the first one's, and of an index the platform that is there counts. */
function containerdImages(json: unknown): Images {
  const tagged = new Map<string, EngineImage>();
  for (const { images } of Object.values(ContainerdSchema.parse(json))) {
    for (const { name, manifests, ...manifest } of images) {
      if (name.includes('@') || name.startsWith('sha256:') || tagged.has(name)) continue;
      const isThere = ({ layers }: { layers?: { present: boolean }[] | undefined }) =>
        layers?.every(({ present }) => present) === true;
      const { id = '', diff_ids: diffIds = [] } = manifests?.find(isThere) ?? manifest;
      tagged.set(name, { name, id, diffIds });
    }
  }
  return { tagged: [...tagged.values()], untagged: [] };
}

const graph = { imagesOf: graphImages, layers: [] };
const containerd = {
  place: (root: string) => `containerd:${root}`,
  imagesOf: containerdImages,
  layers: ['--layers', 'uncompressed'],
};
const dockerRoot = { ...graph, place: (root: string) => `docker-root:${root}` };
const storageOf = (driver: string) => ({
  ...graph,
  place: (root: string) => `containers-storage:[${driver}@${root}]`,
});

/** `/t` of sample/hard:1 (engines/README.md) prints nothing without words; demo/app:1.0 prints a text of base64. */
const HARD = { says: /^$/ };
const APP = { says: /^[\w+/\n=]{100,}$/ };

interface Engine {
  readonly place: (root: string) => string;
  readonly imagesOf: (json: unknown) => Images;
  readonly layers: readonly string[];
  readonly lost?: readonly string[];
  readonly runs?: Readonly<Record<string, { says: RegExp }>>;
}

/** Of app:2.0 in the samples of containerd a layer was deleted, of containerd2-discarded all were. */
const engines: Readonly<Record<string, Engine>> = {
  'docker20-odd': { ...dockerRoot, lost: ['odd/pax-sparse:1'] },
  'docker-vfs': { ...dockerRoot, runs: { 'sample/hard:1': HARD } },
  containerd2: {
    ...containerd,
    lost: ['localhost:5102/sample/app:2.0'],
    runs: { 'localhost:5102/sample/hard:1': HARD },
  },
  'containerd2-discarded': {
    ...containerd,
    lost: ['localhost:5102/sample/hard:1', 'localhost:5102/sample/raw:1'],
  },
  'containers-storage-vfs': { ...storageOf('vfs'), runs: { 'localhost/sample/hard:1': HARD } },
  'docker20-overlay2': { ...dockerRoot, runs: { 'sample/hard:1': HARD, 'demo/app:1.0': APP } },
  'docker28-overlay2': { ...dockerRoot, runs: { 'sample/buildkit:1': HARD, 'demo/app:1.0': APP } },
  'docker28-containerd': { ...containerd, runs: { 'docker.io/sample/buildkit:1': HARD } },
  containerd16: {
    ...containerd,
    lost: ['localhost:5102/sample/app:2.0'],
    runs: { 'localhost:5102/sample/app:1.0': APP },
  },
  'containers-storage-overlay': {
    ...storageOf('overlay'),
    runs: { 'localhost/sample/hard:1': HARD, 'localhost/demo/app:1.0': APP },
  },
};

/** Those that are part of the project, and those that are kept beside some checkouts. */
function storeSample(title: string, { imagesOf, lost = [], runs = {}, ...words }: Engine): StoreSample {
  const files = [
    [join(fixtureFolder, `engines/${title}.tar.gz`), join(fixtureFolder, `engines/${title}.json`)],
    [join(sharedFolder, `engines/${title}-root.tar`), join(sharedFolder, `engines/${title}.expected.json`)],
  ] as const;
  const found = files.find(([tar]) => existsSync(tar));
  const says = Object.fromEntries(Object.entries(runs).map(([name, one]) => [name, one.says]));
  const common = { title, lost, says, ...words };
  if (found === undefined)
    return { ...common, skip: `no ${sharedFolder}/engines`, tar: '', tagged: [], untagged: [] };
  const [tar, expected] = found;
  const { tagged, untagged } = imagesOf(JSON.parse(readFileSync(expected, 'utf8')));
  return {
    ...common,
    skip: false,
    tar,
    tagged: tagged.filter(({ name }) => !lost.includes(name)),
    untagged,
  };
}

export const storeSamples = Object.entries(engines).map(([title, engine]) => storeSample(title, engine));

/** Puts a store into a folder as it lay at its engine, and gives its place. */
export async function unpackStore({ tar, place }: StoreSample, folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  await run('tar', ['--xattrs', '--xattrs-include=*', '--numeric-owner', '-xf', tar, '-C', folder]);
  return place(folder);
}
