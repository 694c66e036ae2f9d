import { ImgconvError } from '../model/errors.js';
import { tarHead } from './tar-head.js';
import { BLOCK, decodeTarHeader, paddedSize, type TarHeader } from './tar-header.js';

/*
 * The files of an overlayfs layer, as GNU tar archives them in PAX format, made into a layer of an image (OCI image-spec
 * layer.md, "Whiteouts"):
 *
 *   a character device 0/0            is a file that the layer deletes: an empty file `.wh.NAME`
 *   trusted.overlay.opaque = y        is a folder that hides those below: an empty file `.wh..wh..opq` in it
 *   trusted.overlay.*, user.overlay.* are of the file system and left out
 *
 * All else passes byte for byte.
 */
const OVERLAY = /^SCHILY\.xattr\.(?:trusted|user)\.overlay\.(.+)$/;
/** PAX records of one entry; Linux takes no extended attribute above 64 KiB. */
const MAX_RECORDS = 16 * 1024 * 1024;

/** Records of a PAX header, by their keys, in order. Values are bytes, one character for each. */
type Records = Map<string, string>;

/** @throws ImgconvError ARCHIVE_INVALID, FORMAT_UNSUPPORTED for files that overlayfs keeps by reference */
export async function* layerOfOverlay(
  tar: AsyncIterable<Uint8Array>,
  where: string,
): AsyncGenerator<Uint8Array> {
  const source = new Source(tar, where);
  const whiteouts = new Set<string>();
  let records: Records = new Map();
  for (;;) {
    const block = await source.take(BLOCK);
    const header = decodeTarHeader(block, where);
    if (header === undefined) break;
    if (header.flag === 'x') {
      if (header.size > MAX_RECORDS)
        throw new ImgconvError('ARCHIVE_INVALID', `${where}: a PAX header of ${header.size} bytes`);
      records = parseRecords((await source.take(paddedSize(header.size))).subarray(0, header.size), where);
      continue;
    }
    yield* entry(source, { block, header, records }, whiteouts, where);
    records = new Map();
  }
  yield new Uint8Array(2 * BLOCK);
  await source.drain();
}

async function* entry(
  source: Source,
  { block, header, records }: { block: Uint8Array; header: TarHeader; records: Records },
  whiteouts: Set<string>,
  where: string,
): AsyncGenerator<Uint8Array> {
  const name = nameOf(header, records);
  const target = records.get('linkpath') ?? header.target;
  const isWhiteout =
    (header.flag === '3' && isDevice(block)) || (header.flag === '1' && whiteouts.has(target));
  if (isWhiteout) {
    whiteouts.add(name);
    if (name.includes('\ufffd'))
      throw new ImgconvError(
        'FORMAT_UNSUPPORTED',
        `${where}: ${name}: a deleted file whose name is not UTF-8`,
      );
    const at = name.lastIndexOf('/') + 1;
    yield await tarHead(`${name.slice(0, at)}.wh.${name.slice(at)}`, 0);
    return;
  }
  const attributes = overlayOf(records);
  for (const kept of ['redirect', 'metacopy'])
    if (attributes.has(kept))
      throw new ImgconvError(
        'FORMAT_UNSUPPORTED',
        `${where}: ${name}: overlayfs keeps its content elsewhere (${kept})`,
      );
  yield* encodeRecords(records);
  yield block;
  for (let left = paddedSize(header.size); left > 0;) {
    const chunk = await source.some(left);
    yield chunk;
    left -= chunk.length;
  }
  if (attributes.get('opaque') === 'y') yield await tarHead(`${name.replace(/\/*$/, '/')}.wh..wh..opq`, 0);
}

/** Takes what is overlayfs' own out of the records. */
function overlayOf(records: Records): Map<string, string> {
  const found = new Map<string, string>();
  for (const [key, value] of [...records]) {
    const own = OVERLAY.exec(key)?.[1];
    if (own === undefined) continue;
    found.set(own, value);
    records.delete(key);
  }
  return found;
}

function nameOf({ name }: TarHeader, records: Records): string {
  const path = records.get('path');
  return path === undefined ? name : Buffer.from(path, 'latin1').toString();
}

/** Device numbers 0/0 of a ustar header. */
function isDevice(block: Uint8Array): boolean {
  return /^[0 \0]*$/.test(Buffer.from(block.subarray(329, 345)).toString('latin1'));
}

function parseRecords(bytes: Uint8Array, where: string): Records {
  const text = Buffer.from(bytes).toString('latin1');
  const records: Records = new Map();
  for (let at = 0; at < text.length;) {
    const [, digits = ''] = /^(\d{1,9}) /.exec(text.slice(at, at + 10)) ?? [];
    const end = at + Number(digits);
    const equals = text.indexOf('=', at);
    if (digits === '' || end > text.length || equals < 0 || equals >= end)
      throw new ImgconvError('ARCHIVE_INVALID', `${where}: a damaged PAX header`);
    records.set(text.slice(at + digits.length + 1, equals), text.slice(equals + 1, end - 1));
    at = end;
  }
  return records;
}

/** A PAX header of the records that are left; nothing when there are none. */
function* encodeRecords(records: Records): Generator<Uint8Array> {
  if (records.size === 0) return;
  const lines = [...records].map(([key, value]) => recordText(`${key}=${value}\n`));
  const content = Buffer.from(lines.join(''), 'latin1');
  yield paxHeader(content.length);
  yield content;
  yield new Uint8Array(paddedSize(content.length) - content.length);
}

/** The length before a record counts its own digits (POSIX pax, "Extended Header"). */
function recordText(record: string): string {
  let length = record.length + 1;
  while (`${length}`.length + 1 + record.length !== length) length = `${length}`.length + 1 + record.length;
  return `${length} ${record}`;
}

function paxHeader(size: number): Uint8Array {
  const block = Buffer.alloc(BLOCK);
  block.write('././@PaxHeader', 0, 'latin1');
  block.write('0000644\0' + '0000000\0' + '0000000\0', 100, 'latin1');
  block.write(`${size.toString(8).padStart(11, '0')}\0` + '00000000000\0', 124, 'latin1');
  block.write('        x', 148, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** A stream that is read in pieces of given lengths. */
class Source {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #where: string;
  #chunk: Uint8Array = new Uint8Array();

  constructor(chunks: AsyncIterable<Uint8Array>, where: string) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#where = where;
  }

  /** At least one and at most `most` bytes. @throws ImgconvError ARCHIVE_INVALID at the end */
  async some(most: number): Promise<Uint8Array> {
    while (this.#chunk.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) throw new ImgconvError('ARCHIVE_INVALID', `${this.#where}: the tar ends early`);
      this.#chunk = next.value;
    }
    const part = this.#chunk.subarray(0, most);
    this.#chunk = this.#chunk.subarray(part.length);
    return part;
  }

  async take(count: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let have = 0; have < count;) {
      const part = await this.some(count - have);
      parts.push(part);
      have += part.length;
    }
    return Buffer.concat(parts);
  }

  /** Reads what is left, so that who writes it ends well. */
  async drain(): Promise<void> {
    this.#chunk = new Uint8Array();
    while ((await this.#chunks.next()).done !== true);
  }
}
