import {
  createServer,
  type IncomingMessage,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { asImgconvError } from '../model/errors.js';
import type { Place } from '../formats/table.js';
import type { Pool } from '../threads/pool.js';
import type { Accounts } from './accounts.js';
import { Api } from './api.js';
import type { Backend } from './backend.js';
import { Exchange, SILENCE_TIMEOUT } from './exchange.js';
import { cannotListen, refuse } from './failures.js';
import { hostText, isLoopback, type Address } from './listen.js';
import { Metrics } from './metrics.js';
import { Page } from './page-routes.js';
import { PageUploads } from './page-uploads.js';
import { Refusal } from './refusal.js';
import { Uploads } from './uploads.js';

/** A line of the access log. */
export interface LogEntry {
  /** ISO 8601, when the request came. */
  readonly time: string;
  readonly client: string;
  readonly user?: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** Bytes of the bodies. */
  readonly received: number;
  readonly sent: number;
  readonly milliseconds: number;
  readonly agent?: string;
  /** Why it failed, if that is the server's fault: clients are not told of paths. */
  readonly error?: string;
}

export interface ServerOptions {
  readonly backend: Backend;
  readonly accounts: Accounts;
  readonly pool: Pool;
  /** What uploads go to, and what is verified. */
  readonly place: Place;
  readonly address: Address;
  /** PEM. */
  readonly tls?: { readonly cert: Uint8Array; readonly key: Uint8Array } | undefined;
  /** Of a blob, in bytes. */
  readonly maxUpload: number;
  /** Takes manifests some of whose blobs or members are absent. */
  readonly sparse: boolean;
  readonly log: (entry: LogEntry) => void;
}

/** Milliseconds that a client may take for its headers. */
const HEADERS_TIMEOUT = 20_000;
const KEEP_ALIVE = 75_000;
const MAX_HEADER_BYTES = 32 * 1024;
const MAX_CONNECTIONS = 8192;
/** How often abandoned uploads are looked for. */
const SWEEP = 60_000;

/** A registry over HTTP. */
export class Server {
  readonly #options: ServerOptions;
  readonly #uploads = new Uploads();
  readonly #api: Api;
  readonly #metrics: Metrics;
  readonly #page: Page;
  readonly #pageUploads: PageUploads | undefined;
  readonly #http: HttpServer;
  readonly #sweeper: NodeJS.Timeout;
  #isStopping = false;

  private constructor(options: ServerOptions) {
    this.#options = options;
    this.#api = new Api({ ...options, uploads: this.#uploads });
    const page = options.backend.writes?.page;
    this.#pageUploads = page && new PageUploads(page.root, page.folder, options.maxUpload);
    this.#page = new Page({ ...options, uploads: this.#pageUploads, host: () => this.host });
    this.#metrics = new Metrics(() => this.#uploads.count);
    const limits = { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: HEADERS_TIMEOUT, requestTimeout: 0 };
    const listener = (request: IncomingMessage, response: ServerResponse) =>
      void this.#answer(request, response);
    this.#http =
      options.tls === undefined
        ? createServer(limits, listener)
        : createTlsServer(
            { ...limits, cert: Buffer.from(options.tls.cert), key: Buffer.from(options.tls.key) },
            listener,
          );
    this.#http.keepAliveTimeout = KEEP_ALIVE;
    this.#http.timeout = SILENCE_TIMEOUT;
    // An answer may take its time: a layer is fetched, an image compressed. Clients that do not read it are told by `written`.
    this.#http.on('request', (request: IncomingMessage) => {
      const { socket, headers } = request;
      const hasBody = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
      if (hasBody) request.once('end', () => socket.setTimeout(0));
      else socket.setTimeout(0);
    });
    this.#http.maxConnections = MAX_CONNECTIONS;
    this.#sweeper = setInterval(() => {
      this.#sweep();
    }, SWEEP).unref();
  }

  /** @throws ImgconvError IO when the address cannot be listened on */
  static async start(options: ServerOptions): Promise<Server> {
    const server = new Server(options);
    const { host, port } = options.address;
    try {
      await new Promise<void>((resolve, reject) => {
        server.#http.once('error', reject);
        server.#http.listen({ host, port, backlog: 1024 }, resolve);
      });
    } catch (error) {
      clearInterval(server.#sweeper);
      throw cannotListen(error, options.address);
    }
    // Such as too many open files: the next connection may be taken.
    server.#http.on('error', () => undefined);
    return server;
  }

  get port(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  /** As references and `docker pull` have it. */
  get host(): string {
    const { host } = this.#options.address;
    const shown = host === undefined || host === '0.0.0.0' || host === '::' ? 'localhost' : hostText(host);
    return `${shown}:${this.port}`;
  }

  get url(): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://${this.host}/`;
  }

  /** Lets requests end for at most `grace` milliseconds, and gives back what it held. */
  async close(grace: number): Promise<void> {
    this.#isStopping = true;
    clearInterval(this.#sweeper);
    const ended = new Promise((resolve) => this.#http.close(resolve));
    this.#http.closeIdleConnections();
    const late = setTimeout(() => {
      this.#http.closeAllConnections();
    }, grace);
    await ended;
    clearTimeout(late);
    this.#uploads.close();
    this.#pageUploads?.close();
  }

  /** What fails now is tried again. */
  #sweep(): void {
    try {
      this.#uploads.clear();
      this.#pageUploads?.clear().catch(() => undefined);
    } catch (error) {
      process.emitWarning(asImgconvError(error).message);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const begun = {
      at: performance.now(),
      time: new Date().toISOString(),
      sent: request.socket.bytesWritten,
    };
    let exchange: Exchange | undefined;
    let failure: string | undefined;
    response.on('error', () => undefined);
    if (this.#isStopping) response.setHeader('Connection', 'close');
    try {
      exchange = new Exchange(request, response);
      await this.#route(exchange);
    } catch (error) {
      failure = refuse(request, response, error);
    }
    if (!response.writableFinished && !response.destroyed)
      await new Promise((resolve) => response.once('close', resolve));
    if (exchange === undefined) return;
    const sent = request.socket.bytesWritten - begun.sent;
    const milliseconds = Math.round((performance.now() - begun.at) * 10) / 10;
    this.#metrics.ended(exchange, milliseconds / 1000, sent);
    const agent = exchange.header('user-agent');
    this.#options.log({
      time: begun.time,
      client: request.socket.remoteAddress ?? '-',
      ...(exchange.user !== undefined && { user: exchange.user }),
      method: exchange.method,
      path: request.url ?? '',
      status: response.headersSent ? response.statusCode : 499,
      received: exchange.received,
      sent,
      milliseconds,
      ...(agent !== undefined && { agent }),
      ...(failure !== undefined && { error: failure }),
    });
  }

  async #route(exchange: Exchange): Promise<void> {
    const { pathname } = exchange.url;
    if (pathname === '/healthz') {
      exchange.route = 'healthz';
      exchange.send(this.#isStopping ? 503 : 200, 'text/plain', this.#isStopping ? 'stopping\n' : 'ok\n');
      return;
    }
    this.#expectOwnPage(exchange);
    if (pathname === '/metrics') {
      exchange.route = 'metrics';
      await this.#options.accounts.expect(exchange, 'read');
      await this.#metrics.send(exchange);
      return;
    }
    if (await this.#page.answer(exchange)) return;
    await this.#api.answer(exchange);
  }

  /**
   * A browser sends a user's password, and reaches this machine, for any page that asks: only pages of this server may.
   * A page of another name that resolves to this machine (DNS rebinding) is none of them.
   * @throws Refusal DENIED
   */
  #expectOwnPage(exchange: Exchange): void {
    const site = exchange.header('sec-fetch-site');
    const origin = exchange.header('origin');
    // Browsers send the two to a page over plain HTTP only in part.
    const isBrowser = /^Mozilla\//.test(exchange.header('user-agent') ?? '');
    if (site === undefined && origin === undefined && !isBrowser) return;
    const host = exchange.header('host') ?? '';
    const isRead = exchange.method === 'GET' || exchange.isHead;
    const denied = (what: string) => new Refusal('DENIED', what);
    if (
      !this.#options.accounts.areAsked &&
      isLoopback(this.#options.address.host) &&
      !isLoopback(host.replace(/:[0-9]+$/, '').replace(/^\[|\]$/g, ''))
    )
      throw denied(`this registry is not called ${host}`);
    if (isRead) return;
    const isOwn =
      origin === undefined
        ? site === undefined || site === 'same-origin' || site === 'none'
        : hostOf(origin) === host;
    if (!isOwn) throw denied('another page may not change anything here');
  }
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
