import { ImgconvError } from '../model/errors.js';
import { BLOCK, decodeTarHeader, paddedSize, textOf, type TarHeader } from './tar-header.js';

/** PAX and GNU extension records are held in memory; no sound archive comes near this. */
const MAX_EXTENSION = 1024 * 1024;
const MAX_NAME = 4096;
/** Extended headers before one entry: one of each kind is all that tools write. */
const MAX_EXTENSIONS = 16;
/** GNU's old sparse entries: bytes of the header, and of the blocks that follow it, that say that one more follows. */
const SPARSE_MORE = 482;
const SPARSE_MORE_STILL = 504;

/** A member of an archive. */
export interface TarMember {
  /** Without leading `./` and `/`, doubled or trailing slashes. */
  readonly name: string;
  readonly type: 'file' | 'link' | 'symlink' | 'directory' | 'other';
  /** As written, for links. */
  readonly target: string;
}

/** A member and its content: `size` bytes from `offset`, which padding follows. */
export interface TarEntry extends TarMember {
  readonly offset: number;
  readonly size: number;
}

/** What a decoder asks for: the next `bytes`, of the header that begins `at`, or that an entry's content is passed over. */
export type TarStep = { readonly bytes: number; readonly at: number } | { readonly entry: TarEntry };

/** `./a//b/` → `a/b`. */
export function tarName(name: string): string {
  return name
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
}

/** By type flag, and by tar-stream's names for these. */
const TYPES: Readonly<Record<string, TarMember['type']>> = {
  0: 'file',
  file: 'file',
  7: 'file',
  'contiguous-file': 'file',
  1: 'link',
  link: 'link',
  2: 'symlink',
  symlink: 'symlink',
  5: 'directory',
  directory: 'directory',
};

export function tarMember(name: string, type: string, target: string): TarMember {
  const known = TYPES[type] ?? 'other';
  // Pre-POSIX archives mark directories by a trailing slash.
  const isFolder = known === 'file' && name.endsWith('/');
  return { name: tarName(name), type: isFolder ? 'directory' : known, target };
}

/** What extended headers say of the next entry. */
interface Extra {
  readonly path?: string;
  readonly linkpath?: string;
  readonly size?: number;
}

/**
 * Reads the headers of a tar, with what PAX (POSIX.1-2001 pax "Extended Header") and GNU records say of entries; done at
 * the end mark. Records hold for the next entry that is not itself a record, so that no size can hide an entry in
 * another's content. An archive of images in which tar readers find different members is refused; a `layer` is taken as
 * Go's archive/tar takes it, and may have sparse entries.
 * @throws ImgconvError ARCHIVE_INVALID
 */
export function* decodeTar(where: string, { layer = false } = {}): Generator<TarStep, void, Uint8Array> {
  for (let at = 0; ;) {
    let [pax, gnu]: [Extra, Extra] = [{}, {}];
    let block = yield { bytes: BLOCK, at };
    let header = decodeTarHeader(block, `${where}: at byte ${at}`);
    for (let extensions = 1; header !== undefined && EXTENSIONS.includes(header.flag); extensions++) {
      const { flag, size } = header;
      const which = `extended header at byte ${at}`;
      if (size > MAX_EXTENSION) throw invalid(where, `the ${which} has ${size} bytes`);
      // tar-stream 3.2.2 takes content of the next entry for that of an empty extended header.
      if (size === 0 && !layer) throw invalid(where, `the ${which} is empty`);
      if (extensions > MAX_EXTENSIONS)
        throw invalid(where, `more than ${MAX_EXTENSIONS} extended headers before byte ${at}`);
      const content =
        size === 0 ? block.subarray(BLOCK) : (yield { bytes: paddedSize(size), at }).subarray(0, size);
      if (flag === 'L') gnu = { ...gnu, path: textOf(content) };
      if (flag === 'K') gnu = { ...gnu, linkpath: textOf(content) };
      if (flag === 'x') pax = extraOf(content, where, layer);
      // Go's archive/tar passes over global records; other readers apply them to all entries that follow.
      if (flag === 'g' && !layer && Object.keys(extraOf(content, where, layer)).length > 0)
        throw invalid(where, `the ${which} gives all members one path, target or size`);
      at += BLOCK + paddedSize(size);
      block = yield { bytes: BLOCK, at };
      header = decodeTarHeader(block, `${where}: at byte ${at}`);
    }
    if (header === undefined) return;
    const entry = entryOf(header, pax, gnu, at, where);
    if (!layer) expectPlain(header, entry, pax, gnu, where);
    let blocks = 1;
    for (let more = header.flag === 'S' && block[SPARSE_MORE] === 1; layer && more; blocks++)
      more = (yield { bytes: BLOCK, at })[SPARSE_MORE_STILL] === 1;
    yield { entry };
    at += blocks * BLOCK + paddedSize(entry.size);
  }
}

