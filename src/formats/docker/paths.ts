import type { Digest } from '../../model/digest.js';
import { isGlob, isHostName, splitHost, splitReference } from '../../model/reference.js';

/*
 * The API of a registry (OCI distribution-spec v1.1; Docker Registry HTTP API V2):
 *
 *   /v2/
 *     _catalog                                       GET: repositories, in pages
 *     <repository>/
 *       tags/list                                    GET: tags, in pages
 *       manifests/<tag or digest>                    HEAD, GET, PUT
 *       referrers/<digest>                           GET: an index of the referrers of a manifest
 *       blobs/<digest>                               HEAD, GET, with Range
 *       blobs/uploads/[?mount=<digest>&from=<repository>]   POST: gives the Location for PATCH, GET and PUT ?digest=
 */
export function catalogPath(): string {
  return '/v2/_catalog?n=1000';
}

export function tagsPath(repository: string): string {
  return `/v2/${repository}/tags/list?n=1000`;
}

export function manifestPath(repository: string, reference: string): string {
  return `/v2/${repository}/manifests/${reference}`;
}

export function referrersPath(repository: string, digest: Digest): string {
  return `/v2/${repository}/referrers/${digest}`;
}

export function blobPath(repository: string, digest: Digest): string {
  return `/v2/${repository}/blobs/${digest}`;
}

export function uploadsPath(repository: string, mount?: { digest: Digest; from: string }): string {
  const query = mount && new URLSearchParams({ mount: mount.digest, from: mount.from }).toString();
  return `/v2/${repository}/blobs/uploads/${query === undefined ? '' : `?${query}`}`;
}

export const HUB = 'docker.io';

/** The host in names: Docker Hub has several hosts. */
export function canonicalHost(host: string): string {
  return ['index.docker.io', 'registry-1.docker.io'].includes(host) ? HUB : host;
}

/** The host and port in URLs of the registry of this name. */
export function urlHost(host: string): string {
  const text = `https://${host === HUB ? 'registry-1.docker.io' : host}`;
  return URL.canParse(text) ? new URL(text).host : host;
}

/** Docker's short forms, completed. */
export function canonicalName(name: string): { host: string; repository: string } {
  const { host, repository } = splitHost(name);
  const canonical = canonicalHost(host ?? HUB);
  return {
    host: canonical,
    repository: canonical === HUB && !repository.includes('/') ? `library/${repository}` : repository,
  };
}

/**
 * Splits what follows `docker://`: a path, which is empty, `HOST`, `HOST/REPOSITORY` or `HOST/PREFIX/`; or a reference,
 * whose path is its host. A single word is a host if it cannot be an image: `localhost`, one with a dot or a final `/`.
 */
export function splitPlace(text: string): { path: string; reference?: string } {
  if (text === '' || text.endsWith('/')) return { path: text };
  if (!text.includes('/') && isLoneHost(text)) return { path: canonicalHost(text) };
  const { name, tag, digest } = splitReference(text);
  const { host, repository } = canonicalName(name);
  if (tag === undefined && digest === undefined) return { path: `${host}/${repository}` };
  const suffix = `${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
  return { path: host, reference: `${host}/${repository}${suffix}` };
}

function isLoneHost(text: string): boolean {
  const name = text.replace(/:\d+$/, '');
  return isHostName(text) && (name === 'localhost' || name.includes('.') || name.startsWith('['));
}

/** What follows `docker://`, without a reference. */
export interface RegistryPath {
  /** Undefined for references of all hosts. */
  readonly host: string | undefined;
  /** A repository, or the beginning of repositories. */
  readonly below: string;
  /** `below` is not a repository itself. */
  readonly isPrefix: boolean;
}

export function registryPathOf(path: string): RegistryPath {
  if (path === '') return { host: undefined, below: '', isPrefix: true };
  const slash = path.indexOf('/');
  if (slash < 0) return { host: canonicalHost(path), below: '', isPrefix: true };
  const below = path.slice(slash + 1).replace(/\/+$/, '');
  return { host: canonicalHost(path.slice(0, slash)), below, isPrefix: path.endsWith('/') };
}

/** The registries in which these references below a path are looked up, sorted; those without a host count for none. */
export function hostsOf(path: string, wanted: readonly string[]): string[] {
  const { host } = registryPathOf(path);
  if (host !== undefined) return [host];
  return [...new Set(wanted.flatMap((text) => hostOfWanted(text) ?? []))].sort();
}

/** The registry of a reference, or of a glob that names one before its first wildcard. */
export function hostOfWanted(text: string): string | undefined {
  const { name, tag } = splitReference(text);
  if (!isGlob(text) || (!isGlob(name) && tag !== undefined)) return canonicalName(name).host;
  const { host } = splitHost(text.slice(0, text.search(/[*?[\]{}]/)));
  return host === undefined ? undefined : canonicalHost(host);
}
