import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  gzipped,
  hexOf,
  imageOf,
  layDir,
  layStore,
  PLAIN_LAYER,
  saveTar,
  type Image,
  type LayerFile,
} from './images.js';
import { projectRoot } from '../interop/peers.js';
import { writeLayerTar, writeSparseTar } from './tar.js';

const MB = 1000 * 1000;
export const MANY = 1000;
export const SELECTED = 200;
export const TAGS = 100_000;

/** Where corpora and outputs lie: links need the checkout's own file system. Kept when BENCH_DIR names it. */
function placeOf(): { folder: string; kept: boolean } {
  const named = process.env['BENCH_DIR'];
  if (named !== undefined) {
    mkdirSync(named, { recursive: true });
    return { folder: named, kept: true };
  }
  const sameFileSystem = statSync(tmpdir()).dev === statSync(projectRoot).dev;
  return { folder: mkdtempSync(join(sameFileSystem ? tmpdir() : projectRoot, '.bench-')), kept: false };
}

/** What the rows convert. Each part is made from fixed seeds when it is first asked for. */
export class Corpus {
  readonly folder: string;
  /**
   * For what the runs write. Kept to the end: ext4 passes over inodes that were deleted in the last minutes when it
   * looks for a free one (recently_deleted in fs/ext4/ialloc.c), so that clearing up would slow the next run down.
   */
  readonly outputs: string;
  readonly scale: number;
  readonly #kept: boolean;

  /** `scale` multiplies all sizes. */
  constructor(scale: number) {
    const { folder, kept } = placeOf();
    this.folder = folder;
    this.#kept = kept;
    this.outputs = mkdtempSync(join(folder, 'out-'));
    this.scale = scale;
  }

  [Symbol.dispose](): void {
    rmSync(this.outputs, { recursive: true, force: true });
    if (!this.#kept) rmSync(this.folder, { recursive: true, force: true });
  }

  count(whole: number): number {
    return Math.max(10, Math.round(whole * this.scale));
  }

  /** Makes a folder once; one that was left half made does not count. */
  async #folder(name: string, make: (folder: string) => Promise<void>): Promise<string> {
    const folder = join(this.folder, `${name}-${this.scale}`);
    if (existsSync(folder)) return folder;
    const part = `${folder}.part`;
    rmSync(part, { recursive: true, force: true });
    mkdirSync(part);
    process.stderr.write(`making ${name} …\n`);
    await make(part);
    renameSync(part, folder);
    return folder;
  }

