import type { TarIndex } from '../codecs/tar-index.js';
import { isDigest } from '../model/digest.js';
import { INDEX_FILE, LAYOUT_FILE } from '../model/oci-layout.js';
import { NOTHING_OF_ITS_OWN, stray, type Audit, type Fault } from './audit.js';
import type { StoredBlob } from './blob-store.js';

/** Of a layout in an archive: members that are no part of it and that `others` does not account for. */
export function archiveAudit(index: TarIndex, others: (name: string) => Fault | 'known' | undefined): Audit {
  return {
    ...NOTHING_OF_ITS_OWN,
    *ofPlace() {
      for (const name of index.names()) {
        if (name === INDEX_FILE || name === LAYOUT_FILE || digestIn(name) !== undefined) continue;
        const fault = others(name) ?? stray(`${index.path}: ${name}`);
        if (fault !== 'known') yield fault;
      }
    },
    *blobs(): Generator<Omit<StoredBlob, 'key'>> {
      for (const name of index.names()) {
        const digest = digestIn(name);
        const size = digest === undefined ? undefined : index.get(name)?.size;
        if (digest === undefined || size === undefined) continue;
        yield { digest, path: `${index.path}: ${name}`, size, changed: 0, links: 1 };
      }
    },
  };
}

/** The digest of a blob of a layout, by its name. */
function digestIn(name: string) {
  const [, algorithm = '', hex = ''] = /^blobs\/(\w+)\/([0-9a-f]+)$/.exec(name) ?? [];
  const digest = `${algorithm}:${hex}`;
  return isDigest(digest) ? digest : undefined;
}
