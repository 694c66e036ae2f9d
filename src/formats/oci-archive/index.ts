import { packingOf } from '../../codecs/open-tar.js';
import { indexFile } from '../../codecs/tar-file.js';
import { INDEX_FILE } from '../../model/oci-layout.js';
import type { Format } from '../format.js';

function recognises(path: string): boolean {
  try {
    return packingOf(path) === 'none' && indexFile(path).has(INDEX_FILE);
  } catch {
    return false; // No tar.
  }
}

/** An OCI layout (formats/oci/paths.ts draws it) in a tar, as skopeo's `oci-archive:` and buildx's `type=oci` write it. */
export const ociArchive: Format = {
  prefix: 'oci-archive',
  short: 'ocitar',
  title: 'an OCI archive (an image layout in a tar)',
  operand: 'FILE',
  recognises,
  open: async (path, context) => (await import('./read.js')).openLayoutArchive(path, context),
  create: async (path, context) =>
    new (await import('../layout-tar.js')).LayoutTarWriter(path, context, false),
  blobStore: undefined,
  remove: undefined,
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
