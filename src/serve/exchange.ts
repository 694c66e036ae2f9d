import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Algorithm } from '../model/digest.js';
import { Refusal } from './refusal.js';

/** Milliseconds that a connection may be silent while a request or an answer is under way. */
export const SILENCE_TIMEOUT = 120_000;

/** A request, and the way to answer it. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  /** What the access log and the metrics call it: `blob`, `manifest`, `upload`. */
  route = 'other';
  /** Bytes of the request's body that were read. */
  received = 0;
  /** The account, if one was checked. */
  user: string | undefined;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request;
    this.response = response;
    this.url = urlOf(request);
  }

  get method(): string {
    return this.request.method ?? '';
  }

  /** HEAD asks for what GET would say. */
  get isHead(): boolean {
    return this.method === 'HEAD';
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  query(name: string): string | undefined {
    return this.url.searchParams.get(name) ?? undefined;
  }

  /** Of a digest that the client does not say; OCI distribution-spec after v1.1. */
  get algorithm(): Algorithm {
    const asked = this.query('digest-algorithm');
    return asked === 'sha512' || asked === 'sha384' ? asked : 'sha256';
  }

  /** The body, in chunks; `limit` is in bytes. @throws Refusal SIZE_INVALID when it has more */
  async *body(limit: number): AsyncGenerator<Buffer> {
    const tooLarge = () => new Refusal('SIZE_INVALID', `the body has more than ${limit} bytes`);
    if (Number(this.header('content-length') ?? 0) > limit) throw tooLarge();
    let size = 0;
    // Leaving the loop must not end the connection: the answer goes over it.
    const chunks = this.request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
    for await (const chunk of chunks) {
      this.received += chunk.length;
      if ((size += chunk.length) > limit) throw tooLarge();
      yield chunk;
    }
  }

  /** @throws Refusal SIZE_INVALID */
  async bodyOf(limit: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const chunk of this.body(limit)) parts.push(chunk);
    return Buffer.concat(parts);
  }

  /** An answer without a body. */
  empty(status: number, headers: Record<string, string> = {}): void {
    const length: Record<string, string> = status === 204 || status === 304 ? {} : { 'Content-Length': '0' };
    this.response.writeHead(status, { ...length, ...headers }).end();
  }

  send(status: number, type: string, body: Uint8Array | string, headers: Record<string, string> = {}): void {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    this.response.socket?.setTimeout(SILENCE_TIMEOUT);
    this.response.writeHead(status, {
      'Content-Type': type,
      'Content-Length': String(bytes.length),
      ...headers,
    });
    this.response.end(this.isHead ? undefined : bytes);
  }

  json(value: unknown, headers: Record<string, string> = {}): void {
    this.send(200, 'application/json', JSON.stringify(value), headers);
  }
}

/** @throws Refusal for a request target that is no path */
function urlOf({ url = '' }: IncomingMessage): URL {
  try {
    return new URL(url.startsWith('/') ? `http://registry${url}` : url);
  } catch {
    throw new Refusal('UNSUPPORTED', 'the request target is not a path', { status: 400 });
  }
}
