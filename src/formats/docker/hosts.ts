import { setMaxListeners } from 'node:events';
import type { RetryPolicy } from '../../bytes/retry.js';
import { ImgconvError } from '../../model/errors.js';
import type { RegistryAccess } from '../access.js';
import { CredentialStore } from './credentials.js';
import { Endpoint, type ApiRequest } from './endpoint.js';
import { canonicalHost, urlHost } from './paths.js';
import { Transport, type ApiAnswer } from './transport.js';

const RETRY_TIMES = 3;
const RETRY_DELAY_MS = 1000;

/** The hosts of registries. Each has one pool of connections, one set of tokens, and maybe a mirror. */
export class Hosts {
  readonly retry: RetryPolicy;
  readonly #closing = new AbortController();
  readonly #access: RegistryAccess;
  readonly #signal: AbortSignal;
  readonly #transports: Transport[] = [];
  readonly #credentials: CredentialStore;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #mirrors = new Map<string, Endpoint>();
  /** Hosts that answered, not their mirrors. */
  readonly #reached = new Set<string>();
  /** Hosts that have a mirror and never answered: they are tried only once. */
  readonly #unreached = new Map<string, ImgconvError>();

  constructor(access: RegistryAccess, signal: AbortSignal) {
    const { retryTimes = RETRY_TIMES, retryDelay = RETRY_DELAY_MS, mirrors = {}, onRetry } = access;
    const either = AbortSignal.any([signal, this.#closing.signal]);
    setMaxListeners(0, either);
    this.retry = { times: retryTimes, delayMs: retryDelay, signal: either, onRetry };
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

  /** `url`: of a mirror. */
  #newEndpoint(host: string, url?: URL): Endpoint {
    const { hosts = {} } = this.#access;
    const own = Object.hasOwn(hosts, host) ? hosts[host] : undefined;
    const access = own === undefined ? this.#access : { ...this.#access, ...own };
    // --src-cert-dir has the certificate of the registry, not of its mirror.
    const isShown = url === undefined || access.certDir === undefined;
    const transport = new Transport(access, this.#signal, isShown ? (url?.host ?? urlHost(host)) : undefined);
    this.#transports.push(transport);
    return new Endpoint(host, transport, this.#credentials, access, this.retry, url);
  }

  /** Tries the host's mirror first, then the host itself. */
  async pull(host: string, request: ApiRequest, tries: 'once' | 'again' = 'again'): Promise<ApiAnswer> {
    const mirror = this.#mirrors.get(host);
    if (mirror !== undefined) {
      try {
        const answer = await mirror.try(request);
        if (answer.status < 400) return answer;
        await answer.discard();
      } catch {
        // The error of the registry itself counts.
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

  /** True when only its mirror answers. */
  isBehindMirror(host: string): boolean {
    return this.#unreached.has(host);
  }

  /** Aborts all requests. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#transports.map((transport) => transport.close()));
  }
}
