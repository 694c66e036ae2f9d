import { lstatSync, readlinkSync, realpathSync } from 'node:fs';
import { ImgconvError, isErrno } from '../model/errors.js';
import { openExactly, type OpenFile } from './open-file.js';

/** Symbolic links on the way to one file, as Linux allows (path_resolution(7)). */
const MAX_LINKS = 40;
/** Folders that are remembered. */
const MAX_KNOWN = 4096;

/**
 * The files of an unpacked layer, in a folder that stands for the root of their file system. Its symbolic links belong
 * to the image: those on the way to a file are followed as if the folder were `/`, so that none leads out of it.
 * Names are bytes, one character for each (latin1).
 */
export class Inside {
  readonly #folder: string;
  readonly #root: string;
  /** Where folders are, without links, by their names in the layer. */
  readonly #known = new Map<string, string>();

  /** @throws the system's error when there is no such folder */
  constructor(folder: string) {
    this.#folder = folder;
    this.#root = realpathSync(folder, { encoding: 'buffer' }).toString('latin1');
  }

  /** For messages. */
  shown(name: string): string {
    return `${this.#folder}/${Buffer.from(cleaned(name), 'latin1').toString()}`;
  }

  /** A regular file, itself no link. @throws ImgconvError NOT_FOUND, IO */
  open(name: string): OpenFile {
    const clean = cleaned(name);
    const slash = clean.lastIndexOf('/');
    const folder = this.#folderOf(slash < 0 ? '' : clean.slice(0, slash), name);
    return openExactly(this.#path(join(folder, clean.slice(slash + 1))), this.shown(name));
  }

  #path(place: string): Buffer {
    return Buffer.from(join(this.#root, place), 'latin1');
  }

  #folderOf(folder: string, name: string): string {
    const known = this.#known.get(folder);
    if (known !== undefined) return known;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    const real = this.#resolve(folder, name);
    this.#known.set(folder, real);
    return real;
  }

  #resolve(folder: string, name: string): string {
    const left = folder.split('/').reverse();
    const done: string[] = [];
    let links = 0;
    for (let part = left.pop(); part !== undefined; part = left.pop()) {
      if (part === '' || part === '.') continue;
      if (part === '..') {
        done.pop();
        continue;
      }
      const target = linkAt(this.#path([...done, part].join('/')));
      if (target === undefined) {
        done.push(part);
        continue;
      }
      if (++links > MAX_LINKS)
        throw new ImgconvError('IO', `${this.shown(name)}: more than ${MAX_LINKS} symbolic links on the way`);
      if (target.startsWith('/')) done.length = 0;
      left.push(...target.split('/').reverse());
    }
    return done.join('/');
  }
}

/** A name as tar-split has it, without `.`, `..` and repeated slashes: `a//b/../c` is `a/c` (Go path.Clean below the root). */
function cleaned(name: string): string {
  const parts: string[] = [];
  for (const part of name.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

function join(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`;
}

/** What a symbolic link holds; undefined for anything else, and for what is not there. */
function linkAt(path: Buffer): string | undefined {
  try {
    if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return undefined;
    return readlinkSync(path, { encoding: 'buffer' }).toString('latin1');
  } catch (error) {
    if (isErrno(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}
