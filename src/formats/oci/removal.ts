import { basename, resolve } from 'node:path';
import { annotationsSchema } from '../../model/descriptor.js';
import { layoutName } from '../../model/oci-layout.js';
import { splitReference } from '../../model/reference.js';
import type { Storage } from '../../storage/driver.js';
import type { Removal } from '../removal.js';
import { changeIndex } from './index-file.js';

/** Entries of index.json go. A manifest without a name may be listed in the repository of its subject. */
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
  return {
    tag: (repository, tag) => drop((name) => name === `${repository}:${tag}`),
    manifest: (repository, digest) =>
      drop((name, other) => other === digest && (name === '' || splitReference(name).name === repository)),
    close: () => Promise.resolve(),
  };
}
