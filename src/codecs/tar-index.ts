import { posix } from 'node:path';
import type { LocalBytes } from '../bytes/region.js';
import { ImgconvError } from '../model/errors.js';
import { tarName, type TarMember } from './tar-decode.js';
import { cutOff } from './tar-errors.js';

/** The kernel's own bound on a chain of symbolic links (path_resolution(7)). */
const MAX_LINKS = 40;
/** A thousand images of fifty layers, each with the files of old, have two thirds of it. */
const MAX_ENTRIES = 300_000;
/** Of all names and link targets, in characters: compressed, a gigabyte of them takes a megabyte. */
const MAX_NAMES = 128 * 1024 * 1024;

/** The members of an archive by name, and where their content lies. Names are keys, never paths. */
export class TarIndex {
  readonly path: string;
  /** Where the archive ended without its end mark; undefined when it has one. */
  endedAt: number | undefined;
  readonly #members = new Map<string, { member: TarMember; bytes: LocalBytes | undefined }>();
  #count = 0;
  #names = 0;

  constructor(path: string) {
    this.path = path;
  }

  /** A later member of the same name replaces an earlier one, as extracting would. `bytes` are those of a file. */
  add(member: TarMember, bytes: LocalBytes | undefined): void {
    const { name, type, target } = member;
    if (type === 'other') throw this.#invalid(`${name} is neither a file, a folder nor a link`);
    // Also those that are not kept: each takes its time.
    if (++this.#count > MAX_ENTRIES) throw this.#invalid(`more than ${MAX_ENTRIES} entries`);
    if ((this.#names += name.length + target.length) > MAX_NAMES)
      throw this.#invalid(`names of more than ${MAX_NAMES} characters`);
    if (name !== '' && type !== 'directory') this.#members.set(name, { member, bytes });
  }

  /** The error to give when a member is not there: an archive that has no end mark was probably cut off. */
  absent(what: string): ImgconvError {
    if (this.endedAt === undefined) return new ImgconvError('FORMAT_UNKNOWN', `${this.path}: ${what}`);
    return cutOff(this.path, this.endedAt, `before its end mark; ${what}`);
  }

  has(name: string): boolean {
    return this.#members.has(tarName(name));
  }

  /** All names, sorted. */
  names(): string[] {
    return [...this.#members.keys()].sort();
  }

  /**
   * The content of a member, through links inside the archive; undefined when there is no such member.
   * @throws ImgconvError ARCHIVE_INVALID for links that loop or leave the archive
   */
  get(name: string): LocalBytes | undefined {
    let at = tarName(name);
    for (let hops = 0; hops <= MAX_LINKS; hops++) {
      const found = this.#members.get(at);
      if (found === undefined) {
        if (hops === 0) return undefined;
        throw this.#invalid(`${name} links to ${at}, which is not in the archive`);
      }
      const { member, bytes } = found;
      if (bytes !== undefined) return bytes;
      // A hard link names a member; a symbolic link is relative to the folder that it lies in.
      const target = member.type === 'link' ? member.target : posix.join(posix.dirname(at), member.target);
      if (member.target.startsWith('/') || tarName(target).split('/').includes('..'))
        throw this.#invalid(`${name} links out of the archive, to ${member.target}`);
      at = tarName(target);
    }
    throw this.#invalid(`${name} is a link that leads back to itself`);
  }

  #invalid(what: string): ImgconvError {
    return new ImgconvError('ARCHIVE_INVALID', `${this.path}: ${what}`);
  }
}
