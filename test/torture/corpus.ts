import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '../bench/random.js';
import {
  artifactOf,
  DOCKER,
  imageOf,
  indexOf,
  layStore,
  layTree,
  OCI,
  type Sample,
} from '../support/images.js';
import { archiveOf, entriesOf, layFiles, layoutFiles, savedFiles } from '../support/layouts.js';
import { tarOf } from '../support/tars.js';

/** Every form that images are converted from and into; a pipe holds a docker-archive. */
export const KINDS = ['dir', 'reg', 'tar', 'oci', 'ocitar', 'pipe'] as const;
export type Kind = (typeof KINDS)[number];

/** Places of many files, which several writers may share and which can hold links to a source's files. */
export const STORES = ['dir', 'reg', 'oci'] as const satisfies readonly Kind[];
export type Store = (typeof STORES)[number];

/** As commands have it: `tar` for a pipe. */
export function shortOf(kind: Kind): string {
  return kind === 'pipe' ? 'tar' : kind;
}

/** Images in every form, made without imgconv: what is converted, and what a destination held before. */
export interface Corpus {
  readonly folder: string;
  /** Where the sources and what was there before lie, by kind. */
  readonly sources: Readonly<Record<Kind, string>>;
  readonly older: Readonly<Record<Kind, string>>;
  /** The names of the sources' images. */
  readonly names: readonly string[];
}

/** Noise from a seed: what no compression makes smaller, so that a run lasts. */
function noise(seed: string, size: number): Buffer {
  const random = new Random(seed);
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE(random.next(), at);
  return bytes;
}

/** `fresh` tells two vintages of the same names apart; `size` is that of the layer that most images share. */
async function images(
  fresh: string,
  size: number,
  compress: boolean,
  few: boolean,
): Promise<Readonly<Record<string, Sample>>> {
  const base = await tarOf({ 'usr/base': noise('base', size) });
  const other = await tarOf({ 'usr/other': noise('other', size) });
  const platforms = ['linux/amd64', 'linux/arm64/v8'];
  const members = platforms.map((platform) =>
    imageOf(`${fresh} ${platform}`, { family: OCI, platform, base, compress }),
  );
  return {
    'demo/app:1': await imageOf(`${fresh} one`, { family: DOCKER, base, compress }),
    'demo/multi:1': indexOf(await Promise.all(members)),
    ...(!few && {
      'demo/app:2': await imageOf(`${fresh} two`, { family: DOCKER, base: other, compress }),
      'tools/chart:1': artifactOf(fresh),
    }),
  };
}

async function lay(
  folder: string,
  gzipped: Readonly<Record<string, Sample>>,
  saved: Readonly<Record<string, Sample>>,
): Promise<Record<Kind, string>> {
  const layout = layoutFiles(entriesOf(gzipped));
  const tar = join(folder, 'place.tar');
  const ocitar = join(folder, 'place.oci.tar');
  layTree(join(folder, 'dir'), gzipped);
  layStore(join(folder, 'reg'), gzipped);
  layFiles(join(folder, 'oci'), layout);
  writeFileSync(ocitar, await archiveOf(layout));
  // As an engine saves them: layers unpacked, so that they are compressed on the way into dir and reg.
  writeFileSync(tar, await archiveOf(savedFiles(saved)));
  return {
    dir: join(folder, 'dir'),
    reg: join(folder, 'reg'),
    oci: join(folder, 'oci'),
    tar,
    ocitar,
    pipe: tar,
  };
}

/** Below `folder`. A destination had an image that stays, and others under the names of new ones. */
export async function makeCorpus(folder: string, size: number, few: boolean): Promise<Corpus> {
  const fresh = await images('new', size, true, few);
  const old = await images('old', 2000, true, few);
  const before = {
    'demo/app:1': old['demo/app:1'],
    'demo/multi:1': old['demo/multi:1'],
    'kept/image:1': await imageOf('kept'),
  };
  const there = Object.fromEntries(
    Object.entries(before).flatMap(([name, image]) => (image === undefined ? [] : [[name, image]])),
  );
  return {
    folder,
    sources: await lay(join(folder, 'sources'), fresh, await images('new', size, false, few)),
    older: await lay(join(folder, 'older'), there, there),
    names: Object.keys(fresh),
  };
}
