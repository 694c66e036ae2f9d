import { makeFolder } from '../bytes/folder.js';
import { openPlace } from '../formats/open.js';
import { prefixOf, type Place } from '../formats/table.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import type { RegistryAccess } from '../formats/access.js';
import { MemoryDownloads } from '../storage/memory-downloads.js';
import { existingStorage, LocalStorage } from '../storage/local.js';
import { StagingSpool } from '../storage/spool.js';
import { Staging } from '../storage/staging.js';
import type { Pool } from '../threads/pool.js';
import type { Backend } from './backend.js';
import { LayoutBackend } from './layout-backend.js';
import { ListedBackend } from './listed-backend.js';
import { RegistryBackend } from './registry-backend.js';

export interface BackendContext {
  readonly pool: Pool;
  readonly access: RegistryAccess;
  /** A folder for what has to be unpacked. */
  readonly scratch: () => Staging;
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
  if (format.prefix === 'oci') return new LayoutBackend(storage(), writable);
  if (writable)
    throw new ImgconvError('USAGE', `${path}: --writable: nothing can be pushed to ${prefixOf(format)}`, {
      hint: 'a registry storage (reg:) or an OCI layout (oci:) takes pushes; give one before the others',
    });
  const open = () =>
    openPlace(place, {
      pool: context.pool,
      spool: new StagingSpool(context.scratch(), context.pool),
      downloads: new MemoryDownloads(),
      access: context.access,
    });
  return new ListedBackend(path, !format.traits.sequential, open);
}

function newStorage(path: string): LocalStorage {
  try {
    makeFolder(path);
  } catch (error) {
    throw asImgconvError(error, path);
  }
  return new LocalStorage(path);
}
