import { resolve } from 'node:path';
import * as z from 'zod';
import { digestOf } from '../bytes/hash.js';
import type { KeptManifests, ManifestFile, ManifestFolder } from '../formats/kept-manifests.js';
import { algorithmOf, hexOf, type Digest } from '../model/digest.js';
import { MAX_CONFIG, mayBeJson } from '../model/json.js';
import type { Compression } from '../model/media-type.js';
import { UserCache } from '../storage/user-cache.js';
import { layerFactsOf, type LayerFact } from './layer-facts.js';

/*
 * Which manifests of a place have which layers. A place of ten thousand images is not read for each run: what was found
 * stays in the user's cache, and is good for a folder for as long as that is not changed. Nothing is taken from here
 * without a look at the place: a manifest that is found here is read, and proved, before its layer is used. What is
 * missing here, or wrong, makes a layer be compressed once more.
 */

/** What was found in a folder. */
interface FolderFacts {
  /** As `ManifestFolder.changed`; 0 for a folder that has to be listed again. */
  readonly changed: number;
  /** Of files that are no manifests with layers: short names, each followed by a space. */
  readonly others: string;
  /** A line for each manifest: `<name> <diffID>:<layer>:<compression> …`, both digests short. */
  readonly manifests: string;
}

const cacheSchema = z.object({
  version: z.literal(1),
  folders: z.record(z.string(), z.object({ changed: z.number(), others: z.string(), manifests: z.string() })),
});

/** Smaller places are read each time: nothing of them is kept. */
const KEPT_FROM = 1000;
/** A file system's clock ticks: what came to a folder just after it was listed may not have changed its time. */
const SETTLED_AFTER_MS = 2000;
/** Nearly all documents are shorter, and of all others that is enough to see what they are. */
const HEAD = 16 * 1024;

/** Enough to tell one from a hundred thousand others; one that is taken for another is found out when it is read. */
export function shortOf(digest: Digest): string {
  return hexOf(digest).slice(0, 16);
}

/** A manifest that has a layer, as far as is known. */
export interface Holder {
  readonly folder: string;
  readonly name: string;
  /** The layer's digest, shortened. */
  readonly layer: string;
}

/** A manifest that was read, and whose config was not yet. */
interface Unresolved {
  readonly folder: NewFacts;
  readonly file: ManifestFile;
  readonly config: Digest;
  readonly layers: readonly LayerFact[];
}

interface NewFacts {
  readonly key: string;
  changed: number;
  readonly others: string[];
  readonly manifests: Map<string, string>;
}

export class LayerIndex {
  readonly #kept: KeptManifests;
  readonly #folders = new Map<string, FolderFacts>();
  readonly #configs = new Map<Digest, readonly Digest[]>();
  readonly #unresolved: Unresolved[] = [];

  private constructor(kept: KeptManifests) {
    this.#kept = kept;
  }

