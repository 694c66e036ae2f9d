import * as z from 'zod';
import { chunksOf } from '../bytes/chunks.js';
import { Inside } from '../bytes/inside.js';
import type { OpenFile } from '../bytes/open-file.js';
import type { FileBytes, RebuiltBytes } from '../bytes/region.js';
import { optional } from '../model/descriptor.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { parseJson, parseWith } from '../model/json.js';
import { Crc64 } from './crc64.js';
import { decompress } from './decompress.js';

/*
 * What engines keep of a layer's tar beside its unpacked files, so that they can put it together again
 * (vbatts/tar-split, tar/storage/packer.go and entry.go): JSON lines in gzip.
 *
 *   {"type":2,"payload":BASE64,"position":N}                                     raw bytes: headers, padding, what follows the end
 *   {"type":1,"name":NAME,"size":N,"payload":BASE64 of CRC-64,"position":N}      the body of a file; no size when it is empty
 *   {"type":1,"name_raw":BASE64,…}                                               a name that is not UTF-8
 */

/** A record of this length is refused. tar-split writes what follows the end of a tar as one record. */
const MAX_RECORD = 256 * 1024 * 1024;
/**
 * Bytes of records for each byte of headers that they give, at most: a name may be six times as long in JSON as in its
 * header, and the header is in base64. Small records that compress well could otherwise be read for hours.
 */
const MAX_RATIO = 8;
const MIB = 1024 * 1024;
/** A path of Linux has 4096 bytes at most; a name may have more of them with `./` and repeated slashes. */
const MAX_NAME = 8192;
/** What is put together is given in chunks of this size. */
const PIECE = 512 * 1024;
const NEWLINE = 0x0a;

const recordSchema = z.object({
  type: z.union([z.literal(1), z.literal(2)]),
  name: optional(z.string()),
  name_raw: optional(z.string()),
  size: optional(z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER)),
  payload: optional(z.string()),
});

type TarRecord =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'file'; readonly name: string; readonly size: number; readonly crc: string };

/** A layer's tar, out of the record of it and its unpacked files. */
export class SplitTar {
  readonly #record: FileBytes;
  readonly #folder: string;

  /** `record`: tar-split's file; `folder`: where the layer's files lie. */
  constructor(record: FileBytes, folder: string) {
    this.#record = record;
    this.#folder = folder;
  }

