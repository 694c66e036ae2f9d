import { FileReader } from '../bytes/file-reader.js';
import { asImgconvError } from '../model/errors.js';
import { TarDecoder } from './tar-decode.js';
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
  const decoder = new TarDecoder(file);
  const length = reader.size;
  if (length < BLOCK) throw notATar(file, length);
  for (let position = 0; position < length;) {
    const headerAt = position;
    const read = (size: number): Uint8Array => {
      const bytes = reader.read(position, size);
      if (bytes.length < size) throw cutOff(file, length, `in the header at byte ${headerAt}`);
      position += size;
      return bytes;
    };
    const step = decoder.block(read(BLOCK), headerAt);
    if (step.kind === 'end') {
      if (length - position > MAX_AFTER_END) throw tooMuchAfter(file);
      return index;
    }
    if (step.kind === 'extension') {
      decoder.extension(read(paddedSize(step.size)).subarray(0, step.size));
      continue;
    }
    const { entry } = step;
    const { offset, size } = entry;
    position += paddedSize(size);
    if (position > length) throw cutOff(file, length, within(entry));
    const bytes = { path: reader.path, shown: `${file}: ${entry.name}`, offset, size, whole: false };
    index.add(entry, entry.type === 'file' ? { kind: 'file', ...bytes } : undefined);
  }
  index.endedAt = length;
  return index;
}
