import { openSync } from 'node:fs';
import { naming } from '../model/errors.js';
import { closeFile } from './open-file.js';
import { writeFully } from './output.js';

/** Bytes that need not be in memory at once: each piece is good until the next one. */
export interface Content {
  readonly size: number;
  readonly pieces: Iterable<Uint8Array>;
}

/** A new file of these bytes. @throws ImgconvError IO, NO_SPACE */
export function writePieces(path: string, { pieces }: Content): void {
  withFile(path, 'wx', (fd) => {
    for (const piece of pieces) writeFully(fd, piece, null, path);
  });
}

export function inMemory(bytes: Uint8Array): Content {
  return { size: bytes.length, pieces: [bytes] };
}

/** @throws ImgconvError IO, NO_SPACE */
export function withFile<T>(path: string, flags: 'r' | 'r+' | 'wx', work: (fd: number) => T): T {
  const fd = naming(path, () => openSync(path, flags));
  try {
    return naming(path, () => work(fd));
  } finally {
    closeFile(fd, path);
  }
}
