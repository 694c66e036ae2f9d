import { ImgconvError } from '../model/errors.js';
import type { ImageReader, ImageWriter, ReadContext, WriteContext } from './format.js';
import { prefixOf, type Place } from './table.js';

/** @throws ImgconvError USAGE for a format that cannot be read */
export async function openPlace(
  { format, path, part, storage }: Place,
  context: ReadContext,
): Promise<ImageReader> {
  if (format.open !== undefined) return format.open(path, { storage, part, ...context });
  throw new ImgconvError('USAGE', `${path}: ${prefixOf(format)} can be written but not read`, {
    hint: 'imgconv --help lists the formats',
  });
}

/** @throws ImgconvError USAGE for a format that cannot be written */
export async function createPlace(
  { format, path, storage }: Place,
  context: WriteContext,
): Promise<ImageWriter> {
  if (format.create !== undefined) return format.create(path, { storage, ...context });
  throw new ImgconvError('USAGE', `${path}: ${prefixOf(format)} can be read but not written`, {
    hint: 'convert into another format; imgconv --help lists them',
  });
}
