import { lstatSync, statSync, type Stats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ImgconvError, isErrno, naming } from '../model/errors.js';

/** Undefined where there is nothing, also below what is no folder. */
function lookAt(path: string, look: typeof statSync): Stats | undefined {
  try {
    return naming(path, () => look(path, { throwIfNoEntry: false }));
  } catch (error) {
    if (error instanceof ImgconvError && isErrno(error.cause, 'ENOTDIR')) return undefined;
    throw error;
  }
}

/**
 * What is to be a folder may be there, or be made: not where something else is, and not below that.
 * @throws ImgconvError USAGE
 */
export function expectFolder(path: string): void {
  for (let at = resolve(path); ; at = dirname(at)) {
    const stat = lookAt(at, statSync);
    if (stat?.isDirectory() === true) return;
    if (stat === undefined && lookAt(at, lstatSync) === undefined) continue;
    const what =
      stat === undefined
        ? 'a link that leads nowhere'
        : stat.isFile()
          ? 'a file'
          : 'neither a file nor a folder';
    const where = at === resolve(path) ? 'there' : `at ${at}`;
    throw new ImgconvError('USAGE', `${path}: a folder is to be made or filled, and ${where} is ${what}`, {
      hint: 'give a folder, or a name that is not taken; single files are what docker-archive: and oci-archive: write',
    });
  }
}
