import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Answered, Outgoing } from './connection.js';
import type { Reach } from './connections.js';

/** A server behind a proxy. */
export class Proxied {
  readonly #dispatcher: Promise<Dispatcher>;

  constructor(url: URL, proxy: string, reach: Reach) {
    this.#dispatcher = dispatcherFor(url, proxy, reach);
  }

  async request(url: URL, { method, headers, body }: Outgoing, signal: AbortSignal): Promise<Answered> {
    const { default: undici } = await import('undici');
    const isStream = body !== undefined && typeof body !== 'string' && !(body instanceof Uint8Array);
    const answer = await undici.request(url, {
      dispatcher: await this.#dispatcher,
      method,
      headers,
      ...(body !== undefined && { body: isStream ? Readable.from(body) : body }),
      signal,
      // Of these others keep the time.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    const joined = Object.entries(answer.headers).map(
      ([name, value]) => [name, Array.isArray(value) ? value.join(', ') : (value ?? '')] as const,
    );
    const head = { status: answer.statusCode, headers: new Map(joined), framing: 'open', lasts: 0 } as const;
    const pour: Answered['pour'] = async (take) => {
      for await (const chunk of answer.body as AsyncIterable<Uint8Array>) take(chunk);
    };
    return { head, pour };
  }

  close(error: Error): void {
    this.#dispatcher.then((dispatcher) => dispatcher.destroy(error)).catch(() => undefined);
  }
}

/** Large to load, and needed for proxies alone. */
async function dispatcherFor(url: URL, proxy: string, { tls, timeoutMs, most }: Reach): Promise<Dispatcher> {
  const { default: undici } = await import('undici');
  return new undici.ProxyAgent({
    connections: most,
    pipelining: 1,
    keepAliveTimeout: 30_000,
    connectTimeout: timeoutMs,
    uri: proxy,
    requestTls: tls ?? {},
    proxyTunnel: url.protocol === 'https:',
    clientFactory: (origin, opts) => lastingFailures(new undici.Pool(origin, opts)),
  });
}

/** When a proxy closes the connection on CONNECT, undici takes that for a passing UND_ERR_SOCKET and reconnects for ever. */
function lastingFailures(through: Dispatcher): Dispatcher {
  const connect = through.connect.bind(through) as (options: Dispatcher.ConnectOptions) => Promise<never>;
  return Object.assign(through, {
    connect: (options: Dispatcher.ConnectOptions) =>
      connect(options).catch((cause: unknown) => {
        const why = cause instanceof Error ? cause.message : String(cause);
        throw Object.assign(new Error(`the proxy does not connect: ${why}`, { cause }), {
          code: 'ECONNRESET',
        });
      }),
  });
}