  /** `tree/`: five images on a base of three layers, each with layers of its own; `store/`: one of them, stored. */
  base(): Promise<string> {
    return this.#folder('base', async (folder) => {
      const layers = (seed: string, sizes: readonly number[]) =>
        Promise.all(sizes.map((size, i) => gzipped(this.#layer(folder, `${seed}-${i}`, size * MB))));
      const base = await layers('base', [133, 66, 22]);
      for (let i = 1; i <= 5; i++) {
        const image = imageOf(`app-${i}:1.0`, [...base, ...(await layers(`app-${i}`, [33, 11]))]);
        layDir(join(folder, 'tree'), image, true);
        if (i > 1) continue;
        layStore(join(folder, 'store'), image);
        layDir(join(folder, 'one'), image, false);
      }
    });
  }

  /** `first.tar`, `second.tar`: images that an engine saved, all but one small layer the same. */
  saved(): Promise<string> {
    return this.#folder('saved', async (folder) => {
      const layers = [120, 80, 50, 24, 4, 2].map((size, i) => this.#layer(folder, `saved-${i}`, size * MB));
      saveTar(join(folder, 'first.tar'), imageOf('demo/saved:1', layers));
      const other = [...layers.slice(0, -1), this.#layer(folder, 'saved-other', 2 * MB)];
      saveTar(join(folder, 'second.tar'), imageOf('demo/saved:2', other));
      return Promise.resolve();
    });
  }

  /** `tree/`, `store/`: many images of three small layers; `names`: all, `tenth`, `selected`: some of them. */
  many(): Promise<string> {
    return this.#folder('many', async (folder) => {
      const names: string[] = [];
      for await (const image of this.#smallImages(folder, this.count(MANY))) {
        layDir(join(folder, 'tree'), image, false);
        layStore(join(folder, 'store'), image);
        names.push(image.name);
      }
      const list = (file: string, some: readonly string[]) => {
        writeFileSync(join(folder, file), some.map((name) => `${name}\n`).join(''));
      };
      const each = (n: number) => names.filter((_, i) => i % n === 0);
      list('names', names);
      list('tenth', each(10));
      list('selected', each(MANY / SELECTED));
    });
  }

  /** A store of so many small images, and two archives of an image that is not among them. */
  async numerous(count: number): Promise<{ store: string; small: string; other: string }> {
    const made = await this.#folder(`numerous-${count}`, async (folder) => {
      const work = join(this.outputs, `work-${count}`);
      for await (const image of this.#smallImages(work, this.count(count)))
        layStore(join(folder, 'store'), image);
      for (const name of ['small', 'other'])
        saveTar(
          join(folder, `${name}.tar`),
          imageOf(`demo/${name}:1`, [this.#small(folder, `layer-${name}`, 20_000)]),
        );
    });
    const at = (name: string) => join(made, name);
    return { store: at('store'), small: at('small.tar'), other: at('other.tar') };
  }

  /** Images of three small layers, the first one of ten. */
  async *#smallImages(folder: string, count: number): AsyncGenerator<Image> {
    mkdirSync(folder, { recursive: true });
    const bases = await Promise.all(
      Array.from({ length: 10 }, (_, i) => gzipped(this.#small(folder, `many-base-${i}`, 20_000))),
    );
    for (let i = 0; i < count; i++) {
      const own = await Promise.all([0, 1].map((n) => gzipped(this.#small(folder, `many-${i}-${n}`, 6_000))));
      yield imageOf(`team-${i % 7}/app-${i % 50}:v${i}`, [...bases.slice(i % 10, (i % 10) + 1), ...own]);
    }
  }

  /** A store of one image with ten layers of 500 MB. */
  heavy(): Promise<string> {
    return this.#folder('heavy', async (folder) => {
      const layers = Array.from({ length: 10 }, (_, i) => this.#layer(folder, `heavy-${i}`, 500 * MB));
      layStore(folder, imageOf('demo/heavy:1', layers));
      for (const { path } of layers) rmSync(path);
      return Promise.resolve();
    });
  }

  /** One image with a layer of 4 GiB of zeros: `tree/`, `store/`, `saved.tar`, and `packed/`, a store of it gzipped. */
  big(): Promise<string> {
    return this.#folder('big', async (folder) => {
      const path = join(folder, 'big');
      const { hex, size } = writeSparseTar(path, Math.round(4 * 1024 ** 3 * this.scale) - 1024);
      const layer: LayerFile = { path, hex, size, diffId: hex, mediaType: PLAIN_LAYER };
      const image = imageOf('demo/big:1', [layer]);
      layDir(join(folder, 'tree'), image, false);
      layStore(join(folder, 'store'), image);
      saveTar(join(folder, 'saved.tar'), image);
      layStore(join(folder, 'packed'), imageOf('demo/big:1', [await gzipped(layer)]));
    });
  }

  /** A store with so many tags and few images; the registry's other links are left out. */
  tags(count: number): Promise<string> {
    return this.#folder(`tags-${count}`, async (folder) => {
      const layer = await gzipped(this.#small(folder, 'tags', 6_000));
      const images: Image[] = Array.from({ length: 100 }, (_, i) =>
        imageOf(`demo/app-${i % 10}:base-${i}`, [layer]),
      );
      for (const image of images) layStore(folder, image);
      const digests = images.map(({ manifest }) => `sha256:${hexOf(manifest)}`);
      for (let i = 0; i < this.count(count) - images.length; i++) {
        const repository = join(folder, 'docker/registry/v2/repositories/demo', `app-${i % 10}`);
        const current = join(repository, '_manifests/tags', `v${i}`, 'current');
        mkdirSync(current, { recursive: true });
        writeFileSync(join(current, 'link'), digests[i % digests.length] ?? '');
      }
      const selected = Array.from({ length: this.count(SELECTED) }, (_, i) => `demo/app-${i % 10}:v${i}\n`);
      writeFileSync(join(folder, 'selected'), selected.join(''));
    });
  }

  #layer(folder: string, seed: string, size: number): LayerFile {
    return this.#small(folder, seed, size * this.scale);
  }

  #small(folder: string, seed: string, bytes: number): LayerFile {
    const path = join(folder, `${seed}.tar`);
    const { hex, size } = writeLayerTar(path, seed, bytes);
    return { path, hex, size, diffId: hex, mediaType: PLAIN_LAYER };
  }
}

/** Deletes nothing before the end: for minutes after, ext4 gives no inode again and searches long for others. */
export class Corpora {
  readonly #all: Corpus[] = [];

  of(scale: number): Corpus {
    const corpus = new Corpus(scale);
    this.#all.push(corpus);
    return corpus;
  }

  [Symbol.dispose](): void {
    for (const corpus of this.#all) corpus[Symbol.dispose]();
  }
}

export function linesOf(path: string): string[] {
  return readFileSync(path, 'utf8').split('\n').filter(Boolean);
}
