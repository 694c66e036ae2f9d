import { digestOf } from '../../bytes/hash.js';
import { retrying } from '../../bytes/retry.js';
import type { Descriptor } from '../../model/descriptor.js';
import { algorithmOf, isDigest, type Digest } from '../../model/digest.js';
import { ImgconvError } from '../../model/errors.js';
import { MAX_MANIFEST } from '../../model/json.js';
import { manifestPayload, parseManifest } from '../../model/manifest.js';
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  ARTIFACT_MANIFESTS,
  DOCKER_SCHEMA1,
  DOCKER_SCHEMA1_SIGNED,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../../model/media-type.js';
import type { Take } from './content.js';
import type { ApiRequest } from './endpoint.js';
import type { Hosts } from './hosts.js';
import { blobPath, catalogPath, manifestPath, referrersPath, tagsPath } from './paths.js';
import {
  namesOf,
  pagesOf,
  REFERRERS,
  REPOSITORIES,
  TAGS,
  type ListLimit,
  type Page,
  type Served,
} from './pages.js';
import type { ApiAnswer } from './transport.js';

/** All media types of manifests. */
export const ACCEPT = [
  ...[OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, ...ARTIFACT_MANIFESTS],
  `${DOCKER_SCHEMA1_SIGNED};q=0.5`,
  `${DOCKER_SCHEMA1};q=0.5`,
].join(', ');

/** A repository of a registry; `host` is as in names. */
export interface Repository {
  readonly host: string;
  readonly repository: string;
}

type ListRequest = ApiRequest & { readonly path: string };

export interface ServedManifest {
  readonly bytes: Uint8Array;
  /** Of the bytes, computed. */
  readonly digest: Digest;
}

export function repositoryText({ host, repository }: Repository): string {
  return `docker://${host}/${repository}`;
}

function pulls({ repository }: Repository): readonly string[] {
  return [`repository:${repository}:pull`];
}

export function pushes({ repository }: Repository): readonly string[] {
  return [`repository:${repository}:pull,push`];
}

function manifestRequest(from: Repository, reference: string): ApiRequest {
  const path = manifestPath(from.repository, reference);
  return { path, headers: { accept: ACCEPT }, scopes: pulls(from), accept: [200, 404] };
}

/** Reads from registries, and puts manifests. */
export class Client {
  readonly #hosts: Hosts;

  constructor(hosts: Hosts) {
    this.#hosts = hosts;
  }

  /** A manifest's bytes, proved if it is asked for by digest; undefined when there is none. */
  async manifest(from: Repository, reference: string): Promise<ServedManifest | undefined> {
    const request = manifestRequest(from, reference);
    const { answer, body: bytes } = await this.#read(from.host, request, MAX_MANIFEST);
    if (bytes === undefined) return undefined;
    const { where } = answer;
    const payload = manifestPayload(bytes, where);
    const said = answer.header('docker-content-digest');
    if (said !== undefined && !isDigest(said)) {
      const shown = JSON.stringify(answer.shown(said));
      throw new ImgconvError('REGISTRY', `${where}: says that ${shown} is its digest`);
    }
    const digests = [isDigest(reference) ? reference : undefined, said].filter((one) => one !== undefined);
    for (const digest of digests) {
      const found = digestOf(payload, algorithmOf(digest));
      if (found !== digest)
        throw new ImgconvError(
          'DIGEST_MISMATCH',
          `${where}: expected ${digest}, the bytes sent have ${found}`,
        );
    }
    return { bytes, digest: digests[0] ?? digestOf(payload) };
  }

  /** The digest of a manifest as the registry says it; undefined when there is none. */
  async headManifest(
    from: Repository,
    reference: string,
  ): Promise<{ readonly digest: Digest | undefined } | undefined> {
    const answer = await this.#hosts.pull(from.host, { ...manifestRequest(from, reference), method: 'HEAD' });
    await answer.discard();
    const said = answer.header('docker-content-digest') ?? '';
    return answer.status === 200 ? { digest: isDigest(said) ? said : undefined } : undefined;
  }

