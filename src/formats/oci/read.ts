import { basename, resolve } from 'node:path';
import type { Storage } from '../../storage/driver.js';
import type { ImageReader, ListOptions } from '../format.js';
import { readLayout } from '../layout.js';
import { numberedImages } from '../layout-images.js';
import { ListingReader } from '../listing.js';
import { layoutAudit } from './audit.js';
import { filesOf } from './paths.js';

export async function openLayout(storage: Storage): Promise<ImageReader> {
  const files = filesOf(storage);
  const entries = await readLayout(files);
  const layout = { files, ownName: basename(resolve(storage.name)), provesDiffIds: false };
  const images = (options: ListOptions) => numberedImages(layout, entries, options);
  return new ListingReader(images, layoutAudit(storage));
}
