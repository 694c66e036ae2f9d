import { isDigest } from '../../model/digest.js';
import { splitReference } from '../../model/reference.js';
import type { Storage } from '../../storage/driver.js';
import { PATIENCE, type Removal } from '../removal.js';
import { openDir } from './read.js';
import { imagePath, MANIFEST } from './paths.js';
import { join } from '../../storage/driver.js';

/** The folder of an image goes, with all that is in it. */
export function removeFromTree(tree: Storage): Removal {
  const drop = async (folders: readonly string[]): Promise<boolean> => {
    if (folders.length === 0) return false;
    await tree.withoutWriters(PATIENCE, async (deletion) => {
      for (const folder of folders) await deletion.folder(folder);
      await deletion.flush();
    });
    return true;
  };
  return {
    tag: async (repository, tag) => {
      const folder = imagePath({ repository, tag });
      return drop((await tree.bytes(join(folder, MANIFEST))) === undefined ? [] : [folder]);
    },
    manifest: async (repository, digest) => {
      const folders: string[] = [];
      for await (const image of (await openDir(tree)).images({ untagged: true })) {
        const { name, tag, digest: named } = splitReference(image.name ?? '');
        if (!('digest' in image) || image.digest !== digest || name !== repository) continue;
        if (tag !== undefined) folders.push(imagePath({ repository, tag }));
        else if (named !== undefined && isDigest(named))
          folders.push(imagePath({ repository, digest: named }));
      }
      return drop(folders);
    },
    close: () => Promise.resolve(),
  };
}
