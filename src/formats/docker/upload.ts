import { Patience, Transient } from '../../bytes/retry.js';
import type { VerifiedBlob } from '../../proof/verified-blob.js';
import { algorithmOf } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { repositoryText, type Repository } from './client.js';
import type { Endpoint } from './endpoint.js';
import { uploadsPath } from './paths.js';
import type { Answer, ApiAnswer } from './transport.js';

/** Of a chunked upload; a registry may ask for more (`OCI-Chunk-Min-Length`). One is held in memory. */
const CHUNK = 8 * 1024 * 1024;
const LEAST_CHUNK = 1024 * 1024;
const LARGEST_CHUNK = 64 * 1024 * 1024;

/** Of beginnings besides those that failures make: once in chunks, and once for each size from the largest to the least. */
const OTHER_BEGINNINGS = 8;

const BYTES = { 'content-type': 'application/octet-stream' };

/** An upload that a registry has begun, and how much of it the registry has. */
interface Session {
  readonly url: URL;
  readonly offset: number;
}

/** Chunks that are too large for the registry. */
class TooLarge extends Error {}

/**
 * One blob on its way into a repository: in one piece first, in chunks where the registry refuses that, and from where
 * it broke off where the registry still has the beginning.
 */
export class Upload {
  readonly #endpoint: Endpoint;
  readonly #to: Repository;
  readonly #blob: VerifiedBlob;
  readonly #patience: Patience;
  #chunk: number | undefined;
  #breaks = 0;
  #beginnings = 0;
  /** How far the registry ever said that it has the blob. */
  #farthest = 0;

  constructor(endpoint: Endpoint, to: Repository, blob: VerifiedBlob) {
    this.#endpoint = endpoint;
    this.#to = to;
    this.#blob = blob;
    this.#patience = new Patience(endpoint.retry);
  }

  /** `from`: a repository of the same registry that has the blob, so that it need not be sent. */
  async run(from: string | undefined): Promise<'uploaded' | 'mounted'> {
    let session = from === undefined ? await this.#begin() : await this.#mount(from);
    while (session !== 'mounted') {
      try {
        await this.#send(session);
        return 'uploaded';
      } catch (failure) {
        if (failure instanceof TooLarge) session = await this.#begin();
        else {
          await this.#patience.afterFailure(failure);
          this.#makeSmaller();
          session = (await this.#resume(session)) ?? (await this.#begin());
        }
      }
    }
    return 'mounted';
  }

  /** What breaks off in one piece again and again may get through in smaller ones. */
  #makeSmaller(): void {
    if (this.#chunk !== undefined) this.#chunk = Math.max(this.#chunk / 2, LEAST_CHUNK);
    else if (++this.#breaks > 1) this.#chunk = CHUNK;
  }

  get #scopes(): readonly string[] {
    return pushes(this.#to);
  }

  /** A registry may lose what it was sent again and again: only so often is it sent from the start. */
  async #begin(): Promise<Session> {
    const most = this.#endpoint.retry.times + 1 + OTHER_BEGINNINGS;
    if (++this.#beginnings > most)
      throw new ImgconvError(
        'REGISTRY',
        `${repositoryText(this.#to)}: ${this.#blob.digest} was sent from the start ${most} times, and never taken`,
      );
    const answer = await this.#endpoint.request({
      path: uploadsPath(this.#to.repository),
      method: 'POST',
      headers: { 'content-length': '0' },
      scopes: this.#scopes,
      accept: [202],
    });
    return this.#session(answer, 0);
  }

  /** A registry that cannot mount begins an upload instead, or says that it may not be done. */
  async #mount(from: string): Promise<Session | 'mounted'> {
    try {
      const answer = await this.#endpoint.request({
        path: uploadsPath(this.#to.repository, { digest: this.#blob.digest, from }),
        method: 'POST',
        headers: { 'content-length': '0' },
        scopes: [...this.#scopes, `repository:${from}:pull`],
        accept: [201, 202],
      });
      if (answer.status === 202) return await this.#session(answer, 0);
      await answer.discard();
      return 'mounted';
    } catch (error) {
      if (error instanceof ImgconvError && ['UNAUTHORIZED', 'NOT_FOUND'].includes(error.code))
        return this.#begin();
      throw error;
    }
  }

  async #session(answer: Answer, offset: number): Promise<Session> {
    await answer.discard();
    // Only whole bytes can be sent.
    const least = Number(/^\d+$/.exec(answer.header('oci-chunk-min-length') ?? '')?.[0] ?? 0);
    if (this.#chunk !== undefined && least > this.#chunk) this.#chunk = Math.min(least, LARGEST_CHUNK);
    return { url: await this.#endpoint.locationOf(answer), offset };
  }

  /** Where a broken upload stands; undefined when the registry has given it up. */
  async #resume({ url }: Session): Promise<Session | undefined> {
    try {
      const answer = await this.#endpoint.request({ path: url, scopes: this.#scopes, accept: [204] });
      const end = /^(?:bytes[ =])?0-(\d+)$/.exec(answer.header('range') ?? '')?.[1];
      // A registry that has nothing says 0-0, as one that has one byte does: beginning anew costs that byte.
      const offset = end === undefined || end === '0' ? 0 : Number(end) + 1;
      if (offset === 0 || offset > this.#blob.size) {
        await answer.discard();
        return undefined;
      }
      this.#chunk ??= CHUNK;
      return await this.#session(answer, offset);
    } catch (error) {
      if (error instanceof ImgconvError && ['NOT_FOUND', 'REGISTRY'].includes(error.code)) return undefined;
      throw error;
    }
  }

