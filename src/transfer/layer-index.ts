import { resolve } from 'node:path';
import * as z from 'zod';
import {
  RELATED,
  type KeptManifests,
  type ManifestFile,
  type ManifestFolder,
} from '../formats/kept-manifests.js';
import type { Digest } from '../model/digest.js';
import type { Compression } from '../model/media-type.js';
import type { Reference } from '../model/reference.js';
import { UserCache } from '../storage/user-cache.js';
import type { Pool } from '../threads/pool.js';
import { LayerLook, SHORT, shortOf, type FreshFacts } from './layer-look.js';

/*
 * Which manifests of a place have which layers. A place of ten thousand images is not read for each run: what was found
 * stays in the user's cache, and holds for a folder for as long as that is not changed. Nothing is taken from here
 * without a look at the place: a manifest that is found here is read, and proved, before its layer is used. What is
 * missing here, or wrong, makes a layer be compressed once more.
 */

/** What was found in a folder. */
interface FolderFacts {
  /** As `ManifestFolder.changed`; 0 for a folder that has to be listed again. */
  readonly changed: number;
  /** Of files that are no manifests with layers: short digests, each followed by a space. */
  readonly others: string;
  /** Of `manifests`. */
  readonly lines: number;
  /** A line for each manifest: `<id> <diffID>:<layer>:<compression> …`, both digests short. */
  readonly manifests: string;
}

const cacheSchema = z.object({
  version: z.literal(2),
  folders: z.record(
    z.string(),
    z.object({ changed: z.number(), others: z.string(), lines: z.number(), manifests: z.string() }),
  ),
});

/** Smaller places are read each time: nothing of them is kept. In characters; an image of three layers has some 200. */
const KEPT_FROM = 16 * 1024;
/** What changed since it was kept is read again in less time than all is written, but for so much. */
const MANY_FILES = 256;
const MANY_FOLDERS = 32;
/** A file system's clock ticks: what came to a folder just after it was listed may not have changed its time. */
const SETTLED_AFTER_MS = 2000;
const NOTHING: FolderFacts = { changed: 0, others: '', lines: 0, manifests: '' };

/** A manifest that has a layer, as far as is known. */
export interface Holder {
  readonly folder: string;
  /** As `ManifestFile.id`. */
  readonly id: string;
  /** The layer's digest, shortened. */
  readonly layer: string;
}

export interface LookOptions {
  /** The index stops growing at so many files. */
  readonly most: number;
  /** Their repositories are looked into even so. */
  readonly names: readonly Reference[];
}

/** Manifests of one repository, and of all together. */
const MOST_RELATED = 512;
const MOST_OF_ALL = 4096;

export class LayerIndex {
  readonly #folders: ReadonlyMap<string, FolderFacts>;

  private constructor(folders: ReadonlyMap<string, FolderFacts>) {
    this.#folders = folders;
  }

  /** What the place holds now: of folders that have not changed what was found before, all others are looked into. */
  static async of(kept: KeptManifests, pool: Pool, { most, names }: LookOptions): Promise<LayerIndex> {
    const { storage } = kept;
    // Only folders of this machine have paths that mean the same later.
    const cache = storage.links ? new UserCache('layers', resolve(storage.name)) : undefined;
    const known = readFacts(cache);
    const folders = new Map<string, FolderFacts>();
    const fresh: FreshFacts[] = [];
    let left = most;
    for (const { others, lines } of known.values()) left -= others.length / (SHORT + 1) + lines;
    let unread = 0;
    for await (const folder of kept.folders()) {
      const before = known.get(folder.key) ?? NOTHING;
      folders.set(folder.key, before);
      if (unread >= left || (folder.changed !== 0 && before.changed === folder.changed)) continue;
      const one = await freshFacts(folder, before, kept);
      leaveOut(one, one.unread.splice(left - unread));
      unread += one.unread.length;
      fresh.push(one);
    }
    const related = unread < left ? undefined : await relatedFacts(kept, names);
    await new LayerLook(kept, pool).into(related === undefined ? fresh : [...fresh, related]);
    let changed = 0;
    for (const one of fresh) {
      const facts = factsOf(one);
      if (!isSame(facts, known.get(one.key))) changed++;
      folders.set(one.key, facts);
    }
    if (unread >= MANY_FILES || changed >= MANY_FOLDERS) keep(cache, folders);
    if (related !== undefined) folders.set(related.key, factsOf(related));
    return new LayerIndex(folders);
  }

