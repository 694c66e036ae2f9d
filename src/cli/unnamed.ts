import { basename, resolve } from 'node:path';
import { isStream, STREAM, type Place } from '../formats/table.js';
import { hexOf, isDigest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { ownNameOf } from '../model/oci-layout.js';
import { isRepository } from '../model/reference.js';
import type { ImageReport } from '../transfer/report.js';
import { commandWords, shellText } from './shell.js';

/** A command line with more lines for an images file than these is no help. */
const MOST = 8;
const SHORT_DIGEST = 12;

/** Images that failed since they have no name, each with a hint that is the command to name it, or them, by. */
export function withNamingCommands(
  from: Place,
  to: Place,
  images: readonly ImageReport[],
): readonly ImageReport[] {
  const unnamed = images.filter(isUnnamed);
  if (unnamed.length === 0) return images;
  const hint = hintFor(from, to, images, unnamed);
  return images.map((image) => {
    const { error } = image;
    if (error === undefined || !isUnnamed(image)) return image;
    return { ...image, error: new ImgconvError(error.code, error.message, { cause: error, hint }) };
  });
}

function isUnnamed({ error }: ImageReport): boolean {
  return error?.code === 'NAME_MISSING';
}

function hintFor(
  from: Place,
  to: Place,
  images: readonly ImageReport[],
  unnamed: readonly ImageReport[],
): string {
  const words = commandWords({ ...from, reference: undefined }, to);
  // An archive is written anew, so that all that it is to hold has to be named again.
  const wanted = to.format.traits.sequential
    ? images.filter((image) => isUnnamed(image) || image.digest !== undefined)
    : unnamed;
  const [first] = unnamed;
  if (first === undefined) return '';
  if (wanted.length === 1)
    return `name it: imgconv ${shellText([...words, choiceOf(first), '-t', nameFor(from, first)])}`;
  if (wanted.length > MOST || isStream(from))
    return `name each on a line of an --images-file, for example: ${lineFor(from, first)}`;
  const lines = shellText(wanted.map((image) => lineFor(from, image)));
  return `name them: printf '%s\\n' ${lines} | imgconv ${shellText([...words, '--images-file', STREAM])}`;
}

function choiceOf({ choice, source }: ImageReport): string {
  return choice ?? source;
}

/** Of an images file. */
function lineFor(from: Place, image: ImageReport): string {
  const source = choiceOf(image);
  const name = image.name ?? nameFor(from, image);
  return source === name ? source : `${source} ${name}`;
}

/** A name that any target takes: the source's own, with the beginning of the digest for a tag. */
function nameFor(from: Place, { choice = '', sourceDigest }: ImageReport): string {
  const own = isStream(from) ? '' : ownNameOf(basename(resolve(from.path))).toLowerCase();
  // Of an image of an engine its ID, which people know.
  const digest = isDigest(choice) ? choice : sourceDigest;
  const tag = digest !== undefined && isDigest(digest) ? hexOf(digest).slice(0, SHORT_DIGEST) : 'latest';
  return `${isRepository(own) ? own : 'image'}:${tag}`;
}
