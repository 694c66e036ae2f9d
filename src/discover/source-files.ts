import { lstatSync, realpathSync, statSync } from 'node:fs';
import { dirname, sep } from 'node:path';
import { ImgconvError } from '../model/errors.js';
import { Effort } from './effort.js';
import { readRegular, readText } from './text.js';

/** What lies at a path: `outside` of what was given, `other` than a file or a folder, or `missing`. */
export type Entry =
  | { readonly kind: 'file' | 'folder'; readonly real: string }
  | { readonly kind: 'outside' | 'other' | 'missing' };

/** What `--allow-outside` is for, in the words of findings. */
export const OUTSIDE = 'is outside the given paths: give its folder, or use --allow-outside';

/** Descriptors of this very process, such as a shell's `<(…)`. */
const OWN = /^\/(?:dev\/(?:fd\/\d+|stdin)|proc\/self\/fd\/\d+)$/;

/**
 * The files of a run. What files name is read only if it is a regular file that lies, links resolved, inside the paths
 * that the user gave: files come from strangers, and what they hold is printed and sent to registries.
 */
export class SourceFiles {
  readonly effort = new Effort();
  readonly #roots: readonly string[];
  readonly #read = new Set<string>();

  /** Of a path that is a file, its folder counts. Without roots all is inside. */
  constructor(paths: readonly string[], allowOutside: boolean) {
    this.#roots = allowOutside ? ['/'] : paths.flatMap(rootsOf);
  }

  entry(path: string): Entry {
    let real: string;
    try {
      real = realpathSync(path);
    } catch {
      return { kind: 'missing' };
    }
    if (!this.#isInside(real)) return { kind: 'outside' };
    const stat = lstatSync(real, { throwIfNoEntry: false });
    if (stat === undefined) return { kind: 'missing' };
    return stat.isFile()
      ? { kind: 'file', real }
      : stat.isDirectory()
        ? { kind: 'folder', real }
        : { kind: 'other' };
  }

  /** What the user named. */
  operand(path: string): string {
    return OWN.test(path) ? this.counted(path, readText(path)) : this.text(path);
  }

  isFile(path: string): boolean {
    return this.entry(path).kind === 'file';
  }

  /** @throws ImgconvError for what is not a regular file inside the given paths, or no text */
  text(path: string): string {
    const entry = this.entry(path);
    if (entry.kind === 'file') return this.counted(entry.real, readRegular(entry.real, path));
    const [code, what] = {
      folder: ['DOCUMENT_INVALID', 'a folder, not a file'],
      outside: ['DOCUMENT_INVALID', OUTSIDE],
      other: ['DOCUMENT_INVALID', 'not a regular file'],
      missing: ['NOT_FOUND', 'no such file or folder'],
    }[entry.kind] as ['DOCUMENT_INVALID' | 'NOT_FOUND', string];
    throw new ImgconvError(code, `${path}: ${what}`);
  }

  /** The text, which is of use to the run's effort the first time. */
  counted(key: string, text: string): string {
    if (!this.#read.has(key)) this.effort.allow(text.length);
    this.#read.add(key);
    return text;
  }

  #isInside(real: string): boolean {
    return this.#roots.some(
      (root) => real === root || real.startsWith(root.endsWith(sep) ? root : `${root}${sep}`),
    );
  }
}

/** The path itself, and of a file also its folder, where what it includes lies. */
function rootsOf(path: string): string[] {
  try {
    const real = realpathSync(path);
    return statSync(real).isDirectory() ? [real] : [real, realpathSync(dirname(path))];
  } catch {
    return []; // What cannot be found is said where it is looked for.
  }
}
