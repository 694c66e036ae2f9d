import type { Reference } from '../../model/reference.js';
import { join, type Storage } from '../../storage/driver.js';
import type { KeptManifests } from '../kept-manifests.js';
import { blobPath, MANIFEST } from './paths.js';
import { readImage } from './read.js';
import { walk } from './walk.js';

/**
 * The manifests of a tree, each image's in its own folder; or of the folder of its only image. Whoever changes an image
 * writes its manifest.json anew.
 */
export function keptInTree(
  tree: Storage,
  folderOf: (name: Reference) => string,
  single: string | undefined,
): KeptManifests {
  return {
    storage: tree,
    async *folders() {
      for await (const { folder, changed } of walk(tree, single))
        if (changed !== undefined) yield { key: folder, changed };
    },
    async filesIn(folder) {
      const entries = await tree.list(folder);
      return entries
        .filter(({ name }) => name === MANIFEST || name.endsWith(`.${MANIFEST}`))
        .map(({ name }) => ({ name, key: join(folder, name), digest: undefined }));
    },
    blobKey: blobPath,
    image: (folder) => readImage(tree, folder, folder === '' || folder === single ? undefined : folder),
    async named(name) {
      const folder = folderOf(name);
      return (await tree.bytes(join(folder, MANIFEST))) && readImage(tree, folder, undefined);
    },
  };
}
