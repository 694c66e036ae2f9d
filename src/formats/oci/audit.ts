import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { entriesIn } from '../../io/folder.js';
import { STAGING_PREFIX } from '../../io/staging.js';
import { isDigest } from '../../model/digest.js';
import { INDEX_FILE, LAYOUT_CONTENT, LAYOUT_FILE } from '../../model/oci-layout.js';
import { SET_ASIDE, stray, type Audit, type Fault } from '../audit.js';
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
  if (!existsSync(path)) {
    const write = { path, content: LAYOUT_CONTENT };
    yield { severity: 'cosmetic', kind: 'file-missing', where: path, what: 'not there', write };
  }
  const known = [LAYOUT_FILE, INDEX_FILE, 'blobs', SET_ASIDE];
  for (const { name } of entriesIn(layout))
    if (!known.includes(name) && !name.startsWith(STAGING_PREFIX)) yield stray(join(layout, name));
  for (const algorithm of entriesIn(blobsPath(layout))) {
    const folder = join(blobsPath(layout), algorithm.name);
    if (!algorithm.isDirectory()) yield stray(folder);
    for (const blob of entriesIn(folder))
      if (!blob.isFile() || !isDigest(`${algorithm.name}:${blob.name}`)) yield stray(join(folder, blob.name));
  }
}
