import { nearest } from '../model/nearest.js';
import { isGlob, repositoryKey, splitReference } from '../model/reference.js';

/** Of a wrong list of thousands no more are looked for. */
const MOST = 100;

/** The names of a place, for hints about a name that is not among them. */
export class NamesThere {
  readonly #byRepository = new Map<string, string[]>();
  #asked = 0;

  constructor(names: readonly string[]) {
    for (const name of names) {
      const key = repositoryKey(name);
      const others = this.#byRepository.get(key);
      if (others === undefined) this.#byRepository.set(key, [name]);
      else others.push(name);
    }
  }

  /** Says for which of the names this one may stand: by its repository, a part of that, or a slip. */
  hintFor(text: string): string | undefined {
    if (isGlob(text) || ++this.#asked > MOST) return undefined;
    const suffix = text.slice(splitReference(text).name.length);
    const found = this.#repositoriesLike(repositoryKey(text)).flatMap(
      (one) => this.#byRepository.get(one) ?? [],
    );
    if (found.length === 0) return undefined;
    found.sort((a, b) => Number(b.endsWith(suffix)) - Number(a.endsWith(suffix)));
    return `there are ${found.slice(0, 5).join(', ')}${found.length > 5 ? ` and ${found.length - 5} more` : ''}`;
  }

  #repositoriesLike(wanted: string): readonly string[] {
    if (this.#byRepository.has(wanted)) return [wanted];
    const repositories = [...this.#byRepository.keys()];
    const partly = repositories.filter((one) => one.endsWith(`/${wanted}`) || wanted.endsWith(`/${one}`));
    return partly.length > 0 ? partly : [slipOf(wanted, repositories) ?? ''];
  }
}

/** What a slip of the pen made of one: beside others the last component counts alone, as what goes before is right. */
function slipOf(wanted: string, repositories: readonly string[]): string | undefined {
  const below = wanted.slice(0, wanted.lastIndexOf('/') + 1);
  const isBeside = (one: string) => one.startsWith(below) && !one.slice(below.length).includes('/');
  const lasts = repositories.filter(isBeside).map((one) => one.slice(below.length));
  const last = nearest(wanted.slice(below.length), lasts);
  if (last !== undefined) return `${below}${last}`;
  return nearest(
    wanted,
    repositories.filter((one) => !isBeside(one)),
  );
}