  /** @throws ImgconvError as `Endpoint.request` does */
  putManifest(to: Repository, reference: string, mediaType: string, bytes: Uint8Array): Promise<ApiAnswer> {
    return this.#hosts.endpoint(to.host).send({
      path: manifestPath(to.repository, reference),
      method: 'PUT',
      headers: { 'content-type': mediaType, 'content-length': String(bytes.length) },
      body: () => bytes,
      scopes: pushes(to),
      accept: [200, 201, 202],
    });
  }

  /** The referrers of a manifest; undefined when the registry has no API for them. */
  referrers(from: Repository, digest: Digest): Promise<readonly Descriptor[] | undefined> {
    const request = {
      path: referrersPath(from.repository, digest),
      headers: { accept: OCI_INDEX },
      scopes: pulls(from),
      accept: [200, 400, 404, 405, 501],
    };
    return this.#list(from.host, request, REFERRERS, ({ body, where }) => {
      const index = parseManifest(body, where, OCI_INDEX);
      return index.kind === 'index' ? index.manifests : [];
    });
  }

  /** A repository's tags, sorted; undefined when there is no such repository. */
  async tags(from: Repository): Promise<readonly string[] | undefined> {
    const request = { path: tagsPath(from.repository), scopes: pulls(from), accept: [200, 404] };
    const tags = await this.#list(from.host, request, TAGS, (page) => namesOf(page, 'tags'));
    return tags?.sort();
  }

  /** All repositories. @throws ImgconvError UNAUTHORIZED, REGISTRY where a registry does not list them */
  async *catalog(host: string): AsyncGenerator<string> {
    const request = { path: catalogPath(), scopes: ['registry:catalog:*'], accept: [200] };
    for await (const names of this.#pages(host, request, REPOSITORIES, (page) =>
      namesOf(page, 'repositories'),
    ))
      yield* names ?? [];
  }

  async #list<T>(
    host: string,
    request: ListRequest,
    limit: ListLimit,
    itemsOf: (page: Page) => readonly T[],
  ): Promise<T[] | undefined> {
    const found: T[] = [];
    for await (const items of this.#pages(host, request, limit, itemsOf)) {
      if (items === undefined) return undefined;
      for (const item of items) found.push(item);
    }
    return found;
  }

  #pages<T>(host: string, request: ListRequest, limit: ListLimit, itemsOf: (page: Page) => readonly T[]) {
    const ask = (path: string | URL) => this.#read(host, { ...request, path }, limit.page);
    return pagesOf(ask, request.path, limit, itemsOf);
  }

  /** An answer with all of its body, retried when that breaks off; without a body when the status is not 200. */
  #read(host: string, request: ApiRequest, limit: number): Promise<Served> {
    return retrying(this.#hosts.retry, async () => {
      const answer = await this.#hosts.pull(host, request);
      if (answer.status === 200) return { answer, body: await answer.read(limit) };
      await answer.discard();
      return { answer, body: undefined };
    });
  }

  /** The size of a blob as the registry says it; undefined when the blob is not there. */
  async blobSize(from: Repository, digest: Digest): Promise<number | undefined> {
    const answer = await this.#hosts.pull(from.host, {
      path: blobPath(from.repository, digest),
      method: 'HEAD',
      scopes: pulls(from),
      accept: [200, 404],
    });
    await answer.discard();
    const length = Number(answer.header('content-length') ?? NaN);
    return answer.status === 200 && Number.isSafeInteger(length) ? length : undefined;
  }

  /** A blob's bytes from `offset`, or from 0 if the registry supports no ranges; without retries. */
  async openBlob(from: Repository, blob: { digest: Digest; size: number }, offset: number) {
    const request = {
      path: blobPath(from.repository, blob.digest),
      headers: { 'accept-encoding': 'identity', ...(offset > 0 && { range: `bytes=${offset}-` }) },
      scopes: pulls(from),
      accept: [200, 206, 404],
    };
    const answer = await this.#hosts.pull(from.host, request, 'once');
    try {
      if (answer.status === 404)
        throw new ImgconvError('BLOB_MISSING', `${repositoryText(from)}: ${blob.digest} is not there`);
      return { offset: beginningOf(answer, blob, offset), pour: (take: Take) => answer.pour(take) };
    } catch (error) {
      await answer.discard();
      throw error;
    }
  }
}

/** The offset in the blob at which the answer begins. @throws ImgconvError for bytes that were not asked for */
function beginningOf(
  answer: ApiAnswer,
  { digest, size }: { digest: Digest; size: number },
  asked: number,
): number {
  const { where, status } = answer;
  const range = answer.header('content-range');
  const [, begin = '', total = ''] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(range ?? '') ?? [];
  if (status === 206 && (begin !== String(asked) || ![String(size), '*'].includes(total)))
    throw new ImgconvError(
      'REGISTRY',
      `${where}: asked for bytes from ${asked} of ${size}, got ${answer.shown(range ?? 'no Content-Range')}`,
    );
  const begins = status === 206 ? asked : 0;
  const length = answer.header('content-length');
  if (length !== undefined && Number(length) > size - begins)
    throw new ImgconvError(
      'DIGEST_MISMATCH',
      `${where}: ${digest} has ${size} bytes, ${length} from ${begins} are sent`,
    );
  return begins;
}
