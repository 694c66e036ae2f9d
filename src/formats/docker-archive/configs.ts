import { digestOf } from '../../bytes/hash.js';
import type { MemoryBytes } from '../../bytes/region.js';
import type { TarIndex } from '../../codecs/tar-index.js';
import { parseConfig, type ImageConfig } from '../../model/config.js';
import { hexOf, type Digest } from '../../model/digest.js';
import { counted, ImgconvError } from '../../model/errors.js';
import { MAX_CONFIG } from '../../model/json.js';
import { MANIFEST } from '../../model/oci-layout.js';
import { readDocument } from '../layout.js';
import type { Entry } from './entries.js';
import { hexInName } from './paths.js';

/** All configs read of one archive, in bytes: links give one file many names. */
const MAX_CONFIGS = 64 * 1024 * 1024;

/** A config, and what is odd about it and does not count. */
interface Config {
  readonly config: ImageConfig;
  readonly configDigest: Digest;
  readonly configAt: MemoryBytes;
  readonly warnings: readonly string[];
}

/** What `docker load` goes by: a config, and the members that are its layers. */
export interface Described extends Config {
  readonly layers: readonly string[];
}

export function describe(bytes: Uint8Array, layers: readonly string[], where: string): Described {
  const config = parseConfig(bytes, where);
  const configAt = { kind: 'memory', path: where, size: bytes.length, bytes } as const;
  return { config, configDigest: digestOf(bytes), configAt, warnings: [], layers };
}

/** The configs that manifest.json names, each read once however often it is named. */
export class Configs {
  readonly #index: TarIndex;
  readonly #read = new Map<string, Config>();
  #bytes = 0;

  constructor(index: TarIndex) {
    this.#index = index;
  }

  /** What `docker load` checks of an entry before its layers (moby tarexport/load.go). */
  async describe({ Config: name, Layers }: Entry): Promise<Described> {
    const config = this.#read.get(name) ?? (await this.#readConfig(name));
    this.#read.set(name, config);
    const layers = Layers ?? [];
    const { diffIds } = config.config;
    if (layers.length !== diffIds.length)
      throw new ImgconvError(
        'ARCHIVE_INVALID',
        `${this.#index.path}: ${name}: the config has ${counted(diffIds.length, 'diffID')}, ${MANIFEST} names ${counted(layers.length, 'layer')}`,
      );
    return { ...config, layers };
  }

  async #readConfig(name: string): Promise<Config> {
    const where = `${this.#index.path}: ${name}`;
    if ((this.#bytes += this.#index.get(name)?.size ?? 0) > MAX_CONFIGS)
      throw new ImgconvError('ARCHIVE_INVALID', `${where}: the configs take more than ${MAX_CONFIGS} bytes`);
    const bytes = await readDocument(this.#index, name, MAX_CONFIG);
    if (bytes === undefined)
      throw new ImgconvError('BLOB_MISSING', `${where}: named by ${MANIFEST} and not in the archive`);
    const config = describe(bytes, [], where);
    const claimed = hexInName(name);
    if (claimed === undefined || claimed.hex === hexOf(config.configDigest)) return config;
    if (claimed.binding)
      throw new ImgconvError(
        'DIGEST_MISMATCH',
        `${where}: its digest is ${config.configDigest}, not what its name says`,
      );
    // Engines and skopeo go by the content alone.
    const warning = `${name} is named after another digest: its own is ${config.configDigest}`;
    return { ...config, warnings: [warning] };
  }
}
