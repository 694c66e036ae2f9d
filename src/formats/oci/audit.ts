import type { Dirent } from 'node:fs';
import { join } from 'node:path';
import { entriesIn } from '../../bytes/folder.js';
import { lookAt } from '../../bytes/region.js';
import { STAGING_PREFIX } from '../../storage/staging.js';
import { isDigest } from '../../model/digest.js';
import { INDEX_FILE, LAYOUT_CONTENT, LAYOUT_FILE } from '../../model/oci-layout.js';
import { irregular, SET_ASIDE, stray, type Audit, type Fault } from '../audit.js';
import { storedBlobs } from './heap.js';
import { blobPath, blobsPath, layoutFile } from './paths.js';

export function layoutAudit(layout: string): Audit {
  return {
    badName: 'cosmetic',
    mending: { root: layout, placeOf: (_, digest) => blobPath(layout, digest) },
    ofImage: () => [],
    ofPlace: () => strayIn(layout),
    blobs: () => storedBlobs(layout),
  };
}

function* strayIn(layout: string): Generator<Fault> {
  const path = layoutFile(layout);
  if (lookAt(path, layout) === undefined) {
    const write = { path, content: LAYOUT_CONTENT };
    yield { severity: 'cosmetic', kind: 'file-missing', where: path, what: 'not there', write };
  }
  const known = [LAYOUT_FILE, INDEX_FILE, 'blobs', SET_ASIDE];
  for (const entry of entriesIn(layout, layout)) {
    const { name } = entry;
    if (!isPlain(entry)) yield irregular(join(layout, name), entry.isSymbolicLink());
    else if (!known.includes(name) && !name.startsWith(STAGING_PREFIX)) yield stray(join(layout, name));
  }
  const blobs = blobsPath(layout);
  if (lookAt(blobs, layout)?.isDirectory() !== true) return;
  for (const algorithm of entriesIn(blobs, layout)) {
    const folder = join(blobs, algorithm.name);
    if (!isPlain(algorithm)) yield irregular(folder, algorithm.isSymbolicLink());
    else if (!algorithm.isDirectory()) yield stray(folder);
    else
      for (const blob of entriesIn(folder, layout)) {
        const path = join(folder, blob.name);
        if (!isPlain(blob)) yield irregular(path, blob.isSymbolicLink());
        else if (!blob.isFile() || !isDigest(`${algorithm.name}:${blob.name}`)) yield stray(path);
      }
  }
}

function isPlain(entry: Dirent): boolean {
  return entry.isFile() || entry.isDirectory();
}
