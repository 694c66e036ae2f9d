import { join } from 'node:path';
import { resolved } from '../bytes/files.js';
import { namesIn } from '../bytes/folder.js';
import { packingOf } from '../codecs/open-tar.js';
import { indexFile } from '../codecs/tar-file.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import type { Format } from './format.js';
import { noImages } from './no-images.js';

/** So many entries of a folder are looked at for a better place, and so many of those named. */
const LOOKED_AT = 50;
const NAMED = 3;
/** Where engines keep images on a machine whose disk is mounted. */
const ENGINES = ['var/lib/docker', 'var/lib/containerd', 'var/lib/containers/storage'];

/** Why an existing path is of none of these formats: what is wrong with a file, which could only be an archive; or what a folder holds. */
export function unrecognised(path: string, formats: readonly Format[]): ImgconvError {
  if (resolved(path)?.kind !== 'folder') return whyNoArchive(path);
  const kinds = formats.filter(({ traits }) => !traits.sequential).map(({ prefix }) => `${prefix}:`);
  return new ImgconvError('FORMAT_UNKNOWN', `${path}: a folder, and neither ${kinds.join(' nor ')}`, {
    hint: whatIn(path, formats),
  });
}

function whatIn(folder: string, formats: readonly Format[]): string {
  const names = namesIn(folder, folder);
  if (names.includes('manifest.json'))
    return `an archive of docker save that was unpacked? pack it again: tar -cf ARCHIVE.tar -C ${folder} .`;
  const within = names
    .slice(0, LOOKED_AT)
    .map((name) => join(folder, name))
    .concat(ENGINES.map((below) => join(folder, below)))
    .filter((one) => formats.some((format) => looksLike(format, one)));
  const more = within.length > NAMED ? ` and ${within.length - NAMED} more` : '';
  if (within.length > 0)
    return `there are images in ${within.slice(0, NAMED).join(', ')}${more}: give one of them`;
  return "a registry's storage holds docker/registry/v2, a layout index.json, skopeo's directories manifest.json; imgconv help rescue says where engines keep images";
}

function whyNoArchive(path: string): ImgconvError {
  try {
    packingOf(path);
    return noImages(indexFile(path));
  } catch (error) {
    return asImgconvError(error, path);
  }
}

/** As `recognises`; false for what cannot be looked at, which says so itself when it is opened. */
export function looksLike(format: Format, path: string): boolean {
  try {
    return format.recognises(path);
  } catch {
    return false;
  }
}
