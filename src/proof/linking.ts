import { NOT_ORDINARY, type Unlinked } from '../bytes/link.js';
import { ImgconvError } from '../model/errors.js';

/** How a blob that is a file of its own gets into its place: `auto` tries the three in this order. */
export type LinkMode = 'auto' | 'hard' | 'reflink' | 'copy';
export type Placement = 'linked' | 'reflinked' | 'copied' | 'moved' | 'fetched';

/** A file system or mount that cannot link or clone here; EMLINK: an inode has all the links it can have. */
const CANNOT_LINK = [
  'EXDEV',
  'EPERM',
  'EMLINK',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'EINVAL',
  'EACCES',
  'ENOTTY',
];

/** Passes when `mode` allows another way to place a file that could not be linked. @throws ImgconvError IO */
export function expectOtherWay(
  { code, message }: Unlinked,
  how: 'hard' | 'reflink',
  mode: LinkMode,
  path: string,
): void {
  if (code === NOT_ORDINARY || (mode === 'auto' && CANNOT_LINK.includes(code))) return;
  throw cannotLink(how, path, message);
}

/** For bytes that are in no file. @throws ImgconvError IO when `mode` asks for a link */
export function expectCopies(mode: LinkMode, path: string): void {
  if (mode === 'hard' || mode === 'reflink') throw cannotLink(mode, path, 'it is not a file on this machine');
}

function cannotLink(how: 'hard' | 'reflink', path: string, why: string): ImgconvError {
  return new ImgconvError('IO', `${path}: no ${how} link can be made: ${why}`, {
    hint: '--link auto falls back to copying',
  });
}
