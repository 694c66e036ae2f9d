import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import { OCI_INDEX } from '../model/media-type.js';
import type { Backend } from './backend.js';
import type { Exchange } from './exchange.js';
import { Refusal } from './refusal.js';

/** OCI distribution-spec v1.1, "Listing Tags": sorted, `n` of them after `last`. */
export async function sendTags(exchange: Exchange, backend: Backend, repository: string): Promise<void> {
  const tags = [...(await backend.tags(repository))];
  if (tags.length === 0 && !(await backend.has(repository)))
    throw new Refusal('NAME_UNKNOWN', `there is no repository ${repository}`);
  const { page, headers } = pageOf(exchange, tags);
  exchange.json({ name: repository, tags: page }, headers);
}

/** The catalog of Docker's registry API. */
export async function sendCatalog(exchange: Exchange, backend: Backend): Promise<void> {
  const names: string[] = [];
  for await (const name of backend.repositories()) names.push(name);
  const { page, headers } = pageOf(exchange, names);
  exchange.json({ repositories: page }, headers);
}

/** @throws Refusal for an `n` that is no number */
function pageOf(exchange: Exchange, names: string[]): { page: string[]; headers: Record<string, string> } {
  const n = exchange.query('n');
  const last = exchange.query('last');
  if (n !== undefined && !/^[0-9]{1,9}$/.test(n))
    throw new Refusal('UNSUPPORTED', `n=${n}: a number is expected`, { status: 400 });
  names.sort();
  const left = last === undefined ? names : names.filter((name) => name > last);
  if (n === undefined) return { page: left, headers: {} };
  const page = left.slice(0, Number(n));
  const end = page.at(-1);
  if (page.length === left.length || end === undefined) return { page, headers: {} };
  const next = new URLSearchParams({ n, last: end });
  return { page, headers: { Link: `<${exchange.url.pathname}?${String(next)}>; rel="next"` } };
}

/** A list of referrers has to fit into what clients read of a manifest. */
const REFERRERS_PAGE = 1000;

/** OCI distribution-spec v1.1, "Listing Referrers". */
export async function sendReferrers(
  exchange: Exchange,
  backend: Backend,
  repository: string,
  digest: Digest,
): Promise<void> {
  const type = exchange.query('artifactType');
  const last = exchange.query('last') ?? '';
  const all = [...(await backend.referrers(repository, digest))].sort((a, b) =>
    a.digest < b.digest ? -1 : 1,
  );
  const isWanted = (one: Descriptor) =>
    one.digest > last && (type === undefined || one.artifactType === type);
  const left = all.filter(isWanted);
  const manifests = left.slice(0, REFERRERS_PAGE);
  const end = manifests.at(-1);
  const next = new URLSearchParams({
    ...(type !== undefined && { artifactType: type }),
    last: end?.digest ?? '',
  });
  exchange.send(200, OCI_INDEX, JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }), {
    ...(type !== undefined && { 'OCI-Filters-Applied': 'artifactType' }),
    ...(left.length > manifests.length && { Link: `<${exchange.url.pathname}?${String(next)}>; rel="next"` }),
  });
}
