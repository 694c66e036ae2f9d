import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { Transient } from '../../bytes/retry.js';
import { ImgconvError } from '../../model/errors.js';
import type { RegistryAccess } from '../access.js';
import { proxyFor } from './proxy.js';
import { isLocal, tlsFor } from './tls.js';

/** How long the other side may be silent. */
const IDLE_MS = 60_000;
/** A body that brings less than this in that time is as good as silent. */
const SLOWEST = 16 * 1024;
/** Connections to one host at once, where nobody says. */
const CONNECTIONS = 8;
/** What is read of an answer that nobody wants, so that its connection can be used again. */
const DISCARDED = 64 * 1024;
/** And waited for so long: a new connection is quicker. */
const DISCARD_MS = 2000;

export interface Outgoing {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly headers: Readonly<Record<string, string>>;
  /** Made anew for each try. */
  readonly body?: (() => AsyncIterable<Uint8Array> | Uint8Array | string) | undefined;
}

/** An answer whose body is still to be read, or to be discarded: until then it holds a connection. */
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
  /** The beginning of what it says, without the secrets that it was sent: a registry may repeat them. */
  shown(text: string): string;
}

/** Sends requests over connections that are kept open; knows of certificates and proxies, and of nothing above HTTP. */
export class Transport {
  readonly #access: RegistryAccess;
  readonly #own: string | undefined;
  readonly #signal: AbortSignal;
  readonly #idleMs: number;
  readonly #dispatchers = new Map<string, Promise<Dispatcher>>();

  /** `own`: the only host and port that a client's certificate is shown to. */
  constructor(access: RegistryAccess, signal: AbortSignal, own: string | undefined) {
    this.#access = access;
    this.#own = own;
    this.#signal = signal;
    this.#idleMs = access.idleTimeout ?? IDLE_MS;
  }

  /**
   * Whether a server answers in TLS. Whose certificate it shows does not matter here: nothing is said to it.
   * @throws as `send` does
   */
  async probe(url: URL): Promise<void> {
    const answer = await this.#send(url, { method: 'GET', headers: {} }, 'anyone');
    await answer.discard();
  }

  /**
   * `where`: what messages call it.
   * @throws Transient NETWORK; ImgconvError NETWORK for what another try will not mend
   */
  send(url: URL, outgoing: Outgoing, where = urlText(url)): Promise<Answer> {
    return this.#send(url, outgoing, 'trusted', where);
  }

  async #send(
    url: URL,
    { method, headers, body }: Outgoing,
    server: 'trusted' | 'anyone',
    where = urlText(url),
  ): Promise<Answer> {
    const { default: undici } = await import('undici');
    const stall = new Stall(this.#signal, this.#idleMs);
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
      return answerOf(url, where, answer, this.#idleMs);
    } catch (error) {
      stall.end();
      throw networkError(where, error);
    }
  }

  #dispatcherFor(url: URL, server: 'trusted' | 'anyone'): Promise<Dispatcher> {
    const key = `${server} ${url.origin}`;
    const known = this.#dispatchers.get(key) ?? this.#dispatcher(url, server);
    this.#dispatchers.set(key, known);
    return known;
  }

  async #dispatcher(url: URL, server: 'trusted' | 'anyone'): Promise<Dispatcher> {
    const { default: undici } = await import('undici');
    // Reading the CAs takes longer than all the rest: only who is to be trusted is held against them.
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
    const proxy = isLocal(url.hostname) ? undefined : proxyFor(url, process.env);
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

/**
 * Ends a request whose answer does not begin in time, counted from the last of the body that was taken: undici's own
 * clock starts anew with each interim answer (RFC 9110, 15.2) and each byte of a header.
 */
class Stall {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #idleMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(outer: AbortSignal, idleMs: number) {
    this.#outer = outer;
    this.#idleMs = idleMs;
    if (outer.aborted) this.#stop();
    else outer.addEventListener('abort', this.#stop, { once: true });
    this.#restart();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  readonly #stop = (): void => {
    this.#controller.abort(this.#outer.reason);
  };

  #restart(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const why = new Error(`no answer in ${this.#idleMs / 1000} s`);
      this.#controller.abort(Object.assign(why, { code: 'UND_ERR_HEADERS_TIMEOUT' }));
    }, this.#idleMs);
  }

  async *watched(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      this.#restart();
      yield chunk;
    }
    this.#restart();
  }

  /** The answer began; an interruption from outside still ends its body. */
  answered(body: Readable): void {
    clearTimeout(this.#timer);
    body.once('close', () => {
      this.end();
    });
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener('abort', this.#stop);
  }
}

/** undici connects anew without end when a proxy closes the connection on CONNECT: to it that is a passing UND_ERR_SOCKET. */
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
  idleMs: number,
): Answer {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    let since = Date.now();
    let count = 0;
    try {
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
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
      throw networkError(where, error);
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

/** For messages: queries of URLs can hold secrets. */
export function urlText({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}

/** What another try will not mend. */
const LASTING = new Set([
  ...['ENOTFOUND', 'EPROTO', 'ABORT_ERR'],
  ...['UND_ERR_INVALID_ARG', 'UND_ERR_ABORTED', 'UND_ERR_DESTROYED', 'UND_ERR_CLOSED'],
]);

function networkError(where: string, error: unknown): unknown {
  if (error instanceof ImgconvError || error instanceof Transient) return error;
  // What is not from the network is a fault of ours.
  if (!(error instanceof Error) || !('code' in error)) return error;
  const cause = error;
  // A happy-eyeballs failure holds one error for each address.
  const own = cause instanceof AggregateError && cause.errors[0] instanceof Error ? cause.errors[0] : cause;
  const code = String(error.code);
  const certificate = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS/.test(code);
  const known = new ImgconvError('NETWORK', `${where}: ${own.message || code}`, {
    cause,
    ...(certificate && { hint: 'for a CA of your own: certs.d, --src-cert-dir or --dest-cert-dir' }),
  });
  return certificate || LASTING.has(code) ? known : new Transient(known);
}
