import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { indexFile, openTar, packingOf } from '../../io/tar-index.js';
import { INDEX_FILE, ownNameOf } from '../../model/oci-layout.js';
import { archiveAudit } from '../archive-audit.js';
import type { Format } from '../format.js';
import { layoutImages, readLayout } from '../layout.js';
import { LayoutTarWriter } from '../layout-tar.js';
import { ListingReader } from '../listing.js';
import { noImages } from '../no-images.js';

function recognises(path: string): boolean {
  try {
    return statSync(path).isFile() && packingOf(path) === 'none' && indexFile(path).has(INDEX_FILE);
  } catch {
    return false; // No tar.
  }
}

/** An OCI layout (formats/oci/paths.ts draws it) in a tar, as skopeo's `oci-archive:` and buildx's `type=oci` write it. */
export const ociArchive: Format = {
  prefix: 'oci-archive',
  short: 'ocitar',
  title: 'an OCI image layout in a tar',
  operand: 'FILE',
  recognises,
  open: async (path, { spool }) => {
    const files = await openTar(path, spool);
    if (!files.has(INDEX_FILE)) throw noImages(files);
    const entries = readLayout(files);
    async function* images() {
      await Promise.resolve();
      yield* layoutImages(files, entries, ownNameOf(basename(path)), false);
    }
    return new ListingReader(
      images,
      archiveAudit(files, () => undefined),
    );
  },
  create: (path, context) => Promise.resolve(new LayoutTarWriter(path, context, false)),
  heap: undefined,
  traits: {
    dropsHost: false,
    takesPort: true,
    holdsSignatures: false,
    uncompressedByNature: false,
    compressesSaved: false,
    remote: false,
    sequential: true,
    takesSparse: true,
  },
};
