import { ImgconvError } from './errors.js';

declare const brand: unique symbol;
/** `<algorithm>:<hex>`, checked; only `parseDigest` and `isDigest` make one. Paths are made from this type alone. */
export type Digest = string & { readonly [brand]: 'Digest' };

/** Registered algorithms and the length of their hex (OCI image-spec, descriptor.md "Registered algorithms"). */
const HEX_LENGTH = { sha256: 64, sha384: 96, sha512: 128 } as const;
export type Algorithm = keyof typeof HEX_LENGTH;

function isAlgorithm(text: string): text is Algorithm {
  return Object.hasOwn(HEX_LENGTH, text);
}

/** True when `text` is lower-case hex of the length that `algorithm` has. */
export function isHexOf(algorithm: string, text: string): boolean {
  return isAlgorithm(algorithm) && text.length === HEX_LENGTH[algorithm] && /^[0-9a-f]+$/.test(text);
}

/** @throws ImgconvError DIGEST_INVALID; `where` begins the message. */
export function parseDigest(text: string, where: string): Digest {
  const colon = text.indexOf(':');
  if (colon < 0 || !isHexOf(text.slice(0, colon), text.slice(colon + 1))) {
    const shown = JSON.stringify(text.length > 160 ? `${text.slice(0, 160)}…` : text);
    throw new ImgconvError('DIGEST_INVALID', `${where}: ${shown} is not a sha256, sha384 or sha512 digest`);
  }
  return text as Digest;
}

export function isDigest(text: string): text is Digest {
  const colon = text.indexOf(':');
  return colon > 0 && isHexOf(text.slice(0, colon), text.slice(colon + 1));
}

export function algorithmOf(digest: Digest): Algorithm {
  return digest.slice(0, digest.indexOf(':')) as Algorithm;
}

export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}
