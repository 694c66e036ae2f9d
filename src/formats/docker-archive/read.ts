import { basename } from 'node:path';
import { openTar } from '../../codecs/open-tar.js';
import type { TarIndex } from '../../codecs/tar-index.js';
import { documentAt } from '../../bytes/document.js';
import { ImgconvError } from '../../model/errors.js';
import { INDEX_FILE, MANIFEST, ownNameOf, REPOSITORIES } from '../../model/oci-layout.js';
import { archiveSource } from '../archive-source.js';
import type { ImageReader, ListOptions, ReadContext, SourceImage } from '../format.js';
import { readLayout } from '../layout.js';
import { numberedImages } from '../layout-images.js';
import { ListingReader } from '../listing.js';
import { noImages } from '../no-images.js';
import { Archive } from './archive.js';
import { engineArchiveAudit } from './audit.js';
import { describe } from './configs.js';
import { Layers } from './layers.js';
import { readLegacy } from './legacy.js';
import { makeImage } from './made-image.js';

export async function openArchive(file: string, { pool, spool, passing }: ReadContext): Promise<ImageReader> {
  const index = await openTar(archiveSource(file, passing), spool);
  if (index.has(MANIFEST)) {
    const archive = await Archive.open(index, new Layers(index, pool, spool));
    return new ListingReader((options) => archive.images(options), engineArchiveAudit(index, archive.named));
  }
  if (index.has(INDEX_FILE)) {
    const entries = await readLayout(index);
    const layout = { files: index, ownName: ownNameOf(basename(file)), provesDiffIds: true };
    const images = (options: ListOptions) => numberedImages(layout, entries, options);
    return new ListingReader(images, engineArchiveAudit(index, []));
  }
  if (index.has(REPOSITORIES))
    return new ListingReader(
      () => legacyImages(index, new Layers(index, pool, spool)),
      engineArchiveAudit(index, undefined),
    );
  throw noImages(index);
}

/** Images of before Docker 1.10, whose configs are rebuilt as `docker load` does. */
async function* legacyImages(index: TarIndex, layers: Layers): AsyncGenerator<SourceImage> {
  const diffIdOf = (name: string) => {
    const at = index.get(name);
    if (at === undefined)
      throw new ImgconvError('BLOB_MISSING', `${index.path}: ${name} is not in the archive`);
    return layers.diffIdOf(at);
  };
  const read = (name: string, limit: number) => {
    const at = index.get(name);
    return at && documentAt(at, `${index.path}: ${name}`, limit);
  };
  const images = await readLegacy(index, read, diffIdOf);
  for (const { names, config, layers: named } of images) {
    const where = `${index.path}: ${names[0] ?? ''}`;
    const described = describe(config, named, `${where}: config`);
    const made = await makeImage(layers, described, where);
    for (const name of names) yield { ...made, name };
  }
}
