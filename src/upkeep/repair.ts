import { sizeOf } from '../bytes/chunks.js';
import { SET_ASIDE, type Mending, type WantedBlob } from '../formats/audit.js';
import type { RegistryAccess } from '../formats/access.js';
import type { SourceImage } from '../formats/format.js';
import { openPlace } from '../formats/open.js';
import { prefixOf, type Place } from '../formats/table.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import { isIntact } from '../storage/blob-writer.js';
import { StagedDownloads } from '../storage/downloads.js';
import type { Storage, StorageTransaction } from '../storage/driver.js';
import { StagingSpool } from '../storage/spool.js';
import type { Pool } from '../threads/pool.js';
import type { Findings } from './findings.js';

/** A file that was put in its place. */
export interface Repaired {
  readonly path: string;
  /** Where the bytes came from; undefined for links and other files that the place itself tells of. */
  readonly from: string | undefined;
  /** Where the damaged file is now, if there was one. */
  readonly setAside: string | undefined;
}

/**
 * Puts in place what is missing or damaged: blobs from other places, each proved by its digest, and then the links to
 * them. Damaged files are moved aside.
 */
export async function repair(
  { storage }: Mending,
  findings: Findings,
  sources: readonly Place[],
  pool: Pool,
  access: RegistryAccess = {},
): Promise<Repaired[]> {
  const transaction = storage.begin(pool);
  try {
    await transaction.claim();
    const repaired = await fetchAll(storage, findings.fetches(), sources, transaction, pool, access);
    await transaction.commit();
    for (const { key, content, needs } of findings.writes()) {
      if (!(await isReached(storage, key))) continue;
      if (needs !== undefined && !(await isThere(storage, needs))) continue;
      transaction.put(key, content);
      repaired.push({ path: storage.nameOf(key), from: undefined, setAside: undefined });
    }
    await transaction.commit();
    return repaired;
  } finally {
    transaction.close();
  }
}

/** For a registry, and for an archive: to change one member is to write all of it. */
export function notInPlace({ format, path }: Place): ImgconvError {
  const prefix = prefixOf(format);
  if (format.traits.isEngine === true)
    return new ImgconvError('USAGE', `--repair: ${prefix}${path}: stores of engines are only read`, {
      hint: 'copy what is whole into a store, and the rest from elsewhere: imgconv copy --blobs-from PLACE',
    });
  return new ImgconvError('USAGE', `--repair: ${path}: ${prefix} cannot be repaired in place`, {
    hint: format.registry
      ? `push the images again from where they are whole: imgconv push FROM ${prefix}HOST`
      : `write a new archive from where the images are whole: imgconv copy FROM ${prefix}NEW`,
  });
}

async function fetchAll(
  storage: Storage,
  fetches: readonly WantedBlob[],
  sources: readonly Place[],
  transaction: StorageTransaction,
  pool: Pool,
  access: RegistryAccess,
): Promise<Repaired[]> {
  const repaired: Repaired[] = [];
  const wanted = new Map<string, WantedBlob>();
  for (const one of fetches) {
    if (!(await isReached(storage, one.key))) continue;
    const size = one.size ?? (await storage.stat(one.key))?.size ?? -1;
    if (!(await isIntact(storage, one.key, { digest: one.digest, size }, pool).catch(() => false)))
      wanted.set(one.key, one);
  }
  for (const place of sources) {
    if (wanted.size === 0) break;
    const spool = new StagingSpool(transaction.staging, pool);
    const downloads = new StagedDownloads(transaction.staging, pool, false);
    const reader = await openPlace(place, { pool, spool, downloads, access });
    const { format, reference } = place;
    const wantedImages = format.registry !== undefined && reference !== undefined ? [reference] : undefined;
    try {
      for await (const image of reader.images({ untagged: true, wanted: wantedImages })) {
        if ('error' in image) continue;
        for (const want of wanted.values()) {
          const from = await fetchFrom(image, want, transaction, pool);
          if (from === undefined) continue;
          wanted.delete(want.key);
          repaired.push({ path: want.path, from, setAside: await setAside(storage, want) });
        }
        if (wanted.size === 0) break;
      }
    } finally {
      await reader.close();
    }
  }
  return repaired;
}

/** Stages the blob, if this image has it and it is right; gives where it was. */
async function fetchFrom(
  image: SourceImage,
  { key, path, digest, size, as }: WantedBlob,
  transaction: StorageTransaction,
  pool: Pool,
): Promise<string | undefined> {
  try {
    const at = await image.locate(size === undefined ? { digest } : { digest, size }, as);
    if (at === undefined || at.path === path) return undefined;
    await transaction.stage(
      key,
      VerifiedBlob.at(at, { digest, size: size ?? (await sizeOf(at)) }, pool),
      'auto',
    );
    transaction.keep(key);
    return at.path;
  } catch (error) {
    const { code } = asImgconvError(error);
    // It is damaged there too, or was replaced while it was read: another image or place may have it.
    if (code === 'DIGEST_MISMATCH' || code === 'SOURCE_CHANGED' || code === 'ARCHIVE_INVALID')
      return undefined;
    throw error;
  }
}

/** False for what would be put behind a symbolic link: that stays a finding. */
async function isReached(storage: Storage, key: string): Promise<boolean> {
  try {
    await storage.stat(key);
    return true;
  } catch (error) {
    if (error instanceof ImgconvError) return false;
    throw error;
  }
}

/** False also for what lies behind a link. */
async function isThere(storage: Storage, key: string): Promise<boolean> {
  return (await isReached(storage, key)) && (await storage.bytes(key)) !== undefined;
}

/** Moves what is damaged out of the way, now that there is something to put in its place. */
async function setAside(storage: Storage, { key, digest }: WantedBlob): Promise<string | undefined> {
  if ((await storage.stat(key)) === undefined) return undefined;
  const name = `${SET_ASIDE}/${digest.replace(':', '-')}`;
  let aside = name;
  for (let number = 1; (await storage.stat(aside)) !== undefined; number++) aside = `${name}.${number}`;
  await storage.rename(key, aside);
  return storage.nameOf(aside);
}
