import { statSync } from 'node:fs';
import { join } from 'node:path';
import { notPlain } from '../../bytes/below.js';
import { lookAt } from '../../bytes/region.js';
import { algorithmOf, hexOf, type Digest } from '../../model/digest.js';

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
 * A link holds a digest, without a newline.
 */

/** The storage root below, at or within `path`; where there is none yet, the place it is to have. @throws ImgconvError IO for a link */
export function rootOf(path: string): string {
  for (const below of ['docker/registry/v2', 'registry/v2', 'v2', '.']) {
    const root = join(path, below);
    if (isFolder(join(root, 'repositories'), path) || isFolder(join(root, 'blobs'), path)) return root;
  }
  return join(path, 'docker/registry/v2');
}

/** Old archives of engines have a file of that name. @throws ImgconvError IO for a link */
function isFolder(path: string, place: string): boolean {
  const stat = lookAt(path, place);
  if (stat?.isSymbolicLink() === true) throw notPlain(path, stat, place, 'folder');
  return stat?.isDirectory() === true;
}

export function isRoot(root: string): boolean {
  return isFolder(repositoriesPath(root), root);
}

export function recognisesRegistry(path: string): boolean {
  return statSync(path).isDirectory() && isRoot(rootOf(path));
}

/* Of thousands of images there are tens of thousands of paths: they are put together, and not normalised each. */

function byDigest(folder: string, digest: Digest): string {
  return `${folder}/${algorithmOf(digest)}/${hexOf(digest)}`;
}

export function blobPath(root: string, digest: Digest): string {
  const hex = hexOf(digest);
  return `${blobsPath(root)}/${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}/data`;
}

export function repositoriesPath(root: string): string {
  return `${root}/repositories`;
}

export function repositoryPath(root: string, repository: string): string {
  return `${repositoriesPath(root)}/${repository}`;
}

function manifestsPath(root: string, repository: string): string {
  return `${repositoryPath(root, repository)}/_manifests`;
}

export function tagsPath(root: string, repository: string): string {
  return `${manifestsPath(root, repository)}/tags`;
}

export function revisionsPath(root: string, repository: string): string {
  return `${manifestsPath(root, repository)}/revisions`;
}

export function layersPath(root: string, repository: string): string {
  return `${repositoryPath(root, repository)}/_layers`;
}

export function layerLink(root: string, repository: string, digest: Digest): string {
  return `${byDigest(layersPath(root, repository), digest)}/link`;
}

export function uploadsPath(root: string, repository: string): string {
  return `${repositoryPath(root, repository)}/_uploads`;
}

export function blobsPath(root: string): string {
  return `${root}/blobs`;
}

export function revisionLink(root: string, repository: string, digest: Digest): string {
  return `${byDigest(revisionsPath(root, repository), digest)}/link`;
}

export function tagIndexPath(root: string, repository: string, tag: string): string {
  return `${tagsPath(root, repository)}/${tag}/index`;
}

export function tagIndexLink(root: string, repository: string, tag: string, digest: Digest): string {
  return `${byDigest(tagIndexPath(root, repository, tag), digest)}/link`;
}

export function tagLink(root: string, repository: string, tag: string): string {
  return `${tagsPath(root, repository)}/${tag}/current/link`;
}
