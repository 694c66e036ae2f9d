import { isDigest, type Digest } from './digest.js';
import { ImgconvError } from './errors.js';

/** `[host/]repository[:tag][@digest]`, every part checked against the grammar of distribution/reference. */
export interface Reference {
  readonly host?: string | undefined;
  readonly repository: string;
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
}

// https://github.com/distribution/reference/blob/v0.6.0/regexp.go
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DOMAIN = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const HOST = new RegExp(`^(?:${DOMAIN}(?:\\.${DOMAIN})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const MAX_REPOSITORY = 255;

export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** A repository path as registries store it: lower-case components with single separators, 255 characters at most. */
export function isRepository(text: string): boolean {
  return text.length <= MAX_REPOSITORY && text.split('/').every((component) => COMPONENT.test(component));
}

/** The first component is a registry's host if it has a dot, a port or is `localhost` (distribution/reference `splitDockerDomain`). */
function isHost(component: string): boolean {
  return /[.:]/.test(component) || component === 'localhost' || component !== component.toLowerCase();
}

/** Cuts `name[:tag][@digest]` apart, checking nothing: the digest is after `@`, the tag after the last component's last `:`. */
export function splitReference(text: string): {
  name: string;
  tag: string | undefined;
  digest: string | undefined;
} {
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  const rest = at < 0 ? text : text.slice(0, at);
  const colon = rest.lastIndexOf(':');
  if (colon <= rest.lastIndexOf('/')) return { name: rest, tag: undefined, digest };
  return { name: rest.slice(0, colon), tag: rest.slice(colon + 1), digest };
}

/** How an image is chosen without its name. */
export type Choice =
  { readonly kind: 'digest'; readonly start: string } | { readonly kind: 'number'; readonly number: number };

/**
 * `sha256:…`, at least 12 digits of a manifest's digest; or `@N`, as skopeo's `@source-index` (containers-transports.5):
 * the entry of manifest.json or index.json, counted from 0. Undefined for a name.
 */
export function choiceOf(text: string): Choice | undefined {
  if (/^sha(?:256|384|512):[0-9a-f]{12,128}$/.test(text)) return { kind: 'digest', start: text };
  const number = /^@([0-9]{1,9})$/.exec(text)?.[1];
  return number === undefined ? undefined : { kind: 'number', number: Number(number) };
}

/** A registry's host, with its port if it has one. */
export function isHostName(text: string): boolean {
  return HOST.test(text);
}

/** Cuts a registry's host off a name that has one. */
export function splitHost(name: string): { host: string | undefined; repository: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, slash);
  if (slash < 0 || !isHost(first)) return { host: undefined, repository: name };
  return { host: first, repository: name.slice(slash + 1) };
}

/** @throws ImgconvError NAME_INVALID, naming the part that breaks the grammar. */
export function parseReference(text: string): Reference {
  return parse(text, splitHost);
}

/** As `parseReference`, of a name that has no host: a first component such as `docker.io` belongs to the repository. */
export function parseHostless(text: string): Reference {
  return parse(text, (name) => ({ host: undefined, repository: name }));
}

/** True for `user:password@host/name`, also as a URL, which must get into no message. */
export function hasCredentials(text: string): boolean {
  return /^(?:[a-z-]+:\/\/)?[^\s/@]*:[^\s/@]*@(?!sha\d+:)/.test(text);
}

function parse(text: string, hostOf: typeof splitHost): Reference {
  const fail = (what: string): never => {
    const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
    throw new ImgconvError('NAME_INVALID', `${JSON.stringify(shown)} is not an image reference: ${what}`);
  };
  if (hasCredentials(text))
    throw new ImgconvError('NAME_INVALID', 'a name with a user and a password is not an image reference');
  const { name, tag, digest } = splitReference(text);
  if (digest !== undefined && !isDigest(digest)) return fail('what follows @ is not a digest');
  if (tag !== undefined && !isTag(tag)) return fail(`${JSON.stringify(tag)} is not a tag`);
  const { host, repository } = hostOf(name);
  if (host !== undefined && !HOST.test(host)) return fail(`${JSON.stringify(host)} is not a host`);
  if (!isRepository(repository)) {
    if (repository !== repository.toLowerCase()) return fail('a repository is written in lower case');
    return fail(`${JSON.stringify(repository.slice(0, 100))} is not a repository path`);
  }
  return { host, repository, tag, digest };
}

export function referenceText({ host, repository, tag, digest }: Reference): string {
  const parts = [host ? `${host}/` : '', repository, tag ? `:${tag}` : '', digest ? `@${digest}` : ''];
  // Put together with +, a text is held in pieces too, and there is one for each image.
  return parts.join('');
}

/** What Docker shows and types: without `docker.io/` and `library/` (distribution/reference `FamiliarString`). */
export function familiarText(text: string): string {
  const short = text.replace(/^(?:docker\.io|index\.docker\.io)\//, '');
  const afterLibrary = short.startsWith('library/') ? short.slice('library/'.length) : short;
  return afterLibrary.includes('/') ? short : afterLibrary;
}

/**
 * With the host and the `library/` that the familiar form leaves out, and Docker Hub under its one name
 * (distribution/reference `ParseDockerRef`, `splitDockerDomain`).
 */
export function canonicalText(reference: Reference): string {
  const { host = 'docker.io', repository } = reference;
  if (host !== 'docker.io' && host !== 'index.docker.io') return referenceText(reference);
  return referenceText({
    ...reference,
    host: 'docker.io',
    repository: repository.includes('/') ? repository : `library/${repository}`,
  });
}

/** What the repositories of two names of one image have in common: hosts and Docker Hub's `library/` left out. */
export function repositoryKey(text: string): string {
  return familiarText(splitHost(splitReference(text).name).repository);
}

/** True for a text that may mean many names. */
export function isGlob(text: string): boolean {
  return /[*?[\]{}]/.test(text);
}
