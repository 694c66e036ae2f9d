import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { Transient } from '../../bytes/retry.js';
import { ImgconvError } from '../../model/errors.js';
import type { RegistryAccess } from '../access.js';
import { networkError, withCertificate } from './network-error.js';
import { proxyFor } from './proxy.js';
import { Silence, Stall } from './silence.js';
import { isLocal, tlsFor } from './tls.js';

/** How long a server may be silent. */
const IDLE_MS = 60_000;
/** A body with fewer bytes in that time counts as silence. */
const SLOWEST = 16 * 1024;
/** Connections to one host at once, by default. */
const CONNECTIONS = 8;
/** So much of an unwanted answer is read, so that its connection can be used again. */
const DISCARDED = 64 * 1024;
/** For so long: after that a new connection is quicker. */
const DISCARD_MS = 2000;

export interface Outgoing {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  /** Called for each try. */
  readonly body?: (() => AsyncIterable<Uint8Array> | Uint8Array | string) | undefined;
}

/** An answer. Its body has to be read or discarded: until then it holds a connection. */
export interface Answer {
  readonly status: number;
  readonly url: URL;
  /** For messages: the request, and where it was redirected to. */
  readonly where: string;
  header(name: string): string | undefined;
  /** @throws Transient when it breaks off or stalls */
  chunks(): AsyncGenerator<Uint8Array>;
  /** All of the body. @throws ImgconvError REGISTRY when it has more than `limit` bytes */
  read(limit: number): Promise<Buffer>;
  discard(): Promise<void>;
}

/** An answer of a registry's API. */
export interface ApiAnswer extends Answer {
  /** The beginning of this text of the answer, without secrets: a registry may repeat those that it was sent. */
  shown(text: string): string;
}

/** Sends HTTP requests over connections that are kept open, with certificates and proxies. */
export class Transport {
  readonly #access: RegistryAccess;
  readonly #own: string | undefined;
  readonly #signal: AbortSignal;
  readonly #idleMs: number;
  readonly #silence: Silence;
  readonly #dispatchers = new Map<string, Promise<Dispatcher>>();

  /** `own`: the only host and port that gets the client's certificate. */
  constructor(access: RegistryAccess, signal: AbortSignal, own: string | undefined) {
    this.#access = access;
    this.#own = own;
    this.#signal = signal;
    this.#idleMs = access.idleTimeout ?? IDLE_MS;
    this.#silence = new Silence(access.onWaiting);
  }

