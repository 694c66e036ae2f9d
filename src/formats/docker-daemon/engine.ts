import { type Agent, request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as z from 'zod';
import { ImgconvError } from '../../model/errors.js';
import { parseJson, parseWith } from '../../model/json.js';
import { loadedOf, refusal, wordsOf, type LoadAnswer } from './answers.js';
import { agentFor, describeEndpoint, unreachable, type EngineEndpoint } from './endpoint.js';

/** API versions 1.24 (Docker 1.12) to 1.51 (Docker 28) are used; newer engines answer 1.51, too. */
const [OLDEST, NEWEST] = [24, 51];
/** Answers in JSON are held in memory; a list of 10,000 images has about 10 MB. */
const MAX_ANSWER = 64 * 1024 * 1024;
/** So many bytes at the end of a saved archive are searched for an error. */
const TAIL = 4096;

const text = z.string().nullish();
const names = z.array(z.string()).nullish();
const imageSchema = z.object({
  Id: z.string(),
  RepoTags: names,
  RepoDigests: names,
  Size: z.number().nullish(),
});
const detailsSchema = imageSchema.extend({
  ...{ Os: text, Architecture: text, Variant: text },
  RootFS: z.object({ Layers: names }).nullish(),
});
const infoSchema = z.object({ DriverStatus: z.array(z.array(z.string())).nullish() });
export interface EngineImage {
  /** `sha256:…`, of the config; of the manifest or index in an engine that stores content. */
  readonly id: string;
  /** `NAME:TAG`, as short as Docker shows them. */
  readonly repoTags: readonly string[];
  /** `NAME@sha256:…` */
  readonly repoDigests: readonly string[];
}

/** Texts are empty if the engine does not give them. */
export interface EngineImageDetails extends EngineImage {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string | undefined;
  readonly diffIds: readonly string[];
  /** Of all its layers unpacked, in bytes. */
  readonly size: number | undefined;
}

/**
 * The images of a running engine, Docker's or Podman's (Docker Engine API, moby api/swagger.yaml). All methods throw
 * ImgconvError: NETWORK if the connection fails, INTERRUPTED after the signal; with the engine's own words NOT_FOUND,
 * UNAUTHORIZED, NO_SPACE or, for any other refusal, REGISTRY; REGISTRY for an answer that breaks the API.
 */
export class Engine {
  readonly #endpoint: EngineEndpoint;
  readonly #agent: Agent;
  readonly #signal: AbortSignal | undefined;
  #prefix = '';
  /** Podman, which gives its own API's version besides, takes only whole archives. */
  isPodman = false;

  private constructor(endpoint: EngineEndpoint, signal: AbortSignal | undefined) {
    this.#endpoint = endpoint;
    this.#agent = agentFor(endpoint);
    this.#signal = signal;
  }

  /** `signal` ends all requests. @throws ImgconvError FORMAT_UNSUPPORTED for an engine whose API is too old */
  static async connect(endpoint: EngineEndpoint, signal?: AbortSignal): Promise<Engine> {
    let engine: Engine | undefined;
    try {
      engine = new Engine(endpoint, signal);
      engine.#prefix = await engine.#negotiate();
      return engine;
    } catch (error) {
      engine?.close();
      // Certificates are read by the first connection.
      throw error instanceof ImgconvError ? error : unreachable(endpoint, error);
    }
  }

  /** All images, also those without a tag. */
  async images(): Promise<EngineImage[]> {
    return (await this.#json('/images/json', z.array(imageSchema))).map(imageOf);
  }

  /** Undefined if there is no such image. */
  async inspect(reference: string): Promise<EngineImageDetails | undefined> {
    try {
      const found = await this.#json(`/images/${inPath(reference)}/json`, detailsSchema);
      return {
        ...imageOf(found),
        os: found.Os ?? '',
        architecture: found.Architecture ?? '',
        variant: found.Variant || undefined,
        diffIds: found.RootFS?.Layers ?? [],
        size: found.Size ?? undefined,
      };
    } catch (error) {
      if (error instanceof ImgconvError && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  /** Whether images lie in containerd, with their manifests and compressed layers. */
  async storesContent(): Promise<boolean> {
    const { DriverStatus } = await this.#json('/info', infoSchema);
    return (DriverStatus ?? []).some(
      ([key, value]) => key === 'driver-type' && value === 'io.containerd.snapshotter.v1',
    );
  }

  /** The archive of `docker save`: read it to its end, or destroy it. It fails if the engine fails on the way. */
  async save(references: readonly string[]): Promise<Readable> {
    const query = references.map((one) => `names=${encodeURIComponent(one)}`).join('&');
    const answer = await this.#ask('GET', '/images/get', query);
    const archive = Readable.from(this.#archive(answer, this.#what('/images/get')), { objectMode: false });
    return archive.once('close', () => answer.destroy());
  }

  /** Reads `chunks` no faster than the engine does. @throws what `chunks` throws: the engine then gets an incomplete request */
  async load(chunks: AsyncIterable<Uint8Array>): Promise<LoadAnswer> {
    const what = this.#what('/images/load');
    const headers = { 'content-type': 'application/x-tar', 'transfer-encoding': 'chunked' };
    const request = this.#request('POST', '/images/load?quiet=1', headers);
    const body: { isSent: boolean; failure?: { readonly error: unknown } } = { isSent: false };
    async function* source() {
      try {
        yield* chunks;
        body.isSent = true;
      } catch (error) {
        // A source that is left early may fail because of that.
        if (!request.destroyed) body.failure = { error };
        throw error;
      }
    }
    const sending = pipeline(source, request).catch(() => undefined);
    try {
      const loaded = loadedOf(await this.#read(await this.#answer(request, what), what), what);
      if (body.isSent) return loaded;
      throw new ImgconvError('REGISTRY', `${what}: the answer came before the whole archive was sent`);
    } catch (error) {
      request.destroy();
      await sending;
      throw body.failure === undefined ? error : body.failure.error;
    }
  }

  /** Ends all connections, also those in use, and the ssh processes. */
  close(): void {
    this.#agent.destroy();
  }

  /** The prefix of all other paths. */
  async #negotiate(): Promise<string> {
    const what = this.#what('/_ping');
    const request = this.#request('GET', '/_ping');
    request.setTimeout(60_000, () => request.destroy(new Error('the engine does not answer')));
    const answer = await this.#answer(request.end(), what);
    await this.#read(answer, what);
    this.isPodman = answer.headers['libpod-api-version'] !== undefined;
    const version = String(answer.headers['api-version']);
    const [, minor] = /^1\.(\d+)$/.exec(version) ?? [];
    if (minor === undefined)
      throw new ImgconvError('REGISTRY', `${what}: no Api-Version 1.x in the answer, but ${version}`, {
        hint: 'check that Docker or Podman listens at this address',
      });
    if (Number(minor) < OLDEST)
      throw new ImgconvError('FORMAT_UNSUPPORTED', `${what}: API ${version} is older than 1.${OLDEST}`, {
        hint: 'update the engine to Docker 1.12 or later, or convert an archive of `docker save`',
      });
    return `/v1.${Math.min(Number(minor), NEWEST)}`;
  }

  #what(path: string): string {
    return `${describeEndpoint(this.#endpoint)}: ${decodeURIComponent(path)}`;
  }

  async #json<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    const what = this.#what(path);
    const json = parseJson(await this.#read(await this.#ask('GET', path), what), what, 'REGISTRY');
    return parseWith(schema, json, what, 'REGISTRY');
  }

  /** A successful answer to a request without a body. */
  #ask(method: 'GET' | 'POST', path: string, query = ''): Promise<IncomingMessage> {
    const request = this.#request(method, query === '' ? path : `${path}?${query}`);
    return this.#answer(request.end(), this.#what(path));
  }

  #request(method: 'GET' | 'POST', path: string, headers = {}): ClientRequest {
    const at = this.#endpoint;
    const send = at.kind === 'tcp' && at.tls !== undefined ? requestHttps : requestHttp;
    return send({
      ...(at.kind === 'tcp' && { host: at.host, port: at.port }),
      ...(at.kind === 'unix' && { socketPath: at.socketPath }),
      path: `${at.kind === 'tcp' ? at.basePath : ''}${this.#prefix}${path}`,
      headers: { 'user-agent': 'imgconv', ...(at.kind !== 'tcp' && { host: 'docker' }), ...headers },
      ...{ method, signal: this.#signal, agent: this.#agent },
    });
  }

  async #answer(request: ClientRequest, what: string): Promise<IncomingMessage> {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      request.on('error', reject).once('response', (message: IncomingMessage) => {
        // It says more than the end of the answer.
        request.on('error', (error) => message.destroy(error));
        resolve(message);
      });
    }).catch((error: unknown) => {
      throw this.#failure(error, what);
    });
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return answer;
    throw refusal(what, wordsOf(await this.#read(answer, what)) || `status ${status}`, status);
  }

  async #read(answer: AsyncIterable<Uint8Array>, what: string): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of this.#chunks(answer, what)) {
      if ((size += part.length) > MAX_ANSWER)
        throw new ImgconvError('REGISTRY', `${what}: an answer of more than ${MAX_ANSWER} bytes`);
      parts.push(part);
    }
    return Buffer.concat(parts);
  }

  async *#chunks(answer: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array> {
    try {
      yield* answer;
    } catch (error) {
      throw this.#failure(error, what);
    }
  }

  /** An engine that fails on the way ends the archive, which ends with zeros, with a line of JSON (moby image_routes.go getImagesGet). */
  async *#archive(answer: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array> {
    let held = Buffer.alloc(0);
    for await (const chunk of this.#chunks(answer, what)) {
      const all = Buffer.concat([held, chunk]);
      const cut = Math.max(0, all.length - TAIL);
      if (cut > 0) yield all.subarray(0, cut);
      held = all.subarray(cut);
    }
    const [line] = /\{"errorDetail":\{.*\}\s*$/.exec(held.toString('latin1')) ?? [];
    if (line !== undefined) loadedOf(Buffer.from(line, 'latin1'), what);
    yield held;
  }

  #failure(cause: unknown, what: string): ImgconvError {
    if (cause instanceof ImgconvError) return cause;
    if (this.#signal?.aborted !== true) return unreachable(this.#endpoint, cause);
    return new ImgconvError('INTERRUPTED', `${what}: interrupted`, { cause });
  }
}

function imageOf({ Id, RepoTags, RepoDigests }: z.infer<typeof imageSchema>): EngineImage {
  const named = (all: typeof RepoTags) => (all ?? []).filter((one) => !/<none>$/.test(one));
  return { id: Id, repoTags: named(RepoTags), repoDigests: named(RepoDigests) };
}

const inPath = (reference: string) => reference.split('/').map(encodeURIComponent).join('/');
