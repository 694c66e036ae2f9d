/**
 * Every way in which imgconv refuses or fails. The set is closed: the command line maps each code to an exit
 * status, and CONTRIBUTING documents them.
 */
export type ErrorCode =
  | 'USAGE' // the command's words are wrong
  | 'NAME_INVALID' // a reference that no registry or engine would take
  | 'NAME_MISSING' // an image that has no name and was given none
  | 'NAME_CONFLICT' // two sources with different digests for one target name
  | 'NOT_FOUND' // a reference or a place that is not there
  | 'FORMAT_UNKNOWN' // a path whose format cannot be told
  | 'FORMAT_UNSUPPORTED' // a version, media type or feature that the format or imgconv does not have
  | 'DIGEST_INVALID' // text that is not a digest
  | 'DIGEST_MISMATCH' // bytes that are not the ones their digest or size names
  | 'BLOB_MISSING' // a blob that a manifest names and the source lacks
  | 'MANIFEST_INVALID' // a manifest, index or config that breaks its specification
  | 'ARCHIVE_INVALID' // a tar that cannot be read, or whose entries contradict each other
  | 'PLATFORM_MISSING' // no image for a platform that was asked for
  | 'SOURCE_CHANGED' // a file that changed while it was read
  | 'NO_SPACE' // the target's file system is too small
  | 'IO' // any other failure of the file system
  | 'INTERRUPTED'; // SIGINT or SIGTERM

/** The one error class. `message` says what, where, expected and found; `hint` says what to do about it. */
export class ImgconvError extends Error {
  override readonly name = 'ImgconvError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** The error as an `ImgconvError`; a failed system call keeps its own words and its path. */
export function asImgconvError(error: unknown, where?: string): ImgconvError {
  if (error instanceof ImgconvError) return error;
  const cause = error instanceof Error ? error : new Error(String(error));
  const code = 'code' in cause ? String(cause.code) : '';
  const message = where === undefined ? cause.message : `${where}: ${cause.message}`;
  if (code === 'ENOSPC' || code === 'EDQUOT') return new ImgconvError('NO_SPACE', message, { cause });
  return new ImgconvError(code === 'ENOENT' ? 'NOT_FOUND' : 'IO', message, { cause });
}

/** True for a failed system call with one of these codes. */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
