import { closeSync, fstatSync, openSync, readSync, realpathSync } from 'node:fs';
import { posix } from 'node:path';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import type { FileBytes } from './region.js';
import { TarDecoder, tarName, type TarEntry } from './tar-decode.js';
import { BLOCK, paddedSize } from './tar-header.js';

/** The kernel's own bound on a chain of symbolic links (path_resolution(7)). */
const MAX_LINKS = 40;
const MAX_ENTRIES = 1_000_000;

/** The members of an archive by name, and where their content lies. Names are keys, never paths. */
export class TarIndex {
  readonly path: string;
  readonly #entries = new Map<string, { entry: TarEntry; bytes: FileBytes | undefined }>();

  constructor(path: string) {
    this.path = path;
  }

  /** A later entry of the same name replaces an earlier one, as extracting would. */
  add(entry: TarEntry, bytes: FileBytes | undefined): void {
    if (entry.type === 'other')
      throw new ImgconvError(
        'ARCHIVE_INVALID',
        `${this.path}: ${entry.name} is neither a file, a folder nor a link`,
      );
    if (entry.name === '' || entry.type === 'directory') return;
    if (this.#entries.size >= MAX_ENTRIES)
      throw new ImgconvError('ARCHIVE_INVALID', `${this.path}: more than ${MAX_ENTRIES} entries`);
    this.#entries.set(entry.name, { entry, bytes });
  }

  has(name: string): boolean {
    return this.#entries.has(tarName(name));
  }

  /** All names, sorted. */
  names(): string[] {
    return [...this.#entries.keys()].sort();
  }

  /**
   * The content of a member, through links inside the archive; undefined when there is no such member.
   * @throws ImgconvError ARCHIVE_INVALID for links that loop or leave the archive, devices and the like
   */
  get(name: string): FileBytes | undefined {
    let at = tarName(name);
    for (let hops = 0; hops <= MAX_LINKS; hops++) {
      const found = this.#entries.get(at);
      if (found === undefined) {
        if (hops === 0) return undefined;
        throw new ImgconvError(
          'ARCHIVE_INVALID',
          `${this.path}: ${name} links to ${at}, which is not in the archive`,
        );
      }
      const { entry, bytes } = found;
      if (bytes !== undefined && entry.type === 'file') return bytes;
      // A hard link names a member; a symbolic link is relative to the folder that it lies in.
      const target = entry.type === 'link' ? entry.target : posix.join(posix.dirname(at), entry.target);
      if (entry.target.startsWith('/') || tarName(target).split('/').includes('..'))
        throw new ImgconvError(
          'ARCHIVE_INVALID',
          `${this.path}: ${name} links out of the archive, to ${entry.target}`,
        );
      at = tarName(target);
    }
    throw new ImgconvError('ARCHIVE_INVALID', `${this.path}: ${name} is a link that leads back to itself`);
  }
}

/** Reads an archive's headers in place, seeking over the contents. @throws ImgconvError ARCHIVE_INVALID */
export function indexTar(file: string): TarIndex {
  const path = realpathSync(file);
  const index = new TarIndex(file);
  const decoder = new TarDecoder(file);
  const fd = openSync(path, 'r');
  try {
    const length = fstatSync(fd).size;
    const read = (position: number, size: number): Uint8Array => {
      const into = Buffer.alloc(size);
      if (position + size > length) throw cutOff(file, position, length);
      readSync(fd, into, 0, size, position);
      return into;
    };
    let position = 0;
    while (position < length) {
      const step = decoder.block(read(position, BLOCK), position);
      if (step.kind === 'end') break;
      position += BLOCK;
      if (step.kind === 'extension') {
        decoder.extension(read(position, step.size));
        position += paddedSize(step.size);
        continue;
      }
      const { entry } = step;
      if (position + entry.size > length) throw cutOff(file, position, length, entry.name);
      const bytes = { kind: 'file', path, offset: entry.offset, size: entry.size, whole: false } as const;
      index.add(entry, entry.type === 'file' ? bytes : undefined);
      position += paddedSize(entry.size);
    }
    if (length < BLOCK)
      throw new ImgconvError('ARCHIVE_INVALID', `${file}: not a tar, it has ${length} bytes`);
    return index;
  } catch (error) {
    throw asImgconvError(error, file);
  } finally {
    closeSync(fd);
  }
}

function cutOff(file: string, position: number, length: number, name?: string): ImgconvError {
  const what =
    name === undefined ? `in the header at byte ${position}` : `in ${name}, which begins at byte ${position}`;
  return new ImgconvError('ARCHIVE_INVALID', `${file}: cut off after ${length} bytes, ${what}`, {
    hint: 'the archive was not copied whole: fetch it again',
  });
}
