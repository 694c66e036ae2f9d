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

/** True for tags of what is attached to something, also where the digest in it is cut. */
export function isAttachedTag(tag: string | undefined): boolean {
  return attachedTo(tag) !== undefined || isCutTag(tag);
}

/** A referrers tag that has but the first 64 characters of a longer digest. */
export function isCutTag(tag: string | undefined): tag is string {
  return /^(?:sha384|sha512)-[0-9a-f]{64}$/.test(tag ?? '');
}

/**
 * The tag under which a registry without a referrers API has the index of the referrers of a manifest: of the digest's
 * hex 64 characters at most (OCI distribution-spec v1.1 "Referrers Tag Schema").
 */
export function referrersTag(digest: Digest): string {
  return `${algorithmOf(digest)}-${hexOf(digest).slice(0, 64)}`;
}
