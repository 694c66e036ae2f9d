import { ImgconvError } from '../../model/errors.js';
import type { RegistryAccess } from '../access.js';
import type { Answered, Outgoing as Sent } from './connection.js';
import { Connections } from './connections.js';
import type { Take } from './content.js';
import { HttpError } from './message.js';
import { networkError, withCertificate } from './network-error.js';
import { proxyFor } from './proxy.js';
import type { Proxied } from './proxied.js';
import { Silence, Stall } from './silence.js';
import { isLocal, tlsFor } from './tls.js';

/** How long a server may be silent. */
const IDLE_MS = 60_000;
/** For a connection to be made. */
const CONNECT_MS = 30_000;
/** Connections to one host at once, by default. */
const CONNECTIONS = 8;
/** So much of an unwanted answer is read, so that its connection can be used again. */
const DISCARDED = 64 * 1024;
/** For so long: after that a new connection is quicker. */
const DISCARD_MS = 2000;

export interface Outgoing extends Omit<Sent, 'body'> {
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
  /** Gives the body to `take`, which may use the memory of a chunk only in the call. @throws Transient when it breaks off or stalls */
  pour(take: Take): Promise<void>;
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
  readonly #servers = new Map<string, Promise<Connections | Proxied>>();

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
    const stall = new Stall(this.#signal, this.#idleMs, this.#silence, url.host);
    const content = body?.();
    const outgoing = {
      method,
      headers: { 'user-agent': 'imgconv', ...headers },
      body:
        content === undefined || typeof content === 'string' || content instanceof Uint8Array
          ? content
          : stall.watched(content),
    };
    try {
      const connections = await this.#serverFor(url, server);
      const answered = await connections.request(url, outgoing, stall.signal);
      stall.answered();
      return this.#answerOf(url, where, answered, stall);
    } catch (error) {
      stall.end();
      const known = networkError(where, error, url, this.#access);
      throw await withCertificate(known, url, this.#proxyOf(url), this.#access);
    }
  }

  #proxyOf(url: URL): string | undefined {
    return isLocal(url.hostname) ? undefined : proxyFor(url, process.env);
  }

  #serverFor(url: URL, server: 'trusted' | 'anyone'): Promise<Connections | Proxied> {
    const key = `${server} ${url.origin}`;
    const known = this.#servers.get(key) ?? this.#newServer(url, server);
    this.#servers.set(key, known);
    return known;
  }

  async #newServer(url: URL, server: 'trusted' | 'anyone'): Promise<Connections | Proxied> {
    const reach = {
      // Reading the CAs takes longer than all the rest, so who trusts anyone reads none.
      tls:
        url.protocol !== 'https:'
          ? undefined
          : server === 'anyone'
            ? { rejectUnauthorized: false, ca: [] }
            : tlsFor(url.host, this.#access, url.host === this.#own),
      timeoutMs: Math.min(this.#idleMs, CONNECT_MS),
      most: this.#access.connections ?? CONNECTIONS,
    };
    const proxy = this.#proxyOf(url);
    if (proxy === undefined) return new Connections(url, reach);
    const { Proxied } = await import('./proxied.js');
    return new Proxied(url, proxy, reach);
  }

  #answerOf(url: URL, where: string, { head, pour }: Answered, stall: Stall): Answer {
    const poured = async (take: Take) => {
      try {
        await pour((chunk) => {
          stall.came(chunk.length);
          take(chunk);
        });
      } catch (error) {
        throw networkError(where, error, url, this.#access);
      } finally {
        stall.end();
      }
    };
    return {
      status: head.status,
      url,
      where,
      header: (name) => head.headers.get(name),
      pour: poured,
      read: async (limit) => {
        const parts: Uint8Array[] = [];
        let size = 0;
        await poured((chunk) => {
          if ((size += chunk.length) > limit)
            throw new ImgconvError('REGISTRY', `${where}: an answer of more than ${limit} bytes`);
          parts.push(new Uint8Array(chunk));
        });
        return Buffer.concat(parts);
      },
      discard: async () => {
        let left = DISCARDED;
        const tooLong = new Error('more than is discarded');
        const timer = setTimeout(
          () => {
            stall.abort(tooLong);
          },
          Math.min(this.#idleMs, DISCARD_MS),
        );
        await poured((chunk) => {
          if ((left -= chunk.length) < 0) throw tooLong;
        }).catch(() => undefined);
        clearTimeout(timer);
      },
    };
  }

  async close(): Promise<void> {
    const servers = await Promise.allSettled(this.#servers.values());
    const closed = new HttpError('HTTP_CLOSED', 'no more requests are sent');
    for (const one of servers) if (one.status === 'fulfilled') one.value.close(closed);
  }
}

/** For messages: without the query, which may hold secrets. */
export function urlText({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}
