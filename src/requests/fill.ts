import type { RegistryAccess } from '../formats/access.js';
import { registry } from '../formats/registry/index.js';
import type { Place } from '../formats/table.js';
import { wholeText } from '../discover/findings.js';
import { isAttachedTag } from '../model/attached.js';
import { ImgconvError } from '../model/errors.js';
import type { Platform } from '../model/platform.js';
import { splitHost, splitReference } from '../model/reference.js';
import { convert } from '../transfer/convert.js';
import type { ConvertOptions, Progress } from '../transfer/options.js';
import type { Count, Report, Tally } from '../transfer/report.js';
import type { Selector } from '../transfer/select.js';
import { listNames, namesAmong } from '../upkeep/list.js';
import { chartPlace } from './chart-artifact.js';
import type { ClusterImage, LocalImages } from './cluster-image.js';
import { forPlatform, joiningPlatforms } from './multi-arch.js';
import { EVERYWHERE } from './save-images.js';

export interface FillOptions {
  /** None means all that an index has. */
  readonly platforms?: readonly Platform[] | undefined;
  /** Where images are looked for before their registries. */
  readonly from?: readonly Place[] | undefined;
  /** The repository below which packed charts are stored, as `helm push` does; undefined: they are not. */
  readonly chartsAs?: string | undefined;
  readonly access?: RegistryAccess | undefined;
  readonly fromAccess?: RegistryAccess | undefined;
  readonly dryRun?: boolean | undefined;
  readonly jobs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly progress?: Progress | undefined;
}

/** An image that has to be in the storage, and under which names. */
export interface Needed {
  /** With host and tag: `docker.io/library/mysql:latest`. */
  readonly whole: string;
  readonly targets: readonly string[];
}

/** An image of the folder itself: what chooses it in its archive. */
interface LocalImage extends Needed {
  readonly place: Place;
  readonly text: string;
}

/** What a folder holds and what its files need. */
export interface Needs {
  readonly local: readonly LocalImage[];
  readonly references: readonly Needed[];
}

export function storeOf(rootfs: string): Place {
  return { format: registry, path: `${rootfs}/registry` };
}

/**
 * Names as a registry without hosts has them. sealer stores Docker Hub's own images below `library/` (pkg/image/save/utils.go
 * `splitDockerDomain`) and cluster files ask its registry for them with and without it.
 */
export function targetsOf(whole: string): string[] {
  const { host } = splitHost(splitReference(whole).name);
  const name = host === undefined ? whole : whole.slice(host.length + 1);
  const own = host === 'docker.io' ? /^library\/([^/]+)$/.exec(name)?.[1] : undefined;
  return own === undefined ? [name] : [name, own];
}

function needed(text: string): Needed {
  const whole = wholeText(text);
  return { whole, targets: targetsOf(whole) };
}

/** @throws ImgconvError when an archive cannot be read; NAME_INVALID */
export async function needsOf({ local, findings }: ClusterImage): Promise<Needs> {
  const images: LocalImage[] = [];
  for (const one of local) images.push(...(await imagesIn(one)));
  return { local: images, references: findings.images().map(({ reference }) => needed(reference)) };
}

async function imagesIn({ place, name }: LocalImages): Promise<LocalImage[]> {
  // What is attached to an image comes with it.
  const names = (await listNames(place)).filter((one) => !isAttachedTag(splitReference(one).tag));
  if (name !== undefined) return [{ ...needed(name), place, text: names.length > 1 ? name : '@0' }];
  const joins = names.length > 0 && names.every((one) => forPlatform(one) !== undefined);
  const own = joins ? [...new Set(names.map((one) => forPlatform(one)?.name ?? one))] : names;
  const from = joins ? joiningPlatforms(place) : place;
  return own.map((one) => ({ ...needed(one), place: from, text: one }));
}

/** Fills the storage with all that a folder needs. What is there already is not fetched. @throws ImgconvError NAME_CONFLICT before anything is written */
export async function fill(
  rootfs: string,
  image: Pick<ClusterImage, 'charts' | 'hosts'>,
  needs: Needs,
  options: FillOptions,
): Promise<Report> {
  const filling = new Filling(storeOf(rootfs), options, {
    ...options.access,
    hosts: { ...options.access?.hosts, ...image.hosts },
  });
  await filling.expectOneOfEach(needs);
  const provided = new Set(needs.local.flatMap(({ targets }) => targets));
  const missing = needs.references.filter(({ targets }) => !targets.some((target) => provided.has(target)));
  // Archives after that: layers that both have stay as the registry compressed them.
  await filling.remote(missing);
  await filling.local(needs.local);
  if (options.chartsAs !== undefined && image.charts.length > 0)
    await filling.all(await chartPlace(image.charts, options.chartsAs), undefined);
  return filling.report();
}

class Filling {
  readonly #to: Place;
  readonly #options: FillOptions;
  readonly #access: RegistryAccess;
  readonly #reports: Report[] = [];

