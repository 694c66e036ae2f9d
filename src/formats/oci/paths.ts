import { join } from 'node:path';
import { isFolder, isThere } from '../../bytes/there.js';
import { INDEX_FILE, LAYOUT_FILE } from '../../model/oci-layout.js';
import type { Storage } from '../../storage/driver.js';
import type { Files } from '../layout.js';

/*
 * OCI image-spec v1.1 image-layout.md:
 *
 *   <layout>/
 *     oci-layout                {"imageLayoutVersion": "1.0.0"}
 *     index.json                an image index of the images that the layout names
 *     blobs/<alg>/<hex>         every blob, manifests too (model/oci-layout.ts blobName)
 *     .imgconv-lock             while imgconv changes index.json
 */
export const BLOBS = 'blobs';
export const LOCK = '.imgconv-lock';

/** Names are those of `Files`: fixed ones and `blobName`s, never an image's own. */
export function filesOf(layout: Storage): Files {
  return { path: layout.name, get: (name) => layout.bytes(name) };
}

export function recognisesLayout(path: string): boolean {
  return isFolder(path) && [LAYOUT_FILE, INDEX_FILE].some((name) => isThere(join(path, name), path));
}
