import { basename, resolve } from 'node:path';
import { annotationsSchema } from '../../model/descriptor.js';
import { layoutName } from '../../model/oci-layout.js';
import { repositoryKey, splitReference } from '../../model/reference.js';
import type { Storage } from '../../storage/driver.js';
import type { Removal } from '../removal.js';
import { changeIndex } from './index-file.js';

/** Entries of index.json go; names are compared as they are chosen, whatever their host. */
export function removeFromLayout(layout: Storage): Removal {
  const ownName = basename(resolve(layout.name));
  const drop = async (isDropped: (name: string, digest: unknown) => boolean): Promise<boolean> => {
    const transaction = layout.begin();
    let count = 0;
    try {
      await changeIndex(layout, transaction, (index) => {
        const manifests = index.manifests.filter((entry) => {
          const annotations = annotationsSchema.safeParse(entry['annotations']).data;
          const dropped = isDropped(layoutName({ annotations }, ownName) ?? '', entry['digest']);
          if (dropped) count++;
          return !dropped;
        });
        return Promise.resolve(count === 0 ? undefined : { ...index, manifests });
      });
    } finally {
      transaction.close();
    }
    return count > 0;
  };
  const isIn = (name: string, repository: string) => repositoryKey(name) === repositoryKey(repository);
  return {
    tag: (repository, tag) => drop((name) => isIn(name, repository) && splitReference(name).tag === tag),
    manifest: (repository, digest) =>
      drop((name, other) => other === digest && (name === '' || repository === '' || isIn(name, repository))),
    close: () => Promise.resolve(),
  };
}
