import { FileReader } from '../bytes/file-reader.js';
import { asImgconvError } from '../model/errors.js';
import { decodeTar } from './tar-decode.js';
import { cutOff, MAX_AFTER_END, notATar, tooMuchAfter, within } from './tar-errors.js';
import { BLOCK, paddedSize } from './tar-header.js';
import { TarIndex } from './tar-index.js';

/**
 * The members of an archive that is a plain file. Reads its headers in place and seeks over the contents, which
 * tar-stream cannot.
 * @throws ImgconvError ARCHIVE_INVALID
 */
export function indexFile(file: string): TarIndex {
  const reader = new FileReader(file);
  try {
    return readHeaders(reader, file);
  } catch (error) {
    throw asImgconvError(error, file);
  } finally {
    reader.close();
  }
}

function readHeaders(reader: FileReader, file: string): TarIndex {
  const index = new TarIndex(file);
  const length = reader.size;
  if (length < BLOCK) throw notATar(file, length);
  const decoder = decodeTar(file);
  let position = 0;
  for (let bytes: Uint8Array = new Uint8Array(); ;) {
    const { done, value: step } = decoder.next(bytes);
    if (done === true) {
      if (length - position > MAX_AFTER_END) throw tooMuchAfter(file);
      return index;
    }
    if ('entry' in step) {
      const { entry } = step;
      const { offset, size } = entry;
      position += paddedSize(size);
      if (position > length) throw cutOff(file, length, within(entry));
      const content = { path: reader.path, shown: `${file}: ${entry.name}`, offset, size, whole: false };
      index.add(entry, entry.type === 'file' ? { kind: 'file', ...content } : undefined);
      continue;
    }
    if (position === length && step.at === length) {
      index.endedAt = length;
      return index;
    }
    bytes = reader.read(position, step.bytes);
    if (bytes.length < step.bytes) throw cutOff(file, length, `in the header at byte ${step.at}`);
    position += step.bytes;
  }
}
