import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  rmSync,
  type BigIntStats,
} from 'node:fs';
import { ImgconvError } from '../model/errors.js';
import { fileIdOf, sameFile, type FileId } from './file-id.js';
import { makeFolderOf } from './folder.js';

/** Links a file that was hashed before. */
export interface LinkJob {
  readonly kind: 'link';
  readonly path: string;
  readonly proven: FileId;
  readonly to: string;
}

/** The system's answer to link(2), or to a clone. */
export interface Unlinked {
  readonly code: string;
  readonly message: string;
}

/** In place of the system's answer, for a file whose owner or mode must not get into a place. */
export const NOT_ORDINARY = 'NOT_ORDINARY';

/**
 * A link has the owner and mode of its file. They are ordinary when nobody but this user and root may change the file:
 * it is owned by one of them, others may not write to it, nor a group but this user's own, and it has no set-user-ID,
 * set-group-ID or sticky bit.
 */
function isOrdinary({ uid, gid, mode }: BigIntStats): boolean {
  const [own, group] = [BigInt(process.geteuid?.() ?? 0), BigInt(process.getegid?.() ?? 0)];
  const groupMay = (mode & 0o020n) === 0n || gid === group || gid === 0n;
  return (uid === own || uid === 0n) && (mode & 0o7002n) === 0n && groupMay;
}

/** Links the file that was hashed, and no other. @throws ImgconvError SOURCE_CHANGED */
export function linkProven({ path, proven, to }: LinkJob): Unlinked | undefined {
  makeFolderOf(to);
  try {
    linkSync(path, to);
  } catch (error) {
    return answerOf(error);
  }
  const stat = lstatSync(to, { bigint: true });
  const isSame = sameFile(proven, fileIdOf(stat));
  if (isSame && isOrdinary(stat)) return undefined;
  rmSync(to);
  if (isSame) return { code: NOT_ORDINARY, message: `${path}: its owner or mode is not to be linked` };
  throw new ImgconvError('SOURCE_CHANGED', `${path}: replaced or written to after it was verified`);
}

/** Makes a new file that shares the blocks of another, with the mode of any new file. */
export function cloneFile(path: string, to: string): Unlinked | undefined {
  makeFolderOf(to);
  const mode = makeFile(to);
  try {
    copyFileSync(path, to, constants.COPYFILE_FICLONE_FORCE);
    // That of the source came with it.
    chmodSync(to, mode);
    return undefined;
  } catch (error) {
    removeFile(to);
    return answerOf(error);
  }
}

/** An empty new file; gives the mode that it has. */
function makeFile(path: string): number {
  const fd = openSync(path, 'wx', 0o644);
  try {
    return fstatSync(fd).mode & 0o777;
  } finally {
    closeSync(fd);
  }
}

function answerOf(error: unknown): Unlinked {
  if (!(error instanceof Error) || !('code' in error)) throw error;
  return { code: String(error.code), message: error.message };
}

/** Removes what was made and turned out wrong, if it is there. */
export function removeFile(path: string): void {
  rmSync(path, { force: true });
}
