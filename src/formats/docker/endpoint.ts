import { retrying, Transient, type RetryPolicy } from '../../bytes/retry.js';
import { ImgconvError } from '../../model/errors.js';
import type { RegistryAccess } from '../access.js';
import { Authenticator } from './auth.js';
import type { CredentialStore } from './credentials.js';
import { urlHost } from './paths.js';
import { saidBy, SHOWN } from './said.js';
import { isLocal } from './tls.js';
import { urlText, type Answer, type ApiAnswer, type Outgoing, type Transport } from './transport.js';

const MAX_REDIRECTS = 5;
/** So much of a header is shown. */
const MAX_HEADER = 160;
/** Statuses that may pass. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

export interface ApiRequest extends Partial<Outgoing> {
  /** `/v2/…`, or a `Location` of the registry's. */
  readonly path: string | URL;
  /** The rights that the request needs: `repository:<name>:pull`. */
  readonly scopes: readonly string[];
  /** Statuses that the caller handles; others are errors. */
  readonly accept: readonly number[];
}

/** One registry's API: authentication, retries, redirects, errors. */
export class Endpoint {
  /** As in names: `docker.io`. */
  readonly host: string;
  readonly retry: RetryPolicy;
  readonly #transport: Transport;
  readonly #auth: Authenticator;
  readonly #access: RegistryAccess;
  #base: Promise<URL> | undefined;

