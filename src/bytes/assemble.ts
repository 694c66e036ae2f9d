import { renameSync, writeFileSync } from 'node:fs';
import { naming } from '../model/errors.js';
import { makeFolderOf } from './folder.js';

/** Makes small files and renames staged ones, and makes the folders on the way; all but those are relative to `root`. */
export interface AssembleJob {
  readonly kind: 'assemble';
  readonly root: string;
  readonly files: readonly (readonly [path: string, content: string | Uint8Array])[];
  readonly moves: readonly (readonly [from: string, path: string])[];
}

/** @throws ImgconvError IO, NO_SPACE */
export function assemble({ root, files, moves }: AssembleJob): void {
  const known = new Set<string>();
  for (const [place, content] of files) {
    const path = `${root}/${place}`;
    makeFolderOf(path, known);
    writeNew(path, content);
  }
  for (const [from, place] of moves) {
    const path = `${root}/${place}`;
    makeFolderOf(path, known);
    naming(from, () => {
      renameSync(from, path);
    });
  }
}

/** A new file of these bytes. @throws ImgconvError IO, NO_SPACE */
export function writeNew(path: string, bytes: Uint8Array | string): void {
  naming(path, () => {
    writeFileSync(path, bytes, { flag: 'wx' });
  });
}
