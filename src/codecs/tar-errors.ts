import { ImgconvError } from '../model/errors.js';
import { NO_TAR } from './tar-header.js';
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
  if (length > 0)
    return new ImgconvError('ARCHIVE_INVALID', `${archive}: not a tar, it has ${length} bytes`, NO_TAR);
  return archive === 'stdin'
    ? new ImgconvError('ARCHIVE_INVALID', 'stdin: nothing came through the pipe', {
        hint: 'the command before the | wrote nothing: look at its own messages, then run both again',
      })
    : new ImgconvError('ARCHIVE_INVALID', `${archive}: the file is empty`, {
        hint: 'whatever was to write it failed: fetch or save it again',
      });
}

export function tooMuchAfter(archive: string): ImgconvError {
  return new ImgconvError('ARCHIVE_INVALID', `${archive}: more than ${MAX_AFTER_END} bytes after its end`);
}
