import type { Storage } from '../../storage/driver.js';
import { PATIENCE, type Removal } from '../removal.js';
import { revisionLink, rootOf, tagLink, tagsPath } from './paths.js';
import { readLink } from './walk.js';

export async function removeFromRegistry(storage: Storage): Promise<Removal> {
  const root = await rootOf(storage);
  const tagFolder = (repository: string, tag: string) => `${tagsPath(repository)}/${tag}`;
  return {
    tag: async (repository, tag) => {
      if ((await root.stat(tagLink(repository, tag))) === undefined) return false;
      await root.withoutWriters(PATIENCE, async (deletion) => {
        await deletion.folder(tagFolder(repository, tag));
        await deletion.flush();
      });
      return true;
    },
    manifest: async (repository, digest) => {
      const link = revisionLink(repository, digest);
      if ((await root.stat(link)) === undefined) return false;
      await root.withoutWriters(PATIENCE, async (deletion) => {
        for (const { name: tag } of await root.list(tagsPath(repository)))
          if ((await readLink(root, tagLink(repository, tag))) === digest)
            await deletion.folder(tagFolder(repository, tag));
        await deletion.file(link, true);
        await deletion.flush();
      });
      return true;
    },
    close: () => Promise.resolve(),
  };
}