/** Of PAX: for one entry, for all; of GNU: a path, a link's target. */
const EXTENSIONS = ['x', 'g', 'L', 'K'];

function entryOf(header: TarHeader, pax: Extra, gnu: Extra, at: number, where: string): TarEntry {
  // An empty value stands for none (POSIX).
  const name = pax.path || gnu.path || header.name;
  if (name.length > MAX_NAME)
    throw invalid(where, `the entry at byte ${at} has a name of ${name.length} characters`);
  const target = pax.linkpath || gnu.linkpath || header.target;
  if (target.length > MAX_NAME)
    throw invalid(where, `the link at byte ${at} has a target of ${target.length} characters`);
  const member = tarMember(name, header.flag, target);
  // Links and directories have no content whatever their size field says (POSIX ustar).
  const size = ['file', 'other'].includes(member.type) ? (pax.size ?? header.size) : 0;
  return { ...member, offset: at + BLOCK, size };
}

/** Refuses what readers of tars take in different ways. */
function expectPlain(header: TarHeader, entry: TarEntry, pax: Extra, gnu: Extra, where: string): void {
  const which = `the entry at byte ${entry.offset - BLOCK}`;
  // GNU's long names of before 1.13; tar-stream takes one for the next entry's, others for a file.
  if (header.flag === 'N') throw invalid(where, `${which} is of type N, which is not supported`);
  if (differ(pax.path, gnu.path) || differ(pax.linkpath, gnu.linkpath))
    throw invalid(where, `${which} has one path in PAX, another in GNU's records`);
  const size = pax.size ?? header.size;
  if (size > 0 && header.flag !== '5' && !['file', 'other'].includes(entry.type))
    throw invalid(where, `${which} is a ${entry.type} with a size of ${size}`);
}

function differ(one = '', other = ''): boolean {
  return one !== '' && other !== '' && one !== other;
}

/** Records are `<length> <key>=<value>\n`, the length counting itself. */
function extraOf(content: Uint8Array, where: string, layer: boolean): Extra {
  const extra: { path?: string; linkpath?: string; size?: number } = {};
  for (let at = 0; at < content.length;) {
    const space = content.indexOf(0x20, at);
    const digits = space < 0 ? '' : Buffer.from(content.subarray(at, space)).toString('latin1');
    const length = /^[1-9][0-9]{0,9}$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    const record = Buffer.from(content.subarray(space + 1, end - 1)).toString();
    const equals = record.indexOf('=');
    if (length === 0 || end > content.length || end <= space + 1 || equals < 0)
      throw invalid(where, 'a PAX record is malformed');
    const key = record.slice(0, equals);
    const value = record.slice(equals + 1);
    if (key === 'path' || key === 'linkpath') extra[key] = value;
    if (key === 'size') {
      if (!/^[0-9]{1,15}$/.test(value))
        throw invalid(where, `a PAX size is ${JSON.stringify(value.slice(0, 40))}`);
      extra.size = Number(value);
    }
    if (key.startsWith('GNU.sparse.') && !layer) throw invalid(where, 'sparse entries are not supported');
    at = end;
  }
  return extra;
}

function invalid(where: string, what: string): ImgconvError {
  return new ImgconvError('ARCHIVE_INVALID', `${where}: ${what}`);
}
