import { basename } from 'node:path';
import { openTar } from '../../codecs/open-tar.js';
import { INDEX_FILE, ownNameOf } from '../../model/oci-layout.js';
import { archiveAudit } from '../archive-audit.js';
import { archiveSource } from '../archive-source.js';
import type { ImageReader, ListOptions, ReadContext } from '../format.js';
import { readLayout } from '../layout.js';
import { numberedImages } from '../layout-images.js';
import { ListingReader } from '../listing.js';
import { noImages } from '../no-images.js';

export async function openLayoutArchive(path: string, { spool }: ReadContext): Promise<ImageReader> {
  const files = await openTar(archiveSource(path), spool);
  if (!files.has(INDEX_FILE)) throw noImages(files);
  const entries = await readLayout(files);
  const layout = { files, ownName: ownNameOf(basename(path)), provesDiffIds: false };
  const images = (options: ListOptions) => numberedImages(layout, entries, options);
  return new ListingReader(
    images,
    archiveAudit(files, () => undefined),
  );
}
