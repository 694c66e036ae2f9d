import { digestOf } from '../../bytes/hash.js';
import { namesIn } from '../../bytes/folder.js';
import { wholeFile } from '../../bytes/there.js';
import type { MemoryBytes } from '../../bytes/region.js';
import { parseConfig } from '../../model/config.js';
import { isDigest, type Digest } from '../../model/digest.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { MAX_CONFIG } from '../../model/json.js';
import { splitReference } from '../../model/reference.js';
import { NOTHING_OF_ITS_OWN } from '../audit.js';
import { ContainerdImages } from '../containerd-images.js';
import { recognisesContainerd } from '../containerd-store.js';
import type { ImageReader, ListOptions, ReadContext, SourceImage, UnreadableImage } from '../format.js';
import { readDocument, type Files } from '../layout.js';
import { ListingReader } from '../listing.js';
import { madeImage } from '../made-image.js';
import { warnedOf } from '../running.js';
import { wantedMatcher } from '../wanted.js';
import { RootLayers } from './layers.js';
import {
  configPath,
  configsPath,
  CONTAINERD,
  DATABASES,
  IMAGE,
  NAMESPACE,
  isDriver,
  parentPath,
  type Driver,
} from './paths.js';
import { readRepositories, type ImageNames } from './repositories.js';

/** @throws ImgconvError NOT_FOUND, FORMAT_UNSUPPORTED */
export function openDataRoot(root: string, context: ReadContext): Promise<ImageReader> {
  const files: Files = { path: root, get: (name) => wholeFile(`${root}/${name}`, root) };
  const stores: Store[] = [];
  const store = `${root}/${CONTAINERD}`;
  if (recognisesContainerd(store))
    stores.push(new ContainerdImages(store, NAMESPACE, { isFamiliar: true }, context));
  const drivers = namesIn(`${root}/${IMAGE}`, root);
  for (const driver of drivers.filter(isDriver)) stores.push(new GraphStore(files, driver));
  if (stores.length === 0) throw noDriver(root, drivers);
  return Promise.resolve(
    new ListingReader((options) => warnedOf(imagesOf(stores, options), root, DATABASES), NOTHING_OF_ITS_OWN),
  );
}

interface Store {
  images(options: ListOptions): AsyncIterable<SourceImage | UnreadableImage>;
}

/** A name in two stores, after the engine was switched from one to the other, is that of the image in the first. */
async function* imagesOf(stores: readonly Store[], options: ListOptions) {
  const names = new Set<string>();
  for (const [i, store] of stores.entries()) {
    const own: string[] = [];
    for await (const image of store.images(options)) {
      const { name } = image;
      if (name !== undefined) own.push(name);
      const isTaken = i > 0 && name !== undefined && names.has(name);
      yield isTaken ? { ...image, name: undefined, untagged: true } : image;
    }
    for (const name of own) names.add(name);
  }
}

function noDriver(root: string, drivers: readonly string[]): ImgconvError {
  if (drivers.length === 0)
    return new ImgconvError(
      'NOT_FOUND',
      `${root}: neither ${IMAGE} nor ${CONTAINERD} in it: not a data root of Docker`,
      {
        hint: 'the data root is /var/lib/docker unless dockerd was given --data-root',
      },
    );
  return new ImgconvError(
    'FORMAT_UNSUPPORTED',
    `${root}: storage driver ${drivers.join(', ')}; imgconv reads overlay2 and vfs`,
    { hint: 'start the engine with this data root and use docker-daemon:' },
  );
}

const MAX_PARENT = 1024;

/** The images of one graph driver. */
class GraphStore {
  readonly #files: Files;
  readonly #driver: Driver;
  readonly #layers: RootLayers;

  constructor(files: Files, driver: Driver) {
    this.#files = files;
    this.#driver = driver;
    this.#layers = new RootLayers(files, driver);
  }

  async *images({ untagged, wanted }: ListOptions): AsyncGenerator<SourceImage | UnreadableImage> {
    const { path: root } = this.#files;
    let names = new Map<Digest, ImageNames>();
    try {
      names = await readRepositories(this.#files, this.#driver);
    } catch (error) {
      yield { name: undefined, where: root, error: asImgconvError(error, root) };
    }
    const nameless: Digest[] = [];
    const mayBeWanted = wantedMatcher(wanted);
    for (const id of new Set([...names.keys(), ...this.#ids()])) {
      const of = names.get(id);
      if (of === undefined) nameless.push(id);
      else if (mayBeWanted([...of.tags, ...of.digests])) yield* this.#named(id, of);
    }
    if (!mayBeWanted([])) return;
    const steps = await this.#parents();
    for (const id of nameless) {
      // A step of a build is an image only to who asks for it by its ID.
      if (steps.has(id) && !(untagged && wanted !== undefined)) continue;
      yield { ...(await this.#image(id, undefined)), untagged: true };
    }
  }

  async *#named(id: Digest, { tags, digests }: ImageNames): AsyncGenerator<SourceImage | UnreadableImage> {
    const image = await this.#image(id, tags[0] ?? digests[0]);
    if ('error' in image) {
      for (const name of tags.length > 0 ? tags : digests.slice(0, 1)) yield { ...image, name };
      return;
    }
    const known = { ...image, knownAs: digests };
    for (const name of tags) yield { ...known, name };
    // The manifest with that digest is not kept, but its repository is a name.
    const [first] = digests;
    if (tags.length === 0 && first !== undefined)
      yield { ...known, name: `${splitReference(first).name}@${image.digest}` };
  }

  async #image(imageId: Digest, name: string | undefined): Promise<SourceImage | UnreadableImage> {
    const where = `${this.#files.path}: ${name ?? imageId}`;
    try {
      const at = await this.#config(imageId);
      const { diffIds } = parseConfig(at.bytes, at.path);
      const layers = await this.#layers.of(diffIds);
      return madeImage({ config: { at, digest: imageId }, layers, where, warnings: [] });
    } catch (error) {
      return { name: undefined, where, error: asImgconvError(error, where) };
    }
  }

  async #config(imageId: Digest): Promise<MemoryBytes> {
    const path = configPath(this.#driver, imageId);
    const bytes = await readDocument(this.#files, path, MAX_CONFIG);
    const where = `${this.#files.path}/${path}`;
    if (bytes === undefined)
      throw new ImgconvError('BLOB_MISSING', `${where}: the config of the image is not there`);
    const actual = digestOf(bytes);
    if (actual !== imageId)
      throw new ImgconvError('DIGEST_MISMATCH', `${where}: damaged: its digest is ${actual}`);
    return { kind: 'memory', path: where, size: bytes.length, bytes };
  }

  /** Images on which another was built by the classic builder. */
  async #parents(): Promise<Set<string>> {
    const parents = new Set<string>();
    for (const id of this.#ids()) {
      const parent = await readDocument(this.#files, parentPath(this.#driver, id), MAX_PARENT);
      if (parent !== undefined) parents.add(Buffer.from(parent).toString('latin1').trim());
    }
    return parents;
  }

  #ids(): Digest[] {
    const { path: root } = this.#files;
    const all = namesIn(`${root}/${configsPath(this.#driver)}`, root);
    return all.map((hex) => `sha256:${hex}`).filter(isDigest);
  }
}
