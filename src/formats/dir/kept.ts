import type { Reference } from '../../model/reference.js';
import { join, type Storage } from '../../storage/driver.js';
import { STAGING_PREFIX } from '../../storage/staging.js';
import type { KeptManifests, ManifestFile, ManifestFolder } from '../kept-manifests.js';
import { blobPath, MANIFEST, memberPath } from './paths.js';
import { readImage } from './read.js';
import { MAX_DEPTH } from './walk.js';

/**
 * The manifests of a tree, or of the folder of its only image. Some tools write them anew in the folder that is there,
 * which changes no other: the time of each manifest.json is looked at.
 */
export function keptInTree(
  tree: Storage,
  folderOf: (name: Reference) => string,
  single: string | undefined,
): KeptManifests {
  const found = new Map<string, readonly ManifestFile[]>();
  const imageIn = (folder: string, id: string) => join(folder, nameIn(id));
  async function* below(folder: string, depth: number): AsyncGenerator<ManifestFolder> {
    const names = (await tree.list(folder).catch(() => []))
      .filter(({ name, kind }) => kind === 'folder' && !name.startsWith(STAGING_PREFIX))
      .map(({ name }) => name)
      .filter((name) => single === undefined || name === single);
    const times = await tree.times(names.map((name) => join(join(folder, name), MANIFEST)));
    const files = names.flatMap((name, i) => {
      const changed = times[i] ?? 0;
      if (changed === 0) return [];
      return { id: idOf(name, changed), key: join(join(folder, name), MANIFEST), digest: undefined };
    });
    found.set(folder, files);
    if (files.length > 0) yield { key: folder, changed: 0 };
    if (single !== undefined || depth > MAX_DEPTH) return;
    for (const [i, name] of names.entries()) if (times[i] === 0) yield* below(join(folder, name), depth + 1);
  }
  return {
    storage: tree,
    folders: () => below('', 0),
    filesIn: (folder) => Promise.resolve(found.get(folder) ?? []),
    blobKey: (folder, id, digest) => blobPath(imageIn(folder, id), digest),
    memberKey: (folder, id, digest) => memberPath(imageIn(folder, id), digest),
    image: (folder, id) => readImage(tree, imageIn(folder, id), undefined),
    async named(name) {
      const folder = folderOf(name);
      return (await tree.bytes(join(folder, MANIFEST))) && readImage(tree, folder, undefined);
    },
  };
}

/** The name of an image's folder, and when its manifest was written. */
function idOf(name: string, changed: number): string {
  return `${encodeURIComponent(name)}@${changed}`;
}

function nameIn(id: string): string {
  return decodeURIComponent(id.slice(0, id.lastIndexOf('@')));
}
