import {
  createServer,
  type IncomingMessage,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { asImgconvError, ImgconvError, isErrno } from '../model/errors.js';
import type { Place } from '../formats/table.js';
import type { Pool } from '../threads/pool.js';
import type { Accounts } from './accounts.js';
import { Api } from './api.js';
import type { Backend } from './backend.js';
import { Gone } from './blob-route.js';
import { Exchange } from './exchange.js';
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

/** Milliseconds that a client may take for its headers, and that a connection may be silent in the middle of a request. */
const HEADERS_TIMEOUT = 20_000;
const SILENCE_TIMEOUT = 120_000;
const KEEP_ALIVE = 75_000;
const MAX_HEADER_BYTES = 32 * 1024;
const MAX_CONNECTIONS = 8192;
/** What a client still sends after it was refused is read for so long, so that it gets to read the answer. */
const DRAIN = 3000;
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
    this.#http.maxConnections = MAX_CONNECTIONS;
    this.#sweeper = setInterval(() => {
      this.#uploads.clear();
      void this.#pageUploads?.clear();
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
    if (site === undefined && origin === undefined) return;
    const host = exchange.header('host') ?? '';
    const isRead = exchange.method === 'GET' || exchange.isHead;
    const denied = (what: string) => new Refusal('DENIED', what);
    if (
      isLoopback(this.#options.address.host) &&
      !isLoopback(host.replace(/:[0-9]+$/, '').replace(/^\[|\]$/g, ''))
    )
      throw denied(`this registry is not called ${host}`);
    if (isRead) return;
    const isOwn = origin === undefined ? site === 'same-origin' || site === 'none' : hostOf(origin) === host;
    if (!isOwn) throw denied('another page may not change anything here');
  }
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

/** Tells the client that it failed. Gives what only the log is told. */
function refuse(request: IncomingMessage, response: ServerResponse, error: unknown): string | undefined {
  if (error instanceof Gone || (request.destroyed && !request.complete)) {
    response.destroy();
    return undefined;
  }
  const refusal = error instanceof Refusal ? error : refusalOf(asImgconvError(error));
  const own =
    error instanceof Refusal ? undefined : error instanceof ImgconvError ? error.message : String(error);
  if (response.headersSent) {
    // A part was sent: what the client has must not look whole.
    response.destroy();
    return own;
  }
  if (!request.complete) {
    response.setHeader('Connection', 'close');
    request.resume();
    const drained = setTimeout(() => request.destroy(), DRAIN).unref();
    request.once('close', () => {
      clearTimeout(drained);
    });
  }
  const body = request.method === 'HEAD' ? undefined : refusal.document;
  response.writeHead(refusal.status, {
    'Content-Type': 'application/json',
    'Content-Length': String(Buffer.byteLength(refusal.document)),
    ...refusal.headers,
  });
  response.end(body);
  return own;
}

/** What a client is told of a failure of the server. */
function refusalOf(error: ImgconvError): Refusal {
  if (error.code === 'NO_SPACE')
    return new Refusal('UNAVAILABLE', 'no space is left where the registry keeps its images', {
      status: 507,
    });
  if (error.code === 'DIGEST_MISMATCH' || error.code === 'SOURCE_CHANGED')
    return new Refusal('UNKNOWN', 'what the registry has is damaged: imgconv verify names it');
  return new Refusal('UNKNOWN', 'the registry failed; its log says why');
}

function cannotListen(error: unknown, { host = '', port }: Address): ImgconvError {
  const at = `${hostText(host)}:${port}`;
  if (isErrno(error, 'EADDRINUSE'))
    return new ImgconvError('IO', `${at}: another program listens there`, {
      hint: '--listen 127.0.0.1:5001 takes another port, --listen 127.0.0.1:0 any that is free',
    });
  if (isErrno(error, 'EACCES'))
    return new ImgconvError('IO', `${at}: not allowed: ports below 1024 are root's`, {
      hint: 'take a higher one',
    });
  if (isErrno(error, 'EADDRNOTAVAIL', 'ENOTFOUND'))
    return new ImgconvError('IO', `${at}: not an address of this machine`, {
      hint: '0.0.0.0 is every address of it',
    });
  return asImgconvError(error, at);
}
