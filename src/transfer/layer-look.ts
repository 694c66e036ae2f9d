import { glanceInto, type Glance, type GlanceFile } from '../bytes/glance.js';
import type { KeptManifests, ManifestFile } from '../formats/kept-manifests.js';
import { hexOf, type Digest } from '../model/digest.js';
import { MAX_CONFIG } from '../model/json.js';
import type { LayerFact } from '../model/layer-facts.js';
import type { Pool } from '../threads/pool.js';

/** So many files go to a thread at once. */
const LOT = 512;
/** Indexes in indexes. */
const MAX_DEPTH = 3;
export const SHORT = 16;

/** Enough to tell one from a hundred thousand others; one that is taken for another is found out when it is read. */
export function shortOf(digest: Digest): string {
  return hexOf(digest).slice(0, SHORT);
}

/** What is being found in a folder. */
export interface FreshFacts {
  readonly key: string;
  /** 0 when something in it could not be read: it may be in the next run. */
  changed: number;
  /** Of files that are no manifests, the short digests. */
  readonly others: string[];
  /** By the files' ids, what follows them in their lines (`FolderFacts`). */
  readonly manifests: Map<string, string>;
  readonly unread: ManifestFile[];
}

/** A document of a folder: that of the file with this id, or a member of it. */
interface Document extends Pick<ManifestFile, 'id' | 'key' | 'digest'> {
  readonly folder: FreshFacts;
}

interface FoundManifest extends Document {
  readonly config: Digest;
  readonly layers: readonly LayerFact[];
}

/** Looks into what has not been read. */
export class LayerLook {
  readonly #kept: KeptManifests;
  readonly #pool: Pool;
  readonly #diffIds = new Map<Digest, readonly Digest[]>();
  readonly #found: FoundManifest[] = [];

  constructor(kept: KeptManifests, pool: Pool) {
    this.#kept = kept;
    this.#pool = pool;
  }

  async into(folders: readonly FreshFacts[]): Promise<void> {
    let open = folders.flatMap((folder) => folder.unread.map((file): Document => ({ ...file, folder })));
    for (let depth = 0; open.length > 0 && depth < MAX_DEPTH; depth++) {
      const glances = await this.#glances(open);
      open = open.flatMap((document, i) => this.#take(document, glances[i]));
    }
    await this.#readConfigs();
    for (const one of this.#found) {
      const diffIds = this.#diffIds.get(one.config);
      if (diffIds === undefined) forget(one);
      else addPairs(one, diffIds);
    }
  }

  /** Gives members that are still to be read. */
  #take(document: Document, facts: Glance): Document[] {
    const { folder, id, digest } = document;
    if (facts === undefined) forget(document);
    else if (facts !== 'other' && 'config' in facts) this.#found.push({ ...document, ...facts });
    else {
      if (facts !== 'other' && 'members' in facts) {
        const members = facts.members.flatMap((member) => {
          const key = this.#kept.memberKey(folder.key, id, member);
          return key === undefined ? [] : { folder, id, key, digest: member };
        });
        if (members.length > 0) return members;
      }
      if (digest === undefined) return [];
      if (facts !== 'other' && 'diffIds' in facts) this.#diffIds.set(digest, facts.diffIds);
      folder.manifests.delete(id);
      folder.others.push(shortOf(digest));
    }
    return [];
  }

  /** Of manifests whose configs were not among what was read. */
  async #readConfigs(): Promise<void> {
    const missing = new Map<Digest, Document>();
    for (const { folder, id, config } of this.#found)
      if (!this.#diffIds.has(config)) {
        const key = this.#kept.blobKey(folder.key, id, config);
        missing.set(config, { folder, id, key, digest: config });
      }
    const glances = await this.#glances([...missing.values()]);
    for (const [i, config] of [...missing.keys()].entries()) {
      const facts = glances[i];
      // An artifact may have any config.
      if (facts !== undefined)
        this.#diffIds.set(config, facts !== 'other' && 'diffIds' in facts ? facts.diffIds : []);
    }
  }

  async #glances(documents: readonly Document[]): Promise<readonly Glance[]> {
    const { storage } = this.#kept;
    if (!storage.links)
      return Promise.all(
        documents.map(async ({ key, digest }) => {
          const bytes = await storage.read(key, MAX_CONFIG).catch(() => undefined);
          return bytes && glanceInto(bytes, digest);
        }),
      );
    const files = documents.map(({ key, digest }): GlanceFile => ({ path: storage.nameOf(key), digest }));
    const lots: Promise<readonly Glance[]>[] = [];
    for (let i = 0; i < files.length; i += LOT)
      lots.push(this.#pool.glance({ kind: 'glance', files: files.slice(i, i + LOT) }));
    return (await Promise.all(lots)).flat();
  }
}

function forget({ folder, id }: Document): void {
  folder.changed = 0;
  folder.manifests.delete(id);
}

function addPairs({ folder, id, layers }: FoundManifest, diffIds: readonly Digest[]): void {
  if (diffIds.length !== layers.length) return;
  const pairs = layers.map(({ digest, compression }, i) => {
    const diffId = diffIds[i];
    return diffId === undefined || compression === undefined
      ? ''
      : ` ${shortOf(diffId)}:${shortOf(digest)}:${compression}`;
  });
  folder.manifests.set(id, (folder.manifests.get(id) ?? '') + pairs.join(''));
}
