import { statSync } from 'node:fs';
import { join } from 'node:path';
import { isThere, wholeFile } from '../../bytes/region.js';
import type { Digest } from '../../model/digest.js';
import { blobName, INDEX_FILE, LAYOUT_FILE } from '../../model/oci-layout.js';
import type { Files } from '../layout.js';

/*
 * OCI image-spec v1.1 image-layout.md:
 *
 *   <layout>/
 *     oci-layout                {"imageLayoutVersion": "1.0.0"}
 *     index.json                an image index of the images that the layout names
 *     blobs/<alg>/<hex>         every blob, manifests too
 *     .imgconv-lock             while imgconv changes index.json
 */
export function layoutFile(layout: string): string {
  return join(layout, LAYOUT_FILE);
}

export function indexFile(layout: string): string {
  return join(layout, INDEX_FILE);
}

export function blobPath(layout: string, digest: Digest): string {
  return join(layout, blobName(digest));
}

export function blobsPath(layout: string): string {
  return join(layout, 'blobs');
}

export function lockPath(layout: string): string {
  return join(layout, '.imgconv-lock');
}

/** Names are those of `Files`: fixed ones and `blobName`s, never an image's own. */
export function filesOf(layout: string): Files {
  return { path: layout, get: (name) => wholeFile(join(layout, name), layout) };
}

export function recognisesLayout(path: string): boolean {
  return statSync(path).isDirectory() && (isThere(layoutFile(path), path) || isThere(indexFile(path), path));
}
