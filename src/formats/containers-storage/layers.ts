import { isFolder, wholeFile } from '../../bytes/there.js';
import { SplitTar } from '../../codecs/tar-split.js';
import { isDigest, type Digest } from '../../model/digest.js';
import { counted, ImgconvError } from '../../model/errors.js';
import type { ReadContext } from '../format.js';
import type { Files } from '../layout.js';
import { orElsewhere, type MadeLayer, type SizedBytes } from '../made-image.js';
import { filesPath, recordPath, type Driver } from './paths.js';
import { readLayerRecords, type LayerRecord } from './records.js';

/** The layers of a storage, each looked up once however many images have it. */
export class StorageLayers {
  readonly #files: Files;
  readonly #elsewhere: ReadContext['elsewhere'];
  readonly #driver: Driver;
  readonly #records: Promise<Map<string, LayerRecord>>;
  readonly #known = new Map<string, Promise<SizedBytes>>();

  constructor(files: Files, driver: Driver, elsewhere: ReadContext['elsewhere']) {
    this.#elsewhere = elsewhere;
    this.#files = files;
    this.#driver = driver;
    this.#records = readLayerRecords(files, driver);
    this.#records.catch(() => undefined); // Who asks for a layer is told.
  }

  /**
   * Those of an image whose top layer is `top` and whose config says `diffIds`, lowest first.
   * @throws ImgconvError BLOB_MISSING, ARCHIVE_INVALID
   */
  async of(top: string, diffIds: readonly Digest[], where: string): Promise<MadeLayer[]> {
    const records = await this.#records;
    const chain: LayerRecord[] = [];
    for (let id = top; id !== '';) {
      const record = records.get(id);
      if (record === undefined)
        throw new ImgconvError(
          'BLOB_MISSING',
          `${where}: layer ${id} is not in ${this.#driver}-layers/layers.json`,
        );
      chain.unshift(record);
      // Also ends a loop.
      if (chain.length > diffIds.length) break;
      id = record.parent;
    }
    if (chain.length !== diffIds.length)
      throw new ImgconvError(
        'ARCHIVE_INVALID',
        `${where}: its config has ${counted(diffIds.length, 'diffID')}, the storage ${chain.length > diffIds.length ? 'more layers' : counted(chain.length, 'layer')}`,
      );
    const layers: MadeLayer[] = [];
    for (const [i, digest] of diffIds.entries()) {
      const record = chain[i];
      if (record === undefined) continue;
      const at = this.#known.get(record.id) ?? orElsewhere(this.#layer(record), digest, this.#elsewhere);
      this.#known.set(record.id, at);
      layers.push({ digest, compression: 'none', at: await at });
    }
    return layers;
  }

  /** The layers that these stand on, and they themselves; nothing when the list of layers cannot be read. */
  async chainsOf(tops: readonly string[]): Promise<Set<string>> {
    const records = await this.#records.catch(() => new Map<string, LayerRecord>());
    const found = new Set<string>();
    for (const top of tops)
      for (let id = top; id !== '' && !found.has(id); id = records.get(id)?.parent ?? '') found.add(id);
    return found;
  }

  /** One that is complete, by diffID. */
  async byDiffId(wanted: Digest): Promise<SizedBytes | undefined> {
    for (const record of (await this.#records).values())
      if (isDigest(record.diffId) && record.diffId === wanted && !record.isIncomplete)
        return this.#layer(record);
    return undefined;
  }

  async #layer({ id, isIncomplete, tocDigest }: LayerRecord): Promise<SizedBytes> {
    const root = this.#files.path;
    const folder = `${root}/${filesPath(this.#driver, id)}`;
    if (isIncomplete)
      throw new ImgconvError('BLOB_MISSING', `${folder}: an incomplete layer: a pull was interrupted`, {
        hint: HINT,
      });
    const path = `${root}/${recordPath(this.#driver, id)}`;
    const record = wholeFile(path, root);
    if (record === undefined && tocDigest !== '')
      throw new ImgconvError(
        'FORMAT_UNSUPPORTED',
        `${folder}: a layer of zstd:chunked that was fetched by parts (table of contents ${tocDigest}): its tar was not recorded, so it cannot be rebuilt`,
        { hint: HINT },
      );
    if (record === undefined)
      throw new ImgconvError('BLOB_MISSING', `${path}: not there, so that a layer cannot be rebuilt`, {
        hint: HINT,
      });
    if (!isFolder(folder, root))
      throw new ImgconvError('BLOB_MISSING', `${folder}: the files of a layer are not there`, { hint: HINT });
    return new SplitTar(record, folder).bytes();
  }
}

const HINT = 'the other images can be converted without this one';
