import * as z from 'zod';
import { documentAt, tooLarge } from '../../bytes/document.js';
import { createHasher, type Expected } from '../../bytes/hash.js';
import type { Content } from '../../bytes/content.js';
import { JsonList } from '../../bytes/json-list.js';
import { listOf } from '../../model/descriptor.js';
import { asImgconvError, ImgconvError } from '../../model/errors.js';
import { MAX_LAYOUT_INDEX, parseJson, parseWith } from '../../model/json.js';
import { INDEX_FILE, INDEX_TEMPLATE, LAYOUT_CONTENT, LAYOUT_FILE } from '../../model/oci-layout.js';
import { isIntact } from '../../storage/blob-writer.js';
import type { Stat, Storage, StorageTransaction } from '../../storage/driver.js';
import type { Staging } from '../../storage/staging.js';
import type { Pool } from '../../threads/pool.js';
import { LOCK } from './paths.js';

/** What is not understood stays as it was. */
const indexSchema = z.looseObject({ manifests: listOf(z.looseObject({})) });

export type LayoutIndex = z.infer<typeof indexSchema>;

export async function readIndex(layout: Storage): Promise<LayoutIndex> {
  return parsed(layout, await bytesIn(layout));
}

async function bytesIn(layout: Storage): Promise<Uint8Array | undefined> {
  const at = await layout.bytes(INDEX_FILE);
  return at && documentAt(at, at.path, MAX_LAYOUT_INDEX);
}

/** Of a layout that is written to. */
function parsed(layout: Storage, bytes: Uint8Array | undefined): LayoutIndex {
  if (bytes === undefined) return { ...INDEX_TEMPLATE, manifests: [] };
  const path = layout.nameOf(INDEX_FILE);
  try {
    return parseWith(indexSchema, parseJson(bytes, path), path);
  } catch (cause) {
    const { code, message } = asImgconvError(cause, path);
    throw new ImgconvError(code, message, { cause, hint: 'restore that file, or write to another folder' });
  }
}

/**
 * index.json is read, changed and replaced under a lock, so that two writers lose no entry. `change` gives undefined when
 * nothing is to be done, and may put more into the transaction.
 */
export function changeIndex(
  layout: Storage,
  transaction: StorageTransaction,
  change: (index: LayoutIndex) => Promise<LayoutIndex | undefined>,
): Promise<void> {
  return layout.exclusively(LOCK, async () => {
    const index = await change(await readIndex(layout));
    if (index === undefined) return;
    transaction.put(INDEX_FILE, JSON.stringify(index), 'tag');
    await transaction.commit();
  });
}

type Entry = Readonly<Record<string, unknown>>;

/** Digests by name; entries without a name have their digest for one. */
type Names = ReadonlyMap<string, readonly string[]>;

interface Known {
  readonly names: Map<string, string[]>;
  /** Of the file as it was read or written; undefined when there was none. */
  readonly stat: Stat | undefined;
  readonly own?: Own | undefined;
}

/** What this process wrote, and the entries in it: more can go after them. */
interface Own {
  readonly before: string;
  readonly list: JsonList;
  readonly written: Expected;
}

/** Where entries are put. */
interface Target {
  readonly layout: Storage;
  readonly transaction: StorageTransaction;
  readonly pool: Pool;
}

/**
 * index.json while a run adds to it, batch by batch. What the run wrote itself is not parsed again, or a layout of many
 * images would cost the square of their number.
 */
export class GrowingIndex {
  /** An entry's name, in one form for all that means the same. */
  readonly #nameOf: (entry: Entry) => string | undefined;
  #known: Promise<Known> | undefined;

  constructor(nameOf: (entry: Entry) => string | undefined) {
    this.#nameOf = nameOf;
  }

  /** What index.json names. */
  async names(layout: Storage): Promise<Names> {
    const before = this.#known;
    const isStale = before !== undefined && !isSame((await before).stat, await layout.stat(INDEX_FILE));
    // Of several callers the first one reads it.
    if (isStale && this.#known === before) this.#known = undefined;
    this.#known ??= this.#read(layout).catch((error: unknown) => {
      // Another program may just write it.
      this.#known = undefined;
      throw error;
    });
    return (await this.#known).names;
  }

