import type { ReadContext } from '../format.js';
import { readDocument, type Files } from '../layout.js';
import { isFolder, wholeFile } from '../../bytes/there.js';
import { SplitTar } from '../../codecs/tar-split.js';
import type { Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { chainIdOf, orElsewhere, type MadeLayer, type SizedBytes } from '../made-image.js';
import { filesPath, layerPath, type Driver } from './paths.js';

const MAX_ID = 1024;

/** The layers of a graph driver, each looked up once however many images have it. */
export class RootLayers {
  readonly #files: Files;
  readonly #elsewhere: ReadContext['elsewhere'];
  readonly #driver: Driver;
  readonly #known = new Map<Digest, Promise<SizedBytes>>();

  constructor(files: Files, driver: Driver, elsewhere: ReadContext['elsewhere']) {
    this.#elsewhere = elsewhere;
    this.#files = files;
    this.#driver = driver;
  }

  /** Of an image, lowest first. @throws ImgconvError BLOB_MISSING, ARCHIVE_INVALID */
  async of(diffIds: readonly Digest[]): Promise<MadeLayer[]> {
    const layers: MadeLayer[] = [];
    let chainId: Digest | undefined;
    for (const digest of diffIds) {
      chainId = chainIdOf(chainId, digest);
      const at = this.#known.get(chainId) ?? orElsewhere(this.#layer(chainId), digest, this.#elsewhere);
      this.#known.set(chainId, at);
      layers.push({ digest, compression: 'none', at: await at });
    }
    return layers;
  }

  async #layer(chainId: Digest): Promise<SizedBytes> {
    const root = this.#files.path;
    const idPath = layerPath(this.#driver, chainId, 'cache-id');
    const id = await readDocument(this.#files, idPath, MAX_ID);
    if (id === undefined) throw missing(`${root}/${idPath}`);
    const cacheId = Buffer.from(id).toString('latin1');
    // The engine's own are hex, BuildKit's letters and digits; a container's end in `-init`.
    if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/.test(cacheId))
      throw new ImgconvError(
        'ARCHIVE_INVALID',
        `${root}/${idPath}: ${JSON.stringify(cacheId)} is no name of a folder`,
      );
    const folder = `${root}/${filesPath(this.#driver, cacheId)}`;
    if (!isFolder(folder, root)) throw missing(folder, `, which ${root}/${idPath} names`);
    const recordPath = `${root}/${layerPath(this.#driver, chainId, 'tar-split.json.gz')}`;
    const record = wholeFile(recordPath, root);
    if (record === undefined) throw missing(recordPath);
    return new SplitTar(record, folder).bytes();
  }
}

function missing(path: string, why = ''): ImgconvError {
  return new ImgconvError('BLOB_MISSING', `${path}${why}: not there, so that a layer cannot be rebuilt`, {
    hint: 'the other images can be converted without this one',
  });
}
