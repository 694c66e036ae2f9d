import {
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmdirSync,
  unlinkSync,
  type Dirent,
  type Stats,
} from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { ImgconvError, isErrno } from '../model/errors.js';

/*
 * What lies below a place's root is reached without following a symbolic link: whoever may write there could otherwise
 * lead a reader, a writer or a deletion to any folder of the machine. The root itself is what the user named, and may be
 * a link or lie below one. Node has no openat(2). Reading looks at each folder on the way (`expectPlain`), and what is
 * read then is proved by its digest, but for small documents. What is renamed or deleted is reached from an open folder
 * (`Descent`), so that a folder that is replaced at the same moment leads nowhere else.
 */

/** What stands where a folder or a regular file should be. */
export function notPlain(path: string, stat: Stats, root: string, expected: 'folder' | 'file'): ImgconvError {
  if (stat.isSymbolicLink())
    return new ImgconvError('IO', `${path}: is a symbolic link; imgconv follows none below ${root}`, {
      hint: 'give the real folder or a copy made with cp -rL, or move the data with a bind mount',
    });
  return new ImgconvError('IO', `${path}: not a ${expected === 'folder' ? 'folder' : 'regular file'}`);
}

/** A folder that was looked at is not looked at again for so long. */
const REMEMBERED_MS = 1000;
/** So many folders of one root are remembered. */
const REMEMBERED = 4096;

interface Root {
  /** What all paths below it begin with: of `./d` it is `d/`, of `.` nothing. */
  readonly prefix: string;
  /** When folders were seen to be folders. */
  readonly seen: Map<string, number>;
  /** What real paths below it begin with, once that was asked. */
  real: string | undefined;
}

/** So many roots are remembered: a program that lives long may open thousands. */
const ROOTS = 256;

const roots = new Map<string, Root>();

function knownRoot(path: string): Root {
  const known = roots.get(path);
  if (known !== undefined) return known;
  if (roots.size >= ROOTS) roots.clear();
  const root = { prefix: join(path, '_').slice(0, -1), seen: new Map<string, number>(), real: undefined };
  roots.set(path, root);
  return root;
}

export function prefixBelow(root: string): string {
  return knownRoot(root).prefix;
}

/** The path below the root. @throws TypeError when it is not below it */
export function placeBelow(root: string, path: string): string {
  const prefix = prefixBelow(root);
  const plain = prefix !== '' && path.startsWith(prefix) ? path : normalize(path);
  if (!plain.startsWith(prefix)) throw new TypeError(`${path} is not in ${root}`);
  return plain.slice(prefix.length);
}

/**
 * Every folder between the root and the last part of `path` is a folder, as far as there are any. A path that ends in a
 * slash is a folder's, which is then looked at too.
 * @throws ImgconvError IO for a symbolic link, a file or a device in the place of one
 */
export function expectPlain(root: string, path: string): void {
  const { prefix, seen } = knownRoot(root);
  const now = Date.now();
  const isKnown = (folder: string) => (seen.get(folder) ?? 0) > now - REMEMBERED_MS;
  if (isKnown(path.slice(0, path.lastIndexOf('/')))) return;
  const whole = prefix + placeBelow(root, path);
  if (seen.size > REMEMBERED) seen.clear();
  for (let end = whole.indexOf('/', prefix.length); end !== -1; end = whole.indexOf('/', end + 1)) {
    const folder = whole.slice(0, end);
    if (isKnown(folder)) continue;
    const stat = lstatSync(folder, { throwIfNoEntry: false });
    if (stat === undefined) return;
    if (!stat.isDirectory()) throw notPlain(folder, stat, root, 'folder');
    seen.set(folder, now);
  }
}

/** So many folders in one are remembered when it is read; those of a larger one would take the places of all others. */
const REMEMBERED_AT_ONCE = 512;

/** A folder that was looked at has these entries: `readdir` gave their types, so that folders need no look of their own. */
export function rememberPlain(root: string, folder: string, entries: readonly Dirent[]): void {
  const { seen } = knownRoot(root);
  if (entries.length > REMEMBERED_AT_ONCE) return;
  if (seen.size > REMEMBERED) seen.clear();
  const now = Date.now();
  for (const entry of entries) if (entry.isDirectory()) seen.set(`${folder}/${entry.name}`, now);
}

/** The open files of this process as paths (proc(5)); without it a folder can be looked at only before it is used. */
const DESCRIPTORS = '/proc/self/fd';
const hasDescriptors = existsSync(DESCRIPTORS);

/**
 * The open file of `path` lies below the root without a link on the way. The system is asked where it does lie, which
 * costs less than a look at each folder.
 * @throws ImgconvError IO
 */
export function expectOpened(fd: number, root: string, path: string): void {
  if (hasDescriptors) {
    const known = knownRoot(root);
    known.real ??= join(realpathSync(root), '_').slice(0, -1);
    if (readlinkSync(`${DESCRIPTORS}/${fd}`) === known.real + placeBelow(root, path)) return;
  }
  // It was moved or deleted meanwhile, or lies behind a link.
  expectPlain(root, path);
}