  async #read(layout: Storage): Promise<Known> {
    const stat = await layout.stat(INDEX_FILE);
    return { names: this.#namesIn((await readIndex(layout)).manifests), stat };
  }

  has(names: Names, entry: Entry): boolean {
    return names.get(this.#keyOf(entry))?.includes(String(entry['digest'])) === true;
  }

  /**
   * Adds entries in the place of those of the same names, and commits the transaction, if there is one that is not there.
   * What others wrote meanwhile stays.
   */
  add({ layout, transaction, pool }: Target, entries: readonly Entry[]): Promise<void> {
    return layout.exclusively(LOCK, async () => {
      const known = await this.#known?.catch(() => undefined);
      const isOwn = known?.own !== undefined && (await isIntact(layout, INDEX_FILE, known.own.written, pool));
      const index = isOwn ? undefined : parsed(layout, await bytesIn(layout));
      const names = isOwn ? known.names : this.#namesIn(index?.manifests ?? []);
      const fresh = entries.filter((entry) => !this.has(names, entry));
      const isLayout = (await layout.bytes(LAYOUT_FILE)) !== undefined;
      if (isLayout && fresh.length === 0) return;
      if (!isLayout) transaction.put(LAYOUT_FILE, LAYOUT_CONTENT);
      const isNew = fresh.every((entry) => !names.has(this.#keyOf(entry)));
      this.#known = undefined;
      const { before, list } =
        isOwn && isNew
          ? known.own
          : this.#listOf(index ?? parsed(layout, await bytesIn(layout)), fresh, transaction.staging);
      for (const entry of fresh) list.add(entry);
      const content = list.content(before, '}');
      if (content.size > MAX_LAYOUT_INDEX)
        throw tooLarge(layout.nameOf(INDEX_FILE), content.size, MAX_LAYOUT_INDEX);
      const written = putHashed(transaction, content);
      await transaction.commit();
      for (const entry of fresh) names.set(this.#keyOf(entry), [String(entry['digest'])]);
      this.#known = Promise.resolve({
        names,
        // What is committed is written, whatever cannot be told of it.
        stat: await layout.stat(INDEX_FILE).catch(() => undefined),
        own: { before, list, written },
      });
    });
  }

  /** The entries that stay, and what the file has before them. */
  #listOf({ manifests, ...rest }: LayoutIndex, fresh: readonly Entry[], staging: Staging) {
    const renamed = new Set(fresh.map((entry) => this.#nameOf(entry)));
    const list = new JsonList(() => staging.path());
    for (const one of manifests) {
      const name = this.#nameOf(one);
      if (name === undefined || !renamed.has(name)) list.add(one);
    }
    return { before: JSON.stringify({ ...rest, manifests: [] }).slice(0, -'[]}'.length), list };
  }

  #namesIn(entries: readonly Entry[]): Map<string, string[]> {
    const names = new Map<string, string[]>();
    for (const entry of entries) {
      const key = this.#keyOf(entry);
      const digest = String(entry['digest']);
      const digests = names.get(key);
      if (digests === undefined) names.set(key, [digest]);
      else digests.push(digest);
    }
    return names;
  }

  #keyOf(entry: Entry): string {
    return this.#nameOf(entry) ?? String(entry['digest']);
  }
}

/** Puts index.json, which is hashed as it is written. */
function putHashed(transaction: StorageTransaction, { size, pieces }: Content): Expected {
  const hasher = createHasher('sha256');
  const hashed = (function* () {
    for (const piece of pieces) {
      hasher.update(piece);
      yield piece;
    }
  })();
  transaction.put(INDEX_FILE, { size, pieces: hashed }, 'tag');
  return { digest: hasher.digest(), size };
}

function isSame(one: Stat | undefined, other: Stat | undefined): boolean {
  return one?.size === other?.size && one?.changed === other?.changed;
}
