import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { findPlace, parsePlace } from '../../src/formats/table.js';
import { serve, type LogEntry, type RunningRegistry, type ServeOptions } from '../../src/serve/serve.js';
import type { Part, Sample } from './images.js';

/** A client of the registry API that shares no code with the server: fetch, and node:crypto. */
export class TestClient {
  readonly base: string;
  readonly #headers: Record<string, string>;

  constructor(base: string, headers: Record<string, string> = {}) {
    this.base = base;
    this.#headers = headers;
  }

  /** `path` is below `/v2/`, or whole. */
  ask(
    method: string,
    path: string,
    options: { headers?: Record<string, string>; body?: Uint8Array | string } = {},
  ) {
    const { headers, body } = options;
    return fetch(new URL(path.startsWith('/') ? path : `/v2/${path}`, this.base), {
      method,
      headers: { ...this.#headers, ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : new Uint8Array(body) }),
    });
  }

  async json(path: string): Promise<unknown> {
    const response = await this.ask('GET', path);
    assert.equal(response.status, 200, `${path}: ${await response.clone().text()}`);
    return response.json();
  }

  /** The bytes of a blob or manifest, held against their digest. */
  async bytes(path: string, digest?: string): Promise<Buffer> {
    const response = await this.ask('GET', path, { headers: { accept: '*/*' } });
    const bytes = Buffer.from(await response.arrayBuffer());
    assert.equal(response.status, 200, `${path}: ${bytes.toString()}`);
    const said = response.headers.get('docker-content-digest') ?? '';
    const algorithm = said.split(':')[0] ?? '';
    assert.equal(`${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`, said, path);
    if (digest !== undefined) assert.equal(said, digest);
    return bytes;
  }

  /** Everything that an image needs and that is there; gives the digest of its root. */
  async pull(repository: string, reference: string): Promise<string> {
    const root = await this.bytes(`${repository}/manifests/${reference}`);
    const manifest = JSON.parse(root.toString()) as Manifest;
    for (const { digest, platform } of manifest.manifests ?? []) {
      const there = await this.ask('HEAD', `${repository}/manifests/${digest}`);
      if (there.status === 200) await this.pull(repository, digest);
      else assert.ok(platform, 'a member without a platform is not there');
    }
    const fetched = [manifest.config, ...(manifest.layers ?? [])].flatMap((one) => one ?? []);
    for (const { digest, size } of fetched) {
      const blob = await this.bytes(`${repository}/blobs/${digest}`, digest);
      assert.equal(blob.length, size);
    }
    return `sha256:${createHash('sha256').update(root).digest('hex')}`;
  }

  async pushBlob(repository: string, { digest, bytes }: Part): Promise<Response> {
    const begun = await this.ask('POST', `${repository}/blobs/uploads/`);
    assert.equal(begun.status, 202, await begun.text());
    const place = new URL(begun.headers.get('location') ?? '', this.base);
    place.searchParams.set('digest', digest);
    return this.ask('PUT', place.pathname + place.search, { body: bytes });
  }

  pushManifest(repository: string, { bytes, mediaType }: Part, reference: string): Promise<Response> {
    return this.ask('PUT', `${repository}/manifests/${reference}`, {
      body: bytes,
      headers: { 'content-type': mediaType },
    });
  }

  /** As an engine does it: blobs, members, root. */
  async push(repository: string, { root, members, blobs }: Sample, reference: string): Promise<void> {
    for (const blob of blobs) assert.equal((await this.pushBlob(repository, blob)).status, 201);
    for (const member of members)
      assert.equal((await this.pushManifest(repository, member, member.digest)).status, 201);
    const last = await this.pushManifest(repository, root, reference);
    assert.equal(last.status, 201, await last.text());
    assert.equal(last.headers.get('docker-content-digest'), root.digest);
  }
}

interface Manifest {
  readonly config?: { readonly digest: string; readonly size: number };
  readonly layers?: readonly { readonly digest: string; readonly size: number }[];
  readonly manifests?: readonly { readonly digest: string; readonly platform?: object }[];
}

export interface Served extends RunningRegistry {
  readonly client: TestClient;
  readonly log: LogEntry[];
}

const open: Served[] = [];

/** Serves a place on a free port of 127.0.0.1. To be closed by `closeServed`. */
export async function served(text: string | readonly string[], options: ServeOptions = {}): Promise<Served> {
  const log: LogEntry[] = [];
  const places = [text]
    .flat()
    .map((one) => ({ place: options.writable === true ? parsePlace(one) : findPlace(one) }));
  const registry = await serve(places, {
    listen: '127.0.0.1:0',
    log: (entry) => {
      log.push(entry);
    },
    ...options,
  });
  const running = { ...registry, client: new TestClient(registry.url), log };
  open.push(running);
  return running;
}

export async function closeServed(): Promise<void> {
  for (const one of open.splice(0)) await one.close(0);
}
