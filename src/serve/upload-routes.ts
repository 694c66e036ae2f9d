import { algorithmOf, isDigest, type Digest } from '../model/digest.js';
import { isRepository } from '../model/reference.js';
import type { Pool } from '../threads/pool.js';
import type { Backend, WritableBackend } from './backend.js';
import type { Exchange } from './exchange.js';
import { Refusal } from './refusal.js';
import type { Upload, Uploads } from './uploads.js';

/** What routes of uploads share. */
export interface UploadContext {
  readonly uploads: Uploads;
  readonly pool: Pool;
  readonly backend: Backend;
  readonly writes: WritableBackend;
  /** Of a blob, in bytes. */
  readonly maxUpload: number;
}

/** POST: begins an upload, takes a whole blob (`digest`), or takes one that is there already (`mount`). */
export async function beginUpload(
  exchange: Exchange,
  context: UploadContext,
  repository: string,
): Promise<void> {
  const { uploads, writes } = context;
  const mounted = exchange.query('mount');
  if (mounted !== undefined) {
    const digest = expectDigest(mounted);
    if (await mount(context, repository, digest, exchange.query('from'))) {
      created(exchange, repository, digest);
      return;
    }
  }
  const said = exchange.query('digest');
  const digest = said === undefined ? undefined : expectDigest(said);
  const upload = uploads.begin(
    repository,
    digest === undefined ? exchange.algorithm : algorithmOf(digest),
    () => writes.uploadPath(),
  );
  if (digest === undefined) {
    exchange.request.resume();
    exchange.empty(202, { ...place(upload), Range: '0-0' });
    return;
  }
  try {
    await finish(exchange, context, upload, digest);
  } finally {
    // Its client was never told where to go on with it.
    uploads.end(upload);
  }
}

async function mount(
  { backend, writes }: UploadContext,
  repository: string,
  digest: Digest,
  from: string | undefined,
): Promise<boolean> {
  if (from !== undefined && (!isRepository(from) || (await backend.blob(from, digest)) === undefined))
    return false;
  return writes.mount(repository, digest, from);
}

/** PATCH: the next chunk, in order. */
export async function takeChunk(
  exchange: Exchange,
  { uploads, maxUpload }: UploadContext,
  repository: string,
  id: string,
): Promise<void> {
  const upload = uploads.get(repository, id);
  expectInOrder(exchange, upload);
  await upload.take(exchange, maxUpload);
  exchange.empty(202, { ...place(upload), Range: rangeOf(upload) });
}

/** PUT: the last chunk, if any, and the digest of all. */
export async function endUpload(
  exchange: Exchange,
  context: UploadContext,
  repository: string,
  id: string,
): Promise<void> {
  const upload = context.uploads.get(repository, id);
  const digest = expectDigest(exchange.query('digest') ?? '');
  expectInOrder(exchange, upload);
  await finish(exchange, context, upload, digest);
}

async function finish(
  exchange: Exchange,
  { uploads, writes, pool, maxUpload }: UploadContext,
  upload: Upload,
  digest: Digest,
): Promise<void> {
  await upload.take(exchange, maxUpload, true);
  try {
    await writes.putBlob(upload.repository, await upload.finish(digest, pool));
  } finally {
    uploads.end(upload);
  }
  created(exchange, upload.repository, digest);
}

export function tellUpload(
  exchange: Exchange,
  { uploads }: UploadContext,
  repository: string,
  id: string,
): void {
  const upload = uploads.get(repository, id);
  exchange.empty(204, { ...place(upload), Range: rangeOf(upload) });
}

export function cancelUpload(
  exchange: Exchange,
  { uploads }: UploadContext,
  repository: string,
  id: string,
): void {
  uploads.end(uploads.get(repository, id));
  exchange.empty(204);
}

/** @throws Refusal RANGE_INVALID, SIZE_INVALID for a chunk that is not the next one */
function expectInOrder(exchange: Exchange, upload: Upload): void {
  const said = exchange.header('content-range');
  if (said === undefined) return;
  const match = /^(?:bytes )?([0-9]+)-([0-9]+)(?:\/(?:[0-9]+|\*))?$/.exec(said.trim());
  const [first, last] = [Number(match?.[1]), Number(match?.[2])];
  const wrong = (what: string) =>
    new Refusal('RANGE_INVALID', what, { headers: { ...place(upload), Range: rangeOf(upload) } });
  if (match === null) throw wrong(`Content-Range: ${said}: START-END is expected`);
  if (first !== upload.size) throw wrong(`the next byte is ${upload.size}, not ${first}`);
  const length = exchange.header('content-length');
  if (length !== undefined && Number(length) !== last - first + 1)
    throw wrong(`Content-Range: ${said}, and the body has ${length} bytes`);
}

function place({ repository, id }: Upload): Record<string, string> {
  return { Location: `/v2/${repository}/blobs/uploads/${id}`, 'Docker-Upload-UUID': id };
}

/** What arrived; of nothing `0-0`, as Distribution says it. */
function rangeOf({ size }: Upload): string {
  return `0-${Math.max(0, size - 1)}`;
}

function created(exchange: Exchange, repository: string, digest: Digest): void {
  exchange.empty(201, { Location: `/v2/${repository}/blobs/${digest}`, 'Docker-Content-Digest': digest });
}

/** @throws Refusal DIGEST_INVALID */
export function expectDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new Refusal('DIGEST_INVALID', `${JSON.stringify(text.slice(0, 200))} is not a digest`);
}
