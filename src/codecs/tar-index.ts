import { createReadStream, fstatSync, openSync, realpathSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { decompress, MAGIC_LENGTH, sniffPacking } from './decompress.js';
import { peek } from '../bytes/peek.js';
import { closeFile, readFully, type LocalBytes } from '../bytes/region.js';
import { TarDecoder, tarName, type TarEntry } from './tar-decode.js';
import { BLOCK, paddedSize } from './tar-header.js';

/** Takes members of an archive that passes as a stream; says where they can be read later. */
export interface Spool {
  /** `size` is what the archive says that there is of them, in bytes. */
  add(path: string, chunks: AsyncIterable<Uint8Array>, size: number): Promise<LocalBytes>;
}

/** The kernel's own bound on a chain of symbolic links (path_resolution(7)). */
const MAX_LINKS = 40;
/** A thousand images of fifty layers, each with the files of old, have two thirds of it. */
const MAX_ENTRIES = 300_000;
/** Of all names and link targets, in characters: compressed, a gigabyte of them takes a megabyte. */
const MAX_NAMES = 128 * 1024 * 1024;
/** What may follow the end of an archive: tar pads to a record, some tools to far more, none to this. */
const MAX_AFTER_END = 64 * 1024 * 1024;

/** The members of an archive by name, and where their content lies. Names are keys, never paths. */
export class TarIndex {
  readonly path: string;
  /** Where the archive ended without its end mark; undefined when it has one. */
  endedAt: number | undefined;
  readonly #entries = new Map<string, { entry: TarEntry; bytes: LocalBytes | undefined }>();
  #count = 0;
  #names = 0;

  constructor(path: string) {
    this.path = path;
  }

  /** A later entry of the same name replaces an earlier one, as extracting would. */
  add(entry: TarEntry, bytes: LocalBytes | undefined): void {
    if (entry.type === 'other')
      throw new ImgconvError(
        'ARCHIVE_INVALID',
        `${this.path}: ${entry.name} is neither a file, a folder nor a link`,
      );
    // Also those that are not kept: each takes its time.
    if (++this.#count > MAX_ENTRIES)
      throw new ImgconvError('ARCHIVE_INVALID', `${this.path}: more than ${MAX_ENTRIES} entries`);
    if ((this.#names += entry.name.length + entry.target.length) > MAX_NAMES)
      throw new ImgconvError('ARCHIVE_INVALID', `${this.path}: names of more than ${MAX_NAMES} characters`);
    if (entry.name === '' || entry.type === 'directory') return;
    this.#entries.set(entry.name, { entry, bytes });
  }

  /** The error to give when a member is not there: an archive that has no end mark was probably cut off. */
  absent(what: string): ImgconvError {
    if (this.endedAt === undefined) return new ImgconvError('FORMAT_UNKNOWN', `${this.path}: ${what}`);
    return cutOff(this.path, this.endedAt, `before its end mark; ${what}`);
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
   * @throws ImgconvError ARCHIVE_INVALID for links that loop or leave the archive
   */
  get(name: string): LocalBytes | undefined {
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
      if (bytes !== undefined) return bytes;
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

/**
 * The members of an archive: `-` is stdin. A plain file is read in place, header by header; what is packed or comes
 * through a pipe passes once, its members going to `spool`.
 * @throws ImgconvError ARCHIVE_INVALID
 */
export async function openTar(file: string, spool: Spool): Promise<TarIndex> {
  if (file === '-') return indexStream(unpacked(process.stdin, 'stdin'), 'stdin', spool);
  if (packingOf(file) === 'none') return indexFile(file);
  return indexStream(unpacked(readFrom(file), file), file, spool);
}

/** A file's bytes; what is wrong with the disk is not taken for damage of what is on it. */
async function* readFrom(file: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 }))
      yield chunk as Uint8Array;
  } catch (error) {
    throw asImgconvError(error, file);
  }
}

/** How an archive file is packed, by its content. */
export function packingOf(file: string): ReturnType<typeof sniffPacking> {
  const stat = statSync(file);
  if (stat.isDirectory()) throw new ImgconvError('ARCHIVE_INVALID', `${file}: a folder, not an archive`);
  // A pipe would be waited for, and be without its first bytes afterwards.
  if (!stat.isFile())
    throw new ImgconvError('ARCHIVE_INVALID', `${file}: not a regular file`, {
      hint: 'give - for the path and pipe the archive in',
    });
  const head = new Uint8Array(MAGIC_LENGTH);
  const fd = openSync(file, 'r');
  try {
    return sniffPacking(head.subarray(0, readFully(fd, head, 0, file)));
  } finally {
    closeFile(fd, file);
  }
}

async function* unpacked(source: AsyncIterable<Uint8Array>, where: string): AsyncGenerator<Uint8Array> {
  const { head, whole } = await peek(source, MAGIC_LENGTH);
  yield* decompress(whole, sniffPacking(head), where, 'ARCHIVE_INVALID');
}

/** Reads an archive's headers in place, seeking over the contents. */
export function indexFile(file: string): TarIndex {
  const path = realpathSync(file);
  const index = new TarIndex(file);
  const decoder = new TarDecoder(file);
  const fd = openSync(path, 'r');
  try {
    const length = fstatSync(fd).size;
    if (length < BLOCK)
      throw new ImgconvError('ARCHIVE_INVALID', `${file}: not a tar, it has ${length} bytes`);
    const read = (position: number, size: number): Uint8Array => {
      const into = Buffer.alloc(size);
      if (position + size > length) throw cutOff(file, length, `in the header at byte ${position}`);
      if (readFully(fd, into, position, file) < size)
        throw cutOff(file, length, `in the header at byte ${position}`);
      return into;
    };
    let position = 0;
    index.endedAt = length;
    while (position < length) {
      const step = decoder.block(read(position, BLOCK), position);
      if (step.kind === 'end') {
        index.endedAt = undefined;
        if (length - position - BLOCK > MAX_AFTER_END) throw tooMuchAfter(file);
        break;
      }
      position += BLOCK;
      if (step.kind === 'extension') {
        decoder.extension(read(position, step.size));
        position += paddedSize(step.size);
        continue;
      }
      const { entry } = step;
      if (position + paddedSize(entry.size) > length) throw cutOff(file, length, within(entry));
      const shown = `${file}: ${entry.name}`;
      const { offset, size } = entry;
      const bytes = { kind: 'file', path, shown, offset, size, whole: false } as const;
      index.add(entry, entry.type === 'file' ? bytes : undefined);
      position += paddedSize(entry.size);
    }
    return index;
  } catch (error) {
    throw asImgconvError(error, file);
  } finally {
    closeFile(fd, file);
  }
}

/** Reads an archive that passes once. What follows its end is read and ignored, as tar does. */
export async function indexStream(
  source: AsyncIterable<Uint8Array>,
  where: string,
  spool: Spool,
): Promise<TarIndex> {
  const reader = new StreamReader(source);
  try {
    return await readAll(reader, where, spool);
  } catch (error) {
    await reader.close();
    throw error;
  }
}

async function readAll(reader: StreamReader, where: string, spool: Spool): Promise<TarIndex> {
  const index = new TarIndex(where);
  const decoder = new TarDecoder(where);
  for (;;) {
    const { position } = reader;
    const block = await reader.read(BLOCK);
    if (block.length === 0 && position > 0) {
      index.endedAt = position;
      break;
    }
    if (block.length < BLOCK) {
      if (position === 0)
        throw new ImgconvError('ARCHIVE_INVALID', `${where}: not a tar, it has ${block.length} bytes`);
      throw cutOff(where, reader.position, `in the header at byte ${position}`);
    }
    const step = decoder.block(block, position);
    if (step.kind === 'end') break;
    if (step.kind === 'extension') {
      const content = await reader.read(paddedSize(step.size));
      if (content.length < step.size)
        throw cutOff(where, reader.position, `in the header at byte ${position}`);
      decoder.extension(content.subarray(0, step.size));
      continue;
    }
    const { entry } = step;
    if (entry.type !== 'file') {
      index.add(entry, undefined);
      continue;
    }
    if (entry.size === 0) {
      const path = `${where}: ${entry.name}`;
      index.add(entry, { kind: 'memory', path, size: 0, bytes: new Uint8Array() });
      continue;
    }
    const bytes = await spool.add(
      `${where}: ${entry.name}`,
      reader.content(entry.size, () => cutOff(where, reader.position, within(entry))),
      entry.size,
    );
    index.add(entry, bytes);
    const padding = paddedSize(entry.size) - entry.size;
    if ((await reader.read(padding)).length < padding) throw cutOff(where, reader.position, within(entry));
  }
  await reader.drain(MAX_AFTER_END, () => tooMuchAfter(where));
  return index;
}

/** Reads a stream by counts of bytes. */
class StreamReader {
  position = 0;
  readonly #iterator: AsyncIterator<Uint8Array, undefined>;
  #rest: Uint8Array = new Uint8Array();

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#iterator = source[Symbol.asyncIterator]() as AsyncIterator<Uint8Array, undefined>;
  }

  /** At most `limit` bytes; none at the end. */
  async #some(limit: number): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const next = await this.#iterator.next();
      if (next.done === true) return this.#rest;
      this.#rest = next.value;
    }
    const some = this.#rest.subarray(0, limit);
    this.#rest = this.#rest.subarray(some.length);
    this.position += some.length;
    return some;
  }

  /** `size` bytes, fewer only at the end. */
  async read(size: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let left = size; left > 0;) {
      const part = await this.#some(left);
      if (part.length === 0) break;
      parts.push(part);
      left -= part.length;
    }
    return parts.length === 1 ? (parts[0] ?? new Uint8Array()) : Buffer.concat(parts);
  }

  async *content(size: number, cut: () => ImgconvError): AsyncGenerator<Uint8Array> {
    for (let left = size; left > 0;) {
      const part = await this.#some(left);
      if (part.length === 0) throw cut();
      left -= part.length;
      yield part;
    }
  }

  /** Lets go of what the stream holds; a failure of that would hide the one that led here. */
  async close(): Promise<void> {
    await Promise.resolve(this.#iterator.return?.()).catch(() => undefined);
  }

  /** Reads what is left, if it is no more than `limit`. */
  async drain(limit: number, tooMuch: () => ImgconvError): Promise<void> {
    const end = this.position + limit;
    while ((await this.#some(Infinity)).length > 0) if (this.position > end) throw tooMuch();
  }
}

function tooMuchAfter(file: string): ImgconvError {
  return new ImgconvError('ARCHIVE_INVALID', `${file}: more than ${MAX_AFTER_END} bytes after its end`);
}

function within({ name, offset }: TarEntry): string {
  return `in ${name}, which begins at byte ${offset}`;
}

function cutOff(file: string, length: number, where: string): ImgconvError {
  return new ImgconvError('ARCHIVE_INVALID', `${file}: cut off after ${length} bytes, ${where}`, {
    hint: 'the archive was not copied whole: fetch it again',
  });
}
