import { readFileSync } from 'node:fs';
import { STREAM } from '../formats/table.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { parseImagesFile, WHAT_A_LIST_IS } from '../transfer/images-file.js';
import type { Selector } from '../transfer/select.js';
import type { ConversionArguments } from './options.js';

/** References of a command line; undefined ones are left out. */
export function selectorsOf(texts: readonly (string | undefined)[]): Selector[] {
  return texts.filter((text) => text !== undefined).map((text) => ({ text, rename: undefined }));
}

/** The references of the command line and of its lists; `source` is a reference that followed the source's path. */
export function askedFor({ REF = [], imagesFile = [] }: ConversionArguments, source?: string): Selector[] {
  const selectors = [...selectorsOf([...REF, source]), ...imagesFile.flatMap(readImagesFile)];
  if (imagesFile.length > 0 && selectors.length === 0)
    throw new ImgconvError('USAGE', `--images-file ${imagesFile.join(', ')}: no references in it`);
  return selectors;
}

/** `-` is stdin. @throws ImgconvError */
export function readImagesFile(path: string): Selector[] {
  const [file, where] = path === STREAM ? [0, 'stdin'] : [path, path];
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = asImgconvError(error, where);
    throw new ImgconvError(code, message, { cause: error, hint: WHAT_A_LIST_IS });
  }
  return parseImagesFile(text, where);
}
