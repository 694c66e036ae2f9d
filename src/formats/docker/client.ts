import { setMaxListeners } from 'node:events';
import { digestOf } from '../../bytes/hash.js';
import { retrying, type RetryPolicy } from '../../bytes/retry.js';
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
import type { RegistryAccess } from '../access.js';
import { CredentialStore } from './credentials.js';
import { Endpoint, type ApiRequest } from './endpoint.js';
import {
  blobPath,
  urlHost,
  canonicalHost,
  catalogPath,
  manifestPath,
  referrersPath,
  tagsPath,
} from './paths.js';
import { expectWithin, NAMES, namesOf, pagesOf, REFERRERS, type ListLimit, type Told } from './pages.js';
import { Transport, type ApiAnswer } from './transport.js';

const RETRY_TIMES = 3;
const RETRY_DELAY_MS = 1000;

/** All kinds of manifests, for `Accept`. */
export const ACCEPT = [
  ...[OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST, ...ARTIFACT_MANIFESTS],
  `${DOCKER_SCHEMA1_SIGNED};q=0.5`,
  `${DOCKER_SCHEMA1};q=0.5`,
].join(', ');

/** A repository of a registry; the host as names have it. */
export interface Repository {
  readonly host: string;
  readonly repository: string;
}

export interface ServedManifest {
  readonly bytes: Uint8Array;
  /** Of the bytes themselves. */
  readonly digest: Digest;
}

export function repositoryText({ host, repository }: Repository): string {
  return `docker://${host}/${repository}`;
}

function pulls({ repository }: Repository): readonly string[] {
  return [`repository:${repository}:pull`];
}

function manifestRequest(from: Repository, reference: string): ApiRequest {
  const path = manifestPath(from.repository, reference);
  return { path, headers: { accept: ACCEPT }, scopes: pulls(from), accept: [200, 404] };
}

/** What is read from registries; each host has one pool of connections, one set of tokens, and maybe a mirror. */
export class Client {
  readonly retry: RetryPolicy;
  readonly #closing = new AbortController();
  readonly #access: RegistryAccess;
  readonly #signal: AbortSignal;
  /** All, to be closed. */
  readonly #transports: Transport[] = [];
  readonly #credentials: CredentialStore;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #mirrors = new Map<string, Endpoint>();
  /** Hosts that answered, themselves. */
  readonly #reached = new Set<string>();
  /** Hosts that have a mirror and never answered: they are not waited for again and again. */
  readonly #unreached = new Map<string, ImgconvError>();

