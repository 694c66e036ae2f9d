import type { Digest } from '../model/digest.js';
import { splitHost, splitReference } from '../model/reference.js';
import type { SourceImage, UnreadableImage } from '../formats/format.js';
import { ImgconvError } from '../model/errors.js';
import type { Failure } from './job.js';
import type { TargetName } from './names.js';
import type { Selected } from './select.js';

/** Who asks for a digest has to get it. @throws ImgconvError DIGEST_MISMATCH for a name that has another image's */
export function ownDigest(name: TargetName, image: SourceImage): TargetName {
  const { tag, digest } = name.reference;
  if (tag !== undefined || digest === undefined || digest === image.digest) return name;
  throw new ImgconvError(
    'DIGEST_MISMATCH',
    `${image.where}: its name says ${digest}, its digest is ${image.digest}`,
  );
}

/** For `--preserve-digests`; `what` comes after the digest: what it changes to, or why. */
export function changedDigest(reference: string, from: Digest, what: string): ImgconvError {
  return new ImgconvError('USAGE', `${reference}: the digest would change from ${from}${what}`, {
    hint: 'leave out --preserve-digests, or what changes it: --platform, --compression, --missing prune',
  });
}

/** Several names of one image are one image. @throws ImgconvError USAGE when several images would get one name */
export function expectOne(selected: readonly Selected[], tag: string): void {
  const images = new Set(selected.map(({ image }) => ('digest' in image ? image.digest : image)));
  if (images.size <= 1) return;
  const { name } = splitReference(tag);
  const several =
    splitHost(name).host === undefined
      ? '--images-file names several, "SOURCE TARGET" on a line'
      : `a slash at the end, docker://${name}/, puts all of them below a prefix`;
  throw new ImgconvError('USAGE', `${tag} is the name of one image, and there are ${images.size}`, {
    hint: `choose one by its name, digest or number, as imgconv ls shows them; ${several}`,
  });
}

export function nothingIn(where: string, untagged: number): ImgconvError {
  return untagged === 0
    ? new ImgconvError('NOT_FOUND', `${where}: there are no images in it`, {
        hint: 'imgconv ls shows what there is',
      })
    : new ImgconvError('NOT_FOUND', `${where}: there are no tagged images in it`, {
        hint: '--untagged takes images without a tag, NAME@sha256:… one of them',
      });
}

/** It may be attached to what is converted: leaving it behind in silence would be to lose it. */
export function unreadableReferrer({ name, where, error }: UnreadableImage): Failure {
  const { code, message, cause = error } = error;
  const hint =
    'it may be attached to an image that is converted; --no-extras leaves out all that is attached';
  return { source: name ?? where, error: new ImgconvError(code, message, { cause, hint }) };
}

export function nameConflict(name: string, one: SourceImage, other: SourceImage): ImgconvError {
  const text = ({ name: own, where, digest }: SourceImage) => `${own ?? where} (${digest})`;
  return new ImgconvError(
    'NAME_CONFLICT',
    `${name}: both ${text(one)} and ${text(other)} would get this name`,
    { hint: 'nothing was written; tell them apart with --rename, --scoped or an images file' },
  );
}

/** A name that is none was read somewhere. */
export function located(error: ImgconvError, where: string): ImgconvError {
  const { code, message, hint } = error;
  if (code !== 'NAME_INVALID' || message.includes(where)) return error;
  return new ImgconvError(code, `${where}: ${message}`, {
    cause: error,
    ...(hint !== undefined && { hint }),
  });
}

export function tooManyAttached({ name, where }: SourceImage, most: number): ImgconvError {
  return new ImgconvError('MANIFEST_INVALID', `${name ?? where}: more than ${most} attached artifacts`, {
    hint: '--no-extras leaves out all that is attached',
  });
}
