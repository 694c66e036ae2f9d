import { dirname, sep } from 'node:path';
import { readRegularText, readText, resolved } from '../bytes/files.js';
import { isThere } from '../bytes/there.js';
import { ImgconvError, naming } from '../model/errors.js';
import { Effort } from './effort.js';

/** What is at a path: `outside` of the given paths, `other` than a file or a folder, or `missing`. */
export type Entry =
  | { readonly kind: 'file' | 'folder'; readonly real: string }
  | { readonly kind: 'outside' | 'other' | 'missing' };

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

  /** The root of a path that is a file is its folder. */
  constructor(paths: readonly string[], allowOutside: boolean) {
    this.#roots = allowOutside ? ['/'] : paths.flatMap(rootsOf);
  }

  entry(path: string): Entry {
    const found = resolved(path);
    if (found === undefined) return { kind: 'missing' };
    const { kind, real } = found;
    if (!this.#isInside(real)) return { kind: 'outside' };
    return kind === 'other' ? { kind } : { kind, real };
  }

  /** Why what is at this path must not be read; undefined for files and folders, and for nothing. */
  refusal(path: string): string | undefined {
    const { kind } = this.entry(path);
    return kind === 'outside' ? OUTSIDE : kind === 'other' ? 'is not a regular file' : undefined;
  }

  /** What the user named. */
  operand(path: string): string {
    return OWN.test(path) ? this.counted(path, readText(path)) : this.text(path);
  }

  /** @throws ImgconvError for what is not a regular file inside the given paths, or no text */
  text(path: string): string {
    const entry = this.entry(path);
    if (entry.kind === 'file') return this.counted(entry.real, readRegularText(entry.real, path));
    if (entry.kind === 'missing') {
      naming(path, () => isThere(path)); // A folder on the way may not be open to us.
      throw new ImgconvError('NOT_FOUND', `${path}: no such file or folder`);
    }
    const what = { folder: 'a folder, not a file', outside: OUTSIDE, other: 'not a regular file' };
    throw new ImgconvError('DOCUMENT_INVALID', `${path}: ${what[entry.kind]}`);
  }

  /** The text; the first time, its length adds to the effort that the run may make. */
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

/** The path itself, and of a file also its folder, where what it includes lies. A missing path is reported where it is read. */
function rootsOf(path: string): string[] {
  const found = resolved(path);
  if (found === undefined) return [];
  const folder = found.kind === 'folder' ? undefined : resolved(dirname(path));
  return [found.real, ...(folder === undefined ? [] : [folder.real])];
}
