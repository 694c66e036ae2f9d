import type { LocalBytes } from '../../io/region.js';
import type { TarIndex } from '../../io/tar-index.js';
import { archiveAudit } from '../archive-audit.js';
import { unreachable, type Audit } from '../audit.js';
import { MANIFEST, REPOSITORIES } from '../layout-tar.js';

/** v1 metadata, which engines since 1.10 write and do not read. */
const V1 = /^[0-9a-f]{64}\/(?:json|VERSION)$/;
/** A layer or a config, in any vintage (paths.ts). */
const CONTENT = /(?:^|\/)(?:layer\.tar|[0-9a-f]{64}\.(?:json|tar|tar\.gz)|(?:sha256:)?[0-9a-f]{64})$/;

/** `named`: members that manifest.json names; undefined where there is none and all of v1 counts. */
export function engineArchiveAudit(index: TarIndex, named: readonly string[] | undefined): Audit {
  // What members lead to, be it by links.
  let reached: ReadonlySet<string> | undefined;
  return archiveAudit(index, (name) => {
    if (name === MANIFEST || name === REPOSITORIES || V1.test(name)) return 'known';
    if (!CONTENT.test(name)) return undefined;
    reached ??= new Set(named?.map((one) => keyOf(index.get(one))));
    if (named === undefined || reached.has(keyOf(index.get(name)))) return 'known';
    return unreachable(`${index.path}: ${name}`, index.get(name)?.size ?? 0);
  });
}

function keyOf(at: LocalBytes | undefined): string {
  return at === undefined ? '' : `${at.kind === 'file' ? at.offset : ''} ${at.path}`;
}
