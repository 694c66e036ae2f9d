import { headOf, type LocalBytes } from '../../bytes/region.js';
import type { TarIndex } from '../../codecs/tar-index.js';
import { blobName, MANIFEST, REPOSITORIES } from '../../model/oci-layout.js';
import { archiveAudit } from '../archive-audit.js';
import { unreachable, type Audit } from '../audit.js';

/** v1 metadata, which engines since 1.10 write and do not read. */
const V1 = /^[0-9a-f]{64}\/(?:json|VERSION)$/;
/** A layer or a config, in any vintage (paths.ts). */
const CONTENT = /(?:^|\/)(?:layer\.tar|[0-9a-f]{64}\.(?:json|tar|tar\.gz)|(?:sha256:)?[0-9a-f]{64})$/;

/** `named`: members that manifest.json names; undefined where there is none and all of v1 counts. */
export function engineArchiveAudit(index: TarIndex, named: readonly string[] | undefined): Audit {
  // What members lead to, be it by links.
  let reached: ReadonlySet<string> | undefined;
  const audit = archiveAudit(index, (name) => {
    if (name === MANIFEST || name === REPOSITORIES || V1.test(name) || named?.includes(name)) return 'known';
    if (!CONTENT.test(name)) return undefined;
    reached ??= new Set(named?.map((one) => keyOf(index.get(one))));
    if (named === undefined || reached.has(keyOf(index.get(name)))) return 'known';
    return unreachable(`${index.path}: ${name}`, index.get(name)?.size ?? 0);
  });
  return {
    ...audit,
    async *blobs() {
      for await (const blob of audit.blobs()) if (!isV1Json(index.get(blobName(blob.digest)))) yield blob;
    },
  };
}

/** Docker 25 and later write v1 metadata as blobs. */
function isV1Json(at: LocalBytes | undefined): boolean {
  if (at === undefined) return false;
  return /^\{"id":"[0-9a-f]{64}"/.test(Buffer.from(headOf(at, 72)).toString('latin1'));
}

function keyOf(at: LocalBytes | undefined): string {
  return at === undefined ? '' : `${at.kind === 'file' ? at.offset : ''} ${at.path}`;
}
