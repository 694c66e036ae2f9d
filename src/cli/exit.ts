import type { ErrorCode, ImgconvError } from '../model/errors.js';

/** A code without an exit status does not compile. */
export const EXIT: Record<ErrorCode, number> = {
  USAGE: 2,
  NAME_INVALID: 1,
  NAME_MISSING: 1,
  NAME_CONFLICT: 1,
  NOT_FOUND: 1,
  FORMAT_UNKNOWN: 1,
  FORMAT_UNSUPPORTED: 1,
  DIGEST_INVALID: 1,
  DIGEST_MISMATCH: 1,
  BLOB_MISSING: 1,
  MANIFEST_INVALID: 1,
  ARCHIVE_INVALID: 1,
  PLATFORM_MISSING: 1,
  SOURCE_CHANGED: 1,
  NO_SPACE: 1,
  IO: 1,
  INTERRUPTED: 130,
};

/** Control characters in names from images must not reach a terminal. */
export function printable(text: string): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f]/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** The error in two lines: what happened, and what to do about it. */
export function errorText({ message, hint }: ImgconvError): string {
  return `${printable(message)}\n${hint === undefined ? '' : `  ${printable(hint)}\n`}`;
}
