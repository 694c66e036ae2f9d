import { ImgconvError } from '../model/errors.js';
import { BLOCK, decodeTarHeader } from './tar-header.js';

/** PAX and GNU extension records are held in memory; no sound archive comes near this. */
const MAX_EXTENSION = 1024 * 1024;
const MAX_NAME = 4096;
/** Extended headers before one entry: one of each kind is all that tools write. */
const MAX_EXTENSIONS = 16;

/** One member of an archive. `offset` is where its content begins. */
export interface TarEntry {
  /** Without leading `./` and `/`, doubled or trailing slashes. */
  readonly name: string;
  readonly type: 'file' | 'link' | 'symlink' | 'directory' | 'other';
  /** As written, for links. */
  readonly target: string;
  readonly offset: number;
  readonly size: number;
}

/** What the driver has to do after giving a header block. */
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

/**
 * Reads headers, block by block, with what PAX (POSIX.1-2001 pax "Extended Header") and GNU records say of the next
 * entry; the same for files and for streams. Records hold for the next entry that is not itself a record, so that
 * no size can hide an entry in another's content.
 */
export class TarDecoder {
  readonly #where: string;
  #pending: 'pax' | 'global' | 'path' | 'link' | undefined;
  #extra: { path?: string; linkpath?: string; size?: number } = {};
  #extensions = 0;

  readonly #sparse: boolean;

  /** `sparse`: entries with holes may be there, for who does not read their content. */
  constructor(where: string, { sparse = false } = {}) {
    this.#where = where;
    this.#sparse = sparse;
  }

  /** `position` is that of the block in the archive, for messages and `TarEntry.offset`. */
  block(block: Uint8Array, position: number): TarStep {
    const header = decodeTarHeader(block, `${this.#where}: at byte ${position}`);
    if (header === undefined) return { kind: 'end' };
    const kind = EXTENSIONS[header.flag];
    if (kind !== undefined) {
      if (header.size > MAX_EXTENSION)
        throw this.#invalid(`the extended header at byte ${position} has ${header.size} bytes`);
      if (++this.#extensions > MAX_EXTENSIONS)
        throw this.#invalid(`more than ${MAX_EXTENSIONS} extended headers before byte ${position}`);
      this.#pending = kind;
      return { kind: 'extension', size: header.size };
    }
    const { path, linkpath, size } = this.#extra;
    this.#extra = {};
    this.#extensions = 0;
    const name = path ?? header.name;
    if (name.length > MAX_NAME)
      throw this.#invalid(`the entry at byte ${position} has a name of ${name.length} characters`);
    const target = linkpath ?? header.target;
    if (target.length > MAX_NAME)
      throw this.#invalid(`the link at byte ${position} has a target of ${target.length} characters`);
    const type = typeOf(header.flag, name);
    const own = size ?? header.size;
    return {
      kind: 'entry',
      entry: {
        name: tarName(name),
        type,
        target,
        offset: position + BLOCK,
        // Links and directories have no content whatever their size field says (POSIX ustar).
        size: type === 'file' || type === 'other' ? own : 0,
      },
    };
  }

  extension(content: Uint8Array): void {
    const kind = this.#pending;
    this.#pending = undefined;
    if (kind === 'path' || kind === 'link') {
      const text = new TextDecoder().decode(content).replace(/\0.*$/s, '');
      if (kind === 'path') this.#extra.path = text;
      else this.#extra.linkpath = text;
    }
    if (kind === 'pax') this.#pax(content);
  }

  /** Records are `<length> <key>=<value>\n`, the length counting itself. */
  #pax(content: Uint8Array): void {
    for (let at = 0; at < content.length;) {
      const space = content.indexOf(0x20, at);
      const digits = space < 0 ? '' : Buffer.from(content.subarray(at, space)).toString('latin1');
      const length = /^[1-9][0-9]{0,9}$/.test(digits) ? Number(digits) : 0;
      const end = at + length;
      if (length === 0 || end > content.length || end <= space + 1)
        throw this.#invalid('a PAX record is malformed');
      const record = new TextDecoder().decode(content.subarray(space + 1, end - 1));
      const equals = record.indexOf('=');
      const key = record.slice(0, Math.max(equals, 0));
      const value = record.slice(equals + 1);
      if (key === 'path') this.#extra.path = value;
      if (key === 'linkpath') this.#extra.linkpath = value;
      if (key === 'size') {
        if (!/^[0-9]{1,15}$/.test(value))
          throw this.#invalid(`a PAX size is ${JSON.stringify(value.slice(0, 40))}`);
        this.#extra.size = Number(value);
      }
      if (key.startsWith('GNU.sparse.') && !this.#sparse)
        throw this.#invalid('sparse entries are not supported');
      at = end;
    }
  }

  #invalid(what: string): ImgconvError {
    return new ImgconvError('ARCHIVE_INVALID', `${this.#where}: ${what}`);
  }
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
