import type { TarIndex } from '../../codecs/tar-index.js';
import { isHexOf, type Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { isObject, MAX_CONFIG, parseJson } from '../../model/json.js';
import { REPOSITORIES } from '../../model/oci-layout.js';
import { isTag } from '../../model/reference.js';
import { makeConfig, parseV1Image, type V1Image } from './v1-image.js';

/*
 * Archives from before Docker 1.10 have no configs. `docker load` of Docker 20.10 makes them, and so does this, byte by
 * byte, so that the digest of a config is the image ID that loading the archive gives
 * (https://github.com/moby/moby/blob/v20.10.24/image/tarexport/load.go `legacyLoadImage`).
 */

/** An image rebuilt from its chain of v1 JSON. */
export interface LegacyImage {
  /** `repository:tag`, sorted; whether they are references is not checked. */
  readonly names: readonly string[];
  /** The bytes whose sha256 is the image ID. */
  readonly config: Uint8Array;
  /** Names in the archive of the layer tars, lowest first. */
  readonly layers: readonly string[];
}

/** Members of the archive by name. */
export type Members = Pick<TarIndex, 'path' | 'get'>;

/** A member's bytes; refuses more than `limit`. */
type Read = (name: string, limit: number) => Uint8Array | undefined;

/** Docker stops at 125 layers (moby layer/layer_store.go `maxLayerDepth`); longer chains are there to wear readers out. */
const MAX_DEPTH = 512;
/** All v1 JSON read and all configs made of one archive, in bytes: links give one file many names. */
const MAX_TOTAL = 256 * 1024 * 1024;
/** What a diffID takes in a config, in bytes. */
const DIFF_ID = 74;

/** What one folder of the archive holds. */
interface Link {
  readonly id: string;
  readonly image: V1Image;
  /** Of its JSON, in bytes. */
  readonly size: number;
  readonly layer: string;
}

/**
 * The images that `repositories` names, by their first names. `diffIdOf` gives the digest of a layer's uncompressed tar
 * by its name in the archive; it is asked once for each name, and only when all JSON was found sound.
 * @throws ImgconvError ARCHIVE_INVALID for chains that loop, break off or are too deep, BLOB_MISSING, MANIFEST_INVALID
 */
export async function readLegacy(
  files: Members,
  read: Read,
  diffIdOf: (name: string) => Promise<Digest>,
): Promise<LegacyImage[]> {
  const archive = new LegacyArchive(files, read);
  const named = [...archive.namesById()].map(([id, names]) => ({ names, chain: archive.chainOf(id) }));
  const known = new Map<string, Digest>();
  const images: LegacyImage[] = [];
  for (const { names, chain } of named) {
    const layers = chain.links.map(({ layer }) => layer);
    const diffIds: Digest[] = [];
    for (const layer of layers) {
      const diffId = known.get(layer) ?? (await diffIdOf(layer));
      known.set(layer, diffId);
      diffIds.push(diffId);
    }
    const histories = chain.links.map(({ image }) => image.history);
    const config = makeConfig(chain.top.image, diffIds, histories);
    if (config.length > MAX_CONFIG)
      throw new ImgconvError(
        'ARCHIVE_INVALID',
        `${files.path}: image ${chain.top.id}: its config has ${config.length} bytes, more than ${MAX_CONFIG}`,
      );
    images.push({ names, config, layers });
  }
  return images;
}

class LegacyArchive {
  readonly #path: string;
  readonly #files: Members;
  readonly #read: Read;
  readonly #links = new Map<string, Link>();
  #total = 0;

  constructor(files: Members, read: Read) {
    this.#path = files.path;
    this.#files = files;
    this.#read = read;
  }

  namesById(): Map<string, readonly string[]> {
    const where = `${this.#path}: ${REPOSITORIES}`;
    const bytes = this.#read(REPOSITORIES, MAX_CONFIG);
    if (bytes === undefined) throw new ImgconvError('ARCHIVE_INVALID', `${where}: not in the archive`);
    const named: { name: string; id: string }[] = [];
    for (const [repository, tags] of entriesOf(parseJson(bytes, where), where)) {
      const at = `${where}: ${repository}`;
      for (const [tag, id] of tags === null ? [] : entriesOf(tags, at)) {
        if (!isTag(tag)) throw new ImgconvError('MANIFEST_INVALID', `${at}: ${shown(tag)} is not a tag`);
        named.push({ name: `${repository}:${tag}`, id: v1Id(id, `${at}: ${tag}`) });
      }
    }
    named.sort((a, b) => (a.name < b.name ? -1 : 1));
    const byId = new Map<string, string[]>(named.map(({ id }) => [id, []]));
    for (const { name, id } of named) byId.get(id)?.push(name);
    return byId;
  }

  /** The image, and with it those that it is built on, lowest first. */
  chainOf(id: string): { top: Link; links: readonly Link[] } {
    const top = this.#linkOf(id);
    if (top === undefined)
      throw new ImgconvError(
        'BLOB_MISSING',
        `${this.#path}: ${id}/json: not in the archive, ${REPOSITORIES} names it`,
      );
    const fail = (what: string) => new ImgconvError('ARCHIVE_INVALID', `${this.#path}: image ${id}: ${what}`);
    const links = new Map([[id, top]]);
    let size = top.size;
    let child = top;
    while (child.image.parent !== '') {
      const { parent } = child.image;
      if (links.has(parent)) throw fail(`the parents of ${parent} lead back to it`);
      if (links.size === MAX_DEPTH) throw fail(`more than ${MAX_DEPTH} layers`);
      const link = this.#linkOf(parent);
      if (link === undefined) throw fail(`the parent of ${child.id}, ${parent}, is not in the archive`);
      links.set(parent, link);
      size += link.image.history.length + DIFF_ID;
      if (size > MAX_CONFIG) throw fail(`its config would have more than ${MAX_CONFIG} bytes`);
      child = link;
    }
    this.#count(size);
    return { top, links: [...links.values()].reverse() };
  }

  #linkOf(id: string): Link | undefined {
    const known = this.#links.get(id);
    if (known !== undefined) return known;
    const where = `${this.#path}: ${id}/json`;
    const bytes = this.#read(`${id}/json`, MAX_CONFIG);
    if (bytes === undefined) return undefined;
    this.#count(bytes.length);
    const image = parseV1Image(bytes, where);
    if (image.parent !== '') v1Id(image.parent, `${where}: parent`);
    const layer = `${id}/layer.tar`;
    if (this.#files.get(layer) === undefined)
      throw new ImgconvError('BLOB_MISSING', `${this.#path}: ${layer}: not in the archive`);
    const link = { id, image, size: bytes.length, layer };
    this.#links.set(id, link);
    return link;
  }

  #count(bytes: number): void {
    this.#total += bytes;
    if (this.#total > MAX_TOTAL)
      throw new ImgconvError(
        'ARCHIVE_INVALID',
        `${this.#path}: the JSON of its images takes more than ${MAX_TOTAL} bytes`,
      );
  }
}

/** Docker's own check of v1 IDs (moby pkg/stringid `ValidateID`). */
function v1Id(id: unknown, where: string): string {
  if (typeof id === 'string' && isHexOf('sha256', id)) return id;
  throw new ImgconvError('MANIFEST_INVALID', `${where}: ${shown(id)} is not a v1 image ID`);
}

function entriesOf(value: unknown, where: string): [string, unknown][] {
  if (isObject(value)) return Object.entries(value);
  throw new ImgconvError('MANIFEST_INVALID', `${where}: not a JSON object`);
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}
