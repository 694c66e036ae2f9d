import { fstatSync, lstatSync, type BigIntStats } from 'node:fs';
import { naming } from '../model/errors.js';

/** Tells one state of one file from any other. Link counts change the ctime, so it has no part in it. */
export interface FileId {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

/** @internal */
export function fileIdOf(stat: BigIntStats): FileId {
  return { dev: stat.dev, ino: stat.ino, size: stat.size, mtimeNs: stat.mtimeNs };
}

/** Of the open file of this path. */
export function fileIdAt(fd: number, path: string): FileId {
  return fileIdOf(naming(path, () => fstatSync(fd, { bigint: true })));
}

export function sameFile(a: FileId, b: FileId): boolean {
  return a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs;
}

/** What is at a path now; undefined for nothing. */
export function idNow(path: string): FileId | undefined {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && fileIdOf(stat);
}

/** True when the file at this path is still in that state. */
export function isStill(path: string, id: FileId): boolean {
  const now = idNow(path);
  return now !== undefined && sameFile(id, now);
}

/** Text that tells one state of a file from any other; a file of several names is one. */
export function stateText({ dev, ino, mtimeNs, size }: FileId): string {
  return `${dev} ${ino} ${mtimeNs} ${size}`;
}

/** That of the file at a path now; the path itself where nothing is. */
export function stateOf(path: string): string {
  const now = idNow(path);
  return now === undefined ? path : stateText(now);
}
