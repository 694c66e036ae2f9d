import { isStream, type Place } from '../formats/table.js';
import { counted, ImgconvError } from '../model/errors.js';
import { sizeText } from '../model/size.js';

/** How far a run came. */
export interface SoFar {
  readonly to: Place;
  /** Images that are visible in the target. */
  readonly complete: number;
  /** Undefined until all images are found. */
  readonly images: number | undefined;
  /** Unfinished and finished downloads that the next run takes up. */
  readonly downloads: { readonly folder: string; readonly bytes: number } | undefined;
}

/** What an interrupted run leaves, and how to go on. */
export function interrupted(soFar?: SoFar): ImgconvError {
  const downloads = soFar?.downloads;
  const kept =
    downloads === undefined
      ? ''
      : `; ${sizeText(downloads.bytes)} of downloads are kept in ${downloads.folder}`;
  const hint = `run the same command again to ${downloads === undefined ? 'finish' : 'resume'}`;
  return new ImgconvError('INTERRUPTED', `interrupted: ${doneText(soFar)}${kept}`, { hint });
}

function doneText(soFar: SoFar | undefined): string {
  if (soFar?.images === undefined) return 'nothing was written';
  const { to, complete, images } = soFar;
  const { sequential, remote } = to.format.traits;
  if (isStream(to)) return 'the archive on standard output is incomplete';
  if (sequential) return `${to.path} was not written`;
  const done = `${complete} of ${counted(images, 'image')} ${images === 1 ? 'is' : 'are'} complete`;
  return remote ? `${done}; blobs that were uploaded are not sent again` : done;
}