  constructor(access: RegistryAccess, signal: AbortSignal) {
    const { retryTimes = RETRY_TIMES, retryDelay = RETRY_DELAY_MS, mirrors = {} } = access;
    const either = AbortSignal.any([signal, this.#closing.signal]);
    setMaxListeners(0, either);
    this.retry = { times: retryTimes, delayMs: retryDelay, signal: either };
    this.#access = access;
    this.#signal = either;
    this.#credentials = new CredentialStore(access);
    for (const [host, text] of Object.entries(mirrors)) {
      const url = URL.canParse(text) ? new URL(text) : undefined;
      if (url === undefined || !/^https?:$/.test(url.protocol))
        throw new ImgconvError('USAGE', `--registry-mirror ${host}: not a http or https URL`);
      this.#mirrors.set(canonicalHost(host), this.#newEndpoint(url.host, url));
    }
  }

  endpoint(host: string): Endpoint {
    const known = this.#endpoints.get(host) ?? this.#newEndpoint(host);
    this.#endpoints.set(host, known);
    return known;
  }

  /** `url`: of a mirror, which is a registry of its own. */
  #newEndpoint(host: string, url?: URL): Endpoint {
    const { hosts = {} } = this.#access;
    const own = Object.hasOwn(hosts, host) ? hosts[host] : undefined;
    const access = own === undefined ? this.#access : { ...this.#access, ...own };
    // A folder that was named has the certificate of the registry, not of its mirror.
    const isShown = url === undefined || access.certDir === undefined;
    const transport = new Transport(access, this.#signal, isShown ? (url?.host ?? urlHost(host)) : undefined);
    this.#transports.push(transport);
    return new Endpoint(host, transport, this.#credentials, access, this.retry, url);
  }

  /** Asks the host's mirror first; what that does not have or cannot give comes from the host itself. */
  async #pull(host: string, request: ApiRequest, tries: 'once' | 'again' = 'again'): Promise<ApiAnswer> {
    const mirror = this.#mirrors.get(host);
    if (mirror !== undefined) {
      try {
        const answer = await mirror.try(request);
        if (answer.status < 400) return answer;
        await answer.discard();
      } catch {
        // The registry itself is asked, and its word counts.
      }
    }
    const unreached = this.#unreached.get(host);
    if (unreached !== undefined) throw unreached;
    const endpoint = this.endpoint(host);
    try {
      const answer = await (tries === 'once' ? endpoint.try(request) : endpoint.request(request));
      this.#reached.add(host);
      return answer;
    } catch (error) {
      const lost = error instanceof ImgconvError && error.code === 'NETWORK' && !this.#signal.aborted;
      if (lost && mirror !== undefined && !this.#reached.has(host)) this.#unreached.set(host, error);
      throw error;
    }
  }

  /** Only its mirror answers: what there is of it came from there. */
  isBehindMirror(host: string): boolean {
    return this.#unreached.has(host);
  }

  /** A manifest's bytes, proved if it is asked for by digest; undefined when there is none. */
  async manifest(from: Repository, reference: string): Promise<ServedManifest | undefined> {
    const request = manifestRequest(from, reference);
    const { answer, body: bytes } = await this.#read(from.host, request, MAX_MANIFEST);
    if (bytes === undefined) return undefined;
    const { where } = answer;
    const payload = manifestPayload(bytes, where);
    const said = answer.header('docker-content-digest');
    const digests = [isDigest(reference) ? reference : undefined, said].filter((one) => one !== undefined);
    for (const digest of digests) {
      if (!isDigest(digest))
        throw new ImgconvError(
          'REGISTRY',
          `${where}: says that ${JSON.stringify(answer.redact(digest).slice(0, 160))} is its digest`,
        );
      const found = digestOf(payload, algorithmOf(digest));
      if (found !== digest)
        throw new ImgconvError(
          'DIGEST_MISMATCH',
          `${where}: expected ${digest}, the bytes sent have ${found}`,
        );
    }
    const [first] = digests;
    return { bytes, digest: first !== undefined && isDigest(first) ? first : digestOf(payload) };
  }

  /** What a registry says of a manifest without sending it; undefined when there is none. */
  async headManifest(
    from: Repository,
    reference: string,
  ): Promise<{ readonly digest: Digest | undefined } | undefined> {
    const answer = await this.#pull(from.host, { ...manifestRequest(from, reference), method: 'HEAD' });
    await answer.discard();
    const said = answer.header('docker-content-digest') ?? '';
    return answer.status === 200 ? { digest: isDigest(said) ? said : undefined } : undefined;
  }

  /** What has this manifest for its subject; undefined when the registry cannot be asked. */
  async referrers(from: Repository, digest: Digest): Promise<readonly Descriptor[] | undefined> {
    const found: Descriptor[] = [];
    const request = {
      headers: { accept: OCI_INDEX },
      scopes: pulls(from),
      accept: [200, 400, 404, 405, 501],
    };
    const path = referrersPath(from.repository, digest);
    for await (const page of this.#pages(from.host, path, request, REFERRERS)) {
      if (page === undefined) return undefined;
      const index = parseManifest(page.body, page.where, OCI_INDEX);
      if (index.kind !== 'index') continue;
      expectWithin(found.length + index.manifests.length, REFERRERS.items, 'referrers', page.where);
      for (const one of index.manifests) found.push(one);
    }
    return found;
  }

  /** A repository's tags, sorted; undefined when there is no such repository. */
  async tags(from: Repository): Promise<readonly string[] | undefined> {
    const tags: string[] = [];
    const request = { scopes: pulls(from), accept: [200, 404] };
    for await (const page of this.#pages(from.host, tagsPath(from.repository), request, NAMES)) {
      if (page === undefined) return undefined;
      const more = namesOf(page, 'tags');
      expectWithin(tags.length + more.length, NAMES.items, 'tags', page.where);
      for (const tag of more) tags.push(tag);
    }
    return tags.sort();
  }

  /** All repositories. @throws ImgconvError UNAUTHORIZED, REGISTRY where a registry does not tell */
  async *catalog(host: string): AsyncGenerator<string> {
    const request = { scopes: ['registry:catalog:*'], accept: [200] };
    let count = 0;
    for await (const page of this.#pages(host, catalogPath(), request, NAMES)) {
      if (page === undefined) return;
      const more = namesOf(page, 'repositories');
      expectWithin((count += more.length), NAMES.items, 'repositories', page.where);
      yield* more;
    }
  }

  #pages(host: string, path: string, request: Omit<ApiRequest, 'path'>, limit: ListLimit) {
    return pagesOf((next) => this.#read(host, { ...request, path: next }, limit.page), path, limit);
  }

  /** An answer with all of its body, asked for again where that breaks off; without one where the status is not 200. */
  #read(host: string, request: ApiRequest, limit: number): Promise<Told> {
    return retrying(this.retry, async () => {
      const answer = await this.#pull(host, request);
      if (answer.status === 200) return { answer, body: await answer.read(limit) };
      await answer.discard();
      return { answer, body: undefined };
    });
  }

  /** The size that a registry says a blob has; undefined when it has none such. */
  async blobSize(from: Repository, digest: Digest): Promise<number | undefined> {
    const answer = await this.#pull(from.host, {
      path: blobPath(from.repository, digest),
      method: 'HEAD',
      scopes: pulls(from),
      accept: [200, 404],
    });
    await answer.discard();
    const length = Number(answer.header('content-length') ?? NaN);
    return answer.status === 200 && Number.isSafeInteger(length) ? length : undefined;
  }

