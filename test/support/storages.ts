import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Format, Place } from '../../src/index.js';
import { allBelow, type Storage } from '../../src/storage/driver.js';
import { MemoryObjects, ObjectStorage } from '../../src/storage/objects.js';
import { formatOf } from './places.js';
import { contentsOf, filesIn, shown } from './snapshot.js';

/** Formats whose files lie in a storage of any driver. */
export const STORED = ['reg', 'oci', 'dir'] as const;

/** Where nothing is yet, in memory; its name is that of the folders of `newPlace`. */
export function newMemoryPlace(format: Format | string): Place {
  const storage = new ObjectStorage(new MemoryObjects(), '/memory/place');
  return {
    format: typeof format === 'string' ? formatOf(format) : format,
    path: storage.name,
    storage,
  };
}

/** The files of a folder, with when they were changed, in memory. */
export async function inMemory({ format, path }: Place): Promise<Place> {
  const objects = new MemoryObjects();
  for (const key of filesIn(path)) {
    const { mtimeMs, ctimeMs } = lstatSync(join(path, key));
    await objects.put(key, readFileSync(join(path, key)), Math.floor(Math.max(mtimeMs, ctimeMs)));
  }
  return { format, path, storage: new ObjectStorage(objects, path) };
}

/** As `contentsOf`, of any place. */
export async function contentsAt({ storage, path }: Place): Promise<Record<string, string>> {
  return storage === undefined ? contentsOf(path) : contentsIn(storage);
}

export async function contentsIn(storage: Storage): Promise<Record<string, string>> {
  const contents: [string, string][] = [];
  for await (const { key } of allBelow(storage, '')) {
    const { size = 0 } = (await storage.stat(key)) ?? {};
    const bytes = (await storage.read(key, size)) ?? new Uint8Array();
    contents.push([key, shown(Buffer.from(bytes))]);
  }
  return Object.fromEntries(contents.sort(([a], [b]) => (a < b ? -1 : 1)));
}
