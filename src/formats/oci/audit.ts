import { isDigest } from '../../model/digest.js';
import { blobName, INDEX_FILE, LAYOUT_CONTENT, LAYOUT_FILE } from '../../model/oci-layout.js';
import type { Entry, Storage } from '../../storage/driver.js';
import { STAGING_PREFIX } from '../../storage/staging.js';
import { irregular, SET_ASIDE, stray, type Audit, type Fault } from '../audit.js';
import { storedBlobs } from './blob-store.js';
import { BLOBS } from './paths.js';

export function layoutAudit(layout: Storage): Audit {
  return {
    badName: 'cosmetic',
    mending: { storage: layout, keyOf: (_, digest) => blobName(digest) },
    ofImage: () => [],
    ofPlace: () => strayIn(layout),
    blobs: (except) => storedBlobs(layout, except),
  };
}

async function* strayIn(layout: Storage): AsyncGenerator<Fault> {
  if ((await layout.stat(LAYOUT_FILE)) === undefined) {
    const [where, write] = [layout.nameOf(LAYOUT_FILE), { key: LAYOUT_FILE, content: LAYOUT_CONTENT }];
    yield { severity: 'cosmetic', kind: 'file-missing', where, what: 'not there', write };
  }
  const known = [LAYOUT_FILE, INDEX_FILE, BLOBS, SET_ASIDE];
  yield* wrongIn('', ({ name }) => known.includes(name) || name.startsWith(STAGING_PREFIX));
  if ((await layout.stat(BLOBS))?.kind !== 'folder') return;
  yield* wrongIn(BLOBS, ({ kind }) => kind === 'folder');
  for (const { name: algorithm, kind } of await layout.list(BLOBS))
    if (kind === 'folder')
      yield* wrongIn(
        `${BLOBS}/${algorithm}`,
        (blob) => blob.kind === 'file' && isDigest(`${algorithm}:${blob.name}`),
      );

  /** What is neither a file nor a folder, and what does not belong there. */
  async function* wrongIn(folder: string, belongs: (entry: Entry) => boolean): AsyncGenerator<Fault> {
    for (const entry of await layout.list(folder)) {
      const where = layout.nameOf(folder === '' ? entry.name : `${folder}/${entry.name}`);
      if (entry.kind === 'link' || entry.kind === 'other') yield irregular(where, entry.kind === 'link');
      else if (!belongs(entry)) yield stray(where);
    }
  }
}
