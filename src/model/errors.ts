import { voiced } from './voice.js';

/**
 * Every way in which imgconv refuses or fails. The set is closed: the command line maps each code to an exit
 * status, and `imgconv help report` documents them.
 */
export type ErrorCode =
  | 'USAGE' // the command's words are wrong
  | 'NAME_INVALID' // a reference that no registry or engine would take
  | 'NAME_MISSING' // an image that has no name and was given none
  | 'NAME_CONFLICT' // two sources with different digests for one target name
  | 'NOT_FOUND' // a reference or a place that is not there
  | 'FORMAT_UNKNOWN' // a path whose format is not recognized
  | 'FORMAT_UNSUPPORTED' // a version, media type or feature that the format or imgconv does not have
  | 'DIGEST_INVALID' // text that is not a digest
  | 'DIGEST_MISMATCH' // bytes that do not match their digest or size
  | 'BLOB_MISSING' // a blob that a manifest names and the source lacks
  | 'MANIFEST_INVALID' // a manifest, index or config that breaks its specification
  | 'DOCUMENT_INVALID' // a YAML, JSON or text file of the user's that cannot be read as what it should be
  | 'ARCHIVE_INVALID' // a tar that cannot be read, or whose entries contradict each other
  | 'PLATFORM_MISSING' // no image for a platform that was asked for
  | 'SOURCE_CHANGED' // a file that changed while it was read
  | 'NO_SPACE' // the target's file system is too small
  | 'IO' // any other failure of the file system
  | 'NETWORK' // a registry that cannot be reached, or whose answer broke off
  | 'UNAUTHORIZED' // a registry that does not let us in
  | 'REGISTRY' // a registry that answers with an error, or not as the protocol says
  | 'INTERRUPTED'; // SIGINT or SIGTERM

/** The one error class. `message` says what, where, expected and found; `hint` says what to do about it. */
export class ImgconvError extends Error {
  override readonly name = 'ImgconvError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(voiced(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint === undefined ? undefined : voiced(options.hint);
  }
}

/** `1 layer`, `2 layers`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** What failed system calls mean to a person. */
const SYSTEM: Record<string, readonly [code: ErrorCode, message: string, hint?: string]> = {
  ENOENT: ['NOT_FOUND', 'no such file or folder'],
  EACCES: ['IO', 'permission denied'],
  EPERM: ['IO', 'operation not permitted'],
  ENOSPC: ['NO_SPACE', 'no space left on the file system'],
  EDQUOT: ['NO_SPACE', 'the disk quota is used up'],
  EROFS: [
    'IO',
    'the file system is read-only',
    'mount it read-write or choose another target, then run this again: finished images stay',
  ],
  EPIPE: [
    'IO',
    'the program that reads the output ended early',
    'look at the messages of that program, then run this again',
  ],
  EXDEV: ['IO', 'not on the same file system'],
  ENOTDIR: ['IO', 'not a folder, or something on the way to it is not'],
  EISDIR: ['IO', 'a folder, not a file'],
  EMFILE: ['IO', 'too many open files'],
  ENAMETOOLONG: ['IO', 'the name is too long for the file system'],
  EIO: ['IO', 'the disk failed to read or write (input/output error)'],
};

/** The error as an `ImgconvError`; `where` says what was at work when the error itself does not name a file. */
export function asImgconvError(error: unknown, where?: string): ImgconvError {
  if (error instanceof ImgconvError) return error;
  // `await using` makes it of two errors; the first one is why the other came.
  if (error instanceof Error && error.name === 'SuppressedError' && 'suppressed' in error)
    return asImgconvError(error.suppressed, where);
  const cause: NodeJS.ErrnoException = error instanceof Error ? error : new Error(String(error));
  const known = SYSTEM[cause.code ?? ''];
  // Of unfinished work (storage/staging.ts) only the place matters that it lies in.
  const place = (cause.path ?? where)?.replace(/\/\.imgconv-.*$/s, '');
  if (known !== undefined) {
    const [code, message, hint] = known;
    return new ImgconvError(code, `${place === undefined ? '' : `${place}: `}${message}`, {
      cause,
      ...(hint !== undefined && { hint }),
    });
  }
  return new ImgconvError('IO', where === undefined ? cause.message : `${where}: ${cause.message}`, {
    cause,
  });
}

/** What `work` does with the open file of this path, which the system's own errors do not name. */
export function naming<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asImgconvError(error, path);
  }
}

/** True for a failed system call with one of these codes. @internal */
export function isErrno(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
