import { digestOf } from '../../bytes/hash.js';
import { namesIn } from '../../bytes/folder.js';
import { isFolder, wholeFile } from '../../bytes/there.js';
import type { MemoryBytes } from '../../bytes/region.js';
import { parseConfig } from '../../model/config.js';
import { isDigest, type Digest } from '../../model/digest.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { MAX_CONFIG } from '../../model/json.js';
import { splitReference } from '../../model/reference.js';
import { NOTHING_OF_ITS_OWN } from '../audit.js';
import { ContainerdImages } from '../containerd-images.js';
import { hasNamespace } from '../containerd-store.js';
import type { ImageReader, ListOptions, ReadContext, SourceImage, UnreadableImage } from '../format.js';
import { readDocument, type Files } from '../layout.js';
import { ListingReader } from '../listing.js';
import { madeImage } from '../made-image.js';
import { nearRoot, warnedOf } from '../running.js';
import { wantedMatcher } from '../wanted.js';
import { RootLayers } from './layers.js';
import {
  configPath,
  configsPath,
  CONTAINERD,
  containerdIn,
  DATABASES,
  IMAGE,
  NAMESPACE,
  isDriver,
  parentPath,
  recognisesDataRoot,
  type Driver,
} from './paths.js';
import { readRepositories, type ImageNames } from './repositories.js';

/** @throws ImgconvError NOT_FOUND, FORMAT_UNSUPPORTED */
export function openDataRoot(root: string, context: ReadContext): Promise<ImageReader> {
  const files: Files = { path: root, get: (name) => wholeFile(`${root}/${name}`, root) };
  const drivers = namesIn(`${root}/${IMAGE}`, root);
  const stores: Store[] = drivers.filter(isDriver).map((driver) => new GraphStore(files, driver, context));
  for (const driver of drivers) if (UNREAD.includes(driver)) stores.push(unreadStore(root, driver));
  const containerd = containerdIn(root);
  if (containerd !== undefined) stores.unshift(daemonStore(containerd, stores.length === 0, context));
  if (stores.length === 0) throw noDriver(root, drivers);
  const images = (options: ListOptions) => warnedOf(imagesOf(root, stores, options), root, DATABASES);
  return Promise.resolve(new ListingReader(images, NOTHING_OF_ITS_OWN));
}

interface Store {
  images(options: ListOptions): AsyncIterable<SourceImage | UnreadableImage>;
}

/** Images of a driver that is not read are named, beside those that are. */
function unreadStore(root: string, driver: string): Store {
  return {
    async *images() {
      await Promise.resolve();
      if (namesIn(`${root}/${IMAGE}/${driver}/imagedb/content/sha256`, root).length > 0)
        yield { name: undefined, where: root, error: noDriver(root, [driver]) };
    },
  };
}

/** An engine with a graph driver also has a containerd, for its containers: no images need be in it. */
function daemonStore(path: string, isAlone: boolean, context: ReadContext): Store {
  return {
    async *images(options) {
      if (isAlone || hasNamespace(path, NAMESPACE))
        yield* new ContainerdImages(path, NAMESPACE, { isFamiliar: true }, context).images(options);
    },
  };
}

/**
 * A name in two stores, after the engine was switched from one to the other, is that of the image in the first. One that
 * cannot be listed leaves the others.
 */
async function* imagesOf(root: string, stores: readonly Store[], options: ListOptions) {
  const names = new Set<string>();
  for (const [i, store] of stores.entries()) {
    const own: string[] = [];
    try {
      for await (const image of store.images(options)) {
        const { name } = image;
        if (name !== undefined) own.push(name);
        const isTaken = i > 0 && name !== undefined && names.has(name);
        yield isTaken ? { ...image, name: undefined, untagged: true } : image;
      }
    } catch (error) {
      if (stores.length === 1) throw error;
      yield { name: undefined, where: root, error: asImgconvError(error, root) };
    }
    for (const name of own) names.add(name);
  }
}

function noDriver(root: string, drivers: readonly string[]): ImgconvError {
  if (!isFolder(root)) return new ImgconvError('NOT_FOUND', `${root}: no such folder`);
  if (drivers.length === 0)
    return new ImgconvError(
      'NOT_FOUND',
      `${root}: neither ${IMAGE} nor ${CONTAINERD} in it: not a data root of Docker`,
      {
        hint:
          nearRoot(root, 'var/lib/docker', recognisesDataRoot) ??
          'the data root is /var/lib/docker unless dockerd was given --data-root',
      },
    );
  return new ImgconvError(
    'FORMAT_UNSUPPORTED',
    `${root}: storage driver ${drivers.join(', ')}; imgconv reads overlay2 and vfs`,
    { hint: 'start the engine with this data root and use docker-daemon:' },
  );
}

const MAX_PARENT = 1024;
/** Storage drivers of Docker that imgconv knows by name alone. */
const UNREAD = ['aufs', 'btrfs', 'devicemapper', 'fuse-overlayfs', 'overlay', 'zfs'];

/** The images of one graph driver. */
class GraphStore {
  readonly #files: Files;
  readonly #driver: Driver;
  readonly #layers: RootLayers;

  constructor(files: Files, driver: Driver, { elsewhere }: ReadContext) {
    this.#files = files;
    this.#driver = driver;
    this.#layers = new RootLayers(files, driver, elsewhere);
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
    const { steps, errors } = await this.#parents();
    for (const error of errors) yield { name: undefined, where: root, error };
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

  /** Images on which another was built by the classic builder, and what cannot be read of that. */
  async #parents() {
    const steps = new Set<string>();
    const errors: ImgconvError[] = [];
    for (const id of this.#ids()) {
      const path = parentPath(this.#driver, id);
      try {
        const parent = await readDocument(this.#files, path, MAX_PARENT);
        if (parent !== undefined) steps.add(Buffer.from(parent).toString('latin1').trim());
      } catch (error) {
        errors.push(asImgconvError(error, `${this.#files.path}/${path}`));
      }
    }
    return { steps, errors };
  }

  #ids(): Digest[] {
    const { path: root } = this.#files;
    const all = namesIn(`${root}/${configsPath(this.#driver)}`, root);
    return all.map((hex) => `sha256:${hex}`).filter(isDigest);
  }
}