  /**
   * The tar as bytes that are put together each time they are read.
   * @throws ImgconvError ARCHIVE_INVALID when the record is damaged
   */
  async bytes(): Promise<RebuiltBytes & { readonly size: number }> {
    let size = 0;
    for await (const record of this.#records())
      size += record.kind === 'file' ? record.size : record.bytes.length;
    if (!Number.isSafeInteger(size))
      throw new ImgconvError('ARCHIVE_INVALID', `${this.#record.path}: sizes of files that no tar has`);
    return {
      kind: 'rebuilt',
      path: this.#folder,
      size,
      open: () => this.#chunks(),
      blame: () => this.#blame(),
    };
  }

  async *#records(): AsyncGenerator<TarRecord> {
    const { path } = this.#record;
    let number = 0;
    let [read, given] = [0, 0];
    const lines = linesOf(decompress(chunksLater(this.#record), 'gzip', path, 'ARCHIVE_INVALID'), path);
    for await (const line of lines) {
      const where = `${path}: record ${number++}`;
      const record = recordOf(
        parseWith(recordSchema, parseJson(line, where, 'ARCHIVE_INVALID'), where, 'ARCHIVE_INVALID'),
      );
      read += line.length;
      if (record.kind === 'bytes') given += record.bytes.length;
      else if (record.size > 0 && (record.name.length > MAX_NAME || record.name.includes('\0')))
        throw new ImgconvError(
          'ARCHIVE_INVALID',
          `${where}: a name that no file has, of ${record.name.length} bytes`,
        );
      if (read > MIB + MAX_RATIO * given)
        throw new ImgconvError(
          'ARCHIVE_INVALID',
          `${where}: ${read} bytes of records give only ${given} bytes of headers`,
        );
      yield record;
    }
  }

  async *#chunks(): AsyncGenerator<Uint8Array> {
    const files = new Inside(this.#folder);
    const out = new Pieces();
    for await (const record of this.#records()) {
      if (record.kind === 'bytes') yield* out.add(record.bytes);
      else if (record.size > 0) {
        using file = this.#open(files, record.name, record.size);
        for (let at = 0; at < record.size;) {
          const room = out.room(record.size - at);
          file.fill(room, at);
          at += room.length;
          yield* out.added(room.length);
        }
      }
    }
    yield* out.rest();
  }

  #open(files: Inside, name: string, size: number): OpenFile {
    let file: OpenFile;
    try {
      file = files.open(name);
    } catch (error) {
      const { code, message } = asImgconvError(error, files.shown(name));
      throw new ImgconvError(code === 'NOT_FOUND' ? 'BLOB_MISSING' : code, message, {
        cause: error,
        hint: HINT,
      });
    }
    if (file.id.size === BigInt(size)) return file;
    file[Symbol.dispose]();
    throw new ImgconvError(
      'DIGEST_MISMATCH',
      `${files.shown(name)}: expected ${size} bytes, as the record of its layer says, found ${file.id.size}`,
      { hint: HINT },
    );
  }

  /** The first file that is not what the record says, or why the layer is not what it should be although all files are. */
  async #blame(): Promise<ImgconvError> {
    const files = new Inside(this.#folder);
    let isSparse = false;
    for await (const record of this.#records()) {
      if (record.kind === 'bytes') isSparse ||= Buffer.from(record.bytes).includes('GNU.sparse.');
      else if (record.size > 0) {
        const crc = this.#crcOf(files, record.name, record.size);
        if (crc !== record.crc)
          return new ImgconvError(
            'DIGEST_MISMATCH',
            `${files.shown(record.name)}: damaged: expected CRC-64 ${record.crc}, found ${crc}`,
            { hint: HINT },
          );
      }
    }
    const { path } = this.#record;
    if (isSparse)
      return new ImgconvError(
        'DIGEST_MISMATCH',
        `${path}: a layer with sparse files: the engine did not record where their data lies, so the layer cannot be rebuilt`,
        {
          hint: 'no tool can rebuild it from this store; pull or build the image again, or convert the others without it',
        },
      );
    return new ImgconvError(
      'DIGEST_MISMATCH',
      `${path}: all files are as recorded, but the layer is another one: the record itself is damaged`,
      { hint: HINT },
    );
  }

  #crcOf(files: Inside, name: string, size: number): string {
    using file = this.#open(files, name, size);
    const crc = new Crc64();
    const piece = new Uint8Array(Math.min(size, PIECE));
    for (let at = 0; at < size; at += piece.length) {
      const part = piece.subarray(0, Math.min(piece.length, size - at));
      file.fill(part, at);
      crc.update(part);
    }
    return crc.hex();
  }
}

const HINT = 'the other images can be converted without this one';

function recordOf({ type, name, name_raw: raw, size, payload }: z.infer<typeof recordSchema>): TarRecord {
  const bytes = Buffer.from(payload ?? '', 'base64');
  if (type === 2) return { kind: 'bytes', bytes };
  const named = raw === undefined ? Buffer.from(name ?? '') : Buffer.from(raw, 'base64');
  return { kind: 'file', name: named.toString('latin1'), size: size ?? 0, crc: bytes.toString('hex') };
}

async function* chunksLater(at: FileBytes): AsyncGenerator<Uint8Array> {
  yield* chunksOf(at);
}

async function* linesOf(chunks: AsyncIterable<Uint8Array>, where: string): AsyncGenerator<Uint8Array> {
  let kept: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const line = Buffer.concat([...kept, chunk.subarray(start, end)]);
      yield line;
      kept = [];
      length = 0;
      start = end + 1;
    }
    if (start === chunk.length) continue;
    kept.push(chunk.subarray(start));
    if ((length += chunk.length - start) > MAX_RECORD)
      throw new ImgconvError('ARCHIVE_INVALID', `${where}: a record of more than ${MAX_RECORD} bytes`);
  }
  if (length > 0) yield Buffer.concat(kept);
}

/** Puts small parts together into larger pieces, each in memory of its own. */
class Pieces {
  #piece = new Uint8Array(PIECE);
  #used = 0;

  /** Where at most `wanted` bytes can be written. */
  room(wanted: number): Uint8Array {
    return this.#piece.subarray(this.#used, Math.min(PIECE, this.#used + wanted));
  }

  /** So many bytes were written to `room`. */
  *added(count: number): Generator<Uint8Array> {
    if ((this.#used += count) < PIECE) return;
    yield this.#piece;
    this.#piece = new Uint8Array(PIECE);
    this.#used = 0;
  }

  *add(bytes: Uint8Array): Generator<Uint8Array> {
    for (let at = 0; at < bytes.length;) {
      const room = this.room(bytes.length - at);
      room.set(bytes.subarray(at, at + room.length));
      at += room.length;
      yield* this.added(room.length);
    }
  }

  *rest(): Generator<Uint8Array> {
    if (this.#used > 0) yield this.#piece.subarray(0, this.#used);
  }
}
