import type { Readable } from 'node:stream';
import { FileReader, streamOf } from '../bytes/file-reader.js';
import { resolved } from '../bytes/files.js';
import { peek } from '../bytes/peek.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { decompress, MAGIC_LENGTH, sniffPacking, type Packing } from './decompress.js';
import { indexFile } from './tar-file.js';
import type { TarIndex } from './tar-index.js';
import type { Spool } from './tar-pipe.js';

/** An archive that passes once, and what messages call it. */
export interface PassingTar {
  readonly stream: Readable;
  readonly where: string;
}

/**
 * The members of an archive, given by its path or as it passes. A plain file is read in place; what is packed or
 * passes goes through tar-stream, its members to `spool`.
 * @throws ImgconvError ARCHIVE_INVALID
 */
export async function openTar(source: string | PassingTar, spool: Spool): Promise<TarIndex> {
  if (typeof source === 'string' && packingOf(source) === 'none') return indexFile(source);
  const { stream, where } = typeof source === 'string' ? { stream: streamOf(source), where: source } : source;
  const { indexStream } = await import('./tar-pipe.js');
  try {
    return await indexStream(unpacked(stream, where), where, spool);
  } finally {
    stream.destroy(); // Else a pipe whose other end is silent would be waited for after a failure.
  }
}

/** How an archive file is packed, by its content. */
export function packingOf(file: string): Packing {
  const kind = resolved(file)?.kind;
  if (kind === 'folder') throw new ImgconvError('ARCHIVE_INVALID', `${file}: a folder, not an archive`);
  // A pipe would be waited for, and be without its first bytes afterwards.
  if (kind === 'other')
    throw new ImgconvError('ARCHIVE_INVALID', `${file}: not a regular file`, {
      hint: 'give - for the path and pipe the archive in',
    });
  const reader = new FileReader(file);
  try {
    return sniffPacking(reader.read(0, MAGIC_LENGTH));
  } finally {
    reader.close();
  }
}

/** What is wrong with the disk is not taken for damage of what is on it. */
async function* read(stream: Readable, where: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of stream) yield chunk as Uint8Array;
  } catch (error) {
    throw asImgconvError(error, where);
  }
}

async function* unpacked(stream: Readable, where: string): AsyncGenerator<Uint8Array> {
  const { head, whole } = await peek(read(stream, where), MAGIC_LENGTH);
  yield* decompress(whole, sniffPacking(head), where, 'ARCHIVE_INVALID');
}
