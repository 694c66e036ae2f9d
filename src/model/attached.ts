import { algorithmOf, hexOf, isDigest, type Digest } from './digest.js';

/** cosign pkg/oci/remote: signatures, attestations and SBOMs, by the digest of their subject. */
export const COSIGN_SUFFIXES = ['.sig', '.att', '.sbom'] as const;

/**
 * The digest of the subject that a tag names: cosign's `sha256-<hex>.sig`, `.att`, `.sbom` (cosign pkg/oci/remote), and the
 * referrers tag `sha256-<hex>` (OCI distribution-spec v1.1 "Referrers Tag Schema").
 */
export function attachedTo(tag: string | undefined): Digest | undefined {
  const match = /^(sha256|sha384|sha512)-([0-9a-f]+)(?:\.[a-z]+)?$/.exec(tag ?? '');
  const digest = match === null ? '' : `${match[1] ?? ''}:${match[2] ?? ''}`;
  return isDigest(digest) ? digest : undefined;
}

/** True for a tag that names the subject of its image, even by a part of the digest. */
export function isAttachedTag(tag: string | undefined): boolean {
  return attachedTo(tag) !== undefined || isCutTag(tag);
}

/** True for a referrers tag with the first 64 characters of a longer digest. */
export function isCutTag(tag: string | undefined): tag is string {
  return /^(?:sha384|sha512)-[0-9a-f]{64}$/.test(tag ?? '');
}

/**
 * The tag of the index of a manifest's referrers in a registry without a referrers API. It has at most 64 characters of
 * the digest's hex (OCI distribution-spec v1.1 "Referrers Tag Schema").
 */
export function referrersTag(digest: Digest): string {
  return `${algorithmOf(digest)}-${hexOf(digest).slice(0, 64)}`;
}
