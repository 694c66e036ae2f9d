import { openSync, fstatSync, readFileSync } from 'node:fs';
import { closeFile } from '../io/region.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { MAX_FILE } from './yaml.js';

const decoder = new TextDecoder('utf-8', { fatal: true });

/** @throws ImgconvError DOCUMENT_INVALID when the bytes are not UTF-8 */
export function textOf(bytes: Uint8Array, file: string): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new ImgconvError('DOCUMENT_INVALID', `${file}: not UTF-8 text`, { cause });
  }
}

/** A file of text, of which no more is read than `parseYaml` takes. */
export function readText(file: string): string {
  let fd: number | undefined;
  try {
    fd = openSync(file, 'r');
    if (fstatSync(fd).size > MAX_FILE)
      throw new ImgconvError('DOCUMENT_INVALID', `${file}: too large to be read`);
    return textOf(readFileSync(fd), file);
  } catch (error) {
    throw asImgconvError(error, file);
  } finally {
    if (fd !== undefined) closeFile(fd, file);
  }
}
