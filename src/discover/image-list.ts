import { ImgconvError } from '../model/errors.js';
import { parseReference } from '../model/reference.js';
import { parseImagesFile } from '../transfer/images-file.js';
import { Findings, withoutScheme } from './findings.js';

/** Names of files of references: `images.txt`, `images-list.txt`, `NginxImageList`, `a-release.list`. */
export function isListName(name: string): boolean {
  return /(?:image[-_]?list|images[-_]?list|^images)(?:\.(?:txt|list))?$|\.list$/i.test(name);
}

/** True when each line that is not empty or a comment begins with a reference. */
export function isImageList(text: string): boolean {
  try {
    const selectors = parseImagesFile(text, '');
    for (const { text: reference } of selectors) parseReference(withoutScheme(reference));
    return selectors.length > 0;
  } catch (error) {
    if (error instanceof ImgconvError) return false;
    throw error;
  }
}

/** The lines of a file as `--images-file` takes it; targets of renames do not count. */
export function findInImageList(text: string, file: string, findings: Findings): void {
  for (const { text: line, where } of parseImagesFile(text, file)) {
    const spot = { file, line: Number(where.slice(file.length + 1)), field: '' };
    const own = new Findings();
    own.found(line, spot);
    // A file with the name of a list may hold secrets.
    if (own.unknowns.length > 0) findings.unknown('the line is not an image reference', spot);
    else findings.add(own);
  }
}
