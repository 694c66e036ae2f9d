import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { mkdirSync, renameSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';

/*
 * Files below ~/.cache/imgconv, or $XDG_CACHE_HOME/imgconv, where what V8 compiled lies too (bin/load.js). Nothing depends
 * on them: they may be gone, old, cut short or made up, and where they cannot be written, none is.
 */

/** Larger ones are neither read nor written. */
const MAX_SIZE = 128 * 1024 * 1024;
/** Of one kind; those that were written last stay. */
const MAX_FILES = 16;

/** A file about a place, in the cache of this user. */
export class UserCache {
  readonly #base: string | undefined;
  readonly #kind: string;
  readonly #name: string;

  /** `kind`: what the file's name ends in; `about`: the path of the place. */
  constructor(kind: string, about: string, { XDG_CACHE_HOME: cache, HOME: home } = process.env) {
    this.#base =
      cache?.startsWith('/') === true
        ? cache
        : home?.startsWith('/') === true
          ? join(home, '.cache')
          : undefined;
    this.#kind = kind;
    this.#name = `${createHash('sha256').update(about).digest('hex').slice(0, 32)}.${kind}`;
  }

  get #folder(): string | undefined {
    return this.#base && join(this.#base, 'imgconv');
  }

  /** Undefined where there is none, or none of this user's. */
  read(): string | undefined {
    if (this.#folder === undefined) return undefined;
    let fd: number | undefined;
    try {
      const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
      fd = openSync(join(this.#folder, this.#name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      const stat = fstatSync(fd);
      const isOurs = stat.isFile() && stat.uid === process.geteuid?.() && stat.size <= MAX_SIZE;
      return isOurs ? readFileSync(fd, 'utf8') : undefined;
    } catch {
      return undefined;
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  }

  /** Replaces it whole, or not at all. */
  write(text: string): void {
    if (this.#base === undefined || this.#folder === undefined || text.length > MAX_SIZE) return;
    const path = join(this.#folder, this.#name);
    const temporary = `${path}.${process.pid}.new`;
    try {
      if (!makeOwn(this.#base) || !makeOwn(this.#folder)) return;
      this.#removeOld(this.#folder);
      writeFileSync(temporary, text, { encoding: 'utf8', flag: 'wx', mode: 0o600 });
      renameSync(temporary, path);
    } catch {
      // Without it the next run takes longer, and that is all.
      removeQuietly(temporary);
    }
  }

  #removeOld(folder: string): void {
    const all = readdirSync(folder)
      .filter((name) => name.includes(`.${this.#kind}`) && name !== this.#name)
      .map((name) => ({ path: join(folder, name), written: lstatSync(join(folder, name)).mtimeMs }))
      .sort((a, b) => b.written - a.written);
    for (const { path } of all.slice(MAX_FILES - 1)) unlinkSync(path);
  }
}

/** False for another user's folder, as with `sudo -E`. @throws the system's error where it cannot be made */
function makeOwn(folder: string): boolean {
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (stat !== undefined) return stat.uid === process.geteuid?.();
  if (statSync(dirname(folder)).uid !== process.geteuid?.()) return false;
  mkdirSync(folder, { mode: 0o700 });
  return true;
}

function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // As above.
  }
}
