import { ImgconvError } from '../../model/errors.js';
import { globMatcher } from '../../model/glob.js';
import { nearest } from '../../model/nearest.js';
import { choiceOf, isGlob, isRepository, isTag, splitHost, splitReference } from '../../model/reference.js';
import type { Client, Repository } from './client.js';
import { canonicalName, hostOfWanted, type RegistryPath } from './paths.js';

/** An image to look up: its repository, and its tag or digest. */
export interface Asked {
  readonly from: Repository;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
  /** The user named it, so it may not exist. */
  readonly said: boolean;
}

type IsMeant = (tag: string, name: string) => boolean;

/** Looks for images below the path of a `docker://` source, with as few requests as it can: a list of all can be very long. */
export class AskedImages {
  readonly #path: RegistryPath;
  readonly #client: Client;

  constructor(path: RegistryPath, client: Client) {
    this.#path = path;
    this.#client = client;
  }

  /** `wanted`: references and globs; undefined for all images. */
  async *list(wanted: readonly string[] | undefined): AsyncGenerator<Asked> {
    for (const text of wanted ?? []) {
      // Registries have no list in which to find a digest or a number.
      if (choiceOf(text) === undefined) yield* isGlob(text) ? this.#matching(text) : this.#exact(text);
    }
    if (wanted !== undefined) return;
    const { host, below, isPrefix } = this.#path;
    if (host === undefined)
      throw new ImgconvError('USAGE', 'docker:// alone needs references to images', {
        hint: 'or name a registry, docker://HOST, or a repository, docker://HOST/REPOSITORY',
      });
    const all = () => true;
    if (!isPrefix && (yield* this.#tagged({ host, repository: below }, all))) return;
    yield* this.#below(host, below);
  }

  /** All images below a path, which must be there. @throws ImgconvError NOT_FOUND with the nearest repositories */
  async *#below(host: string, below: string): AsyncGenerator<Asked> {
    const others: string[] = [];
    let found = below === '';
    let unlisted: unknown;
    try {
      for await (const repository of this.#client.catalog(host)) {
        if (!isRepository(repository)) continue;
        if (isBelow(repository, below)) {
          found = true;
          yield* this.#tagged({ host, repository }, () => true);
        } else if (others.length < MOST_NEAR) others.push(repository);
      }
    } catch (error) {
      if (found || !(error instanceof ImgconvError) || error.code === 'NETWORK') throw error;
      unlisted = error;
    }
    if (found) return;
    const near = likest(below, others);
    throw new ImgconvError(
      'NOT_FOUND',
      `docker://${host}/${below}: there is no such repository, and none below it`,
      {
        ...(unlisted !== undefined && { cause: unlisted }),
        hint:
          unlisted !== undefined
            ? 'check the spelling; this registry does not list its repositories'
            : near.length > 0
              ? `did you mean ${near.map((one) => `docker://${host}/${one}`).join(', ')}?`
              : `imgconv ls docker://${host} lists the registry`,
      },
    );
  }

  /** The images of a repository; false when there is no such repository. */
  async *#tagged(from: Repository, isMeant: IsMeant): AsyncGenerator<Asked, boolean> {
    const tags = await this.#client.tags(from);
    for (const tag of tags ?? [])
      if (isMeant(tag, `${from.host}/${from.repository}:${tag}`))
        yield { from, tag, digest: undefined, said: false };
    return tags !== undefined;
  }

  async *#allBelow(host: string, below: string, isMeant: IsMeant): AsyncGenerator<Asked> {
    for await (const repository of this.#client.catalog(host))
      if (isRepository(repository) && isBelow(repository, below))
        yield* this.#tagged({ host, repository }, isMeant);
  }

  *#exact(text: string): Generator<Asked> {
    const { name, tag, digest } = splitReference(text);
    const from = this.#repository(name);
    if (from === undefined) return;
    yield { from, tag: tag ?? (digest === undefined ? 'latest' : undefined), digest, said: true };
  }

  /** The repository of this name, if it is below the path. */
  #repository(name: string): Repository | undefined {
    const { host, below } = this.#path;
    if (host === undefined) return canonicalName(name);
    const own = splitHost(name).host === undefined ? `${host}/${name}` : name;
    const found = canonicalName(own);
    return found.host === host && isBelow(found.repository, below) ? found : undefined;
  }

  /** A glob that names a repository needs only its tags, another one the catalog. */
  async *#matching(text: string): AsyncGenerator<Asked> {
    const match = globMatcher(text);
    const isMeant: IsMeant = (tag, name) => isTag(tag) && match(name);
    const { name, tag } = splitReference(text);
    if (!isGlob(name) && tag !== undefined) {
      const from = this.#repository(name);
      if (from !== undefined) yield* this.#tagged(from, isMeant);
      return;
    }
    const { host = hostOfWanted(text), below } = this.#path;
    if (host === undefined)
      throw new ImgconvError('USAGE', `${text}: says no registry to look for such images in`, {
        hint: 'begin with its host: HOST/…',
      });
    yield* this.#allBelow(host, below, isMeant);
  }
}

/** So many repositories are looked through for the nearest, and so many of them are named. */
const MOST_NEAR = 10_000;
const NAMED = 5;

/** Repositories that a wrong name may stand for: those with the same last component, else the one that a slip made it of. */
function likest(wanted: string, repositories: readonly string[]): readonly string[] {
  const last = (name: string) => name.slice(name.lastIndexOf('/') + 1);
  const same = repositories.filter((one) => last(one) === last(wanted));
  if (same.length > 0) return same.slice(0, NAMED);
  const near = nearest(wanted, repositories) ?? nearest(last(wanted), repositories.map(last));
  return repositories.filter((one) => one === near || last(one) === near).slice(0, NAMED);
}

function isBelow(repository: string, below: string): boolean {
  return below === '' || repository === below || repository.startsWith(`${below}/`);
}
