import { lstatSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { SET_ASIDE, type Mending, type WantedBlob } from '../formats/audit.js';
import type { RegistryAccess } from '../formats/access.js';
import type { SourceImage } from '../formats/format.js';
import { prefixOf, type Place } from '../formats/table.js';
import { Descent, expectPlain, placeBelow } from '../bytes/below.js';
import { isIntact } from '../storage/blob-shelf.js';
import type { Pool } from '../threads/pool.js';
import { StagedDownloads } from '../storage/downloads.js';
import { StagingSpool } from '../storage/spool.js';
import { isThere } from '../bytes/region.js';
import { Staging } from '../storage/staging.js';
import { Transaction } from '../storage/transaction.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
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
  mending: Mending,
  findings: Findings,
  sources: readonly Place[],
  pool: Pool,
  access: RegistryAccess = {},
): Promise<Repaired[]> {
  using staging = new Staging(mending.root);
  await staging.claim();
  const transaction = new Transaction(staging, pool);
  const repaired = await fetchAll(mending, findings.fetches(), sources, transaction, pool, access);
  await transaction.commit();
  for (const { path, content, needs } of findings.writes()) {
    if (!isReached(mending.root, path)) continue;
    if (needs !== undefined && !(isReached(mending.root, needs) && isThere(needs, mending.root))) continue;
    transaction.write(path, content);
    repaired.push({ path, from: undefined, setAside: undefined });
  }
  await transaction.commit();
  return repaired;
}

/** For a registry, and for an archive: to change one member is to write all of it. */
export function notInPlace({ format, path }: Place): ImgconvError {
  const prefix = prefixOf(format);
  return new ImgconvError('USAGE', `--repair: ${path}: ${prefix} cannot be repaired in place`, {
    hint: format.traits.remote
      ? `push the images again from where they are whole: imgconv push FROM ${prefix}HOST`
      : `write a new archive from where the images are whole: imgconv copy FROM ${prefix}NEW`,
  });
}

async function fetchAll(
  mending: Mending,
  fetches: readonly WantedBlob[],
  sources: readonly Place[],
  transaction: Transaction,
  pool: Pool,
  access: RegistryAccess,
): Promise<Repaired[]> {
  const repaired: Repaired[] = [];
  const wanted = new Map<string, WantedBlob>();
  for (const one of fetches) {
    if (!isReached(mending.root, one.path)) continue;
    const size = one.size ?? lstatSync(one.path, { throwIfNoEntry: false })?.size ?? -1;
    if (!(await isIntact(one.path, mending.root, { digest: one.digest, size }, pool).catch(() => false)))
      wanted.set(one.path, one);
  }
  for (const { format, path, reference } of sources) {
    if (wanted.size === 0) break;
    const spool = new StagingSpool(transaction.staging, pool);
    const downloads = new StagedDownloads(transaction.staging, pool, false);
    const reader = await format.open(path, { pool, spool, downloads, access });
    const wantedImages = format.traits.remote && reference !== undefined ? [reference] : undefined;
    try {
      for await (const image of reader.images({ untagged: true, wanted: wantedImages })) {
        if ('error' in image) continue;
        for (const want of wanted.values()) {
          const from = await fetchFrom(image, want, transaction, pool);
          if (from === undefined) continue;
          wanted.delete(want.path);
          repaired.push({ path: want.path, from, setAside: setAside(mending.root, want) });
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
  { path, digest, size, as }: WantedBlob,
  transaction: Transaction,
  pool: Pool,
): Promise<string | undefined> {
  try {
    const at = await image.locate(size === undefined ? { digest } : { digest, size }, as);
    if (at === undefined || at.path === path) return undefined;
    const staged = transaction.staging.path();
    await VerifiedBlob.at(at, { digest, size: size ?? at.size }, pool).place(staged, 'auto');
    transaction.move(staged, path);
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
function isReached(root: string, path: string): boolean {
  try {
    expectPlain(root, path);
    return true;
  } catch (error) {
    if (error instanceof ImgconvError) return false;
    throw error;
  }
}

/** Moves what is damaged out of the way, now that there is something to put in its place. */
function setAside(root: string, { path, digest }: WantedBlob): string | undefined {
  using places = new Descent(root);
  using shelter = new Descent(root);
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
  const damaged = places.path(placeBelow(root, path));
  const name = `${SET_ASIDE}/${digest.replace(':', '-')}`;
  let aside = name;
  const isTaken = () => lstatSync(shelter.path(aside, true), { throwIfNoEntry: false }) !== undefined;
  for (let number = 1; isTaken(); number++) aside = `${name}.${number}`;
  renameSync(damaged, shelter.path(aside));
  return join(root, aside);
}