/** The open file is the one at this path, reached without a link. @throws ImgconvError IO when a folder on the way was replaced */
export function expectOpenedAt(fd: number, path: Buffer, shown: string): void {
  if (!hasDescriptors) return;
  if (readlinkSync(`${DESCRIPTORS}/${fd}`, { encoding: 'buffer' }).equals(path)) return;
  throw new ImgconvError(
    'SOURCE_CHANGED',
    `${shown}: a folder on the way to it was replaced while it was opened`,
  );
}

const OPEN_FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

interface Step {
  readonly name: string;
  readonly fd: number;
}

/**
 * Stands in a folder below a root, and reached it from the root through open folders. Paths that it gives mean the very
 * folder that was opened, whatever takes its name later.
 */
export class Descent {
  readonly #root: string;
  readonly #prefix: string;
  readonly #steps: Step[] = [];

  constructor(root: string) {
    this.#root = root;
    this.#prefix = prefixBelow(root);
  }

  /** For messages. */
  #shown(names: readonly string[]): string {
    return this.#prefix + names.join('/');
  }

  #open(path: string, shown: string, flags: number): number {
    try {
      return openSync(path, flags);
    } catch (error) {
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (isErrno(error, 'ENOTDIR', 'ELOOP') && stat !== undefined && !stat.isDirectory())
        throw notPlain(shown, stat, this.#root, 'folder');
      throw withPath(error, shown);
    }
  }

  /** The top of the steps as a path. */
  #here(): string {
    const top = this.#steps.at(-1);
    if (top !== undefined && hasDescriptors) return `${DESCRIPTORS}/${top.fd}`;
    return this.#shown(this.#steps.slice(1).map(({ name }) => name)) || '.';
  }

  /**
   * The folder at a place below the root, '' for the root itself, as a path for the calls that follow until another
   * folder is asked for. With `make` it is made, and those on the way.
   * @throws ImgconvError IO for a link; the system's error when there is none
   */
  folder(place: string, make = false): string {
    const names = place === '' || place === '.' ? [] : place.split('/');
    if (names.includes('..')) throw new TypeError(`${place} is not below ${this.#root}`);
    let same = 0;
    while (same < names.length && this.#steps[same + 1]?.name === names[same]) same++;
    this.#leave(same + 1);
    if (this.#steps.length === 0)
      this.#steps.push({
        name: '',
        fd: this.#open(this.#root, this.#root, OPEN_FOLDER & ~constants.O_NOFOLLOW),
      });
    for (const [i, name] of names.entries()) {
      if (i < same) continue;
      const path = `${this.#here()}/${name}`;
      const shown = this.#shown(names.slice(0, i + 1));
      if (make) makeFolder(path, shown);
      this.#steps.push({ name, fd: this.#open(path, shown, OPEN_FOLDER) });
    }
    return this.#here();
  }

  /** A path for the last part of a place, in its folder. */
  path(place: string, make = false): string {
    const folder = dirname(place);
    return `${this.folder(folder === '.' ? '' : folder, make)}/${place.slice(place.lastIndexOf('/') + 1)}`;
  }

  /** Gives `from` this name. @throws the system's error */
  rename(from: string, place: string, make = false): void {
    renameSync(from, this.path(place, make));
  }

  /** Deletes what is no folder; a link itself. @throws the system's error */
  unlink(place: string): void {
    const path = this.path(place);
    shownAs(this.#prefix + place, () => {
      unlinkSync(path);
    });
  }

  /** Deletes an empty folder. @throws the system's error */
  rmdir(place: string): void {
    const path = this.path(place);
    shownAs(this.#prefix + place, () => {
      rmdirSync(path);
    });
  }

  /** Deletes whatever is there, with all that is in it; links are deleted, and what they lead to is not touched. */
  remove(place: string): void {
    try {
      const stat = lstatSync(this.path(place), { throwIfNoEntry: false });
      if (stat === undefined) return;
      if (!stat.isDirectory()) {
        this.unlink(place);
        return;
      }
      for (const name of readdirSync(this.folder(place))) this.remove(`${place}/${name}`);
      this.rmdir(place);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error; // Another process deletes the same.
    }
  }

  #leave(depth: number): void {
    while (this.#steps.length > depth) {
      const step = this.#steps.pop();
      if (step === undefined) return;
      try {
        closeSync(step.fd);
      } catch (error) {
        // Nothing was written by way of it, so nothing is lost (close(2)).
        if (!isErrno(error, 'EIO', 'EINTR', 'ENOSPC', 'EDQUOT')) throw error;
      }
    }
  }

  [Symbol.dispose](): void {
    this.#leave(0);
  }
}

/** Deletes whatever is there, unless a link leads to it. @throws the system's error */
export function removeBelow(root: string, path: string): void {
  try {
    using descent = new Descent(root);
    descent.remove(placeBelow(root, path));
  } catch (error) {
    if (!(error instanceof ImgconvError)) throw error;
  }
}

function makeFolder(path: string, shown: string): void {
  try {
    mkdirSync(path);
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw withPath(error, shown);
  }
}

/** Names the file in place of the descriptor's path. */
function withPath(error: unknown, shown: string): unknown {
  return error instanceof Error && 'path' in error ? Object.assign(error, { path: shown }) : error;
}

function shownAs(shown: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    throw withPath(error, shown);
  }
}
