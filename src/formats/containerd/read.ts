import { NOTHING_OF_ITS_OWN } from '../audit.js';
import { ContainerdImages } from '../containerd-images.js';
import { METADATA } from '../containerd-store.js';
import type { ImageReader, ReadContext } from '../format.js';
import { ListingReader } from '../listing.js';
import { warnedOf } from '../running.js';

/** `part`: a namespace; undefined for all. @throws ImgconvError NOT_FOUND, ARCHIVE_INVALID */
export function openContainerd(root: string, context: ReadContext): Promise<ImageReader> {
  const images = new ContainerdImages(root, context.part, { isFamiliar: false }, context);
  return Promise.resolve(
    new ListingReader((options) => warnedOf(images.images(options), root, [METADATA]), NOTHING_OF_ITS_OWN),
  );
}