  /**
   * `where`: for messages; `server`: whether its certificate is checked.
   * @throws Transient NETWORK; ImgconvError NETWORK for failures that will not pass
   */
  async send(
    url: URL,
    { method, headers, body }: Outgoing,
    where = urlText(url),
    server: 'trusted' | 'anyone' = 'trusted',
  ): Promise<Answer> {
    const { default: undici } = await import('undici');
    const stall = new Stall(this.#signal, this.#idleMs, this.#silence, url.host);
    const content = body?.();
    try {
      const answer = await undici.request(url, {
        dispatcher: await this.#dispatcherFor(url, server),
        method,
        headers: { 'user-agent': 'imgconv', ...headers },
        ...(content !== undefined && {
          body:
            typeof content === 'string' || content instanceof Uint8Array
              ? content
              : Readable.from(stall.watched(content)),
        }),
        signal: stall.signal,
        headersTimeout: this.#idleMs,
        bodyTimeout: this.#idleMs,
      });
      stall.answered(answer.body);
      return answerOf(url, where, answer, {
        idleMs: this.#idleMs,
        access: this.#access,
        onChunk: () => {
          this.#silence.heard(url.host);
        },
      });
    } catch (error) {
      stall.end();
      const known = networkError(where, error, url, this.#access);
      throw await withCertificate(known, url, this.#proxyOf(url), this.#access);
    }
  }

  #proxyOf(url: URL): string | undefined {
    return isLocal(url.hostname) ? undefined : proxyFor(url, process.env);
  }

  #dispatcherFor(url: URL, server: 'trusted' | 'anyone'): Promise<Dispatcher> {
    const key = `${server} ${url.origin}`;
    const known = this.#dispatchers.get(key) ?? this.#dispatcher(url, server);
    this.#dispatchers.set(key, known);
    return known;
  }

  async #dispatcher(url: URL, server: 'trusted' | 'anyone'): Promise<Dispatcher> {
    const { default: undici } = await import('undici');
    // Reading the CAs takes longer than all the rest.
    const tls =
      server === 'anyone'
        ? { rejectUnauthorized: false }
        : url.protocol === 'https:'
          ? tlsFor(url.host, this.#access, url.host === this.#own)
          : {};
    const options = {
      connections: this.#access.connections ?? CONNECTIONS,
      pipelining: 1,
      keepAliveTimeout: 30_000,
      connectTimeout: Math.min(this.#idleMs, 30_000),
    };
    const proxy = this.#proxyOf(url);
    if (proxy === undefined)
      return new undici.Agent({ ...options, connect: { ...tls, timeout: options.connectTimeout } });
    return new undici.ProxyAgent({
      ...options,
      uri: proxy,
      requestTls: tls,
      proxyTunnel: url.protocol === 'https:',
      clientFactory: (origin, opts) => lastingFailures(new undici.Pool(origin, opts)),
    });
  }

  async close(): Promise<void> {
    const dispatchers = await Promise.allSettled(this.#dispatchers.values());
    await Promise.all(
      dispatchers.map((one) => (one.status === 'fulfilled' ? one.value.destroy() : Promise.resolve())),
    );
  }
}

/** When a proxy closes the connection on CONNECT, undici takes that for a passing UND_ERR_SOCKET and reconnects for ever. */
function lastingFailures(proxy: Dispatcher): Dispatcher {
  const connect = proxy.connect.bind(proxy) as (options: Dispatcher.ConnectOptions) => Promise<never>;
  return Object.assign(proxy, {
    connect: (options: Dispatcher.ConnectOptions) =>
      connect(options).catch((cause: unknown) => {
        const why = cause instanceof Error ? cause.message : String(cause);
        throw Object.assign(new Error(`the proxy does not connect: ${why}`, { cause }), {
          code: 'ECONNRESET',
        });
      }),
  });
}

function answerOf(
  url: URL,
  where: string,
  { statusCode, headers, body }: Dispatcher.ResponseData,
  {
    idleMs,
    access,
    onChunk,
  }: { readonly idleMs: number; readonly access: RegistryAccess; readonly onChunk: () => void },
): Answer {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    let since = Date.now();
    let count = 0;
    try {
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        onChunk();
        yield chunk;
        count += chunk.length;
        if (Date.now() - since < idleMs) continue;
        if (count < SLOWEST) {
          const slow = `no more than ${count} bytes in ${Math.round(idleMs / 1000)} s`;
          throw new Transient(new ImgconvError('NETWORK', `${where}: ${slow}`));
        }
        since = Date.now();
        count = 0;
      }
    } catch (error) {
      throw networkError(where, error, url, access);
    }
  }
  return {
    status: statusCode,
    url,
    where,
    header: (name) => {
      const value = headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    },
    chunks,
    read: async (limit) => {
      const parts: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of chunks()) {
        if ((size += chunk.length) > limit)
          throw new ImgconvError('REGISTRY', `${where}: an answer of more than ${limit} bytes`);
        parts.push(chunk);
      }
      return Buffer.concat(parts);
    },
    discard: async () => {
      const signal = AbortSignal.timeout(Math.min(idleMs, DISCARD_MS));
      await body.dump({ limit: DISCARDED, signal }).catch(() => undefined);
    },
  };
}

/** For messages: without the query, which may hold secrets. */
export function urlText({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}
