import { ImgconvError } from '../model/errors.js';
import { mayBeJson } from '../model/json.js';
import { firstOf } from './chunks.js';
import { openRegular } from './open-file.js';
import { headOf, type Bytes, type LocalBytes, type RemoteBytes } from './region.js';

/**
 * A whole document of at most `limit` bytes. A file is read as it is when it is opened: an engine at work replaces its
 * files by new ones of another size. @throws ImgconvError ARCHIVE_INVALID, MANIFEST_INVALID
 */
export function documentAt(at: LocalBytes, where: string, limit: number): Uint8Array {
  // Spools keep what may be a document.
  if (at.kind === 'dropped' && at.size <= limit && !mayBeJson(at.head))
    throw new ImgconvError('MANIFEST_INVALID', `${where}: not JSON`);
  if (at.size > limit || at.kind === 'dropped') throw tooLarge(where, at.size, limit);
  if (at.kind !== 'file' || !at.whole) return headOf(at, at.size);
  using file = openRegular(at.path);
  const size = Number(file.id.size);
  if (size > limit) throw tooLarge(where, size, limit);
  const bytes = new Uint8Array(size);
  file.fill(bytes, 0);
  return bytes;
}

export function tooLarge(where: string, size: number, limit: number): ImgconvError {
  return new ImgconvError('ARCHIVE_INVALID', `${where} has ${size} bytes, more than ${limit}`);
}

/** Where a document is; rebuilt bytes are put together in memory, no more of them than one above `limit`. */
export async function documentOf(at: Bytes, limit: number): Promise<LocalBytes | RemoteBytes> {
  if (at.kind !== 'rebuilt') return at;
  const bytes = await firstOf(at, limit + 1);
  return { kind: 'memory', path: at.path, size: bytes.length, bytes };
}
