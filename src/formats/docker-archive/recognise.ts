import { resolved } from '../../bytes/files.js';
import { packingOf } from '../../codecs/open-tar.js';
import { indexFile } from '../../codecs/tar-file.js';
import { MANIFEST, REPOSITORIES } from '../../model/oci-layout.js';

/** Packed archives are taken for docker's: what is in them shows when they are read, and OCI layouts are read too. */
export function recognisesArchive(path: string): boolean {
  if (resolved(path)?.kind !== 'file') return false;
  if (packingOf(path) !== 'none') return true;
  try {
    const index = indexFile(path);
    return index.has(MANIFEST) || index.has(REPOSITORIES);
  } catch {
    return false;
  }
}
