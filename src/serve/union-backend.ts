import type { Descriptor } from '../model/descriptor.js';
import type { Digest } from '../model/digest.js';
import { asImgconvError, type ImgconvError } from '../model/errors.js';
import type { Backend, ServedBlob, ServedManifest, WritableBackend } from './backend.js';

export interface Part {
  /** Before the names of the place: `mirror` makes `demo/app` to `mirror/demo/app`. */
  readonly prefix: string | undefined;
  readonly backend: Backend;
}

/** Several places as one registry: what more than one has comes from the first. Pushes go to the first that takes them. */
export class UnionBackend implements Backend {
  readonly #parts: readonly Part[];
  readonly writes: WritableBackend | undefined;

  constructor(parts: readonly Part[]) {
    this.#parts = parts;
    this.writes = parts.map(({ backend }) => backend.writes).find((one) => one !== undefined);
  }

  get atHand(): Backend {
    return new UnionBackend(this.#parts.map(({ prefix, backend }) => ({ prefix, backend: backend.atHand })));
  }

  /** The places that a name may be in, each with the names that it may have there. */
  *#asked(repository: string): Generator<readonly [Backend, string]> {
    for (const { prefix, backend } of this.#parts)
      for (const name of spellings(repository)) {
        if (prefix === undefined) yield [backend, name];
        else if (name.startsWith(`${prefix}/`)) yield [backend, name.slice(prefix.length + 1)];
      }
  }

  /** A place that fails does not hide what another one has. */
  async #first<T>(
    repository: string,
    ask: (backend: Backend, repository: string) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const failures: ImgconvError[] = [];
    for (const [backend, name] of this.#asked(repository)) {
      try {
        const found = await ask(backend, name);
        if (found !== undefined) return found;
      } catch (error) {
        failures.push(asImgconvError(error));
      }
    }
    this.#expectNone(failures);
    return undefined;
  }

  /** Whoever pushes asks first whether it is there: a mirror that cannot be reached is no answer to that. */
  #expectNone(failures: readonly ImgconvError[]): void {
    const isLost = ({ code }: ImgconvError) => code === 'NETWORK';
    const failure = this.writes === undefined ? failures[0] : failures.find((error) => !isLost(error));
    if (failure !== undefined) throw failure;
  }

  async *repositories(): AsyncGenerator<string> {
    const seen = new Set<string>();
    for (const { prefix, backend } of this.#parts)
      for await (const name of backend.repositories()) {
        const whole = prefix === undefined ? name : `${prefix}/${name}`;
        if (!seen.has(whole)) yield whole;
        seen.add(whole);
      }
  }

  async has(repository: string): Promise<boolean> {
    return (await this.#first(repository, async (one, name) => (await one.has(name)) || undefined)) === true;
  }

  async tags(repository: string): Promise<Iterable<string>> {
    const all = new Set<string>();
    const failures: ImgconvError[] = [];
    for (const [backend, name] of this.#asked(repository))
      try {
        for (const tag of await backend.tags(name)) all.add(tag);
      } catch (error) {
        failures.push(asImgconvError(error));
      }
    if (all.size === 0) this.#expectNone(failures);
    return all;
  }

  resolve(repository: string, tag: string): Promise<Digest | undefined> {
    return this.#first(repository, (one, name) => one.resolve(name, tag));
  }

  manifest(repository: string, digest: Digest): Promise<ServedManifest | undefined> {
    return this.#first(repository, (one, name) => one.manifest(name, digest));
  }

  blob(repository: string, digest: Digest): Promise<ServedBlob | undefined> {
    return this.#first(repository, (one, name) => one.blob(name, digest));
  }

  async referrers(repository: string, digest: Digest): Promise<readonly Descriptor[]> {
    const all = new Map<Digest, Descriptor>();
    for (const [backend, name] of this.#asked(repository))
      for (const one of await backend.referrers(name, digest)) all.set(one.digest, one);
    return [...all.values()];
  }

  async close(): Promise<void> {
    for (const { backend } of this.#parts) await backend.close();
  }
}

/** Docker asks a mirror for `library/alpine`, and a person for `alpine`: each finds the other. */
function spellings(repository: string): string[] {
  if (!repository.includes('/')) return [repository, `library/${repository}`];
  const short = repository.replace(/^library\//, '');
  return short === repository || short.includes('/') ? [repository] : [repository, short];
}