  async #send(session: Session): Promise<void> {
    if (this.#chunk === undefined) await this.#sendWhole(session);
    else await this.#sendChunks(session, this.#chunk);
  }

  async #sendWhole({ url }: Session): Promise<void> {
    const { size } = this.#blob;
    const answer = await this.#endpoint.try({
      path: this.#closing(url),
      method: 'PUT',
      headers: { ...BYTES, 'content-length': String(size) },
      ...(size > 0 && { body: () => unforced(this.#blob.chunks()) }),
      scopes: this.#scopes,
      accept: [201, 413, 416],
    });
    await answer.discard();
    if (answer.status === 201) {
      this.#expectDigest(answer);
      return;
    }
    this.#chunk = CHUNK;
    throw new TooLarge();
  }

  async #sendChunks(session: Session, length: number): Promise<void> {
    let { url } = session;
    let done = 0;
    for await (const piece of pieces(this.#blob.chunks(), session.offset, length)) {
      const start = session.offset + done;
      const answer = await this.#endpoint.try({
        path: url,
        method: 'PATCH',
        headers: {
          ...BYTES,
          'content-length': String(piece.length),
          'content-range': `${start}-${start + piece.length - 1}`,
        },
        body: () => piece,
        scopes: this.#scopes,
        accept: [202, 413, 416],
      });
      if (answer.status === 413) {
        await answer.discard();
        if (length <= LEAST_CHUNK)
          throw new ImgconvError(
            'REGISTRY',
            `${answer.where}: chunks of ${length} bytes are too large for it`,
          );
        this.#chunk = length / 2;
        throw new TooLarge();
      }
      const session_ = await this.#session(answer, 0);
      if (answer.status === 416)
        throw new Transient(
          new ImgconvError('REGISTRY', `${answer.where}: does not take bytes from ${start}`),
        );
      const end = /(\d+)$/.exec(answer.header('range') ?? '')?.[1];
      done += piece.length;
      if (end !== undefined && Number(end) !== session.offset + done - 1)
        throw new Transient(
          new ImgconvError(
            'REGISTRY',
            `${answer.where}: says that it has bytes up to ${end}, ${session.offset + done - 1} were sent`,
          ),
        );
      // What is lost and sent again is no progress.
      if (session.offset + done > this.#farthest) {
        this.#farthest = session.offset + done;
        this.#patience.restore();
      }
      url = session_.url;
    }
    const answer = await this.#endpoint.try({
      path: this.#closing(url),
      method: 'PUT',
      headers: { 'content-length': '0' },
      scopes: this.#scopes,
      accept: [201],
    });
    await answer.discard();
    this.#expectDigest(answer);
  }

  #closing(url: URL): URL {
    const closing = new URL(url);
    closing.searchParams.set('digest', this.#blob.digest);
    return closing;
  }

  /** @throws ImgconvError DIGEST_MISMATCH when the registry says that it stored something else */
  #expectDigest(answer: ApiAnswer): void {
    const said = answer.header('docker-content-digest');
    const { digest } = this.#blob;
    const shown = answer.redact(said ?? '').slice(0, 160);
    if (said === undefined || said === digest) return;
    const algorithm = algorithmOf(digest);
    // Distribution 2.8 takes any digest and keeps the sha256 one (registry/storage/blobwriter.go, validateBlob).
    if (algorithm !== 'sha256' && said.startsWith('sha256:'))
      throw new ImgconvError(
        'FORMAT_UNSUPPORTED',
        `${repositoryText(this.#to)}: the registry keeps no ${algorithm} digests: it stored ${digest} as ${shown}`,
        { hint: 'reg:, oci:, docker-archive: and oci-archive: keep them' },
      );
    throw new ImgconvError(
      'DIGEST_MISMATCH',
      `${repositoryText(this.#to)}: sent ${digest}, the registry says that it has ${shown}`,
    );
  }
}

export function pushes({ repository }: Repository): readonly string[] {
  return [`repository:${repository}:pull,push`];
}

/** A body that may be left early, when the registry does not want it: its proof then fails, and nobody asked for it. */
async function* unforced(chunks: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  let ended = false;
  try {
    for (let next = await chunks.next(); ; next = await chunks.next()) {
      if (next.done === true) {
        ended = true;
        return;
      }
      yield next.value;
    }
  } finally {
    if (!ended) await chunks.return(undefined).catch(() => undefined);
  }
}

/** What follows the first `skip` bytes, in pieces of `length`, the last one shorter. */
async function* pieces(
  chunks: AsyncGenerator<Uint8Array>,
  skip: number,
  length: number,
): AsyncGenerator<Uint8Array> {
  let left = skip;
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of unforced(chunks)) {
    let rest = chunk.subarray(Math.min(left, chunk.length));
    left -= chunk.length - rest.length;
    while (rest.length > 0) {
      const part = rest.subarray(0, length - size);
      rest = rest.subarray(part.length);
      parts.push(part);
      size += part.length;
      if (size < length) continue;
      yield Buffer.concat(parts);
      parts = [];
      size = 0;
    }
  }
  if (size > 0) yield Buffer.concat(parts);
}