  /** A blob's bytes from `offset`, in one try; a registry that cannot begin there begins at 0. */
  async openBlob(from: Repository, { digest, size }: { digest: Digest; size: number }, offset: number) {
    const request = {
      path: blobPath(from.repository, digest),
      headers: { 'accept-encoding': 'identity', ...(offset > 0 && { range: `bytes=${offset}-` }) },
      scopes: pulls(from),
      accept: [200, 206, 404],
    };
    const answer = await this.#pull(from.host, request, 'once');
    const refuse = async (error: ImgconvError) => {
      await answer.discard();
      throw error;
    };
    const { where } = answer;
    if (answer.status === 404)
      return refuse(new ImgconvError('BLOB_MISSING', `${repositoryText(from)}: ${digest} is not there`));
    const partial = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(answer.header('content-range') ?? '');
    const begins = answer.status === 206 ? Number(partial?.[1] ?? NaN) : 0;
    const length = answer.header('content-length');
    if (answer.status === 206 && (begins !== offset || ![String(size), '*'].includes(partial?.[3] ?? '')))
      return refuse(
        new ImgconvError(
          'REGISTRY',
          `${where}: asked for bytes from ${offset} of ${size}, got ${answer.redact(answer.header('content-range') ?? 'no Content-Range').slice(0, 160)}`,
        ),
      );
    if (length !== undefined && Number(length) > size - begins)
      return refuse(
        new ImgconvError(
          'DIGEST_MISMATCH',
          `${where}: ${digest} has ${size} bytes, ${length} from ${begins} are sent`,
        ),
      );
    return { offset: begins, chunks: answer.chunks() };
  }

  /** Ends what is under way: nothing of it is wanted any more. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#transports.map((transport) => transport.close()));
  }
}