  constructor(to: Place, options: FillOptions, access: RegistryAccess) {
    this.#to = to;
    this.#options = options;
    this.#access = access;
  }

  /** Two images of one name are the same one, or an error. */
  async expectOneOfEach({ local, references }: Needs): Promise<void> {
    const owners = new Map<string, string>();
    for (const { whole, targets } of local)
      for (const target of targets) owners.set(target, owners.get(target) ?? whole);
    const shared = new Map<string, Needed[]>();
    for (const one of references) {
      const [target = ''] = one.targets;
      const owner = owners.get(target);
      if (owner !== undefined && owner !== one.whole) throw conflict(target, owner, one.whole);
      shared.set(target, [...(shared.get(target) ?? []), one]);
    }
    const doubtful = [...shared.values()].filter((some) => some.length > 1).flat();
    if (doubtful.length > 0)
      await convert(EVERYWHERE, this.#to, {
        ...this.#common(),
        selectors: selectorsOf(doubtful),
        sourceAccess: this.#access,
        dryRun: true,
        progress: undefined,
      });
  }

  async local(images: readonly LocalImage[]): Promise<void> {
    const byPlace = new Map<Place, LocalImage[]>();
    const places = new Map<string, Place>();
    for (const one of images) {
      const place = places.get(one.place.path) ?? one.place;
      places.set(one.place.path, place);
      byPlace.set(place, [...(byPlace.get(place) ?? []), one]);
    }
    for (const [place, some] of byPlace)
      await this.all(
        place,
        some.flatMap(({ text, targets }) => targets.map((rename) => ({ text, rename, where: place.path }))),
      );
  }

  /** Takes images from the places that were named for it, and then from their registries. */
  async remote(images: readonly Needed[]): Promise<void> {
    let left = images;
    for (const place of this.#options.from ?? []) {
      if (left.length === 0) break;
      const there = new Set(
        await namesAmong(
          place,
          left.map(({ whole }) => nameAt(place, whole)),
          this.#options.fromAccess,
        ),
      );
      const here = left.filter(({ whole }) => there.has(nameAt(place, whole)));
      left = left.filter((one) => !here.includes(one));
      if (here.length > 0)
        await this.#run(place, {
          selectors: selectorsOf(here, (whole) => nameAt(place, whole)),
          platforms: this.#options.platforms,
          sourceAccess: this.#options.fromAccess,
        });
    }
    if (left.length > 0)
      await this.#run(EVERYWHERE, {
        selectors: selectorsOf(left),
        platforms: this.#options.platforms,
        sourceAccess: this.#access,
      });
  }

  /** Images of the folder, as they are; without selectors all that a place has. */
  all(place: Place, selectors: readonly Selector[] | undefined): Promise<void> {
    return this.#run(place, { selectors });
  }

  #common(): ConvertOptions {
    const { dryRun, jobs, signal, progress } = this.#options;
    return { dryRun, jobs, signal, progress, untagged: false };
  }

  async #run(from: Place, options: ConvertOptions): Promise<void> {
    this.#reports.push(await convert(from, this.#to, { ...this.#common(), ...options }));
  }

  report(): Report {
    const images = this.#reports.flatMap((one) => one.images);
    const sum = (counts: readonly Count[]) => ({
      blobs: counts.reduce((all, { blobs }) => all + blobs, 0),
      bytes: counts.reduce((all, { bytes }) => all + bytes, 0),
    });
    const kinds = Object.keys(EMPTY) as (keyof Tally)[];
    const tally = Object.fromEntries(
      kinds.map((kind) => [kind, sum(this.#reports.map((one) => one.tally[kind]))]),
    ) as unknown as Tally;
    return { images, tally, untaggedLeftOut: 0, plan: undefined };
  }
}

const NONE: Count = { blobs: 0, bytes: 0 };
const EMPTY: Tally = {
  ...{
    linked: NONE,
    reflinked: NONE,
    copied: NONE,
    moved: NONE,
    fetched: NONE,
    uploaded: NONE,
    mounted: NONE,
  },
  ...{ present: NONE, compressed: NONE, decompressed: NONE, reused: NONE },
};

function selectorsOf(images: readonly Needed[], textOf = (whole: string) => whole): Selector[] {
  return images.flatMap(({ whole, targets }) =>
    targets.map((rename) => ({ text: textOf(whole), rename, where: whole })),
  );
}

/** What a place calls an image: a mirror has it below its own host and path. */
function nameAt({ format, path }: Place, whole: string): string {
  if (format.registry === undefined) return whole;
  const [target = whole] = targetsOf(whole);
  return `${path.replace(/\/+$/, '')}/${target}`;
}

function conflict(target: string, one: string, other: string): ImgconvError {
  return new ImgconvError(
    'NAME_CONFLICT',
    `${target}: two images get this name, ${one} (of the folder) and ${other}`,
    {
      hint: 'the registry of a cluster has no hosts in its names: rename one of the two in its archive or in the files',
    },
  );
}
