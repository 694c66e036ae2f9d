import { makeFolder } from '../bytes/folder.js';
import { registryPathOf } from '../formats/docker/paths.js';
import { openPlace } from '../formats/open.js';
import { registry } from '../formats/registry/index.js';
import { prefixOf, type Place } from '../formats/table.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { pathExists } from '../bytes/files.js';
import type { RegistryAccess } from '../formats/access.js';
import { StagedDownloads } from '../storage/downloads.js';
import { MemoryDownloads } from '../storage/memory-downloads.js';
import { existingStorage, LocalStorage } from '../storage/local.js';
import { StagingSpool } from '../storage/spool.js';
import { Staging } from '../storage/staging.js';
import type { Pool } from '../threads/pool.js';
import type { Backend, WritableBackend } from './backend.js';
import { CompressedBackend } from './compressed-backend.js';
import { LayoutBackend } from './layout-backend.js';
import { ListedBackend } from './listed-backend.js';
import { MirrorBackend } from './mirror-backend.js';
import { RegistryBackend } from './registry-backend.js';

export interface BackendContext {
  readonly pool: Pool;
  readonly access: RegistryAccess;
  /** A folder for what has to be unpacked. */
  readonly scratch: () => Staging;
  /** Where fetched and compressed images are kept: a folder of the user's, or one that is gone with the server. */
  readonly cache: () => string;
  /** Layers that lie uncompressed in archives and directories are compressed once. */
  readonly compress: boolean;
}

/** Where images can be pushed to. */
export function takesPushes({ format }: Place): boolean {
  return format.prefix === 'reg' || format.prefix === 'oci';
}

/** A place as a registry serves it. @throws ImgconvError */
export async function openBackend(
  place: Place,
  writable: boolean,
  context: BackendContext,
): Promise<Backend> {
  const { format, path } = place;
  const storage = () => place.storage ?? (writable ? newStorage(path) : existingStorage(path));
  if (format.prefix === 'reg') return RegistryBackend.open(storage(), writable);
  if (format.prefix === 'oci') return LayoutBackend.open(storage(), writable);
  const { pool, access, scratch, compress } = context;
  if (format.registry !== undefined) return openMirror(place, context);
  if (format.traits.remote)
    throw new ImgconvError('USAGE', `serve ${prefixOf(format)}: a running engine is not served`, {
      hint: `copy its images: imgconv copy ${prefixOf(format)} reg:STORE, and serve that`,
    });
  if (format.traits.isEngine === true && !pathExists(path))
    throw new ImgconvError('NOT_FOUND', `${path}: no such folder`);
  const open = () =>
    openPlace(place, {
      pool,
      spool: new StagingSpool(scratch(), pool),
      downloads: new MemoryDownloads(),
      access,
    });
  const listed = new ListedBackend(path, !format.traits.sequential, open);
  if (!compress || !format.traits.uncompressedByNature) return listed;
  const cache = { format: registry, path: context.cache() };
  return new CompressedBackend(place, listed, cache, await openCache(cache.path));
}

async function openMirror(place: Place, { pool, access, scratch, cache }: BackendContext): Promise<Backend> {
  const folder = cache();
  const { host = '', below } = registryPathOf(place.path);
  const before = [host, below]
    .filter((part) => part !== '')
    .map((part) => `${part}/`)
    .join('');
  const kept = await openCache(folder);
  const downloads = new StagedDownloads(new Staging(folder), pool, true);
  return new MirrorBackend({
    before,
    open: () => openPlace(place, { pool, spool: new StagingSpool(scratch(), pool), downloads, access }),
    access,
    pool,
    cache: kept,
    fetched: (digest) => {
      downloads.release([digest]);
    },
  });
}

async function openCache(folder: string): Promise<Backend & { writes: WritableBackend }> {
  const opened = await RegistryBackend.open(newStorage(folder), true);
  const { writes } = opened;
  if (writes === undefined) throw new TypeError('a cache that cannot be written');
  return opened as typeof opened & { writes: WritableBackend };
}

function newStorage(path: string): LocalStorage {
  try {
    makeFolder(path);
  } catch (error) {
    throw asImgconvError(error, path);
  }
  return new LocalStorage(path);
}