  /** What the place holds now: of folders that have not changed as it was found before, all others are looked into. */
  static async of(kept: KeptManifests): Promise<LayerIndex> {
    const index = new LayerIndex(kept);
    const { storage } = kept;
    // Only folders of this machine have times that can be relied on, and paths that mean the same later.
    const cache = storage.links ? new UserCache('layers', resolve(storage.name)) : undefined;
    const known = readFacts(cache);
    const fresh: NewFacts[] = [];
    for await (const folder of kept.folders()) {
      const before = known.get(folder.key);
      if (before !== undefined && before.changed === folder.changed) index.#folders.set(folder.key, before);
      else {
        const facts = await index.#look(folder, before);
        fresh.push(facts);
        index.#folders.set(folder.key, NOTHING); // Its place in the order.
      }
    }
    for (const one of index.#unresolved.splice(0)) await index.#resolve(one);
    for (const { key, changed, others, manifests } of fresh)
      index.#folders.set(key, {
        changed,
        others: others.join(''),
        manifests: [...manifests.values()].join(''),
      });
    if (fresh.length > 0) index.#keep(cache);
    return index;
  }

  /** Manifests with a layer of this diffID in this compression, in a fixed order. */
  *holders(diffId: Digest, compression: Compression): Generator<Holder> {
    const start = ` ${shortOf(diffId)}:`;
    const end = `:${compression}`;
    for (const [folder, { manifests }] of this.#folders) {
      for (let at = manifests.indexOf(start); at >= 0; at = manifests.indexOf(start, at + 1)) {
        const layer = manifests.slice(at + start.length, at + start.length + 16);
        if (!manifests.startsWith(end, at + start.length + 16)) continue;
        const line = manifests.lastIndexOf('\n', at) + 1;
        yield { folder, name: manifests.slice(line, manifests.indexOf(' ', line)), layer };
      }
    }
  }

  async #look(folder: ManifestFolder, before: FolderFacts | undefined): Promise<NewFacts> {
    const isSettled = Date.now() - folder.changed > SETTLED_AFTER_MS;
    const facts: NewFacts = {
      key: folder.key,
      changed: isSettled ? folder.changed : 0,
      others: [],
      manifests: new Map(),
    };
    const others = new Set(before?.others.split(' '));
    const lines = new Map<string, string>();
    for (const line of before?.manifests.split('\n') ?? [])
      if (line !== '') lines.set(line.slice(0, line.indexOf(' ')), `${line}\n`);
    for (const file of await this.#kept.filesIn(folder.key)) {
      const { name, digest } = file;
      const line = digest && lines.get(name);
      if (line !== undefined) facts.manifests.set(name, line);
      else if (digest !== undefined && others.has(shortOf(digest))) facts.others.push(`${shortOf(digest)} `);
      else await this.#read(facts, file);
    }
    return facts;
  }

  /** What cannot be read now may be in the next run. */
  async #read(folder: NewFacts, file: ManifestFile): Promise<void> {
    const document = await this.#document(file.key).catch(() => undefined);
    if (document === undefined) folder.changed = 0;
    else if (document === 'none') addOther(folder, file);
    else if (file.digest !== undefined && digestOf(document, algorithmOf(file.digest)) !== file.digest)
      folder.changed = 0;
    else {
      const facts = layerFactsOf(document);
      if (facts !== undefined && 'config' in facts) {
        folder.manifests.set(file.name, '');
        this.#unresolved.push({ folder, file, ...facts });
        return;
      }
      if (facts !== undefined && file.digest !== undefined) this.#configs.set(file.digest, facts.diffIds);
      addOther(folder, file);
    }
  }

  /** Undefined where nothing is; `none` for what is no document. */
  async #document(key: string): Promise<Uint8Array | 'none' | undefined> {
    const head = await this.#kept.storage.read(key, HEAD);
    if (head === undefined) return undefined;
    if (!mayBeJson(head)) return 'none';
    return head.length < HEAD ? head : this.#kept.storage.read(key, MAX_CONFIG);
  }

  async #resolve({ folder, file, config, layers }: Unresolved): Promise<void> {
    const diffIds = this.#configs.get(config) ?? (await this.#diffIdsOf(folder.key, config));
    if (diffIds === undefined) {
      folder.changed = 0;
      folder.manifests.delete(file.name);
      return;
    }
    this.#configs.set(config, diffIds);
    const pairs = layers.flatMap(({ digest, compression }, i) => {
      const diffId = diffIds[i];
      const isKnown = diffId !== undefined && compression !== undefined && diffIds.length === layers.length;
      return isKnown ? ` ${shortOf(diffId)}:${shortOf(digest)}:${compression}` : [];
    });
    folder.manifests.set(file.name, `${file.name}${pairs.length === 0 ? ' ' : pairs.join('')}\n`);
  }

  async #diffIdsOf(folder: string, config: Digest): Promise<readonly Digest[] | undefined> {
    const document = await this.#document(this.#kept.blobKey(folder, config)).catch(() => undefined);
    if (document === undefined) return undefined;
    const facts = document === 'none' ? undefined : layerFactsOf(document);
    return facts !== undefined && 'diffIds' in facts ? facts.diffIds : [];
  }

  #keep(cache: UserCache | undefined): void {
    const folders: Record<string, FolderFacts> = Object.fromEntries(this.#folders);
    const text = JSON.stringify({ version: 1, folders });
    // Names of folders in a tree can have any characters.
    if (text.length >= KEPT_FROM * 64) cache?.write(Buffer.from(text).toString('latin1'));
  }
}

const NOTHING: FolderFacts = { changed: 0, others: '', manifests: '' };

function addOther(folder: NewFacts, { digest }: ManifestFile): void {
  if (digest !== undefined) folder.others.push(`${shortOf(digest)} `);
}

function readFacts(cache: UserCache | undefined): Map<string, FolderFacts> {
  try {
    const text = cache?.read();
    if (text === undefined) return new Map();
    const { folders } = cacheSchema.parse(JSON.parse(Buffer.from(text, 'latin1').toString()));
    return new Map(Object.entries(folders));
  } catch {
    return new Map(); // It is made anew.
  }
}
