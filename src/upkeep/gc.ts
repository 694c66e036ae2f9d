import type { BlobStore, Link, StoredBlob } from '../formats/blob-store.js';
import { prefixOf, type Place } from '../formats/table.js';
import { storedFile, type Deletion, type StoredFile } from '../storage/driver.js';
import { LocalStorage } from '../storage/local.js';
import { ImgconvError } from '../model/errors.js';
import { Marker, type Unreached } from './mark.js';
import type { Count } from '../transfer/report.js';

export interface GarbageOptions {
  /** What changed since is left alone; in milliseconds, a day if not said. */
  readonly olderThan?: number | undefined;
  /** Also revisions that no tag reaches. */
  readonly untagged?: boolean | undefined;
  readonly dryRun?: boolean | undefined;
  /** How long to wait for other imgconv that write there, in milliseconds; a minute if not said. */
  readonly patience?: number | undefined;
}

export interface GarbageReport {
  /** False after a dry run: then the counts are of what would be deleted. */
  readonly deleted: boolean;
  readonly blobs: Count;
  /** Of the blobs, those that have other names on the disk, so that deleting them frees nothing. */
  readonly linkedElsewhere: Count;
  readonly revisions: number;
  readonly layerLinks: number;
  readonly tagIndexLinks: number;
  readonly uploads: Count;
  /** Unfinished work of imgconv processes that died. */
  readonly unfinished: number;
  /** Blobs that nothing reaches and that are too young to be deleted. */
  readonly young: Count;
  /** What deleting frees, in bytes. */
  readonly bytesFreed: number;
}

export const DAY_MS = 24 * 60 * 60 * 1000;
const PATIENCE_MS = 60_000;

interface Garbage {
  readonly unreached: readonly Unreached[];
  readonly blobs: readonly StoredBlob[];
  readonly uploads: readonly StoredFile[];
  readonly young: Count;
}

/**
 * Deletes what nothing reaches. It is looked for twice: while others write, and again while they wait. Only what was
 * found both times is deleted, links before the blobs that they name. Other imgconv wait, and are waited for.
 * @throws ImgconvError when a manifest cannot be read, USAGE where there is nothing to collect, IO beside a writer;
 * nothing is deleted then
 */
export async function collectGarbage(place: Place, options: GarbageOptions = {}): Promise<GarbageReport> {
  const store = await blobStoreOf(place);
  const { olderThan = DAY_MS, untagged = false, dryRun = false, patience = PATIENCE_MS } = options;
  const since = Date.now() - olderThan;
  const marker = new Marker(store, { untagged, since });
  const first = await find(store, marker, since);
  const unfinished = (await store.storage.leftovers()).length;
  if (dryRun) return reportOf(first, unfinished, false);
  await store.storage.sweep();
  if (first.unreached.length + first.blobs.length + first.uploads.length === 0)
    return reportOf(first, unfinished, true);
  return store.storage.withoutWriters(patience, async (deletion) => {
    const garbage = both(first, await find(store, marker, since));
    return reportOf(await remove(store, garbage, since, deletion), unfinished, true);
  });
}

async function blobStoreOf({ format, path, storage }: Place): Promise<BlobStore> {
  if (format.blobStore !== undefined) return await format.blobStore(storage ?? new LocalStorage(path));
  throw new ImgconvError('USAGE', `${path}: gc does not work on ${prefixOf(format)}`, {
    hint: "gc is for a registry's storage (reg:) and for an OCI layout (oci:)",
  });
}

async function find(store: BlobStore, marker: Marker, since: number): Promise<Garbage> {
  const { reached, unreached } = await marker.mark();
  const blobs: StoredBlob[] = [];
  const young = { blobs: 0, bytes: 0 };
  for await (const blob of store.blobs()) {
    if (reached.has(blob.digest)) continue;
    if (blob.changed <= since) blobs.push(blob);
    else {
      young.blobs++;
      young.bytes += blob.size;
    }
  }
  const uploads: StoredFile[] = [];
  for await (const upload of store.uploads()) if (upload.changed <= since) uploads.push(upload);
  return { unreached, blobs, uploads, young };
}

/** What is garbage both times; counts are those of the second. */
function both(first: Garbage, second: Garbage): Garbage {
  const links = new Set(first.unreached.flatMap((one) => one.links.map(({ path, digest }) => path + digest)));
  const blobs = new Set(first.blobs.map(({ digest }) => digest));
  const uploads = new Set(first.uploads.map(({ path }) => path));
  return {
    ...second,
    unreached: second.unreached.map((one) => ({
      ...one,
      links: one.links.filter(({ path, digest }) => links.has(path + digest)),
    })),
    blobs: second.blobs.filter(({ digest }) => blobs.has(digest)),
    uploads: second.uploads.filter(({ path }) => uploads.has(path)),
  };
}

/** Deletes, and gives what was deleted. */
async function remove(
  store: BlobStore,
  garbage: Garbage,
  since: number,
  deletion: Deletion,
): Promise<Garbage> {
  for (const { repository, links } of garbage.unreached)
    if (links.length > 0) await store.unlink(repository, links, deletion);
  const blobs: StoredBlob[] = [];
  for (const blob of garbage.blobs) {
    // A registry or another tool may have come upon it in between.
    const now = await storedFile(store.storage, blob.key);
    if (now === undefined || now.changed > since) continue;
    await store.deleteBlob(blob, deletion);
    blobs.push({ ...blob, ...now });
  }
  for (const { key } of garbage.uploads) await deletion.folder(key);
  return { ...garbage, blobs };
}

function countOf(files: readonly Pick<StoredFile, 'size'>[]): Count {
  return { blobs: files.length, bytes: files.reduce((sum, { size }) => sum + size, 0) };
}

function reportOf(garbage: Garbage, unfinished: number, deleted: boolean): GarbageReport {
  const { blobs, unreached, uploads, young } = garbage;
  const count = (kind: Link['kind']) =>
    unreached.reduce((sum, { links }) => sum + links.filter((link) => link.kind === kind).length, 0);
  const linkedElsewhere = countOf(blobs.filter(({ links }) => links > 1));
  return {
    deleted,
    blobs: countOf(blobs),
    linkedElsewhere,
    revisions: count('revision'),
    layerLinks: count('layer'),
    tagIndexLinks: count('tag index'),
    uploads: countOf(uploads),
    unfinished,
    young,
    bytesFreed: countOf(blobs).bytes - linkedElsewhere.bytes + countOf(uploads).bytes,
  };
}
