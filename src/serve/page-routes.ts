import * as z from 'zod';
import type { Place } from '../formats/table.js';
import { asImgconvError, ImgconvError } from '../model/errors.js';
import { isRepository, isTag, parseHostless } from '../model/reference.js';
import { parseJson } from '../model/json.js';
import type { Pool } from '../threads/pool.js';
import { collectGarbage } from '../upkeep/gc.js';
import { verify } from '../upkeep/verify.js';
import type { Accounts } from './accounts.js';
import { checkArchive, counting, problemText, takeImages } from './archive-check.js';
import type { Backend } from './backend.js';
import { sendArchive } from './download.js';
import type { Exchange } from './exchange.js';
import { ASSETS } from './page-assets.js';
import type { PageUploads } from './page-uploads.js';
import { plainPage } from './plain-page.js';
import { decoded } from './api.js';
import { Refusal } from './refusal.js';
import { sharersOf, usageOf } from './shared-layers.js';

export interface PageOptions {
  readonly backend: Backend;
  readonly accounts: Accounts;
  readonly pool: Pool;
  /** Undefined where nothing can be pushed. */
  readonly uploads: PageUploads | undefined;
  /** The place that uploads go to, or else the first one: what is verified. */
  readonly place: Place;
  /** `HOST:PORT`, when the browser does not say it. */
  readonly host: () => string;
}

/** The page has its script and its style in files of their own; nothing else is let in, and no other page may frame it. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const SAFE = {
  'Content-Security-Policy': POLICY,
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-cache',
};
const TYPES = {
  'page.html': 'text/html; charset=utf-8',
  'page.js': 'text/javascript; charset=utf-8',
  'page.css': 'text/css; charset=utf-8',
};
/** Of what a browser sends as JSON, in bytes. */
const MAX_BODY = 1024 * 1024;

const wantedSchema = z.object({
  images: z
    .array(z.object({ choice: z.string().min(1).max(500), name: z.string().min(1).max(500) }))
    .min(1)
    .max(10_000),
});

/** The page at `/`, and what its script asks for below `/ui/`; all else it has from the registry API. */
export class Page {
  readonly #options: PageOptions;

  constructor(options: PageOptions) {
    this.#options = options;
  }

  /** False for a path that is none of the page's. @throws Refusal */
  async answer(exchange: Exchange): Promise<boolean> {
    const { pathname } = exchange.url;
    if (pathname !== '/' && !pathname.startsWith('/ui/')) return false;
    exchange.route = 'page';
    const { accounts } = this.#options;
    const isRead = exchange.method === 'GET' || exchange.isHead;
    await accounts.expect(exchange, isRead ? 'read' : 'write');
    for (const [name, value] of Object.entries(SAFE)) exchange.response.setHeader(name, value);
    if (isRead && !pathname.startsWith('/ui/uploads')) await this.#read(exchange, pathname);
    else await this.#change(exchange, pathname);
    return true;
  }

  async #read(exchange: Exchange, pathname: string): Promise<void> {
    const { backend, pool, host } = this.#options;
    const name = pathname === '/' ? 'page.html' : pathname.slice('/ui/'.length);
    const download = /^download\/(.+):([^:/]+)$/.exec(decoded(name));
    if (name === 'page.html' || name === 'page.js' || name === 'page.css')
      exchange.send(200, TYPES[name], ASSETS[name]);
    else if (name === 'info')
      exchange.json({
        writable: this.#options.uploads !== undefined,
        host: exchange.header('host') ?? host(),
      });
    else if (name.startsWith('shared/'))
      exchange.json(await sharersOf(backend, decoded(name.slice('shared/'.length))));
    else if (name === 'usage') exchange.json(await usageOf(backend));
    else if (name === 'list')
      exchange.send(200, TYPES['page.html'], await plainPage(backend, exchange.header('host') ?? host()));
    else if (download !== null) {
      const [, repository = '', tag = ''] = download;
      if (!isTag(tag) || !isRepository(repository))
        throw new Refusal('NAME_INVALID', `${repository}:${tag} is not the name of an image`);
      await sendArchive(exchange, backend, pool, { repository, tag, platform: exchange.query('platform') });
    } else throw new Refusal('UNSUPPORTED', 'no such page', { status: 404 });
  }

  async #change(exchange: Exchange, pathname: string): Promise<void> {
    const { uploads, place } = this.#options;
    if (uploads === undefined) throw new Refusal('UNSUPPORTED', 'this registry is read-only');
    if (pathname.startsWith('/ui/uploads')) {
      await uploads.answer(exchange);
      return;
    }
    const [, action = '', id = ''] =
      /^\/ui\/(check|take|verify|gc)(?:\/([0-9a-f]{32}))?$/.exec(pathname) ?? [];
    if (exchange.method !== 'POST')
      throw new Refusal('UNSUPPORTED', `${exchange.method} is not possible here`);
    const body = await exchange.bodyOf(MAX_BODY);
    if (action === 'check') {
      const path = await uploads.finished(id);
      await lines(exchange, path, (hears, signal) => checkArchive(path, place, hears, signal));
    } else if (action === 'take') {
      const path = await uploads.finished(id);
      const wanted = wantedOf(body);
      await lines(exchange, path, async (hears, signal) => {
        const taken = await takeImages(path, place, wanted, hears, signal);
        if (taken.every(({ error }) => error === undefined)) await uploads.remove(id);
        return taken;
      });
    } else if (action === 'verify')
      await lines(exchange, place.path, async (hears, signal) => {
        const { images, brokenImages, findings } = await verify(place, { progress: counting(hears), signal });
        return {
          images,
          brokenImages,
          findings: findings.map(({ severity, where, what }) => ({ severity, where, what })),
        };
      });
    else if (action === 'gc')
      await lines(exchange, place.path, () => collectGarbage(place, { dryRun: true }));
    else throw new Refusal('UNSUPPORTED', 'no such page', { status: 404 });
  }
}

/** @throws Refusal for what is no list of names */
function wantedOf(body: Uint8Array): z.infer<typeof wantedSchema>['images'] {
  const invalid = (what: string) => new Refusal('NAME_INVALID', what);
  try {
    const { images } = wantedSchema.parse(parseJson(body, 'the request'));
    for (const { name } of images) {
      const { tag, digest } = parseHostless(name);
      if (tag === undefined || digest !== undefined)
        throw invalid(`${name}: a name and a tag are expected, such as team/app:1.0`);
    }
    return images;
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw invalid(error instanceof ImgconvError ? error.message : 'a list of names is expected');
  }
}

/** How often a browser hears of bytes, in milliseconds. */
const BEAT = 200;

/** A line of JSON for each event, and at the end one with the result or the error. What the browser gives up ends. */
async function lines<T>(
  exchange: Exchange,
  path: string,
  work: (hears: (event: object) => void, signal: AbortSignal) => Promise<T>,
): Promise<void> {
  const { response } = exchange;
  const given = new AbortController();
  response.once('close', () => {
    given.abort();
  });
  response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
  let last = 0;
  const hears = (event: object) => {
    if (Date.now() - last < BEAT) return;
    last = Date.now();
    response.write(`${JSON.stringify(event)}\n`);
  };
  const beat = setInterval(() => response.write('{}\n'), 15_000);
  let line: object;
  try {
    line = { result: await work(hears, given.signal) };
  } catch (error) {
    line = { error: problemText(asImgconvError(error), path) };
  } finally {
    clearInterval(beat);
  }
  response.end(`${JSON.stringify(line)}\n`);
}
