import { ImgconvError } from '../../model/errors.js';
import { globMatcher } from '../../model/glob.js';
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
    if (isPrefix || !(yield* this.#tagged({ host, repository: below }, all)))
      yield* this.#allBelow(host, below, all);
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

function isBelow(repository: string, below: string): boolean {
  return below === '' || repository === below || repository.startsWith(`${below}/`);
}