  /** Manifests with a layer of this diffID in this compression, in a fixed order. */
  *holders(diffId: Digest, compression: Compression): Generator<Holder> {
    const start = ` ${shortOf(diffId)}:`;
    for (const [folder, { manifests }] of this.#folders) {
      for (let at = manifests.indexOf(start); at >= 0; at = manifests.indexOf(start, at + 1)) {
        const from = at + start.length;
        if (!manifests.startsWith(`:${compression}`, from + SHORT)) continue;
        const line = manifests.lastIndexOf('\n', at) + 1;
        const id = manifests.slice(line, manifests.indexOf(' ', line));
        yield { folder, id, layer: manifests.slice(from, from + SHORT) };
      }
    }
  }
}

function readFacts(cache: UserCache | undefined): ReadonlyMap<string, FolderFacts> {
  try {
    const text = cache?.read();
    if (text !== undefined) return new Map(Object.entries(cacheSchema.parse(JSON.parse(text)).folders));
  } catch {
    // It is made anew.
  }
  return new Map();
}

function keep(cache: UserCache | undefined, folders: ReadonlyMap<string, FolderFacts>): void {
  let size = 0;
  for (const { others, manifests } of folders.values()) size += others.length + manifests.length;
  if (size >= KEPT_FROM) cache?.write(JSON.stringify({ version: 2, folders: Object.fromEntries(folders) }));
}

/** What is in a folder now: of that what was known before, and what is still to be read. */
async function freshFacts(
  { key, changed }: ManifestFolder,
  before: FolderFacts,
  kept: KeptManifests,
): Promise<FreshFacts> {
  const isSettled = Date.now() - changed > SETTLED_AFTER_MS;
  const facts: FreshFacts = {
    key,
    changed: isSettled ? changed : 0,
    others: [],
    manifests: new Map(),
    unread: [],
  };
  const others = new Set(before.others.split(' '));
  const lines = new Map<string, string>();
  for (const line of before.manifests.split('\n')) {
    const end = line.indexOf(' ');
    lines.set(line.slice(0, end), line.slice(end));
  }
  // What cannot be listed has nothing that could be read.
  for (const file of await kept.filesIn(key).catch(() => [])) {
    const { id, digest } = file;
    const short = digest && shortOf(digest);
    const line = lines.get(id);
    if (line !== undefined) facts.manifests.set(id, line);
    else if (short !== undefined && others.has(short)) facts.others.push(short);
    else {
      // Its place in the order.
      facts.manifests.set(id, '');
      facts.unread.push(file);
    }
  }
  return facts;
}

/** These files are for a run that has more to compress. */
function leaveOut(facts: FreshFacts, files: readonly ManifestFile[]): void {
  if (files.length > 0) facts.changed = 0;
  for (const { id } of files) facts.manifests.delete(id);
}

/** What the repositories of these names have; nothing where that cannot be listed. */
async function relatedFacts(kept: KeptManifests, names: readonly Reference[]): Promise<FreshFacts> {
  const files = new Map<string, ManifestFile>();
  for (const repository of new Set(names.map((name) => name.repository))) {
    const own = new Set<string>();
    try {
      for await (const file of kept.related?.(repository) ?? []) {
        if (own.size >= MOST_RELATED || files.size >= MOST_OF_ALL) break;
        own.add(file.id);
        files.set(file.id, file);
      }
    } catch {
      // Its layers are compressed once more.
    }
  }
  return { key: RELATED, changed: 0, others: [], manifests: new Map(), unread: [...files.values()] };
}

function factsOf({ changed, others, manifests }: FreshFacts): FolderFacts {
  return {
    changed,
    others: others.map((short) => `${short} `).join(''),
    lines: manifests.size,
    manifests: [...manifests].map(([id, pairs]) => `${id}${pairs === '' ? ' ' : pairs}\n`).join(''),
  };
}

function isSame(one: FolderFacts, other: FolderFacts = NOTHING): boolean {
  return one.changed === other.changed && one.others === other.others && one.manifests === other.manifests;
}
