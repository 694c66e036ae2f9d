import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { fileSize, fillFile } from './content.js';
import { Random } from './random.js';

const BLOCK = 512;

export function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

/** A ustar header of a regular file. */
export function tarHeader(name: string, size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`;
  block.write(name, 0);
  block.write(
    `${octal(0o644, 8)}${octal(0, 8)}${octal(0, 8)}${octal(size, 12)}${octal(0, 12)}        0`,
    100,
  );
  block.write('ustar\x0000', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 7)} `, 148);
  return block;
}

/** A layer's tar of about `size` bytes in many files; the same for the same seed. Gives its digest, without `sha256:`. */
export function writeLayerTar(path: string, seed: string, size: number): { hex: string; size: number } {
  const random = new Random(seed);
  const hash = createHash('sha256');
  const fd = openSync(path, 'wx');
  let written = 0;
  const write = (bytes: Uint8Array) => {
    hash.update(bytes);
    written += writeSync(fd, bytes);
  };
  try {
    for (let i = 0; written < size - 2 * BLOCK; i++) {
      const length = Math.min(fileSize(random), Math.max(1, size - written - 3 * BLOCK));
      const entry = new Uint8Array(BLOCK + padded(length));
      entry.set(tarHeader(`usr/share/${seed}/${random.below(200)}/file-${i}`, length));
      fillFile(random, entry.subarray(BLOCK, BLOCK + length));
      write(entry);
    }
    write(new Uint8Array(2 * BLOCK));
  } finally {
    closeSync(fd);
  }
  return { hex: hash.digest('hex'), size: written };
}

/** A layer's tar with one file of `size` bytes, all zero and a hole on the disk. */
export function writeSparseTar(path: string, size: number): { hex: string; size: number } {
  const total = BLOCK + padded(size) + 2 * BLOCK;
  const fd = openSync(path, 'wx+');
  try {
    writeSync(fd, tarHeader('big', size));
    ftruncateSync(fd, total);
    const hash = createHash('sha256');
    const piece = new Uint8Array(4 * 1024 * 1024);
    for (let at = 0; at < total;) {
      const count = readSync(fd, piece, 0, piece.length, at);
      hash.update(piece.subarray(0, count));
      at += count;
    }
    return { hex: hash.digest('hex'), size: total };
  } finally {
    closeSync(fd);
  }
}
