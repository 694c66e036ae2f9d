import { isDigest, type Digest } from '../model/digest.js';
import { isRepository, isTag, splitHost, splitReference } from '../model/reference.js';

/** How a registry without hosts in its names calls an image. */
export interface ServedName {
  /** Without the host, and with it where that makes a repository path too: a port does not. */
  readonly repositories: readonly string[];
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

/** Undefined for a name that no client can ask for. */
export function servedName(name: string): ServedName | undefined {
  const { name: whole, tag, digest } = splitReference(name);
  const { repository } = splitHost(whole);
  const repositories = [...new Set([repository, whole])].filter(isRepository);
  if (repositories.length === 0 || (tag !== undefined && !isTag(tag))) return undefined;
  return { repositories, tag, digest: digest !== undefined && isDigest(digest) ? digest : undefined };
}

/** The names of a place, as repositories with tags and revisions: names without a host go before those that lost theirs. */
export class NameTable<T> {
  readonly #repositories = new Map<string, Names<T>>();
  /** Without hosts, but for those whose tag another host's image has. */
  readonly #listed = new Set<string>();
  readonly #late: (() => void)[] = [];

  add({ repositories: [short = '', whole = short], tag }: ServedName, digest: Digest, entry: T): void {
    if (short === whole) this.#listed.add(whole);
    this.#put(whole, tag, digest, entry);
    if (short === whole) return;
    // Without its host it may stand for the images of several.
    this.#late.push(() => {
      const taken = this.#put(short, tag, digest, entry);
      this.#listed.add(taken ? whole : short);
    });
  }

  /** To be called after the last `add`. */
  seal(): this {
    for (const add of this.#late.splice(0)) add();
    return this;
  }

  /** True when the tag is that of another image already. */
  #put(repository: string, tag: string | undefined, digest: Digest, entry: T): boolean {
    const names = this.#repositories.get(repository) ?? {
      tags: new Map<string, Digest>(),
      revisions: new Map<Digest, T>(),
    };
    this.#repositories.set(repository, names);
    const other = tag === undefined ? undefined : names.tags.get(tag);
    if (tag !== undefined && other === undefined) names.tags.set(tag, digest);
    if (!names.revisions.has(digest)) names.revisions.set(digest, entry);
    return other !== undefined && other !== digest;
  }

  get(repository: string): Names<T> | undefined {
    return this.#repositories.get(repository);
  }

  get repositories(): Iterable<string> {
    return this.#listed;
  }
}

export interface Names<T> {
  readonly tags: Map<string, Digest>;
  readonly revisions: Map<Digest, T>;
}
