import { digestOf } from '../../bytes/hash.js';
import { ImgconvError } from '../../model/errors.js';
import { isObject, parseLenientJson } from '../../model/json.js';
import type { Answer, ApiAnswer } from './transport.js';

/** How long a list may be; registries without pages send all of it at once. */
export interface ListLimit {
  readonly page: number;
  /** Bytes of all pages. */
  readonly bytes: number;
  readonly items: number;
  readonly unit: string;
}

const MiB = 1024 * 1024;
/** Ten times what is known to exist, in a hundred megabytes of memory. */
const NAMES = { page: 16 * MiB, bytes: 64 * MiB, items: 1_000_000 };
/** Of a repository. */
export const TAGS: ListLimit = { ...NAMES, unit: 'tags' };
/** Of a registry. */
export const REPOSITORIES: ListLimit = { ...NAMES, unit: 'repositories' };
/** As many as an index may have members; registries cut pages at 4 MiB (OCI distribution-spec, "Listing Referrers"). */
export const REFERRERS: ListLimit = { page: 4 * MiB, bytes: 16 * MiB, items: 10_000, unit: 'referrers' };
const MAX_PAGES = 10_000;

/** Tags and repositories have no longer names; this much of one is kept, for messages. */
const MAX_NAME = 255;

/** An answer, and its body if the status is 200. */
export interface Served {
  readonly answer: ApiAnswer;
  readonly body: Buffer | undefined;
}

export interface Page {
  readonly body: Uint8Array;
  readonly where: string;
}

/** The names of a page. @throws ImgconvError REGISTRY at the first that is no text */
export function namesOf({ body, where }: Page, field: 'tags' | 'repositories'): string[] {
  const content = parseLenientJson(body, where, 'REGISTRY');
  const names = isObject(content) ? (content[field] ?? []) : undefined;
  if (!Array.isArray(names))
    throw new ImgconvError('REGISTRY', `${where}: ${field}: expected a list of names`);
  return names.map((name: unknown, i) => {
    if (typeof name !== 'string')
      throw new ImgconvError('REGISTRY', `${where}: ${field}.${i}: expected a name`);
    return name.length <= MAX_NAME ? name : `${Buffer.from(name.slice(0, MAX_NAME)).toString()}…`;
  });
}

/** @throws ImgconvError REGISTRY for a list that is too long */
export function expectWithin(count: number, limit: number, unit: string, where: string): void {
  if (count <= limit) return;
  throw new ImgconvError('REGISTRY', `${where}: a list of more than ${limit} ${unit}`, {
    hint: 'the registry sends more than imgconv reads; name the images that are wanted with their tags',
  });
}

/**
 * The items of each page, by `Link: <…>; rel="next"` (RFC 8288) on one host; undefined for a first page that is not there.
 * @throws ImgconvError REGISTRY for pages that come to no end, or to more than `limit`
 */
export async function* pagesOf<T>(
  ask: (path: string | URL) => Promise<Served>,
  first: string,
  limit: ListLimit,
  itemsOf: (page: Page) => readonly T[],
): AsyncGenerator<readonly T[] | undefined> {
  let bytes = 0;
  let count = 0;
  // Digests of links, which can be long.
  const seen = new Set<string>();
  for (let next: string | URL = first; ;) {
    const { answer, body } = await ask(next);
    const { where } = answer;
    const fault = (what: string) => new ImgconvError('REGISTRY', `${where}: ${what}`);
    if (body === undefined) {
      if (seen.size > 0) throw fault(`status ${answer.status} for a further page`);
      yield undefined;
      return;
    }
    expectWithin((bytes += body.length), limit.bytes, 'bytes', where);
    const items = itemsOf({ body, where });
    expectWithin((count += items.length), limit.items, limit.unit, where);
    yield items;
    const link = nextLink(answer);
    if (link === undefined) return;
    if (!URL.canParse(link, answer.url.href)) throw fault('its next page is at no URL');
    next = new URL(link, answer.url);
    if (next.origin !== answer.url.origin)
      throw fault(`its next page is said to be on another host, ${answer.shown(next.host)}`);
    if (seen.size >= MAX_PAGES || seen.size === seen.add(digestOf(Buffer.from(next.href))).size)
      throw fault('its pages do not come to an end');
  }
}

function nextLink(answer: Answer): string | undefined {
  return /<([^<>]*)>\s*;[^,<]*\brel="?next"?/.exec(answer.header('link') ?? '')?.[1];
}
