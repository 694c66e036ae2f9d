import { digestOf } from '../bytes/hash.js';
import { algorithmOf, isDigest, type Digest } from '../model/digest.js';
import { ImgconvError } from '../model/errors.js';
import { blobsOf, membersOf, subjectOf } from '../model/graph.js';
import { MAX_MANIFEST } from '../model/json.js';
import { manifestPayload, parseManifest } from '../model/manifest.js';
import { isForeignLayer } from '../model/media-type.js';
import { isTag } from '../model/reference.js';
import { VerifiedBlob } from '../proof/verified-blob.js';
import type { Pool } from '../threads/pool.js';
import type { Backend, NewManifest, WritableBackend } from './backend.js';
import type { Exchange } from './exchange.js';
import { Refusal } from './refusal.js';

/** @throws Refusal TAG_INVALID, DIGEST_INVALID */
function expectReference(reference: string): void {
  if (isDigest(reference) || isTag(reference)) return;
  if (reference.includes(':')) throw new Refusal('DIGEST_INVALID', `${reference} is not a digest`);
  throw new Refusal('TAG_INVALID', `${reference} is not a tag`);
}

export async function sendManifest(
  exchange: Exchange,
  backend: Backend,
  repository: string,
  reference: string,
): Promise<void> {
  // What no push can have made is just not there.
  const digest = isDigest(reference)
    ? reference
    : isTag(reference)
      ? await backend.resolve(repository, reference)
      : undefined;
  const there = digest && (await backend.manifest(repository, digest));
  if (digest === undefined || there === undefined)
    throw new Refusal('MANIFEST_UNKNOWN', `${reference} is not in ${repository}`);
  const ETag = `"${digest}"`;
  if (exchange.header('if-none-match') === ETag) exchange.empty(304, { ETag });
  else
    exchange.send(200, there.manifest.mediaType, there.bytes, {
      'Docker-Content-Digest': digest,
      ETag,
    });
}

export interface PushRules {
  /** Manifests may be pushed some of whose blobs or members are absent. */
  readonly sparse: boolean;
  readonly pool: Pool;
}

/** OCI distribution-spec v1.1, "Pushing Manifests". */
export async function takeManifest(
  exchange: Exchange,
  backend: Backend,
  writes: WritableBackend,
  repository: string,
  reference: string,
  rules: PushRules,
): Promise<void> {
  expectReference(reference);
  const tags = isDigest(reference) ? exchange.url.searchParams.getAll('tag') : [reference];
  for (const tag of tags) if (!isTag(tag)) throw new Refusal('TAG_INVALID', `${tag} is not a tag`);
  const bytes = await exchange.bodyOf(MAX_MANIFEST);
  const manifest = parse(exchange, bytes, reference);
  const payload = manifestPayload(bytes, reference);
  const digest = digestOf(payload, isDigest(reference) ? algorithmOf(reference) : exchange.algorithm);
  if (isDigest(reference) && reference !== digest)
    throw new Refusal('DIGEST_INVALID', `the manifest's digest is ${digest}, not ${reference}`);
  await writes.putManifest(repository, { ...manifest, bytes: payload, digest }, tags, () =>
    expectBlobs(backend, writes, repository, manifest.manifest, rules),
  );
  const subject = subjectOf(manifest.manifest)?.digest;
  const path = exchange.url.pathname.replace(/[^/]*$/, digest);
  exchange.response.setHeader('OCI-Tag', tags);
  exchange.empty(201, {
    Location: path,
    'Docker-Content-Digest': digest,
    ...(subject !== undefined && { 'OCI-Subject': subject }),
  });
}

/** @throws Refusal MANIFEST_INVALID */
function parse(exchange: Exchange, bytes: Uint8Array, reference: string): Omit<NewManifest, 'digest'> {
  const [type = ''] = (exchange.header('content-type') ?? '').split(';');
  try {
    const manifest = parseManifest(
      bytes,
      reference,
      type === '' || type === 'application/json' ? undefined : type.trim(),
    );
    return { bytes, manifest };
  } catch (error) {
    if (error instanceof ImgconvError) throw new Refusal('MANIFEST_INVALID', error.message);
    throw error;
  }
}

/**
 * All that the manifest needs is there. What only another of the served places has is copied into the one that takes pushes.
 * @throws Refusal MANIFEST_BLOB_UNKNOWN, MANIFEST_INVALID
 */
async function expectBlobs(
  backend: Backend,
  writes: WritableBackend,
  repository: string,
  manifest: NewManifest['manifest'],
  { sparse, pool }: PushRules,
): Promise<void> {
  for (const { target, label } of blobsOf(manifest)) {
    const { digest, size, mediaType = '', urls = [] } = target;
    const there = await backend.blob(repository, digest);
    if (there === undefined) {
      if (sparse || isForeignLayer(mediaType) || urls.length > 0) continue;
      throw new Refusal('MANIFEST_BLOB_UNKNOWN', `${label} is not in ${repository}: ${digest}`);
    }
    if (size !== undefined && there.size !== size)
      throw new Refusal(
        'MANIFEST_INVALID',
        `${label} has ${there.size} bytes, the manifest says ${size}: ${digest}`,
      );
    if (!(await writes.holds(repository, digest)))
      await writes.putBlob(repository, VerifiedBlob.at(there.at, { digest, size: there.size }, pool));
  }
  if (sparse) return;
  for (const { digest } of membersOf(manifest))
    if ((await backend.manifest(repository, digest)) === undefined)
      throw new Refusal('MANIFEST_BLOB_UNKNOWN', `a member of the index is not in ${repository}: ${digest}`);
}

export async function deleteManifest(
  exchange: Exchange,
  writes: WritableBackend,
  repository: string,
  reference: string,
): Promise<void> {
  expectReference(reference);
  const deleted = isDigest(reference)
    ? await writes.deleteManifest(repository, reference)
    : await writes.deleteTag(repository, reference);
  if (!deleted) throw new Refusal('MANIFEST_UNKNOWN', `${reference} is not in ${repository}`);
  exchange.empty(202);
}

export async function deleteBlob(
  exchange: Exchange,
  writes: WritableBackend,
  repository: string,
  digest: Digest,
): Promise<void> {
  if (!(await writes.deleteBlob(repository, digest)))
    throw new Refusal('BLOB_UNKNOWN', `${digest} is not in ${repository}`);
  exchange.empty(202);
}
