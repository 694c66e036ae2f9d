import { ImgconvError } from '../model/errors.js';
import { mayBeJson } from '../model/json.js';
import { headOf, type LocalBytes } from './region.js';

/** A whole document of at most `limit` bytes. @throws ImgconvError ARCHIVE_INVALID, MANIFEST_INVALID */
export function documentAt(at: LocalBytes, where: string, limit: number): Uint8Array {
  // Spools keep what may be a document.
  if (at.kind === 'dropped' && at.size <= limit && !mayBeJson(at.head))
    throw new ImgconvError('MANIFEST_INVALID', `${where}: not JSON`);
  if (at.size > limit || at.kind === 'dropped')
    throw new ImgconvError('ARCHIVE_INVALID', `${where} has ${at.size} bytes, more than ${limit}`);
  return headOf(at, at.size);
}
