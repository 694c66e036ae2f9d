import { isRepository } from '../model/reference.js';
import type { Pool } from '../threads/pool.js';
import type { Accounts } from './accounts.js';
import type { Backend, WritableBackend } from './backend.js';
import { BlobSender } from './blob-route.js';
import type { Exchange } from './exchange.js';
import { sendCatalog, sendReferrers, sendTags } from './list-routes.js';
import { deleteBlob, deleteManifest, sendManifest, takeManifest } from './manifest-routes.js';
import { Refusal } from './refusal.js';
import {
  beginUpload,
  cancelUpload,
  endUpload,
  expectDigest,
  takeChunk,
  tellUpload,
  type UploadContext,
} from './upload-routes.js';
import type { Uploads } from './uploads.js';

export interface ApiOptions {
  readonly backend: Backend;
  readonly accounts: Accounts;
  readonly uploads: Uploads;
  readonly pool: Pool;
  /** Of a blob, in bytes. */
  readonly maxUpload: number;
  readonly sparse: boolean;
}

/** From the end, because a repository's path may have any of these words in it. */
const ROUTES = {
  manifest: /^\/v2\/(.+)\/manifests\/([^/]+)$/,
  uploads: /^\/v2\/(.+)\/blobs\/uploads\/?$/,
  upload: /^\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/,
  blob: /^\/v2\/(.+)\/blobs\/([^/]+)$/,
  tags: /^\/v2\/(.+)\/tags\/list$/,
  referrers: /^\/v2\/(.+)\/referrers\/([^/]+)$/,
} as const;

/** The API of OCI distribution-spec v1.1, and the catalog of Docker's. */
export class Api {
  readonly #options: ApiOptions;
  readonly #blobs: BlobSender;

  constructor(options: ApiOptions) {
    this.#options = options;
    this.#blobs = new BlobSender(options.pool);
  }

  /** @throws Refusal */
  async answer(exchange: Exchange): Promise<void> {
    const { accounts, backend } = this.#options;
    exchange.response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0');
    const { pathname } = exchange.url;
    const isRead = exchange.method === 'GET' || exchange.isHead;
    await accounts.expect(exchange, isRead ? 'read' : 'write');
    if (/^\/v2\/?$/.test(pathname) && isRead) {
      exchange.json({});
      return;
    }
    if (pathname === '/v2/_catalog' && isRead) {
      exchange.route = 'catalog';
      await sendCatalog(exchange, backend);
      return;
    }
    for (const [route, path] of Object.entries(ROUTES)) {
      const match = path.exec(pathname);
      if (match === null) continue;
      exchange.route = route;
      const [, repository = '', rest = ''] = match;
      if (!isRepository(repository))
        throw new Refusal(
          'NAME_INVALID',
          `${JSON.stringify(repository.slice(0, 300))} is not a repository path`,
        );
      await this.#route(exchange, route as keyof typeof ROUTES, repository, decoded(rest));
      return;
    }
    throw new Refusal('UNSUPPORTED', `${exchange.method} ${pathname}: no such endpoint`, { status: 404 });
  }

  async #route(
    exchange: Exchange,
    route: keyof typeof ROUTES,
    repository: string,
    rest: string,
  ): Promise<void> {
    const { backend, pool, sparse } = this.#options;
    const method = exchange.isHead ? 'GET' : exchange.method;
    switch (`${method} ${route}`) {
      case 'GET manifest':
        return sendManifest(exchange, backend, repository, rest);
      case 'PUT manifest':
        return takeManifest(exchange, backend, this.#writes(), repository, rest, { sparse, pool });
      case 'DELETE manifest':
        return deleteManifest(exchange, this.#writes(), repository, rest);
      case 'GET blob':
        return this.#blobs.send(exchange, backend, repository, expectDigest(rest));
      case 'DELETE blob':
        return deleteBlob(exchange, this.#writes(), repository, expectDigest(rest));
      case 'POST uploads':
        return beginUpload(exchange, this.#uploading(), repository);
      case 'PATCH upload':
        return takeChunk(exchange, this.#uploading(), repository, rest);
      case 'PUT upload':
        return endUpload(exchange, this.#uploading(), repository, rest);
      case 'GET upload':
        tellUpload(exchange, this.#uploading(), repository, rest);
        return;
      case 'DELETE upload':
        cancelUpload(exchange, this.#uploading(), repository, rest);
        return;
      case 'GET tags':
        return sendTags(exchange, backend, repository);
      case 'GET referrers':
        return sendReferrers(exchange, backend, repository, expectDigest(rest));
      default:
        throw new Refusal('UNSUPPORTED', `${exchange.method} is not possible here`);
    }
  }

  /** @throws Refusal UNSUPPORTED */
  #writes(): WritableBackend {
    const { writes } = this.#options.backend;
    if (writes === undefined)
      throw new Refusal('UNSUPPORTED', 'this registry is read-only: imgconv serve --writable takes pushes');
    return writes;
  }

  #uploading(): UploadContext {
    return { ...this.#options, writes: this.#writes() };
  }
}

/** @throws Refusal NAME_INVALID for what is no percent-encoding */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refusal('NAME_INVALID', `${JSON.stringify(text.slice(0, 300))} is not percent-encoded text`);
  }
}
