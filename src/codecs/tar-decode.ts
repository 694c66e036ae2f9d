import { ImgconvError } from '../model/errors.js';
import { BLOCK, decodeTarHeader, textOf } from './tar-header.js';

/** PAX and GNU extension records are held in memory; no sound archive comes near this. */
const MAX_EXTENSION = 1024 * 1024;
const MAX_NAME = 4096;
/** Extended headers before one entry: one of each kind is all that tools write. */
const MAX_EXTENSIONS = 16;

/** A member of an archive. */
export interface TarMember {
  /** Without leading `./` and `/`, doubled or trailing slashes. */
  readonly name: string;
  readonly type: 'file' | 'link' | 'symlink' | 'directory' | 'other';
  /** As written, for links. */
  readonly target: string;
}

/** A member and its content: `size` bytes from `offset`. */
export interface TarEntry extends TarMember {
  readonly offset: number;
  readonly size: number;
}

/** What the caller does after it gave a header block. */
export type TarStep =
  | { readonly kind: 'entry'; readonly entry: TarEntry }
  /** Read `size` bytes (padded to blocks) and give them to `extension`. */
  | { readonly kind: 'extension'; readonly size: number }
  | { readonly kind: 'end' };

/** `./a//b/` → `a/b`. */
export function tarName(name: string): string {
  return name
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
}

/** What extended headers say of the next entry. */
interface Extra {
  readonly path?: string;
  readonly linkpath?: string;
  readonly size?: number;
}

/**
 * Reads headers, block by block, with what PAX (POSIX.1-2001 pax "Extended Header") and GNU records say of the next
 * entry. Records hold for the next entry that is not itself a record, so that no size can hide an entry in another's
 * content. An archive of images in which tar readers find different members is refused; a layer is taken as Go's
 * archive/tar takes it.
 */
export class TarDecoder {
  readonly #where: string;
  readonly #isLayer: boolean;
  #pending: 'pax' | 'global' | 'path' | 'link' | undefined;
  #pax: Extra = {};
  #gnu: Extra = {};
  #extensions = 0;

  constructor(where: string, { layer = false } = {}) {
    this.#where = where;
    this.#isLayer = layer;
  }

  /** `position` is that of the block in the archive, for messages and `TarEntry.offset`. */
  block(block: Uint8Array, position: number): TarStep {
    const header = decodeTarHeader(block, `${this.#where}: at byte ${position}`);
    if (header === undefined) return { kind: 'end' };
    // GNU's long names of before 1.13; tar-stream takes one for the next entry's, other readers for a file.
    if (header.flag === 'N' && !this.#isLayer)
      throw this.#invalid(`the entry at byte ${position} is of type N, which is not supported`);
    const kind = EXTENSIONS[header.flag];
    if (kind !== undefined) {
      if (header.size > MAX_EXTENSION)
        throw this.#invalid(`the extended header at byte ${position} has ${header.size} bytes`);
      // tar-stream 3.2.2 takes content of the next entry for that of an empty extended header.
      if (header.size === 0 && !this.#isLayer)
        throw this.#invalid(`the extended header at byte ${position} is empty`);
      if (++this.#extensions > MAX_EXTENSIONS)
        throw this.#invalid(`more than ${MAX_EXTENSIONS} extended headers before byte ${position}`);
      this.#pending = kind;
      return { kind: 'extension', size: header.size };
    }
    const [pax, gnu] = [this.#pax, this.#gnu];
    this.#pax = this.#gnu = {};
    this.#extensions = 0;
    // An empty value stands for none (POSIX).
    const name = pax.path || gnu.path || header.name;
    if (name.length > MAX_NAME)
      throw this.#invalid(`the entry at byte ${position} has a name of ${name.length} characters`);
    const target = pax.linkpath || gnu.linkpath || header.target;
    if (target.length > MAX_NAME)
      throw this.#invalid(`the link at byte ${position} has a target of ${target.length} characters`);
    if (!this.#isLayer && (differ(pax.path, gnu.path) || differ(pax.linkpath, gnu.linkpath)))
      throw this.#invalid(`the entry at byte ${position} has one path in PAX, another in GNU's records`);
    const type = typeOf(header.flag, name);
    const size = pax.size ?? header.size;
    // Links and directories have no content whatever their size field says (POSIX ustar), but not all readers know it.
    const hasContent = type === 'file' || type === 'other';
    if (!this.#isLayer && size > 0 && !hasContent && header.flag !== '5')
      throw this.#invalid(`the entry at byte ${position} is a ${type} with a size of ${size}`);
    return {
      kind: 'entry',
      entry: { name: tarName(name), type, target, offset: position + BLOCK, size: hasContent ? size : 0 },
    };
  }

  extension(content: Uint8Array): void {
    const kind = this.#pending;
    this.#pending = undefined;
    if (kind === 'path') this.#gnu = { ...this.#gnu, path: textOf(content) };
    if (kind === 'link') this.#gnu = { ...this.#gnu, linkpath: textOf(content) };
    if (kind === 'pax') this.#pax = this.#extraOf(content);
    // Go's archive/tar passes over global records; other readers apply them to all entries that follow.
    if (kind === 'global' && !this.#isLayer && Object.keys(this.#extraOf(content)).length > 0)
      throw this.#invalid('a global PAX record gives all members one path, target or size');
  }

  /** Records are `<length> <key>=<value>\n`, the length counting itself. */
  #extraOf(content: Uint8Array): Extra {
    const extra: { path?: string; linkpath?: string; size?: number } = {};
    for (let at = 0; at < content.length;) {
      const space = content.indexOf(0x20, at);
      const digits = space < 0 ? '' : Buffer.from(content.subarray(at, space)).toString('latin1');
      const length = /^[1-9][0-9]{0,9}$/.test(digits) ? Number(digits) : 0;
      const end = at + length;
      const record = Buffer.from(content.subarray(space + 1, end - 1)).toString();
      const equals = record.indexOf('=');
      if (length === 0 || end > content.length || end <= space + 1 || equals < 0)
        throw this.#invalid('a PAX record is malformed');
      const key = record.slice(0, equals);
      const value = record.slice(equals + 1);
      if (key === 'path' || key === 'linkpath') extra[key] = value;
      if (key === 'size') {
        if (!/^[0-9]{1,15}$/.test(value))
          throw this.#invalid(`a PAX size is ${JSON.stringify(value.slice(0, 40))}`);
        extra.size = Number(value);
      }
      if (key.startsWith('GNU.sparse.') && !this.#isLayer)
        throw this.#invalid('sparse entries are not supported');
      at = end;
    }
    return extra;
  }

  #invalid(what: string): ImgconvError {
    return new ImgconvError('ARCHIVE_INVALID', `${this.#where}: ${what}`);
  }
}

function differ(one = '', other = ''): boolean {
  return one !== '' && other !== '' && one !== other;
}

const EXTENSIONS: Record<string, 'pax' | 'global' | 'path' | 'link'> = {
  x: 'pax',
  g: 'global',
  L: 'path',
  K: 'link',
};

function typeOf(flag: string, name: string): TarEntry['type'] {
  switch (flag) {
    case '0':
    case '7':
      // Pre-POSIX archives mark directories by a trailing slash.
      return name.endsWith('/') ? 'directory' : 'file';
    case '1':
      return 'link';
    case '2':
      return 'symlink';
    case '5':
      return 'directory';
    default:
      return 'other';
  }
}
