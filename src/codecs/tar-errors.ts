import { ImgconvError } from '../model/errors.js';
import type { TarEntry } from './tar-decode.js';

/** What may follow the end of an archive: tar pads to a record, some tools to far more, none to this. */
export const MAX_AFTER_END = 64 * 1024 * 1024;

export function within({ name, offset }: TarEntry): string {
  return `in ${name}, which begins at byte ${offset}`;
}

export function cutOff(archive: string, length: number, where: string): ImgconvError {
  return new ImgconvError('ARCHIVE_INVALID', `${archive}: cut off after ${length} bytes, ${where}`, {
    hint: 'the archive was not copied whole: fetch it again',
  });
}

export function notATar(archive: string, length: number): ImgconvError {
  return new ImgconvError('ARCHIVE_INVALID', `${archive}: not a tar, it has ${length} bytes`);
}

export function tooMuchAfter(archive: string): ImgconvError {
  return new ImgconvError('ARCHIVE_INVALID', `${archive}: more than ${MAX_AFTER_END} bytes after its end`);
}
