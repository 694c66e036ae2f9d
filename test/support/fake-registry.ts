import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { digestText, type Sample } from './images.js';

/** A request as it came in. */
export interface Seen {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly authorization: string | undefined;
  readonly range: string | undefined;
}

/** What goes wrong: for so many requests whose method and path fit. */
export interface Fault {
  readonly on: RegExp;
  times: number;
  /** Answers, or leaves the client without an answer. */
  readonly act: (request: IncomingMessage, response: ServerResponse) => unknown;
}

interface Stored {
  readonly bytes: Buffer;
  readonly type: string;
}

interface Options {
  /** What `Authorization` lets a request in; undefined when none is needed. `challenge` is what the others are told. */
  readonly guard?: (request: IncomingMessage, registry: FakeRegistry) => string | undefined;
  readonly referrers?: boolean;
  readonly pageSize?: number;
  /** Larger request bodies are refused with 413. */
  readonly maxBody?: number;
}

/** A small conforming registry in memory, which counts what it is asked and goes wrong when it is told to. */
export class FakeRegistry {
  readonly seen: Seen[] = [];
  readonly faults: Fault[] = [];
  /** Bytes of each blob that went out. */
  readonly sent = new Map<string, number>();
  /** By repository: manifests by tag and by digest. */
  readonly manifests = new Map<string, Map<string, Stored>>();
  readonly blobs = new Map<string, Buffer>();
  /** `repository digest` of blobs that a repository may serve. */
  readonly linked = new Set<string>();
  readonly #uploads = new Map<string, Buffer>();
  readonly #options: Options;
  readonly #server: Server;
  #count = 0;

