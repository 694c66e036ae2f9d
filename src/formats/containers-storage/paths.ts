import { homedir } from 'node:os';
import { pathExists } from '../../bytes/files.js';
import { isFolder, isThere } from '../../bytes/there.js';
import type { PlaceText } from '../format.js';

/*
 * The storage of podman, buildah, skopeo and CRI-O (containers/storage images.go, layers.go):
 *
 *   <root>/
 *     <driver>-images/images.json                      images: id, names, digest, top layer, names of their documents
 *     <driver>-images/<id>/manifest                    the manifest
 *     <driver>-images/<id>/=<base64 of the name>       other documents: the config by its digest, further manifests
 *     <driver>-layers/layers.json                      layers: id, parent, diffID; absent while there are none
 *     <driver>-layers/volatile-layers.json             those that go with the machine's next start
 *     <driver>-layers/<id>.tar-split.gz                all of a layer's tar but the bodies of files
 *     overlay/<id>/diff/                               the files of a layer; of vfs: of it and those below
 *     vfs/dir/<id>/
 */

const FOLDERS = {
  overlay: (id: string) => `overlay/${id}/diff`,
  vfs: (id: string) => `vfs/dir/${id}`,
} as const;

export type Driver = keyof typeof FOLDERS;

export function isDriver(name: string): name is Driver {
  return Object.hasOwn(FOLDERS, name);
}

export function filesPath(driver: Driver, id: string): string {
  return FOLDERS[driver](id);
}

export function imagesPath(driver: Driver): string {
  return `${driver}-images/images.json`;
}

export function layerLists(driver: Driver): string[] {
  return [`${driver}-layers/layers.json`, `${driver}-layers/volatile-layers.json`];
}

export function recordPath(driver: Driver, id: string): string {
  return `${driver}-layers/${id}.tar-split.gz`;
}

/** A document of an image; simple names stand for themselves (containers/storage images.go, `makeBigDataBaseName`). */
export function documentPath(driver: Driver, imageId: string, name: string): string {
  const file = /^[A-Za-z0-9.-]+$/.test(name) ? name : `=${Buffer.from(name).toString('base64')}`;
  return `${driver}-images/${imageId}/${file}`;
}

/** The drivers of which there are images. */
export function driversIn(root: string): Driver[] {
  return Object.keys(FOLDERS)
    .filter(isDriver)
    .filter((driver) => isThere(`${root}/${imagesPath(driver)}`, root));
}

export function recognisesStorage(path: string): boolean {
  return isFolder(path) && driversIn(path).length > 0;
}

/** Where storage is unless it is said (containers-storage.conf(5), `graphroot` and `rootless_storage_path`). */
function defaultRoot(): string {
  if (process.getuid?.() === 0) return '/var/lib/containers/storage';
  const { XDG_DATA_HOME: data } = process.env;
  return `${data === undefined || data === '' ? `${homedir()}/.local/share` : data}/containers/storage`;
}

/**
 * As skopeo has it, `[[DRIVER@]ROOT[+RUNROOT][:OPTIONS]]NAME` with a name or an ID (containers-transports(5)); also a
 * path alone, which no name begins with.
 */
export function splitStorage(text: string): PlaceText {
  const [, driver, root, name = text] =
    /^\[(?:([a-z0-9-]*)@)?([^\]+]*?)(?:\+[^\]]*)?(?::[^\]/]*)?\](.*)$/s.exec(text) ?? [];
  if (root !== undefined)
    return {
      path: root === '' ? defaultRoot() : root,
      part: driver || undefined,
      reference: referenceOf(name),
    };
  if (pathExists(text)) return { path: text };
  if (!/^[./]/.test(text)) return { path: defaultRoot(), reference: referenceOf(text) };
  for (let at = text.lastIndexOf(':'); at > 0; at = text.lastIndexOf(':', at - 1))
    if (pathExists(text.slice(0, at)))
      return { path: text.slice(0, at), reference: referenceOf(text.slice(at + 1)) };
  return { path: text };
}

/** `@ID` and IDs of at least 12 digits choose images without a name. */
function referenceOf(name: string): string | undefined {
  if (name === '') return undefined;
  const id = /^(?:[^@]*@)?([0-9a-f]{12,64})$/.exec(name)?.[1];
  return id === undefined ? name : `sha256:${id}`;
}
