import { ImgconvError } from '../model/errors.js';
import { isGlob } from '../model/reference.js';
import { expectNewName } from './names.js';
import type { Selector } from './select.js';

export const WHAT_A_LIST_IS = 'a list of images is a file of text, one reference a line, or "SOURCE TARGET"';

/** Of a line of the list. */
type ListedSelector = Selector & { readonly where: string };

/**
 * The lines of an images file: `REF` or `SRC DST`; blank lines and what follows a `#` are ignored. Messages name the line
 * and do not quote it: what is taken for a list may be another file, with secrets in it.
 * @throws ImgconvError USAGE for a line with more words, DOCUMENT_INVALID for what is no text
 */
export function parseImagesFile(text: string, where: string): ListedSelector[] {
  // Also UTF-16, which shells of Windows write.
  if (text.includes('\0'))
    throw new ImgconvError('DOCUMENT_INVALID', `${where}: not a text file in UTF-8`, {
      hint: WHAT_A_LIST_IS,
    });
  const selectors: ListedSelector[] = [];
  for (const [i, line] of text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\r|\n/)
    .entries()) {
    const words = line
      .replace(/(?:^|\s)#.*$/, '')
      .split(/\s+/)
      .filter(Boolean);
    const [source, rename, ...rest] = words;
    if (source === undefined) continue;
    const at = `${where}:${i + 1}`;
    if (rest.length > 0)
      throw new ImgconvError(
        'USAGE',
        `${at}: ${words.length} words, where a source and at most a target are expected`,
        { hint: `${WHAT_A_LIST_IS}; imgconv images finds the references in YAML and charts` },
      );
    if (rename !== undefined && isGlob(source))
      throw new ImgconvError('USAGE', `${at}: a glob may be many images, which cannot all have one name`);
    if (rename !== undefined) expectNewName(rename, at, false);
    selectors.push({ text: source, rename, where: at });
  }
  return selectors;
}
