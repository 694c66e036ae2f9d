import { Attempts, Transient } from '../../bytes/retry.js';
import type { VerifiedBlob } from '../../proof/verified-blob.js';
import { algorithmOf, type Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { pushes, repositoryText, type Repository } from './client.js';
import type { Endpoint } from './endpoint.js';
import { uploadsPath } from './paths.js';
import type { Answer, ApiAnswer } from './transport.js';

/** Of a chunked upload; a registry may ask for more (`OCI-Chunk-Min-Length`). One is held in memory. */
const CHUNK = 8 * 1024 * 1024;
const LEAST_CHUNK = 1024 * 1024;
const LARGEST_CHUNK = 64 * 1024 * 1024;

/** Beginnings that no failure causes: one in chunks, and one for each size from the largest to the least. */
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
 * Sends one blob to a repository: in one piece, or in chunks if the registry refuses that. A broken upload resumes if the
 * registry still has its beginning.
 */
export class Upload {
  readonly #endpoint: Endpoint;
  readonly #to: Repository;
  readonly #blob: VerifiedBlob;
  readonly #attempts: Attempts;
  #chunk: number | undefined;
  #breaks = 0;
  #beginnings = 0;
  /** Bytes that the registry ever said it had. */
  #farthest = 0;

  constructor(endpoint: Endpoint, to: Repository, blob: VerifiedBlob) {
    this.#endpoint = endpoint;
    this.#to = to;
    this.#blob = blob;
    this.#attempts = new Attempts(endpoint.retry);
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
          await this.#attempts.afterFailure(failure);
          this.#makeSmaller();
          session = (await this.#resume(session)) ?? (await this.#begin());
        }
      }
    }
    return 'mounted';
  }

  /** What breaks off again and again may succeed in smaller chunks. */
  #makeSmaller(): void {
    if (this.#chunk !== undefined) this.#chunk = Math.max(this.#chunk / 2, LEAST_CHUNK);
    else if (++this.#breaks > 1) this.#chunk = CHUNK;
  }

  /** A registry may lose the blob again and again: an upload begins only so often. */
  async #begin(): Promise<Session> {
    const most = this.#endpoint.retry.times + 1 + OTHER_BEGINNINGS;
    if (++this.#beginnings > most)
      throw new ImgconvError(
        'REGISTRY',
        `${repositoryText(this.#to)}: ${this.#blob.digest} was sent from the start ${most} times, and never taken`,
      );
    return this.#session(await this.#post(uploadsPath(this.#to.repository), pushes(this.#to), [202]), 0);
  }

  /** A registry that cannot mount begins an upload instead, or refuses. */
  async #mount(from: string): Promise<Session | 'mounted'> {
    try {
      const path = uploadsPath(this.#to.repository, { digest: this.#blob.digest, from });
      const answer = await this.#post(path, [...pushes(this.#to), `repository:${from}:pull`], [201, 202]);
      return answer.status === 202 ? await this.#session(answer, 0) : 'mounted';
    } catch (error) {
      if (error instanceof ImgconvError && ['UNAUTHORIZED', 'NOT_FOUND'].includes(error.code))
        return this.#begin();
      throw error;
    }
  }

  #post(path: string, scopes: readonly string[], accept: readonly number[]): Promise<ApiAnswer> {
    return this.#endpoint.send({ path, method: 'POST', headers: { 'content-length': '0' }, scopes, accept });
  }

  async #session(answer: Answer, offset: number): Promise<Session> {
    const least = Number(/^\d+$/.exec(answer.header('oci-chunk-min-length') ?? '')?.[0] ?? 0);
    if (this.#chunk !== undefined && least > this.#chunk) this.#chunk = Math.min(least, LARGEST_CHUNK);
    return { url: await this.#endpoint.locationOf(answer), offset };
  }

  /** The state of a broken upload; undefined when the registry has dropped it. */
  async #resume({ url }: Session): Promise<Session | undefined> {
    try {
      const answer = await this.#endpoint.send({ path: url, scopes: pushes(this.#to), accept: [204] });
      const end = /^(?:bytes[ =])?0-(\d+)$/.exec(answer.header('range') ?? '')?.[1];
      // A registry that has nothing says 0-0, as one that has one byte does.
      const offset = end === undefined || end === '0' ? 0 : Number(end) + 1;
      if (offset === 0 || offset > this.#blob.size) return undefined;
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
    const body = size > 0 ? () => unforced(this.#blob.chunks()) : undefined;
    const answer = await this.#put(url, { ...BYTES, 'content-length': String(size) }, [201, 413, 416], body);
    if (answer.status === 201) return;
    this.#chunk = CHUNK;
    throw new TooLarge();
  }

  async #sendChunks({ url, offset }: Session, length: number): Promise<void> {
    let at = url;
    let start = offset;
    for await (const piece of pieces(this.#blob.chunks(), start, length)) {
      at = await this.#patch(at, piece, start, length);
      start += piece.length;
      // Bytes that are lost and sent again are no progress.
      if (start > this.#farthest) {
        this.#farthest = start;
        this.#attempts.reset();
      }
    }
    await this.#put(at, { 'content-length': '0' }, [201]);
  }

  /** Sends one chunk of a blob; gives where the next one goes. */
  async #patch(path: URL, piece: Uint8Array, start: number, length: number): Promise<URL> {
    const end = start + piece.length - 1;
    const answer = await this.#endpoint.sendOnce({
      path,
      method: 'PATCH',
      headers: {
        ...BYTES,
        'content-length': String(piece.length),
        'content-range': `${start}-${end}`,
      },
      body: () => piece,
      scopes: pushes(this.#to),
      accept: [202, 413, 416],
    });
    const { where, status } = answer;
    if (status === 413) {
      if (length <= LEAST_CHUNK)
        throw new ImgconvError('REGISTRY', `${where}: chunks of ${length} bytes are too large for it`);
      this.#chunk = length / 2;
      throw new TooLarge();
    }
    const has = /(\d+)$/.exec(answer.header('range') ?? '')?.[1];
    const fault =
      status === 416
        ? `does not take bytes from ${start}`
        : has !== undefined && Number(has) !== end
          ? `says that it has bytes up to ${has}, ${end} were sent`
          : undefined;
    if (fault !== undefined) throw new Transient(new ImgconvError('REGISTRY', `${where}: ${fault}`));
    return (await this.#session(answer, 0)).url;
  }

  /** Ends the upload. */
  async #put(
    url: URL,
    headers: Readonly<Record<string, string>>,
    accept: readonly number[],
    body?: () => AsyncIterable<Uint8Array>,
  ): Promise<ApiAnswer> {
    const path = new URL(url);
    path.searchParams.set('digest', this.#blob.digest);
    const scopes = pushes(this.#to);
    const answer = await this.#endpoint.sendOnce({ path, method: 'PUT', headers, body, scopes, accept });
    if (answer.status === 201) expectTaken(answer, this.#blob.digest, this.#to);
    return answer;
  }
}

/** @throws ImgconvError DIGEST_MISMATCH, FORMAT_UNSUPPORTED when the registry says that it stored another digest */
export function expectTaken(answer: ApiAnswer, digest: Digest, to: Repository): void {
  const said = answer.header('docker-content-digest');
  if (said === undefined || said === digest) return;
  const algorithm = algorithmOf(digest);
  // Distribution 2.8 takes any digest and keeps the sha256 one (registry/storage/blobwriter.go, validateBlob).
  if (algorithm !== 'sha256' && said.startsWith('sha256:'))
    throw new ImgconvError(
      'FORMAT_UNSUPPORTED',
      `${repositoryText(to)}: the registry keeps no ${algorithm} digests: it stored ${digest} as ${answer.shown(said)}`,
      { hint: 'reg:, oci:, docker-archive: and oci-archive: keep them' },
    );
  throw new ImgconvError(
    'DIGEST_MISMATCH',
    `${repositoryText(to)}: sent ${digest}, the registry says that it has ${answer.shown(said)}`,
  );
}

/** A body that may be left early, when the registry does not want it: that its proof then fails does not matter. */
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

/** The bytes after the first `skip`, in pieces of `length`, the last one shorter. */
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
