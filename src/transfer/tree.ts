import { documentOf } from '../bytes/document.js';
import { localOf, shownName } from '../bytes/region.js';
import type { SourceImage } from '../formats/format.js';
import type { Descriptor } from '../model/descriptor.js';
import { ImgconvError } from '../model/errors.js';
import { MAX_MANIFEST } from '../model/json.js';
import { readTree as readGraph, type ManifestNode } from '../model/tree.js';
import { expectManifestSize, manifestName, readManifest } from '../proof/manifest.js';
import type { Pool } from '../threads/pool.js';
import { Cache } from './cache.js';

const trees = new Cache<ManifestNode>(64);

/** As `readTree`, once for all names that a manifest in one place has. */
export async function readSharedTree(source: SourceImage, pool: Pool): Promise<ManifestNode> {
  const at = await source.locate({ digest: source.digest }, 'manifest');
  const { digest, entry } = source;
  const said = `${digest} ${entry?.size ?? ''} ${entry?.mediaType ?? ''}`;
  const key = `${said} ${at?.kind === 'file' ? at.offset : ''} ${at?.path ?? source.where}`;
  return trees.get(pool, key, () => readTree(source));
}

/**
 * Reads an image's manifests, each proved against its digest. Members that the source lacks are `absent`; so are members
 * that cannot be read, if `onDamage` is given.
 * @throws ImgconvError BLOB_MISSING, DIGEST_MISMATCH, MANIFEST_INVALID, FORMAT_UNSUPPORTED
 */
export async function readTree(
  source: SourceImage,
  onDamage?: (member: Descriptor, error: unknown) => void,
): Promise<ManifestNode> {
  const { digest, entry, where } = source;
  const root = await readGraph(
    { digest, ...entry },
    async (wanted) => {
      const found = await source.locate(wanted, 'manifest');
      if (found === undefined) return undefined;
      const at = await documentOf(found, MAX_MANIFEST);
      const shown = shownName(at);
      expectManifestSize(at.size, shown);
      const read = async () => {
        const local = await localOf(at);
        return readManifest(local, wanted, manifestName(local, wanted, shown));
      };
      return { where: shown, size: at.size, read };
    },
    onDamage,
  );
  if (root === undefined)
    throw new ImgconvError('BLOB_MISSING', `${where}: its manifest ${digest} is not there`);
  return { ...root, descriptor: { ...root.descriptor, mediaType: root.manifest.mediaType } };
}
