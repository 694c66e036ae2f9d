import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isErrno, type ImgconvError } from '../model/errors.js';

/** A failure for lack of permission: the message with the owner and who we are, and what helps. */
export interface Denied {
  readonly message: string;
  readonly hint: string;
}

/** Undefined for other failures. */
export function deniedBy(error: ImgconvError): Denied | undefined {
  const { cause } = error;
  if (!isErrno(cause, 'EACCES', 'EPERM')) return undefined;
  const place = /^(.*): (?:permission denied|operation not permitted)$/s.exec(error.message)?.[1];
  if (place === undefined) return undefined;
  const at = blockerOf(resolve(cause.path ?? place));
  const stat = statOf(at);
  if (stat === undefined) return undefined;
  const { uid, mode } = stat;
  const owner = `owner ${userText(uid)}, mode ${(mode & 0o7777).toString(8).padStart(4, '0')}; you are ${userText(process.geteuid?.() ?? -1)}`;
  const by = at === resolve(place) ? '' : ` by ${at}`;
  return {
    message: `${error.message}${by} (${owner})`,
    hint:
      cause.code === 'EPERM'
        ? `look at its attributes (lsattr -d ${at}) and at how its file system is mounted`
        : `fix the permissions of ${at}, or run this as ${uid === 0 ? 'root (sudo)' : 'a user who has them'}`,
  };
}

/** The deepest on the way that can be looked at: what is there, or the folder that denies to be entered or written. */
function blockerOf(path: string): string {
  return statOf(path) !== undefined || path === dirname(path) ? path : blockerOf(dirname(path));
}

function statOf(path: string) {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** `uid 0 (root)`, with the name where /etc/passwd has it. */
function userText(uid: number): string {
  try {
    const line = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find((one) => one.split(':')[2] === String(uid));
    if (line !== undefined) return `uid ${uid} (${line.split(':')[0] ?? ''})`;
  } catch {
    // The number alone has to do.
  }
  return `uid ${uid}`;
}