  /** `url`: of a mirror. */
  constructor(
    host: string,
    transport: Transport,
    credentials: CredentialStore,
    access: RegistryAccess,
    retry: RetryPolicy,
    url?: URL,
  ) {
    this.host = host;
    this.retry = retry;
    this.#transport = transport;
    this.#access = access;
    this.#auth = new Authenticator(host, transport, credentials, {
      plainHttp: access.tlsVerify === false || url?.protocol === 'http:',
      httpCredentials: access.httpCredentials === true,
      credentials: access.side === undefined ? 'credentials' : `--${access.side}-creds USER:PASSWORD`,
    });
    if (url !== undefined) this.#base = Promise.resolve(url);
  }

  /** With retries. @throws ImgconvError NETWORK, UNAUTHORIZED, REGISTRY */
  request(request: ApiRequest): Promise<ApiAnswer> {
    return retrying(this.retry, () => this.try(request));
  }

  /** As `request`, and discards the body. */
  async send(request: ApiRequest): Promise<ApiAnswer> {
    const answer = await this.request(request);
    await answer.discard();
    return answer;
  }

  /** As `send`, once. @throws Transient when another try may succeed */
  async sendOnce(request: ApiRequest): Promise<ApiAnswer> {
    const answer = await this.try(request);
    await answer.discard();
    return answer;
  }

  /** One try. @throws Transient when another one may succeed */
  async try({ path, scopes, accept, ...outgoing }: ApiRequest): Promise<ApiAnswer> {
    const base = await this.#find();
    const url = typeof path === 'string' ? new URL(`${base.pathname.replace(/\/$/, '')}${path}`, base) : path;
    for (let refused = 0; ; refused++) {
      const own = url.origin === base.origin;
      const authorization = own ? await this.#auth.header(scopes, base) : undefined;
      const answer = await this.#follow(url, base, outgoing, authorization);
      if (accept.includes(answer.status))
        return { ...answer, shown: (text) => this.#auth.redact(text).slice(0, MAX_HEADER) };
      // A host that the registry redirects to must not ask for its secrets.
      const isOwn = answer.url.origin === base.origin;
      if (
        answer.status !== 401 ||
        refused === 2 ||
        !isOwn ||
        !this.#auth.challenged(answer, scopes, authorization)
      )
        throw await this.#failure(answer);
      await answer.discard();
    }
  }

  async #follow(url: URL, base: URL, outgoing: Partial<Outgoing>, authorization?: string): Promise<Answer> {
    const { method = 'GET', headers = {}, body } = outgoing;
    let at = url;
    // An upload may be on another host.
    const asked = `${url.origin === base.origin ? '' : `${base.origin}: redirected to `}${this.#shown(url)}`;
    for (let hops = 0; ; hops++) {
      const sent = at.origin === url.origin && authorization !== undefined ? { authorization } : {};
      const where = hops === 0 ? asked : `${asked}: redirected to ${this.#shown(at)}`;
      const answer = await this.#transport
        .send(at, { method, headers: { ...headers, ...sent }, body }, where)
        .catch((error: unknown) => {
          throw this.#auth.redacted(error);
        });
      const location = answer.header('location');
      if (!isRedirect(answer.status, method) || location === undefined) return answer;
      await answer.discard();
      if (hops >= MAX_REDIRECTS)
        throw new ImgconvError('REGISTRY', `${asked}: redirected more than ${MAX_REDIRECTS} times`);
      at = this.#resolve(location, answer, base);
    }
  }

  /** A registry's `Location` or `Link` may repeat secrets. */
  #shown(url: URL): string {
    return this.#auth.redact(urlText(url));
  }

  /** @throws ImgconvError REGISTRY for a `Location` that leaves TLS or is no URL */
  #resolve(location: string, { url: from, where }: Answer, base: URL): URL {
    let url: URL;
    try {
      url = new URL(location, from);
    } catch (cause) {
      throw new ImgconvError('REGISTRY', `${where}: a Location that is no URL`, { cause });
    }
    const plain = url.protocol === 'http:' && base.protocol === 'http:';
    if (url.protocol !== 'https:' && !plain)
      throw new ImgconvError('REGISTRY', `${where}: redirected to ${this.#shown(url)}, which is not https`);
    url.username = '';
    url.password = '';
    return url;
  }

  /** The `Location` of an answer, for a further request. */
  async locationOf(answer: Answer): Promise<URL> {
    const location = answer.header('location');
    if (location === undefined)
      throw new ImgconvError('REGISTRY', `${answer.where}: an answer without a Location`);
    return this.#resolve(location, answer, await this.#find());
  }

  /** The URL of the registry: with TLS, or plain HTTP if that is allowed, or the registry is on this machine. */
  #find(): Promise<URL> {
    this.#base ??= this.#probe();
    return this.#base;
  }

  async #probe(): Promise<URL> {
    const host = urlHost(this.host);
    const base = new URL(`https://${host}`);
    const { tlsVerify } = this.#access;
    if (tlsVerify !== false && !(tlsVerify === undefined && isLocal(base.hostname))) return base;
    try {
      // Whose certificate the server shows does not matter yet: it gets no secrets.
      const url = new URL('/v2/', base);
      const answer = await this.#transport.send(url, { method: 'GET', headers: {} }, undefined, 'anyone');
      await answer.discard();
      return base;
    } catch (error) {
      if (!isNoTls(error)) {
        this.#base = undefined;
        throw error;
      }
      return new URL(`http://${host}`);
    }
  }

  async #failure(answer: Answer): Promise<ImgconvError | Transient> {
    const said = await this.#said(answer);
    const { status } = answer;
    const message = `${answer.where}: status ${status}${said && `: ${said}`}`;
    // Credentials are the same for each image; rights are not.
    if (status === 401) return this.#auth.refused(status, this.host, said, await this.#find());
    if (status === 403) return this.#auth.refused(status, answer.where, said, await this.#find());
    if (status === 429) return this.#limited(answer, said);
    const error = new ImgconvError(status === 404 ? 'NOT_FOUND' : 'REGISTRY', message);
    return PASSING.has(status) ? new Transient(error, retryAfter(answer)) : error;
  }

  #limited(answer: Answer, said: string): Transient {
    const wait = retryAfter(answer);
    const asked = wait === undefined ? '' : `; it asks to wait ${Math.ceil(wait / 1000)} s`;
    const message = `${this.host}: too many requests: status 429${said && `: ${said}`}${asked}`;
    return new Transient(
      new ImgconvError('REGISTRY', message, {
        hint: `wait, then run this again: finished images stay; an account may have a higher limit: imgconv login ${this.host}`,
      }),
      wait,
    );
  }

  /** What an error's body says, without secrets. */
  async #said(answer: Answer): Promise<string> {
    return this.#auth.redact(await saidBy(answer)).slice(0, SHOWN);
  }
}

function isRedirect(status: number, method: string): boolean {
  return (
    status === 307 || status === 308 || ([301, 302, 303].includes(status) && /^(?:GET|HEAD)$/.test(method))
  );
}

/** A server without TLS, or none at all. */
function isNoTls(error: unknown): boolean {
  const known = error instanceof Transient ? error.error : error;
  const cause = known instanceof ImgconvError ? known.cause : undefined;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  return (
    ['EPROTO', 'ECONNREFUSED', 'ECONNRESET', 'HTTP_CLOSED', 'UND_ERR_SOCKET'].includes(code) ||
    code.startsWith('ERR_SSL_')
  );
}

/** Seconds or a date (RFC 9110, 10.2.3), in milliseconds from now. */
function retryAfter(answer: Answer): number | undefined {
  const text = answer.header('retry-after');
  if (text === undefined) return undefined;
  const wait = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(wait) && wait > 0 ? wait : undefined;
}
