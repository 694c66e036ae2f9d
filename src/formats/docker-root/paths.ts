import { isFolder } from '../../bytes/there.js';
import { recognisesContainerd } from '../containerd-store.js';
import { hexOf, type Digest } from '../../model/digest.js';

/*
 * The data root of a Docker engine with a graph driver (moby image/fs.go, layer/filestore.go, reference/store.go):
 *
 *   <root>/
 *     image/<driver>/
 *       repositories.json                              names → image IDs
 *       imagedb/content/sha256/<image ID>              configs
 *       imagedb/metadata/sha256/<image ID>/parent      of images of the classic builder: the step before
 *       layerdb/sha256/<chainID>/
 *         diff                                         the diffID
 *         cache-id                                     the name of the folder with its files
 *         tar-split.json.gz                            all of its tar but the bodies of files
 *     overlay2/<cache-id>/diff/                        the files of a layer; of vfs: of it and those below
 *     vfs/dir/<cache-id>/
 *     containerd/daemon/                               with the containerd image store (Docker 23 and later) all of it is there
 */

/** Where a driver keeps the files of a layer. */
const FOLDERS = {
  overlay2: (cacheId: string) => `overlay2/${cacheId}/diff`,
  vfs: (cacheId: string) => `vfs/dir/${cacheId}`,
} as const;

export type Driver = keyof typeof FOLDERS;

export function isDriver(name: string): name is Driver {
  return Object.hasOwn(FOLDERS, name);
}

export const IMAGE = 'image';
/** The engine's own containerd, and the namespace of Docker in it. */
export const CONTAINERD = 'containerd/daemon';
export const NAMESPACE = 'moby';

export function filesPath(driver: Driver, cacheId: string): string {
  return FOLDERS[driver](cacheId);
}

export function repositoriesPath(driver: Driver): string {
  return `${IMAGE}/${driver}/repositories.json`;
}

export function configsPath(driver: Driver): string {
  return `${IMAGE}/${driver}/imagedb/content/sha256`;
}

export function configPath(driver: Driver, imageId: Digest): string {
  return `${configsPath(driver)}/${hexOf(imageId)}`;
}

export function parentPath(driver: Driver, imageId: Digest): string {
  return `${IMAGE}/${driver}/imagedb/metadata/sha256/${hexOf(imageId)}/parent`;
}

export function layerPath(driver: Driver, chainId: Digest, file: 'cache-id' | 'tar-split.json.gz'): string {
  return `${IMAGE}/${driver}/layerdb/sha256/${hexOf(chainId)}/${file}`;
}

/** Databases that a running engine has open (moby volume/service/db.go, libnetwork/datastore). */
export const DATABASES = [
  'volumes/metadata.db',
  'network/files/local-kv.db',
  `${CONTAINERD}/io.containerd.metadata.v1.bolt/meta.db`,
];

/** The root of the engine's own containerd. @throws ImgconvError IO for a link below the root */
export function containerdIn(root: string): string | undefined {
  const store = `${root}/${CONTAINERD}`;
  return isFolder(store, root) && recognisesContainerd(store) ? store : undefined;
}

/** True for a folder with the images of a graph driver, or of the containerd store of an engine. */
export function recognisesDataRoot(path: string): boolean {
  if (!isFolder(path)) return false;
  if (containerdIn(path) !== undefined) return true;
  return Object.keys(FOLDERS).some((driver) => isFolder(`${path}/${IMAGE}/${driver}`, path));
}
