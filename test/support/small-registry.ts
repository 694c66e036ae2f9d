import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';

interface Stored {
  readonly mediaType: string;
  readonly bytes: Buffer;
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The part of a registry's API that pulls and pushes need, on 127.0.0.1, in memory: for tests without docker-registry. */
export class SmallRegistry {
  readonly #server: Server;
  readonly #blobs = new Map<string, Buffer>();
  /** By `repository:tag` and `repository@digest`. */
  readonly #manifests = new Map<string, Stored>();
  /** Each request as `GET /v2/…`. */
  readonly requests: string[] = [];

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        response.writeHead(500).end(String(error));
      });
    });
  }

  static async start(): Promise<SmallRegistry> {
    const registry = new SmallRegistry();
    await new Promise<void>((resolve) => registry.#server.listen(0, '127.0.0.1', resolve));
    return registry;
  }

  get host(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('not listening');
    return `127.0.0.1:${address.port}`;
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
  }

  /** Puts an image there under `repository:tag`. */
  hold(name: string, manifest: Stored, blobs: Iterable<Buffer>): void {
    const repository = name.slice(0, name.lastIndexOf(':'));
    for (const bytes of blobs) this.#blobs.set(digestOf(bytes), bytes);
    this.#manifests.set(name, manifest);
    this.#manifests.set(`${repository}@${digestOf(manifest.bytes)}`, manifest);
  }

  /** Each `repository:tag` with its digest. */
  tags(): Record<string, string> {
    const named = [...this.#manifests].filter(([name]) => !name.includes('@')).sort();
    return Object.fromEntries(named.map(([name, { bytes }]) => [name, digestOf(bytes)]));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    this.requests.push(`${method} ${url}`);
    const { pathname, searchParams } = new URL(url, 'http://x');
    const body = await buffer(request);
    const [, repository = '', kind = '', name = ''] =
      /^\/v2\/(.+)\/(manifests|blobs|blobs\/uploads|tags)\/([^/]*)$/.exec(pathname) ?? [];
    const key = `${repository}${name.includes(':') ? '@' : ':'}${name}`;
    const send = (
      status: number,
      headers: Record<string, string | number>,
      bytes: Buffer = Buffer.alloc(0),
    ) => {
      response.writeHead(status, { 'content-length': bytes.length, ...headers });
      response.end(method === 'HEAD' ? undefined : bytes);
    };
    if (pathname === '/v2/') send(200, {});
    else if (kind === 'tags') this.#sendTags(repository, send);
    else if (kind === 'blobs/uploads' && method === 'POST')
      send(202, { location: `/v2/${repository}/blobs/uploads/one` });
    else if (kind === 'blobs/uploads' && method === 'PUT') {
      const digest = digestOf(body);
      if (searchParams.get('digest') === digest) this.#blobs.set(digest, body);
      send(searchParams.get('digest') === digest ? 201 : 400, {});
    } else if (kind === 'manifests' && method === 'PUT') {
      const stored = { mediaType: request.headers['content-type'] ?? '', bytes: body };
      for (const one of [key, `${repository}@${digestOf(body)}`]) this.#manifests.set(one, stored);
      send(201, { 'docker-content-digest': digestOf(body) });
    } else {
      const stored =
        kind === 'manifests'
          ? this.#manifests.get(key)
          : { mediaType: 'application/octet-stream', bytes: this.#blobs.get(name) };
      if (stored?.bytes === undefined) send(404, {});
      else
        send(
          200,
          { 'content-type': stored.mediaType, 'docker-content-digest': digestOf(stored.bytes) },
          stored.bytes,
        );
    }
  }

  #sendTags(
    repository: string,
    send: (status: number, headers: Record<string, string>, bytes: Buffer) => void,
  ): void {
    const tags = Object.keys(this.tags()).flatMap((name) =>
      name.startsWith(`${repository}:`) ? [name.slice(repository.length + 1)] : [],
    );
    const bytes = Buffer.from(JSON.stringify({ name: repository, tags }));
    send(tags.length > 0 ? 200 : 404, { 'content-type': 'application/json' }, bytes);
  }
}
