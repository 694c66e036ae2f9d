import { algorithmOf, hexOf, type Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import type { Reference } from '../../model/reference.js';
import { join } from '../../storage/driver.js';

/*
 * skopeo's directory (containers/image directory/directory_transport.go) and a tree of them (skopeo cmd/skopeo/sync.go):
 *
 *   <tree>/[<host[:port]>/]<repository>:<tag>/         or  <repository>@<digest>/
 *     version                       "Directory Transport Version: 1.1\n"
 *     manifest.json                 the image's manifest or index, byte for byte
 *     <hex>.manifest.json           each member of an index
 *     <hex>                         each config and layer
 *     signature-<n>                 simple signing, n from 1
 *     <hex>.signature-<n>           of a member of an index
 *
 * Digests other than sha256 are written `<algorithm>-<hex>`, and the version is then 1.2.
 */
export const MANIFEST = 'manifest.json';
export const VERSION = 'version';

const VERSION_TEXT = 'Directory Transport Version: ';

function fileNameOf(digest: Digest): string {
  return algorithmOf(digest) === 'sha256' ? hexOf(digest) : `${algorithmOf(digest)}-${hexOf(digest)}`;
}

export function blobPath(folder: string, digest: Digest): string {
  return join(folder, fileNameOf(digest));
}

export function memberPath(folder: string, digest: Digest): string {
  return join(folder, `${fileNameOf(digest)}.${MANIFEST}`);
}

/** `member` is undefined for signatures of what manifest.json holds. */
export function signaturePath(folder: string, member: Digest | undefined, number: number): string {
  return join(folder, `${member === undefined ? '' : `${fileNameOf(member)}.`}signature-${number}`);
}

/** Where an image stands in a tree; the reference's parts were checked, so that this stays inside. */
export function imagePath({ host, repository, tag, digest }: Reference): string {
  const suffix = tag !== undefined ? `:${tag}` : digest !== undefined ? `@${digest}` : '';
  return join(host ?? '', `${repository}${suffix}`);
}

export function versionText(digests: Iterable<Digest>): string {
  const plain = [...digests].every((digest) => algorithmOf(digest) === 'sha256');
  return `${VERSION_TEXT}${plain ? '1.1' : '1.2'}\n`;
}

/** @throws ImgconvError FORMAT_UNSUPPORTED for a version after 1.2 */
export function checkVersion(text: string, where: string): void {
  const match = /^Directory Transport Version: (\d+)\.(\d+)\s*$/.exec(text);
  if (match?.[1] === '1' && Number(match[2]) <= 2) return;
  throw new ImgconvError(
    'FORMAT_UNSUPPORTED',
    `${where}: not version 1.1 or 1.2 of skopeo's directory format`,
  );
}