  private constructor(options: Options) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  static async start(options: Options = {}): Promise<FakeRegistry> {
    const registry = new FakeRegistry(options);
    await new Promise<void>((resolve) => registry.#server.listen(0, '127.0.0.1', resolve));
    registry.#server.unref();
    return registry;
  }

  get host(): string {
    return `127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Connections that clients hold open. */
  connections(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.getConnections((error, count) => {
        if (error) reject(error);
        else resolve(count);
      });
    });
  }

  /** Stores images as if they had been pushed. */
  add(images: Readonly<Record<string, Sample>>): this {
    for (const [name, { root, members, blobs }] of Object.entries(images)) {
      const colon = name.lastIndexOf(':');
      const repository = name.slice(0, colon);
      for (const { digest, bytes } of blobs) {
        this.blobs.set(digest, bytes);
        this.linked.add(`${repository} ${digest}`);
      }
      const manifests = this.#repository(repository);
      for (const one of [root, ...members])
        manifests.set(one.digest, { bytes: one.bytes, type: one.mediaType });
      manifests.set(name.slice(colon + 1), { bytes: root.bytes, type: root.mediaType });
    }
    return this;
  }

  /** Lets the next `times` requests that fit go wrong. */
  fail(on: RegExp, act: Fault['act'], times = 1): void {
    this.faults.push({ on, times, act });
  }

  /** Requests that fit, as `METHOD path`. */
  asked(what: RegExp): string[] {
    return this.seen.map(({ method, path }) => `${method} ${path}`).filter((line) => what.test(line));
  }

  forget(): void {
    this.seen.length = 0;
    this.sent.clear();
  }

  #repository(name: string): Map<string, Stored> {
    const known = this.manifests.get(name) ?? new Map<string, Stored>();
    this.manifests.set(name, known);
    return known;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url: path = '', headers } = request;
    this.seen.push({ method, path, authorization: headers.authorization, range: headers.range });
    const fault = this.faults.find(({ on, times }) => times > 0 && on.test(`${method} ${path}`));
    if (fault !== undefined) {
      fault.times--;
      await fault.act(request, response);
      return;
    }
    await this.answer(request, response);
  }

  /** As a sound registry does. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const challenge = this.#options.guard?.(request, this);
    if (challenge !== undefined) {
      request.resume();
      reply(response, 401, { 'www-authenticate': challenge }, errorOf('UNAUTHORIZED'));
      return;
    }
    const url = new URL(request.url ?? '', 'http://registry');
    const [, repository = '', kind = '', rest = ''] =
      /^\/v2\/(.+?)\/(manifests|blobs|tags|referrers)\/(.*)$/.exec(url.pathname) ?? [];
    if (url.pathname === '/v2/') reply(response, 200);
    else if (url.pathname === '/v2/_catalog')
      this.#page(url, response, 'repositories', [...this.manifests.keys()].sort());
    else if (kind === 'tags') {
      const tags = [...(this.manifests.get(repository)?.keys() ?? [])].filter((one) => !one.includes(':'));
      if (tags.length === 0) reply(response, 404, {}, errorOf('NAME_UNKNOWN'));
      else this.#page(url, response, 'tags', tags.sort());
    } else if (kind === 'manifests') await this.#manifest(request, response, repository, rest);
    else if (kind === 'referrers') this.#referrers(response, repository, rest);
    else if (rest.startsWith('uploads/')) await this.#upload(request, response, repository, url);
    else if (kind === 'blobs') this.#blob(request, response, repository, rest);
    else reply(response, 404);
  }

  #page(url: URL, response: ServerResponse, key: string, all: readonly string[]): void {
    const { pageSize = 1000 } = this.#options;
    const last = url.searchParams.get('last');
    const start = last === null ? 0 : all.indexOf(last) + 1;
    const page = all.slice(start, start + pageSize);
    const more = start + pageSize < all.length;
    const link = more
      ? { link: `<${url.pathname}?n=${pageSize}&last=${page.at(-1) ?? ''}>; rel="next"` }
      : {};
    reply(response, 200, link, Buffer.from(JSON.stringify({ [key]: page })));
  }

  async #manifest(
    request: IncomingMessage,
    response: ServerResponse,
    repository: string,
    reference: string,
  ): Promise<void> {
    if (request.method === 'PUT') {
      const bytes = await buffer(request);
      const type = request.headers['content-type'] ?? '';
      const digest = digestLike(reference, bytes);
      const parsed = JSON.parse(bytes.toString()) as {
        config?: { digest: string };
        layers?: { digest: string }[];
        manifests?: { digest: string }[];
        subject?: { digest: string };
      };
      const blobs = [...(parsed.config ? [parsed.config] : []), ...(parsed.layers ?? [])];
      const known = this.#repository(repository);
      if (
        blobs.some((one) => !this.linked.has(`${repository} ${one.digest}`)) ||
        (parsed.manifests ?? []).some((one) => !known.has(one.digest))
      ) {
        reply(response, 400, {}, errorOf('MANIFEST_BLOB_UNKNOWN'));
        return;
      }
      known.set(digest, { bytes, type });
      known.set(reference, { bytes, type });
      const subject =
        this.#options.referrers && parsed.subject ? { 'oci-subject': parsed.subject.digest } : {};
      reply(response, 201, { 'docker-content-digest': digest, ...subject });
      return;
    }
    const stored = this.manifests.get(repository)?.get(reference);
    if (stored === undefined) reply(response, 404, {}, errorOf('MANIFEST_UNKNOWN'));
    else {
      const headers = {
        'content-type': stored.type,
        'docker-content-digest': digestLike(reference, stored.bytes),
      };
      reply(response, 200, headers, stored.bytes, request.method === 'HEAD');
    }
  }

  #referrers(response: ServerResponse, repository: string, subject: string): void {
    if (this.#options.referrers !== true) {
      reply(response, 404);
      return;
    }
    const manifests = [...(this.manifests.get(repository) ?? [])].flatMap(([reference, { bytes, type }]) => {
      const parsed = JSON.parse(bytes.toString()) as { subject?: { digest: string } };
      if (!reference.includes(':') || parsed.subject?.digest !== subject) return [];
      return [{ mediaType: type, digest: reference, size: bytes.length }];
    });
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
    reply(response, 200, { 'content-type': mediaType }, index);
  }

  #blob(request: IncomingMessage, response: ServerResponse, repository: string, digest: string): void {
    const bytes = this.linked.has(`${repository} ${digest}`) ? this.blobs.get(digest) : undefined;
    if (bytes === undefined) {
      reply(response, 404, {}, errorOf('BLOB_UNKNOWN'));
      return;
    }
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const body = bytes.subarray(start);
    if (request.method !== 'HEAD') this.sent.set(digest, (this.sent.get(digest) ?? 0) + body.length);
    reply(
      response,
      start > 0 ? 206 : 200,
      start > 0 ? { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {},
      body,
      request.method === 'HEAD',
    );
  }

  async #upload(
    request: IncomingMessage,
    response: ServerResponse,
    repository: string,
    url: URL,
  ): Promise<void> {
    const mount = url.searchParams.get('mount');
    if (request.method === 'POST') {
      if (mount !== null && this.linked.has(`${url.searchParams.get('from') ?? ''} ${mount}`)) {
        this.linked.add(`${repository} ${mount}`);
        reply(response, 201, { 'docker-content-digest': mount });
        return;
      }
      const id = `/v2/${repository}/blobs/uploads/${String(this.#count++)}`;
      this.#uploads.set(id, Buffer.alloc(0));
      reply(response, 202, { location: id, range: '0-0' });
      return;
    }
    const id = url.pathname;
    const there = this.#uploads.get(id);
    if (there === undefined) {
      request.resume();
      reply(response, 404, {}, errorOf('BLOB_UPLOAD_UNKNOWN'));
      return;
    }
    const state = () => {
      const { length = 0 } = this.#uploads.get(id) ?? {};
      return { location: id, range: `0-${Math.max(0, length - 1)}` };
    };
    if (request.method === 'GET') {
      reply(response, 204, state());
      return;
    }
    if (Number(request.headers['content-length'] ?? 0) > (this.#options.maxBody ?? Infinity)) {
      request.resume(); // Servers linger, or the client would not hear the answer.
      reply(response, 413);
      return;
    }
    const start = Number(/^(\d+)-/.exec(request.headers['content-range'] ?? '')?.[1] ?? 0);
    if (request.method === 'PATCH' && start !== there.length) {
      request.resume();
      reply(response, 416, state());
      return;
    }
    const parts = [there];
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) parts.push(chunk);
    } catch {
      return; // It broke off; what came is kept.
    } finally {
      this.#uploads.set(id, Buffer.concat(parts));
    }
    if (request.method === 'PATCH') {
      reply(response, 202, state());
      return;
    }
    const digest = url.searchParams.get('digest') ?? '';
    const bytes = this.#uploads.get(id) ?? there;
    this.#uploads.delete(id);
    if (digestLike(digest, bytes) !== digest) {
      reply(response, 400, {}, errorOf('DIGEST_INVALID'));
      return;
    }
    this.blobs.set(digest, bytes);
    this.linked.add(`${repository} ${digest}`);
    reply(response, 201, { 'docker-content-digest': digest });
  }
}

/** By the algorithm of this digest; by sha256 for a tag. */
function digestLike(reference: string, bytes: Buffer): string {
  return digestText(bytes, /^(sha512):/.exec(reference)?.[1]);
}

export function reply(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
  body: Uint8Array = Buffer.alloc(0),
  head = false,
): void {
  const length = status === 204 ? {} : { 'content-length': String(body.length) };
  response.writeHead(status, { ...length, ...headers });
  response.end(head ? undefined : body);
}

export function errorOf(code: string, message = 'it is so'): Buffer {
  return Buffer.from(JSON.stringify({ errors: [{ code, message }] }));
}

/** Answers as usual, but cuts the connection when so many bytes of the body have gone out. */
export function cutAfter(registry: FakeRegistry, count: number): Fault['act'] {
  return async (request, response) => {
    const end = response.end.bind(response);
    response.end = ((body: unknown) => {
      if (!(body instanceof Uint8Array)) return end();
      const digest = decodeURIComponent((request.url ?? '').split('/').at(-1) ?? '');
      const sent = registry.sent.get(digest);
      if (sent !== undefined) registry.sent.set(digest, sent - body.length + Math.min(count, body.length));
      response.write(body.subarray(0, count), () => setTimeout(() => response.destroy(), 20));
      return response;
    }) as typeof response.end;
    await registry.answer(request, response);
  };
}
