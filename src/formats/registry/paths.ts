import { join } from 'node:path';
import { isFolder } from '../../bytes/there.js';
import { algorithmOf, hexOf, type Digest } from '../../model/digest.js';
import { join as keyIn, type Storage } from '../../storage/driver.js';

/*
 * The storage of a Distribution registry (distribution v2.8.3 registry/storage/paths.go):
 *
 *   <root> = …/docker/registry/v2
 *     blobs/<alg>/<2 hex>/<hex>/data                            every blob, manifests too
 *     repositories/<repository>/
 *       _layers/<alg>/<hex>/link                                configs and layers that the repository may serve
 *       _manifests/revisions/<alg>/<hex>/link                   manifests, and each child of an index
 *       _manifests/tags/<tag>/index/<alg>/<hex>/link            every manifest that the tag ever named
 *       _manifests/tags/<tag>/current/link                      the one that it names
 *       _uploads/…                                              unfinished pushes
 *
 * A link holds a digest, without a newline. Keys are those of the storage at <root>.
 */

/** Where the storage root can be below what the user gave, or what that lies in. */
const ROOTS = ['docker/registry/v2', 'registry/v2', 'v2', ''];

/** What files are called that hold a digest. */
export const LINK_NAME = 'link';

/** The storage at its root below, at or within the one given; where there is none yet, where it is to be. @throws ImgconvError IO for a link */
export async function rootOf(storage: Storage): Promise<Storage> {
  for (const root of ROOTS) {
    for (const name of [REPOSITORIES, BLOBS])
      if (await hasFolder(storage, keyIn(root, name))) return storage.below(root);
  }
  return storage.below('docker/registry/v2');
}

/** Old archives of engines have a file of that name. @throws ImgconvError IO for a link */
async function hasFolder(storage: Storage, key: string): Promise<boolean> {
  const kind = (await storage.stat(key))?.kind;
  if (kind === 'link') await storage.list(key);
  return kind === 'folder';
}

export function isRoot(root: Storage): Promise<boolean> {
  return hasFolder(root, REPOSITORIES);
}

/** As `rootOf` and `isRoot`, for a path. */
export function recognisesRegistry(path: string): boolean {
  if (!isFolder(path)) return false;
  for (const root of ROOTS)
    for (const name of [REPOSITORIES, BLOBS])
      if (isFolder(join(path, root, name), path)) return isFolder(join(path, root, REPOSITORIES), path);
  return false;
}

/* Of thousands of images there are tens of thousands of paths: they are put together, and not normalised each. */

function byDigest(folder: string, digest: Digest): string {
  return `${folder}/${algorithmOf(digest)}/${hexOf(digest)}`;
}

export function blobPath(digest: Digest): string {
  const hex = hexOf(digest);
  return `${BLOBS}/${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}/data`;
}

export const REPOSITORIES = 'repositories';

export function repositoryPath(repository: string): string {
  return `${REPOSITORIES}/${repository}`;
}

function manifestsPath(repository: string): string {
  return `${repositoryPath(repository)}/_manifests`;
}

export function tagsPath(repository: string): string {
  return `${manifestsPath(repository)}/tags`;
}

export function revisionsPath(repository: string): string {
  return `${manifestsPath(repository)}/revisions`;
}

export function layersPath(repository: string): string {
  return `${repositoryPath(repository)}/_layers`;
}

export function layerLink(repository: string, digest: Digest): string {
  return `${byDigest(layersPath(repository), digest)}/link`;
}

export function uploadsPath(repository: string): string {
  return `${repositoryPath(repository)}/_uploads`;
}

export const BLOBS = 'blobs';

export function revisionLink(repository: string, digest: Digest): string {
  return `${byDigest(revisionsPath(repository), digest)}/link`;
}

export function tagIndexPath(repository: string, tag: string): string {
  return `${tagsPath(repository)}/${tag}/index`;
}

export function tagIndexLink(repository: string, tag: string, digest: Digest): string {
  return `${byDigest(tagIndexPath(repository, tag), digest)}/link`;
}

export function tagLink(repository: string, tag: string): string {
  return `${tagsPath(repository)}/${tag}/current/link`;
}
